//! Incidents: every departure of a service from health, with a timeline on the kernel's clock.
//!
//! [`Incidents`] is told what the kernel tells of main processes, what the supervisor decides and tells, and what probes answer.
//! It says when an incident begins, goes on and is over. Nothing is decided here.
//!
//! ```text
//!  a main process dies unasked, a check fails,                     healthy again, and whatever failed passes
//!  a start fails or is late, it is held        ---> Opened ----------------------------------------------------> Closed
//!                                                    | ^     stopped, handed over, its policy gone                 |
//!                                              more of it: Updated                                                 |
//!                                                      +------- it dies again within REOPEN_NS: a crash loop ------+
//! ```
//! What was asked for is no incident: stops, restarts by hand or for a new policy, fewer instances.
//!
//! ```text
//! machine.rs   the door: inputs in, changes out; course.rs: how one begins, goes on and ends; rules.rs: what it needs of policies
//! words.rs     causes in words; segments.rs: how long each part of a recovery took
//! ```

mod course;
mod machine;
mod rules;
mod segments;
mod words;

pub use machine::{Change, Incidents};
pub use segments::Segment;

use serde::{Deserialize, Serialize};

use crate::ids::ProcId;

/// An incident's number: counted from 1 on a host, never used twice.
pub type IncidentId = u64;

/// A service, or one instance of it, left its healthy state. Times are nanoseconds since boot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Checks that failed within it and have not passed since.
    #[serde(default)]
    pub failing: Vec<String>,
    /// When it was known to be bad last.
    #[serde(default)]
    pub bad_ns: u64,
    /// Since when it may be good: the first good answer after the last bad one.
    #[serde(default)]
    pub good_ns: Option<u64>,
    /// Entries that the timeline had no room for.
    #[serde(default)]
    pub left_out: u32,
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
    Wait,
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

impl Incident {
    /// Times of another boot become those of this one: each is so many nanoseconds later.
    pub fn shift(&mut self, shift_ns: i64) {
        let shift = |time_ns: &mut u64| *time_ns = time_ns.saturating_add_signed(shift_ns);
        shift(&mut self.opened_ns);
        shift(&mut self.bad_ns);
        self.closed_ns.iter_mut().chain(&mut self.good_ns).for_each(shift);
        self.timeline.iter_mut().for_each(|entry| shift(&mut entry.time_ns));
        if let Some((bad_ns, good_ns)) = &mut self.recovery {
            shift(bad_ns);
            shift(good_ns);
        }
    }
}
#[cfg(test)]
mod tests;
