//! Memory that the programs and the reader share while they run.

use crate::wire::Kind;

/// The single entry of the map `CONTROL`: how the reader asks to be woken.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Control {
    /// 1 while the reader waits. The first program that submits a record after that clears it
    /// and wakes the reader; all others leave their record without an interrupt.
    pub armed: u64,
    /// [`MAGIC`], if the sensor is one of ours.
    pub magic: u64,
    /// [`crate::wire::VERSION`] of its records.
    pub wire: u64,
    /// When it was attached, in nanoseconds since boot: its identity.
    pub instance: u64,
    /// Process that reads the ring, or read it last.
    pub holder: u64,
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
    /// Fills two cache lines, so that two CPUs never write to the same one.
    pub reserved: u64,
}

/// An entry of the map `GROUPS_BY_PID`: the watch groups of the thread groups `4 * index` to
/// `4 * index + 3`, each a number below [`crate::limits::WATCH_GROUPS`]; 0: not watched.
pub type GroupsOfPids = [u16; PIDS_AN_ENTRY as usize];

/// Pids whose groups share an entry: what fits into the 8 bytes to which an array rounds its entries.
pub const PIDS_AN_ENTRY: u32 = 4;

const _: () = assert!(size_of::<CpuCounters>() == (2 * Kind::COUNT + 2) * 8);
const _: () = assert!(size_of::<CpuCounters>().is_multiple_of(64));
const _: () = assert!(size_of::<Control>() == 40);
