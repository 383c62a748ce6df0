//! Every capacity of the sensor, in one place, with its unit.

/// Bytes of a task's `comm`, the terminating NUL included (the kernel's `TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Bytes of variable data in a small exec record: paths and arguments of most execs.
pub const EXEC_SMALL_BYTES: usize = 512;

/// Bytes of arguments up to which a small exec record is tried first.
pub const ARGS_SMALL_BYTES: usize = 192;

/// Bytes of variable data in a large exec record: [`ARGS_LARGE_BYTES`] of arguments and as much for
/// both paths together.
pub const EXEC_LARGE_BYTES: usize = 8192;

/// Bytes of the argument vector that any exec record keeps at most; more is marked as truncated.
pub const ARGS_LARGE_BYTES: usize = 4096;

/// Bytes of one path component with its NUL (`NAME_MAX` + 1).
pub const COMPONENT_BYTES: usize = 256;

/// Path components walked in a file's own mount before the path is marked as truncated; half as many
/// components and mounts are walked below that one.
pub const PATH_STEPS: u32 = 64;

/// The same for a small exec record: a longer path takes the large one. Each step is followed by the
/// verifier, and most of the time that a start takes goes there.
pub const PATH_STEPS_SMALL: u32 = 20;

/// Threads of an ending process whose use of resources is added up one by one.
pub const EXIT_THREADS: u32 = 64;

/// Youngest children among which the classic fork hook looks for the one just made.
pub const YOUNGEST_CHILDREN: u32 = 32;

/// Bytes of a control group path that a record keeps.
pub const CGROUP_PATH_BYTES: usize = 1024;

/// Bytes of the ring unless the user asks otherwise. The highest storm that two cores made, 10,000
/// spawns a second, is about 10 MiB of records a second: this holds 400 ms of it, twenty times the
/// reader's interval. The reader maps it: it counts as its memory.
pub const RING_BYTES: u32 = 4 * 1024 * 1024;

/// Thread groups of which one exit is elected where the kernel does not say which thread was last.
pub const EXIT_CLAIMS: u32 = 4096;

/// Execs under way at once of which gained privileges are remembered.
pub const EXEC_NOTES: u32 = 1024;

/// Pids that a kernel can give at most (`PID_MAX_LIMIT` on 64-bit machines).
pub const PIDS: u32 = 4_194_304;

/// Ended watched processes of which the kernel remembers the status until it is persisted.
pub const TOMBSTONES: u32 = 4096;

/// Watch groups at once, group 0 ("not watched") included.
pub const WATCH_GROUPS: u32 = 1024;

/// Words of the bitmap of open files that are counted in the kernel: 65,536 descriptors, at 10 ns a word.
pub const FILES_WORDS: u32 = 1024;

/// CPUs of which the parts of a process's memory counters are added up.
pub const SUMMED_CPUS: u32 = 512;

/// Threads of watched processes whose waits are followed at once: 110 bytes of kernel memory each, if
/// scheduler latency is asked for.
pub const LATENCY_THREADS: u32 = 16_384;

/// Buckets of a latency histogram: powers of two of a microsecond. The last one begins at 36 minutes.
pub const LATENCY_BUCKETS: usize = 32;

/// Nanoseconds in the run queue that make a stall unless the user asks otherwise.
pub const RUN_QUEUE_STALL_NS: u64 = 50_000_000;

/// Nanoseconds of uninterruptible sleep that make a stall unless the user asks otherwise.
pub const UNINTERRUPTIBLE_STALL_NS: u64 = 1_000_000_000;

/// Nanoseconds for which the preemption probe's program runs, on a machine that copies no faster
/// than the next two allow.
pub const PROBE_NS: u64 = 8_000_000;

/// Bytes that the preemption probe copies onto themselves to pass the time.
pub const PROBE_SINK_BYTES: usize = 128 * 1024;

/// Copies at most: at 32 GB/s, the most that one CPU does, 2 ms. Each is followed by the verifier.
pub const PROBE_COPIES: u32 = 512;
