//! Random lives of random processes, told as a kernel would tell them, against what must hold of
//! every stream. `PROPTEST_CASES=20000` throws more dice than the usual 256 for each property.

#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use guard_common::decode::decode;
use guard_common::wire::{self, Kind, Task};
use guard_core::event::{Action, Cause, Event, Gap, LossCause, Lost};
use guard_core::ids::ProcId;
use guard_core::{Core, Effect, Input, Limits};
use proptest::prelude::*;

use crate::kernel::{INIT, Kernel, Step, Told, step};

mod kernel;
mod losses;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../testkit/mod.rs"]
mod testkit;

/// A stream as the core gets it: attached after some steps, the iterator run after some more.
struct Stream {
    kernel: Kernel,
    snapshot: Vec<Task>,
    told: Vec<Told>,
}

/// `swaps` are places where two records change order, unless they are about the same process (or
/// the same pid, if `pids_in_order`): the ring promises no more.
fn stream(steps: &[Step], attach: usize, iterate: usize, swaps: &[usize], pids_in_order: bool) -> Stream {
    let mut kernel = Kernel::new();
    let attach = attach.min(steps.len());
    let iterate = (attach + iterate).min(steps.len());
    let (before, steps) = steps.split_at(attach);
    before.iter().for_each(|&step| kernel.step(step));
    let first = kernel.told.len();
    let (between, after) = steps.split_at(iterate - attach);
    between.iter().for_each(|&step| kernel.step(step));
    let snapshot = kernel.living.clone();
    after.iter().for_each(|&step| kernel.step(step));
    let mut told = kernel.told.split_off(first);
    for &swap in swaps {
        let Some(pair) = told.get(swap..swap + 2) else { continue };
        let [Told::Record { subject: a, .. }, Told::Record { subject: b, .. }] = pair else { continue };
        if a.pid != b.pid || !pids_in_order && a != b {
            told.swap(swap, swap + 1);
        }
    }
    Stream { kernel, snapshot, told }
}

/// Feeds the stream and gives all events; checks the bound after each input.
fn play(stream: &Stream, limits: Limits, iterated: bool) -> (Core, Vec<Event>) {
    let mut core = Core::new(limits);
    let now_ns = stream.kernel.time_ns;
    for &task in &stream.snapshot {
        let record = testkit::snapshot(task);
        core.handle(
            now_ns,
            if iterated {
                Input::Kernel(testkit::decoded(testkit::bytes(&record)))
            } else {
                Input::Snapshot { task, program: None }
            },
        );
    }
    let mut events = vec![];
    for told in &stream.told {
        core.handle(
            now_ns,
            match told {
                Told::Record { bytes, .. } => Input::Kernel(testkit::decoded(bytes)),
                Told::Gap => Input::Gap(gap()),
            },
        );
        assert!(core.processes().len() <= limits.processes);
        events.extend(std::iter::from_fn(|| core.poll_effect()));
    }
    while let Some(due) = core.poll_timeout() {
        core.handle_timeout(due);
        events.extend(std::iter::from_fn(|| core.poll_effect()));
    }
    (core, events.into_iter().filter_map(emitted).collect())
}

fn emitted(effect: Effect) -> Option<Event> {
    match effect {
        Effect::Emit(event) => Some(event),
        Effect::Resync { .. } | Effect::ReadProgram { .. } => None,
    }
}

fn gap() -> Gap {
    Gap { lost: vec![Lost { kind: Kind::SIGNAL, cause: LossCause::RingFull, cpu: None, count: 1 }] }
}

/// The sequence numbers of the records that must become events, by process and in ring order.
fn expected(told: &[Told]) -> BTreeMap<ProcId, Vec<u64>> {
    let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for told in told {
        if let Told::Record { subject, bytes } = told
            && subject.is_some()
        {
            expected.entry(*subject).or_default().push(sequence(bytes));
        }
    }
    expected
}

fn sequence(record: &[u8]) -> u64 {
    record[8..16].try_into().map_or(0, u64::from_ne_bytes)
}

/// Every record became one event, and the events of one process kept their order.
fn assert_complete(told: &[Told], events: &[Event]) {
    let expected = expected(told);
    let position: BTreeMap<u64, usize> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| event.sequence != 0)
        .map(|(index, event)| (event.sequence, index))
        .collect();
    let records: usize = expected.values().map(Vec::len).sum();
    let gaps = told.iter().filter(|told| matches!(told, Told::Gap)).count();
    assert_eq!(position.len(), records, "each record once");
    assert_eq!(events.len(), records + gaps, "and nothing else");
    for (process, sequences) in expected {
        let places: Vec<_> = sequences.iter().map(|sequence| position[sequence]).collect();
        assert!(places.is_sorted(), "{process:?} out of order: {places:?}");
    }
}

fn living(core: &Core) -> BTreeSet<ProcId> {
    core.processes().living().map(|process| process.id).collect()
}

