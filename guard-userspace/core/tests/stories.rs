//! The core's door, story by story: encoded records in, events out.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use guard_common::wire::{self, Kind, Plain, Task};
use guard_core::event::{
    Action, Cause, Event, Exit, ExitStatus, Gap, LossCause, Lost, Name, Process, Sender,
};
use guard_core::ids::ProcId;
use guard_core::{Core, Effect, Input, Limits};

#[expect(dead_code, reason = "other tests use the rest")]
mod testkit;

const MS: u64 = 1_000_000;
const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

struct World {
    core: Core,
}

impl World {
    fn new() -> Self {
        Self::limited(Limits::default())
    }

    fn limited(limits: Limits) -> Self {
        Self { core: Core::new(limits) }
    }

    /// Feeds a record of a fixed shape at a time and gives what came out of it.
    fn at<T: Plain + Headed>(&mut self, time_ns: u64, mut record: T) -> Vec<Event> {
        record.header().time_ns = time_ns;
        self.bytes(time_ns, testkit::bytes(&record))
    }

    fn bytes(&mut self, now_ns: u64, bytes: &[u8]) -> Vec<Event> {
        self.core.handle(now_ns, Input::Kernel(testkit::decoded(bytes)));
        self.events()
    }

    fn exec(&mut self, time_ns: u64, mut record: testkit::Exec) -> Vec<Event> {
        record.fixed.header.time_ns = time_ns;
        self.bytes(time_ns, &record.encode())
    }

    fn gap(&mut self, now_ns: u64, kind: Kind) -> Vec<Event> {
        let lost = Lost { kind, cause: LossCause::RingFull, cpu: Some(0), count: 3 };
        self.core.handle(now_ns, Input::Gap(Gap { lost: vec![lost] }));
        self.events()
    }

    fn timeout(&mut self, now_ns: u64) -> Vec<Event> {
        self.core.handle_timeout(now_ns);
        self.events()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.core.poll_effect())
            .filter_map(|effect| match effect {
                Effect::Emit(event) => Some(event),
                Effect::Resync { .. } | Effect::ReadProgram { .. } => None,
            })
            .collect()
    }
}

trait Headed {
    fn header(&mut self) -> &mut wire::Header;
}

macro_rules! headed {
    ($($record:ident)*) => {$(
        impl Headed for wire::$record {
            fn header(&mut self) -> &mut wire::Header { &mut self.header }
        }
    )*};
}

headed! { Fork Exit Signal Oom Listen Snapshot }

fn task(pid: u32, start_ns: u64) -> Task {
    testkit::task(pid, start_ns)
}

fn id(pid: u32, start_ns: u64) -> ProcId {
    ProcId { pid, start_ns }
}

fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.action.name()).collect()
}

fn only(events: Vec<Event>) -> Event {
    assert_eq!(events.len(), 1, "{events:?}");
    events.into_iter().next().unwrap()
}

fn process(events: Vec<Event>) -> Arc<Process> {
    only(events).action.process().cloned().unwrap()
}

fn exit_of(event: &Event) -> &Exit {
    let Action::Exit { exit, .. } = &event.action else { panic!("{event:?}") };
    exit
}

fn cause(events: Vec<Event>) -> Cause {
    exit_of(&only(events)).cause.clone()
}

fn sender(task: Task) -> Sender {
    Sender { id: task.key.into(), name: Name::new(task.comm), uid: task.uid }
}

fn snapshot_of(task: Task, executable: &[u8]) -> Input<'static> {
    let program = guard_core::event::Program { executable: executable.to_vec(), ..Default::default() };
    Input::Snapshot { task, program: Some(Arc::new(program)) }
}

#[test]
fn a_child_runs_its_parents_program_until_it_execs() {
    let mut world = World::new();
    world.core.handle(1, snapshot_of(task(10, 100), b"/bin/bash"));
    let child = Task { parent: task(10, 100).key, ..task(11, MS) };
    let forked = process(world.at(MS, testkit::fork(child)));
    assert_eq!(forked.parent, id(10, 100));
    assert_eq!(forked.parent_name, Name::from_bytes(b"p10"));
    assert_eq!(forked.program.as_ref().unwrap().executable, b"/bin/bash");

    let child = Task { comm: testkit::comm("ls"), ..child };
    let execed = process(world.exec(2 * MS, testkit::exec(child).args(b"ls\0-l\0")));
    assert_eq!(execed.name, Name::from_bytes(b"ls"));
    let program = execed.program.as_ref().unwrap();
    assert_eq!(program.executable, b"/usr/bin/true");
    assert_eq!(program.working_directory, b"/srv");
    assert_eq!((program.args_count, program.arguments().count()), (2, 2));
    assert_eq!(forked.program.as_ref().unwrap().executable, b"/bin/bash", "past events do not change");

    let ended = process(world.at(3 * MS, testkit::exit(child, 0)));
    assert!(Arc::ptr_eq(ended.program.as_ref().unwrap(), program), "one program, shared");
    assert_eq!(world.core.processes().get(id(11, MS)).unwrap().program, None, "the ended keep little");
}

