//! Records get lost, gaps are told late, the kernel's list is read while things happen: once all
//! is settled the table is the kernel's, and every death was told once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use guard_common::wire::{Kind, Snapshot, TASK_ENDING, TASK_NEW, Task};
use guard_core::event::{Action, Drift, Event, ExitStatus, Gap, LossCause, Lost, Name, Program};
use guard_core::ids::ProcId;
use guard_core::{Core, Effect, Input, Limits};
use proptest::prelude::*;

use crate::kernel::{Kernel, Step, Told, step};
use crate::testkit;

/// Longer than the core waits from one comparison to the next.
const LONG_NS: u64 = 300_000_000;

/// What may happen next, in the kernel or in the reader.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// Something happens; its records are lost or not.
    Step { step: Step, lost: bool },
    /// A child is in the list, and its parent still in the call that made it: the record was made already, or is
    /// made when the call is over.
    Bear { parent: u8, pid: u8, late: bool, lost: bool },
    /// Somebody becomes another user, has another name and place: nothing tells it.
    Change { who: u8 },
    /// Somebody's last thread is on its way out: the record comes later.
    Die { who: u8 },
    /// The one dying for longest makes its record.
    Bury { lost: bool },
    /// The reader takes so many records.
    Drain { records: u8 },
    /// The reader looks at the loss counters.
    TellLosses,
    /// The reader reads the list up to this pid, if it was asked to.
    List { until: u8 },
    /// The reader finds the ring empty.
    Settle,
    /// Time goes by.
    Wait,
    /// A sweep is due.
    Sweep,
}

fn moves(lossy: bool) -> impl Strategy<Value = Vec<Move>> {
    let n = any::<u8>;
    let loss = move || prop::bool::weighted(if lossy { 0.3 } else { 0.0 });
    let seeing = step().prop_map(|step| match step {
        Step::Fork { parent, pid, .. } => Step::Fork { parent, pid, blind: false },
        Step::Oom { target, late, .. } => Step::Oom { target, late, bare: false },
        Step::Gap => Step::Exec { who: 0 },
        other => other,
    });
    let one = prop_oneof![
        12 => (seeing, loss()).prop_map(|(step, lost)| Move::Step { step, lost }),
        2 => (n(), n(), any::<bool>(), loss()).prop_map(|(parent, pid, late, lost)| Move::Bear { parent, pid, late, lost }),
        1 => n().prop_map(|who| Move::Change { who }),
        2 => n().prop_map(|who| Move::Die { who }),
        2 => loss().prop_map(|lost| Move::Bury { lost }),
        4 => (0..12u8).prop_map(|records| Move::Drain { records }),
        2 => Just(Move::TellLosses),
        3 => (0..16u8).prop_map(|until| Move::List { until }),
        2 => Just(Move::Settle),
        1 => Just(Move::Wait),
        1 => Just(Move::Sweep),
    ];
    prop::collection::vec(one, 1..250)
}

/// A child whose parent is still in the call that made it.
struct Newborn {
    id: ProcId,
    /// The fork record, if it is yet to come, and whether it will be lost.
    unmade: Option<(Vec<Told>, bool)>,
}

/// A list that is being read.
struct List {
    taken_ns: u64,
    /// The next pid to look at.
    next: u32,
    found: Vec<Snapshot>,
}

/// The kernel, the ring and the reader.
struct World {
    kernel: Kernel,
    core: Core,
    ring: VecDeque<(ProcId, Vec<u8>)>,
    /// Exit records of the dying.
    unmade: VecDeque<(ProcId, Vec<u8>)>,
    newborn: Option<Newborn>,
    lost: Vec<Lost>,
    asked: bool,
    list: Option<List>,
    /// Whether a list waits for an empty ring.
    read: bool,
    events: Vec<Event>,
    /// Of whom the core was told anything.
    known: BTreeSet<ProcId>,
    /// Whose fork, exec, exit record was lost.
    unrecorded: [BTreeSet<ProcId>; 3],
}

