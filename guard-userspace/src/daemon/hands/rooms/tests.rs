//! Real control groups.

use std::time::Duration;

use guard_core::policy::model::Limits;

use super::super::tests::{Place, shell, until, wait};
use super::*;

/// Processes that make more, as fast as they can, in sessions of their own, up to the limit.
const STORM: &str = "storm() { while :; do setsid sleep 1000 & done; }; storm & storm & storm & wait";

fn storm(place: &Place) -> (crate::daemon::hands::spawn::Started, std::os::fd::OwnedFd) {
    let mut run = shell(STORM);
    run.limits = Limits { processes: Some(60), ..Limits::default() };
    let (started, read) = place.start(&run).unwrap();
    until(|| started.room.pids().len() >= 50);
    (started, read)
}

#[test]
fn a_room_is_killed_with_all_who_are_forked_meanwhile() {
    let place = Place::new();
    let (started, _read) = storm(&place);
    started.room.kill().unwrap();
    wait(&started.pidfd);
    until(|| started.room.is_empty());
    assert!(started.room.pids().is_empty());
}

#[test]
fn where_the_kernel_cannot_kill_a_room_it_is_done_one_by_one() {
    let place = Place::new();
    let (started, _read) = storm(&place);
    started.room.kill_each(Some(7)).unwrap();
    wait(&started.pidfd);
    until(|| started.room.is_empty());
    assert!(!started.room.is_frozen());
}

#[test]
fn a_frozen_room_can_be_killed_and_thawed() {
    let place = Place::new();
    let (started, read) = place.start(&shell("i=0; while :; do i=$((i+1)); echo $i; done")).unwrap();
    let frozen = || fs::read_to_string(started.room.path().join("cgroup.events")).unwrap();
    started.room.freeze().unwrap();
    until(|| frozen().contains("frozen 1"));
    assert!(started.room.is_frozen() && !started.room.is_empty());
    started.room.thaw().unwrap();
    until(|| frozen().contains("frozen 0"));
    started.room.freeze().unwrap();
    started.room.kill().unwrap();
    wait(&started.pidfd);
    drop(read);
    until(|| started.room.is_empty());
}

#[test]
fn emptiness_is_told() {
    let place = Place::new();
    let (started, _read) = place.start(&shell("sleep 1000 & sleep 1000")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let waiting = started.room.wait_empty();
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "two are in it");
        started.room.kill().unwrap();
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    });
    assert!(started.room.is_empty());
    started.room.remove().unwrap();
    assert!(started.room.is_empty(), "what was removed is empty");
    runtime.block_on(started.room.wait_empty()).unwrap();
    started.room.remove().unwrap();
}

#[test]
fn a_later_daemon_finds_the_rooms() {
    let place = Place::new();
    let limits = Limits { per_service: true, processes: Some(50), ..Limits::default() };
    let one = place.rooms.make("a.b", 3, &Limits::default()).unwrap();
    let mut run = shell("sleep 1000");
    run.limits = limits;
    let (started, _read) = place.start(&run).unwrap();
    let hook = place.rooms.make_hook().unwrap();
    fs::create_dir(place.rooms.path().join("not.ours")).unwrap();
    let later = Rooms::open(&place.root).unwrap();
    let found = later.all().unwrap();
    let names: Vec<_> = found.iter().map(|room| room.name().clone()).collect();
    assert_eq!(names, [one.name().clone(), started.room.name().clone(), hook.name().clone()]);
    assert_eq!(found[1].id(), started.room.id());
    assert!(found[1].pids().contains(&started.pid));
    assert!(found[1].path().parent().unwrap().ends_with("test.shared"));
    assert_eq!(later.tidy(&|room| *room.name() == *one.name()).unwrap(), 1, "the hook's");
    assert!(one.path().exists() && !hook.path().exists());
    started.room.kill().unwrap();
    wait(&started.pidfd);
    until(|| started.room.is_empty());
    assert_eq!(later.tidy(&|_| false).unwrap(), 2);
    assert!(!later.path().join("test.shared").exists(), "the shared parent went, too");
    fs::remove_dir(place.rooms.path().join("not.ours")).unwrap();
}

#[test]
fn limits_are_shared_where_they_are_meant_to_be() {
    let place = Place::new();
    let mut run = shell("for i in 1 2 3; do sleep 1000 & done; wait");
    run.limits = Limits { per_service: true, processes: Some(6), ..Limits::default() };
    let (first, _one) = place.start(&run).unwrap();
    until(|| first.room.pids().len() == 4);
    let (second, two) = place.start(&run).unwrap();
    let mut text = String::new();
    // The second one's shell gives up at its second helper; the first helper ends with the room.
    wait(&second.pidfd);
    second.room.kill().unwrap();
    io::Read::read_to_string(&mut fs::File::from(two), &mut text).unwrap();
    assert!(text.contains("fork"), "{text}");
    first.room.kill().unwrap();
    wait(&first.pidfd);
}

#[test]
fn rooms_that_hold_us_are_left_alone() {
    let place = Place::new();
    let room = place.rooms.make("test", 0, &Limits::default()).unwrap();
    // A child of ours is in it, whose child asks: its parent is an ancestor.
    let own = std::process::id().to_string();
    let before = format!("{}/cgroup.procs", cgroup_of_ours());
    fs::write(room.path().join("cgroup.procs"), &own).unwrap();
    let (killed, frozen) = (room.kill(), room.freeze());
    fs::write(before, &own).unwrap();
    let text = killed.unwrap_err().to_string();
    assert!(text.contains("which is the daemon itself or above it: nothing is done to it"), "{text}");
    assert!(frozen.is_err());
}

fn cgroup_of_ours() -> String {
    let group = crate::daemon::hands::identity::group_of(std::process::id()).unwrap();
    let mount = cgroups::all().unwrap().remove(0).mount;
    format!("{}{group}", mount.display())
}

#[test]
fn a_room_that_cannot_be_made_says_why() {
    assert!(matches!(Rooms::open(Path::new("/")), Err(RoomError::Root(_))));
    assert!(matches!(Rooms::open(Path::new("../x")), Err(RoomError::Root(_))));
    let place = Place::new();
    let long = "x".repeat(5000);
    let error = place.rooms.make(&long, 0, &Limits::default()).unwrap_err().to_string();
    assert!(
        error.contains("cannot make the control group") && error.contains("File name too long"),
        "{error}"
    );
    let huge = Limits { processes: Some(u64::MAX), ..Limits::default() };
    let error = place.rooms.make("test", 0, &huge).unwrap_err().to_string();
    assert!(error.contains("cannot limit pids by"), "{error}");
    assert!(place.rooms.all().unwrap().is_empty(), "nothing is left of it");
}
