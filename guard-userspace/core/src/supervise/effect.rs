//! What a supervisor wants done, and what it tells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::ProcId;
use crate::policy::model::{Impact, Kill, NumberSource, Probe, RestartVia, Run, Severity};

/// Of one supervisor: counted from 1, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActionId(pub u64);

/// A service, or one of its instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The service's name.
    pub service: Arc<str>,
    /// Which instance, counted from 0; `None`: the service as one.
    pub instance: Option<u32>,
}

/// What a supervisor wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Do this and say [`super::Input::Done`].
    Act(Plan),
    /// Ask this and say [`super::Input::Answered`].
    Ask(Question),
    /// Record this and show it.
    Tell(Notice),
}

/// Something to be done, complete: nothing is left to decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its number.
    pub id: ActionId,
    /// When it was decided, in nanoseconds since boot.
    pub time_ns: u64,
    /// To whom.
    pub subject: Subject,
    /// What.
    pub deed: Deed,
    /// Whether it is to be carried out. Otherwise the policy only observes: the plan is recorded, and nothing is said in answer.
    pub act: bool,
    /// Why.
    pub because: Because,
}

/// Something that an executor can do.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Start an instance; answer with the process.
    Start {
        /// How: the policy's `run`, with `{port}` and `{instance}` resolved.
        run: Box<Run>,
        /// It is told a `NOTIFY_SOCKET`; what it says there is [`super::Input::Notified`].
        notify: bool,
        /// The main process that it follows, whose control group must be empty first.
        after: Option<ProcId>,
    },
    /// Have an adopted service restarted.
    RestartVia {
        /// By whom.
        via: RestartVia,
        /// How long it may take, in nanoseconds.
        timeout_ns: u64,
    },
    /// Send a signal to a main process, or to it and all that is in its control group.
    Signal {
        /// Whom.
        target: ProcId,
        /// The signal's number.
        signal: u8,
        /// All of them.
        all: bool,
    },
    /// Kill what is left of an instance.
    Kill {
        /// Its main process.
        target: ProcId,
        /// Who else.
        kill: Kill,
    },
    /// Stop the control group of this main process without a signal.
    Freeze(ProcId),
    /// Let it go on.
    Thaw(ProcId),
    /// Set the nice value of all threads of this main process's control group.
    Renice {
        /// Whose.
        target: ProcId,
        /// From -20 to 19.
        nice: i8,
    },
    /// Run a program.
    Run {
        /// What for: `demote`, `fence`, `promote`, `requeue` or `exec`.
        purpose: &'static str,
        /// Program and arguments.
        command: Vec<String>,
        /// What it is told besides.
        environment: BTreeMap<String, String>,
        /// How long it may take, in nanoseconds.
        timeout_ns: u64,
    },
    /// Tell somebody.
    Alert {
        /// How bad it is.
        severity: Severity,
        /// What is wrong.
        message: String,
        /// What whoever is told needs to know of the service.
        about: Box<About>,
    },
}

/// What an alert says of its service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Whom to ask.
    pub owner: Option<String>,
    /// For routing.
    pub labels: BTreeMap<String, String>,
    /// How bad it is when it is down.
    pub impact: Impact,
    /// How long it may be down, in nanoseconds.
    pub rto_ns: Option<u64>,
    /// What to read.
    pub runbook: Option<String>,
}

/// Why something is done: facts that a reader can check. Its text is made by [`std::fmt::Display`].
#[derive(Clone, Debug, PartialEq)]
pub struct Because {
    /// What was seen, such as `memory.rss was above 400MiB for 30s`.
    pub what: String,
    /// Since when, in nanoseconds since boot.
    pub since_ns: u64,
    /// Which step of how many of which ladder.
    pub step: Option<(String, u32, u32)>,
    /// Restarts that are left, of how many.
    pub restarts_left: Option<(u32, u32)>,
}

/// Something to find out.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Its number, never used twice.
    pub id: u64,
    /// Of whom.
    pub subject: Subject,
    /// For which check; `None`: whether it is ready.
    pub check: Option<Arc<str>>,
    /// What.
    pub ask: Ask,
}

/// What can be asked. `{port}` and `{instance}` are resolved, and a program's user is filled in with the service's.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// A probe: answered by pass, fail or error.
    Probe(Box<Probe>),
    /// A number: answered by that or an error.
    Number(Box<NumberSource>),
    /// When a file was last changed: nanoseconds since the epoch.
    Changed(PathBuf),
    /// How many bytes this main process and its descendants wrote to their log so far.
    Logged(ProcId),
    /// The proportional set size of these processes, in bytes.
    Pss(Vec<ProcId>),
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// When, in nanoseconds since boot.
    pub time_ns: u64,
    /// About whom.
    pub subject: Subject,
    /// What.
    pub what: What,
}

/// What can be told.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A service or an instance is in another state.
    State {
        /// The one before.
        from: ServiceState,
        /// The one from now on.
        to: ServiceState,
        /// Why.
        why: String,
    },
    /// A check has another result.
    Check {
        /// Its name.
        check: Arc<str>,
        /// The result.
        state: crate::health::CheckState,
        /// What was seen.
        why: String,
    },
    /// A step waits for approval.
    Waits {
        /// What it will be.
        id: ActionId,
        /// What is to be done.
        deed: String,
        /// Until when, in nanoseconds since boot.
        until_ns: u64,
    },
    /// Something was not done, and why: a guard, a cooldown, a budget, an uncertain table, a denial.
    Withheld {
        /// What.
        deed: String,
        /// Why.
        why: String,
    },
    /// A plan was carried out, or not.
    Outcome {
        /// Which.
        id: ActionId,
        /// What went wrong, if something did.
        failed: Option<String>,
    },
    /// It is down for longer than its policy's `rto`.
    Overdue {
        /// Since when it is down, in nanoseconds since boot.
        since_ns: u64,
    },
    /// The primary role of a group is held by this subject from now on, with a token larger than any before.
    Role {
        /// The token.
        token: u64,
    },
}

/// States of a service and of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Not wanted.
    Stopped,
    /// Wanted; what it depends on is not far enough.
    Waiting,
    /// Started, not ready yet.
    Starting,
    /// Ready, and no check fails.
    Healthy,
    /// Ready, and a check fails.
    Degraded,
    /// Ended; the next start waits for its time.
    BackingOff,
    /// Being ended.
    Stopping,
    /// Wanted, and not started any more: the budget is spent, an end after which it must not be restarted, a breaker, a fence.
    Held,
}