impl World {
    fn new() -> Self {
        let kernel = Kernel::new();
        let mut core = Core::new(Limits { processes: 4_096, ended: 4_096, cgroups: 64 });
        let init = kernel.living[0];
        core.handle(0, Input::Snapshot { task: init, program: Some(program(1)) });
        Self {
            kernel,
            core,
            ring: VecDeque::new(),
            unmade: VecDeque::new(),
            newborn: None,
            lost: vec![],
            asked: false,
            list: None,
            read: false,
            events: vec![],
            known: BTreeSet::from([init.key.into()]),
            unrecorded: Default::default(),
        }
    }

    fn go(&mut self, next: Move) {
        if matches!(next, Move::Step { .. } | Move::Bear { .. } | Move::Change { .. } | Move::Die { .. }) {
            self.wake();
        }
        match next {
            Move::Step { step, lost } => {
                self.kernel.step(step);
                self.record(lost);
            }
            Move::Bear { parent, pid, late, lost } => {
                self.bear(Step::Fork { parent, pid, blind: false }, late, lost)
            }
            Move::Change { who } => {
                let who = usize::from(who) % self.kernel.living.len();
                let task = &mut self.kernel.living[who];
                task.uid += 1;
                task.comm = testkit::comm("changed");
                task.cgroup_id = 5 - task.cgroup_id;
            }
            Move::Die { who } => {
                let before = self.kernel.living.clone();
                self.kernel.step(Step::Exit { who, code: 0 });
                let gone = before.iter().filter(|task| !self.kernel.living.iter().any(|t| t.key == task.key));
                self.kernel.dying.extend(gone);
                for told in std::mem::take(&mut self.kernel.told) {
                    if let Told::Record { subject, bytes } = told {
                        self.unmade.push_back((subject, bytes));
                    }
                }
            }
            Move::Bury { lost } => self.bury(lost),
            Move::Drain { records } => self.drain(usize::from(records)),
            Move::TellLosses => self.tell_losses(),
            Move::List { until } => self.list(u32::from(until)),
            Move::Settle => self.settle(),
            Move::Wait => self.kernel.time_ns += LONG_NS,
            Move::Sweep => self.handle(Input::Sweep),
        }
        if self.core.poll_timeout().is_some_and(|due_ns| due_ns <= self.kernel.time_ns) {
            self.core.handle_timeout(self.kernel.time_ns);
            self.carry_out();
        }
        let made = self.unmade.is_empty() && self.newborn.as_ref().is_none_or(|child| child.unmade.is_none());
        let quiet = self.ring.is_empty() && made && self.lost.is_empty();
        if quiet && self.core.is_certain() {
            self.assert_complete();
        }
    }

    /// The living and their programs are known; what no record tells may be out of date.
    fn assert_complete(&self) {
        let (table, truth) = (table(&self.core), truth(&self.kernel));
        let programs = |facts: &BTreeMap<ProcId, Facts>| -> BTreeMap<_, _> {
            facts.iter().map(|(&id, &(.., program))| (id, program)).collect()
        };
        assert_eq!(programs(&table), programs(&truth));
    }

    fn bear(&mut self, fork: Step, late: bool, lost: bool) {
        let before = self.kernel.living_ids();
        self.kernel.step(fork);
        let child = self.kernel.living_ids().difference(&before).next().copied();
        let unmade = late.then(|| (std::mem::take(&mut self.kernel.told), lost));
        self.newborn = child.map(|id| Newborn { id, unmade });
        self.record(lost);
    }

    /// The call that made the newborn is over.
    fn wake(&mut self) {
        if let Some(Newborn { unmade: Some((told, lost)), .. }) = self.newborn.take() {
            self.kernel.told = told;
            self.record(lost);
        }
    }

    fn bury(&mut self, lost: bool) {
        if let Some((subject, bytes)) = self.unmade.pop_front() {
            self.kernel.dying.retain(|task| ProcId::from(task.key) != subject);
            self.kernel.told.push(Told::Record { subject, bytes });
            self.record(lost);
        }
    }

