//! What outlives a supervisor: all that has to go on when it is killed, replaced by another version, or the host boots anew.
//!
//! It is saved in the names that stand here and in the types that it is made of (`instance.rs`, `ladder.rs`, `steps.rs`, `scale.rs`,
//! `parted.rs`, `backoff.rs`): whoever changes one of them, in name or in meaning, writes a new [`Saved::VERSION`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Exit, Process};
use crate::ids::ProcId;
use crate::policy::model::Stop;

use super::effect::{ActionId, ServiceState};
use super::instance::{Hold, Phase, Stopping, Up, Why};
use super::ladder::Climb;
use super::parted::Parted;
use super::scale::Rolling;

/// What has changed since it was asked for last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Services by name, as they are now; `None`: nothing is left of that one.
    pub services: Vec<(Arc<str>, Option<Arc<Saved>>)>,
    /// What they share, if it has changed.
    pub shared: Option<SavedShared>,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.services.is_empty() && self.shared.is_none()
    }
}

/// What was saved before, and is gone on with.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// Services by name.
    pub services: Vec<(Arc<str>, Saved)>,
    /// What they share; `None`: nothing was saved yet.
    pub shared: Option<SavedShared>,
    /// `None`: the host has not booted since. Else what makes nanoseconds since that boot nanoseconds since this one: usually
    /// negative.
    pub shift_ns: Option<i64>,
}

/// What was found out about the process of an instance that was started, or whose start was under way.
#[derive(Clone, Debug, PartialEq)]
pub enum Life {
    /// It lives.
    Alive(Arc<Process>),
    /// It has ended, and somebody knows how.
    Ended {
        /// Which process.
        id: ProcId,
        /// When.
        time_ns: u64,
        /// How.
        exit: Box<Exit>,
    },
    /// There is no trace of it. That counts as a failure.
    Gone,
    /// Its start was under way, and it is known that nothing came of it.
    NeverStarted,
}

/// State that another version wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the saved state of {what} has the version {found}, and this program reads {}: run the version that wrote it, or move the state away, after which services are found and started anew",
    Saved::VERSION
)]
pub struct Unreadable {
    /// Of a service, or what they share.
    pub what: String,
    /// Its version.
    pub found: u32,
}

/// A service, and what is left of those of the same name before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    pub(super) version: u32,
    /// The oldest first.
    pub(super) units: Vec<SavedUnit>,
}

impl Saved {
    /// The version that is written and read.
    pub const VERSION: u32 = 1;
}

/// What the services of a supervisor share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedShared {
    pub(super) version: u32,
    /// All numbers up to these may have been used.
    pub(super) actions: u64,
    pub(super) questions: u64,
    /// When something was restarted, of the host and of each group with a budget.
    pub(super) host: Vec<u64>,
    pub(super) groups: BTreeMap<String, Vec<u64>>,
    pub(super) roles: Vec<SavedRole>,
}

/// A primary role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedRole {
    pub(super) members: Vec<String>,
    pub(super) holder: Option<String>,
    pub(super) token: u64,
    /// The holder's own.
    pub(super) given: u64,
}

/// A service under one of its policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedUnit {
    pub(super) wanted: bool,
    pub(super) retiring: bool,
    /// Which of the units of its name must have ended before it is started.
    pub(super) follows: Option<usize>,
    /// We start it; how it is ended, if its policy is gone.
    pub(super) run: Option<Stop>,
    pub(super) target: u32,
    pub(super) hold: Option<(Hold, Why)>,
    pub(super) instances: Vec<SavedInstance>,
    pub(super) parted: BTreeMap<u32, Parted>,
    /// When it was restarted.
    pub(super) restarts: Vec<u64>,
    /// How often its dice were thrown.
    pub(super) thrown: u64,
    pub(super) leftovers: Vec<(u32, ProcId)>,
    pub(super) climbs: Vec<(Option<u32>, String, Climb)>,
    pub(super) rolling: Option<Rolling>,
    pub(super) scaled_ns: Option<u64>,
    pub(super) handover: Option<SavedHandover>,
    /// When its role was handed over.
    pub(super) failovers: Vec<u64>,
    pub(super) start_why: Why,
    pub(super) scale_why: Option<Why>,
    pub(super) stop_why: Option<Why>,
    pub(super) told: ServiceState,
    pub(super) told_ns: u64,
    pub(super) down: Option<(u64, bool)>,
    /// Checks of the service as one that fail.
    pub(super) failing: Vec<SavedCheck>,
}

