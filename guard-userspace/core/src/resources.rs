//! What processes and groups of them use, as sampled.

use std::fmt;

use crate::ids::ProcId;

/// What one process uses, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// The process.
    pub id: ProcId,
    /// When it was sampled, in nanoseconds since boot.
    pub time_ns: u64,
    /// CPU time of all its threads so far, in nanoseconds.
    pub cpu_ns: u64,
    /// Time that its present threads were runnable and did not run, in nanoseconds; `None` where the kernel does
    /// not account it. The kernel forgets that of threads that end, so it can become less.
    pub run_delay_ns: Option<u64>,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Swapped-out memory, in bytes.
    pub swap_bytes: u64,
    /// Open file descriptors.
    pub open_files: u32,
    /// How many it may have open (the soft limit); `None`: no limit.
    pub open_files_limit: Option<u64>,
    /// Threads.
    pub threads: u32,
    /// Bytes read from storage so far; `None` where the kernel does not account I/O.
    pub read_bytes: Option<u64>,
    /// Bytes written to storage so far.
    pub write_bytes: Option<u64>,
    /// Id of its control group within `cgroup_hierarchy`.
    pub cgroup_id: u64,
    /// 0 for cgroup v2, else the id of the v1 hierarchy.
    pub cgroup_hierarchy: u32,
}

/// A sample of a process, and what it says in comparison with the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// What it uses.
    pub used: Resources,
    /// CPU time since the sample before; `None` if there is none that this one can be compared with.
    pub cpu: Option<Percent>,
}

/// What a control group uses, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupResources {
    /// Memory in use, in bytes; `None` without a memory controller.
    pub memory_bytes: Option<u64>,
    /// Memory limit of this group itself, in bytes; `None`: no limit, or no controller.
    pub memory_limit_bytes: Option<u64>,
    /// Pressure stall information; `None` where the kernel has none for the group.
    pub cpu_pressure: Option<Pressure>,
    /// The same for memory.
    pub memory_pressure: Option<Pressure>,
    /// The same for input and output.
    pub io_pressure: Option<Pressure>,
}

/// How much tasks of a group were stalled for lack of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// At least one task was stalled.
    pub some: Stalled,
    /// All tasks were stalled at once; `None` where the kernel does not say, as for CPUs before 5.13.
    pub full: Option<Stalled>,
}

/// Time in which tasks were stalled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalled {
    /// Share of the last 10 s.
    pub avg10: Percent,
    /// Nanoseconds so far.
    pub total_ns: u64,
}

/// A share in percent, exact to two decimals. Of CPU time: of one core, so two busy cores are 200%.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    /// Hundredths of a percent.
    pub hundredths: u64,
}

impl Percent {
    /// `part` of `whole`, rounded down; `None` if the whole is nothing.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Option<Self> {
        let hundredths = (u128::from(part) * 10_000).checked_div(u128::from(whole))?;
        Some(Self { hundredths: u64::try_from(hundredths).unwrap_or(u64::MAX) })
    }

    /// As a number for calculations and gauges.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.hundredths as f64 / 100.0
    }
}

impl fmt::Display for Percent {
    /// `12.34`, without a sign behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.hundredths / 100, self.hundredths % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_to_two_decimals() {
        let of = |part, whole| Percent::of(part, whole).map(|share| share.to_string());
        assert_eq!(of(1, 3).as_deref(), Some("33.33"));
        assert_eq!(of(2, 1).as_deref(), Some("200.00"));
        assert_eq!(of(0, 7).as_deref(), Some("0.00"));
        assert_eq!(of(u64::MAX, 1).as_deref(), Some("184467440737095516.15"));
        assert_eq!(of(5, 0), None);
    }
}