#[test]
fn a_parents_new_name_shows_in_its_childrens_events() {
    let mut world = World::new();
    let child = Task { parent: task(10, 100).key, ..task(11, MS) };
    world.at(1, testkit::fork(task(10, 100)));
    assert_eq!(process(world.at(MS, testkit::fork(child))).parent_name, Name::from_bytes(b"p10"));
    let parent = Task { comm: testkit::comm("make"), ..task(10, 100) };
    world.exec(2 * MS, testkit::exec(parent));
    let seen = process(world.at(3 * MS, testkit::listen(child, 80)));
    assert_eq!(seen.parent_name, Name::from_bytes(b"make"));
    world.at(4 * MS, testkit::exit(parent, 0));
    let seen = process(world.at(5 * MS, testkit::listen(child, 81)));
    assert_eq!(seen.parent_name, Name::from_bytes(b"make"), "the dead keep their names");
}

#[test]
fn an_exec_tells_what_it_gained_and_how_soon_it_came() {
    let mut world = World::new();
    let exec = |event: Event| {
        let Action::Exec { exec, .. } = event.action else { panic!("{event:?}") };
        exec
    };
    world.at(MS, testkit::fork(Task { caps_effective: 0b0011, ..task(11, MS) }));
    let mut record = testkit::exec(Task { caps_effective: 0b0110, ..task(11, MS) });
    record.fixed.flags = wire::EXEC_SECURE;
    record.fixed.old_tid = 12;
    let first = exec(only(world.exec(3 * MS, record.clone())));
    assert_eq!(first.caps_gained, 0b0100);
    assert_eq!(first.since_fork_ns, Some(2 * MS));
    assert_eq!((first.secure, first.calling_thread), (true, 12));
    let second = exec(only(world.exec(4 * MS, record)));
    assert_eq!((second.caps_gained, second.since_fork_ns), (0, None));
    let other_user = Task { uid: 65_534, caps_effective: 0b0010, ..task(11, MS) };
    let regained = exec(only(world.exec(4 * MS, testkit::exec(other_user))));
    assert_eq!(regained.caps_gained, 0b0010, "what the old user had is gone with it");
    let mut told = testkit::exec(task(11, MS));
    told.fixed.caps_gained = 0b1000;
    assert_eq!(exec(only(world.exec(5 * MS, told))).caps_gained, 0b1000, "the kernel knows better");

    let stranger = testkit::exec(Task { caps_effective: u64::MAX, ..task(99, MS) });
    let unknown = exec(only(world.exec(4 * MS, stranger)));
    assert_eq!((unknown.caps_gained, unknown.since_fork_ns), (0, None), "nothing known before");
}

#[test]
fn an_exit_tells_status_lifetime_and_usage() {
    let mut world = World::new();
    world.at(MS, testkit::fork(task(11, MS)));
    let mut record = testkit::exit(task(11, MS), 3 << 8);
    (record.user_ns, record.system_ns, record.runtime_ns) = (4 * MS, 4 * MS, 7 * MS);
    record.write_bytes = 4096;
    let event = only(world.at(9 * MS, record));
    let exit = exit_of(&event);
    assert_eq!((exit.status, &exit.cause), (ExitStatus::Code(3), &Cause::Own));
    assert_eq!(exit.lifetime_ns, 8 * MS);
    let usage = exit.usage.unwrap();
    assert_eq!(usage.user_ns + usage.system_ns, 7 * MS);
    assert_eq!((usage.read_bytes, usage.write_bytes), (None, Some(4096)));
    assert!(!world.core.processes().is_alive(id(11, MS)));
    assert!(world.core.processes().get(id(11, MS)).is_some(), "names of the dead still resolve");
}

