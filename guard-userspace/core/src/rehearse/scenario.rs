//! What a scenario says: a world, and what happens in it.

use std::collections::BTreeMap;

use super::series::Series;
use super::world::BOOT_NS;
use crate::policy::model::{EndStatus, Span};
use crate::supervise::{Clock, Subject};

/// A scripted world in which policies are rehearsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it shows, in a line.
    pub title: String,
    /// Files of policies, as written: relative to the scenario's own.
    pub policies: Vec<String>,
    /// Seed of the supervisor's random numbers.
    pub seed: u64,
    /// When it begins, in seconds since the epoch.
    pub begins_s: u64,
    /// How long it lasts.
    pub lasts: Span,
    /// How often processes are sampled.
    pub sample: Span,
    /// How the services' processes behave, by service or instance.
    pub world: BTreeMap<Subject, Behaviour>,
    /// Queues that services work off, by name.
    pub queues: BTreeMap<String, Queue>,
    /// What happens, in order of time.
    pub timeline: Vec<Moment>,
}

impl Scenario {
    /// What time it is in its world.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let begins_ns = i64::try_from(self.begins_s).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        Clock { boot_ns: begins_ns.saturating_sub_unsigned(BOOT_NS) }
    }
}

/// How processes behave. What is not said is as it was, or as [`Behaviour::usual`] says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviour {
    /// An adopted service's main processes at the beginning.
    pub exist: Option<u32>,
    /// What an adopted process is, as far as its policy does not say it.
    pub process: Option<Look>,
    /// A start fails with this message.
    pub start_fails: Option<String>,
    /// From its start to readiness.
    pub ready_in: Option<Delay>,
    /// From the signal that asks for the end, to the end.
    pub stops_in: Option<Delay>,
    /// How it ends when asked to.
    pub ends: Option<End>,
    /// It ends by itself, so long after its start.
    pub dies: Option<(Span, End)>,
    /// What it writes, its log and its marker file, moves on.
    pub progress: Option<bool>,
    /// What it uses.
    pub signals: BTreeMap<Gauge, Timed>,
    /// What its checks find, by name.
    pub checks: BTreeMap<String, Reply>,
    /// How programs that are run for it go, by purpose (`fence`, `promote`, `demote`, `requeue`, `exec`).
    pub hooks: BTreeMap<String, HookPlay>,
}

impl Behaviour {
    /// How a process behaves of which nothing is said.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            exist: Some(1),
            ready_in: Some(Delay::After(300_000_000)),
            stops_in: Some(Delay::After(100_000_000)),
            ends: Some(End::Signalled),
            progress: Some(true),
            ..Self::default()
        }
    }

    /// Takes over what the other one says; its series begin at `now_ns`, if given, else with each life.
    pub fn merge(&mut self, other: &Self, since_ns: Option<u64>) {
        fn take<T: Clone>(mine: &mut Option<T>, other: Option<&T>) {
            if let Some(value) = other {
                *mine = Some(value.clone());
            }
        }
        take(&mut self.exist, other.exist.as_ref());
        take(&mut self.process, other.process.as_ref());
        take(&mut self.start_fails, other.start_fails.as_ref());
        take(&mut self.ready_in, other.ready_in.as_ref());
        take(&mut self.stops_in, other.stops_in.as_ref());
        take(&mut self.ends, other.ends.as_ref());
        take(&mut self.dies, other.dies.as_ref());
        take(&mut self.progress, other.progress.as_ref());
        let signals = other.signals.iter().map(|(gauge, timed)| (*gauge, timed.begun(since_ns)));
        self.signals.extend(signals);
        let checks = other.checks.iter().map(|(name, reply)| (name.clone(), reply.begun(since_ns)));
        self.checks.extend(checks);
        self.hooks.extend(other.hooks.clone());
    }
}

/// What can be seen of an adopted process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Absolute path of its executable.
    pub exe: Option<String>,
    /// Its arguments.
    pub command: Vec<String>,
    /// Its user's number.
    pub uid: Option<u32>,
    /// Its control group.
    pub cgroup: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// Its container: the beginning of the id.
    pub container: Option<String>,
    /// The TCP port that it listens on once it is ready.
    pub listens: Option<u16>,
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// So long.
    After(Span),
    /// For ever.
    Never,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By exit code, or by a signal from elsewhere or by its own fault.
    Status(EndStatus),
    /// By the out-of-memory killer.
    Oom,
    /// By the very signal that it was sent.
    Signalled,
}

