//! What is measured of one instance, or of a service as one.

use std::collections::BTreeMap;

use crate::event::{Cause, Exit, ExitStatus};
use crate::health::growth::Growth;
use crate::health::members::{Members, Pass};
use crate::health::window::{Answers, Moments, Slices};
use crate::ids::ProcId;
use crate::latency::{GroupLatency, Histogram, Latency, Stall, Waited};
use crate::limits::SAMPLES_STALE_NS;
use crate::policy::model::{Check, CheckKind, EndStatus, Marker, Signal, Span};
use crate::resources::{GroupResources, Percent, Pressure, Sample};
use crate::supervise::{Answer, Used};

/// How a main process ended, if that was no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `fault`: by its own faulting instruction.
    Fault,
    /// `oom`: by the out-of-memory killer.
    Oom,
    /// `signal`: by a signal from elsewhere.
    Signal,
    /// `error`: with an exit code that is no success, or nobody knows how.
    Error,
}

impl Ending {
    /// How an end counts; `None`: it is a success.
    #[must_use]
    pub fn of(exit: &Exit, success: &[EndStatus]) -> Option<Self> {
        let status = match exit.status {
            ExitStatus::Code(code) => Some(EndStatus::Code(code)),
            ExitStatus::Signal { number, .. } => Some(EndStatus::Signal(number)),
            ExitStatus::Unknown => None,
        };
        if status.is_some_and(|status| success.contains(&status)) {
            return None;
        }
        Some(match (&exit.cause, exit.status) {
            (Cause::Oom(_), _) => Self::Oom,
            (Cause::Fault, _) => Self::Fault,
            (_, ExitStatus::Signal { .. }) => Self::Signal,
            _ => Self::Error,
        })
    }

    /// Its name in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Oom => "oom",
            Self::Signal => "signal",
            Self::Error => "error",
        }
    }
}

/// The measured values of one instance, as far as its checks ask for them. Times are nanoseconds since boot.
#[derive(Clone, Debug)]
pub struct Gauges {
    begun_ns: u64,
    members: Members,
    group: GroupResources,
    /// When anything was sampled last.
    sampled_ns: Option<u64>,
    tracked: Vec<(Signal, Tracked)>,
}

/// What needs more than the last samples.
#[derive(Clone, Debug)]
enum Tracked {
    Growth(Growth),
    Answers(Answers),
    RunQueue(Slices<Histogram>),
    Sleep(Slices<u64>),
    Restarts(Moments),
    Exits(Moments),
    Progress { last: Option<f64>, changed_ns: u64 },
}

