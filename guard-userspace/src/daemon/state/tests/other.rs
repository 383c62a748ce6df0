//! Another boot, another daemon, another version, and what is too old.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;

#[test]
fn times_of_an_earlier_boot_can_be_shifted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, _) = open(directory.path());
    put_all(&mut state);
    drop(state);
    // A reboot, an hour after the boot before: a time of then is now so much below 0.
    let hour = 3_600_000_000_000;
    let now = Stamp { boot: BootId(8), utc_offset_ns: STAMP.utc_offset_ns + hour };
    let (state, found) = State::open(directory.path(), now).unwrap();
    check_all(&found);
    assert_eq!(found.shift_ns(now), -hour);
    assert_eq!(found.shift_ns(Stamp { utc_offset_ns: now.utc_offset_ns, ..STAMP }), 0);
    drop(state);
    let (mut state, found) = State::open(directory.path(), now).unwrap();
    assert_eq!(found.before, Some(now));
    state.set_clock(5).unwrap();
    drop(state);
    let (_state, found) = State::open(directory.path(), now).unwrap();
    assert_eq!(found.before, Some(Stamp { utc_offset_ns: 5, ..now }));
}

/// Run as a process of its own by the test below.
#[test]
fn a_second_daemon() {
    if let Some(directory) = std::env::var_os("STATE_TEST_SECOND") {
        let error = State::open(Path::new(&directory), STAMP).unwrap_err();
        println!("refused: {}", error.advice());
    }
}

#[test]
fn a_second_daemon_is_told_whose_the_state_is() {
    let directory = tempfile::tempdir().unwrap();
    let (state, _) = open(directory.path());
    let second = || {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "daemon::state::tests::other::a_second_daemon", "--nocapture"])
            .env("STATE_TEST_SECOND", directory.path())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = second();
    let us = std::process::id();
    assert!(said.contains(&format!("is used by process {us}; stop that one (`kill {us}`;")), "{said}");
    drop(state);
    assert!(!second().contains("refused"));
}

#[test]
fn what_others_can_write_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = State::open(directory.path(), STAMP).unwrap_err();
    assert!(error.to_string().contains("can be written by others: its mode is 0777"), "{error}");
}

#[test]
fn what_is_over_is_kept_for_so_long() {
    let directory = tempfile::tempdir().unwrap();
    let (mut state, _) = open(directory.path());
    let mut changes = state.together();
    // Closed long ago, and in the year of the test; then one that is open still.
    let now_ns = 1_000_000_000_000;
    let old_ns = 1;
    state.stamp.utc_offset_ns = crate::clock::utc_offset_ns()
        + i64::try_from(crate::clock::boot_ns()).unwrap()
        - 1_000_000_000_000
        - 91 * 86_400 * 1_000_000_000;
    let mut ancient = state.together();
    ancient.put_incident(&incident(1, "open", None)).put_incident(&incident(2, "ancient", Some(now_ns)));
    state.stamp.utc_offset_ns += 91 * 86_400 * 1_000_000_000;
    for id in 3..=10_012 {
        changes = if changes.is_empty() { state.together() } else { changes };
        changes.put_incident(&incident(id, "checkout", Some(now_ns - old_ns)));
        changes.intend(&intent(id)).outcome(ActionId(id), 1, None);
    }
    changes.intend(&intent(1));
    for number in 1..=60 {
        changes.put_generation(&generation(number, number == 1), &Vec::new());
    }
    state.write(&mut ancient, Durability::Crash).unwrap();
    state.write(&mut changes, Durability::Crash).unwrap();
    state.close().unwrap();
    let (state, found) = open(directory.path());
    let all = read(&state, |view| view.incidents(&Wanted { limit: usize::MAX, ..Wanted::default() }));
    let ids: Vec<_> = all.iter().map(|kept| kept.incident.id).collect();
    assert_eq!((ids.len(), ids[0], ids[9_999], ids[10_000]), (10_001, 10_012, 13, 1));
    assert_eq!(found.open.len(), 1);
    assert_eq!(found.unfinished, [intent(1)]);
    let generations = read(&state, |view| view.generations());
    assert_eq!((generations.len(), generations[49].number, generations[50].number), (51, 11, 1));
    assert_eq!((found.last_incident, found.last_action, found.last_generation), (10_012, 10_012, 60));
}
