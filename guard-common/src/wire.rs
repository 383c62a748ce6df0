//! Records as they lie in the ring buffer.
//!
//! All integers are in the machine's byte order, all times are nanoseconds since boot
//! (`CLOCK_BOOTTIME`) and all ids are those of the initial namespaces unless a field says
//! otherwise. No record has padding; sizes are asserted below.

use core::mem::{offset_of, size_of};

use crate::limits::{CGROUP_PATH_BYTES, COMM_BYTES, EXEC_LARGE_BYTES, EXEC_SMALL_BYTES};

/// Version of this layout. A change of any record needs another number: whoever reads what an older
/// sensor left behind must know.
pub const VERSION: u32 = 1;

/// What a record tells. A newtype and not an enum: an unknown value must stay a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Kind(pub u32);

impl Kind {
    /// A thread group was created.
    pub const FORK: Self = Self(0);
    /// A process replaced its program.
    pub const EXEC: Self = Self(1);
    /// The last thread of a process ended.
    pub const EXIT: Self = Self(2);
    /// A signal was generated for a process.
    pub const SIGNAL: Self = Self(3);
    /// The out-of-memory killer chose a victim.
    pub const OOM: Self = Self(4);
    /// A TCP socket started to listen.
    pub const LISTEN: Self = Self(5);
    /// A control group was made, renamed or removed.
    pub const CGROUP: Self = Self(6);
    /// A watched thread waited too long.
    pub const STALL: Self = Self(7);
    /// A process that the task iterator found (never in the ring).
    pub const SNAPSHOT: Self = Self(8);
    /// What a watch group waited in an interval: made in userspace (never in the ring).
    pub const LATENCY: Self = Self(9);
    /// What a process or a control group uses: made in userspace (never in the ring).
    pub const RESOURCES: Self = Self(10);

    /// How many kinds the ring carries: the length of every per-kind counter.
    pub const COUNT: usize = 8;

    /// All kinds that the ring carries, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::FORK,
        Self::EXEC,
        Self::EXIT,
        Self::SIGNAL,
        Self::OOM,
        Self::LISTEN,
        Self::CGROUP,
        Self::STALL,
    ];

    /// The kind's name in output and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FORK => "fork",
            Self::EXEC => "exec",
            Self::EXIT => "exit",
            Self::SIGNAL => "signal",
            Self::OOM => "oom",
            Self::LISTEN => "listen",
            Self::CGROUP => "cgroup",
            Self::STALL => "stall",
            Self::SNAPSHOT => "snapshot",
            Self::LATENCY => "latency",
            Self::RESOURCES => "resources",
            _ => "unknown",
        }
    }
}

/// Begins every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// What follows.
    pub kind: Kind,
    /// CPU on which the record was made.
    pub cpu: u32,
    /// Number of this record among those of its kind on its CPU, counting lost ones, from 1.
    pub sequence: u64,
    /// When the program ran.
    pub time_ns: u64,
}

/// A process, never reused within a boot: thread group id and start time of its leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ProcKey {
    /// Start of the group leader; 0 if the kernel did not give it.
    pub start_ns: u64,
    /// Thread group id; 0 if there is no such process.
    pub tgid: u32,
    /// The thread within it that the record is about or that acted.
    pub tid: u32,
}

/// A process as its hook saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Task {
    /// The process.
    pub key: ProcKey,
    /// Its parent (the real parent, not a tracer).
    pub parent: ProcKey,
    /// Id of its control group within `cgroup_hierarchy`.
    pub cgroup_id: u64,
    /// Effective capabilities, one bit each.
    pub caps_effective: u64,
    /// Execs of the process and, before its birth, of those it descends from (`self_exec_id`): a
    /// child begins with its parent's number, each exec adds one. With the process it names an
    /// exec for ever.
    pub exec_count: u64,
    /// Hierarchy of `cgroup_id`: 0 for cgroup v2, else a v1 hierarchy's id.
    pub cgroup_hierarchy: u32,
    /// The thread group's id in its own pid namespace.
    pub ns_tgid: u32,
    /// Inode of that pid namespace.
    pub pid_namespace: u32,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// One of `TASK_*`.
    pub flags: u32,
    /// Command name, NUL-padded.
    pub comm: [u8; COMM_BYTES],
}

