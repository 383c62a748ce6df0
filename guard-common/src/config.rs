//! What userspace fixes before the programs load: constants to the verifier.

/// How the programs behave. Written once into the read-only global `CONFIG`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Id of the control group that a process must be in or below, if `filter` has
    /// [`FILTER_CGROUP`].
    pub cgroup_id: u64,
    /// Nanoseconds in the run queue from which on a stall is told, if `kinds` has them.
    pub stall_run_queue_ns: u64,
    /// Nanoseconds of uninterruptible sleep from which on a stall is told.
    pub stall_uninterruptible_ns: u64,
    /// Its hierarchy: 0 for cgroup v2.
    pub cgroup_hierarchy: u32,
    /// Its depth below the root.
    pub cgroup_level: u32,
    /// Real user id that a process must have, if `filter` has [`FILTER_UID`].
    pub uid: u32,
    /// Kinds of which records are made: bit `1 << kind`.
    pub kinds: u32,
    /// `FILTER_*` flags: all must hold for a record to be made.
    pub filter: u32,
    /// `WATCH*` flags: how the watch set is kept.
    pub watch: u32,
    /// `HAS_*` flags: what this kernel's hooks give.
    pub kernel: u32,
    /// Thread whose clone the preemption probe watches.
    pub probe_tid: u32,
    /// Offset of `child_pid` in the classic fork tracepoint's record.
    pub fork_child_pid: u32,
    /// Offset of `old_pid` in the classic exec tracepoint's record.
    pub exec_old_pid: u32,
    /// Offset of `group_dead` in the classic exit tracepoint's record.
    pub exit_group_dead: u32,
    /// Possible CPUs: entries of the map `LATENCY` for each watch group.
    pub cpus: u32,
}

/// Only watched processes: those with a group in the map `GROUPS_BY_PID`.
pub const FILTER_WATCHED: u32 = 1 << 0;
/// Only processes of one user.
pub const FILTER_UID: u32 = 1 << 1;
/// Only processes in or below one control group.
pub const FILTER_CGROUP: u32 = 1 << 2;
/// No SIGCHLD that the kernel sends for a child's end: the exit record says the same.
pub const FILTER_CHILD_SIGNALS: u32 = 1 << 3;

/// There is a watch set: a process leaves it when it ends.
pub const WATCH: u32 = 1 << 0;
/// A child joins its parent's watch group when it is born.
pub const WATCH_INHERIT: u32 = 1 << 1;
/// The status of a watched process is kept in the map `TOMBSTONES_BY_PROCESS` when it ends.
pub const WATCH_TOMBSTONES: u32 = 1 << 2;
/// The waits of watched threads are followed: an ending one is forgotten.
pub const WATCH_LATENCY: u32 = 1 << 3;

/// `sched_process_exit` says whether the thread is its group's last.
pub const HAS_GROUP_DEAD: u32 = 1 << 0;
/// `mark_victim` gives a task and not only a pid.
pub const HAS_VICTIM_TASK: u32 = 1 << 1;
/// `sched_prepare_exec` shows credentials before and after an exec (since 6.10).
pub const HAS_PREPARE_EXEC: u32 = 1 << 2;
/// Control groups of the first version are in use, with the pids or the memory controller.
pub const HAS_CGROUP_V1: u32 = 1 << 4;
/// `sched_switch` gives the state of the task that leaves (since 5.18).
pub const HAS_SWITCH_STATE: u32 = 1 << 3;

const _: () = assert!(size_of::<Config>() == 72);

#[cfg(feature = "user")]
// SAFETY: `#[repr(C)]`, integers only, no padding (asserted above).
unsafe impl aya::Pod for Config {}
