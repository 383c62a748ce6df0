//! A keeper of its own process, daemons that are killed, services that go on.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use guard_core::policy::model::{Log, LogTarget, Run};
use guard_core::supervise::Subject;

use super::*;
use crate::daemon::hands::identity::Checked;
use crate::daemon::hands::tests::{Place, id, shell, until};
use crate::daemon::hands::{Hands, Settings};

/// A runtime directory with a keeper that ends soon after it is not needed any more.
struct Runtime {
    directory: tempfile::TempDir,
    place: Place,
}

impl Runtime {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("keeper");
        let test = std::env::current_exe().unwrap();
        let role = "--exact daemon::keeper::tests::as_keeper --nocapture";
        fs::write(&script, format!("#!/bin/sh\nPG_TEST_KEEPER=$2 exec {} {role}\n", test.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory, place: Place::new() }
    }

    fn settings(&self) -> Settings {
        let below = |name: &str| self.directory.path().join(name);
        Settings {
            cgroup_root: self.place.root.clone(),
            runtime_dir: self.directory.path().to_owned(),
            log_dir: below("logs"),
            journal: below("no-journal"),
            keeper: vec![below("keeper").to_string_lossy().into_owned()],
        }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("x.log")
    }

    fn run(&self, command: &str) -> Run {
        let target = LogTarget::File { path: self.log(), max_size: 1 << 20, keep: 1 };
        Run { log: Log { target }, ..shell(command) }
    }

    /// A daemon in a process of its own, which starts this and says so.
    fn daemon(&self, command: &str) -> Child {
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "daemon::keeper::tests::as_daemon", "--nocapture"])
            .env("PG_TEST_DAEMON", self.directory.path())
            .env("PG_TEST_ROOT", &self.place.root)
            .env("PG_TEST_COMMAND", command)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "started"), "the daemon has started its service");
        daemon
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn subject() -> Subject {
    Subject { service: "test".into(), instance: Some(0) }
}

/// Not a test: the keeper that the tests start.
#[test]
fn as_keeper() {
    let Some(directory) = std::env::var_os("PG_TEST_KEEPER").map(PathBuf::from) else { return };
    let linger = Duration::from_millis(200);
    let options = Options { journal: directory.join("no-journal"), directory, linger };
    let kept = keep(options, |_| {
        print!("\n{READY}");
        std::io::Write::flush(&mut std::io::stdout()).unwrap();
        let null = fs::File::options().write(true).open("/dev/null").unwrap();
        rustix::stdio::dup2_stdout(&null).unwrap();
        rustix::stdio::dup2_stderr(&null).unwrap();
    });
    kept.unwrap();
}

/// Not a test: the daemon that the tests start.
#[test]
fn as_daemon() {
    let Some(directory) = std::env::var_os("PG_TEST_DAEMON").map(PathBuf::from) else { return };
    let below = |name: &str| directory.join(name);
    let settings = Settings {
        cgroup_root: std::env::var_os("PG_TEST_ROOT").unwrap().into(),
        runtime_dir: directory.clone(),
        log_dir: below("logs"),
        journal: below("no-journal"),
        keeper: vec![below("keeper").to_string_lossy().into_owned()],
    };
    let target = LogTarget::File { path: below("x.log"), max_size: 1 << 20, keep: 1 };
    let run = Run { log: Log { target }, ..shell(&std::env::var("PG_TEST_COMMAND").unwrap()) };
    runtime().block_on(async {
        let (mut hands, _notices) = Hands::open(settings).await.unwrap();
        assert!(hands.has_keeper(), "{:?}", hands.troubles());
        let started = hands.prepare(&subject(), &run, false).unwrap().start().unwrap();
        println!("\nstarted");
        std::future::pending::<()>().await;
        drop(started);
    });
}

/// Writes numbers for as long as `go` is there, and the last one with `end`.
const NUMBERS: &str = "i=0; while test -e $GO; do i=$((i+1)); echo line $i; done; echo end $i";