    /// Puts what the kernel told into the ring, or loses it.
    fn record(&mut self, lost: bool) {
        for told in std::mem::take(&mut self.kernel.told) {
            let Told::Record { subject, bytes } = told else { continue };
            if lost {
                let kind = testkit::decoded(&bytes).kind();
                if let Some(unrecorded) = self.unrecorded.get_mut(kind.0 as usize) {
                    unrecorded.insert(subject);
                }
                self.lost.push(Lost { kind, cause: LossCause::RingFull, cpu: Some(0), count: 1 });
            } else {
                self.ring.push_back((subject, bytes));
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.core.handle(self.kernel.time_ns, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Emit(event) => self.events.push(event),
                Effect::Resync { .. } => {
                    assert!(!self.asked && self.list.is_none() && !self.read, "one at a time");
                    self.asked = true;
                }
                Effect::ReadProgram { id, exec_count } => {
                    // It may run another one by now, whose record comes.
                    if self.kernel.living_ids().contains(&id) {
                        let program = program(self.kernel.programs[&id]);
                        self.core.handle(self.kernel.time_ns, Input::Program { id, exec_count, program });
                    }
                }
            }
        }
    }

    fn drain(&mut self, records: usize) {
        for _ in 0..records {
            let Some((subject, bytes)) = self.ring.pop_front() else { break };
            self.known.insert(subject);
            self.handle(Input::Kernel(testkit::decoded(&bytes)));
        }
    }

    fn tell_losses(&mut self) {
        if !self.lost.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            self.handle(Input::Gap(Gap { lost }));
        }
    }

    /// Reads on until a pid; the whole list is read once that is beyond all pids.
    fn list(&mut self, until: u32) {
        if std::mem::take(&mut self.asked) {
            self.list = Some(List { taken_ns: self.kernel.time_ns, next: 0, found: vec![] });
        }
        let Some(list) = &mut self.list else { return };
        let dying = self.kernel.dying.iter().map(|&task| Task { flags: TASK_ENDING, ..task });
        let newborn = self.newborn.as_ref().map(|child| child.id);
        let living = self.kernel.living.iter().map(|&task| {
            let flags = if newborn == Some(task.key.into()) { TASK_NEW } else { 0 };
            Task { flags, ..task }
        });
        for task in living.chain(dying) {
            if (list.next..until).contains(&task.key.tgid) {
                let header = testkit::header(Kind::SNAPSHOT, self.kernel.time_ns);
                list.found.push(Snapshot { header, task });
                if task.flags & TASK_ENDING == 0 {
                    self.known.insert(task.key.into());
                }
            }
        }
        list.next = list.next.max(until);
        if list.next > 14
            && let Some(List { taken_ns, found, .. }) = self.list.take()
        {
            self.read = true;
            self.handle(Input::Resync { taken_ns, found });
        }
    }

    fn settle(&mut self) {
        if std::mem::take(&mut self.read) {
            self.drain(usize::MAX);
            self.handle(Input::Settled);
        }
    }

    /// Lets everything come to rest, with one more sweep for what nothing tells.
    fn finish(&mut self) {
        self.wake();
        while !self.unmade.is_empty() {
            self.bury(false);
        }
        for sweep in [false, true] {
            self.drain(usize::MAX);
            self.tell_losses();
            if sweep {
                self.handle(Input::Sweep);
            }
            for _ in 0..4 {
                self.kernel.time_ns += LONG_NS;
                self.core.handle_timeout(self.kernel.time_ns);
                self.carry_out();
                self.list(15);
                self.settle();
            }
            assert!(self.core.is_certain());
            self.assert_complete();
        }
        self.core.handle_timeout(u64::MAX);
        self.carry_out();
    }

    /// How often the end of each process was told.
    fn ends(&self) -> BTreeMap<ProcId, u32> {
        let mut ends = BTreeMap::new();
        for event in &self.events {
            if let Action::Exit { process, .. } = &event.action {
                *ends.entry(process.id).or_default() += 1;
            }
        }
        ends
    }

