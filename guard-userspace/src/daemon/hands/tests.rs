//! What the tests of the hands need: a cgroup root of their own, and processes that they start themselves.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use guard_core::ids::ProcId;
use guard_core::policy::model::{Kill, Limits, Run};
use guard_core::supervise::{ActionId, Subject};

use super::identity::{self, Stat};
use super::rooms::{Room, Rooms};
use super::spawn::{Common, RoomInUse, StartError, Started};
use super::{Hands, Hook, Next, Settings, exits, plain_run, wait_ended};

static ROOTS: AtomicU32 = AtomicU32::new(0);

/// A root of its own, which goes with all who are in it.
pub(crate) struct Place {
    pub(crate) rooms: Rooms,
    pub(crate) common: Common,
    pub(crate) root: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let number = ROOTS.fetch_add(1, Ordering::Relaxed);
        let root = PathBuf::from(format!("pg-test-{}-{number}", std::process::id()));
        Self { rooms: Rooms::open(&root).unwrap(), common: Common::read().unwrap(), root }
    }

    /// Starts a command in a room of its own, its output in a pipe.
    pub(crate) fn start(&self, run: &Run) -> Result<(Started, OwnedFd), StartError> {
        let room = self.rooms.make("test", 0, &run.limits)?;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let prepared =
            self.common.prepare(run, RoomInUse::new(room, &run.limits), Some(Arc::new(write)), None)?;
        Ok((prepared.start()?, read))
    }

    /// Runs a shell command to its end: what it wrote, and its status.
    pub(crate) fn output(&self, run: &Run) -> (String, Option<i32>) {
        let (started, read) = self.start(run).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(read), &mut text).unwrap();
        wait(&started.pidfd);
        (text, exits::reap(&started.pidfd))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for room in self.rooms.all().unwrap_or_default() {
            let _ = room.kill();
            until(|| room.is_empty());
            let _ = room.remove();
        }
        let _ = self.rooms.tidy(&|_| false);
        let mounts = crate::sensor::cgroups::all().unwrap();
        for hierarchy in mounts {
            for directory in ["", "limited.shared"] {
                // Only empty ones can be removed: what is left is seen.
                let _ = std::fs::remove_dir(hierarchy.mount.join(&self.root).join(directory));
            }
            let _ = std::fs::remove_dir(hierarchy.mount.join(&self.root));
        }
    }
}

/// A shell's command.
pub(crate) fn shell(text: &str) -> Run {
    plain_run(vec!["/bin/sh".into(), "-c".into(), text.into()])
}

/// The identity of a process that the test holds, as exact as /proc has it.
pub(crate) fn id(pid: u32) -> ProcId {
    let stat = Stat::read(pid).unwrap();
    ProcId { pid, start_ns: stat.start_ticks * (1_000_000_000 / procfs::ticks_per_second()) }
}

/// Blocks until a process has ended.
pub(crate) fn wait(pidfd: &OwnedFd) {
    let mut descriptors = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    let long = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
    // Other tests of this program get signals.
    let ended = rustix::io::retry_on_intr(|| rustix::event::poll(&mut descriptors, Some(&long)));
    assert_eq!(ended.unwrap(), 1, "it did not end");
}

/// For what has no event: a few milliseconds at most, usually.
pub(crate) fn until(is_true: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is_true() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it does not come true");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn hook(command: &str, timeout: Duration) -> Hook {
    let environment = BTreeMap::from([("WHO".to_owned(), "me".to_owned())]);
    let command = vec!["/bin/sh".into(), "-c".into(), command.into()];
    Hook { command, environment, user: None, timeout }
}

#[test]
fn hooks_run_to_their_end_or_their_timeout() {
    let place = Place::new();
    let run = |command: &str, seconds| {
        let hook = hook(command, Duration::from_secs_f64(seconds));
        runtime().block_on(super::hook::run(place.rooms.clone(), place.common.clone(), hook))
    };
    assert_eq!(run("test $WHO = me", 30.0), Ok(()));
    assert_eq!(run("echo one; echo two >&2; exit 3", 30.0), Err("/bin/sh ended with 3: one; two".into()));
    assert_eq!(run("kill -9 $$", 30.0), Err("/bin/sh was killed by signal 9".into()));
    let slow = run("echo begun; (trap '' TERM; sleep 1000) & sleep 1000", 0.3);
    assert_eq!(slow, Err("/bin/sh did not end within 0.3 s and was killed: begun".into()));
    // Helpers that it leaves behind hold its output open, and go with it.
    assert_eq!(run("sleep 1000 & exit 0", 30.0), Ok(()));
    assert!(place.rooms.all().unwrap().is_empty(), "each room went with its hook");
    let missing = Hook { command: vec!["/no/such".into()], ..hook("", Duration::from_secs(9)) };
    let failed = runtime().block_on(super::hook::run(place.rooms.clone(), place.common.clone(), missing));
    assert_eq!(failed, Err("cannot run /no/such: no such file".into()));
    assert!(place.rooms.all().unwrap().is_empty());
}