impl Gauges {
    /// For these checks, of a subject that began at `now_ns`.
    #[must_use]
    pub fn new<'a>(checks: impl IntoIterator<Item = &'a Check>, now_ns: u64) -> Self {
        let mut tracked: Vec<(Signal, Tracked)> = vec![];
        for check in checks {
            let CheckKind::Threshold(threshold) = &check.kind else { continue };
            let signal = &threshold.signal;
            if let Some(new) = Tracked::new(signal, now_ns)
                && !tracked.iter().any(|(known, _)| known == signal)
            {
                tracked.push((signal.clone(), new));
            }
        }
        let group = GroupResources::default();
        Self { begun_ns: now_ns, members: Members::new(now_ns), group, sampled_ns: None, tracked }
    }

    /// It has another main process: what was measured of the one before is forgotten, but not its restarts and ends.
    pub fn begin(&mut self, now_ns: u64) {
        self.begun_ns = now_ns;
        self.members = Members::new(now_ns);
        self.group = GroupResources::default();
        self.sampled_ns = None;
        for (signal, tracked) in &mut self.tracked {
            if !matches!(tracked, Tracked::Restarts(_) | Tracked::Exits(_))
                && let Some(new) = Tracked::new(signal, now_ns)
            {
                *tracked = new;
            }
        }
    }

    /// Its main process or a descendant of that was sampled.
    pub fn sample(&mut self, sample: &Sample) {
        self.sampled_ns = self.sampled_ns.max(Some(sample.used.time_ns));
        let Some(pass) = self.members.sample(&sample.used) else { return };
        for (signal, tracked) in &mut self.tracked {
            tracked.pass(signal, &pass);
        }
    }

    /// Its main process or a descendant of that has ended.
    pub fn exited(&mut self, id: ProcId, exit: &Exit) {
        self.members.exited(id, exit);
    }

    /// Its control group was sampled.
    pub fn group(&mut self, now_ns: u64, used: &GroupResources) {
        self.sampled_ns = self.sampled_ns.max(Some(now_ns));
        self.group = *used;
    }

    /// Its watch group's waits were told.
    pub fn latency(&mut self, now_ns: u64, latency: &Latency) {
        for (_, tracked) in &mut self.tracked {
            tracked.waits(now_ns, &latency.waits);
        }
    }

    /// A thread of it waited too long.
    pub fn stall(&mut self, now_ns: u64, stall: &Stall) {
        for (_, tracked) in &mut self.tracked {
            if let (Tracked::Sleep(slices), Waited::Uninterruptible) = (tracked, stall.what) {
                slices.add(now_ns, |longest| *longest = stall.waited_ns.max(*longest));
            }
        }
    }

    /// A question of one of its checks was answered, `took_ns` after it was asked. The time of a pass counts as a response time,
    /// and that of a failure too if it is no shorter than `timeout_ns`: who waits in vain waits longest, who is refused at once
    /// does not make the service fast.
    pub fn answered(&mut self, now_ns: u64, check: &str, answer: &Answer, took_ns: u64, timeout_ns: Span) {
        let counts = match answer {
            Answer::Pass => true,
            Answer::Fail(_) => took_ns >= timeout_ns,
            Answer::Error(_) | Answer::Number(_) => false,
        };
        for (signal, tracked) in &mut self.tracked {
            if let (true, Signal::ResponseTime { of, .. }, Tracked::Answers(answers)) =
                (counts, signal, tracked)
                && of == check
            {
                answers.add(now_ns, took_ns);
            }
        }
    }

    /// When it was restarted or ended, by what is counted: what is kept when a supervisor ends.
    #[must_use]
    pub fn moments(&self) -> BTreeMap<String, Vec<u64>> {
        let of = |(signal, tracked): &(Signal, Tracked)| match tracked {
            Tracked::Restarts(moments) | Tracked::Exits(moments) => {
                Some((counted(signal), moments.all())).filter(|(_, moments)| !moments.is_empty())
            }
            _ => None,
        };
        self.tracked.iter().filter_map(of).collect()
    }

    /// Takes back what [`Gauges::moments`] gave, as far as it is counted still.
    pub fn remember(&mut self, kept: &BTreeMap<String, Vec<u64>>) {
        for (signal, tracked) in &mut self.tracked {
            if let Tracked::Restarts(moments) | Tracked::Exits(moments) = tracked {
                kept.get(&counted(signal)).into_iter().flatten().for_each(|&moment| moments.add(moment));
            }
        }
    }

    /// It was restarted, whatever for.
    pub fn restarted(&mut self, now_ns: u64) {
        for (_, tracked) in &mut self.tracked {
            if let Tracked::Restarts(moments) = tracked {
                moments.add(now_ns);
            }
        }
    }

    /// A main process of it ended without success.
    pub fn ended(&mut self, now_ns: u64, ending: Ending) {
        for (signal, tracked) in &mut self.tracked {
            if let (Signal::Exits { causes, .. }, Tracked::Exits(moments)) = (signal, tracked)
                && (causes.is_empty() || causes.iter().any(|cause| cause == ending.name()))
            {
                moments.add(now_ns);
            }
        }
    }

    /// What a marker of progress from outside says now: bytes of a log, when a file was changed, a number.
    pub fn marked(&mut self, now_ns: u64, of: &Marker, number: f64) {
        for (signal, tracked) in &mut self.tracked {
            if let (Signal::Progress { of: known }, Tracked::Progress { last, changed_ns }) =
                (signal, tracked)
                && known == of
                && *last != Some(number)
            {
                (*last, *changed_ns) = (Some(number), now_ns);
            }
        }
    }

    /// What a signal says at this moment, in its unit. `None`: it was not measured, or not lately, or cannot be, or comes from
    /// outside ([`Signal::Number`], [`Signal::MemoryPss`]), which is asked for.
    #[must_use]
    pub fn value(&self, signal: &Signal, now_ns: u64) -> Option<f64> {
        match signal {
            Signal::Age => return Some(now_ns.saturating_sub(self.begun_ns) as f64),
            Signal::Number(_) | Signal::MemoryPss => return None,
            _ => {}
        }
        if let Some((_, tracked)) = self.tracked.iter().find(|(known, _)| known == signal) {
            return tracked.value(signal, now_ns, self.is_fresh(now_ns));
        }
        if !self.is_fresh(now_ns) {
            return None;
        }
        let percent = |share: Option<Percent>| share.map(Percent::as_f64);
        let pressure = |of: Option<Pressure>| percent(of.map(|of| of.some.avg10));
        match signal {
            Signal::MemoryShare => {
                percent(Percent::of(self.group.memory_bytes?, self.group.memory_limit_bytes?))
            }
            Signal::PressureCpu => pressure(self.group.cpu_pressure),
            Signal::PressureMemory => pressure(self.group.memory_pressure),
            Signal::PressureIo => pressure(self.group.io_pressure),
            _ => self.members.value(signal),
        }
    }

    /// What it uses, as sampled last.
    #[must_use]
    pub fn used(&self) -> Option<Used> {
        self.members.used()
    }

    /// Whether what it uses was sampled lately.
    fn is_fresh(&self, now_ns: u64) -> bool {
        let age = self.sampled_ns.map(|sampled_ns| now_ns.saturating_sub(sampled_ns));
        age.is_some_and(|age| age <= SAMPLES_STALE_NS.max(self.members.interval_ns().saturating_mul(3)))
    }
}

