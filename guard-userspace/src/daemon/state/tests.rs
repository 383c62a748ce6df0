//! The state on a real disk.

use guard_core::incident::Incident;

use super::*;

const BOOT: &str = "00000000000000000000000000000001";
const OTHER: &str = "00000000000000000000000000000002";

fn open(directory: &Path, boot: &str, offset: i64) -> (State, Recovered) {
    State::open(directory, boot, offset).unwrap()
}

fn service(name: &str, saved: &str) -> Batch {
    Batch { services: vec![(name.to_owned(), Some(saved.to_owned()))], ..Batch::default() }
}

fn intent(id: u64) -> Intent {
    let text = "start /bin/true".to_owned();
    Intent { id: ActionId(id), unix_ns: 1, service: "web".to_owned(), instance: Some(0), kind: "start", text }
}

fn incident(id: u64, closed_ns: Option<u64>) -> Incident {
    let text = format!(
        r#"{{"id":{id},"service":"web","instance":0,"cause":"killed","opened_ns":5,"closed_ns":null,"outcome":null,"timeline":[],
            "rto_ns":null,"recovery":null,"gap":false,"restarts":0,"left_out":0}}"#
    );
    Incident { closed_ns, ..serde_json::from_str(&text).unwrap() }
}

#[test]
fn what_was_written_is_there_again() {
    let place = tempfile::tempdir().unwrap();
    let (mut state, recovered) = open(place.path(), BOOT, 100);
    assert_eq!((recovered.takeovers, recovered.shift_ns), (0, None));
    let mut batch = service("web", "{}");
    batch.shared = Some("[]".to_owned());
    batch.intents = vec![intent(1), intent(2)];
    batch.incidents = vec![incident(7, None), incident(8, Some(9))];
    assert!(state.write(batch));
    let batch =
        Batch { outcomes: vec![(ActionId(1), None)], durability: Durability::Power, ..Batch::default() };
    assert!(state.write(batch));
    drop(state);

    let (mut state, recovered) = open(place.path(), BOOT, 100);
    assert_eq!(recovered.services, [("web".to_owned(), "{}".to_owned())]);
    assert_eq!(recovered.shared.as_deref(), Some("[]"));
    let unfinished: Vec<u64> = recovered.unfinished.iter().map(|action| action.id).collect();
    assert_eq!(unfinished, [2]);
    assert_eq!(recovered.incidents, [incident(7, None)]);
    assert_eq!((recovered.last_incident, recovered.takeovers, recovered.shift_ns), (8, 1, None));
    assert_eq!(state.incidents(Some("web"), false, 1).unwrap()[0].incident.id, 8);
    assert_eq!(state.incidents(Some("web"), true, 9).unwrap().len(), 1);
    assert_eq!(state.incidents(Some("db"), false, 9).unwrap(), []);
    assert!(state.write(Batch { services: vec![("web".to_owned(), None)], ..Batch::default() }));
    drop(state);

    let (_, recovered) = open(place.path(), OTHER, 40);
    assert_eq!(recovered.services, []);
    assert_eq!(
        recovered.shift_ns,
        Some(60),
        "this boot began 60 ns before that one, by the clock on the wall"
    );
}

#[test]
fn a_second_daemon_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let _state = open(place.path(), BOOT, 0);
    let refused = State::open(place.path(), BOOT, 0).unwrap_err().to_string();
    assert!(refused.contains(&format!("is in use by process {}", std::process::id())), "{refused}");
    assert!(refused.contains("--state"), "{refused}");
}