#[test]
fn a_hook_that_is_given_up_leaves_nobody() {
    let place = Place::new();
    runtime().block_on(async {
        let hook = hook("sleep 1000 & sleep 1000", Duration::from_secs(1000));
        let running = super::hook::run(place.rooms.clone(), place.common.clone(), hook);
        tokio::select! {
            _ = running => panic!("it cannot have ended"),
            () = async { while place.rooms.all().unwrap().iter().map(|room| room.pids().len()).sum::<usize>() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            } } => {}
        }
    });
    let rooms = place.rooms.all().unwrap();
    until(|| rooms.iter().all(Room::is_empty));
}

#[test]
fn a_prepared_start_that_is_given_up_leaves_no_room() {
    let place = Place::new();
    let room = place.rooms.make("test", 0, &Limits::default()).unwrap();
    let path = room.path().to_owned();
    let prepared =
        place.common.prepare(&shell("true"), RoomInUse::new(room, &Limits::default()), None, None).unwrap();
    assert!(path.exists() && prepared.room().is_some());
    drop(prepared);
    assert!(!path.exists());
}

#[test]
fn predecessors_are_waited_for_with_their_rooms() {
    let place = Place::new();
    let (started, _read) = place.start(&shell("sleep 1000 & exit 4")).unwrap();
    let runtime = runtime();
    let pidfd = runtime.block_on(async { wait_ended(started.pidfd).await.unwrap() });
    assert_eq!(exits::reap(&pidfd), Some(4 << 8));
    assert!(identity::has_ended(pidfd.as_fd()) && !started.room.is_empty());
    let waiting = runtime.block_on(async {
        tokio::time::timeout(Duration::from_millis(50), super::wait_gone(None, Some(&started.room))).await
    });
    assert!(waiting.is_err(), "its helper lives");
    started.room.kill().unwrap();
    runtime.block_on(super::wait_gone(Some(pidfd), Some(&started.room))).unwrap();
    assert!(started.room.is_empty());
}

/// Hands without a keeper: what they start has no log.
fn hands(place: &Place, directory: &tempfile::TempDir) -> Hands {
    let settings = Settings {
        cgroup_root: place.root.clone(),
        runtime_dir: directory.path().to_owned(),
        keeper: vec!["/bin/false".into()],
        ..Settings::default()
    };
    runtime().block_on(async { Hands::open(settings).await.unwrap().0 })
}

fn subject() -> Subject {
    Subject { service: "test".into(), instance: Some(0) }
}

const ACTION: ActionId = ActionId(4711);

#[test]
fn who_is_killed_with_a_main_process() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let mut hands = hands(&place, &directory);
    // A helper in the process group, and one in a session of its own.
    let run = shell("sleep 1000 & setsid sleep 1001 & exec sleep 1002");
    for (kill, left) in [(Kill::Cgroup, 0), (Kill::Group, 1), (Kill::Process, 2)] {
        // With a main process that lives, and with one that has ended before.
        for is_alive in [true, false] {
            hands.make_spare(&subject(), run.clone(), true).unwrap();
            let started = hands.prepare(&subject(), &run, true).unwrap().start().unwrap();
            let target = id(started.pid);
            let sleeps = |seconds: &str| {
                let line = |pid| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let wanted = format!("sleep\0{seconds}\0").into_bytes();
                started.room.pids().into_iter().any(|pid| line(pid) == wanted)
            };
            until(|| ["1000", "1001", "1002"].iter().all(|seconds| sleeps(seconds)));
            if !is_alive {
                hands.signal(target, Some(&started.room), (9, false), ACTION).unwrap();
                wait(&started.pidfd);
                assert_eq!(exits::reap(&started.pidfd), Some(9));
            }
            hands.kill(target, Some(&started.room), kill, ACTION).unwrap();
            wait(&started.pidfd);
            exits::reap(&started.pidfd);
            until(|| started.room.pids().len() <= left);
            assert_eq!(started.room.pids().len(), left, "{kill:?}");
            hands.kill(target, Some(&started.room), Kill::Cgroup, ACTION).unwrap();
            until(|| started.room.is_empty());
        }
    }
}