/// The task is a kernel thread.
pub const TASK_KERNEL_THREAD: u32 = 1 << 0;
/// Only in snapshots: no thread is alive any more, but the exit record may be yet to come.
pub const TASK_ENDING: u32 = 1 << 1;
/// Only in snapshots: the sensor's filters leave the process out, no records come of it.
pub const TASK_FILTERED: u32 = 1 << 2;
/// Only in snapshots: its parent is still in the call that made it; the fork record may be yet to come.
pub const TASK_NEW: u32 = 1 << 3;

/// A new thread group.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Fork {
    /// Kind, time and place.
    pub header: Header,
    /// The child.
    pub child: Task,
}

/// The fixed part of an exec record. `exe_bytes`, `cwd_bytes` and `args_bytes` of variable data
/// follow in that order; a path is a run of NUL-terminated components, the last one first.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Exec {
    /// Kind, time and place.
    pub header: Header,
    /// The process after the exec.
    pub task: Task,
    /// Effective capabilities that the old program did not have; [`UNKNOWN`] where the kernel has
    /// no hook before the change of credentials.
    pub caps_gained: u64,
    /// Inode of the executable.
    pub exe_inode: u64,
    /// Device of the executable as the kernel encodes it: major << 20 | minor.
    pub exe_device: u32,
    /// Thread that called exec, before it took the leader's id.
    pub old_tid: u32,
    /// Number of arguments, also of those that did not fit.
    pub args_count: u32,
    /// Bytes of all arguments with their NULs, also of those that did not fit.
    pub args_total: u32,
    /// Bytes of arguments in this record.
    pub args_bytes: u32,
    /// Bytes of the executable's path in this record.
    pub exe_bytes: u32,
    /// Bytes of the working directory's path in this record.
    pub cwd_bytes: u32,
    /// `EXEC_*` flags.
    pub flags: u32,
}

/// The executable's path is longer than the record keeps.
pub const EXEC_EXE_TRUNCATED: u32 = 1 << 0;
/// The working directory's path is longer than the record keeps.
pub const EXEC_CWD_TRUNCATED: u32 = 1 << 1;
/// The executable was unlinked.
pub const EXEC_EXE_DELETED: u32 = 1 << 2;
/// The working directory was removed.
pub const EXEC_CWD_DELETED: u32 = 1 << 3;
/// The arguments could not be read; `args_count` and `args_total` still hold.
pub const EXEC_ARGS_UNREADABLE: u32 = 1 << 4;
/// The kernel marked the exec as gaining privileges (`AT_SECURE`). Never set by a classic
/// tracepoint before 6.10, which does not know.
pub const EXEC_SECURE: u32 = 1 << 5;

/// The end of a process.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Exit {
    /// Kind, time and place.
    pub header: Header,
    /// The process; `key.tid` is its last thread.
    pub task: Task,
    /// User CPU time as accounted by the tick, of all threads.
    pub user_ns: u64,
    /// System CPU time as accounted by the tick, of all threads.
    pub system_ns: u64,
    /// CPU time as accounted by the scheduler, of all threads: exact.
    pub runtime_ns: u64,
    /// Page faults that needed no I/O.
    pub minor_faults: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
    /// Context switches that the process asked for.
    pub voluntary_switches: u64,
    /// Context switches that it suffered.
    pub involuntary_switches: u64,
    /// Largest resident set, in bytes.
    pub peak_rss_bytes: u64,
    /// Bytes read from storage; [`UNKNOWN`] where the kernel does not account I/O.
    pub read_bytes: u64,
    /// Bytes written to storage; [`UNKNOWN`] where the kernel does not account I/O.
    pub write_bytes: u64,
    /// What `wait()` reports: exit code << 8, or signal | core << 7.
    pub status: u32,
    /// Threads that the process had at once at its last moment, dead leaders included.
    pub threads: u32,
}

/// A value that this kernel does not give.
pub const UNKNOWN: u64 = u64::MAX;

/// A signal was generated.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Signal {
    /// Kind, time and place.
    pub header: Header,
    /// Who is to get it; `key.tid` is the thread if `group` is 0.
    pub target: Task,
    /// Who sent it; `tgid` 0 if `origin` is not [`ORIGIN_PROCESS`].
    pub sender: ProcKey,
    /// `si_value`, for signals that carry one.
    pub value: u64,
    /// The sender's real user id.
    pub sender_uid: u32,
    /// One of `ORIGIN_*`.
    pub origin: u32,
    /// Signal number.
    pub number: u32,
    /// `si_code`.
    pub code: i32,
    /// One of `RESULT_*`.
    pub result: u32,
    /// 1 if sent to the process, 0 if sent to one thread.
    pub group: u32,
    /// The sender's command name.
    pub sender_comm: [u8; COMM_BYTES],
}

