//! What the core tells the world: one [`Event`] for each thing that happened.
//!
//! Process-supplied bytes (names, paths, arguments) stay bytes here; whoever shows them escapes
//! them. All times are nanoseconds since boot.

use std::sync::Arc;

use guard_common::wire::Kind;

use crate::ids::ProcId;
use crate::latency::{Latency, Stall};
use crate::resources::{GroupResources, Sample};

/// One thing that happened, with the process that it happened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds since boot.
    pub time_ns: u64,
    /// CPU on which the kernel recorded it.
    pub cpu: u32,
    /// Number among the records of its kind on that CPU, lost ones included, from 1; 0 if no
    /// record tells it.
    pub sequence: u64,
    /// What happened.
    pub action: Action,
}

/// What happened. `process` is the subject: the child of a fork, the target of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variant's own text describes `process`")]
pub enum Action {
    /// A process was created.
    Fork { process: Arc<Process> },
    /// A process replaced its program.
    Exec { process: Arc<Process>, exec: Exec },
    /// A process ended: its last thread is gone.
    Exit { process: Arc<Process>, exit: Box<Exit> },
    /// A signal was generated for a process.
    Signal { process: Arc<Process>, signal: Signal },
    /// The out-of-memory killer chose a process.
    Oom { process: Arc<Process>, oom: Oom },
    /// A process listens on a TCP port.
    Listen { process: Arc<Process>, listen: Listen },
    /// A thread of a watched process waited too long.
    Stall { process: Arc<Process>, stall: Stall },
    /// What a watch group waited in an interval; `process` is its root.
    Latency { process: Arc<Process>, latency: Box<Latency> },
    /// What a process uses, as sampled.
    Resources { process: Arc<Process>, sample: Box<Sample> },
    /// What a control group uses, as sampled.
    Group(Box<Group>),
    /// Kernel records were lost.
    Gap(Gap),
    /// The process table was compared with the kernel's own.
    Resync(Resync),
}

impl Action {
    /// The name on the wire: `event.action`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fork { .. } => "fork",
            Self::Exec { .. } => "exec",
            Self::Exit { .. } => "exit",
            Self::Signal { .. } => "signal",
            Self::Oom { .. } => "oom",
            Self::Listen { .. } => "listen",
            Self::Stall { .. } => "stall",
            Self::Latency { .. } => "latency",
            Self::Resources { .. } | Self::Group(_) => "resources",
            Self::Gap(_) => "gap",
            Self::Resync(_) => "resync",
        }
    }

    /// The subject; a gap, a resync and a control group have none.
    #[must_use]
    pub const fn process(&self) -> Option<&Arc<Process>> {
        match self {
            Self::Fork { process }
            | Self::Exec { process, .. }
            | Self::Exit { process, .. }
            | Self::Signal { process, .. }
            | Self::Oom { process, .. }
            | Self::Listen { process, .. }
            | Self::Stall { process, .. }
            | Self::Latency { process, .. }
            | Self::Resources { process, .. } => Some(process),
            Self::Group(_) | Self::Gap(_) | Self::Resync(_) => None,
        }
    }
}

/// A process as it was at the moment of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Identity.
    pub id: ProcId,
    /// Identity of the parent; [`ProcId::NONE`] if it has none.
    pub parent: ProcId,
    /// Name of the parent when it was last seen; empty if unknown.
    pub parent_name: Name,
    /// The pid within its own pid namespace; equal to `id.pid` in the initial one.
    pub ns_pid: u32,
    /// Inode of its pid namespace.
    pub pid_namespace: u32,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Effective capabilities, one bit each.
    pub caps_effective: u64,
    /// Execs of the process and of those it descends from; 0 if not known. With the id it names
    /// an exec for ever.
    pub exec_count: u64,
    /// Whether it is a kernel thread.
    pub kernel_thread: bool,
    /// Control group.
    pub cgroup: Arc<Cgroup>,
    /// Command name (`comm`).
    pub name: Name,
    /// Program and its arguments; shared by parent and child until one of them execs. `None`
    /// until known, for kernel threads, and after an exec whose record was lost.
    pub program: Option<Arc<Program>>,
}

/// What a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Absolute path of the executable, within its mount namespace.
    pub executable: Vec<u8>,
    /// Inode of the executable; 0 if unknown.
    pub inode: u64,
    /// Device of the executable: major << 20 | minor.
    pub device: u32,
    /// Absolute path of the working directory when the program started.
    pub working_directory: Vec<u8>,
    /// The arguments as the kernel holds them: NUL-terminated each; the last one may be cut short.
    pub args: Vec<u8>,
    /// How many arguments there are, also of those that were cut off.
    pub args_count: u32,
    /// What is incomplete or gone.
    pub flags: ProgramFlags,
}

