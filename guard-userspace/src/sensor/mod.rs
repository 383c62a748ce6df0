//! The kernel sensor: loads and attaches the programs, reads the ring, feeds the core.

mod attach;
pub(crate) mod bpf;
mod btf;
pub(crate) mod cgroups;
mod classic;
#[doc(hidden)]
pub mod empty;
mod error;
mod kernel_log;
mod latency;
mod layout;
mod losses;
pub mod pinned;
pub mod pins;
mod preempt;
pub mod probe;
mod processes;
mod ring;
mod shared;
mod watch_set;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::maps::Map;
use aya_log::EbpfLogger;
use guard_common::control::{Control, CpuCounters};
use guard_common::decode;
use guard_common::limits::RING_BYTES;
use guard_common::wire::Kind;
use guard_core::event::{Gap, LossCause};
use guard_core::ids::ProcId;
use guard_core::process::AHEAD;
use guard_core::{Core, Input};
use rustix::time::{ClockId, clock_gettime};

use crate::sample::Sampler;

use attach::Attached;
pub use btf::BtfError;
pub use error::{Error, ErrorKind};
use kernel_log::KernelLog;
use latency::Stuck;
pub use latency::{Latencies, Latency};
use losses::Losses;
use ring::Ring;

use shared::SharedArray;

/// How often at most the kernel is asked for runs that it skipped: one system call per program.
const RECURSION_INTERVAL: Duration = Duration::from_millis(500);

/// Bytes of records read after which their room is given back to the producers, even in the middle of a
/// batch: a sixteenth of the default ring.
const RELEASE_BYTES: u64 = 256 * 1024;

/// How often and how far apart the ring is looked at after detaching, until all is accounted for:
/// at most 50 ms, where a program takes microseconds.
const SETTLING_TRIES: u32 = 50;
const SETTLING_PAUSE: Duration = Duration::from_millis(1);

/// What to observe and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kinds of records wanted: also those that only the core needs, to explain others. Programs
    /// that serve none of them are not loaded.
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
    /// Also load what reads the resources of processes: see [`Sensor::sampler`].
    pub samples: bool,
    /// Size of the ring: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// How fork, exec and exit are attached.
    pub attach: Attach,
    /// Load the programs with their own diagnostics, which go to `tracing` under the target
    /// `kernel`. Without, the code for it is never reached.
    pub kernel_log: bool,
    /// Scheduler latency of watched processes. `None`: no program is attached to the scheduler.
    pub latency: Option<Latency>,
}

impl Default for Options {
    /// All lives of processes on the host; no latency, no samples, no diagnostics.
    fn default() -> Self {
        Self {
            kinds: Kind::ALL.into_iter().filter(|kind| *kind != Kind::STALL).collect(),
            watch: Watch::All,
            uid: None,
            cgroup: None,
            child_signals: false,
            samples: false,
            latency: None,
            ring_bytes: RING_BYTES,
            attach: Attach::Auto,
            kernel_log: false,
        }
    }
}

/// Which processes are observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// All on the host.
    All,
    /// All on the host; descendants of those in the watch set are followed, and the kernel remembers how the
    /// watched ended.
    AllFollowed,
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

/// What the sensor counted since it was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One entry per kind that the ring carries.
    pub kinds: Vec<KindReport>,
    /// Records in the ring that could not be decoded.
    pub undecodable: u64,
    /// Wake-ups that the programs sent.
    pub wakeups: u64,
}

/// Counters of one kind. Once detached and drained, `attempted = seen + ring_full`; runs that the
/// kernel skipped were never attempted and come on top.
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
    /// Runs that the kernel skipped because the program was already running on the CPU; for fork
    /// and exit those for threads are among them, of which no record would have come. `None` if
    /// this kernel does not count.
    pub recursion: Option<u64>,
}

impl KindReport {
    /// Losses by cause.
    #[must_use]
    pub fn lost(&self) -> [(LossCause, Option<u64>); 2] {
        [(LossCause::RingFull, Some(self.ring_full)), (LossCause::Recursion, self.recursion)]
    }
}

