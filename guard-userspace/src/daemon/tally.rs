//! What is counted since the daemon was started, for metrics.

use std::collections::BTreeMap;

use guard_common::wire::Kind;
use guard_core::event::{Cause, Event, Exit, ExitStatus};
use guard_core::incident::Incident;
use guard_core::supervise::Deed;

use crate::filter;

/// Upper bounds of the recovery-time histogram, in seconds: from a fraction of what a bare restart takes to ten minutes.
pub const RECOVERY_BOUNDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];

/// How long recoveries took, in a histogram that does not grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recoveries {
    /// How many took at most the bound of the same place, and longer than the one before; the last: longer than all.
    pub buckets: [u64; RECOVERY_BOUNDS.len() + 1],
    /// All together, in seconds.
    pub sum: f64,
}

impl Recoveries {
    /// Another one.
    pub fn add(&mut self, seconds: f64) {
        let at = RECOVERY_BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(RECOVERY_BOUNDS.len());
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.sum += seconds;
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) records: [u64; Kind::COUNT],
    pub(super) actions: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) restarts: BTreeMap<(String, &'static str), u64>,
    pub(super) recoveries: BTreeMap<String, Recoveries>,
    pub(super) downtime_ns: BTreeMap<String, u64>,
    pub(super) answers: BTreeMap<(String, String, &'static str), u64>,
}

impl Tally {
    pub(super) fn event(&mut self, event: &Event) {
        if let Some(count) = self.records.get_mut(filter::kind(&event.action).0 as usize) {
            *count += 1;
        }
    }

    /// `outcome`: `done`, `failed`, `withheld` or `observed`.
    pub(super) fn action(&mut self, deed: &'static str, outcome: &'static str) {
        *self.actions.entry((deed, outcome)).or_default() += 1;
    }

    pub(super) fn restart(&mut self, service: &str, cause: &'static str) {
        *self.restarts.entry((service.to_owned(), cause)).or_default() += 1;
    }

    pub(super) fn answer(&mut self, service: &str, check: &str, result: &'static str) {
        *self.answers.entry((service.to_owned(), check.to_owned(), result)).or_default() += 1;
    }

    /// An incident is over.
    pub(super) fn closed(&mut self, incident: &Incident) {
        let Some(closed_ns) = incident.closed_ns else { return };
        let down_ns = closed_ns.saturating_sub(incident.opened_ns);
        *self.downtime_ns.entry(incident.service.clone()).or_default() += down_ns;
        if incident.recovery.is_some() {
            #[expect(clippy::cast_precision_loss, reason = "a histogram's bucket")]
            let seconds = down_ns as f64 / 1e9;
            self.recoveries.entry(incident.service.clone()).or_default().add(seconds);
        }
    }

    /// Services that are gone are not told any more.
    pub(super) fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.restarts.retain(|(service, _), _| is_known(service));
        self.recoveries.retain(|service, _| is_known(service));
        self.downtime_ns.retain(|service, _| is_known(service));
        self.answers.retain(|(service, ..), _| is_known(service));
    }
}

/// What a deed is called among the actions.
pub(super) const fn deed(deed: &Deed) -> &'static str {
    match deed {
        Deed::Start { .. } => "start",
        Deed::RestartVia { .. } => "restart_via",
        Deed::Signal { .. } => "signal",
        Deed::Kill { .. } => "kill",
        Deed::Freeze(_) => "freeze",
        Deed::Thaw(_) => "thaw",
        Deed::Renice { .. } => "renice",
        Deed::Run { purpose, .. } => purpose,
        Deed::Alert { .. } => "alert",
    }
}

/// Why a main process ended, as restarts are counted.
pub(super) const fn cause(exit: &Exit) -> &'static str {
    match (&exit.cause, exit.status) {
        (Cause::Oom(_), _) => "oom",
        (Cause::Fault, _) => "fault",
        (_, ExitStatus::Signal { .. }) => "signal",
        (_, ExitStatus::Code(0)) => "success",
        (_, ExitStatus::Code(_)) => "error",
        (_, ExitStatus::Unknown) => "unknown",
    }
}
