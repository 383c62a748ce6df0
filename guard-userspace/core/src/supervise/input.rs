//! What a supervisor is told.

use std::sync::Arc;

use super::effect::{ActionId, Subject};
use crate::event::{Event, Process};
use crate::ids::ProcId;
use crate::policy::set::PolicySet;

/// What happens to a supervisor. Times are nanoseconds since boot.
#[derive(Debug)]
pub enum Input<'a> {
    /// These policies hold from now on. Services that are in both sets and whose `run` did not change go on undisturbed; what
    /// is not in the set any more is stopped if we started it, else let go. Tell [`Input::Found`] of all that live afterwards,
    /// so that new selectors see them.
    Policies(Arc<PolicySet>),
    /// A process that is there already. Doing so again for one that is known changes nothing.
    Found(&'a Arc<Process>),
    /// What the core tells: the life of processes, what they use, losses.
    Event(&'a Event),
    /// Whether the process table can be relied on: [`crate::Core::is_certain`]. While it cannot, nothing is done to the living.
    Certain(bool),
    /// What a probe found: the answer to a question.
    Answered {
        /// Of which.
        question: u64,
        /// What it said.
        answer: Answer,
        /// How long that took, in nanoseconds.
        took_ns: u64,
    },
    /// A deed is done, or could not be done.
    Done {
        /// Of which plan.
        id: ActionId,
        /// How it went.
        result: Result<Done, Refused>,
    },
    /// A main process, or one below it, said `READY=1` to its `NOTIFY_SOCKET`.
    Notified(ProcId),
    /// What an operator wants.
    Command(Command),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A probe: as it should be.
    Pass,
    /// A probe: not as it should be, and how.
    Fail(String),
    /// The question could not be asked, or the answer not be read: this says nothing about the service.
    Error(String),
    /// A number, in the signal's unit.
    Number(f64),
}

/// What a deed did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A process was started.
    Started(Arc<Process>),
    /// All else.
    Carried,
}

/// A deed that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: String,
}

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start a stopped or held service; its budget begins anew.
    Start(String),
    /// Stop a service; it stays stopped.
    Stop(String),
    /// Restart an instance, or all, one after the other.
    Restart(Subject),
    /// So many instances, within bounds.
    Scale {
        /// Which service.
        service: String,
        /// How many.
        instances: u32,
    },
    /// A step that waits for approval may be taken.
    Approve(ActionId),
    /// It may not.
    Deny(ActionId),
    /// Stop all services, each before those that it depends on; they stay stopped.
    Shutdown,
}