/// What is sampled of a process or its control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named and measured as the signals of policies")]
pub enum Gauge {
    Cpu,
    MemoryRss,
    MemoryPss,
    MemorySwap,
    MemoryShare,
    FilesOpen,
    FilesShare,
    Threads,
    IoRead,
    IoWrite,
    RunQueueP99,
    Uninterruptible,
    PressureCpu,
    PressureMemory,
    PressureIo,
}

impl Gauge {
    /// All, with their names and a policy's signal of the same unit.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Cpu, "cpu"),
        (Self::MemoryRss, "memory.rss"),
        (Self::MemoryPss, "memory.pss"),
        (Self::MemorySwap, "memory.swap"),
        (Self::MemoryShare, "memory.share"),
        (Self::FilesOpen, "files.open"),
        (Self::FilesShare, "files.share"),
        (Self::Threads, "threads"),
        (Self::IoRead, "io.read"),
        (Self::IoWrite, "io.write"),
        (Self::RunQueueP99, "run_queue.p99"),
        (Self::Uninterruptible, "uninterruptible.time"),
        (Self::PressureCpu, "pressure.cpu"),
        (Self::PressureMemory, "pressure.memory"),
        (Self::PressureIo, "pressure.io"),
    ];
}

/// A series and when it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// The numbers.
    pub series: Series,
    /// Its beginning, in nanoseconds since boot; `None`: each life of the process is a beginning.
    pub since_ns: Option<u64>,
}

impl Timed {
    /// With each life.
    #[must_use]
    pub const fn with_life(series: Series) -> Self {
        Self { series, since_ns: None }
    }

    fn begun(&self, since_ns: Option<u64>) -> Self {
        Self { series: self.series.clone(), since_ns: since_ns.or(self.since_ns) }
    }

    /// The number now, of a process that was born then.
    #[must_use]
    pub fn at(&self, now_ns: u64, born_ns: u64) -> f64 {
        self.series.at(now_ns.saturating_sub(self.since_ns.unwrap_or(born_ns)))
    }
}

/// What a check finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What.
    pub says: Says,
    /// How long that takes, in nanoseconds.
    pub takes: Timed,
}

impl Reply {
    /// All is well, within 5 ms.
    #[must_use]
    pub fn pass() -> Self {
        Self { says: Says::Pass, takes: Timed::with_life(Series::constant(5e6)) }
    }

    fn begun(&self, since_ns: Option<u64>) -> Self {
        let says = match &self.says {
            Says::Number(timed) => Says::Number(timed.begun(since_ns)),
            other => other.clone(),
        };
        Self { says, takes: self.takes.begun(since_ns) }
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    /// As it should be.
    Pass,
    /// Not as it should be, and how.
    Fail(String),
    /// Nothing about the service: it could not be asked.
    Error(String),
    /// A number.
    Number(Timed),
    /// The length of a queue.
    Queue(String),
}

/// A queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// What comes in, per second, since the scenario's beginning.
    pub arrives: Series,
    /// Who works it off.
    pub service: String,
    /// How much of it each ready instance does per second.
    pub each: f64,
}

/// How a program that is run goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookPlay {
    /// How long it takes.
    pub takes: Delay,
    /// How it fails, if it does.
    pub fails: Option<String>,
}

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// When, since the beginning.
    pub at: Span,
    /// For the reader.
    pub note: Option<String>,
    /// What.
    pub what: Happening,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// Nothing but the note.
    Nothing,
    /// The main process that lives now behaves like this until its end.
    Becomes(Subject, Box<Behaviour>),
    /// All behave like this from now on.
    FromNowOn(Subject, Box<Behaviour>),
    /// It ends.
    Dies(Subject, End),
    /// An operator starts a service.
    Start(String),
    /// An operator stops a service.
    Stop(String),
    /// An operator restarts a service or an instance.
    Restart(Subject),
    /// An operator wants so many instances.
    Scale(String, u32),
    /// The step of this service that has waited longest for approval may be taken.
    Approve(String),
    /// It may not.
    Deny(String),
    /// Kernel records are lost; the process table is compared again after so long.
    Lost(Span),
}
