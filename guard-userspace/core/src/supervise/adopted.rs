//! Services that somebody else starts: their main processes are found, and others are asked to restart them.
//!
//! A daemon that forks and exits with success hands its place to its child. If a main process ends otherwise, its children are
//! what it left behind, and not the service.

use crate::ids::ProcId;
use crate::policy::model::{Adopt, Origin};

use super::effect::Deed;
use super::instance::{Hold, Instance, Phase, Why};
use super::shared::Job;
use super::steps::{Doing, Taken};
use super::text;
use super::unit::{Turn, Unit};

impl Unit {
    fn adopt(&self) -> Option<&Adopt> {
        match &self.policy.origin {
            Origin::Adopt(adopt) => Some(adopt),
            Origin::Run(_) => None,
        }
    }

    pub(super) fn patience_ns(&self) -> u64 {
        self.adopt().map_or(0, |adopt| adopt.timeout)
    }

    /// Its processes are waited for, as they are when somebody else has just been told to start it.
    pub(super) fn expect_processes(&mut self, turn: &Turn<'_>) {
        let until_ns = Some(turn.now_ns.saturating_add(self.patience_ns()));
        for number in 0..self.target {
            let why = Why::new("its processes are looked for", turn.now_ns);
            let mut instance = Instance::new(number, why, &self.policy, turn.now_ns);
            instance.phase = Phase::Starting { plan: None, until_ns };
            self.instances.entry(number).or_insert(instance);
        }
    }

    /// A main process was found. `long_ago`: it was there before the supervisor was told of anything.
    pub(super) fn found(&mut self, main: ProcId, long_ago: bool, turn: &mut Turn<'_>) {
        if self.instances.values().any(|instance| instance.main() == Some(main)) {
            return;
        }
        let vacant = self.instances.values().find(|instance| instance.main().is_none());
        let vacant = vacant.map(|instance| instance.number);
        let number = vacant.unwrap_or_else(|| {
            let free = (0_u32..).zip(self.instances.keys()).find(|(number, taken)| number != *taken);
            free.map_or_else(|| u32::try_from(self.instances.len()).unwrap_or(u32::MAX), |(number, _)| number)
        });
        let why = Why::new("its process was found", turn.now_ns);
        let new = Instance::new(number, why.clone(), &self.policy, turn.now_ns);
        let instance = self.instances.entry(number).or_insert(new);
        instance.why = why;
        if std::mem::take(&mut instance.ticket) {
            turn.shared.release(&mut self.window, self.policy.group.as_deref());
        }
        let since_ns = if main.start_ns == 0 { turn.now_ns } else { main.start_ns };
        self.up(number, main, since_ns, turn);
        if long_ago {
            self.is_ready(number, "it was running already", turn);
        }
    }

    /// A main process is one no more, and lives: another one took its place, or it runs something else.
    pub(super) fn let_go(&mut self, main: ProcId, turn: &mut Turn<'_>) {
        let number = self.instances.values().find(|instance| instance.main() == Some(main));
        let Some(number) = number.map(|instance| instance.number) else { return };
        self.set(number, Phase::Down);
        self.drop_instance(number, turn);
    }

    /// A main process handed its place to another.
    pub(super) fn succeed(&mut self, number: u32, main: ProcId, turn: &mut Turn<'_>) {
        if let Some(instance) = self.instances.get_mut(&number)
            && let Phase::Up(up) = &mut instance.phase
        {
            up.main = main;
            let member = super::members::Member { slot: self.slot, instance: number };
            turn.shared.members.add(main, member);
        }
    }

    /// Whether an instance that ended was to end, because the service is being restarted.
    pub(super) fn is_being_renewed(&mut self, number: u32, turn: &Turn<'_>) -> bool {
        let until_ns = Some(turn.now_ns.saturating_add(self.patience_ns()));
        let Some(instance) = self.instances.get_mut(&number) else { return false };
        if !std::mem::take(&mut instance.renewing) {
            return false;
        }
        instance.phase = Phase::Starting { plan: None, until_ns };
        true
    }

