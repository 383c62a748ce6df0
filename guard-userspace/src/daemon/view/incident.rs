//! Incidents and their timelines.

use guard_core::incident;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, Kind, Process};
use crate::clock::Stamp;

/// Incidents, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incidents {
    /// Each of them.
    pub incidents: Vec<Incident>,
}

/// A service, or one instance of it, left its healthy state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// Its number, never used twice on a host.
    pub id: u64,
    /// Whose.
    pub service: String,
    /// Which instance, counted from 0; absent: the service as one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<u32>,
    /// What began it.
    pub cause: String,
    /// It is not over.
    pub open: bool,
    /// When it began.
    pub opened: At,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed: Option<At>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<String>,
    /// How long it lasted, or lasts already.
    pub duration_ns: u64,
    /// How long it may last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rto_ns: Option<u64>,
    /// It lasted, or lasts already, longer than it may.
    pub overdue: bool,
    /// When it was well again: between these.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recovery: Option<Recovery>,
    /// Kernel records were lost meanwhile: nothing here is proof.
    pub gap: bool,
    /// Restarts within it.
    pub restarts: u32,
    /// What happened, in order of time.
    pub timeline: Vec<Moment>,
}

/// When it was well again: it cannot be known more exactly than the probes look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recovery {
    /// The last moment at which it was known to be bad.
    pub last_bad: At,
    /// The first at which it was known to be good.
    pub first_good: At,
    /// From the beginning to the last bad moment: it took at least so long.
    pub at_least_ns: u64,
    /// From the beginning to the first good moment: it took at most so long.
    pub at_most_ns: u64,
}

/// One thing in an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// When.
    pub at: At,
    /// After the beginning of the incident; negative for what led to it.
    pub after_opened_ns: i64,
    /// After the moment before this one.
    pub after_previous_ns: u64,
    /// What.
    pub kind: Kind,
    /// In words.
    pub text: String,
    /// Which process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub process: Option<Process>,
}

impl Incidents {
    /// All of these.
    #[must_use]
    pub fn new(stamp: &Stamp, now_ns: u64, facts: &[incident::Incident]) -> Self {
        Self { incidents: facts.iter().map(|facts| Incident::new(stamp, now_ns, facts)).collect() }
    }
}

impl Incident {
    /// One of them.
    #[must_use]
    pub fn new(stamp: &Stamp, now_ns: u64, facts: &incident::Incident) -> Self {
        let at = |time_ns| At::new(stamp, time_ns);
        let duration_ns = facts.closed_ns.unwrap_or(now_ns).saturating_sub(facts.opened_ns);
        let mut previous_ns = None;
        let timeline = facts.timeline.iter().map(|entry| {
            let before_ns = previous_ns.replace(entry.time_ns).unwrap_or(entry.time_ns);
            Moment {
                at: at(entry.time_ns),
                after_opened_ns: difference(entry.time_ns, facts.opened_ns),
                after_previous_ns: entry.time_ns.saturating_sub(before_ns),
                kind: entry.kind.into(),
                text: entry.text.clone(),
                process: entry.process.map(|id| Process::new(stamp, id)),
            }
        });
        Self {
            id: facts.id,
            service: facts.service.clone(),
            instance: facts.instance,
            cause: facts.cause.clone(),
            open: facts.closed_ns.is_none(),
            opened: at(facts.opened_ns),
            closed: facts.closed_ns.map(at),
            outcome: facts.outcome.clone(),
            duration_ns,
            rto_ns: facts.rto_ns,
            overdue: facts.rto_ns.is_some_and(|rto_ns| duration_ns > rto_ns),
            recovery: facts.recovery.map(|(bad_ns, good_ns)| Recovery {
                last_bad: at(bad_ns),
                first_good: at(good_ns),
                at_least_ns: bad_ns.saturating_sub(facts.opened_ns),
                at_most_ns: good_ns.saturating_sub(facts.opened_ns),
            }),
            gap: facts.gap,
            restarts: facts.restarts,
            timeline: timeline.collect(),
        }
    }
}

/// One moment after another; negative if it is before.
fn difference(later_ns: u64, earlier_ns: u64) -> i64 {
    let length = i64::try_from(later_ns.abs_diff(earlier_ns)).unwrap_or(i64::MAX);
    if later_ns < earlier_ns { -length } else { length }
}