#[test]
fn no_line_is_lost_when_daemons_are_killed() {
    let held = Runtime::new();
    let go = held.directory.path().join("go");
    fs::write(&go, "").unwrap();
    let command = NUMBERS.replace("$GO", &go.to_string_lossy());
    let mut daemon = held.daemon(&command);
    until(|| fs::metadata(held.log()).is_ok_and(|log| log.len() > 1000));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let at_death = fs::metadata(held.log()).unwrap().len();
    until(|| fs::metadata(held.log()).is_ok_and(|log| log.len() > at_death + 1000));
    // The next daemon finds the pipe, and its own service writes to the same one.
    runtime().block_on(async {
        let (mut hands, _notices) = Hands::open(held.settings()).await.unwrap();
        assert_eq!(hands.logging(), [("test".to_owned(), 0)]);
        let next =
            hands.prepare(&subject(), &held.run("echo from the next"), false).unwrap().start().unwrap();
        until(|| crate::daemon::hands::identity::has_ended(std::os::fd::AsFd::as_fd(&next.pidfd)));
        crate::daemon::hands::exits::reap(&next.pidfd);
        fs::remove_file(&go).unwrap();
        let rooms = held.place.rooms.all().unwrap();
        let lives: Vec<_> =
            rooms.iter().filter(|room| room.name().to_string().starts_with("test.")).collect();
        for room in lives {
            room.wait_empty().await.unwrap();
        }
        let whole = || {
            let older = fs::read_to_string(held.directory.path().join("x.log.1")).unwrap_or_default();
            older + &fs::read_to_string(held.log()).unwrap()
        };
        until(|| whole().contains("end ") && whole().contains("from the next\n"));
        let text = whole();
        let mut numbers = text.lines().filter_map(|line| line.strip_prefix("line ")?.parse::<u64>().ok());
        // What was rotated away twice is not there any more.
        let first = numbers.next().unwrap();
        let last = numbers.try_fold(first, |last, next| (next == last + 1).then_some(next)).unwrap();
        assert!(text.contains(&format!("end {last}\n")), "{last}");
        let (counts, unknown) = hands.logged().await.unwrap();
        assert_eq!((counts.len(), unknown), (1, 0));
        assert!(counts[0].bytes >= text.len() as u64 && counts[0].lost == 0 && counts[0].trouble.is_none());
    });
    // It ends by itself.
    until(|| held.place.rooms.keeper().unwrap().is_empty());
}

#[test]
fn a_keeper_that_is_killed_is_followed_by_another_with_the_same_pipes() {
    let held = Runtime::new();
    runtime().block_on(async {
        let (mut hands, _notices) = Hands::open(held.settings()).await.unwrap();
        let pipe = held.directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        // A line for each that it reads.
        let command =
            format!("exec 3<>{}; while read line <&3; do echo $line || exit 9; done", pipe.display());
        let started = hands.prepare(&subject(), &held.run(&command), false).unwrap().start().unwrap();
        fs::write(&pipe, "one\n").unwrap();
        let log = || fs::read_to_string(held.log()).unwrap_or_default();
        until(|| log() == "one\n");
        let keeper = held.place.rooms.keeper().unwrap().pids()[0];
        Checked::open(id(keeper)).unwrap().send(libc::SIGKILL, None).unwrap();
        tokio::time::timeout(Duration::from_secs(30), hands.keeper_gone()).await.unwrap();
        fs::write(&pipe, "two\n").unwrap();
        let seeking = hands.seek_keeper().unwrap();
        assert!(hands.seek_keeper().is_none(), "one is sought already");
        // Whoever is started meanwhile has a log.
        let another = Subject { service: "another".into(), instance: Some(0) };
        let logged = held.directory.path().join("another.log");
        let mut run = held.run("echo from another");
        run.log.target = LogTarget::File { path: logged.clone(), max_size: 65_536, keep: 1 };
        let born = hands.prepare(&another, &run, false).unwrap().start().unwrap();
        let sought = seeking.await;
        hands.keeper_sought(sought).unwrap();
        until(|| fs::read_to_string(&logged).is_ok_and(|text| text == "from another\n"));
        born.room.wait_empty().await.unwrap();
        crate::daemon::hands::exits::reap(&born.pidfd);
        hands.forget(&another);
        fs::write(&pipe, "three\n").unwrap();
        until(|| log() == "one\ntwo\nthree\n");
        assert!(!crate::daemon::hands::identity::has_ended(std::os::fd::AsFd::as_fd(&started.pidfd)));
        started.room.kill().unwrap();
        started.room.wait_empty().await.unwrap();
        crate::daemon::hands::exits::reap(&started.pidfd);
        hands.forget(&subject());
        let (counts, _) = hands.logged().await.unwrap();
        assert_eq!(counts, []);
    });
    until(|| held.place.rooms.keeper().unwrap().is_empty());
}

