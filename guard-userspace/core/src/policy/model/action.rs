//! What is done when a check fails.

use super::{Budget, Span};
use crate::policy::guard::Guard;

/// What is done for one check, step by step, for as long as it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    /// In this order. Never empty.
    pub steps: Vec<Step>,
    /// When to stop repeating what does not help.
    pub breaker: Breaker,
}

impl Ladder {
    /// In a service's actions: what is done when it is held.
    pub const HELD: &'static str = "held";
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is done.
    pub act: Act,
    /// How long after the one before was done (the first: after the check failed).
    pub after: Span,
    /// Only if the check still fails this long after the step before was done.
    pub if_still: Option<Span>,
    /// Somebody must agree first.
    pub approval: Option<Approval>,
    /// Only if this holds. What cannot be told counts as no, and is recorded.
    pub when: Option<Guard>,
}

/// Somebody must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// How long it is waited for; then the step is passed over.
    pub within: Span,
}

/// After so many times that the ladder was run to its last step without the check passing within `within` of it, it is not begun
/// again: the fallback is done once, the service is held, and somebody is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// How many times.
    pub tries: u32,
    /// How long a step has to help.
    pub within: Span,
    /// What is done instead, once.
    pub fallback: Option<Box<Act>>,
}

/// What can be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// End the instance as [`super::Stop`] says, and start it again. Spends restart budget.
    Restart,
    /// Send a signal.
    Signal(Signalled),
    /// End the service; it stays stopped.
    Stop,
    /// More or fewer instances, within bounds.
    Scale(Scaling),
    /// Hand the role over, as [`Failover`] says.
    Failover,
    /// Stop its control group without a signal.
    Freeze,
    /// Let a frozen one go on.
    Thaw,
    /// Set the nice value of all its threads, from -20 to 19.
    Renice(i8),
    /// Give back what a dead or hung instance held, such as its job.
    Requeue(Hook),
    /// Run a program.
    Exec(Hook),
    /// Tell somebody.
    Alert(Alert),
}

/// A signal to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signalled {
    /// Its number.
    pub signal: u8,
    /// To all processes of the instance, not only the main one.
    pub all: bool,
}

/// More or fewer instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// By how many; negative: fewer.
    pub by: i32,
    /// Not again for so long.
    pub cooldown: Span,
}

/// A program that is told by its environment what it is run for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Program and arguments; the program is an absolute path. `{instance}` and `{port}` are resolved.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Span,
}

/// Somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// What to say besides the facts.
    pub message: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the operator's own words")]
pub enum Severity {
    Info,
    #[default]
    Warning,
    Critical,
}

/// How the primary role goes to another service. Each step must succeed before the next one begins; a promotion whose fence
/// failed does not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Who may take over, the first healthy one of them.
    pub standbys: Vec<String>,
    /// Asks the old primary to step down. It may be dead, so this may fail.
    pub demote: Option<Demotion>,
    /// Makes sure that the old primary can do no harm. Told the token that it has to beat. Must succeed.
    pub fence: Hook,
    /// Makes the standby the primary. Told the new token. Must succeed.
    pub promote: Hook,
    /// How often at most.
    pub budget: Budget,
}

/// How an old primary is asked to step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demotion {
    /// What is run.
    pub hook: Hook,
    /// If it fails, the failover ends there. Else it goes on to the fence.
    pub required: bool,
}
