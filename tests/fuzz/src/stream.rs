//! Event streams: any sequence of inputs to [`guard_core::Core`].
//!
//! The bytes are read as a script of inputs. A first byte says what comes; records follow as they
//! lie in the ring, with their length before them. Half of the moves make identities small, so that
//! processes meet again.

use std::sync::Arc;

use guard_common::decode::{Record, decode};
use guard_common::wire::{Kind, ProcKey};
use guard_core::event::{Action, Event, ExitStatus, Gap, LossCause, Lost, Program};
use guard_core::ids::BootId;
use guard_core::{Core, Effect, Input, Limits};
use guard_userspace::clock::Stamp;
use guard_userspace::show::json::{JsonWriter, Line, read};

use crate::json::shown;
use crate::script::Script;

/// Little room, so that it is used up.
const LIMITS: Limits = Limits { processes: 24, ended: 8, cgroups: 6 };

/// Times above this do not exist: 36 years since boot.
const END_NS: u64 = 1 << 60;

/// Runs a script and checks what must hold after each move.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let mut world = World::new();
    while let Some(what) = script.byte() {
        world.step(what, &mut script);
        world.check();
    }
    world.finish();
}

struct World {
    core: Core,
    now_ns: u64,
    /// A resync was asked for and not answered, or answered and not settled.
    asked: bool,
    read: bool,
    /// Records that must become events, and events that have come of records.
    due: usize,
    told: usize,
}

impl World {
    fn new() -> Self {
        Self { core: Core::new(LIMITS), now_ns: 1, asked: false, read: false, due: 0, told: 0 }
    }

    fn step(&mut self, what: u8, script: &mut Script<'_>) {
        match what % 16 {
            0 => self.record(script.block(), false),
            2 => self.gap(script),
            3 => {
                self.asked = false;
                self.read = true;
                let taken_ns = script.small();
                let found = (0..script.small() % 16).map(|_| script.snapshot()).collect();
                self.handle(Input::Resync { taken_ns, found }, false);
            }
            4 => {
                self.asked = false;
                self.handle(Input::ResyncFailed, false);
            }
            5 => {
                self.read = false;
                self.handle(Input::Settled, true);
            }
            6 => self.handle(Input::Sweep, false),
            7 => {
                let (id, status) = (script.id(), ExitStatus::from_wait(script.small() as u32));
                self.handle(Input::Tombstone { id, status, time_ns: script.small() }, false);
            }
            8 => {
                let (id, exec_count) = (script.id(), script.small() % 4);
                let program = Arc::new(Program { args: script.block().to_vec(), ..Program::default() });
                self.handle(Input::Program { id, exec_count, program }, false);
            }
            9 => self.handle(Input::Snapshot { task: script.task(), program: None }, false),
            10 => {
                let (hierarchy, id) = (script.small() as u32 % 2, script.small() % 9);
                let path = String::from_utf8_lossy(script.block());
                self.handle(Input::Cgroup { hierarchy, id, path: &path }, false);
            }
            11 => self.timeout(self.now_ns),
            12 => self.now_ns = (self.now_ns + (script.small() << 20)).min(END_NS),
            _ => self.record(script.block(), true),
        }
    }

    fn record(&mut self, bytes: &[u8], small: bool) {
        let Ok(mut record) = decode(bytes) else { return };
        if small {
            shrink(&mut record, self.now_ns);
        }
        self.due += usize::from(!matches!(record, Record::Cgroup(_) | Record::Snapshot(_)));
        self.handle(Input::Kernel(record), false);
    }

    fn gap(&mut self, script: &mut Script<'_>) {
        let kind = Kind(script.small() as u32 % 8);
        let gap = Gap { lost: vec![Lost { kind, cause: LossCause::RingFull, cpu: None, count: 1 }] };
        self.handle(Input::Gap(gap), false);
        let vital = matches!(kind, Kind::FORK | Kind::EXEC | Kind::EXIT | Kind::CGROUP);
        assert!(!vital || !self.core.is_certain(), "certain in spite of a gap");
    }

