//! Sets of policies that were accepted, one after the other: which holds, and which held before.
//!
//! A new set is taken whole or not at all. It is put down before it holds, and it is on trial for a while: if restarts rise, the one
//! before holds again. What was rolled back stays among the generations, so that it can be read.

use std::sync::Arc;

use guard_core::policy::PolicySet;
use guard_core::trial::Trial;

use super::door::Generation;
use super::policies::{self, Accepted};

/// How long a set is on trial, in nanoseconds: long enough for a leak of the slow kind to be none of its business.
pub(super) const TRIAL_NS: u64 = 5 * 60 * 1_000_000_000;

/// The set that holds, and its trial.
#[derive(Debug)]
pub(super) struct Generations {
    set: Arc<PolicySet>,
    current: Generation,
    /// The generation whose files these are: after a rollback, an earlier one.
    origin: u64,
    newest: u64,
    pub(super) trial: Trial,
}

impl Generations {
    /// What holds from the start on.
    pub(super) fn new(current: Generation, set: Arc<PolicySet>, origin: u64, newest: u64) -> Self {
        Self { set, current, origin, newest, trial: Trial::new(TRIAL_NS) }
    }

    /// The largest number so far.
    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) const fn origin(&self) -> u64 {
        self.origin
    }

    /// What holds is what an earlier generation was.
    pub(super) const fn came_from(&mut self, origin: u64) {
        self.origin = origin;
    }

    pub(super) const fn current(&self) -> &Generation {
        &self.current
    }

    pub(super) const fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// It holds from now on. One that came by rolling back is no trial: there may be nothing better.
    pub(super) fn adopt(&mut self, generation: Generation, set: Arc<PolicySet>, on_trial: bool, now_ns: u64) {
        (self.origin, self.newest) = (generation.number, generation.number);
        (self.current, self.set) = (generation, set);
        if on_trial { self.trial.begin(now_ns) } else { self.trial.end() }
    }
}

/// The generation that these are, after the newest of all; `before`: what holds until then.
pub(super) fn after(
    newest: u64,
    before: &PolicySet,
    accepted: &Accepted,
    why: String,
    unix_ns: i64,
) -> Generation {
    Generation {
        number: newest + 1,
        accepted_unix_ns: unix_ns,
        services: accepted.set.services.len(),
        why,
        active: true,
        trial_until_unix_ns: None,
        changes: policies::changes(before, &accepted.set),
    }
}
