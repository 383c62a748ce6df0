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
use super::{Hook, exits, plain_run, wait_ended};

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
        let prepared = self.common.prepare(run, RoomInUse::new(room), Some(Arc::new(write)), None)?;
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
    assert_eq!(rustix::event::poll(&mut descriptors, Some(&long)).unwrap(), 1, "it did not end");
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
    let prepared = place.common.prepare(&shell("true"), RoomInUse::new(room), None, None).unwrap();
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

pub(crate) fn subject() -> Subject {
    Subject { service: "test".into(), instance: Some(0) }
}

pub(crate) const ACTION: ActionId = ActionId(4711);
pub(crate) const KILLS: [Kill; 3] = [Kill::Cgroup, Kill::Group, Kill::Process];
