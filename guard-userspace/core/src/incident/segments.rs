//! How long each part of a recovery took.

use super::{Entry, Incident, Moment};

/// A part of a recovery, in nanoseconds since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What took so long: `detect` (from the death, or the first bad answer, to the decision), `wait` (a backoff), `prepare` (from the
    /// decision to the fork), `exec`, `listen`, `ready`.
    pub name: &'static str,
    /// When it began.
    pub from_ns: u64,
    /// When it ended: not before it began, although what the parts are told by may be told late.
    pub until_ns: u64,
}

impl Segment {
    /// How long it took.
    #[must_use]
    pub const fn length_ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.from_ns)
    }
}

impl Incident {
    /// The parts of the last recovery within it: after the last death, or without one after the first bad answer. Those that were
    /// not seen are left out, and the next one begins earlier.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let is = |kind: Moment| move |entry: &Entry| entry.kind == kind;
        let death = self.timeline.iter().rposition(is(Moment::Death));
        let begin = death.or_else(|| self.timeline.iter().position(is(Moment::BadAnswer)));
        let Some((first, rest)) = begin.and_then(|begin| self.timeline.get(begin..)?.split_first()) else {
            return vec![];
        };
        let mut segments = vec![];
        let (mut from_ns, mut stage) = (first.time_ns, Moment::Death);
        for entry in rest {
            // Each moment is later than those before it in the recovery's own order; what comes again came first.
            let Some(name) = name(stage, entry.kind) else { continue };
            let until_ns = entry.time_ns.max(from_ns);
            segments.push(Segment { name, from_ns, until_ns });
            (from_ns, stage) = (until_ns, entry.kind);
        }
        segments
    }

    /// How long it lasted, from its beginning to the first moment at which it was known to be good; `None` while it is open.
    #[must_use]
    pub fn downtime_ns(&self) -> Option<u64> {
        let end_ns = self.recovery.map(|(_, good_ns)| good_ns).or(self.closed_ns)?;
        self.closed_ns.map(|_| end_ns.saturating_sub(self.opened_ns))
    }

    /// Whether it lasted no longer than it may; `None` while it is open, and without an `rto`.
    #[must_use]
    pub fn within_rto(&self) -> Option<bool> {
        Some(self.downtime_ns()? <= self.rto_ns?)
    }
}

/// The part of a recovery that ends at a moment, if it can follow `after`.
fn name(after: Moment, kind: Moment) -> Option<&'static str> {
    let name = match (after, kind) {
        (Moment::Death, Moment::Wait | Moment::Decision) => "detect",
        (Moment::Wait, Moment::Decision) => "wait",
        (_, Moment::Fork) => "prepare",
        (_, Moment::Exec) => "exec",
        (_, Moment::Listen) => "listen",
        (_, Moment::Ready | Moment::GoodAnswer) => "ready",
        _ => return None,
    };
    (kind > after).then_some(name)
}
