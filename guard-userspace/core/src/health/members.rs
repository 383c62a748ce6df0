//! What a main process and its descendants use together.

use rustc_hash::FxHashMap;

use crate::event::Exit;
use crate::ids::ProcId;
use crate::policy::model::Signal;
use crate::resources::{Percent, Resources};
use crate::supervise::Used;

/// CPU time that counts as progress, in percent of one core.
const BUSY_PERCENT: f64 = 1.0;

/// The last sample of each member, their sums, and how fast what only grows did so.
#[derive(Clone, Debug)]
pub(super) struct Members {
    /// Who started later began at zero.
    begun_ns: u64,
    last: FxHashMap<ProcId, Member>,
    /// Number of the pass that is under way: each member is sampled once in it.
    pass: u64,
    /// Members that were sampled in it.
    sampled: usize,
    rss_bytes: u64,
    swap_bytes: u64,
    threads: u64,
    /// What was used since this began, also by those that have ended.
    totals: Totals,
    /// The totals when the last pass was complete, and when that was.
    before: Option<(u64, Totals)>,
    rates: Option<Rates>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    used: Resources,
    pass: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    cpu_ns: u64,
    read_bytes: u64,
    write_bytes: u64,
    /// Some member's input and output are not accounted.
    no_io: bool,
}

/// Between the last two passes.
#[derive(Clone, Copy, Debug)]
struct Rates {
    interval_ns: u64,
    cpu_percent: f64,
    /// Bytes per second.
    io: Option<(f64, f64)>,
}

/// All members were sampled once more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) time_ns: u64,
    pub(super) rss_bytes: u64,
    /// They used at least 1% of a core since the pass before.
    pub(super) is_busy: bool,
    /// They read or wrote since the pass before.
    pub(super) moved_bytes: bool,
}

impl Members {
    pub(super) fn new(begun_ns: u64) -> Self {
        Self {
            begun_ns,
            last: FxHashMap::default(),
            pass: 1,
            sampled: 0,
            rss_bytes: 0,
            swap_bytes: 0,
            threads: 0,
            totals: Totals::default(),
            before: None,
            rates: None,
        }
    }

    /// Takes in a sample. Gives the pass that it completes: all members were sampled in it, or one of them a second time,
    /// because another was not.
    pub(super) fn sample(&mut self, used: &Resources) -> Option<Pass> {
        let again = self.last.get(&used.id).is_some_and(|member| member.pass == self.pass);
        let incomplete = again.then(|| self.complete(used.time_ns));
        let before = self.last.insert(used.id, Member { used: *used, pass: self.pass }).map(|old| old.used);
        self.sampled += 1;
        self.subtract(before.as_ref());
        self.rss_bytes = self.rss_bytes.saturating_add(used.rss_bytes);
        self.swap_bytes = self.swap_bytes.saturating_add(used.swap_bytes);
        self.threads = self.threads.saturating_add(u64::from(used.threads));
        // What a process used before this began to look is not counted; one that was born since has used it all since.
        let origin = before.or_else(|| self.is_newborn(used.id).then(Resources::default));
        if let Some(origin) = origin {
            self.totals.add(&origin, used.cpu_ns, used.read_bytes, used.write_bytes);
        }
        let complete = (self.sampled == self.last.len()).then(|| self.complete(used.time_ns));
        complete.or(incomplete).flatten()
    }

    /// A member has ended: what it used since its last sample counts too.
    pub(super) fn exited(&mut self, id: ProcId, exit: &Exit) {
        let before = self.last.remove(&id);
        if before.is_some_and(|member| member.pass == self.pass) {
            self.sampled = self.sampled.saturating_sub(1);
        }
        let before = before.map(|member| member.used);
        self.subtract(before.as_ref());
        let origin = before.or_else(|| self.is_newborn(id).then(Resources::default));
        if let (Some(origin), Some(usage)) = (origin, exit.usage) {
            let cpu_ns = usage.user_ns.saturating_add(usage.system_ns);
            self.totals.add(&origin, cpu_ns, usage.read_bytes, usage.write_bytes);
        }
    }

    /// From the last pass but one to the last one.
    pub(super) fn interval_ns(&self) -> u64 {
        self.rates.map_or(0, |rates| rates.interval_ns)
    }

