//! A made-up kernel: it lives through random steps, knows the truth, and tells it in records.

use std::collections::{BTreeMap, BTreeSet};

use guard_common::wire::{self, Header, Kind, Task};
use guard_core::event::{Cause, Name, Sender};
use guard_core::ids::ProcId;
use proptest::prelude::*;

use crate::testkit;

/// Nanoseconds between two steps of a life: 400 of them stay below the 20 ms for which an exit
/// is held.
const STEP_NS: u64 = 10_000;
/// Fewer than most streams have processes, so that pids are reused.
const PIDS: u32 = 12;
pub(crate) const INIT: u32 = 1;

/// One step of the made-up kernel; the numbers choose who does it and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Fork {
        parent: u8,
        pid: u8,
        blind: bool,
    },
    Exec {
        who: u8,
    },
    Exit {
        who: u8,
        code: u8,
    },
    /// A signal that its target survives.
    Handled {
        target: u8,
        sender: u8,
    },
    /// A signal that kills: SIGTERM or SIGKILL.
    Killed {
        target: u8,
        sender: u8,
        term: bool,
    },
    /// By the kernel, out of memory: reported before or after the exit.
    Oom {
        target: u8,
        late: bool,
        bare: bool,
    },
    Listen {
        who: u8,
    },
    Cgroup {
        id: u8,
        change: u8,
    },
    Gap,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let n = any::<u8>;
    let b = any::<bool>;
    prop_oneof![
        6 => (n(), n(), prop::bool::weighted(0.1)).prop_map(|(parent, pid, blind)| Step::Fork { parent, pid, blind }),
        3 => n().prop_map(|who| Step::Exec { who }),
        2 => (n(), n()).prop_map(|(who, code)| Step::Exit { who, code }),
        1 => (n(), n()).prop_map(|(target, sender)| Step::Handled { target, sender }),
        2 => (n(), n(), b()).prop_map(|(target, sender, term)| Step::Killed { target, sender, term }),
        1 => (n(), b(), b()).prop_map(|(target, late, bare)| Step::Oom { target, late, bare }),
        1 => n().prop_map(|who| Step::Listen { who }),
        1 => (n(), 0..3u8).prop_map(|(id, change)| Step::Cgroup { id, change }),
        1 => Just(Step::Gap),
    ]
}

/// What the kernel would have told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Record { subject: ProcId, bytes: Vec<u8> },
    Gap,
}

