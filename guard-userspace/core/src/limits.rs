//! Every capacity and every window of the core, with its unit.

/// Bounds of the core's memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processes kept, the living and the recently ended.
    pub processes: usize,
    /// Of these, the recently ended: for who sent a signal, who was whose parent, and records that come late.
    pub ended: usize,
    /// Control groups kept, the existing and the recently removed.
    pub cgroups: usize,
}

impl Default for Limits {
    /// Room for 16 times the host that the performance envelope speaks of (1,000 processes), and for those who ended within 2 s where
    /// 1,000 end each second. Measured when full (`--example replay`): 640 bytes for each living one with a short command line,
    /// less for an ended one, so 1 MiB for them, and at most 10 MiB in all.
    fn default() -> Self {
        Self { processes: 16_384, ended: 2_048, cgroups: 4_096 }
    }
}

/// Nanoseconds for which the verdict on a SIGKILL without a sender waits for the out-of-memory
/// killer's own record. That record follows the exit record in half of the tries; stamps were
/// seen to run 14 ms backwards in the ring (Linux 7.2).
pub(crate) const VERDICT_WINDOW_NS: u64 = 20_000_000;

/// Exits that wait for their verdict at once; one more releases the oldest. The end of a pid
/// namespace kills all its processes without a sender.
pub(crate) const HELD_EXITS: usize = 4_096;

/// Events of one process that queue up behind its held exit; one more releases it.
pub(crate) const HELD_FOLLOWERS: usize = 64;

/// Signals remembered per living process, each of another number.
pub(crate) const REMEMBERED_SIGNALS: usize = 4;

/// Nanoseconds between a process's start and its fork record within which a fork without a start
/// time is taken for a process that the snapshot already holds. The kernel takes the start time
/// at the end of `copy_process`, microseconds before the tracepoint; a preempted parent is late.
pub(crate) const FORK_DELAY_NS: u64 = 1_000_000_000;

/// Nanoseconds from one comparison with the kernel's own list of processes to the next at least.
/// It takes about 1 us a process, so 1,000 processes cost 0.4% of a core where the ring overflows
/// without end.
pub(crate) const RESYNC_INTERVAL_NS: u64 = 250_000_000;

/// Looks of a check that are remembered: `m of n` has an `n` of at most so many. One bit each.
pub(crate) const FLAP_WINDOW: u32 = 64;

/// Looks without an answer, in a row, after which a check is unknown. One lost answer is common (a probe's own resources run
/// out for a moment); three in a row are a state.
pub(crate) const UNKNOWN_AFTER: u32 = 3;

/// Nanoseconds after which samples of what a subject uses say nothing of what it uses now; or three times their interval, if that
/// is longer.
pub(crate) const SAMPLES_STALE_NS: u64 = 30_000_000_000;

/// Answers whose times are remembered for a quantile: 16 bytes each. At one a second, over an hour.
pub(crate) const ANSWERS: usize = 4_096;

/// Restarts and ends of a subject that are remembered. 8 bytes each.
pub(crate) const MOMENTS: usize = 1_024;

/// Slices of a window of scheduler waits: a histogram of 200 bytes each, so 5 KiB for each check of that kind.
pub(crate) const SLICES: u64 = 24;

/// Slices of a window of memory growth: 24 bytes each. The rate is the median of 276 slopes, about 2 us.
pub(crate) const GROWTH_SLICES: u64 = 24;

/// Bytes that a compiled regular expression may take.
pub(crate) const PATTERN_BYTES: usize = 1 << 20;

/// The shortest time between two looks of a check, and of what policies wait for: 1 ms. Timers of a policy cannot keep a core busy.
pub(crate) const TIMER_NS: u64 = 1_000_000;