proptest! {
    /// With room for all, the table is the truth: nobody missed, nobody doubled, each death
    /// explained.
    #[test]
    fn the_table_is_the_truth(
        steps in prop::collection::vec(step(), 1..200),
        attach in 0..100usize, iterate in 0..100usize,
        swaps in prop::collection::vec(0..400usize, 0..100),
        iterated: bool,
    ) {
        let stream = stream(&steps, attach, iterate, &swaps, true);
        let (core, events) = play(&stream, Limits { processes: 4_096, ended: 4_096, cgroups: 64 }, iterated);
        assert_complete(&stream.told, &events);

        // A process whose fork gave no start time has none until its next record.
        let blind = |id: &ProcId| core.processes().is_alive(ProcId { pid: id.pid, start_ns: 0 });
        let truth: BTreeSet<_> = stream.kernel.living_ids().into_iter()
            .map(|id| if blind(&id) { ProcId { start_ns: 0, ..id } } else { id }).collect();
        prop_assert_eq!(living(&core), truth);

        let lossy = stream.told.iter().any(|told| matches!(told, Told::Gap));
        for event in &events {
            let Action::Exit { process, exit } = &event.action else { continue };
            let truth = &stream.kernel.causes[&process.id];
            let doubtful = lossy && exit.cause == Cause::Unknown;
            prop_assert!(exit.cause == *truth || doubtful, "{:?}: {:?}, not {truth:?}", process.id, exit.cause);
        }
    }

    /// Lineage is the truth too: after one more record of each, everyone's parent is right and
    /// everyone but init comes from init, if the whole story was seen.
    #[test]
    fn lineage_is_the_truth(steps in prop::collection::vec(step(), 1..200)) {
        let mut stream = stream(&steps, 0, 0, &[], true);
        for task in stream.kernel.living.clone() {
            let header = stream.kernel.header(Kind::LISTEN);
            let record = wire::Listen { header, ..testkit::listen(task, 80) };
            stream.told.push(Told::Record { subject: task.key.into(), bytes: testkit::bytes(&record).to_vec() });
        }
        let (core, _) = play(&stream, Limits { processes: 4_096, ended: 4_096, cgroups: 64 }, true);
        let table = core.processes();
        let init = ProcId { pid: INIT, start_ns: 1 };
        for task in &stream.kernel.living {
            let id = ProcId::from(task.key);
            prop_assert_eq!(table.get(id).map(|process| process.parent), Some(task.parent.into()));
            prop_assert_eq!(table.is_descendant(id, init), id != init);
            prop_assert_eq!(table.children(id).count(),
                stream.kernel.living.iter().filter(|child| child.parent == task.key).count());
        }
    }

    /// With the pids' owners told in any order, still nobody is missed or doubled.
    #[test]
    fn reused_pids_may_be_told_in_any_order(
        steps in prop::collection::vec(step(), 1..200),
        attach in 0..100usize, iterate in 0..100usize,
        swaps in prop::collection::vec(0..400usize, 0..100),
    ) {
        let seeing: Vec<_> = steps.into_iter().map(|step| match step {
            Step::Fork { parent, pid, .. } => Step::Fork { parent, pid, blind: false },
            Step::Oom { target, late, .. } => Step::Oom { target, late, bare: false },
            other => other,
        }).collect();
        let stream = stream(&seeing, attach, iterate, &swaps, false);
        let (core, events) = play(&stream, Limits { processes: 4_096, ended: 4_096, cgroups: 64 }, true);
        assert_complete(&stream.told, &events);
        prop_assert_eq!(living(&core), stream.kernel.living_ids());
    }

    /// However little room there is, the bound holds and every record is told once, in order.
    #[test]
    fn little_room_loses_no_event(
        steps in prop::collection::vec(step(), 1..200),
        attach in 0..100usize, iterate in 0..100usize,
        swaps in prop::collection::vec(0..400usize, 0..100),
        processes in 1..8usize, ended in 1..8usize, cgroups in 1..4usize,
    ) {
        let stream = stream(&steps, attach, iterate, &swaps, true);
        let (_, events) = play(&stream, Limits { processes, ended, cgroups }, true);
        assert_complete(&stream.told, &events);
    }

    /// Whatever the bytes are, decoding them is safe, and so is what the core does with it.
    #[test]
    fn any_bytes_are_survived(
        records in prop::collection::vec((0..10u32, prop::collection::vec(any::<u8>(), 0..400), any::<bool>()), 0..40),
        times: [u64; 3],
    ) {
        let mut core = Core::new(Limits { processes: 4, ended: 4, cgroups: 2 });
        let mut due = 0;
        for (index, (kind, mut bytes, sparse)) in records.into_iter().enumerate() {
            if sparse {
                // Mostly zeros: small pids that meet again, lengths that fit.
                bytes.iter_mut().enumerate().filter(|(at, _)| at % 8 != 0).for_each(|(_, byte)| *byte = 0);
            }
            if let Some(start) = bytes.get_mut(..4) {
                start.copy_from_slice(&kind.to_ne_bytes());
            }
            if let Ok(record) = decode(&bytes) {
                due += usize::from(kind < Kind::SNAPSHOT.0 && kind != Kind::CGROUP.0);
                core.handle(times[index % 3], Input::Kernel(record));
            }
            prop_assert!(core.processes().len() <= 4);
        }
        core.handle_timeout(u64::MAX);
        prop_assert_eq!(std::iter::from_fn(|| core.poll_effect()).count(), due);
    }
}
