//! A real process that writes is killed: at every fail point, and whenever. What the next one finds is what was
//! acknowledged or one step more, and all of its parts are of the same step.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::*;
use crate::daemon::fail;

const PLACE: &str = "STATE_TEST_CRASH";

/// Every point that the state passes.
const POINTS: [&str; 15] = [
    "state.create.made",
    "state.create.named",
    "state.recovery.applied",
    "state.recovery.complete",
    "state.recovery.half",
    "state.journal.before",
    "state.journal.written",
    "state.journal.synced",
    "state.journal.turned",
    "state.journal.emptied",
    "state.batch.begun",
    "state.batch.filled",
    "state.batch.committed",
    "state.database.complete",
    "state.finished",
];

/// The process that is killed: writes steps from where the state is, and says each one that is acknowledged.
#[test]
fn a_writer() {
    let Some(directory) = std::env::var_os(PLACE) else { return };
    fail::arm();
    let (mut state, found) = open(Path::new(&directory));
    let first = step_of(&found) + 1;
    println!("\nstep {}", first - 1);
    for step in first..first + 60 {
        let durability = if step % 3 == 0 { Durability::Power } else { Durability::Crash };
        let mut changes = state.together();
        write_step(&mut changes, step);
        state.write(&mut changes, durability).unwrap();
        println!("step {step}");
        if step % 16 == 0 {
            read(&state, |_| Ok(()));
        }
    }
    state.close().unwrap();
    println!("end");
}

/// All parts of a step say its number; large enough that the journal turns.
fn write_step(changes: &mut Changes, step: u64) {
    let text = format!("{step} {}", "x".repeat(9_000));
    let pid = u32::try_from(step).unwrap();
    changes
        .put_service("checkout", Some(&text))
        .put_shared(&step.to_string())
        .put_life(&life("checkout", 0, pid))
        .put_counter("step", step)
        .intend(&intent(step))
        .put_incident(&incident(step, "checkout", None));
    if step > 1 {
        changes.outcome(ActionId(step - 1), step, None);
        changes.put_incident(&incident(step - 1, "checkout", Some(50)));
    }
}

/// The step of what was found; all of its parts must be of it.
fn step_of(found: &Recovered) -> u64 {
    let Some((_, step)) = found.counters.first() else {
        assert!(found.services.is_empty() && found.shared.is_none() && found.lives.is_empty());
        assert!(found.unfinished.is_empty() && found.open.is_empty());
        return 0;
    };
    assert!(found.services[0].1.starts_with(&format!("{step} x")));
    assert_eq!(found.shared, Some(step.to_string()));
    assert_eq!(u64::from(found.lives[0].pid), *step);
    assert_eq!(found.unfinished, [intent(*step)]);
    assert_eq!((found.last_action, found.last_incident), (*step, *step));
    assert_eq!(found.open.iter().map(|kept| kept.incident.id).collect::<Vec<_>>(), [*step]);
    *step
}

fn writer(directory: &Path, point: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "daemon::state::tests::crash::a_writer", "--nocapture"])
        .env(PLACE, directory)
        .env_remove(fail::VARIABLE)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(point) = point {
        command.env(fail::VARIABLE, point);
    }
    command.spawn().unwrap()
}