/// A process sent the signal by a system call.
pub const ORIGIN_PROCESS: u32 = 0;
/// The kernel sent it on its own account (terminal, out of memory, parent death, namespace end).
pub const ORIGIN_KERNEL: u32 = 1;
/// The target's own instruction caused it (SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP, SIGSYS).
pub const ORIGIN_FAULT: u32 = 2;
/// A timer or asynchronous I/O that the target itself had set up.
pub const ORIGIN_TIMER: u32 = 3;

/// The signal was queued for delivery.
pub const RESULT_DELIVERED: u32 = 0;
/// The target ignores it.
pub const RESULT_IGNORED: u32 = 1;
/// One of the kind was already pending.
pub const RESULT_PENDING: u32 = 2;
/// A real-time signal's queue was full: the signal was lost.
pub const RESULT_OVERFLOW: u32 = 3;
/// The queue was full: delivered without its siginfo.
pub const RESULT_LOST_INFO: u32 = 4;

/// The out-of-memory killer chose a victim.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Oom {
    /// Kind, time and place.
    pub header: Header,
    /// The victim. Where the hook gives only its pid, all else is 0.
    pub victim: Task,
    /// Memory control group of the victim within `memory_hierarchy`.
    pub memory_cgroup_id: u64,
    /// 0 for cgroup v2, else the id of the v1 hierarchy.
    pub memory_hierarchy: u32,
    /// Pid that the hook gave.
    pub pid: u32,
}

/// A TCP socket started to listen.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Listen {
    /// Kind, time and place.
    pub header: Header,
    /// The process that called `listen`.
    pub task: Task,
    /// Local address: 4 bytes if `family` is `AF_INET`, 16 if `AF_INET6`, in network order.
    pub address: [u8; 16],
    /// Local port.
    pub port: u32,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u32,
}

/// A control group came, went or changed its name; `path_bytes` of its path follow.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Cgroup {
    /// Kind, time and place.
    pub header: Header,
    /// Id within `hierarchy`.
    pub id: u64,
    /// 0 for cgroup v2, else the id of the v1 hierarchy.
    pub hierarchy: u32,
    /// One of `CGROUP_*`.
    pub change: u32,
    /// Bytes of the path that follow, without a NUL.
    pub path_bytes: u32,
    /// Depth below the root, which is 0.
    pub level: u32,
}

/// The control group was made.
pub const CGROUP_MADE: u32 = 0;
/// The control group was removed.
pub const CGROUP_REMOVED: u32 = 1;
/// The control group got another path.
pub const CGROUP_RENAMED: u32 = 2;

/// A watched thread waited longer than the threshold, and runs again.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Stall {
    /// Kind, time and place: the CPU on which the thread runs again.
    pub header: Header,
    /// The process; `key.tid` is the thread that waited.
    pub task: Task,
    /// How long, in nanoseconds on the monotonic clock: a suspended machine makes nobody wait.
    pub waited_ns: u64,
    /// Who ran where the thread runs again. Of a wait for the CPU: who had it for at least half of the threshold at
    /// a stretch, the longest of late. If nobody did, and of an uninterruptible sleep: who had it when the thread could
    /// run, or, if that is not known, last. `tgid` 0 if nobody did.
    pub instead: ProcKey,
    /// That process's command name.
    pub instead_comm: [u8; COMM_BYTES],
    /// One of `STALL_*`.
    pub what: u32,
    /// Fills the last 8 bytes.
    pub reserved: u32,
}

/// The thread could run, and did not get the CPU.
pub const STALL_RUN_QUEUE: u32 = 0;
/// The thread was in a sleep that no signal ends; the wait for the CPU after it is not in the time.
pub const STALL_UNINTERRUPTIBLE: u32 = 1;

/// A process that the task iterator found.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Snapshot {
    /// Kind, time and place.
    pub header: Header,
    /// The process.
    pub task: Task,
}