#[test]
fn the_snapshot_and_the_ring_tell_of_one_process_once() {
    let mut world = World::new();
    // Forked and execed after the programs were attached and before the iterator came by.
    let now = Task { comm: testkit::comm("nginx"), ..task(11, MS) };
    world.core.handle(2 * MS, snapshot_of(now, b"/usr/sbin/nginx"));
    world.core.handle(2 * MS, snapshot_of(task(12, MS), b"/bin/sh"));
    let forked = process(world.at(MS, testkit::fork(task(11, MS))));
    assert_eq!(forked.name, Name::from_bytes(b"p11"), "as it was at the fork");
    assert_eq!(world.core.processes().get(id(11, MS)).unwrap().name, Name::from_bytes(b"nginx"));
    assert_eq!(world.core.processes().living().count(), 2);
    let Action::Exec { exec, .. } = only(world.exec(MS + 7, testkit::exec(now))).action else { panic!() };
    assert_eq!(exec.since_fork_ns, Some(7));
    world.at(3 * MS, testkit::exit(task(12, MS), 0));
    assert_eq!(world.core.processes().living().count(), 1);
}

#[test]
fn a_process_that_ended_before_the_iterator_came_is_not_missed() {
    let mut world = World::new();
    let ended = process(world.at(MS, testkit::exit(task(11, 1), 0)));
    assert_eq!((ended.id, &ended.program), (id(11, 1), &None));
    assert_eq!(world.core.processes().living().count(), 0);
}

#[test]
fn iterated_processes_are_state_and_no_events() {
    let mut world = World::new();
    assert!(world.at(MS, testkit::snapshot(task(11, 1))).is_empty());
    assert!(world.core.processes().is_alive(id(11, 1)));
}

#[test]
fn a_fork_without_start_time_is_the_process_of_the_snapshot_or_learns_it_later() {
    let mut world = World::new();
    world.core.handle(2 * MS, snapshot_of(task(11, MS), b"/bin/sh"));
    let blind = |pid| testkit::fork(task(pid, 0));
    assert_eq!(process(world.at(MS + 1, blind(11))).id, id(11, MS));
    assert_eq!(process(world.at(MS + 1, blind(12))).id, id(12, 0));
    assert_eq!(process(world.exec(2 * MS, testkit::exec(task(12, MS)))).id, id(12, MS));
    assert_eq!(world.core.processes().living().count(), 2);
    assert!(world.core.processes().get(id(12, 0)).is_none());
    assert_eq!(world.core.processes().current(12).unwrap().id, id(12, MS));
    // The pid again, while the end of its last owner was lost.
    assert_eq!(process(world.at(9_000 * MS, blind(12))).id, id(12, 0));
    assert!(!world.core.processes().is_alive(id(12, MS)));
}

#[test]
fn a_blind_fork_from_before_the_snapshot_leaves_the_pids_new_owner_alone() {
    let mut world = World::new();
    world.core.handle(9 * MS, snapshot_of(task(11, 5 * MS), b"/bin/sh"));
    assert_eq!(process(world.at(MS, testkit::fork(task(11, 0)))).id, id(11, 0));
    world.at(2 * MS, testkit::exit(task(11, MS), 0));
    assert_eq!(process(world.at(5 * MS, testkit::fork(task(11, 0)))).id, id(11, 5 * MS));
    assert!(world.core.processes().is_alive(id(11, 5 * MS)));
    assert_eq!(world.core.processes().living().count(), 1);
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut world = World::new();
    world.at(MS, testkit::fork(task(11, MS)));
    world.at(5 * MS, testkit::fork(task(11, 5 * MS)));
    assert!(!world.core.processes().is_alive(id(11, MS)), "its exit was lost or comes late");
    // The late exit is told, and does not touch the new owner of the pid.
    assert_eq!(process(world.at(4 * MS, testkit::exit(task(11, MS), 0))).id, id(11, MS));
    assert_eq!(world.core.processes().current(11).unwrap().id, id(11, 5 * MS));
    assert!(world.core.processes().is_alive(id(11, 5 * MS)));
    // Nor does a late word about one never heard of.
    world.at(2 * MS, testkit::exit(task(11, 2), 0));
    assert_eq!(world.core.processes().current(11).unwrap().id, id(11, 5 * MS));
}

