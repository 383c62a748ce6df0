//! The state as a whole: what one daemon writes the next one finds.

mod crash;
mod damage;
mod full;
mod measure;
mod other;

use std::path::Path;
use std::sync::mpsc;

use guard_core::ids::BootId;
use guard_core::incident::Incident;
use guard_core::supervise::ActionId;

use super::*;
use crate::daemon::door::Generation;

const STAMP: Stamp = Stamp { boot: BootId(7), utc_offset_ns: 1_795_325_083_000_000_000 };

fn open(directory: &Path) -> (State, Recovered) {
    State::open(directory, STAMP).unwrap()
}

fn incident(id: u64, service: &str, closed_ns: Option<u64>) -> Incident {
    Incident {
        id,
        service: service.to_owned(),
        instance: Some(0),
        cause: "killed by SIGKILL from bash[6937]".to_owned(),
        opened_ns: 1_000 + id,
        closed_ns,
        outcome: closed_ns.map(|_| "recovered".to_owned()),
        timeline: Vec::new(),
        rto_ns: Some(30_000_000_000),
        recovery: None,
        gap: false,
        restarts: 1,
        ..Incident::default()
    }
}

fn intent(id: u64) -> Intent {
    Intent {
        id: ActionId(id),
        time_ns: 5_000 + id,
        boot: STAMP.boot,
        kind: "start".to_owned(),
        service: "checkout".to_owned(),
        instance: Some(0),
        detail: r#"{"after":[6937,123456789]}"#.to_owned(),
    }
}

fn life(service: &str, instance: u32, pid: u32) -> Life {
    let room = format!("/processguard/{service}/{instance}");
    Life {
        service: service.to_owned(),
        instance,
        room,
        pid,
        start_ns: u64::from(pid) * 1_000,
        boot: STAMP.boot,
    }
}

fn generation(number: u64, active: bool) -> Generation {
    Generation {
        number,
        accepted_unix_ns: 17,
        services: 3,
        why: "reload".to_owned(),
        active,
        trial_until_unix_ns: active.then_some(99),
        changes: vec!["checkout changed".to_owned()],
    }
}

/// Asks the clerk and waits for the answer.
fn read<T: Send + 'static>(
    state: &State,
    ask: impl FnOnce(&View<'_>) -> Result<T, StateError> + Send + 'static,
) -> T {
    let (answer, answered) = mpsc::sync_channel(1);
    state.read(move |view| answer.send(ask(view)).unwrap()).unwrap();
    answered.recv().unwrap().unwrap()
}