/// The made-up kernel: it knows the truth.
#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) time_ns: u64,
    sequence: u64,
    pub(crate) living: Vec<Task>,
    /// Dead, but their exit record is yet to be made: their pids are taken.
    pub(crate) dying: Vec<Task>,
    /// Which program each one runs: a number of its own for each exec.
    pub(crate) programs: BTreeMap<ProcId, u64>,
    pub(crate) told: Vec<Told>,
    /// Why those died who died.
    pub(crate) causes: BTreeMap<ProcId, Cause>,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        let init = Task { parent: testkit::key(0, 0), ..testkit::task(INIT, 1) };
        let programs = BTreeMap::from([(init.key.into(), 1)]);
        Self { living: vec![init], programs, ..Self::default() }
    }

    fn pick(&self, number: u8) -> usize {
        usize::from(number) % self.living.len()
    }

    /// Anybody but init.
    fn pick_mortal(&self, number: u8) -> Option<usize> {
        (self.living.len() > 1).then(|| 1 + usize::from(number) % (self.living.len() - 1))
    }

    pub(crate) fn header(&mut self, kind: Kind) -> Header {
        self.sequence += 1;
        Header { sequence: self.sequence, ..testkit::header(kind, self.time_ns) }
    }

    fn tell(&mut self, subject: ProcId, bytes: &[u8]) {
        self.told.push(Told::Record { subject, bytes: bytes.to_vec() });
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.time_ns += STEP_NS;
        match step {
            Step::Fork { parent, pid, blind } => self.fork(parent, pid, blind),
            Step::Exec { who } => {
                let who = self.pick(who);
                let task = &mut self.living[who];
                task.caps_effective ^= 1 << (self.time_ns / STEP_NS % 40);
                task.exec_count += 1;
                task.comm = testkit::comm(&format!("p{}x{}", task.key.tgid, task.exec_count));
                let task = *task;
                let mut record = testkit::exec(task);
                record.fixed.header = self.header(Kind::EXEC);
                record.fixed.exe_inode = record.fixed.header.sequence + 1;
                self.programs.insert(task.key.into(), record.fixed.exe_inode);
                self.tell(task.key.into(), &record.encode());
            }
            Step::Exit { who, code } => {
                let Some(who) = self.pick_mortal(who) else { return };
                self.end(who, u32::from(code) << 8, Cause::Own);
            }
            Step::Handled { target, sender } => {
                let (target, sender) = (self.pick(target), self.pick(sender));
                self.signal(target, self.living[sender], 15);
            }
            Step::Killed { target, sender, term } => {
                let Some(target) = self.pick_mortal(target) else { return };
                let sender = self.living[self.pick(sender)];
                let number = if term { 15 } else { 9 };
                let to = self.living[target].key;
                self.signal(target, sender, number);
                let cause = if sender.key == to { Cause::Own } else { Cause::Signal(named(sender)) };
                self.end(target, number, cause);
            }
            Step::Oom { target, late, bare } => self.oom(target, late, bare),
            Step::Listen { who } => {
                let task = self.living[self.pick(who)];
                let header = self.header(Kind::LISTEN);
                let record = wire::Listen { header, ..testkit::listen(task, 80) };
                self.tell(task.key.into(), testkit::bytes(&record));
            }
            Step::Cgroup { id, change } => {
                let record = testkit::cgroup(u64::from(id % 6), u32::from(change), &format!("/c{id}"));
                self.tell(ProcId::NONE, &record.encode());
            }
            Step::Gap => self.told.push(Told::Gap),
        }
    }

    fn fork(&mut self, parent: u8, pid: u8, blind: bool) {
        let pid = 2 + u32::from(pid) % PIDS;
        if self.living.iter().chain(&self.dying).any(|task| task.key.tgid == pid) {
            return;
        }
        let parent = self.living[self.pick(parent)];
        let cgroup_id = u64::from(pid % 6);
        let exec_count = parent.exec_count;
        let child = Task { parent: parent.key, cgroup_id, exec_count, ..testkit::task(pid, self.time_ns) };
        self.living.push(child);
        self.programs.insert(child.key.into(), self.programs[&parent.key.into()]);
        let mut record = testkit::fork(child);
        record.header = self.header(Kind::FORK);
        if blind {
            record.child.key.start_ns = 0;
        }
        self.tell(child.key.into(), testkit::bytes(&record));
    }

    fn signal(&mut self, target: usize, sender: Task, number: u32) {
        let target = self.living[target];
        let header = self.header(Kind::SIGNAL);
        let record = wire::Signal { header, ..testkit::signal(target, number, sender) };
        self.tell(target.key.into(), testkit::bytes(&record));
    }

    fn oom(&mut self, target: u8, late: bool, bare: bool) {
        let Some(target) = self.pick_mortal(target) else { return };
        let victim = self.living[target];
        let header = self.header(Kind::SIGNAL);
        let record = wire::Signal { header, ..testkit::kernel_signal(victim, 9) };
        self.tell(victim.key.into(), testkit::bytes(&record));
        let told = if bare { testkit::oom_of_pid(victim.key.tgid) } else { testkit::oom(victim, 0) };
        let oom = wire::Oom { header: self.header(Kind::OOM), ..told };
        if late {
            self.end(target, 9, Cause::Oom(None));
            self.tell(victim.key.into(), testkit::bytes(&oom));
        } else {
            self.tell(victim.key.into(), testkit::bytes(&oom));
            self.end(target, 9, Cause::Oom(None));
        }
    }

    fn end(&mut self, who: usize, status: u32, cause: Cause) {
        let task = self.living.remove(who);
        let init = self.living[0].key;
        self.living.iter_mut().filter(|child| child.parent == task.key).for_each(|child| child.parent = init);
        let record = wire::Exit { header: self.header(Kind::EXIT), ..testkit::exit(task, status) };
        self.tell(task.key.into(), testkit::bytes(&record));
        self.causes.insert(task.key.into(), cause);
    }

    pub(crate) fn living_ids(&self) -> BTreeSet<ProcId> {
        self.living.iter().map(|task| task.key.into()).collect()
    }
}

fn named(task: Task) -> Sender {
    let name = Name::new(task.comm);
    Sender { id: task.key.into(), name, uid: task.uid }
}