impl Program {
    /// The captured arguments, the last one perhaps cut short.
    pub fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        let body = self.args.strip_suffix(&[0]).unwrap_or(&self.args);
        let mut parts = (!self.args.is_empty()).then(|| body.split(|&byte| byte == 0));
        std::iter::from_fn(move || parts.as_mut()?.next())
    }
}

/// What of a [`Program`] is incomplete or gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "five independent facts")]
pub struct ProgramFlags {
    /// Not all arguments were captured.
    pub args_truncated: bool,
    /// The executable's path was too long: its beginning is missing.
    pub executable_truncated: bool,
    /// The working directory's path was too long: its beginning is missing.
    pub working_directory_truncated: bool,
    /// The executable was unlinked.
    pub executable_deleted: bool,
    /// The working directory was removed.
    pub working_directory_deleted: bool,
}

/// A command name: up to 15 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Name([u8; 16]);

impl Name {
    /// From a NUL-padded kernel field, whose last byte is always NUL.
    #[must_use]
    pub const fn new(mut comm: [u8; 16]) -> Self {
        comm[15] = 0;
        Self(comm)
    }

    /// From any bytes; cut to 15.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut comm = [0; 16];
        comm.iter_mut().take(15).zip(bytes).for_each(|(to, &from)| *to = from);
        Self(comm)
    }

    /// The name's bytes, without padding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// A control group and what its path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Id within its hierarchy.
    pub id: u64,
    /// 0 for cgroup v2, else the id of the v1 hierarchy.
    pub hierarchy: u32,
    /// Path below the hierarchy's root; `None` until known.
    pub path: Option<Box<str>>,
    /// Container (docker, containerd, CRI-O, podman).
    pub container: Option<Container>,
    /// Innermost systemd unit, such as `nginx.service` or `session-3.scope`.
    pub unit: Option<Box<str>>,
}

/// A container as its control group's path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The full id: 64 hexadecimal digits.
    pub id: Box<str>,
    /// `docker`, `containerd`, `cri-o` or `podman`; `None` if the path does not tell.
    pub runtime: Option<&'static str>,
}

/// A program replacement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// Thread that called exec; differs from the pid if it was not the leader.
    pub calling_thread: u32,
    /// Effective capabilities that the process did not have before.
    pub caps_gained: u64,
    /// The kernel runs the program in secure-execution mode (set-user-id, file capabilities).
    pub secure: bool,
    /// Nanoseconds from the process's start to this exec, if it was its first.
    pub since_fork_ns: Option<u64>,
}

/// The end of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// Why, as far as the records tell.
    pub cause: Cause,
    /// From the process's start to its end, in nanoseconds; 0 if not known.
    pub lifetime_ns: u64,
    /// From its start to its first exec, in nanoseconds; `None` if it did none, or its beginning was not seen.
    pub fork_to_exec_ns: Option<u64>,
    /// From its first exec that was seen to its first listening socket after that, in nanoseconds; `None`
    /// without one of them.
    pub exec_to_listen_ns: Option<u64>,
    /// What it used; `None` if the exit record was lost.
    pub usage: Option<Usage>,
}

/// How a process ended, as `wait()` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// By `exit(code)`.
    Code(u8),
    /// By a signal.
    Signal {
        /// Signal number.
        number: u8,
        /// Whether a core was dumped.
        core: bool,
    },
    /// Nobody knows: the exit record was lost.
    Unknown,
}

impl ExitStatus {
    /// From the kernel's wait status.
    #[must_use]
    pub const fn from_wait(status: u32) -> Self {
        match (status & 0x7f) as u8 {
            0 => Self::Code((status >> 8 & 0xff) as u8),
            number => Self::Signal { number, core: status & 0x80 != 0 },
        }
    }
}

/// Why a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It ended itself: exit, or a signal that it sent itself.
    Own,
    /// A signal from another process.
    Signal(Sender),
    /// Its own faulting instruction (SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP, SIGSYS).
    Fault,
    /// The out-of-memory killer; the memory control group whose limit it was, if it was one's.
    Oom(Option<Arc<Cgroup>>),
    /// The kernel on another account: terminal, parent death, end of a pid namespace, timer.
    Kernel,
    /// Killed by a signal whose generation was not seen.
    Unknown,
    /// The exit record was lost: a comparison with the kernel's own list found the process gone.
    RecordLost,
}

/// Who sent a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Identity.
    pub id: ProcId,
    /// Command name.
    pub name: Name,
    /// Real user id.
    pub uid: u32,
}