#[test]
fn what_was_made_ahead_is_used_if_it_is_still_right() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let mut hands = hands(&place, &directory);
    let limited = |processes| {
        let mut run = shell("exit 7");
        run.limits.processes = Some(processes);
        run
    };
    let named = {
        let mut run = shell("exit 7");
        run.user = Some("root".to_owned());
        run
    };
    let spare = |hands: &Hands| matches!(hands.spares[&subject()].next, Next::Start(_));
    // Made for the first and wanted for the second: what is there ahead, and whether its room is used.
    let cases = [
        (shell("exit 7"), shell("exit 7"), true, true),
        (shell("exit 8"), shell("exit 7"), true, true),
        (limited(8), limited(9), true, false),
        (named.clone(), named, false, true),
    ];
    for (made, wanted, is_start, is_used) in cases {
        hands.make_spare(&subject(), made, false).unwrap();
        assert_eq!(spare(&hands), is_start);
        let room = match hands.spares.get(&subject()).map(|spare| &spare.next) {
            Some(Next::Room(room)) => room.room().unwrap().path().to_owned(),
            Some(Next::Start(prepared)) => prepared.room().unwrap().path().to_owned(),
            None => panic!("nothing was made"),
        };
        let started = hands.prepare(&subject(), &wanted, false).unwrap().start().unwrap();
        assert_eq!(started.room.path() == room, is_used);
        wait(&started.pidfd);
        assert_eq!(exits::reap(&started.pidfd), Some(7 << 8), "it ran what is wanted now");
    }
}

#[test]
fn signals_freezing_and_nice_values_reach_a_room() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let mut hands = hands(&place, &directory);
    let run = shell("sleep 1000 & exec sleep 1000");
    let started = hands.prepare(&subject(), &run, false).unwrap().start().unwrap();
    until(|| started.room.pids().len() == 2);
    let (target, room) = (id(started.pid), Some(&*started.room));
    hands.renice(target, room, 7).unwrap();
    for pid in started.room.pids() {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed());
        assert_eq!(rustix::process::getpriority_process(pid).unwrap(), 7);
    }
    hands.freeze(target, room).unwrap();
    assert!(started.room.is_frozen());
    hands.thaw(target, room).unwrap();
    assert!(!started.room.is_frozen());
    let another = ProcId { start_ns: 10_000_000, ..target };
    let refused = hands.signal(another, room, (15, false), ACTION).unwrap_err().to_string();
    assert!(refused.contains("is another process by now"), "{refused}");
    assert!(hands.renice(another, room, 1).is_err() && hands.freeze(another, room).is_err());
    hands.signal(target, room, (15, true), ACTION).unwrap();
    wait(&started.pidfd);
    assert_eq!(exits::reap(&started.pidfd), Some(15));
    until(|| started.room.is_empty());
    let nobody = hands.signal(target, room, (15, true), ACTION).unwrap_err().to_string();
    assert_eq!(nobody, format!("process {} has ended", target.pid));
    hands.kill(target, room, Kill::Cgroup, ACTION).unwrap();
}

#[test]
fn adopted_processes_are_reached_in_groups_of_their_own_only() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let hands = hands(&place, &directory);
    let (started, _read) = place.start(&shell("sleep 1000 & exec sleep 1000")).unwrap();
    until(|| started.room.pids().len() == 2);
    hands.kill(id(started.pid), None, Kill::Cgroup, ACTION).unwrap();
    wait(&started.pidfd);
    assert_eq!(exits::reap(&started.pidfd), Some(9));
    until(|| started.room.is_empty());
    // One that shares our own group, which has no boundary around it.
    let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let target = id(child.id());
    assert!(hands.freeze(target, None).is_err());
    assert!(hands.signal(target, None, (15, true), ACTION).is_err());
    let status = std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap());
    assert_eq!(status, Some(15), "the main process itself is meant all the same");
}
