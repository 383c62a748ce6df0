//! Every capacity of the sensor, in one place, with its unit.

/// Bytes of a task's `comm`, the terminating NUL included (the kernel's `TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;

/// Bytes of variable data in a small exec record: paths and arguments of nearly every exec.
pub const EXEC_SMALL_BYTES: usize = 768;

/// Bytes of variable data in a large exec record: [`ARGS_BYTES`] of arguments and two paths of
/// up to `PATH_MAX` (4096) bytes, with room for the last component's fixed-size copy.
pub const EXEC_LARGE_BYTES: usize = 4 * 4096;

/// Bytes of the argument vector that a large exec record keeps; more is marked as truncated.
pub const ARGS_BYTES: usize = 6 * 1024;

/// Bytes of the argument vector up to which a small exec record is tried first.
pub const ARGS_SMALL_BYTES: usize = 384;

/// Bytes of one path component with its NUL (`NAME_MAX` + 1).
pub const COMPONENT_BYTES: usize = 256;

/// Path components walked before a path is marked as truncated.
pub const PATH_COMPONENTS: usize = 64;

/// Mounts crossed on the way to the root before a path is marked as truncated.
pub const PATH_MOUNTS: usize = 8;

/// Bytes of a control group path that a record keeps.
pub const CGROUP_PATH_BYTES: usize = 1024;

/// Bytes of the ring unless the user asks otherwise: at the highest storm seen on two cores
/// (about 3 MiB of records a second) it holds over two seconds of an absent reader.
pub const RING_BYTES: u32 = 8 * 1024 * 1024;

/// Thread groups of which one exit is elected where the kernel does not say which thread was last.
pub const EXIT_CLAIMS: u32 = 4096;

/// Processes that a watch (`--pid`, `--tree`) can follow at once.
pub const WATCHED_PROCESSES: u32 = 65_536;
