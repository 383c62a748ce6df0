//! The door: a closed set of inputs in, a closed set of effects out.

use std::collections::VecDeque;
use std::sync::Arc;

use guard_common::decode::{self, Record};
use guard_common::wire::{self, Header, Kind, ProcKey, Snapshot, TASK_ENDING, Task};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::event::{
    Action, Cause, Cgroup, Event, Exit, ExitStatus, Gap, Group, Name, Oom, Process, Program, Resync,
};
use crate::groups::Groups;
use crate::ids::ProcId;
use crate::latency::{GroupLatency, Stall, Waited};
use crate::limits::{Limits, VERDICT_WINDOW_NS};
use crate::process::cause::{self, Verdict};
use crate::process::held::Held;
use crate::process::{Cgroups, Ended, Milestones, Settled, Table, convert, usage};
use crate::resources::{GroupResources, Resources, Sample};
use crate::resync::{Comparison, Resyncing, Tombstone};
use crate::samples::Samples;

/// What happens to the core.
#[derive(Debug)]
pub enum Input<'a> {
    /// A process that existed when the sensor was attached. All of these come before the first
    /// kernel record. Its control group's path may come before or after it.
    Snapshot {
        /// The process, as the task iterator found it.
        task: Task,
        /// What it runs, if that is known.
        program: Option<Arc<Program>>,
    },
    /// A record from the ring, in ring order.
    Kernel(Record<'a>),
    /// Records were lost before the next one.
    Gap(Gap),
    /// The kernel's own list of processes, complete: the answer to [`Effect::Resync`].
    Resync {
        /// When its reading began, in nanoseconds since boot.
        taken_ns: u64,
        /// What it lists, in no order.
        found: Vec<Snapshot>,
    },
    /// The list could not be read. It is asked for again.
    ResyncFailed,
    /// How a process ended, if its exit record should be lost: from a place that outlives the
    /// record. Comes before [`Input::Settled`].
    Tombstone {
        /// The process.
        id: ProcId,
        /// How it ended.
        status: ExitStatus,
        /// When, in nanoseconds since boot.
        time_ns: u64,
    },
    /// The ring was empty once since the end of [`Input::Resync`]'s reading: all records from
    /// before it, finished or not, were taken in.
    Settled,
    /// The answer to [`Effect::ReadProgram`].
    Program {
        /// The process.
        id: ProcId,
        /// As asked.
        exec_count: u64,
        /// What it runs.
        program: Arc<Program>,
    },
    /// It is time for a slow sweep: a resync though nothing is known to be lost.
    Sweep,
    /// A control group that existed when the sensor was attached, or whose path was looked up.
    Cgroup {
        /// 0 for cgroup v2, else the v1 hierarchy's id.
        hierarchy: u32,
        /// Id within the hierarchy.
        id: u64,
        /// Path below the hierarchy's root, with a leading slash.
        path: &'a str,
    },
    /// A watch group follows this process. Comes after the snapshots.
    WatchGroup {
        /// The number of the group.
        group: u16,
        /// The process.
        root: u32,
    },
    /// What a watch group waited since the sensor was attached.
    Latency {
        /// The number of the group.
        group: u16,
        /// All that its threads waited.
        waits: &'a GroupLatency,
    },
    /// A thread is in a sleep that no signal ends, for longer than the threshold. Told once for each such
    /// sleep.
    Stuck {
        /// The thread and its process.
        key: ProcKey,
        /// How long, in nanoseconds.
        waited_ns: u64,
        /// The CPU that it left.
        cpu: u32,
    },
    /// What a process uses. One that is not known to live, because a record about it is still to come or was lost, is
    /// left out.
    Sample(&'a Resources),
    /// What a control group uses.
    GroupSample {
        /// 0 for cgroup v2, else the v1 hierarchy's id.
        hierarchy: u32,
        /// Id within the hierarchy.
        id: u64,
        /// What it uses.
        used: GroupResources,
    },
}

/// What the core asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Show, store or send this event.
    Emit(Event),
    /// Read the kernel's own list of processes, all of it, and answer with [`Input::Resync`]; then
    /// drain the ring until nothing lies in it, not even an unfinished record, and say
    /// [`Input::Settled`]. Asked again only after that, or after [`Input::ResyncFailed`].
    Resync {
        /// Records of control groups were lost: before the list, read their paths again, and
        /// tell them with [`Input::Cgroup`].
        cgroups: bool,
    },
    /// An exec record was lost: read what a process runs, and answer with [`Input::Program`].
    ReadProgram {
        /// The process.
        id: ProcId,
        /// Which of its programs.
        exec_count: u64,
    },
}