/// Resources that a process used, of all its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode, as `wait4` reports it.
    pub user_ns: u64,
    /// CPU time in the kernel, as `wait4` reports it.
    pub system_ns: u64,
    /// Largest resident set.
    pub peak_rss_bytes: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Context switches asked for.
    pub voluntary_switches: u64,
    /// Context switches suffered.
    pub involuntary_switches: u64,
    /// Bytes read from storage; `None` where the kernel does not account I/O.
    pub read_bytes: Option<u64>,
    /// Bytes written to storage; `None` where the kernel does not account I/O.
    pub write_bytes: Option<u64>,
}

/// A signal's generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Signal number.
    pub number: u32,
    /// `si_code`.
    pub code: i32,
    /// Who is behind it.
    pub origin: Origin,
    /// What became of it.
    pub result: SignalResult,
    /// The thread that it was sent to; `None` if sent to the process.
    pub thread: Option<u32>,
    /// `si_value`; 0 for signals without one.
    pub value: u64,
}

/// Who is behind a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A process, by a system call.
    Process(Sender),
    /// The kernel on its own account.
    Kernel,
    /// The target's own faulting instruction.
    Fault,
    /// A timer or asynchronous I/O that the target had set up.
    Timer,
}

/// What became of a signal when it was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalResult {
    /// Queued for delivery.
    Delivered,
    /// The target ignores it.
    Ignored,
    /// One of its kind was already pending.
    Pending,
    /// The queue was full: lost.
    Overflow,
    /// The queue was full: delivered without its siginfo.
    LostInfo,
}

/// An out-of-memory victim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oom {
    /// The victim's memory control group, if it is not the root.
    pub memory_cgroup: Option<Arc<Cgroup>>,
}

/// A listening TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Local address and port.
    pub address: std::net::SocketAddr,
}

/// A control group and what it uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The group.
    pub cgroup: Arc<Cgroup>,
    /// What it uses.
    pub used: GroupResources,
}

/// A stretch in which kernel records were lost: after the event before this one and before the
/// event after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// What was lost, by kind, cause and CPU.
    pub lost: Vec<Lost>,
}

/// Records lost in a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Kind of the records.
    pub kind: Kind,
    /// Why they were lost.
    pub cause: LossCause,
    /// CPU; `None` where the kernel counts for all CPUs together.
    pub cpu: Option<u32>,
    /// How many.
    pub count: u64,
}

/// Why records were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// The ring was full.
    RingFull,
    /// The kernel skipped a program that was already running on the CPU.
    Recursion,
    /// Whoever asked for the records took them too slowly; others have them.
    SlowReader,
    /// They were made by another version's sensor, whose records this version cannot read.
    Unreadable,
}

impl LossCause {
    /// All causes.
    pub const ALL: [Self; 4] = [Self::RingFull, Self::Recursion, Self::SlowReader, Self::Unreadable];

    /// The name in output and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::Recursion => "recursion",
            Self::SlowReader => "slow_reader",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What a comparison of the process table with the kernel's own list found. Only processes that
/// the sensor's filters let through count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resync {
    /// What it was made for.
    pub reason: ResyncReason,
    /// Nanoseconds from the beginning of the kernel's list until every record from before its end
    /// was read.
    pub duration_ns: u64,
    /// Living processes that the kernel listed.
    pub found: u64,
    /// How the table differed.
    pub drift: Drift,
}

/// How the process table differed from the kernel's, in processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Processes that the table lacked: their fork record was lost.
    pub inserted: u64,
    /// Processes that had ended: their exit record was lost, and their exit is told now.
    pub ended: u64,
    /// Programs that are read again: an exec record was lost, or the program was never known.
    pub programs: u64,
    /// Another parent. No record tells that a process was handed to init.
    pub parents: u64,
    /// Other user or group ids, real or effective. No record tells of `setuid` and its like.
    pub users: u64,
    /// Other effective capabilities.
    pub capabilities: u64,
    /// Another name. No record tells of `prctl`.
    pub names: u64,
    /// Another control group. No record tells that a process was moved.
    pub cgroups: u64,
}

impl Drift {
    /// Each kind of difference by its name in output and metrics.
    #[must_use]
    pub const fn counts(&self) -> [(&'static str, u64); 8] {
        [
            ("inserted", self.inserted),
            ("ended", self.ended),
            ("programs", self.programs),
            ("parents", self.parents),
            ("users", self.users),
            ("capabilities", self.capabilities),
            ("names", self.names),
            ("cgroups", self.cgroups),
        ]
    }
}

impl std::ops::AddAssign for Drift {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.ended += other.ended;
        self.programs += other.programs;
        self.parents += other.parents;
        self.users += other.users;
        self.capabilities += other.capabilities;
        self.names += other.names;
        self.cgroups += other.cgroups;
    }
}

/// What a comparison was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResyncReason {
    /// Records were lost.
    Gap,
    /// Nothing: the slow sweep.
    Sweep,
}

impl ResyncReason {
    /// The name in output and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Sweep => "sweep",
        }
    }
}
