//! What processes and groups of them use, as sampled.

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
    /// Time that its threads were runnable and did not run, in nanoseconds.
    pub run_delay_ns: u64,
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
}

/// What a control group uses, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupResources {
    /// Path of the group below its hierarchy's root.
    pub path: String,
    /// Memory in use, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory limit, in bytes; `None`: no limit, or no controller.
    pub memory_limit_bytes: Option<u64>,
    /// Pressure stall information; `None` where the kernel has none for the group.
    pub cpu_pressure: Option<Pressure>,
    /// The same for memory.
    pub memory_pressure: Option<Pressure>,
    /// The same for input and output.
    pub io_pressure: Option<Pressure>,
}

/// Share of time in which tasks of a group were stalled for lack of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Percent of the last 10 s in which at least one task was stalled.
    pub some_avg10: f64,
    /// Percent of the last 10 s in which all tasks were stalled at once.
    pub full_avg10: f64,
    /// Nanoseconds so far in which at least one task was stalled.
    pub some_total_ns: u64,
    /// Nanoseconds so far in which all tasks were.
    pub full_total_ns: u64,
}