/// Whether the process table can be compared with the kernel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resync {
    Possible,
    /// The kernel's list was read; the ring was not read up to here, where it ended then.
    Unsettled {
        until: u64,
    },
    /// The sensor is detached.
    Over,
}

/// The attached sensor. Dropping it detaches and frees everything.
pub struct Sensor {
    attached: Attached,
    ring: Ring,
    losses: Losses,
    hierarchies: Vec<cgroups::Hierarchy>,
    snapshots: Vec<guard_common::wire::Snapshot>,
    seen: [u64; Kind::COUNT],
    undecodable: u64,
    asked_for_recursion: Instant,
    resync: Resync,
    kernel_log: Option<EbpfLogger<KernelLog>>,
    sampler: Option<Sampler>,
    latencies: Option<Latencies>,
}

impl Sensor {
    /// Loads and attaches all programs that the options need. Either all are attached or none.
    ///
    /// # Errors
    /// If privileges, kernel features or memory are missing, or an option does not fit this host.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        let (mut attached, hierarchies) = attach::prepare(options)?;
        // From here on nothing is missed; what exists already is read now.
        let mut snapshots = processes::read(&attached.iterator)?;
        let sampler = attached.resources.take().map(Sampler::new);
        watch_set::insert_descendants(&attached.ebpf, &options.watch, &snapshots)?;
        if matches!(options.watch, Watch::Trees(_)) {
            // Only now can the kernel say of whom the filters let records through.
            snapshots = processes::read(&attached.iterator)?;
        }
        let ring = open_ring(&attached, options.ring_bytes)?;
        let cpus = possible_cpus()?;
        let counters = share::<CpuCounters>(&attached, "COUNTERS", cpus as usize)?;
        let losses = Losses::new(counters, std::mem::take(&mut attached.watched));
        let latencies =
            options.latency.map(|latency| Latencies::open(&mut attached.ebpf, latency, &options.watch, cpus));
        let mut latencies = latencies.transpose()?;
        if let Some(latencies) = &mut latencies {
            let named = snapshots.iter().map(|snapshot| snapshot.task.key);
            for process in named.filter(|process| latencies.group(process.tgid) != 0).collect::<Vec<_>>() {
                latencies.take_note_of_sleepers(process)?;
            }
        }
        let kernel_log = options.kernel_log.then(|| kernel_log::open(&mut attached.ebpf)).transpose()?;
        Ok(Self {
            attached,
            ring,
            losses,
            hierarchies,
            snapshots,
            seen: [0; Kind::COUNT],
            undecodable: 0,
            asked_for_recursion: Instant::now(),
            resync: Resync::Possible,
            kernel_log,
            sampler,
            latencies,
        })
    }

    /// Feeds the core the control groups and processes that existed when the sensor was attached.
    /// Call once, before the first [`Sensor::drain`].
    pub fn snapshot(&mut self, core: &mut Core) {
        self.tell_cgroups(core);
        let now_ns = boot_ns();
        for snapshot in std::mem::take(&mut self.snapshots) {
            let program = processes::program(&snapshot).map(Arc::new);
            core.handle(now_ns, Input::Snapshot { task: snapshot.task, program });
        }
        for &(group, root) in self.latencies.iter().flat_map(Latencies::roots) {
            core.handle(now_ns, Input::WatchGroup { group, root });
        }
    }

    /// What reads the resources of the observed processes, if the options asked for it. It is given away once, and
    /// works as long as it is kept, also without the sensor.
    pub fn sampler(&mut self) -> Option<Sampler> {
        self.sampler.take()
    }

    /// Waits until there is something to drain. Costs nothing while nothing happens; dropping the
    /// future is safe.
    ///
    /// # Errors
    /// If the ring cannot be polled.
    pub async fn readable(&mut self) -> Result<(), Error> {
        self.ring.readable(false).await.map_err(|error| Error::system("wait for the ring", error))
    }

    /// Feeds at most `max` records, and the gaps between them, to the core. Returns how many
    /// records were read: fewer than `max` means that the ring was empty for a moment.
    pub fn drain(&mut self, max: usize, core: &mut Core) -> usize {
        let now_ns = boot_ns();
        let (seen, undecodable) = (&mut self.seen, &mut self.undecodable);
        let mut read: usize = 0;
        while read < max {
            if read.is_multiple_of(AHEAD) {
                core.processes().look_ahead(self.ring.ahead());
            }
            let next = self.ring.next(|_, bytes| match decode::decode(bytes) {
                Ok(record) => {
                    if let Some(seen) = seen.get_mut(record.kind().0 as usize) {
                        *seen += 1;
                    }
                    core.handle(now_ns, Input::Kernel(record));
                }
                Err(_) => *undecodable += 1,
            });
            if next.is_none() {
                break;
            }
            read += 1;
            if self.ring.unreleased() >= RELEASE_BYTES {
                self.ring.release();
            }
        }
        self.ring.release();
        self.tell_losses(now_ns, read > 0 && self.asked_for_recursion.elapsed() >= RECURSION_INTERVAL, core);
        self.settle(core);
        read
    }

    /// Carries out [`guard_core::Effect::Resync`]: reads the kernel's own list of processes, and
    /// the control groups' paths if asked to. [`Sensor::drain`] says when all is settled. Where the
    /// list cannot be read the core is told so, and asks again.
    pub fn resync(&mut self, cgroups: bool, core: &mut Core) {
        if self.resync == Resync::Over {
            return;
        }
        if cgroups {
            self.tell_cgroups(core);
        }
        let taken_ns = boot_ns();
        match processes::read(&self.attached.iterator) {
            Ok(found) => {
                self.resync = Resync::Unsettled { until: self.ring.taken() };
                core.handle(boot_ns(), Input::Resync { taken_ns, found });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot compare the process table with the kernel's");
                core.handle(boot_ns(), Input::ResyncFailed);
            }
        }
    }

    /// Carries out [`guard_core::Effect::ReadProgram`]: reads from procfs what a process runs, if it
    /// is there.
    pub fn read_program(&self, id: ProcId, exec_count: u64, core: &mut Core) {
        if let Some(program) = processes::program_of(id).map(Arc::new) {
            core.handle(boot_ns(), Input::Program { id, exec_count, program });
        }
    }

    /// Says that a resync is settled once all is read that was made, or begun, before the end of
    /// the kernel's list.
    fn settle(&mut self, core: &mut Core) {
        if let Resync::Unsettled { until } = self.resync
            && self.ring.position() >= until
        {
            self.resync = Resync::Possible;
            core.handle(boot_ns(), Input::Settled);
        }
    }

    /// Whether a resync waits for records that [`Sensor::drain`] has yet to read: it must be called
    /// again even if nothing more comes.
    #[must_use]
    pub const fn is_unsettled(&self) -> bool {
        matches!(self.resync, Resync::Unsettled { .. })
    }

    fn tell_cgroups(&self, core: &mut Core) {
        let now_ns = boot_ns();
        for hierarchy in &self.hierarchies {
            cgroups::walk(hierarchy, &mut |id, path| {
                core.handle(now_ns, Input::Cgroup { hierarchy: hierarchy.id, id, path });
            });
        }
    }

    /// Detaches all programs and feeds the core what is left in the ring. After this the report's
    /// numbers add up.
    ///
    /// # Errors
    /// If a program cannot be detached.
    pub fn finish(&mut self, core: &mut Core) -> Result<(), Error> {
        self.attached.detach()?;
        self.resync = Resync::Over;
        // A program that was running on another CPU when it was detached ends within moments.
        for _ in 0..SETTLING_TRIES {
            self.drain(usize::MAX, core);
            if self.is_settled() {
                break;
            }
            std::thread::sleep(SETTLING_PAUSE);
        }
        self.tell_losses(boot_ns(), true, core);
        Ok(())
    }

    /// Whether every record that was attempted is read or counted as lost.
    fn is_settled(&self) -> bool {
        let attempted: u64 = Kind::ALL.into_iter().map(|kind| self.losses.attempted(kind)).sum();
        let lost: u64 = Kind::ALL.into_iter().map(|kind| self.losses.ring_full(kind)).sum();
        attempted == self.seen.iter().sum::<u64>() + self.undecodable + lost
    }

    /// What watched processes wait; `None` if the options did not ask for it.
    #[must_use]
    pub fn latency(&self) -> Option<&Latencies> {
        self.latencies.as_ref()
    }

    /// The same, to let processes leave their groups.
    pub fn latency_mut(&mut self) -> Option<&mut Latencies> {
        self.latencies.as_mut()
    }

    /// Feeds the core what the groups of the processes that the options named waited so far.
    pub fn tell_latency(&self, core: &mut Core) {
        let now_ns = boot_ns();
        let Some(latencies) = &self.latencies else { return };
        let mut told = 0;
        // Those beyond the number of groups share the last one.
        for &(group, _) in
            latencies.roots().iter().filter(|(group, _)| std::mem::replace(&mut told, *group) != *group)
        {
            core.handle(now_ns, Input::Latency { group, waits: &latencies.read(group) });
        }
    }

    /// Feeds the core the watched threads that are in an uninterruptible sleep beyond the threshold and have
    /// not been told yet. They make no record before they wake up, so they must be looked for: call it about
    /// once a second.
    ///
    /// # Errors
    /// If the map of waiting threads cannot be read.
    pub fn look_for_stuck(&mut self, core: &mut Core) -> Result<(), Error> {
        let Some(latencies) = &mut self.latencies else { return Ok(()) };
        let (now_ns, monotonic_ns) = (boot_ns(), time_ns(ClockId::Monotonic));
        for Stuck { key, waited_ns, cpu } in latencies.look_for_stuck(monotonic_ns)? {
            core.handle(now_ns, Input::Stuck { key, waited_ns, cpu });
        }
        Ok(())
    }

    /// The counters so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let kinds = Kind::ALL.into_iter().zip(self.seen).map(|(kind, seen)| KindReport {
            kind,
            attempted: self.losses.attempted(kind),
            seen,
            ring_full: self.losses.ring_full(kind),
            recursion: self.losses.recursion(kind),
        });
        Report { kinds: kinds.collect(), undecodable: self.undecodable, wakeups: self.losses.wakeups() }
    }

    fn tell_losses(&mut self, now_ns: u64, ask_for_recursion: bool, core: &mut Core) {
        if let Some(log) = &mut self.kernel_log {
            log.flush();
        }
        let mut lost = self.losses.new_ring_full();
        if ask_for_recursion {
            self.asked_for_recursion = Instant::now();
            lost.extend(self.losses.new_recursion());
        }
        if !lost.is_empty() {
            core.handle(now_ns, Input::Gap(Gap { lost }));
        }
    }
}

fn possible_cpus() -> Result<u32, Error> {
    let cpus = aya::util::nr_cpus().map_err(|(path, error)| Error::system(format!("read {path}"), error))?;
    u32::try_from(cpus).map_err(|error| Error::system("count the CPUs", error))
}

fn open_ring(attached: &Attached, bytes: u32) -> Result<Ring, Error> {
    let failed = |error| Error::system("map the ring", error);
    let Some(Map::RingBuf(map)) = attached.ebpf.map("RING") else { return Err(Error::NoObject) };
    let map = map.fd().as_fd().try_clone_to_owned().map_err(failed)?;
    Ring::open(map, bytes as usize, share::<Control>(attached, "CONTROL", 1)?).map_err(failed)
}

fn share<T>(attached: &Attached, name: &str, entries: usize) -> Result<SharedArray<T>, Error> {
    let Some(Map::Array(map)) = attached.ebpf.map(name) else { return Err(Error::NoObject) };
    SharedArray::map(map.fd(), entries).map_err(|error| Error::system(format!("map {name}"), error))
}

/// Time since boot, suspend included: the clock of all records.
fn boot_ns() -> u64 {
    time_ns(ClockId::Boottime)
}

fn time_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
