//! Instances that went because fewer are wanted, and come back because more are.
//!
//! A number that comes back is the same instance: what it owed it owes still. Else a change of scale and back would be a way around
//! budgets and waits, for something that fails at every start.

use serde::{Deserialize, Serialize};

use super::backoff::Wait;
use super::instance::{Hold, Instance, Phase, Why};
use super::unit::{Turn, Unit};
use crate::ids::ProcId;

/// What is kept of an instance that went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parted {
    wait: Wait,
    probation: bool,
    pub(super) after: Option<ProcId>,
    /// Its next start is a restart.
    owes: bool,
    /// What it waited for or was held by, and why.
    pub(super) pending: Option<(Phase, Why)>,
}

impl Parted {
    fn of(instance: Instance) -> Self {
        // What holds the whole service is looked at when it comes back.
        let held_as_one =
            matches!(&instance.phase, Phase::Held { hold: Hold::Breaker(_) | Hold::Fenced, .. });
        let own = matches!(
            &instance.phase,
            Phase::Backoff { .. } | Phase::Held { hold: Hold::Spent | Hold::Never, .. }
        );
        Self {
            wait: instance.wait,
            probation: instance.probation,
            after: instance.after,
            owes: instance.ticket || held_as_one && instance.after.is_some(),
            pending: own.then_some((instance.phase, instance.why)),
        }
    }
}

impl Unit {
    /// Keeps what an instance owes that is not wanted any more, if its service is.
    pub(super) fn part_with(&mut self, instance: Instance) {
        if self.wanted && self.run().is_some() {
            self.parted.insert(instance.number, Parted::of(instance));
        }
    }

    /// An instance is wanted: a new one, or one that was there before.
    pub(super) fn take_up(&mut self, number: u32, why: &Why, turn: &mut Turn<'_>) {
        if self.instances.contains_key(&number) {
            return;
        }
        let mut instance = Instance::new(number, why.clone(), &self.policy, turn.now_ns);
        let mut owes = false;
        if let Some(parted) = self.parted.remove(&number) {
            (instance.wait, instance.probation) = (parted.wait, parted.probation);
            (instance.after, owes) = (parted.after, parted.owes);
            if let Some((phase, why)) = parted.pending {
                (instance.phase, instance.why) = (phase, why);
            }
        }
        if owes {
            let reserved = turn.shared.reserve(turn.now_ns, &mut self.window, self.policy.group.as_deref());
            instance.ticket = reserved.is_ok();
            let why = instance.why.clone();
            self.instances.insert(number, instance);
            if let Err(spent) = reserved {
                self.hold_spent(number, &spent, why, turn);
            }
        } else {
            self.instances.insert(number, instance);
        }
    }
}