#[test]
fn there_is_one_keeper_and_what_it_does_not_know_it_counts() {
    let held = Runtime::new();
    runtime().block_on(async {
        let (_hands, _notices) = Hands::open(held.settings()).await.unwrap();
        let (other, _notices) = Hands::open(held.settings()).await.unwrap();
        assert!(other.has_keeper());
        assert_eq!(held.place.rooms.keeper().unwrap().pids().len(), 1);
        let directory = held.directory.path().to_owned();
        let options = Options { directory, linger: LINGER, journal: JOURNAL.into() };
        let refused = Keeper::open(options).unwrap_err().to_string();
        assert!(refused.starts_with("a keeper is at work already in /"), "{refused}");

        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(held.directory.path().join(SOCKET)).unwrap())
            .unwrap();
        for text in ["{\"kind\":\"lease\",\"until\":7}", "\0\0", "[]"] {
            rustix::net::send(&socket, text.as_bytes(), rustix::net::SendFlags::empty()).unwrap();
        }
        drop(socket);
        let mut unknown = 0;
        while unknown < 3 {
            unknown = ask(held.directory.path()).await.unwrap().1;
        }
        assert_eq!(unknown, 3);
    });
    until(|| held.place.rooms.keeper().unwrap().is_empty());
}

#[test]
fn a_keeper_that_cannot_be_started_is_a_trouble_and_not_an_end() {
    let held = Runtime::new();
    let mut settings = held.settings();
    settings.keeper = vec!["/bin/sh".into(), "-c".into(), "echo broken >&2".into()];
    runtime().block_on(async {
        let (mut hands, _notices) = Hands::open(settings).await.unwrap();
        assert!(!hands.has_keeper());
        let text = "services that are started now have no logs: cannot start the keeper: broken";
        assert_eq!(hands.troubles(), [text]);
        let started =
            hands.prepare(&subject(), &held.run("test $(readlink /proc/$$/fd/1) = /dev/null"), false);
        let started = started.unwrap().start().unwrap();
        let pidfd = crate::daemon::hands::wait_ended(started.pidfd).await.unwrap();
        assert_eq!(crate::daemon::hands::exits::reap(&pidfd), Some(0));
    });
}

#[test]
fn targets_change_while_the_service_runs() {
    let held = Runtime::new();
    runtime().block_on(async {
        let (mut hands, _notices) = Hands::open(held.settings()).await.unwrap();
        let run = held.run("echo old; read x <$FIFO; echo new");
        let fifo = held.directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let environment = BTreeMap::from([("FIFO".to_owned(), fifo.to_string_lossy().into_owned())]);
        let run = Run { environment, ..run };
        let started = hands.prepare(&subject(), &run, false).unwrap().start().unwrap();
        until(|| fs::read_to_string(held.log()).is_ok_and(|text| text == "old\n"));
        // To the journal, which is not there.
        let journal = Run { log: Log { target: LogTarget::Journal }, ..run };
        drop(hands.prepare(&subject(), &journal, false).unwrap());
        let fallback = held.directory.path().join("logs/test.0.log");
        // The keeper takes messages in their order: once it has answered, it knows.
        hands.logged().await.unwrap();
        fs::write(&fifo, "go\n").unwrap();
        until(|| fs::read_to_string(&fallback).is_ok_and(|text| text == "new\n"));
        let pidfd = crate::daemon::hands::wait_ended(started.pidfd).await.unwrap();
        crate::daemon::hands::exits::reap(&pidfd);
    });
    until(|| held.place.rooms.keeper().unwrap().is_empty());
}

#[test]
fn a_thousand_services_can_be_started_at_once() {
    const INSTANCES: u32 = 1000;
    let held = Runtime::new();
    runtime().block_on(async {
        let (mut hands, _notices) = Hands::open(held.settings()).await.unwrap();
        for instance in 0..INSTANCES {
            let subject = Subject { instance: Some(instance), ..subject() };
            drop(hands.prepare(&subject, &held.run("true"), false).unwrap());
        }
        assert_eq!(hands.troubles(), [""; 0]);
        assert_eq!(hands.logged().await.unwrap().0.len(), INSTANCES as usize);
        // Another daemon gets all of them.
        let (other, _notices) = Hands::open(held.settings()).await.unwrap();
        assert_eq!(other.logging().len(), INSTANCES as usize);
    });
    until(|| held.place.rooms.keeper().unwrap().is_empty());
}