fn put_all(state: &mut State) {
    let mut changes = state.together();
    changes
        .put_service("checkout", Some(r#"{"state":"healthy"}"#))
        .put_service("gone", Some("{}"))
        .put_sketch("gone", "memory.rss", &[9])
        .put_shared(r#"{"budget":3}"#)
        .put_life(&life("checkout", 0, 4321))
        .put_life(&life("checkout", 1, 4322))
        .intend(&intent(1))
        .intend(&intent(2))
        .put_incident(&incident(1, "checkout", Some(9_000)))
        .put_incident(&incident(2, "queue", None))
        .put_generation(&generation(1, true), &vec![("a.yaml".to_owned(), "version: 1".to_owned())])
        .put_generation(&generation(2, true), &vec![("a.yaml".to_owned(), "version: 2".to_owned())])
        .put_flag("act", false)
        .put_sketch("checkout", "memory.rss", &[1, 2, 3])
        .put_counter("takeovers", u64::MAX)
        .put_note("sensor", b"position 77");
    state.write(&mut changes, Durability::Power).unwrap();
    assert!(changes.is_empty());
    changes.end_life("checkout", 1).put_service("gone", None);
    state.write(&mut changes, Durability::Crash).unwrap();
    state.outcome(ActionId(1), 6_000, Some("no such user")).unwrap();
}

fn check_all(found: &Recovered) {
    assert_eq!(found.before, Some(STAMP));
    assert_eq!(found.services, [("checkout".to_owned(), r#"{"state":"healthy"}"#.to_owned())]);
    assert_eq!(found.shared.as_deref(), Some(r#"{"budget":3}"#));
    assert_eq!(found.lives, [life("checkout", 0, 4321)]);
    assert_eq!(found.unfinished, [intent(2)]);
    assert_eq!((found.last_action, found.last_incident, found.last_generation), (2, 2, 2));
    assert_eq!(found.open, [KeptIncident { incident: incident(2, "queue", None), stamp: STAMP }]);
    let (active, files) = found.active.as_ref().unwrap();
    assert_eq!((active.number, active.trial_until_unix_ns), (2, Some(99)));
    assert_eq!(files, &[("a.yaml".to_owned(), "version: 2".to_owned())]);
    assert_eq!(found.flags, [("act".to_owned(), false)]);
    assert_eq!(found.counters, [("takeovers".to_owned(), u64::MAX)]);
    assert_eq!(found.sketches, [("checkout".to_owned(), "memory.rss".to_owned(), vec![1, 2, 3])]);
    assert_eq!(found.notes, [("sensor".to_owned(), b"position 77".to_vec())]);
    assert_eq!(found.warnings, [""; 0]);
}

#[test]
fn what_one_daemon_writes_the_next_one_finds() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("made/by us");
    let (mut state, found) = open(&place);
    assert!(found.before.is_none() && found.services.is_empty());
    put_all(&mut state);
    assert_eq!(state.trouble(), None);
    state.close().unwrap();
    let (state, found) = open(&place);
    check_all(&found);
    // Without an end of its own, as after a crash: from the journal.
    drop(state);
    let (_state, found) = open(&place);
    check_all(&found);
}

#[test]
fn the_clerk_answers_from_all_that_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, _) = open(directory.path());
    put_all(&mut state);
    let ids = |wanted: Wanted| {
        let found = read(&state, move |view| view.incidents(&wanted));
        found.iter().map(|kept| kept.incident.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Wanted { limit: 10, ..Wanted::default() }), [2, 1]);
    assert_eq!(ids(Wanted { limit: 1, ..Wanted::default() }), [2]);
    assert_eq!(ids(Wanted { limit: 10, open: true, service: None }), [2]);
    assert_eq!(ids(Wanted { limit: 10, service: Some("checkout".to_owned()), open: false }), [1]);
    assert_eq!(read(&state, |view| view.incident(1)).unwrap().incident, incident(1, "checkout", Some(9_000)));
    assert!(read(&state, |view| view.incident(3)).is_none());
    let generations = read(&state, |view| view.generations());
    let seen: Vec<_> =
        generations.iter().map(|one| (one.number, one.active, one.trial_until_unix_ns)).collect();
    assert_eq!(seen, [(2, true, Some(99)), (1, false, None)]);
    assert_eq!(read(&state, |view| view.files(1)).unwrap()[0].1, "version: 1");
    let mut changes = state.together();
    state.write(changes.activate(1, None), Durability::Power).unwrap();
    let generations = read(&state, |view| view.generations());
    assert_eq!(generations.iter().map(|one| one.active).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn both_files_of_the_journal_are_used_in_turn() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, _) = open(directory.path());
    let saved = "x".repeat(10_000);
    let mut used = [false; 2];
    let mut rounds = 0;
    while used != [true; 2] || rounds < 200 {
        let mut changes = state.together();
        state
            .write(
                changes.put_service("checkout", Some(&saved)).put_counter("rounds", rounds),
                Durability::Crash,
            )
            .unwrap();
        used[state.journal.active.which] = true;
        rounds += 1;
        if rounds % 30 == 0 {
            read(&state, |_| Ok(()));
        }
    }
    let bytes = |name| std::fs::metadata(directory.path().join(name)).unwrap().len();
    assert!(JOURNAL_BYTES > bytes("journal-a") + bytes("journal-b"));
    drop(state);
    let (_state, found) = open(directory.path());
    assert_eq!(found.counters, [("rounds".to_owned(), rounds - 1)]);
}

/// Both files, and what came while the clerk was at work.
const JOURNAL_BYTES: u64 = 4 * TURN_BYTES;

#[test]
fn nothing_is_promised_until_the_disk_can_be_believed_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, _) = open(directory.path());
    put_all(&mut state);
    // As after an fdatasync that failed: no disk here can be made to fail it.
    let doubtful = state.journal.active.which;
    state.unconfirmed = Some(state.journal.next - 1);
    let error = state.intend(&intent(3), Durability::Power).unwrap_err();
    assert!(matches!(error, StateError::Unconfirmed(_)), "{error}");
    assert!(state.trouble().unwrap().contains("did not confirm it"));
    // The dead are started meanwhile, and the other file is written.
    state.intend(&intent(4), Durability::Crash).unwrap();
    assert_ne!(state.journal.active.which, doubtful);
    read(&state, |_| Ok(()));
    state.intend(&intent(5), Durability::Power).unwrap();
    assert_eq!(state.journal.other.which, doubtful);
    assert_eq!(std::fs::metadata(directory.path().join(journal::NAMES[doubtful])).unwrap().len(), 0);
    drop(state);
    let (_state, found) = open(directory.path());
    assert_eq!(found.unfinished, [intent(2), intent(4), intent(5)]);
}