/// All state.
///
/// Every kernel record but those of control groups and snapshots becomes exactly one
/// [`Effect::Emit`]. The events of one process come in ring order. An exit by SIGKILL that no
/// process sent may come up to 20 ms late: see [`Core::poll_timeout`]. A gap, a comparison with the
/// kernel's list, and each exit that only the comparison shows are events of their own, without a
/// sequence number.
#[derive(Debug)]
pub struct Core {
    processes: Table,
    cgroups: Cgroups,
    held: Held,
    groups: Groups,
    samples: Samples,
    /// Their number so far, those of control groups included.
    samples_told: u64,
    /// Gaps that lost signal records.
    signal_losses: u32,
    resyncing: Resyncing,
    limits: Limits,
    effects: VecDeque<Effect>,
}

impl Core {
    /// An empty core.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            processes: Table::new(limits.processes, limits.ended),
            cgroups: Cgroups::new(limits.cgroups),
            held: Held::default(),
            groups: Groups::default(),
            samples: Samples::new(limits.processes),
            samples_told: 0,
            signal_losses: 0,
            resyncing: Resyncing::default(),
            limits,
            effects: VecDeque::new(),
        }
    }

    /// Takes in one input. `now_ns` is the time since boot.
    pub fn handle(&mut self, now_ns: u64, input: Input<'_>) {
        match input {
            Input::Snapshot { task, program } => self.snapshot(&task, program),
            Input::Kernel(record) => self.record(now_ns, &record),
            Input::Gap(gap) => self.gap(now_ns, gap),
            Input::Resync { taken_ns, found } => self.resyncing.read(taken_ns, found),
            Input::ResyncFailed => self.resyncing.failed(now_ns),
            Input::Tombstone { id, status, time_ns } => {
                self.resyncing.bury(id, Tombstone { status, time_ns }, self.limits.processes);
            }
            Input::Settled => self.settled(now_ns),
            Input::Program { id, exec_count, program } => self.processes.learn(id, exec_count, program),
            Input::Sweep => {
                self.resyncing.sweep();
                self.ask_for_resync(now_ns);
            }
            Input::Cgroup { hierarchy, id, path } => self.cgroups.learn(hierarchy, id, path),
            Input::WatchGroup { group, root } => {
                let id =
                    self.processes.current(root).map_or(ProcId { pid: root, start_ns: 0 }, |root| root.id);
                self.groups.add(now_ns, group, id);
            }
            Input::Latency { group, waits } => self.latency(now_ns, group, waits),
            Input::Stuck { key, waited_ns, cpu } => self.stuck(now_ns, key, waited_ns, cpu),
            Input::Sample(used) => self.sample(used),
            Input::GroupSample { hierarchy, id, used } => {
                let cgroup = self.cgroups.get(hierarchy, id);
                self.sampled(now_ns, Action::Group(Box::new(Group { cgroup, used })));
            }
        }
    }

    /// Lets time pass: releases what was held until `now_ns`. A reader that is behind should
    /// first drain the ring: the record that a held exit waits for may lie there.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        self.held.release(now_ns, &mut sink(&mut self.effects));
        self.ask_for_resync(now_ns);
    }

    /// When [`Core::handle_timeout`] is due next, in nanoseconds since boot: when the first exit
    /// has waited long enough for the out-of-memory killer's own record, or the next resync may
    /// begin.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        [self.held.deadline_ns(), self.resyncing.due_ns()].into_iter().flatten().min()
    }

    /// Whether the table can be relied on: no fork, exec or exit was lost since it was last
    /// compared with the kernel's own. While it is not, nothing should be done to the living.
    #[must_use]
    pub const fn is_certain(&self) -> bool {
        self.resyncing.is_certain()
    }

    /// The next thing to do, oldest first.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The control groups that exist, in no order.
    pub fn cgroups(&self) -> impl Iterator<Item = &Arc<Cgroup>> {
        self.cgroups.living()
    }

    /// The process table as of the last input.
    #[must_use]
    pub fn processes(&self) -> &Table {
        &self.processes
    }

    /// The path of a control group below its hierarchy's root, if it is known.
    #[must_use]
    pub fn cgroup_path(&self, hierarchy: u32, id: u64) -> Option<&str> {
        self.cgroups.path(hierarchy, id)
    }

    fn snapshot(&mut self, task: &Task, program: Option<Arc<Program>>) {
        if task.flags & TASK_ENDING != 0 {
            // Its exit record may have been made before the sensor was there: it must not live on.
            return;
        }
        let cgroup = self.cgroups.get(task.cgroup_hierarchy, task.cgroup_id);
        self.processes.snapshot(task, program, cgroup);
    }

    fn record(&mut self, now_ns: u64, record: &Record<'_>) {
        let header = match record {
            Record::Fork(fork) => self.fork(fork),
            Record::Exec(exec) => self.exec(exec),
            Record::Exit(exit) => self.exit(now_ns, exit),
            Record::Signal(signal) => self.signal(signal),
            Record::Oom(oom) => self.oom(oom),
            Record::Listen(listen) => self.listen(listen),
            Record::Stall(stall) => self.stall(stall),
            Record::Cgroup(cgroup) => return self.cgroups.change(cgroup),
            Record::Snapshot(snapshot) => return self.snapshot(&snapshot.task, None),
        };
        // The ring itself says that the window is over. Only a broken record is from the future.
        self.held.release(header.time_ns.min(now_ns), &mut sink(&mut self.effects));
    }

    fn fork(&mut self, record: &wire::Fork) -> Header {
        let cgroup = self.cgroups.get(record.child.cgroup_hierarchy, record.child.cgroup_id);
        let process = self.processes.fork(record, cgroup);
        self.emit(record.header, Action::Fork { process })
    }

    fn exec(&mut self, record: &decode::Exec<'_>) -> Header {
        let wire::Exec { header, task, .. } = &record.fixed;
        let cgroup = self.cgroups.get(task.cgroup_hierarchy, task.cgroup_id);
        let (process, exec) = self.processes.exec(record, cgroup);
        self.emit(*header, Action::Exec { process, exec })
    }

    fn exit(&mut self, now_ns: u64, record: &wire::Exit) -> Header {
        let wire::Exit { header, task, .. } = record;
        let cgroup = self.cgroups.get(task.cgroup_hierarchy, task.cgroup_id);
        let Ended { process, evidence, milestones } = self.processes.exit(header.time_ns, task, cgroup);
        let status = ExitStatus::from_wait(record.status);
        let Verdict { cause, open } = cause::judge(status, evidence.as_deref(), self.signal_losses);
        let id = process.id;
        self.samples.forget(id);
        let lifetime_ns = if id.start_ns == 0 { 0 } else { header.time_ns.saturating_sub(id.start_ns) };
        let exit = Box::new(Exit {
            status,
            cause,
            lifetime_ns,
            fork_to_exec_ns: milestones.fork_to_exec_ns,
            exec_to_listen_ns: milestones.exec_to_listen_ns(),
            usage: Some(usage::of(record)),
        });
        let action = Action::Exit { process, exit };
        if !open {
            return self.emit(*header, action);
        }
        let deadline_ns = header.time_ns.min(now_ns).saturating_add(VERDICT_WINDOW_NS);
        let event = convert::event(header, action);
        self.held.hold(id, event, deadline_ns, &mut sink(&mut self.effects));
        *header
    }

    fn signal(&mut self, record: &wire::Signal) -> Header {
        let cgroup = self.cgroups.get(record.target.cgroup_hierarchy, record.target.cgroup_id);
        let process = self.processes.see(record.header.time_ns, &record.target, cgroup);
        let sender = self.processes.resolve(record.sender);
        let name = Some(Name::new(record.sender_comm))
            .filter(|name| !name.as_bytes().is_empty())
            .or_else(|| self.processes.get(sender).map(|sender| sender.name));
        let signal = convert::signal(record, (sender, name.unwrap_or_default()));
        if cause::can_kill(&signal)
            && let Some(evidence) = self.processes.evidence(process.id)
        {
            evidence.add_signal(process.id, &signal, self.signal_losses);
        }
        self.emit(record.header, Action::Signal { process, signal })
    }

    fn oom(&mut self, record: &wire::Oom) -> Header {
        let victim = &record.victim;
        let memory_cgroup = self.cgroups.below_root(record.memory_hierarchy, record.memory_cgroup_id);
        let process = if victim.key.tgid == 0 {
            self.victim(record.pid, record.header.time_ns)
        } else {
            let cgroup = self.cgroups.get(victim.cgroup_hierarchy, victim.cgroup_id);
            let seen = self.processes.see(record.header.time_ns, victim, cgroup);
            // The table drops the programs of the ended.
            self.held.get(seen.id).cloned().unwrap_or(seen)
        };
        if let Some(evidence) = self.processes.evidence(process.id) {
            evidence.add_oom(memory_cgroup.clone());
        }
        self.held.oom(process.id, memory_cgroup.as_ref(), &mut sink(&mut self.effects));
        self.emit(record.header, Action::Oom { process, oom: Oom { memory_cgroup } })
    }

    /// The process that the out-of-memory killer means by a pid: rather one that was just killed
    /// than one that has the pid since.
    fn victim(&self, pid: u32, time_ns: u64) -> Arc<Process> {
        let known = self.held.newest(pid).or_else(|| self.processes.at(pid, time_ns));
        known.cloned().unwrap_or_else(|| self.known(ProcId { pid, start_ns: 0 }))
    }

    fn listen(&mut self, record: &wire::Listen) -> Header {
        let cgroup = self.cgroups.get(record.task.cgroup_hierarchy, record.task.cgroup_id);
        let process = self.processes.listen(record, cgroup);
        self.emit(record.header, Action::Listen { process, listen: convert::listen(record) })
    }

    fn stall(&mut self, record: &wire::Stall) -> Header {
        let cgroup = self.cgroups.get(record.task.cgroup_hierarchy, record.task.cgroup_id);
        let process = self.processes.see(record.header.time_ns, &record.task, cgroup);
        let stall = convert::stall(record, self.processes.resolve(record.instead));
        self.emit(record.header, Action::Stall { process, stall })
    }

    fn stuck(&mut self, now_ns: u64, key: ProcKey, waited_ns: u64, cpu: u32) {
        let process = self.known(self.processes.resolve(key));
        let stall = Stall { what: Waited::Uninterruptible, thread: key.tid, cpu, waited_ns, ongoing: true };
        self.emit(sampled(Kind::STALL, now_ns, cpu), Action::Stall { process, stall });
    }

    fn latency(&mut self, now_ns: u64, group: u16, waits: &GroupLatency) {
        if let Some((root, latency)) = self.groups.news(now_ns, group, waits) {
            let (process, latency) = (self.known(root), Box::new(latency));
            let header = Header { sequence: self.groups.count(), ..sampled(Kind::LATENCY, now_ns, 0) };
            self.emit(header, Action::Latency { process, latency });
        }
    }

    /// A process as it was when last seen; just its identity if it never was.
    fn known(&self, id: ProcId) -> Arc<Process> {
        let known = self.processes.get(id).cloned();
        known.unwrap_or_else(|| Arc::new(Process { id, ..Process::default() }))
    }

    fn sampled(&mut self, time_ns: u64, action: Action) {
        self.samples_told += 1;
        self.emit(Header { sequence: self.samples_told, ..sampled(Kind::RESOURCES, time_ns, 0) }, action);
    }

    fn sample(&mut self, used: &Resources) {
        let cgroup = self.cgroups.get(used.cgroup_hierarchy, used.cgroup_id);
        let Some(process) = self.processes.place(used.id, cgroup) else { return };
        let sample = Box::new(Sample { used: *used, cpu: self.samples.cpu(used) });
        self.sampled(used.time_ns, Action::Resources { process, sample });
    }

    /// A gap does not end what is held: the record that an exit waits for may still come, and the
    /// exit itself was not lost.
    fn gap(&mut self, now_ns: u64, gap: Gap) {
        if gap.lost.iter().any(|lost| lost.kind == Kind::SIGNAL && lost.count > 0) {
            self.signal_losses = self.signal_losses.wrapping_add(1);
        }
        self.resyncing.gap(now_ns, &gap);
        self.tell(now_ns, Action::Gap(gap));
        self.ask_for_resync(now_ns);
    }

    fn ask_for_resync(&mut self, now_ns: u64) {
        if let Some(cgroups) = self.resyncing.ask(now_ns) {
            self.effects.push_back(Effect::Resync { cgroups });
        }
    }

    /// Compares the table with the kernel's list, if one was read, and tells what came of it.
    fn settled(&mut self, now_ns: u64) {
        let Some(comparison) = self.resyncing.settle(now_ns) else { return };
        let Comparison { reason, taken_ns, found, tombstones } = comparison;
        let Settled { found, drift, ended, unread, .. } =
            self.processes.settle(taken_ns, &found, &mut self.cgroups);
        let told: FxHashSet<ProcId> = ended.iter().map(|ended| ended.process.id).collect();
        for ended in ended {
            self.ended_unseen(now_ns, ended, &tombstones);
        }
        self.buried_unseen(now_ns, &told, &tombstones);
        let duration_ns = now_ns.saturating_sub(taken_ns);
        self.tell(now_ns, Action::Resync(Resync { reason, duration_ns, found, drift }));
        let read = |(id, exec_count)| Effect::ReadProgram { id, exec_count };
        self.effects.extend(unread.into_iter().map(read));
        self.ask_for_resync(now_ns);
    }

    /// Tells the end of a process whose exit record was lost.
    fn ended_unseen(&mut self, now_ns: u64, ended: Ended, tombstones: &FxHashMap<ProcId, Tombstone>) {
        let Ended { process, evidence, milestones } = ended;
        let id = process.id;
        let (time_ns, status, cause, lifetime_ns) = match tombstones.get(&id) {
            Some(&Tombstone { status, time_ns }) => {
                let Verdict { cause, .. } = cause::judge(status, evidence.as_deref(), self.signal_losses);
                let lifetime_ns = if id.start_ns == 0 { 0 } else { time_ns.saturating_sub(id.start_ns) };
                (time_ns, status, cause, lifetime_ns)
            }
            None => (now_ns, ExitStatus::Unknown, Cause::RecordLost, 0),
        };
        let (fork_to_exec_ns, exec_to_listen_ns) =
            (milestones.fork_to_exec_ns, milestones.exec_to_listen_ns());
        let exit = Exit { status, cause, lifetime_ns, fork_to_exec_ns, exec_to_listen_ns, usage: None };
        self.tell(time_ns, Action::Exit { process, exit: Box::new(exit) });
    }

    /// Tells the ends of which only a tombstone is left: of processes that were born and died while records
    /// were lost.
    fn buried_unseen(
        &mut self,
        now_ns: u64,
        told: &FxHashSet<ProcId>,
        tombstones: &FxHashMap<ProcId, Tombstone>,
    ) {
        let mut unseen: Vec<ProcId> = tombstones.keys().copied().collect();
        unseen.retain(|id| !told.contains(id) && self.processes.get(*id).is_none());
        unseen.sort_unstable();
        for id in unseen {
            let process = Arc::new(Process { id, ns_pid: id.pid, ..Process::default() });
            let ended = Ended { process, evidence: None, milestones: Milestones::default() };
            self.ended_unseen(now_ns, ended, tombstones);
        }
    }

    /// Emits what no record tells.
    fn tell(&mut self, time_ns: u64, action: Action) {
        let event = Event { time_ns, cpu: 0, sequence: 0, action };
        self.effects.push_back(Effect::Emit(event));
    }

    fn emit(&mut self, header: Header, action: Action) -> Header {
        let id = action.process().map_or(ProcId::NONE, |process| process.id);
        let event = convert::event(&header, action);
        self.held.pass(id, event, &mut sink(&mut self.effects));
        header
    }
}

/// What stands for the header of a record where userspace looked for itself.
const fn sampled(kind: Kind, time_ns: u64, cpu: u32) -> Header {
    Header { kind, cpu, sequence: 0, time_ns }
}

fn sink(effects: &mut VecDeque<Effect>) -> impl FnMut(Event) {
    |event| effects.push_back(Effect::Emit(event))
}