#[test]
fn the_ended_make_room_before_the_living() {
    let mut world = World::limited(Limits { processes: 3, ended: 3, cgroups: 3 });
    for pid in 11..=13 {
        world.at(MS, testkit::fork(task(pid, MS)));
    }
    world.at(2 * MS, testkit::exit(task(12, MS), 0));
    world.at(3 * MS, testkit::fork(task(14, 3 * MS)));
    let table = world.core.processes();
    assert_eq!(table.len(), 3);
    assert!(table.get(id(12, MS)).is_none() && table.current(12).is_none());
    world.at(4 * MS, testkit::fork(task(15, 4 * MS)));
    assert!(world.core.processes().get(id(11, MS)).is_none(), "the oldest of the living");
    // Forgotten is not gone: its next record brings it back.
    world.at(5 * MS, testkit::listen(task(11, MS), 80));
    assert!(world.core.processes().is_alive(id(11, MS)));
    assert_eq!(world.core.processes().len(), 3);
}

#[test]
fn the_sender_is_named_even_if_it_is_dead_and_forgotten() {
    let mut world = World::limited(Limits { processes: 1, ended: 1, cgroups: 1 });
    let killer = Task { comm: testkit::comm("bash"), uid: 0, ..task(812, 5) };
    world.at(MS, testkit::exit(killer, 0));
    world.at(MS, testkit::fork(task(11, MS)));
    let event = only(world.at(2 * MS, testkit::signal(task(11, MS), SIGKILL, killer)));
    assert_eq!(event.action.name(), "signal");
    assert_eq!(cause(world.at(3 * MS, testkit::exit(task(11, MS), SIGKILL))), Cause::Signal(sender(killer)));
    assert_eq!(world.core.poll_timeout(), None, "nothing to wait for");
}

#[test]
fn evidence_ends_with_the_process() {
    let mut world = World::new();
    world.at(MS, testkit::signal(task(11, MS), SIGTERM, task(12, MS)));
    world.at(2 * MS, testkit::exit(task(11, MS), 0));
    world.at(3 * MS, testkit::signal(task(11, MS), SIGTERM, task(13, MS)));
    // Told twice by a hand-over: the second time nothing is known any more.
    assert_eq!(cause(world.at(4 * MS, testkit::exit(task(11, MS), SIGTERM))), Cause::Unknown);
}

#[test]
fn an_oom_kill_reported_before_the_exit() {
    let mut world = World::new();
    world.core.handle(1, Input::Cgroup { hierarchy: 0, id: 77, path: "/system.slice/x" });
    world.at(MS, testkit::kernel_signal(task(11, 1), SIGKILL));
    assert_eq!(names(&world.at(2 * MS, testkit::oom(task(11, 1), 77))), ["oom"]);
    let Cause::Oom(Some(cgroup)) = cause(world.at(3 * MS, testkit::exit(task(11, 1), SIGKILL))) else {
        panic!("not out of memory")
    };
    assert_eq!(cgroup.path.as_deref(), Some("/system.slice/x"));
}

#[test]
fn an_oom_kill_reported_after_the_exit() {
    for record in [testkit::oom(task(11, 1), 1), testkit::oom_of_pid(11)] {
        let mut world = World::new();
        world.exec(MS, testkit::exec(task(11, 1)));
        world.at(MS, testkit::kernel_signal(task(11, 1), SIGKILL));
        assert!(world.at(2 * MS, testkit::exit(task(11, 1), SIGKILL)).is_empty());
        assert_eq!(world.core.poll_timeout(), Some(22 * MS));
        let events = world.at(9 * MS, record);
        assert_eq!(names(&events), ["exit", "oom"]);
        assert_eq!(exit_of(&events[0]).cause, Cause::Oom(None));
        let victim = events[1].action.process().unwrap();
        assert_eq!(victim.id, id(11, 1));
        assert!(victim.program.is_some());
        assert_eq!(world.core.poll_timeout(), None);
    }
}

#[test]
fn an_oom_report_of_an_unknown_pid_still_shows() {
    let mut world = World::new();
    assert_eq!(process(world.at(MS, testkit::oom_of_pid(404))).id, id(404, 0));
    assert!(world.core.processes().is_empty());
}

#[test]
fn a_held_exit_stops_only_its_own_process() {
    let mut world = World::new();
    assert!(world.at(2 * MS, testkit::exit(task(11, 1), SIGKILL)).is_empty());
    assert_eq!(names(&world.at(3 * MS, testkit::fork(task(12, 3 * MS)))), ["fork"]);
    assert!(world.at(4 * MS, testkit::signal(task(11, 1), SIGTERM, task(12, 3 * MS))).is_empty());
    assert_eq!(names(&world.at(5 * MS, testkit::fork(task(11, 5 * MS)))), ["fork"], "another process");
    assert!(world.timeout(22 * MS - 1).is_empty());
    let events = world.timeout(22 * MS);
    assert_eq!(names(&events), ["exit", "signal"]);
    assert_eq!(exit_of(&events[0]).cause, Cause::Unknown);
    assert!(world.timeout(u64::MAX).is_empty());
}

