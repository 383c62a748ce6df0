//! What watched processes wait: the histograms that the scheduler's hooks keep, read from shared memory.

use std::io;
use std::mem::offset_of;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, MapError};
use guard_common::control::{
    CpuLatency, Thread, WAIT_INVOLUNTARY, WAIT_RUN_QUEUE, WAIT_UNINTERRUPTIBLE, WAIT_VOLUNTARY,
};
use guard_common::limits::{
    COMM_BYTES, LATENCY_BUCKETS, LATENCY_THREADS, RUN_QUEUE_STALL_NS, UNINTERRUPTIBLE_STALL_NS, WATCH_GROUPS,
};
use guard_common::wire::ProcKey;
use guard_core::latency::{GroupLatency, Histogram};
use rustix::time::ClockId;

use super::shared::PartlyShared;
use super::watch_set::{self, WatchSet};
use super::{Error, Watch, time_ns};
use crate::sample;

/// `BPF_NOEXIST` of `linux/bpf.h`.
const NOEXIST: u64 = 1;

const NEGATIVE: usize = offset_of!(CpuLatency, negative) / 8;
const MISSED: usize = offset_of!(CpuLatency, missed) / 8;

/// How scheduler latency is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// How many watch groups there can be, group 0 ("not watched") included: about 1 KiB of kernel memory for
    /// each and each CPU. At most [`WATCH_GROUPS`].
    pub groups: u16,
    /// A longer wait for the CPU is a stall.
    pub run_queue_stall: Duration,
    /// A longer sleep that no signal ends is a stall.
    pub uninterruptible_stall: Duration,
    /// How often a feed tells what the groups of the named processes waited; `None`: never.
    pub interval: Option<Duration>,
}

impl Latency {
    /// The default thresholds, and no latency events.
    #[must_use]
    pub const fn new(groups: u16) -> Self {
        Self {
            groups,
            run_queue_stall: Duration::from_nanos(RUN_QUEUE_STALL_NS),
            uninterruptible_stall: Duration::from_nanos(UNINTERRUPTIBLE_STALL_NS),
            interval: None,
        }
    }
}

/// Entries that the map of threads needs.
pub(crate) const fn threads(latency: Option<Latency>) -> u32 {
    if latency.is_some() { LATENCY_THREADS } else { 1 }
}

/// Entries that the map of histograms needs.
pub(crate) fn entries(latency: Option<Latency>, cpus: u32) -> u32 {
    latency.map_or(1, |latency| groups(latency) * cpus)
}

fn groups(latency: Latency) -> u32 {
    u32::from(latency.groups).clamp(1, WATCH_GROUPS)
}

/// The watch groups and what they waited since the sensor was attached.
///
/// Processes named by the sensor's options are in groups of their own from the start: the first named one in
/// group 1, and so on. Others join and leave at will; their children are born into their group, unless the
/// sensor watches single pids.
#[derive(Debug)]
pub struct Latencies {
    watched: WatchSet,
    histograms: PartlyShared<CpuLatency>,
    threads: HashMap<MapData, u32, Thread>,
    groups: u16,
    cpus: usize,
    /// Processes named by the options, with their groups.
    roots: Vec<(u16, u32)>,
    stuck_after_ns: u64,
    /// Threads that were told to be stuck, and since when they slept.
    told: std::collections::HashMap<u32, u64>,
}

/// A thread in a sleep that no signal ends, for longer than the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// The thread and its process.
    pub(crate) key: ProcKey,
    /// How long, in nanoseconds.
    pub(crate) waited_ns: u64,
    /// The CPU that it left.
    pub(crate) cpu: u32,
}

impl Latencies {
    /// Opens the maps of a loaded sensor that was configured for it.
    pub(crate) fn open(ebpf: &mut Ebpf, latency: Latency, watch: &Watch, cpus: u32) -> Result<Self, Error> {
        let watched = WatchSet::open(ebpf)?;
        let groups = groups(latency);
        let Some(Map::Array(map)) = ebpf.map("LATENCY") else { return Err(Error::NoObject) };
        let histograms = PartlyShared::new(map.fd(), (groups * cpus) as usize)
            .map_err(|error| Error::system("map the latency histograms", error))?;
        let threads = ebpf.take_map("THREADS").ok_or(Error::NoObject)?;
        let threads = HashMap::try_from(threads)
            .map_err(|error| Error::system("open the map of waiting threads", error))?;
        let roots = match watch {
            Watch::All | Watch::AllFollowed => Vec::new(),
            Watch::Pids(named) | Watch::Trees(named) => {
                watch_set::groups().zip(named.iter().copied()).collect()
            }
        };
        Ok(Self {
            watched,
            histograms,
            threads,
            groups: groups as u16,
            cpus: cpus as usize,
            roots,
            stuck_after_ns: u64::try_from(latency.uninterruptible_stall.as_nanos()).unwrap_or(u64::MAX),
            told: std::collections::HashMap::new(),
        })
    }

    /// How many groups there are, group 0 ("not watched") included.
    #[must_use]
    pub const fn groups(&self) -> u16 {
        self.groups
    }

