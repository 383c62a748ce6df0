//! Files that are not ours, not whole or of a newer version: refused, or read right, and left as they are.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

const FILES: [&str; 4] = ["state.db", "state.db-wal", "journal-a", "journal-b"];

fn contents(directory: &Path) -> [Option<Vec<u8>>; 4] {
    FILES.map(|name| fs::read(directory.join(name)).ok().filter(|bytes| !bytes.is_empty()))
}

fn refusal(directory: &Path) -> String {
    let before = contents(directory);
    let error = State::open(directory, STAMP).unwrap_err();
    assert_eq!(contents(directory), before, "{error}");
    error.advice()
}

/// A state as a killed daemon leaves it: some of it in the database, some in its log, some in the journal only.
fn left(directory: &Path) -> [Option<Vec<u8>>; 4] {
    let (mut state, _) = open(directory);
    put_all(&mut state);
    drop(state);
    let (mut state, _) = open(directory);
    let mut changes = state.together();
    state.write(changes.put_note("log", b"in the database's log"), Durability::Crash).unwrap();
    read(&state, |_| Ok(()));
    // The clerk stands still while the rest is written: it has nothing to bring into the database, and we hold it.
    let (let_go, held) = mpsc::channel::<()>();
    let (stands, stood) = mpsc::channel();
    state
        .read(move |_| {
            stands.send(()).unwrap();
            held.recv().unwrap_err();
        })
        .unwrap();
    stood.recv().unwrap();
    state.write(changes.put_note("tail", b"in the journal"), Durability::Crash).unwrap();
    state.write(changes.put_note("end", b"at its end"), Durability::Crash).unwrap();
    let files = contents(directory);
    drop(let_go);
    files
}

fn lay(directory: &Path, files: &[Option<Vec<u8>>; 4]) {
    for (name, bytes) in FILES.iter().zip(files) {
        fs::write(directory.join(name), bytes.as_deref().unwrap_or_default()).unwrap();
    }
}

#[test]
fn what_is_not_ours_is_refused_and_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    fs::write(&path, "words").unwrap();
    assert!(
        refusal(directory.path()).contains("it is too short for a database; name another place with --state")
    );
    fs::write(&path, "words ".repeat(100)).unwrap();
    assert!(refusal(directory.path()).contains("it is no SQLite database"));
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    assert!(refusal(directory.path()).contains("it is a database of another program"));
}

#[test]
fn what_is_newer_is_refused_and_left() {
    let directory = tempfile::tempdir().unwrap();
    left(directory.path());
    drop(open(directory.path()));
    let file = OpenOptions::new().write(true).open(directory.path().join("state.db")).unwrap();
    file.write_all_at(&2_u32.to_be_bytes(), 60).unwrap();
    let said = refusal(directory.path());
    assert!(
        said.contains("is of version 2; this processguard knows versions up to 1; install that"),
        "{said}"
    );
}

#[test]
fn a_journal_without_its_database_is_refused_and_left() {
    let directory = tempfile::tempdir().unwrap();
    let files = left(directory.path());
    let place = tempfile::tempdir().unwrap();
    lay(place.path(), &files);
    fs::remove_file(place.path().join("state.db")).unwrap();
    let said = refusal(place.path());
    assert!(
        said.contains("is there, and the state.db that it belongs to is not; nothing in it was changed"),
        "{said}"
    );
}

#[test]
fn a_torn_end_of_the_journal_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let files = left(directory.path());
    let active = if files[2].is_some() { 2 } else { 3 };
    let length = files[active].as_ref().unwrap().len();
    for cut in [1, 20, 40] {
        let place = tempfile::tempdir().unwrap();
        let mut torn = files.clone();
        torn[active].as_mut().unwrap().truncate(length - cut);
        lay(place.path(), &torn);
        let (mut state, found) = open(place.path());
        let names: Vec<_> = found.notes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["log", "sensor", "tail"], "{cut}");
        // What is written after it is found.
        let mut changes = state.together();
        state.write(changes.put_note("end", b""), Durability::Crash).unwrap();
        drop(state);
        assert_eq!(open(place.path()).1.notes.len(), 4);
    }
}

#[test]
fn damage_within_the_journal_is_refused_unless_the_power_failed() {
    let directory = tempfile::tempdir().unwrap();
    let files = left(directory.path());
    let active = if files[2].is_some() { 2 } else { 3 };
    let mut torn = files.clone();
    let bytes = torn[active].as_mut().unwrap();
    let at = bytes.windows(14).position(|window| window == b"in the journal").unwrap();
    bytes[at] ^= 1;
    let place = tempfile::tempdir().unwrap();
    lay(place.path(), &torn);
    let said = refusal(place.path());
    assert!(said.contains("of its journal is not what was written; nothing in it was changed"), "{said}");
    let (_state, found) = State::open(place.path(), Stamp { boot: BootId(8), ..STAMP }).unwrap();
    assert_eq!(found.notes.len(), 2);
    assert!(found.warnings[0].contains("what was not confirmed before the host went down is lost"));
}

/// One copy of what a killed daemon leaves, for all turned bytes.
fn pristine() -> &'static [Option<Vec<u8>>; 4] {
    static FILES: std::sync::OnceLock<[Option<Vec<u8>>; 4]> = std::sync::OnceLock::new();
    FILES.get_or_init(|| left(tempfile::tempdir().unwrap().path()))
}

fn place() -> PathBuf {
    tempfile::tempdir().unwrap().keep()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn turned_bytes_are_refused_or_do_not_matter(
        file in 0_usize..4,
        turned in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        rebooted: bool,
    ) {
        let mut files = pristine().clone();
        let Some(bytes) = files[file].as_mut() else { return Ok(()) };
        for (at, with) in turned {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        let place = place();
        lay(&place, &files);
        let boot = if rebooted { BootId(8) } else { STAMP.boot };
        let opened = State::open(&place, Stamp { boot, ..STAMP });
        let kept = contents(&place);
        let verdict = opened.map(|(state, found)| {
            drop(state);
            found
        });
        fs::remove_dir_all(&place).unwrap();
        match verdict {
            Err(_) => prop_assert!(kept == files, "a file was changed"),
            Ok(found) => {
                // All of it; after a power failure perhaps not the last that was written.
                let names: Vec<_> = found.notes.iter().map(|(name, _)| name.as_str()).collect();
                prop_assert!(names == ["end", "log", "sensor", "tail"] || rebooted, "{names:?}");
                prop_assert!(names.contains(&"sensor"), "{names:?}");
                check_all(&Recovered { notes: vec![("sensor".to_owned(), b"position 77".to_vec())],
                    warnings: Vec::new(), ..found });
            }
        }
    }
}
