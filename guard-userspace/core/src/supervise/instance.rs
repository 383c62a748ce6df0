//! One instance of a service.
//!
//! ```text
//!            start asked            started                    ready
//!   Down ---------------> Starting ---------> Up (not ready) ----------> Up
//!    ^  ^                    | failed          |  late: asked to end      | asked to end: restart, stop, fewer
//!    |  |                    v                 v                          v
//!    |  |   wait over     (ended) <----------- + <------ Stopping <-------+
//!    |  +---- Backoff <------+ budget left               | signal, then kill
//!    |                       +-----------> Held          | ended: start again, or gone
//!    +-------- slow retry, command ---------+            v
//!    +---------------------------------------------------+          Finished: ended with success, wants no other
//! ```
//!
//! The names of what can be saved here stand in the state that outlives a supervisor: see `saved.rs`.

use serde::{Deserialize, Serialize};

use crate::ids::ProcId;
use crate::policy::model::Service;

use super::backoff::Wait;
use super::checks::Checks;
use super::effect::{ActionId, ServiceState};

/// One instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) number: u32,
    pub(super) phase: Phase,
    /// Why it is in this phase, or will leave it.
    pub(super) why: Why,
    pub(super) checks: Checks,
    pub(super) wait: Wait,
    /// A restart is reserved in the budgets.
    pub(super) ticket: bool,
    /// It is being restarted on purpose: until it has a process again, or is given up.
    pub(super) renewing: bool,
    /// It was started although its budget was spent: if it ends again before it has been up for long enough, it is held again.
    pub(super) probation: bool,
    /// What is being started is not what its policy says by now.
    pub(super) outdated: bool,
    /// The main process that ended last.
    pub(super) after: Option<ProcId>,
    /// Its policy observes, and what would have ended it was told.
    pub(super) told_end: bool,
    /// The state that was told.
    pub(super) told: ServiceState,
    /// Since when it is in it.
    pub(super) told_ns: u64,
}

/// A reason, and since when it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Why {
    pub(super) what: String,
    pub(super) since_ns: u64,
    /// The step of a ladder that it is the reason for: which ladder, and which step of how many.
    pub(super) step: Option<(String, u32, u32)>,
}

impl Why {
    pub(super) fn new(what: impl Into<String>, since_ns: u64) -> Self {
        Self { what: what.into(), since_ns, step: None }
    }
}

/// What an instance does. Each but `Finished`, and `Held` without a retry, has a time at which it ends or a deed under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// No process; it is started as soon as it is wanted and what it depends on is up.
    Down,
    /// No process; it waits.
    Backoff { until_ns: u64 },
    /// No process, and none is started, unless a slow retry is due.
    Held { hold: Hold, retry_ns: Option<u64> },
    /// It ended with success, and is not to be restarted.
    Finished,
    /// A start is under way; `until_ns`: an adopted service's processes are waited for.
    Starting { plan: Option<ActionId>, until_ns: Option<u64> },
    /// Its process lives.
    Up(Up),
    /// Its process is to end.
    Stopping(Stopping),
}

/// A living instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Up {
    pub(super) main: ProcId,
    pub(super) since_ns: u64,
    pub(super) ready_ns: Option<u64>,
    /// When its readiness is asked for next; `None`: it need not be, or an answer is under way.
    #[serde(skip)]
    pub(super) ask_ns: Option<u64>,
    /// The question that is under way.
    #[serde(skip)]
    pub(super) asked: Option<u64>,
    /// It was stopped without a signal.
    pub(super) frozen: bool,
}

/// An instance that is being ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stopping {
    pub(super) main: ProcId,
    pub(super) then: Then,
    /// When it is killed (again).
    pub(super) next_ns: u64,
    /// How often that was tried.
    pub(super) kills: u32,
}

/// What follows when an instance that was asked to end has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Then {
    /// Nothing: it is not wanted any more.
    Gone,
    /// It is started again. The restart is reserved.
    Again,
    /// The same, and no restart: its policy says something else than it was started with.
    Anew,
    /// It counts as failed.
    Failed(String),
}

/// Why an instance or a service is not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hold {
    /// Its budget is spent: there is a slow retry.
    Spent,
    /// It ended in a way after which it must not be restarted.
    Never,
    /// Somebody else starts it, and nobody says how to have it restarted.
    NoWay,
    /// Its policy only observes.
    Observed,
    /// The breaker of this check is open.
    Breaker(String),
    /// Another holds the primary role, or is about to.
    Fenced,
}

impl Instance {
    pub(super) fn new(number: u32, why: Why, policy: &Service, now_ns: u64) -> Self {
        Self {
            number,
            phase: Phase::Down,
            why,
            checks: Checks::new(policy, now_ns),
            wait: Wait::fresh(),
            ticket: false,
            renewing: false,
            probation: false,
            outdated: false,
            after: None,
            told_end: false,
            told: ServiceState::Stopped,
            told_ns: now_ns,
        }
    }

    /// Its living main process.
    pub(super) const fn main(&self) -> Option<ProcId> {
        match &self.phase {
            Phase::Up(up) => Some(up.main),
            Phase::Stopping(stopping) => Some(stopping.main),
            _ => None,
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(&self.phase, Phase::Up(up) if up.ready_ns.is_some())
    }

    /// It has a process, or will have one when a start that is under way is done.
    pub(super) const fn is_alive(&self) -> bool {
        matches!(&self.phase, Phase::Up(_) | Phase::Stopping(_) | Phase::Starting { plan: Some(_), .. })
    }

    /// It is on its way to be ready.
    pub(super) const fn is_coming(&self) -> bool {
        match &self.phase {
            Phase::Stopping(_) | Phase::Starting { .. } => true,
            Phase::Up(up) => up.ready_ns.is_none(),
            _ => self.renewing,
        }
    }

    pub(super) fn state(&self) -> ServiceState {
        match &self.phase {
            Phase::Down => ServiceState::Waiting,
            Phase::Backoff { .. } => ServiceState::BackingOff,
            Phase::Held { .. } => ServiceState::Held,
            Phase::Finished => ServiceState::Stopped,
            Phase::Starting { .. } => ServiceState::Starting,
            Phase::Up(up) if up.ready_ns.is_none() => ServiceState::Starting,
            Phase::Up(_) if self.checks.is_failing() => ServiceState::Degraded,
            Phase::Up(_) => ServiceState::Healthy,
            Phase::Stopping(_) => ServiceState::Stopping,
        }
    }
}
