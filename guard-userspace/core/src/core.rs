//! The door: a closed set of inputs in, a closed set of effects out.

use std::collections::VecDeque;
use std::sync::Arc;

use guard_common::decode::{self, Record};
use guard_common::wire::{self, Header, Kind, Task};

use crate::event::{Action, Event, Exit, ExitStatus, Gap, Name, Oom, Process, Program};
use crate::ids::ProcId;
use crate::limits::{Limits, VERDICT_WINDOW_NS};
use crate::process::cause::{self, Verdict};
use crate::process::held::Held;
use crate::process::{Cgroups, Table, convert, usage};

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
    /// A control group that existed when the sensor was attached, or whose path was looked up.
    Cgroup {
        /// 0 for cgroup v2, else the v1 hierarchy's id.
        hierarchy: u32,
        /// Id within the hierarchy.
        id: u64,
        /// Path below the hierarchy's root, with a leading slash.
        path: &'a str,
    },
}

/// What the core asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Show, store or send this event.
    Emit(Event),
}

/// All state.
///
/// Every kernel record but those of control groups and snapshots becomes exactly one
/// [`Effect::Emit`]. The events of one process come in ring order. An exit by SIGKILL that no
/// process sent may come up to 20 ms late: see [`Core::poll_timeout`].
#[derive(Debug)]
pub struct Core {
    processes: Table,
    cgroups: Cgroups,
    held: Held,
    /// Gaps that lost signal records.
    signal_losses: u32,
    effects: VecDeque<Effect>,
}

impl Core {
    /// An empty core.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            processes: Table::new(limits.processes),
            cgroups: Cgroups::new(limits.cgroups),
            held: Held::default(),
            signal_losses: 0,
            effects: VecDeque::new(),
        }
    }

    /// Takes in one input. `now_ns` is the time since boot.
    pub fn handle(&mut self, now_ns: u64, input: Input<'_>) {
        match input {
            Input::Snapshot { task, program } => self.snapshot(&task, program),
            Input::Kernel(record) => self.record(now_ns, &record),
            Input::Gap(gap) => self.gap(now_ns, gap),
            Input::Cgroup { hierarchy, id, path } => self.cgroups.learn(hierarchy, id, path),
        }
    }

    /// Lets time pass: releases what was held until `now_ns`. A reader that is behind should
    /// first drain the ring: the record that a held exit waits for may lie there.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        self.held.release(now_ns, &mut sink(&mut self.effects));
    }

    /// When [`Core::handle_timeout`] is due next, in nanoseconds since boot: when the first exit
    /// has waited long enough for the out-of-memory killer's own record.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.held.deadline_ns()
    }

    /// The next thing to do, oldest first.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The process table as of the last input.
    #[must_use]
    pub fn processes(&self) -> &Table {
        &self.processes
    }

    fn snapshot(&mut self, task: &Task, program: Option<Arc<Program>>) {
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
            Record::Cgroup(cgroup) => return self.cgroups.change(cgroup),
            Record::Snapshot(snapshot) => return self.snapshot(&snapshot.task, None),
        };
        // The ring itself says that the window is over. Only a broken record is from the future.
        self.handle_timeout(header.time_ns.min(now_ns));
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
        let (process, evidence) = self.processes.exit(task, cgroup);
        let status = ExitStatus::from_wait(record.status);
        let Verdict { cause, open } = cause::judge(status, evidence.as_deref(), self.signal_losses);
        let id = process.id;
        let lifetime_ns = if id.start_ns == 0 { 0 } else { header.time_ns.saturating_sub(id.start_ns) };
        let exit = Box::new(Exit { status, cause, lifetime_ns, usage: usage::of(record) });
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
        let process = self.processes.see(&record.target, cgroup);
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
            let seen = self.processes.see(victim, cgroup);
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
        known.cloned().unwrap_or_else(|| {
            let id = ProcId { pid, start_ns: 0 };
            Arc::new(Process { id, ..Process::default() })
        })
    }

    fn listen(&mut self, record: &wire::Listen) -> Header {
        let cgroup = self.cgroups.get(record.task.cgroup_hierarchy, record.task.cgroup_id);
        let process = self.processes.see(&record.task, cgroup);
        self.emit(record.header, Action::Listen { process, listen: convert::listen(record) })
    }

    /// A gap does not end what is held: the record that an exit waits for may still come, and the
    /// exit itself was not lost.
    fn gap(&mut self, now_ns: u64, gap: Gap) {
        if gap.lost.iter().any(|lost| lost.kind == Kind::SIGNAL && lost.count > 0) {
            self.signal_losses = self.signal_losses.wrapping_add(1);
        }
        let event = Event { time_ns: now_ns, cpu: 0, sequence: 0, action: Action::Gap(gap) };
        self.effects.push_back(Effect::Emit(event));
    }

    fn emit(&mut self, header: Header, action: Action) -> Header {
        let id = action.process().map_or(ProcId::NONE, |process| process.id);
        let event = convert::event(&header, action);
        self.held.pass(id, event, &mut sink(&mut self.effects));
        header
    }
}

fn sink(effects: &mut VecDeque<Effect>) -> impl FnMut(Event) {
    |event| effects.push_back(Effect::Emit(event))
}
