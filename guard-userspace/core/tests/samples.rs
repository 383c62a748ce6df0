//! Samples of resources: which become events, and what they say.
#![expect(clippy::panic, reason = "a test fails by panicking")]

use guard_common::wire::{Exit, Fork, Plain};
use guard_core::event::{Action, Event};
use guard_core::ids::ProcId;
use guard_core::resources::{GroupResources, Resources};
use guard_core::{Core, Effect, Input, Limits};

#[expect(dead_code, reason = "other tests use the rest")]
mod testkit;

const SECOND: u64 = 1_000_000_000;
const START_NS: u64 = 5 * SECOND;

fn events(core: &mut Core) -> Vec<Event> {
    let effects = std::iter::from_fn(|| core.poll_effect());
    let events = effects.map(|effect| match effect {
        Effect::Emit(event) => event,
        other => panic!("{other:?}"),
    });
    events.collect()
}

fn record(core: &mut Core, record: &impl Plain) {
    core.handle(20 * SECOND, Input::Kernel(testkit::decoded(testkit::bytes(record))));
    events(core);
}

fn sample(core: &mut Core, time_ns: u64, cpu_ns: u64, cgroup_id: u64) -> Option<Event> {
    let id = ProcId { pid: 7, start_ns: START_NS };
    let used = Resources { id, time_ns, cpu_ns, cgroup_id, rss_bytes: 4096, ..Resources::default() };
    core.handle(time_ns + 1, Input::Sample(&used));
    let mut events = events(core);
    assert!(events.len() <= 1);
    events.pop()
}

#[test]
fn a_living_process_is_shown_with_its_share_of_a_core() {
    let mut core = Core::new(Limits::default());
    core.handle(1, Input::Cgroup { hierarchy: 0, id: 77, path: "/system.slice/nginx.service" });
    let mut task = testkit::task(7, START_NS);
    assert_eq!(sample(&mut core, 10 * SECOND, 0, 77), None, "its fork record is still to come");
    let fork: Fork = testkit::fork(task);
    record(&mut core, &fork);
    let shares: Vec<Option<u64>> = [(11, 0), (12, SECOND / 2), (13, SECOND / 2)]
        .map(|(at, cpu_ns)| {
            let event = sample(&mut core, at * SECOND, cpu_ns, 77).unwrap();
            assert_eq!((event.time_ns, event.action.name()), (at * SECOND, "resources"));
            let Action::Resources { process, sample } = event.action else { panic!("another event") };
            assert_eq!((sample.used.rss_bytes, &process.name.as_bytes()[..2]), (4096, &b"p7"[..]));
            // Where it is now, whatever the fork record said.
            assert_eq!(process.cgroup.unit.as_deref(), Some("nginx.service"));
            sample.cpu.map(|share| share.hundredths)
        })
        .into();
    assert_eq!(shares, [None, Some(5_000), Some(0)]);
    assert_eq!(core.processes().current(7).unwrap().cgroup.id, 77);
    task.cgroup_id = 77;
    let exit: Exit = testkit::exit(task, 0);
    record(&mut core, &exit);
    assert_eq!(sample(&mut core, 14 * SECOND, 0, 77), None, "it has ended");
}

#[test]
fn a_process_whose_start_was_not_seen_gets_it_from_the_sample() {
    let mut core = Core::new(Limits::default());
    // As the classic fork hook tells it where it cannot find the child.
    let mut fork = testkit::fork(testkit::task(7, 0));
    fork.header.time_ns = START_NS;
    record(&mut core, &fork);
    let event = sample(&mut core, 11 * SECOND, 0, 1).unwrap();
    assert_eq!(event.action.process().unwrap().id.start_ns, START_NS);
    assert_eq!(core.processes().len(), 1);
}

#[test]
fn a_control_group_is_shown_with_what_its_path_tells() {
    let mut core = Core::new(Limits::default());
    core.handle(1, Input::Cgroup { hierarchy: 4, id: 9, path: "/system.slice/nginx.service" });
    let used = GroupResources { memory_bytes: Some(4096), ..GroupResources::default() };
    core.handle(SECOND, Input::GroupSample { hierarchy: 4, id: 9, used });
    let event = events(&mut core).pop().unwrap();
    assert_eq!((event.time_ns, event.action.name()), (SECOND, "resources"));
    assert!(event.action.process().is_none());
    let Action::Group(group) = event.action else { panic!("another event") };
    assert_eq!((group.used, group.cgroup.unit.as_deref()), (used, Some("nginx.service")));
}
