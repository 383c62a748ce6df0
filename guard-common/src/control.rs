//! Memory that the programs and the reader share while they run.

use crate::limits::{COMM_BYTES, LATENCY_BUCKETS};
use crate::wire::{Kind, ProcKey};

/// The reader is woken by any record.
pub const ARMED: u64 = 1;
/// The reader is woken by a record of one of [`DEADLY_SIGNALS`] to a watched process.
pub const ARMED_FOR_DEATH: u64 = 2;

/// Signals that end processes, and that few of them live on after: bit 0 is signal 1. SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGBUS,
/// SIGFPE, SIGKILL, SIGSEGV, SIGTERM.
pub const DEADLY_SIGNALS: u32 =
    1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 14;

/// Whether a signal is one of [`DEADLY_SIGNALS`].
#[must_use]
pub const fn is_deadly(number: u32) -> bool {
    matches!(number, 1..=32) && DEADLY_SIGNALS >> (number - 1) & 1 != 0
}

/// The single entry of the map `CONTROL`: how the reader asks to be woken.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Control {
    /// [`ARMED`] while the reader waits. The first program that submits a record after that clears it
    /// and wakes the reader; all others leave their record without an interrupt. [`ARMED_FOR_DEATH`] while
    /// it lets a crowd of records gather: only a deadly signal to a watched process wakes it.
    pub armed: u64,
    /// [`MAGIC`], if the sensor is one of ours.
    pub magic: u64,
    /// [`crate::wire::VERSION`] of its records.
    pub wire: u64,
    /// When it was attached, in nanoseconds since boot: its identity.
    pub instance: u64,
    /// Process that reads the ring, or read it last.
    pub holder: u64,
    /// When another sensor took over, in nanoseconds since boot: what is stamped later is the other's to tell. 0:
    /// not yet.
    pub superseded: u64,
}

/// "PGSENSOR", as bytes in memory.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PGSENSOR");

/// An entry of the map `TOMBSTONES`: how a watched process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tombstone {
    /// When, in nanoseconds since boot.
    pub time_ns: u64,
    /// What `wait()` reports.
    pub status: u64,
}

#[cfg(feature = "user")]
// SAFETY: `#[repr(C)]`, integers only, no padding.
unsafe impl aya::Pod for Tombstone {}

/// An entry of the map `COUNTERS`, one per possible CPU. Only programs on that CPU write it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CpuCounters {
    /// Records attempted, by kind: the sequence number of the last one.
    pub attempted: [u64; Kind::COUNT],
    /// Records lost because the ring was full, by kind.
    pub ring_full: [u64; Kind::COUNT],
    /// Wake-ups sent to the reader.
    pub wakeups: u64,
    /// Fills three cache lines, so that two CPUs never write to the same one.
    pub reserved: [u64; 7],
}

/// An entry of the map `GROUPS_BY_PID`: the watch groups of the thread groups `4 * index` to
/// `4 * index + 3`, each a number below [`crate::limits::WATCH_GROUPS`]; 0: not watched.
pub type GroupsOfPids = [u16; PIDS_AN_ENTRY as usize];

/// Pids whose groups share an entry: what fits into the 8 bytes to which an array rounds its entries.
pub const PIDS_AN_ENTRY: u32 = 4;

/// The thread could run and did not: from waking up, or from being preempted, to running.
pub const WAIT_RUN_QUEUE: u32 = 0;
/// Off the CPU by own wish, or stopped: from sleeping to running.
pub const WAIT_VOLUNTARY: u32 = 1;
/// Off the CPU although it could run: from being preempted to running.
pub const WAIT_INVOLUNTARY: u32 = 2;
/// Off the CPU in a sleep that no signal ends: from sleeping to running.
pub const WAIT_UNINTERRUPTIBLE: u32 = 3;
/// How many `WAIT_*` there are.
pub const WAITS: usize = 4;

/// An entry of the map `LATENCY`: what the threads of one watch group waited that then ran on one CPU, at
/// index `group * possible CPUs + cpu`. Only the program on that CPU writes it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CpuLatency {
    /// How many waits, by `WAIT_*` and length: bucket 0 counts those below 2 us, bucket `n` those from 2^n us
    /// to below 2^(n+1) us, the last one all that are longer.
    pub waits: [[u64; LATENCY_BUCKETS]; WAITS],
    /// Waits that ended before they began, by the clock: in no bucket.
    pub negative: u64,
    /// Waits that were not followed because too many threads waited at once.
    pub missed: u64,
    /// Fills whole cache lines, so that two CPUs never write to the same one.
    pub reserved: [u64; 6],
}

/// An entry of the map `THREADS`: what a watched thread waits for. All times are on the monotonic clock.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Thread {
    /// Since when it is off the CPU; 0: it runs, or was not yet seen to leave a CPU.
    pub off_ns: u64,
    /// Since when it could run; 0: it cannot, or it runs.
    pub runnable_ns: u64,
    /// Its process; `tid` is its own id.
    pub process: ProcKey,
    /// Who had the CPU when it could run; `tgid` 0 if that is not known, or nobody had.
    pub first: ProcKey,
    /// That process's command name.
    pub first_comm: [u64; COMM_BYTES / 8],
    /// Why it is off the CPU: one of `WAIT_*` but the first.
    pub wait: u32,
    /// The CPU that it left.
    pub cpu: u32,
}

/// The entry of the map `LONG_RUNS`, one for each CPU: who lately had that CPU for long. All times are on the monotonic clock.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LongRuns {
    /// The longest, for as long after its end as it lasted.
    pub longest: LongRun,
    /// The longest since that one's end, for as long as it lasted. Whoever began to wait after the end of the longest waited for
    /// this one.
    pub since: LongRun,
    /// When one that seemed to have run for long last left the CPU.
    pub left_ns: u64,
}

/// One process's time on a CPU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LongRun {
    /// The process; `tgid` 0: nobody yet.
    pub process: ProcKey,
    /// Its command name.
    pub comm: [u64; COMM_BYTES / 8],
    /// For how long, in nanoseconds.
    pub ran_ns: u64,
    /// Until when.
    pub until_ns: u64,
}

/// In the first word of the map `PROBE`: the probing thread's next clone is to take its time. The
/// program puts in its place when it began, which no clock will say for 584 years.
pub const PROBE_ARMED: u64 = u64::MAX;

const _: () = assert!(size_of::<CpuCounters>() == (2 * Kind::COUNT + 8) * 8);
const _: () = assert!(size_of::<CpuCounters>().is_multiple_of(64));
const _: () = assert!(size_of::<Control>() == 48);
const _: () = assert!(size_of::<CpuLatency>() == (WAITS * LATENCY_BUCKETS + 8) * 8);
const _: () = assert!(size_of::<CpuLatency>().is_multiple_of(64));
const _: () = assert!(size_of::<Thread>() == 72);
const _: () = assert!(size_of::<LongRuns>() == 104);

#[cfg(feature = "user")]
// SAFETY: `#[repr(C)]`, integers only, no padding (asserted above).
unsafe impl aya::Pod for Thread {}
