//! A service: what it is, how it begins and ends, how it comes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Adopt, Budget, Check, Failover, Ladder, Probe, Run, Span};

/// One service, as its document says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name: lower-case letters, digits, `-`, `.` and `_`; at most 63; unique on a host.
    pub name: String,
    /// For selection and display.
    pub labels: BTreeMap<String, String>,
    /// Whom to ask.
    pub owner: Option<String>,
    /// How bad it is when it is down.
    pub impact: Impact,
    /// How long it may be down; an incident that lasts longer says so.
    pub rto: Option<Span>,
    /// What to read at three in the morning.
    pub runbook: Option<String>,
    /// Services with the same group share a restart budget of [`Host::groups`].
    pub group: Option<String>,
    /// Where its processes come from.
    pub origin: Origin,
    /// When an instance counts as up.
    pub ready: Ready,
    /// What must be up before it is started. In order of name.
    pub depends_on: Vec<Dependency>,
    /// How it comes back.
    pub restart: Restart,
    /// How it is ended.
    pub stop: Stop,
    /// What healthy means. In order of name.
    pub checks: Vec<Check>,
    /// What is done when a check fails, by the check's name; and for [`Ladder::HELD`], when the service is held.
    pub actions: BTreeMap<String, Ladder>,
    /// Who takes over, and how.
    pub failover: Option<Failover>,
    /// Whether decisions are carried out.
    pub mode: Mode,
}

/// What holds for the whole host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Restarts of all services together.
    pub budget: Option<Budget>,
    /// Restarts of the services of a group together.
    pub groups: BTreeMap<String, Budget>,
}

/// How bad it is when a service is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the operator's own words")]
pub enum Impact {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

/// Where a service's processes come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// We start them.
    Run(Run),
    /// Somebody else does.
    Adopt(Adopt),
}

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Decide and record; touch nothing.
    Observe,
    /// Decide, record and act.
    #[default]
    Act,
}

/// When an instance counts as up.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// What shows it.
    pub by: Readiness,
    /// How long that may take before the start counts as failed.
    pub within: Span,
}

/// What shows that an instance is up.
#[derive(Clone, Debug, PartialEq)]
pub enum Readiness {
    /// Its program runs.
    Started,
    /// It, or a descendant, listens on this TCP port. `{port}` is resolved per instance: see [`Run::port`].
    Listen(Port),
    /// It says `READY=1` to the socket that `NOTIFY_SOCKET` names.
    Notify,
    /// A probe passes.
    Probe(Box<Probe>),
    /// It has lived this long.
    Delay(Span),
}

/// A port: fixed, or the instance's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one.
    Fixed(u16),
    /// `{port}`.
    Instance,
}

/// Another service, and how far it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub service: String,
    /// How far it must be.
    pub until: Condition,
}

/// How far a service must be for those that depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `min` instances run.
    Started,
    /// `min` instances are ready.
    Ready,
    /// `min` instances are ready and no check fails.
    Healthy,
}

/// How a service comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// After which ends.
    pub on: RestartOn,
    /// How often, before it is held.
    pub budget: Budget,
    /// How long to wait before each.
    pub backoff: Backoff,
    /// Ends that count as success.
    pub success: Vec<EndStatus>,
    /// Ends after which it is never restarted, but held.
    pub never: Vec<EndStatus>,
    /// While it is held because its budget is spent, one try this often.
    pub slow_retry: Span,
}

/// After which ends a service is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartOn {
    /// After every end.
    Always,
    /// After an end that is not a success.
    #[default]
    Failure,
    /// After none.
    Never,
}

/// A way to end: an exit code or a signal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndStatus {
    /// By `exit(code)`.
    Code(u8),
    /// By a signal.
    Signal(u8),
}

/// Waits that grow: `initial * factor^n`, at most `max`, each up to `jitter` shorter or longer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Span,
    /// By how much each wait is longer than the one before; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Span,
    /// Share of the wait, from 0 to 1.
    pub jitter: f64,
    /// Up for so long, the next wait is the first one again.
    pub reset_after: Span,
}

/// How a service is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The signal that asks for it: its number.
    pub signal: u8,
    /// How long it may take before it is killed.
    pub timeout: Span,
    /// Who is killed then, and after the main process has ended.
    pub kill: Kill,
}

/// Who is killed with a main process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kill {
    /// All of its control group.
    #[default]
    Cgroup,
    /// All of its process group.
    Group,
    /// Nobody else.
    Process,
}
