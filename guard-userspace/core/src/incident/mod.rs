//! Incidents: every departure of a service from health, with a timeline on the kernel's clock.

use serde::{Deserialize, Serialize};

use crate::ids::ProcId;

/// An incident's number: counted from 1 on a host, never used twice.
pub type IncidentId = u64;

/// A service, or one instance of it, left its healthy state. Times are nanoseconds since boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// Whose.
    pub service: String,
    /// Which instance, counted from 0; `None`: the service as one.
    pub instance: Option<u32>,
    /// What began it, in words: `killed by SIGKILL from bash[6937]`.
    pub cause: String,
    /// When it began: the death, the first bad answer.
    pub opened_ns: u64,
    /// When it was over.
    pub closed_ns: Option<u64>,
    /// How it ended: `recovered`, `stopped`, `policy removed`.
    pub outcome: Option<String>,
    /// What happened, in order of time.
    pub timeline: Vec<Entry>,
    /// How long it may last, in nanoseconds: the policy's `rto`.
    pub rto_ns: Option<u64>,
    /// The last moment at which it was known to be bad, and the first at which it was known to be good.
    pub recovery: Option<(u64, u64)>,
    /// Records were lost meanwhile: nothing here is proof.
    pub gap: bool,
    /// Restarts that were made within it.
    pub restarts: u32,
}

/// One thing in an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub time_ns: u64,
    /// What.
    pub kind: Moment,
    /// In words.
    pub text: String,
    /// Which process, where one is meant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub process: Option<ProcId>,
}

/// What can happen in an incident. The segments of a recovery lie between these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Moment {
    Signal,
    Death,
    BadAnswer,
    Decision,
    Fork,
    Exec,
    Listen,
    Ready,
    GoodAnswer,
    Alert,
    Withheld,
    Held,
    Other,
}