/// The last step that a writer acknowledges, and whether it came to its end; it is killed after `lines` lines.
fn acknowledged(mut child: Child, lines: usize) -> (u64, bool) {
    let mut last = 0;
    let mut is_complete = false;
    for (at, line) in BufReader::new(child.stdout.take().unwrap()).lines().enumerate() {
        let line = line.unwrap();
        if let Some(step) = line.strip_prefix("step ") {
            last = step.parse().unwrap();
        }
        is_complete |= line == "end";
        if at == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    (last, is_complete)
}

fn check(directory: &Path, last: u64, what: &str) -> u64 {
    let (state, found) = open(directory);
    let step = step_of(&found);
    assert!(step == last || step == last + 1, "{what}: {last} said, {step} found");
    assert_eq!(found.warnings, [""; 0], "{what}");
    assert_eq!(state.trouble(), None, "{what}");
    step
}

#[test]
fn killed_at_every_point_it_leaves_the_old_or_the_new() {
    let mut fired = BTreeSet::new();
    for point in POINTS {
        for nth in [1, 2, 7] {
            let directory = tempfile::tempdir().unwrap();
            let point_nth = format!("{point}:{nth}");
            let (last, is_complete) = acknowledged(writer(directory.path(), Some(&point_nth)), usize::MAX);
            if !is_complete {
                fired.insert(point);
            }
            // The one that takes it up is killed at the same point.
            let (second, _) = acknowledged(writer(directory.path(), Some(&point_nth)), usize::MAX);
            let step = check(directory.path(), last.max(second), &point_nth);
            // And nothing is in the way of a third.
            let (third, is_complete) = acknowledged(writer(directory.path(), None), usize::MAX);
            assert!(is_complete && third == step + 60, "{point_nth}: {third} after {step}");
        }
    }
    assert_eq!(fired, POINTS.into_iter().collect());
}

#[test]
fn every_point_of_the_source_is_tried() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/daemon/state");
    let mut found = BTreeSet::new();
    for file in fs::read_dir(source).unwrap() {
        let Ok(text) = fs::read_to_string(file.unwrap().path()) else { continue };
        for part in text.split("fail::point(\"").skip(1) {
            found.insert(part.split('"').next().unwrap().to_owned());
        }
    }
    assert_eq!(found, POINTS.into_iter().map(str::to_owned).collect());
}

#[test]
fn killed_whenever_it_leaves_the_old_or_the_new() {
    let directory = tempfile::tempdir().unwrap();
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut before = 0;
    for round in 0..25 {
        let lines = usize::try_from(rng.next_u32() % 70).unwrap();
        let (last, _) = acknowledged(writer(directory.path(), None), lines);
        // A writer runs on while it is killed: it may have said more than was read.
        let (state, found) = open(directory.path());
        let step = step_of(&found);
        assert!(step >= last.max(before), "round {round}: {last} said, {step} found");
        before = step;
        drop(state);
    }
    assert!(before > 100, "{before}");
}

/// A power failure: of the journal an end is missing that was not synchronised, and of the database's log anything.
#[test]
fn after_a_power_failure_the_state_is_of_one_moment() {
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let directory = tempfile::tempdir().unwrap();
    let (mut state, _) = open(directory.path());
    let (mut step, mut lost) = (0, 0);
    for round in 0..40 {
        let mut confirmed = (0, 0);
        for durability in [Durability::Crash, Durability::Power, Durability::Crash, Durability::Crash] {
            step += 1;
            let mut changes = state.together();
            write_step(&mut changes, step);
            state.write(&mut changes, durability).unwrap();
            if durability == Durability::Power {
                confirmed = (state.journal.active.which, state.journal.active.bytes);
            }
        }
        // The clerk has nothing to do after that: the files that are copied are of one moment.
        read(&state, |_| Ok(()));
        let copy = tempfile::tempdir().unwrap();
        for name in ["state.db", "state.db-wal", "journal-a", "journal-b"] {
            fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        let active = &state.journal.active;
        let kept = if active.which == confirmed.0 { confirmed.1 } else { 0 };
        cut(&copy.path().join(journal::NAMES[active.which]), kept, &mut rng);
        cut(&copy.path().join("state.db-wal"), 0, &mut rng);
        let rebooted = Stamp { boot: BootId(8), ..STAMP };
        let (_state, found) = State::open(copy.path(), rebooted).unwrap();
        let found = step_of(&found);
        // What is confirmed is the second of four.
        assert!((step - 2..=step).contains(&found), "round {round}: {step} written, {found} found");
        lost += usize::from(found < step);
    }
    assert!(lost > 5, "{lost}");
}

fn cut(path: &Path, kept: u64, rng: &mut TestRng) {
    let length = fs::metadata(path).unwrap().len();
    let cut = kept + u64::from(rng.next_u32()) % (length - kept + 1);
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(cut).unwrap();
}