    /// Has a service that is up restarted.
    pub(super) fn renew_adopted(&mut self, why: &Why, turn: &mut Turn<'_>) -> Taken {
        let up = self.instances.values().find(|instance| instance.main().is_some());
        let Some(number) = up.map(|instance| instance.number) else {
            return Taken::Withheld("it is not up".to_owned());
        };
        if self.adopt().is_none_or(|adopt| adopt.restart_via.is_none()) {
            return Taken::Withheld("its policy names no way to restart it".to_owned());
        }
        if let Err(why) = self.reserve(turn) {
            return Taken::Withheld(why);
        }
        let plan = self.renew_via(number, true, why, turn);
        if self.acts() {
            for instance in self.instances.values_mut().filter(|instance| instance.main().is_some()) {
                instance.renewing = true;
            }
        }
        Taken::Doing(Doing::plan(plan.filter(|_| self.acts())))
    }

    /// Has a service restarted of which too few processes are left.
    pub(super) fn try_renew(&mut self, number: u32, turn: &mut Turn<'_>) {
        let up = self.instances.values().filter(|instance| instance.main().is_some()).count();
        let coming = self.instances.values().any(|one| matches!(one.phase, Phase::Starting { .. }));
        let min = self.min().max(1);
        if u32::try_from(up).unwrap_or(u32::MAX) >= min {
            return self.drop_instance(number, turn);
        }
        if coming || !self.may_start(turn.shared) {
            return;
        }
        if up > 0 && self.acts() && !turn.shared.certain {
            turn.shared.deferred.insert(self.slot);
            return;
        }
        let Some(instance) = self.instances.get_mut(&number) else { return };
        // What an operator wants started was not reserved, and counts against no budget.
        let (why, restart) = (instance.why.clone(), instance.ticket);
        if self.adopt().is_none_or(|adopt| adopt.restart_via.is_none()) {
            let what = format!("{}; its policy names no way to restart it", why.what);
            return self.hold_instance(number, Hold::NoWay, None, Why { what, ..why }, turn);
        }
        if restart && !self.may_spend(number, &why, turn) {
            return;
        }
        let plan = self.renew_via(number, restart, &why, turn);
        if self.acts() {
            let until_ns = Some(turn.now_ns.saturating_add(self.patience_ns()));
            self.set(number, Phase::Starting { plan, until_ns });
            for instance in self.instances.values_mut().filter(|instance| instance.main().is_some()) {
                instance.renewing = true;
            }
        } else {
            let why = Why::new(text::OBSERVES, turn.now_ns);
            self.hold_instance(number, Hold::Observed, None, why, turn);
        }
    }

    /// Plans a start by somebody else; `restart`: it was reserved as one.
    fn renew_via(
        &mut self,
        number: u32,
        restart: bool,
        why: &Why,
        turn: &mut Turn<'_>,
    ) -> Option<super::ActionId> {
        let adopt = self.adopt()?;
        let (via, timeout_ns) = (adopt.restart_via.clone()?, adopt.timeout);
        if restart {
            self.spend(number, turn);
        }
        let because = self.because(why, restart, turn.now_ns);
        Some(self.plan(None, Deed::RestartVia { via, timeout_ns }, because, Job::Renew(number), turn))
    }

    /// A restart by somebody else is done, or failed.
    pub(super) fn renewed(
        &mut self,
        number: u32,
        plan: super::ActionId,
        failed: Option<&str>,
        turn: &mut Turn<'_>,
    ) {
        for climb in self.climbs.values_mut() {
            climb.landed(plan);
        }
        let until_ns = Some(turn.now_ns.saturating_add(self.patience_ns()));
        let waiting = self.instances.get(&number).is_some_and(|instance| {
            matches!(&instance.phase, Phase::Starting { plan: Some(waiting), .. } if *waiting == plan)
        });
        match failed {
            None if waiting => self.set(number, Phase::Starting { plan: None, until_ns }),
            None => {}
            Some(why) => {
                self.instances.values_mut().for_each(|instance| instance.renewing = false);
                if waiting {
                    let why = format!("it could not be restarted: {}", text::first_line(why));
                    self.failed(number, None, Why::new(why, turn.now_ns), turn);
                }
            }
        }
    }
}
