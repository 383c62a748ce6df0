//! What a sample says in comparison with the one before.

use crate::aged::Aged;
use crate::ids::ProcId;
use crate::resources::{Percent, Resources};

/// The sample of each process that the next one is compared with.
#[derive(Debug)]
pub(crate) struct Samples {
    last: Aged<ProcId, Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    time_ns: u64,
    cpu_ns: u64,
}

impl Samples {
    /// For at most so many processes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { last: Aged::new(limit) }
    }

    /// CPU time since the sample before, in percent of one core. `None` for the first sample of a process, and where
    /// the two cannot be compared: then the earlier one stays, and the next is compared with that.
    ///
    /// The clock can stand still between two samples, and CPU time can go backwards: a thread that ends while a pass is
    /// under way is neither among the living nor yet among the ended ones.
    pub(crate) fn cpu(&mut self, sample: &Resources) -> Option<Percent> {
        let Resources { id, time_ns, cpu_ns, .. } = *sample;
        let Some(last) = self.last.get_mut(id) else {
            self.last.insert(id, Last { time_ns, cpu_ns }, true);
            return None;
        };
        let passed_ns = time_ns.checked_sub(last.time_ns)?;
        let share = Percent::of(cpu_ns.checked_sub(last.cpu_ns)?, passed_ns)?;
        *last = Last { time_ns, cpu_ns };
        Some(share)
    }

    /// A process has ended.
    pub(crate) fn forget(&mut self, id: ProcId) {
        self.last.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn sample(pid: u32, time_ns: u64, cpu_ns: u64) -> Resources {
        Resources { id: ProcId { pid, start_ns: 1 }, time_ns, cpu_ns, ..Resources::default() }
    }

    fn shares<const N: usize>(samples: [Resources; N]) -> [Option<u64>; N] {
        let mut known = Samples::new(8);
        samples.map(|sample| known.cpu(&sample).map(|share| share.hundredths))
    }

    #[test]
    fn shares_of_one_core_since_the_last_sample() {
        let told = shares([
            sample(1, SECOND, 500),
            sample(2, SECOND, 7),
            sample(1, 2 * SECOND, SECOND / 4 + 500),
            sample(1, 4 * SECOND, SECOND / 4 + 500),
            sample(2, 2 * SECOND, 2 * SECOND + 7),
        ]);
        assert_eq!(told, [None, None, Some(2_500), Some(0), Some(20_000)]);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_no_share() {
        let told = shares([
            sample(1, SECOND, 0),
            sample(1, SECOND, 10),
            sample(1, SECOND / 2, 20),
            sample(1, 2 * SECOND, SECOND),
        ]);
        assert_eq!(told, [None, None, None, Some(10_000)], "the last is compared with the first");
    }

    #[test]
    fn a_counter_that_goes_backwards_gives_no_share_and_is_made_up_for() {
        let told = shares([
            sample(1, SECOND, 10 * SECOND),
            sample(1, 2 * SECOND, 9 * SECOND),
            sample(1, 3 * SECOND, 11 * SECOND),
        ]);
        assert_eq!(told, [None, None, Some(5_000)]);
    }

    #[test]
    fn another_process_with_the_same_pid_begins_anew() {
        let mut samples = Samples::new(8);
        samples.cpu(&sample(1, SECOND, 10 * SECOND));
        let mut later = sample(1, 2 * SECOND, 11 * SECOND);
        later.id.start_ns = 2;
        assert_eq!(samples.cpu(&later), None);
        samples.forget(later.id);
        assert_eq!(samples.cpu(&later), None);
    }
}
