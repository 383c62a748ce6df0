//! What is known of all processes at a moment: made from events and samples, without any I/O.

use std::collections::VecDeque;
use std::sync::Arc;

use guard_common::wire::Kind;
use guard_core::event::{Action, Event, Exit, ExitStatus, Gap, LossCause, Process};
use guard_core::ids::ProcId;
use guard_core::latency::GroupLatency;
use guard_core::resources::{GroupResources, Percent, Resources};
use rustc_hash::{FxHashMap, FxHashSet};

use super::groups::{Group, Groups};
use super::restarts::Restarts;

/// Events remembered of each process, the newest.
const MOMENTS: usize = 32;

/// Deaths remembered of each sort: by exit code 0, and all others. Ordinary ends are many and must not
/// push the others out.
const DEATHS: usize = 256;

/// Processes that wait to be put into their watch group at most.
const JOINS: usize = 65_536;

/// Nanoseconds over which the rate of events is taken at least: of a shorter time it would be noise.
const RATE_NS: u64 = 900_000_000;

/// Age, in nanoseconds, from which a process that did not exec counts as one that was meant to run
/// its parent's program, like a worker. Shells fork for a moment all the time.
const SETTLED_NS: u64 = 1_000_000_000;

/// One thing that happened to a process.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// When, in nanoseconds since boot.
    pub(super) time_ns: u64,
    /// What.
    pub(super) action: Action,
}

/// What happened to a process, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    pub(super) moments: VecDeque<Moment>,
    /// Whether older ones were forgotten.
    pub(super) cut: bool,
}

/// A living process.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// As it was when last seen.
    pub(super) process: Arc<Process>,
    /// Key of its group.
    pub(super) group: Arc<str>,
    /// As last sampled.
    pub(super) resources: Option<Resources>,
    /// Share of one CPU between the last two samples.
    pub(super) cpu: Option<Percent>,
    pub(super) timeline: Timeline,
    /// Whether it started while we looked.
    is_newcomer: bool,
    /// Whether its start was looked at as a possible restart.
    begun: bool,
}

/// A process that ended.
#[derive(Clone, Debug)]
pub(super) struct Death {
    /// When, in nanoseconds since boot.
    pub(super) time_ns: u64,
    pub(super) process: Arc<Process>,
    pub(super) exit: Exit,
    pub(super) timeline: Timeline,
}

/// Records lost, of one kind for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) kind: Kind,
    pub(super) cause: LossCause,
    pub(super) count: u64,
}

/// A process to be put into a watch group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) pid: u32,
    pub(super) group: u16,
}

/// Everything that can be shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Processes whose descendants alone are shown; empty: all.
    trees: Vec<u32>,
    pub(super) rows: FxHashMap<ProcId, Row>,
    pub(super) groups: Groups,
    restarts: Restarts,
    failures: VecDeque<Death>,
    ordinary: VecDeque<Death>,
    pub(super) losses: Vec<Loss>,
    /// When it was for the first time.
    first_ns: u64,
    /// When the model was last brought up to date, in nanoseconds since boot.
    pub(super) now_ns: u64,
    /// Events a second, over the last second or interval.
    pub(super) events_per_second: f64,
    events: u64,
    /// Since when they are counted.
    counted_ns: u64,
    joins: Vec<(ProcId, Join)>,
}

impl Model {
    /// An empty model of these processes and their descendants; of all without any.
    pub(super) fn new(trees: Vec<u32>) -> Self {
        Self { trees, ..Self::default() }
    }

    /// Takes in what happened.
    pub(super) fn event(&mut self, event: &Event) {
        self.events += 1;
        let process = match &event.action {
            Action::Gap(gap) => return self.gap(gap),
            action => action.process(),
        };
        let Some(process) = process.filter(|process| process.id.is_some()) else { return };
        if let Action::Exit { exit, .. } = &event.action {
            return self.exit(event, process, exit);
        }
        // What comes behind the exit (the out-of-memory killer's word) belongs to the dead.
        if !self.rows.contains_key(&process.id)
            && let Some(death) = self.death_mut(process.id)
        {
            return death.timeline.push(event);
        }
        self.observe(process);
        let Some(row) = self.rows.get_mut(&process.id) else { return };
        if matches!(event.action, Action::Latency { .. } | Action::Resources { .. }) {
            // Measurements, and nothing that happened.
            return;
        }
        row.timeline.push(event);
        if matches!(event.action, Action::Exec { .. }) {
            row.begun = true;
            let group = Arc::clone(&row.group);
            self.begin(process, &group);
        }
    }