    fn drift(&self) -> Drift {
        let mut drift = Drift::default();
        for event in &self.events {
            if let Action::Resync(resync) = &event.action {
                drift += resync.drift;
            }
        }
        drift
    }
}

fn program(inode: u64) -> Arc<Program> {
    Arc::new(Program { inode, ..Program::default() })
}

/// What the table and the kernel must agree on.
type Facts = (ProcId, Name, u32, u64, (u32, u64), u64, Option<u64>);

fn table(core: &Core) -> BTreeMap<ProcId, Facts> {
    let facts = core.processes().living().map(|process| {
        let program = process.program.as_ref().map(|program| program.inode);
        let cgroup = (process.cgroup.hierarchy, process.cgroup.id);
        let parent = process.parent;
        let counts = (process.caps_effective, process.exec_count);
        (process.id, (parent, process.name, process.uid, counts.0, cgroup, counts.1, program))
    });
    facts.collect()
}

fn truth(kernel: &Kernel) -> BTreeMap<ProcId, Facts> {
    let facts = kernel.living.iter().map(|task| {
        let id = ProcId::from(task.key);
        let cgroup = (task.cgroup_hierarchy, task.cgroup_id);
        let program = kernel.programs.get(&id).copied();
        let (name, parent) = (Name::new(task.comm), task.parent.into());
        (id, (parent, name, task.uid, task.caps_effective, cgroup, task.exec_count, program))
    });
    facts.collect()
}

/// Plays it all and checks what must hold in any case.
fn play(moves: &[Move]) -> World {
    let mut world = World::new();
    moves.iter().for_each(|&next| world.go(next));
    world.finish();
    assert_eq!(table(&world.core), truth(&world.kernel));

    let dead: BTreeMap<_, _> =
        world.kernel.causes.keys().filter(|id| world.known.contains(id)).map(|&id| (id, 1)).collect();
    assert_eq!(world.ends(), dead, "the end of each known process is told once");
    let [_, _, unrecorded] = &world.unrecorded;
    for event in &world.events {
        if let Action::Exit { process, exit } = &event.action {
            let declared = event.sequence == 0;
            assert_eq!(declared, unrecorded.contains(&process.id), "{event:?}");
            assert_eq!(declared, exit.status == ExitStatus::Unknown);
            assert_eq!(declared, exit.usage.is_none());
        }
    }
    world
}

proptest! {
    /// Whatever is lost and whenever the list is read, in the end the table is the kernel's, and
    /// each death of a known process was told exactly once.
    #[test]
    fn after_losses_the_table_is_the_kernels(moves in moves(true)) {
        let world = play(&moves);
        let [forks, _, exits] = &world.unrecorded;
        let drift = world.drift();
        prop_assert!(drift.inserted <= forks.len() as u64, "{drift:?}");
        prop_assert!(drift.ended <= exits.len() as u64, "{drift:?}");
    }

    /// Without losses a comparison finds nothing but what no record tells.
    #[test]
    fn without_losses_nothing_is_declared(moves in moves(false)) {
        let world = play(&moves);
        let Drift { inserted, ended, programs, .. } = world.drift();
        prop_assert_eq!((inserted, ended, programs), (0, 0, 0));
    }
}

/// The parent was preempted between the list and the fork hook while a sweep read the list: nothing is lost.
#[test]
fn a_child_in_the_list_before_its_record_is_no_drift() {
    let bear = |late| Move::Bear { parent: 0, pid: 3, late, lost: false };
    for late in [true, false] {
        let world = play(&[Move::Sweep, bear(late), Move::List { until: 15 }, Move::Settle]);
        assert_eq!(world.drift(), Drift::default(), "late: {late}");
        let forks = world.events.iter().filter(|event| matches!(event.action, Action::Fork { .. })).count();
        assert_eq!(forks, 1);
    }
}
