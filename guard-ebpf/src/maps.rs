//! Memory shared with userspace.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use guard_common::control::{Control, CpuCounters, CpuLatency, GroupsOfPids, LongRuns, Thread, Tombstone};
use guard_common::limits::{EXEC_NOTES, EXIT_CLAIMS, PROBE_SINK_BYTES, RING_BYTES, TOMBSTONES};
use guard_common::wire::ProcKey;

/// `BPF_F_MMAPABLE` of `linux/bpf.h`: userspace reads and writes the map as memory.
const MMAPABLE: u32 = 1 << 10;

/// All records. Resized by the loader.
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// How the reader asks to be woken.
#[map]
pub(crate) static CONTROL: Array<Control> = Array::with_max_entries(1, MMAPABLE);

/// Counters by CPU. Resized by the loader to the number of possible CPUs.
#[map]
pub(crate) static COUNTERS: Array<CpuCounters> = Array::with_max_entries(1, MMAPABLE);

/// Watch groups by thread group id. Resized by the loader to all pids there can be, if anything is
/// watched. An array and no hash: the scheduler's hooks ask it for every switch.
#[map]
pub(crate) static GROUPS_BY_PID: Array<GroupsOfPids> = Array::with_max_entries(1, MMAPABLE);

/// What watched threads wait for, by thread id. Allocated beforehand: the scheduler's hooks cannot. Resized
/// by the loader, if scheduler latency is asked for.
#[map]
pub(crate) static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(1, 0);

/// What watch groups waited, by group and CPU. Resized by the loader to the groups and CPUs that there are.
#[map]
pub(crate) static LATENCY: Array<CpuLatency> = Array::with_max_entries(1, MMAPABLE);

/// Who lately had this CPU for long.
#[map]
pub(crate) static LONG_RUNS: PerCpuArray<LongRuns> = PerCpuArray::with_max_entries(1, 0);

/// Processes whose exit one of several last threads has taken upon itself.
#[map]
pub(crate) static EXIT_CLAIMS_BY_PROCESS: LruHashMap<ProcKey, u32> =
    LruHashMap::with_max_entries(EXIT_CLAIMS, 0);

/// How watched processes ended, until a reader has put it down: also when the ring was full. The thread id
/// of the key is 0.
#[map]
pub(crate) static TOMBSTONES_BY_PROCESS: LruHashMap<ProcKey, Tombstone> =
    LruHashMap::with_max_entries(TOMBSTONES, 0);

/// What an exec under way gains, by thread group id; absent: nothing.
#[map]
pub(crate) static EXEC_NOTES_BY_PROCESS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(EXEC_NOTES, 0);

/// Holds nothing: shows where memory that each CPU has of its own lies on each CPU.
#[map]
pub(crate) static CPU_PLACES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// When the preemption probe's callback began and ended, on the monotonic clock; armed by
/// `PROBE_ARMED` in the first word.
#[map]
pub(crate) static PROBE: Array<[u64; 2]> = Array::with_max_entries(1, 0);

/// What the preemption probe copies into to pass the time.
#[map]
pub(crate) static PROBE_SINK: Array<[u8; PROBE_SINK_BYTES]> = Array::with_max_entries(1, 0);
