//! More or fewer instances, and all of them one after the other.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::policy::model::Scaling;

use super::effect::Deed;
use super::instance::{Instance, Phase, Then, Why};
use super::shared::Job;
use super::steps::{Doing, Taken};
use super::unit::{Turn, Unit};

/// All instances are restarted, one after the other: the next one when the one before is up again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rolling {
    pub(super) why: Why,
    /// Those that are still to be restarted.
    left: VecDeque<u32>,
    /// The one that is under way.
    now: Option<u32>,
    /// Their `run` has changed: no restart in the sense of the budgets.
    anew: bool,
}

impl Unit {
    pub(super) const fn is_rolling(&self) -> bool {
        self.rolling.is_some()
    }

    /// Restarts all instances that are up.
    pub(super) fn roll(&mut self, why: &Why, anew: bool, turn: &mut Turn<'_>) -> Taken {
        let up = self.instances.values().filter(|instance| matches!(instance.phase, Phase::Up(_)));
        let left: VecDeque<u32> = up.map(|instance| instance.number).collect();
        if left.is_empty() {
            return Taken::Withheld("it is not up".to_owned());
        }
        self.rolling = Some(Rolling { why: why.clone(), left, now: None, anew });
        self.roll_on(turn);
        Taken::Doing(Doing::rolling())
    }

    /// Goes on with the next instance, if the one before is up again, or given up.
    pub(super) fn roll_on(&mut self, turn: &mut Turn<'_>) {
        while let Some(mut rolling) = self.rolling.take() {
            if !turn.shared.certain && self.acts() {
                turn.shared.deferred.insert(self.slot);
                self.rolling = Some(rolling);
                return;
            }
            let busy = |number: u32| self.instances.get(&number).is_some_and(Instance::is_coming);
            if rolling.now.is_some_and(busy) {
                self.rolling = Some(rolling);
                return;
            }
            let Some(number) = rolling.left.pop_front() else { return };
            rolling.now = Some(number);
            let renewed = if rolling.anew {
                self.end(number, Then::Anew, &rolling.why, turn);
                Ok(())
            } else {
                self.renew(number, &rolling.why, turn)
            };
            if let Err(why) = renewed {
                let what = super::What::Withheld { deed: "restart".to_owned(), why };
                turn.shared.tell(turn.now_ns, self.subject(Some(number)), what);
            }
            self.rolling = Some(rolling);
        }
    }

    /// More or fewer instances, as a step says.
    pub(super) fn scale_by(&mut self, scaling: Scaling, why: &Why, turn: &mut Turn<'_>) -> Taken {
        let Some(bounds) = self.run().map(|run| run.instances) else {
            return Taken::Withheld("somebody else starts its instances".to_owned());
        };
        let target = self.target.saturating_add_signed(scaling.by).clamp(bounds.min, bounds.max);
        if target == self.target {
            let most = if scaling.by > 0 { "most" } else { "fewest" };
            return Taken::Withheld(format!("it has {target} instances, the {most} that its policy allows"));
        }
        let until_ns = self.scaled_ns.map(|scaled_ns| scaled_ns.saturating_add(scaling.cooldown));
        if let Some(until_ns) = until_ns.filter(|&until_ns| until_ns > turn.now_ns) {
            let left = super::text::span(until_ns.saturating_sub(turn.now_ns));
            return Taken::Withheld(format!("it was scaled lately; not again for {left}"));
        }
        self.scaled_ns = Some(turn.now_ns);
        self.scale_to(target, why, turn);
        Taken::Doing(Doing::default())
    }

    /// So many instances from now on.
    pub(super) fn scale_to(&mut self, target: u32, why: &Why, turn: &mut Turn<'_>) {
        let what = format!("{}: from {} to {target} instances", why.what, self.target);
        let why = Why { what, ..why.clone() };
        if self.acts() {
            (self.target..target).for_each(|number| self.take_up(number, &why, turn));
            (self.target, self.scale_why) = (target, Some(why));
            return;
        }
        for number in self.target..target {
            let Some(run) = self.run() else { return };
            let run = Box::new(self.fill(number).run(run));
            let because = self.because(&why, false, turn.now_ns);
            let deed = Deed::Start { run, notify: self.notifies(), after: None };
            self.plan(Some(number), deed, because, Job::Plain, turn);
        }
        for number in target..self.target {
            self.end(number, Then::Gone, &why, turn);
        }
    }
}
