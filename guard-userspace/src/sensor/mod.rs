//! The kernel sensor: loads and attaches the programs, reads the ring, feeds the core.

use guard_common::wire::Kind;
use guard_core::Core;
use guard_core::event::LossCause;

/// What to observe and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kinds of records wanted. Programs that serve none of them are not loaded.
    pub kinds: Vec<Kind>,
    /// Which processes.
    pub watch: Watch,
    /// Only processes of this real user id.
    pub uid: Option<u32>,
    /// Only processes in or below this control group: a path in the file system, such as
    /// `/sys/fs/cgroup/system.slice`, or a path below the cgroup v2 mount.
    pub cgroup: Option<String>,
    /// Also SIGCHLD that the kernel sends at a child's end; the exit record says the same.
    pub child_signals: bool,
    /// Size of the ring: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// How fork, exec and exit are attached.
    pub attach: Attach,
}

/// Which processes are observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// All on the host.
    All,
    /// These pids, without their children.
    Pids(Vec<u32>),
    /// These pids and all their descendants, born before or after.
    Trees(Vec<u32>),
}

/// How fork, exec and exit are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// As the probe of the running kernel says.
    #[default]
    Auto,
    /// BTF tracepoints (`tp_btf`).
    Btf,
    /// Classic tracepoints.
    Classic,
}

/// Why the sensor cannot work. Each variant names cause and remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

/// The attached sensor. Dropping it detaches and frees everything.
#[derive(Debug)]
pub struct Sensor {}

/// What the sensor counted since it was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One entry per observed kind.
    pub kinds: Vec<KindReport>,
    /// Records in the ring that could not be decoded.
    pub undecodable: u64,
    /// Wake-ups that the programs sent.
    pub wakeups: u64,
}

/// Counters of one kind. `attempted = seen + ring_full`, always; what the kernel skipped by
/// recursion was never attempted and comes on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindReport {
    /// The kind.
    pub kind: Kind,
    /// Records that the programs set out to make, after their filters.
    pub attempted: u64,
    /// Records read from the ring.
    pub seen: u64,
    /// Lost because the ring was full.
    pub ring_full: u64,
    /// Lost because the kernel skipped the program; `None` if this kernel does not count it.
    pub recursion: Option<u64>,
}

impl KindReport {
    /// Known losses by cause.
    #[must_use]
    pub fn lost(&self) -> [(LossCause, Option<u64>); 2] {
        [(LossCause::RingFull, Some(self.ring_full)), (LossCause::Recursion, self.recursion)]
    }
}

impl Sensor {
    /// Loads and attaches all programs that the options need. Either all are attached or none.
    ///
    /// # Errors
    /// If privileges, kernel features or memory are missing.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let _ = options;
        Ok(Self {})
    }

    /// Feeds the core the control groups and processes that exist now. Call once, after
    /// [`Sensor::attach`] and before the first [`Sensor::drain`].
    ///
    /// # Errors
    /// If the task iterator cannot be read.
    pub fn snapshot(&mut self, core: &mut Core) -> Result<(), Error> {
        let _ = core;
        Ok(())
    }

    /// Waits until there is something to drain. Costs nothing while nothing happens; dropping the
    /// future is safe.
    ///
    /// # Errors
    /// If the ring cannot be polled.
    pub async fn readable(&mut self) -> Result<(), Error> {
        std::future::pending().await
    }

    /// Feeds at most `max` records, and the gaps between them, to the core. Returns how many
    /// records were read: fewer than `max` means that the ring was empty for a moment.
    ///
    /// # Errors
    /// If the loss counters cannot be read.
    pub fn drain(&mut self, max: usize, core: &mut Core) -> Result<usize, Error> {
        let _ = (max, core);
        Ok(0)
    }

    /// The counters so far.
    ///
    /// # Errors
    /// If the loss counters cannot be read.
    pub fn report(&self) -> Result<Report, Error> {
        Ok(Report::default())
    }
}
