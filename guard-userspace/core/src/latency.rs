//! Scheduler latency: how long the threads of a watch group waited, as distributions; and single waits that
//! were too long.

use crate::event::Name;
use crate::ids::ProcId;

/// Buckets of a histogram.
pub const BUCKETS: usize = guard_common::limits::LATENCY_BUCKETS;

/// Waits by length: bucket 0 counts those below 2 us, bucket `n` those from 2^n us to below 2^(n+1) us, the
/// last one all that are longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Waits in each bucket.
    pub buckets: [u64; BUCKETS],
}

impl Histogram {
    /// How many waits there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, waits| sum.saturating_add(*waits))
    }

    /// The length, in nanoseconds, that the given share of all waits stayed below: the upper end of the bucket
    /// that the quantile falls into. `None` without waits.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0_u64;
        let bucket = self.buckets.iter().position(|&waits| {
            seen = waits.saturating_add(seen);
            seen >= wanted
        })?;
        Some(1000 << (bucket + 1))
    }

    /// The waits since an earlier state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        for (now, before) in buckets.iter_mut().zip(earlier.buckets) {
            *now = now.saturating_sub(before);
        }
        Self { buckets }
    }

    /// Adds the waits of another.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What the scheduler made the threads of one watch group wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLatency {
    /// From runnable (woken up, or preempted) to running.
    pub run_queue: Histogram,
    /// Off the CPU by own wish, or stopped: from sleeping to running.
    pub voluntary: Histogram,
    /// Off the CPU although runnable: from being preempted to running.
    pub involuntary: Histogram,
    /// Off the CPU in a sleep that no signal ends, such as for a disk.
    pub uninterruptible: Histogram,
    /// Waits that ended before they began, by the clock: dropped.
    pub negative: u64,
    /// Waits that were not followed because too many threads waited at once.
    pub missed: u64,
}

impl GroupLatency {
    /// What came on top of an earlier state of the same group.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            run_queue: self.run_queue.since(&earlier.run_queue),
            voluntary: self.voluntary.since(&earlier.voluntary),
            involuntary: self.involuntary.since(&earlier.involuntary),
            uninterruptible: self.uninterruptible.since(&earlier.uninterruptible),
            negative: self.negative.saturating_sub(earlier.negative),
            missed: self.missed.saturating_sub(earlier.missed),
        }
    }

    /// Adds the waits of another.
    pub fn add(&mut self, other: &Self) {
        self.run_queue.add(&other.run_queue);
        self.voluntary.add(&other.voluntary);
        self.involuntary.add(&other.involuntary);
        self.uninterruptible.add(&other.uninterruptible);
        self.negative = self.negative.saturating_add(other.negative);
        self.missed = self.missed.saturating_add(other.missed);
    }

    /// Whether nobody waited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a watch group waited in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// The number of the group.
    pub group: u16,
    /// Length of the interval that ends with the event, in nanoseconds.
    pub interval_ns: u64,
    /// The waits that ended in it.
    pub waits: GroupLatency,
}

/// A thread waited longer than the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// What for.
    pub what: Waited,
    /// The thread.
    pub thread: u32,
    /// The CPU on which it runs again; where it ran last, if it still waits.
    pub cpu: u32,
    /// How long, in nanoseconds: until now, if it still waits.
    pub waited_ns: u64,
    /// It still waits. Told once; when the wait ends, that is an event of its own.
    pub ongoing: bool,
}

/// What a stalled thread waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The CPU: it could run. Who had that CPU: until then, or, if that one had just come, when the wait
    /// began. `None` if nobody had, because the group was throttled, say.
    RunQueue(Option<Instead>),
    /// The end of a sleep that no signal ends, such as for a disk.
    Uninterruptible,
}

/// Who ran while another waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instead {
    /// Identity.
    pub id: ProcId,
    /// The thread.
    pub thread: u32,
    /// Command name.
    pub name: Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_upper_ends_of_their_buckets() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ns(0.5), None);
        histogram.buckets[0] = 99;
        histogram.buckets[10] = 1;
        assert_eq!(histogram.quantile_ns(0.0), Some(2_000));
        assert_eq!(histogram.quantile_ns(0.5), Some(2_000));
        assert_eq!(histogram.quantile_ns(0.99), Some(2_000));
        assert_eq!(histogram.quantile_ns(1.0), Some(2_048_000));
    }
}