    /// Makes the rows those of the living, which the event stream's own table knows: what was lost
    /// in a gap is made good for.
    pub(super) fn reconcile<'a>(&mut self, living: impl Iterator<Item = &'a Arc<Process>>) {
        let mut living: Vec<_> = living.collect();
        // Parents first, so that their descendants are known for what they are.
        living.sort_unstable_by_key(|process| process.id.start_ns);
        let ids: FxHashSet<_> = living.iter().map(|process| process.id).collect();
        let gone: Vec<_> = self.rows.keys().filter(|id| !ids.contains(*id)).copied().collect();
        for id in gone {
            self.remove(id);
        }
        for process in living {
            if self.rows.contains_key(&process.id) || self.belongs(process) {
                self.observe(process);
            }
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.counted_ns);
        if self.counted_ns == 0 || passed >= RATE_NS {
            if self.counted_ns != 0 {
                self.events_per_second = self.events as f64 * 1e9 / passed as f64;
            }
            (self.events, self.counted_ns) = (0, now_ns);
        }
        if self.first_ns == 0 {
            self.first_ns = now_ns;
        }
        self.now_ns = now_ns;
        let settled = |row: &Row| !row.begun && now_ns.saturating_sub(row.process.id.start_ns) >= SETTLED_NS;
        let mut begun = Vec::new();
        for row in self.rows.values_mut().filter(|row| settled(row)) {
            row.begun = true;
            begun.push((Arc::clone(&row.process), Arc::clone(&row.group)));
        }
        for (process, group) in begun {
            self.begin(&process, &group);
        }
        self.groups.drop_empty();
        let groups = &self.groups;
        self.restarts.keep_groups(|group| groups.get(group).is_some());
    }

    /// Takes in a sample of a process.
    pub(super) fn sample(&mut self, resources: Resources) {
        let Some(row) = self.rows.get_mut(&resources.id) else { return };
        let before = match row.resources {
            Some(before) => Some((before.time_ns, before.cpu_ns)),
            // All that a newcomer used, it used since its start.
            None if row.is_newcomer => Some((resources.id.start_ns, 0)),
            None => None,
        };
        row.cpu = before.and_then(|(time_ns, cpu_ns)| {
            let passed = resources.time_ns.saturating_sub(time_ns);
            Percent::of(resources.cpu_ns.saturating_sub(cpu_ns), passed)
        });
        row.resources = Some(resources);
    }

    /// Takes in what the kernel counted for the watch groups.
    pub(super) fn waited(&mut self, latency: &dyn Fn(u16) -> GroupLatency) {
        self.groups.waited(self.now_ns, latency);
    }

    /// Takes in what the control group at a path uses as a whole.
    pub(super) fn group_used(&mut self, path: &str, resources: GroupResources) {
        self.groups.used(path, resources);
    }

    /// The processes that are to be put into a watch group since the last call.
    pub(super) fn take_joins(&mut self) -> impl Iterator<Item = Join> {
        let (joins, rows) = (std::mem::take(&mut self.joins), &self.rows);
        // Not for the dead: the next process with such a pid would be counted in a group not its own.
        joins.into_iter().filter(|(id, _)| rows.contains_key(id)).map(|(_, join)| join)
    }

    /// The group of a row.
    pub(super) fn group(&self, row: &Row) -> Option<&Group> {
        self.groups.get(&row.group)
    }

    /// Restarts of a row's executable in its group.
    pub(super) fn restarts(&self, row: &Row) -> u32 {
        executable(&row.process).map_or(0, |executable| self.restarts.of(executable, &row.group))
    }

    /// Deaths, newest first; perhaps only those that were no ordinary end.
    pub(super) fn deaths(&self, failures_only: bool) -> Vec<&Death> {
        let ordinary = self.ordinary.iter().filter(|_| !failures_only);
        let mut deaths: Vec<_> = self.failures.iter().chain(ordinary).collect();
        deaths.sort_by_key(|death| std::cmp::Reverse(death.time_ns));
        deaths
    }

    /// The death of a process.
    pub(super) fn death(&self, id: ProcId) -> Option<&Death> {
        self.failures.iter().chain(&self.ordinary).find(|death| death.process.id == id)
    }

    /// Whether there are processes that are not shown.
    pub(super) fn is_partial(&self) -> bool {
        !self.trees.is_empty()
    }

    /// All records that were lost.
    pub(super) fn lost(&self) -> u64 {
        self.losses.iter().map(|loss| loss.count).sum()
    }

    fn death_mut(&mut self, id: ProcId) -> Option<&mut Death> {
        // Newest first: the word comes moments after the death.
        self.failures.iter_mut().rev().take(DEATHS / 4).find(|death| death.process.id == id)
    }

    fn gap(&mut self, gap: &Gap) {
        for lost in &gap.lost {
            let same = |loss: &&mut Loss| loss.kind == lost.kind && loss.cause == lost.cause;
            match self.losses.iter_mut().find(same) {
                Some(loss) => loss.count += lost.count,
                None => self.losses.push(Loss { kind: lost.kind, cause: lost.cause, count: lost.count }),
            }
        }
    }

    /// Whether a process is one of those that are shown.
    fn belongs(&self, process: &Process) -> bool {
        self.trees.is_empty()
            || self.trees.contains(&process.id.pid)
            || self.rows.contains_key(&process.parent)
    }

    /// Inserts a process or brings it up to date.
    fn observe(&mut self, process: &Arc<Process>) {
        let known = self.rows.get_mut(&process.id);
        if let Some(row) = known {
            let same_group =
                Arc::ptr_eq(&row.process.cgroup, &process.cgroup) || row.process.cgroup == process.cgroup;
            row.process = Arc::clone(process);
            if same_group {
                return;
            }
            let key = self.groups.key(&process.cgroup);
            let left = std::mem::replace(&mut row.group, Arc::clone(&key));
            self.groups.count(&left, -1);
            return self.join(process, &key);
        }
        let group = self.groups.key(&process.cgroup);
        self.join(process, &group);
        let row = Row {
            process: Arc::clone(process),
            group,
            resources: None,
            cpu: None,
            timeline: Timeline::default(),
            // What ran before us did not start now.
            begun: self.now_ns == 0,
            is_newcomer: self.now_ns != 0 && process.id.start_ns >= self.first_ns,
        };
        self.rows.insert(process.id, row);
    }

    /// Counts a process in a group, and has the kernel do the same.
    fn join(&mut self, process: &Process, key: &str) {
        self.groups.count(key, 1);
        let group = self.groups.number(key);
        if self.joins.len() < JOINS {
            self.joins.push((process.id, Join { pid: process.id.pid, group }));
        }
    }

    fn remove(&mut self, id: ProcId) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        self.groups.count(&row.group, -1);
        Some(row)
    }

    fn exit(&mut self, event: &Event, process: &Arc<Process>, exit: &Exit) {
        let row = self.remove(process.id);
        let (mut timeline, group, begun) = match row {
            Some(row) => (row.timeline, row.group, row.begun),
            None => (Timeline::default(), self.groups.key(&process.cgroup), false),
        };
        timeline.push(event);
        let ordinary = exit.status == ExitStatus::Code(0);
        // A shell's fork that ends at once was no start of the shell, and is no end of it.
        if let Some(executable) = executable(process).filter(|_| begun || !ordinary) {
            if !begun {
                self.restarts.started(executable, process.parent, &group);
            }
            self.restarts.ended(executable, process.parent, &group);
        }
        let deaths = if ordinary { &mut self.ordinary } else { &mut self.failures };
        if deaths.len() >= DEATHS {
            deaths.pop_front();
        }
        let exit = exit.clone();
        deaths.push_back(Death { time_ns: event.time_ns, process: Arc::clone(process), exit, timeline });
    }

    /// A process runs the program that it is meant to run.
    fn begin(&mut self, process: &Process, group: &Arc<str>) {
        if let Some(executable) = executable(process) {
            self.restarts.started(executable, process.parent, group);
        }
    }
}

impl Row {
    /// Share of one CPU, in percent.
    pub(super) fn cpu_percent(&self) -> Option<f64> {
        self.cpu.map(Percent::as_f64)
    }
}

impl Timeline {
    fn push(&mut self, event: &Event) {
        if self.moments.len() >= MOMENTS {
            // The beginning stays: who forked it is worth more than one signal more.
            self.moments.remove(1);
            self.cut = true;
        }
        self.moments.push_back(Moment { time_ns: event.time_ns, action: event.action.clone() });
    }
}

fn executable(process: &Process) -> Option<&[u8]> {
    process.program.as_ref().map(|program| program.executable.as_slice()).filter(|path| !path.is_empty())
}
