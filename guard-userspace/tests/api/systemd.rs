//! What a service manager is told, by a process of its own: what it is told comes from the environment.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use guard_userspace::daemon::door::{Answer, Door, Request};
use guard_userspace::daemon::systemd;

/// Set in the child's environment: this test then is the daemon.
const CHILD: &str = "PROCESSGUARD_TEST_NOTIFIES";

#[test]
fn it_hears_that_the_daemon_is_ready_and_that_its_loop_answers() {
    if std::env::var_os(CHILD).is_some() {
        return daemon();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // As systemd does, the variable names the process that is to be heard of.
    let mut child = Command::new("sh");
    child.args(["-c", "WATCHDOG_PID=$$ exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    child.args(["--exact", "systemd::it_hears_that_the_daemon_is_ready_and_that_its_loop_answers"]);
    child
        .env(CHILD, "1")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000")
        .env_remove("WATCHDOG_PID");
    let output = child.stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    manager.set_nonblocking(true).unwrap();
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = manager.recv(&mut buffer) {
        heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    assert_eq!(heard[0], "READY=1\nSTATUS=2 services, all well\n");
    assert!(heard[1].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{heard:?}");
    // Three answers, three signs of life; while the loop hangs, none.
    assert_eq!(heard[2..5], ["WATCHDOG=1\n", "WATCHDOG=1\n", "WATCHDOG=1\n"]);
    assert_eq!(heard[5..], ["STOPPING=1\nSTATUS=ends; its services go on\n"]);
}

/// Answers three times, then hangs for longer than an interval, then ends.
fn daemon() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        systemd::ready("2 services,\nall well");
        systemd::reloading();
        let (door, mut requests) = Door::new();
        let every = systemd::watchdog().unwrap();
        assert_eq!(every, Duration::from_millis(100));
        let watch = tokio::spawn(systemd::watch(door, every));
        for _ in 0..3 {
            let Request { reply, .. } = requests.recv().await.unwrap();
            reply.send(Ok(Answer::Flags(Vec::new()))).unwrap();
        }
        // It is asked, given up, and asked again: no answer came in between.
        let hanging = requests.recv().await.unwrap();
        let again = requests.recv().await.unwrap();
        drop((hanging, again, requests));
        watch.await.unwrap();
        systemd::stopping();
    });
}