#[test]
fn a_broken_or_foreign_file_is_refused_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    drop(open(place.path(), BOOT, 0));
    let file = place.path().join(FILE);
    let whole = std::fs::read(&file).unwrap();
    let mut garbage = whole.clone();
    garbage.iter_mut().skip(100).for_each(|byte| *byte ^= 0x5a);
    for bytes in [garbage, b"#!/bin/sh\n".repeat(1000)] {
        std::fs::write(&file, &bytes).unwrap();
        let refused = State::open(place.path(), BOOT, 0).unwrap_err();
        assert!(matches!(refused, StateError::Broken { .. }), "{refused:?}");
        assert!(refused.to_string().contains("move it away"), "{refused}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "it was changed");
    }
    std::fs::remove_file(&file).unwrap();
    let other = Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1);").unwrap();
    drop(other);
    let refused = State::open(place.path(), BOOT, 0).unwrap_err().to_string();
    assert!(refused.contains("somebody else"), "{refused}");
}

#[test]
fn a_newer_version_is_refused() {
    let place = tempfile::tempdir().unwrap();
    drop(open(place.path(), BOOT, 0));
    let db = Connection::open(place.path().join(FILE)).unwrap();
    db.pragma_update(None, "user_version", 2).unwrap();
    drop(db);
    let refused = State::open(place.path(), BOOT, 0).unwrap_err();
    assert!(matches!(refused, StateError::Newer { found: 2, .. }), "{refused:?}");
}

#[test]
fn flipped_bits_never_panic() {
    let place = tempfile::tempdir().unwrap();
    let (mut state, _) = open(place.path(), BOOT, 0);
    (0..50).for_each(|n| assert!(state.write(service(&format!("service-{n}"), &"x".repeat(300)))));
    drop(state);
    let file = place.path().join(FILE);
    let whole = std::fs::read(&file).unwrap();
    for n in 0..200 {
        let mut bytes = whole.clone();
        let at = (n * 7919) % bytes.len();
        bytes[at] ^= 1 << (n % 8);
        std::fs::write(&file, &bytes).unwrap();
        // Refused, or read: either is an answer.
        match State::open(place.path(), BOOT, 0) {
            Ok((mut state, _)) => {
                state.write(service("one", "more"));
            }
            Err(error) => assert!(error.to_string().contains("state.db"), "{error}"),
        }
        for left in ["state.db-wal", "state.db-shm", "state.db-journal"] {
            let _ = std::fs::remove_file(place.path().join(left));
        }
    }
}

#[test]
fn what_a_full_disk_refused_is_written_once_there_is_room() {
    let place = tempfile::tempdir().unwrap();
    let mounted = Mounted::tmpfs(place.path(), "size=256k");
    let (mut state, _) = open(place.path(), BOOT, 0);
    let filler = place.path().join("filler");
    std::fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    assert!(!state.write(service("web", &"x".repeat(64 * 1024))));
    assert!(state.trouble().unwrap().contains("full"), "{:?}", state.trouble());
    assert!(!state.write(service("web", &"y".repeat(64 * 1024))));
    std::fs::remove_file(&filler).unwrap();
    assert!(state.write(Batch::default()), "{:?}", state.trouble());
    assert_eq!(state.trouble(), None);
    drop(state);
    let (state, recovered) = open(place.path(), BOOT, 0);
    assert_eq!(recovered.services[0].1, "y".repeat(64 * 1024));
    drop(state);
    drop(mounted);
}

/// Prints what a write costs: nothing is gated on it.
#[test]
fn the_cost_of_an_intent() {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let (mut state, _) = open(place.path(), BOOT, 0);
    for durability in [Durability::Crash, Durability::Power] {
        let mut costs: Vec<_> = (0..200)
            .map(|n| {
                let mut batch = service("web", &format!("{n}{}", "x".repeat(1500)));
                (batch.intents, batch.durability) = (vec![intent(n)], durability);
                let began = std::time::Instant::now();
                assert!(state.write(batch));
                began.elapsed()
            })
            .collect();
        costs.sort_unstable();
        println!("{durability:?}: median {:?}, p99 {:?}", costs[100], costs[198]);
    }
}

struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(path: &'a Path, options: &str) -> Self {
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("none", path, "tmpfs", rustix::mount::MountFlags::empty(), options.as_c_str())
            .unwrap();
        Self(path)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
