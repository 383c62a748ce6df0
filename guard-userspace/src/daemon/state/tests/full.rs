//! A disk that is full: a file system of its own, in memory, of one MiB.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::*;

/// A small file system, unmounted when this goes. Needs root.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mounted = mount("tmpfs", place.path(), "tmpfs", MountFlags::empty(), Some(c"size=1m,mode=0700"));
        mounted.expect("mounting a tmpfs needs root: run this test as root");
        Self(place)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn clear(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        unmount(self.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_stops_no_start_and_every_deed_to_the_living() {
    let small = Small::new();
    let (mut state, _) = open(small.path());
    put_all(&mut state);
    read(&state, |_| Ok(()));
    small.fill();
    let mut id = 2;
    let error = loop {
        id += 1;
        // What fits into the last page of the file does.
        if let Err(error) = state.intend(&intent(id), Durability::Crash) {
            break error;
        }
        assert!(id < 1_000);
    };
    assert!(matches!(error, StateError::Full { .. }), "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(state.trouble().unwrap().contains("the disk is full; make room"), "{:?}", state.trouble());
    // For the living: refused, and not kept.
    assert!(state.intend(&intent(5_000), Durability::Power).is_err());
    assert!(state.outcome(ActionId(2), 1, None).is_err());
    state.retry();
    assert!(state.trouble().is_some());
    small.clear();
    state.retry();
    until_well(&mut state);
    assert!(!state.wants_everything());
    state.intend(&intent(5_001), Durability::Power).unwrap();
    drop(state);
    let (_state, found) = open(small.path());
    let unfinished: Vec<_> = found.unfinished.iter().map(|intent| intent.id.0).collect();
    assert_eq!(unfinished, (3..=id).chain([5_001]).collect::<Vec<_>>());
}

/// Each question has the clerk try again; the trouble is over some time after the answer.
fn until_well(state: &mut State) {
    let begun = Instant::now();
    while let Some(trouble) = state.trouble() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{trouble}");
        read(state, |_| Ok(()));
        state.retry();
    }
}

#[test]
fn a_state_on_a_full_disk_is_read_and_goes_on_when_there_is_room() {
    let small = Small::new();
    let (mut state, _) = open(small.path());
    put_all(&mut state);
    // As a killed daemon leaves it: nothing in the database.
    let kept = small.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::set_permissions(&kept, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for name in ["state.db", "journal-a", "journal-b"] {
        fs::copy(small.path().join(name), kept.join(name)).unwrap();
    }
    drop(state);
    small.fill();
    let (mut state, found) = State::open(&kept, STAMP).unwrap();
    check_all(&found);
    assert!(state.trouble().unwrap().contains("the disk is full"), "{:?}", state.trouble());
    small.clear();
    state.retry();
    until_well(&mut state);
    state.close().unwrap();
    check_all(&open(&kept).1);
}

#[test]
fn a_state_cannot_begin_on_a_full_disk_and_says_why() {
    let small = Small::new();
    small.fill();
    let error = State::open(small.path(), STAMP).unwrap_err();
    assert!(matches!(error, StateError::Full { .. }), "{error}");
    small.clear();
    drop(open(small.path()));
}

#[test]
fn what_is_too_much_to_keep_is_asked_for_again() {
    let small = Small::new();
    let (mut state, _) = open(small.path());
    put_all(&mut state);
    read(&state, |_| Ok(()));
    small.fill();
    let saved = "x".repeat(300_000);
    let mut changes = state.together();
    for _ in 0..20 {
        assert!(state.write(changes.put_shared(&saved), Durability::Crash).is_err());
    }
    assert!(state.wants_everything() && state.waiting_bytes == 0);
    assert!(state.write(state.everything().put_shared(&saved), Durability::Power).is_err());
    small.clear();
    // A part of it would be a mixture.
    let error = state.write(changes.put_shared("a part"), Durability::Crash).unwrap_err();
    assert!(matches!(error, StateError::Dropped(_)), "{error}");
    let mut everything = state.everything();
    everything
        .put_shared("all")
        .put_service("queue", Some("{}"))
        .put_life(&life("queue", 0, 99))
        .intend(&intent(7));
    state.write(&mut everything, Durability::Power).unwrap();
    assert!(!state.wants_everything());
    state.write(changes.put_shared("more"), Durability::Crash).unwrap();
    until_well(&mut state);
    drop(state);
    let (_state, found) = open(small.path());
    assert_eq!(found.shared.as_deref(), Some("more"));
    assert_eq!(found.services, [("queue".to_owned(), "{}".to_owned())]);
    assert_eq!((found.lives, found.unfinished), (vec![life("queue", 0, 99)], vec![intent(7)]));
    assert_eq!(found.flags, [("act".to_owned(), false)]);
}