#[test]
fn the_ring_itself_ends_the_window() {
    let mut world = World::new();
    world.at(MS, testkit::kernel_signal(task(11, 1), SIGKILL));
    world.at(2 * MS, testkit::exit(task(11, 1), SIGKILL));
    let events = world.at(22 * MS, testkit::fork(task(12, 22 * MS)));
    assert_eq!(names(&events), ["fork", "exit"]);
    assert_eq!(exit_of(&events[1]).cause, Cause::Kernel);
    assert_eq!(names(&world.at(23 * MS, testkit::oom(task(11, 1), 0))), ["oom"], "too late to join");
}

#[test]
fn a_late_reader_still_joins_what_lies_in_the_ring() {
    let mut world = World::new();
    let now = 500 * MS;
    for bytes in [
        testkit::bytes(&testkit::exit(task(11, MS), SIGKILL)),
        testkit::bytes(&testkit::oom(task(11, MS), 0)),
    ] {
        world.core.handle(now, Input::Kernel(testkit::decoded(bytes)));
    }
    let events = world.events();
    assert_eq!(exit_of(&events[0]).cause, Cause::Oom(None));
}

#[test]
fn what_is_held_is_bounded() {
    let mut world = World::new();
    let total: usize = (1..=5_000).map(|pid| world.at(MS, testkit::exit(task(pid, 1), SIGKILL)).len()).sum();
    assert_eq!(total, 5_000 - 4_096);
    let follower = testkit::listen(task(5_000, 1), 80);
    let released: usize = (0..65).map(|_| world.at(MS, follower).len()).sum();
    assert_eq!(released, 66, "the exit and its followers");
    assert_eq!(world.timeout(u64::MAX).len(), 4_095);
}

#[test]
fn a_gap_is_told_at_once_and_makes_old_evidence_doubtful() {
    for (kind, expected) in
        [(Kind::SIGNAL, Cause::Unknown), (Kind::FORK, Cause::Signal(sender(task(12, MS))))]
    {
        let mut world = World::new();
        world.at(MS, testkit::signal(task(11, MS), SIGTERM, task(12, MS)));
        let event = only(world.gap(7 * MS, kind));
        assert_eq!((event.time_ns, event.cpu, event.sequence), (7 * MS, 0, 0));
        assert_eq!(event.action.name(), "gap");
        assert_eq!(cause(world.at(8 * MS, testkit::exit(task(11, MS), SIGTERM))), expected);
    }
}

#[test]
fn an_unseen_killer_stays_unknown_across_a_gap() {
    let mut world = World::new();
    world.gap(MS, Kind::SIGNAL);
    assert!(world.at(2 * MS, testkit::exit(task(11, 1), SIGKILL)).is_empty());
    assert_eq!(cause(world.timeout(22 * MS)), Cause::Unknown);
}

#[test]
fn a_control_groups_path_shows_as_soon_as_it_is_known() {
    let mut world = World::new();
    let task = Task { cgroup_id: 77, ..task(11, 1) };
    assert_eq!(process(world.at(MS, testkit::fork(task))).cgroup.path, None);
    let path = "/system.slice/nginx.service";
    assert!(world.bytes(MS, &testkit::cgroup(77, wire::CGROUP_MADE, path).encode()).is_empty());
    let seen = process(world.at(2 * MS, testkit::listen(task, 80)));
    assert_eq!(seen.cgroup.path.as_deref(), Some(path));
    assert_eq!(seen.cgroup.unit.as_deref(), Some("nginx.service"));
    world.bytes(3 * MS, &testkit::cgroup(77, wire::CGROUP_REMOVED, path).encode());
    let ended = process(world.at(4 * MS, testkit::exit(task, 0)));
    assert_eq!(ended.cgroup.path.as_deref(), Some(path), "removed, and still named");
}

#[test]
fn a_record_without_a_process_is_told_and_not_kept() {
    let mut world = World::new();
    assert_eq!(world.at(MS, testkit::listen(task(0, 0), 80)).len(), 1);
    assert!(world.core.processes().is_empty());
}