/// A check that fails. What the others say is found out anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedCheck {
    pub(super) name: String,
    pub(super) since_ns: u64,
    pub(super) why: String,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedInstance {
    pub(super) number: u32,
    pub(super) phase: Phase,
    pub(super) why: Why,
    pub(super) wait: super::backoff::Wait,
    pub(super) ticket: bool,
    pub(super) renewing: bool,
    pub(super) probation: bool,
    pub(super) outdated: bool,
    pub(super) after: Option<ProcId>,
    pub(super) told_end: bool,
    pub(super) told: ServiceState,
    pub(super) told_ns: u64,
    /// When it was restarted and ended, as far as checks count that.
    pub(super) moments: BTreeMap<String, Vec<u64>>,
    /// Checks that fail.
    pub(super) failing: Vec<SavedCheck>,
}

/// A role on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedHandover {
    pub(super) why: Why,
    pub(super) token: u64,
    pub(super) stage: SavedStage,
    pub(super) only: Option<String>,
    pub(super) agreed: Option<ActionId>,
    pub(super) told: bool,
    pub(super) before: Option<(Hold, Why)>,
}

/// How far a failover was. Of what is being done nobody knows afterwards whether it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SavedStage {
    Settling,
    Demoting,
    Demoted,
    Fencing,
    Unsure,
    Ending,
    Choosing,
    Promoting(String),
    Doubtful(String),
}

impl SavedUnit {
    /// Each moment in it becomes one of another boot.
    pub(super) fn shift(&mut self, shift_ns: i64, now_ns: u64) {
        let shift = |time: &mut u64| *time = time.saturating_add_signed(shift_ns);
        let why = |why: &mut Why| shift(&mut why.since_ns);
        for instance in &mut self.instances {
            phase(&mut instance.phase, &shift);
            why(&mut instance.why);
            shift(&mut instance.told_ns);
            instance.moments.values_mut().for_each(|moments| shift_all(moments, shift_ns, now_ns));
        }
        for (pending, since) in self.parted.values_mut().filter_map(|parted| parted.pending.as_mut()) {
            phase(pending, &shift);
            why(since);
        }
        self.climbs.iter_mut().flat_map(|(.., climb)| climb.times()).for_each(shift);
        shift_all(&mut self.restarts, shift_ns, now_ns);
        shift_all(&mut self.failovers, shift_ns, now_ns);
        self.scaled_ns.iter_mut().for_each(shift);
        self.down.iter_mut().for_each(|(since_ns, _)| shift(since_ns));
        shift(&mut self.told_ns);
        why(&mut self.start_why);
        let whys = self.scale_why.iter_mut().chain(&mut self.stop_why);
        let whys = whys.chain(self.hold.iter_mut().map(|(_, why)| why));
        whys.chain(self.rolling.iter_mut().map(|rolling| &mut rolling.why)).for_each(why);
        if let Some(handover) = &mut self.handover {
            why(&mut handover.why);
            handover.before.iter_mut().for_each(|(_, before)| why(before));
        }
    }
}

impl SavedShared {
    pub(super) fn shift(&mut self, shift_ns: i64, now_ns: u64) {
        let times = self.groups.values_mut().chain([&mut self.host]);
        times.for_each(|times| shift_all(times, shift_ns, now_ns));
    }
}

/// Moments of before this boot are all the same one: its beginning. So what is counted in a window is counted for longer rather
/// than for shorter. One that would be in the future is now: a clock was set meanwhile.
fn shift_all(times: &mut [u64], shift_ns: i64, now_ns: u64) {
    times.iter_mut().for_each(|time| *time = time.saturating_add_signed(shift_ns).min(now_ns));
}

fn phase(phase: &mut Phase, shift: &impl Fn(&mut u64)) {
    match phase {
        Phase::Backoff { until_ns: time }
        | Phase::Held { retry_ns: Some(time), .. }
        | Phase::Starting { until_ns: Some(time), .. }
        | Phase::Stopping(Stopping { next_ns: time, .. }) => shift(time),
        Phase::Up(Up { since_ns, ready_ns, .. }) => {
            shift(since_ns);
            ready_ns.iter_mut().for_each(shift);
        }
        Phase::Held { retry_ns: None, .. }
        | Phase::Starting { until_ns: None, .. }
        | Phase::Down
        | Phase::Finished => {}
    }
}