    /// Takes note of a process's threads that are in an uninterruptible sleep already: since when is not known, so
    /// as if they had just begun. Without this a process that hangs when it is first watched would never be found.
    pub(crate) fn take_note_of_sleepers(&mut self, process: ProcKey) -> Result<(), Error> {
        for (tid, cpu) in sleepers(process) {
            let thread = Thread {
                off_ns: time_ns(ClockId::Monotonic),
                runnable_ns: 0,
                process: ProcKey { tid, ..process },
                first: ProcKey::default(),
                first_comm: [0; COMM_BYTES / 8],
                wait: WAIT_UNINTERRUPTIBLE,
                cpu,
            };
            // The hooks know better, if they have seen it leave its CPU meanwhile.
            if self.threads.insert(tid, thread, NOEXIST).is_err() {
                continue;
            }
            // Woken up in between it would count as asleep until it leaves its CPU again.
            if !sleepers(process).iter().any(|(asleep, _)| *asleep == tid) {
                self.forget(&thread)?;
            }
        }
        Ok(())
    }

    /// Puts a process into a group: what its threads wait from now on is counted there. Group 0, and groups
    /// that there are not, take it out of all.
    pub fn join(&self, pid: u32, group: u16) {
        self.watched.join(pid, if group < self.groups { group } else { 0 });
    }

    /// Takes a process out of all groups.
    ///
    /// # Errors
    /// If the map of waiting threads cannot be changed.
    pub fn leave(&mut self, pid: u32) -> Result<(), Error> {
        self.watched.join(pid, 0);
        // What its threads wait for now would be counted for years if it came back.
        let threads = self.threads()?.into_iter().filter(|thread| thread.process.tgid == pid);
        threads.collect::<Vec<_>>().iter().try_for_each(|thread| self.forget(thread))
    }

    /// The group of a process; 0 if it is in none.
    #[must_use]
    pub fn group(&self, pid: u32) -> u16 {
        self.watched.group(pid)
    }

    /// What the threads of a group waited since the sensor was attached, on all CPUs. Read without a system
    /// call. Nothing for a group that there is not.
    #[must_use]
    pub fn read(&self, group: u16) -> GroupLatency {
        let mut sum = GroupLatency::default();
        let first = usize::from(group) * self.cpus;
        for entry in first..first + self.cpus {
            sum.add(&GroupLatency {
                run_queue: self.histogram(entry, WAIT_RUN_QUEUE),
                voluntary: self.histogram(entry, WAIT_VOLUNTARY),
                involuntary: self.histogram(entry, WAIT_INVOLUNTARY),
                uninterruptible: self.histogram(entry, WAIT_UNINTERRUPTIBLE),
                negative: self.histograms.read(entry, NEGATIVE),
                missed: self.histograms.read(entry, MISSED),
            });
        }
        sum
    }

    /// The processes that the options named, with their groups.
    pub(crate) fn roots(&self) -> &[(u16, u32)] {
        &self.roots
    }

    /// Looks through all threads for those that are stuck, tells each once for each sleep, and forgets those
    /// that ended unseen: a thread whose process was not watched any more when it left its CPU for good, or
    /// that gave its id up by an exec. Three system calls for each watched thread.
    pub(crate) fn look_for_stuck(&mut self, now_ns: u64) -> Result<Vec<Stuck>, Error> {
        let mut stuck = Vec::new();
        let mut asleep = std::collections::HashMap::new();
        for thread in self.threads()? {
            if !exists(thread.process) {
                self.forget(&thread)?;
                continue;
            }
            let waited_ns = now_ns.saturating_sub(thread.off_ns);
            if thread.wait != WAIT_UNINTERRUPTIBLE
                || thread.off_ns == 0
                || thread.runnable_ns != 0
                || waited_ns < self.stuck_after_ns
            {
                continue;
            }
            if self.told.get(&thread.process.tid) != Some(&thread.off_ns) {
                stuck.push(Stuck { key: thread.process, waited_ns, cpu: thread.cpu });
            }
            asleep.insert(thread.process.tid, thread.off_ns);
        }
        self.told = asleep;
        Ok(stuck)
    }

    fn forget(&mut self, thread: &Thread) -> Result<(), Error> {
        match self.threads.remove(&thread.process.tid) {
            // The thread itself may have been quicker.
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::system("forget a waiting thread", error)),
        }
    }

    /// All threads that are followed. A walk that is overtaken by threads that end begins anew, hence the
    /// bound; it may see a thread twice.
    fn threads(&self) -> Result<Vec<Thread>, Error> {
        let mut threads = Vec::new();
        for id in self.threads.keys().take(2 * LATENCY_THREADS as usize) {
            let id = id.map_err(|error| Error::system("walk the waiting threads", error))?;
            threads.extend(self.threads.get(&id, 0));
        }
        Ok(threads)
    }

    fn histogram(&self, entry: usize, wait: u32) -> Histogram {
        let first = wait as usize * LATENCY_BUCKETS;
        let mut histogram = Histogram::default();
        for (bucket, waits) in histogram.buckets.iter_mut().enumerate() {
            *waits = self.histograms.read(entry, first + bucket);
        }
        histogram
    }
}

/// The threads of a process in an uninterruptible sleep, with the CPU that each left; none if it is gone.
fn sleepers(process: ProcKey) -> Vec<(u32, u32)> {
    let threads = sample::process(process.into()).and_then(|process| process.tasks().ok());
    let states = threads.into_iter().flatten().filter_map(|thread| thread.ok()?.stat().ok());
    let asleep = states.filter(|thread| thread.state == 'D');
    asleep
        .map(|thread| (thread.pid.cast_unsigned(), thread.processor.unwrap_or_default().cast_unsigned()))
        .collect()
}

/// Whether a thread is still there: signal 0 says so without being sent.
fn exists(key: ProcKey) -> bool {
    // SAFETY: integers only.
    let answer = unsafe { libc::syscall(libc::SYS_tgkill, key.tgid, key.tid, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}
