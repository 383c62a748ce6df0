//! Scheduler latency: how long the threads of a watch group waited, as distributions.

/// Buckets of a histogram.
pub const BUCKETS: usize = 32;

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
        self.buckets.iter().sum()
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
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|&waits| {
            seen += waits;
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
            *sum += more;
        }
    }
}

/// What the scheduler made the threads of one watch group wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLatency {
    /// From runnable (woken up, or preempted) to running.
    pub run_queue: Histogram,
    /// Off the CPU by own wish: from sleeping to running.
    pub voluntary: Histogram,
    /// Off the CPU although runnable: from being preempted to running.
    pub involuntary: Histogram,
    /// Off the CPU in a sleep that no signal ends, such as for a disk.
    pub uninterruptible: Histogram,
    /// Waits that ended before they began, by the clock: dropped.
    pub negative: u64,
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
