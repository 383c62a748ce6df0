//! The door: what others may ask of the task that owns the core, and what it answers.
//!
//! The API, the metrics and the watchdog hold a [`Door`]; the daemon's loop answers each [`Request`] within its turn.

use std::sync::Arc;

use guard_core::incident::{Incident, IncidentId};
use guard_core::supervise::{Command, ServiceFacts};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::tally::Recoveries;

/// Whoever asks, as the kernel says it (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Process.
    pub pid: i32,
}

/// What can be asked.
#[derive(Debug)]
pub enum Question {
    /// All services; answered by [`Answer::Services`].
    Services,
    /// Incidents, newest first; answered by [`Answer::Incidents`].
    Incidents {
        /// Only of this service.
        service: Option<String>,
        /// Only those that are not over.
        open: bool,
        /// At most so many.
        limit: usize,
    },
    /// One incident; answered by [`Answer::Incidents`], with at most one.
    Incident(IncidentId),
    /// The daemon itself, its sensor's counters and its actions; answered by [`Answer::Daemon`].
    Daemon,
    /// Processes that listen and that no policy guards; answered by [`Answer::Unguarded`].
    Unguarded,
    /// A policy for a running process, as YAML; answered by [`Answer::Text`].
    Draft(u32),
    /// Thresholds from what was measured, as a patch of the policy's file; answered by [`Answer::Text`].
    Suggest(String),
    /// An operator's command; answered by [`Answer::Done`].
    Command(Command),
    /// The policies' files are to be read again; answered by [`Answer::Generation`].
    Reload,
    /// The generation before is to hold again; answered by [`Answer::Generation`].
    Rollback,
    /// The generations that are kept, newest first; answered by [`Answer::Generations`].
    Generations,
    /// The flags of this host; answered by [`Answer::Flags`].
    Flags,
    /// Sets a flag; answered by [`Answer::Flags`].
    SetFlag(String, bool),
}

/// An answer.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the questions say it")]
pub enum Answer {
    Services(Vec<ServiceFacts>),
    Incidents(Vec<Incident>),
    Daemon(Box<DaemonFacts>),
    Unguarded(Vec<Unguarded>),
    Text(String),
    Done,
    Generation(Generation),
    Generations(Vec<Generation>),
    Flags(Vec<Flag>),
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// It makes no sense now, or at all.
    #[error("{0}")]
    Conflict(String),
    /// The policies have errors: the text shows all of them, in their places.
    #[error("the policies have errors")]
    Policies(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Gone,
}

/// The daemon itself.
#[derive(Clone, Debug, Default)]
pub struct DaemonFacts {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it was started, in nanoseconds since boot.
    pub started_ns: u64,
    /// Since when services are kept under this state, over all daemons: how many daemons there were before it.
    pub takeovers: u64,
    /// The generation of policies that holds.
    pub generation: u64,
    /// Whether the process table can be relied on.
    pub certain: bool,
    /// Records read, by kind.
    pub records: Vec<(&'static str, u64)>,
    /// Records lost, by kind and cause.
    pub losses: Vec<(&'static str, &'static str, u64)>,
    /// The ring: bytes that wait, and its size.
    pub ring: (u64, u32),
    /// Actions since the daemon was started: kind, outcome (`done`, `failed`, `withheld`, `observed`), number.
    pub actions: Vec<(&'static str, &'static str, u64)>,
    /// Restarts by service and cause (`fault`, `oom`, `signal`, `error`, `success`, `check`, `command`, `policy`).
    pub restarts: Vec<(String, &'static str, u64)>,
    /// Recovery times of closed incidents since the daemon was started, by service.
    pub recoveries: Vec<(String, Recoveries)>,
    /// Downtime since the daemon was started, by service, in seconds.
    pub downtime: Vec<(String, f64)>,
    /// Answers of checks, by service, check and result (`pass`, `fail`, `error`).
    pub answers: Vec<(String, String, &'static str, u64)>,
    /// Run-queue waits, by service: number of waits by power of two of microseconds.
    pub run_queue: Vec<(String, Vec<u64>)>,
    /// What the daemon uses: CPU seconds, resident bytes, open files.
    pub used: (f64, u64, u64),
    /// What is wrong with the daemon itself, in words: a full disk, logs without a keeper.
    pub troubles: Vec<String>,
}

/// A process that listens and that no policy guards.
#[derive(Clone, Debug)]
pub struct Unguarded {
    /// Its pid.
    pub pid: u32,
    /// Its executable's path, escaped.
    pub exe: String,
    /// Its command line, escaped.
    pub command: String,
    /// TCP ports on which it listens.
    pub ports: Vec<u16>,
    /// Its systemd unit, if it is in one.
    pub unit: Option<String>,
}

/// A set of policies that was accepted.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Counted from 1.
    pub number: u64,
    /// When it was accepted, in nanoseconds since the epoch.
    pub accepted_unix_ns: i64,
    /// How many services it has.
    pub services: usize,
    /// Why it came: `start`, `reload`, `rollback to 3`, `rolled back by itself: ...`.
    pub why: String,
    /// It holds now.
    pub active: bool,
    /// Until when restarts decide whether it stays, in nanoseconds since the epoch.
    pub trial_until_unix_ns: Option<i64>,
    /// What changed against the one before: services added, removed, changed.
    pub changes: Vec<String>,
}

/// A behaviour that can be switched off on this host.
#[derive(Clone, Debug)]
pub struct Flag {
    /// Its name: `act`, `restart`, `probes`, `alerts`, `trial`.
    pub name: String,
    /// What it switches.
    pub meaning: &'static str,
    /// Whether it is on.
    pub on: bool,
}

/// A question with a place for its answer.
#[derive(Debug)]
pub struct Request {
    /// What.
    pub question: Question,
    /// Who.
    pub peer: Peer,
    /// Where to.
    pub reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// The way to the task that owns the core.
#[derive(Clone, Debug)]
pub struct Door {
    requests: mpsc::Sender<Request>,
    told: broadcast::Sender<Arc<Told>>,
}

/// Something that happened, for everybody who follows.
#[derive(Clone, Debug)]
pub struct Told {
    /// Counted from 1 since the daemon was started; a follower sees what it missed.
    pub number: u64,
    /// For which service, if for one.
    pub service: Option<Arc<str>>,
    /// One JSON object, with names of the Elastic Common Schema, without a line end.
    pub json: String,
}

/// Questions that may wait. More at once are refused by waiting: the askers queue.
const WAITING: usize = 64;

/// What a slow follower may be behind before it misses something, which it is told.
const FOLLOWING: usize = 4096;

impl Door {
    /// A door, and where what comes through it arrives.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, arriving) = mpsc::channel(WAITING);
        (Self { requests, told: broadcast::channel(FOLLOWING).0 }, arriving)
    }

    /// Asks.
    ///
    /// # Errors
    /// If it is refused, or the daemon ends.
    pub async fn ask(&self, peer: Peer, question: Question) -> Result<Answer, Refusal> {
        let (reply, answered) = oneshot::channel();
        self.requests.send(Request { question, peer, reply }).await.map_err(|_ended| Refusal::Gone)?;
        answered.await.map_err(|_ended| Refusal::Gone)?
    }

    /// All that is told from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<Told>> {
        self.told.subscribe()
    }

    /// Tells everybody who follows; whether anybody does.
    pub fn tell(&self, told: Told) -> bool {
        self.told.send(Arc::new(told)).is_ok()
    }

    /// Whether anybody follows: else nothing need be made for them.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.told.receiver_count() > 0
    }
}