    /// What all of them use. `None` for signals of another kind, and without samples.
    pub(super) fn value(&self, signal: &Signal) -> Option<f64> {
        if self.last.is_empty() {
            return None;
        }
        let used = || self.last.values().map(|member| &member.used);
        match signal {
            Signal::Cpu => self.rates.map(|rates| rates.cpu_percent),
            Signal::MemoryRss => Some(self.rss_bytes as f64),
            Signal::MemorySwap => Some(self.swap_bytes as f64),
            Signal::FilesOpen => used().map(|used| f64::from(used.open_files)).reduce(f64::max),
            Signal::FilesShare => {
                let share = |used: &Resources| {
                    let share = Percent::of(u64::from(used.open_files), used.open_files_limit?);
                    share.map(Percent::as_f64)
                };
                // Without a limit nothing of it is used.
                used().map(|used| share(used).unwrap_or(0.0)).reduce(f64::max)
            }
            Signal::Threads => Some(self.threads as f64),
            Signal::IoRead => Some(self.rates?.io?.0),
            Signal::IoWrite => Some(self.rates?.io?.1),
            _ => None,
        }
    }

    /// What all of them use, as sampled last.
    pub(super) fn used(&self) -> Option<Used> {
        let most = self.last.values().map(|member| member.used.open_files).max()?;
        Some(Used {
            cpu_percent: self.rates.map_or(0.0, |rates| rates.cpu_percent),
            rss_bytes: self.rss_bytes,
            open_files: most,
            threads: u32::try_from(self.threads).unwrap_or(u32::MAX),
        })
    }

    fn is_newborn(&self, id: ProcId) -> bool {
        id.start_ns >= self.begun_ns
    }

    fn subtract(&mut self, used: Option<&Resources>) {
        let Some(used) = used else { return };
        self.rss_bytes = self.rss_bytes.saturating_sub(used.rss_bytes);
        self.swap_bytes = self.swap_bytes.saturating_sub(used.swap_bytes);
        self.threads = self.threads.saturating_sub(u64::from(used.threads));
    }

    /// Ends a pass. `None` for the first one, and if no time has passed: then there is nothing to compare with.
    fn complete(&mut self, time_ns: u64) -> Option<Pass> {
        self.pass += 1;
        self.sampled = 0;
        let now = std::mem::take(&mut self.totals.no_io);
        let totals = Totals { no_io: now, ..self.totals };
        let Some((before_ns, before)) = self.before else {
            self.before = Some((time_ns, totals));
            return Some(Pass { time_ns, rss_bytes: self.rss_bytes, is_busy: false, moved_bytes: false });
        };
        let interval_ns = time_ns.checked_sub(before_ns).filter(|&interval_ns| interval_ns > 0)?;
        self.before = Some((time_ns, totals));
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 * 1e9 / interval_ns as f64;
        let cpu_percent = totals.cpu_ns.saturating_sub(before.cpu_ns) as f64 * 100.0 / interval_ns as f64;
        let io = (
            per_second(totals.read_bytes, before.read_bytes),
            per_second(totals.write_bytes, before.write_bytes),
        );
        self.rates = Some(Rates { interval_ns, cpu_percent, io: (!totals.no_io).then_some(io) });
        Some(Pass {
            time_ns,
            rss_bytes: self.rss_bytes,
            is_busy: cpu_percent >= BUSY_PERCENT,
            moved_bytes: io.0 > 0.0 || io.1 > 0.0,
        })
    }
}

impl Totals {
    /// Adds what was used since `origin`. Counters that went backwards add nothing: a thread that ends while a pass is under
    /// way is neither among the living nor yet among the ended ones.
    fn add(&mut self, origin: &Resources, cpu_ns: u64, read: Option<u64>, write: Option<u64>) {
        let since = |now: u64, before: u64| now.saturating_sub(before);
        self.cpu_ns = self.cpu_ns.saturating_add(since(cpu_ns, origin.cpu_ns));
        let (Some(read), Some(write)) = (read, write) else {
            self.no_io = true;
            return;
        };
        let before = (origin.read_bytes.unwrap_or(0), origin.write_bytes.unwrap_or(0));
        self.read_bytes = self.read_bytes.saturating_add(since(read, before.0));
        self.write_bytes = self.write_bytes.saturating_add(since(write, before.1));
    }
}