/// What a thread uses, from the task iterator (never in the ring). What its process shares is in
/// the leader's record; once the leader has ended, memory and files are in all others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Usage {
    /// The thread and its process.
    pub key: ProcKey,
    /// When it was looked at.
    pub time_ns: u64,
    /// CPU time so far, in nanoseconds. Also that of threads that are gone: only in the leader's.
    pub runtime_ns: u64,
    /// Time that it was runnable and did not run, in nanoseconds, or [`UNKNOWN`].
    pub run_delay_ns: u64,
    /// Bytes read from storage, or [`UNKNOWN`]. Also by threads that are gone: only in the leader's.
    pub read_bytes: u64,
    /// Bytes written to storage, as `read_bytes`.
    pub write_bytes: u64,
    /// Resident memory of the process, in bytes.
    pub rss_bytes: u64,
    /// Swapped-out memory of the process, in bytes.
    pub swap_bytes: u64,
    /// Soft limit of open files: only in the leader's; all bits set: none.
    pub open_files_limit: u64,
    /// Open descriptors of the process; `u32::MAX`: too many to count here.
    pub open_files: u32,
    /// Threads of the process: only in the leader's.
    pub threads: u32,
    /// Id of its control group within `cgroup_hierarchy`: only in the leader's.
    pub cgroup_id: u64,
    /// Hierarchy of `cgroup_id`: 0 for cgroup v2, else a v1 hierarchy's id.
    pub cgroup_hierarchy: u32,
    /// Fills the last 8 bytes.
    pub reserved: u32,
}

/// An exec record as it is reserved, with room for `BYTES` of variable data.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ExecRoom<const BYTES: usize> {
    /// The fixed part.
    pub exec: Exec,
    /// The variable part.
    pub data: [u8; BYTES],
}

/// A control group record as it is reserved.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CgroupFull {
    /// The fixed part.
    pub cgroup: Cgroup,
    /// The path.
    pub path: [u8; CGROUP_PATH_BYTES],
}

/// A type that any bytes of its size form.
///
/// # Safety
/// Every bit pattern must be a value of the type, and the type must have no padding.
pub unsafe trait Plain: Copy + 'static {}

/// The bytes of a record.
pub fn bytes_of<T: Plain>(record: &T) -> &[u8] {
    // SAFETY: `Plain` promises that there is no padding, so every byte is initialised.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(record).cast(), size_of::<T>()) }
}

macro_rules! plain {
    ($($type:ty = $bytes:expr),* $(,)?) => {$(
        // SAFETY: `#[repr(C)]`, made of integers and integer arrays only; the size below equals
        // the sum of the fields' sizes, so there is no padding.
        unsafe impl Plain for $type {}
        const _: () = assert!(size_of::<$type>() == $bytes && size_of::<$type>() % 8 == 0);
    )*};
}

plain! {
    Header = 24,
    ProcKey = 16,
    Task = 104,
    Fork = 24 + 104,
    Exec = 24 + 104 + 16 + 8 * 4,
    Exit = 24 + 104 + 10 * 8 + 8,
    Signal = 24 + 104 + 16 + 8 + 6 * 4 + 16,
    Oom = 24 + 104 + 16,
    Listen = 24 + 104 + 16 + 8,
    Cgroup = 24 + 8 + 16,
    Stall = 24 + 104 + 8 + 16 + 16 + 8,
    Snapshot = 24 + 104,
    Usage = 16 + 8 * 8 + 2 * 4 + 8 + 2 * 4,
    ExecRoom<EXEC_SMALL_BYTES> = 176 + EXEC_SMALL_BYTES,
    ExecRoom<EXEC_LARGE_BYTES> = 176 + EXEC_LARGE_BYTES,
    CgroupFull = 48 + CGROUP_PATH_BYTES,
}

// `decode::kin` finds the process in the same place of all records that are about one.
const _: () = {
    let place = offset_of!(Snapshot, task);
    assert!(offset_of!(Fork, child) == place && offset_of!(Exec, task) == place);
    assert!(offset_of!(Exit, task) == place && offset_of!(Signal, target) == place);
    assert!(offset_of!(Oom, victim) == place && offset_of!(Listen, task) == place);
    assert!(offset_of!(Stall, task) == place);
};

#[cfg(feature = "user")]
// SAFETY: `#[repr(C)]`, integers only, no padding (asserted above).
unsafe impl aya::Pod for ProcKey {}