/// Ends of which kind are counted, or restarts, and in what window: a name that holds across versions.
fn counted(signal: &Signal) -> String {
    match signal {
        Signal::Exits { causes, window } => format!("exits {} {window}", causes.join(",")),
        Signal::Restarts { window } => format!("restarts {window}"),
        other => other.name().to_string(),
    }
}

impl Tracked {
    fn new(signal: &Signal, now_ns: u64) -> Option<Self> {
        Some(match signal {
            Signal::MemoryGrowth { window } => Self::Growth(Growth::new(*window)),
            Signal::ResponseTime { window, .. } => Self::Answers(Answers::new(*window)),
            Signal::RunQueueP99 { window } => Self::RunQueue(Slices::new(*window)),
            Signal::Uninterruptible { window } => Self::Sleep(Slices::new(*window)),
            Signal::Restarts { window } => Self::Restarts(Moments::new(*window)),
            Signal::Exits { window, .. } => Self::Exits(Moments::new(*window)),
            Signal::Progress { .. } => Self::Progress { last: None, changed_ns: now_ns },
            _ => return None,
        })
    }

    /// All members were sampled once more.
    fn pass(&mut self, signal: &Signal, pass: &Pass) {
        match (self, signal) {
            (Self::Growth(growth), _) => growth.add(pass.time_ns, pass.rss_bytes),
            (Self::Progress { changed_ns, .. }, Signal::Progress { of: Marker::Cpu }) if pass.is_busy => {
                *changed_ns = pass.time_ns;
            }
            (Self::Progress { changed_ns, .. }, Signal::Progress { of: Marker::Io }) if pass.moved_bytes => {
                *changed_ns = pass.time_ns;
            }
            _ => {}
        }
    }

    fn waits(&mut self, now_ns: u64, waits: &GroupLatency) {
        match self {
            Self::RunQueue(slices) => slices.add(now_ns, |sum| sum.add(&waits.run_queue)),
            Self::Sleep(slices) => {
                let longest_ns = waits.uninterruptible.quantile_ns(1.0).unwrap_or(0);
                slices.add(now_ns, |longest| *longest = longest_ns.max(*longest));
            }
            _ => {}
        }
    }

    fn value(&self, signal: &Signal, now_ns: u64, fresh: bool) -> Option<f64> {
        match (self, signal) {
            (Self::Growth(growth), _) if fresh => growth.per_second(now_ns),
            (Self::Answers(answers), Signal::ResponseTime { quantile, .. }) => {
                answers.quantile(now_ns, *quantile).map(|ns| ns as f64)
            }
            // Nothing is told of those who did not wait.
            (Self::RunQueue(slices), _) if slices.is_told() => {
                let all = slices.fold(now_ns, Histogram::default(), |sum, slice| sum.add(slice));
                Some(all.quantile_ns(0.99).unwrap_or(0) as f64)
            }
            (Self::Sleep(slices), _) if slices.is_told() => {
                Some(slices.fold(now_ns, 0, |longest, slice| *longest = (*longest).max(*slice)) as f64)
            }
            (Self::Restarts(moments) | Self::Exits(moments), _) => Some(moments.count(now_ns) as f64),
            (Self::Progress { last, changed_ns }, Signal::Progress { of }) => {
                let known = if matches!(of, Marker::Cpu | Marker::Io) { fresh } else { last.is_some() };
                known.then(|| now_ns.saturating_sub(*changed_ns) as f64)
            }
            _ => None,
        }
    }
}

/// What a signal says of several instances together: their sum; the largest of them where a sum says nothing (shares, times,
/// growth rates are sums too). Those of which nothing is known are left out; `None` if that is all.
pub fn together(signal: &Signal, values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let sums = match signal {
        Signal::Cpu
        | Signal::MemoryRss
        | Signal::MemoryPss
        | Signal::MemorySwap
        | Signal::MemoryGrowth { .. }
        | Signal::Threads
        | Signal::IoRead
        | Signal::IoWrite
        | Signal::Restarts { .. }
        | Signal::Exits { .. } => true,
        Signal::MemoryShare
        | Signal::FilesOpen
        | Signal::FilesShare
        | Signal::ResponseTime { .. }
        | Signal::RunQueueP99 { .. }
        | Signal::Uninterruptible { .. }
        | Signal::PressureCpu
        | Signal::PressureMemory
        | Signal::PressureIo
        | Signal::Age
        | Signal::Progress { .. }
        | Signal::Number(_) => false,
    };
    values.into_iter().flatten().reduce(|one, other| if sums { one + other } else { one.max(other) })
}

#[cfg(test)]
mod tests;