    fn timeout(&mut self, now_ns: u64) {
        self.core.handle_timeout(now_ns);
        self.drain(false);
        assert!(self.core.poll_timeout().is_none_or(|due_ns| due_ns > now_ns), "what was due is due again");
    }

    fn handle(&mut self, input: Input<'_>, settles: bool) {
        self.core.handle(self.now_ns, input);
        self.drain(settles);
    }

    fn drain(&mut self, settles: bool) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Emit(event) => self.event(&event, settles),
                Effect::Resync { .. } => {
                    assert!(!self.asked && !self.read, "a resync asked for twice");
                    self.asked = true;
                }
                Effect::ReadProgram { id, .. } => {
                    assert!(self.core.processes().is_alive(id), "the program of the dead");
                }
            }
        }
    }

    fn event(&mut self, event: &Event, settles: bool) {
        match &event.action {
            Action::Gap(_) | Action::Resync(_) => assert!(event.action.process().is_none(), "a subject"),
            Action::Exit { exit, .. } if exit.usage.is_none() => {
                assert!(settles, "an end without a record, out of turn");
            }
            action => {
                assert!(action.process().is_some(), "no subject");
                self.told += 1;
            }
        }
        // Names with something behind their end, and times from never, are not what is read back.
        if event.time_ns < END_NS {
            let stamp = Stamp { boot: BootId(7), utc_offset_ns: 0 };
            let line = shown(&stamp, event);
            let Ok(Line::Event(stamp, event)) = read(&line) else {
                unreachable!("{}", String::from_utf8_lossy(&line))
            };
            let mut again = Vec::new();
            JsonWriter::new(stamp).event(&mut again, &stamp, &event);
            assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&line));
        }
    }

    fn check(&self) {
        let processes = self.core.processes();
        assert!(processes.len() <= LIMITS.processes, "{} processes", processes.len());
        let mut living: Vec<_> = processes.living().map(|process| process.id).collect();
        assert!(living.iter().all(|id| id.is_some()), "nobody lives");
        living.sort_unstable_by_key(|id| id.pid);
        assert!(living.is_sorted_by(|a, b| a.pid < b.pid), "two living processes with one pid");
    }

    /// Nothing is held back for ever, and nothing is told twice.
    fn finish(mut self) {
        self.core.handle_timeout(u64::MAX);
        self.drain(false);
        assert_eq!(self.told, self.due, "each record is one event");
    }
}

/// Makes the identities small and the time that of the script.
fn shrink(record: &mut Record<'_>, now_ns: u64) {
    let (header, task) = match record {
        Record::Fork(fork) => (&mut fork.header, &mut fork.child),
        Record::Exec(exec) => (&mut exec.fixed.header, &mut exec.fixed.task),
        Record::Exit(exit) => (&mut exit.header, &mut exit.task),
        Record::Signal(signal) => {
            small_key(&mut signal.sender);
            (&mut signal.header, &mut signal.target)
        }
        Record::Oom(oom) => {
            oom.pid %= 8;
            (&mut oom.header, &mut oom.victim)
        }
        Record::Listen(listen) => (&mut listen.header, &mut listen.task),
        Record::Stall(stall) => (&mut stall.header, &mut stall.task),
        Record::Snapshot(snapshot) => (&mut snapshot.header, &mut snapshot.task),
        Record::Cgroup(cgroup) => {
            cgroup.fixed.id %= 9;
            cgroup.fixed.hierarchy %= 2;
            return;
        }
    };
    header.time_ns = now_ns;
    small_key(&mut task.key);
    small_key(&mut task.parent);
    task.cgroup_id %= 9;
    task.cgroup_hierarchy %= 2;
    task.exec_count %= 4;
}

const fn small_key(key: &mut ProcKey) {
    key.tgid %= 8;
    key.start_ns %= 8;
}
