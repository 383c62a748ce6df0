//! Events as they happen, by `processguard events`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::standin::StandIn;

#[test]
fn what_happened_and_what_happens() {
    let daemon = StandIn::start();
    for number in 1..=12 {
        daemon.tell(
            number,
            if number % 2 == 0 { "checkout" } else { "nginx" },
            &format!("event {number}\\u001b[2J"),
        );
    }
    let output = daemon.verb(&["events", "--service", "checkout", "--last", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = "2026-11-23 02:00:00.000  checkout          event 10\\x1b[2J\n\
                    2026-11-23 02:00:00.000  checkout          event 12\\x1b[2J\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);

    let mut follow = daemon.command(&["events", "--follow", "--json", "--last", "1"]);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("event 12"));
    daemon.tell(13, "nginx", "event 13");
    assert!(lines.next().unwrap().unwrap().contains("event 13"));
    daemon.tell(15, "nginx", "event 15");
    assert!(lines.next().unwrap().unwrap().contains("event 15"));
    kill_process(Pid::from_child(&follow), Signal::TERM).unwrap();
    follow.wait().unwrap();
    let mut said = String::new();
    follow.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "processguard: an event was missed here\n");
}

#[test]
fn a_reader_that_goes_is_a_quiet_end() {
    let daemon = StandIn::start();
    for number in 1..=500 {
        daemon.tell(number, "checkout", &"x".repeat(1000));
    }
    let mut child =
        daemon.command(&["events"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_daemon_that_goes_is_waited_for() {
    let mut daemon = StandIn::start();
    let mut follow = daemon.command(&["events", "--follow"]);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(follow.stderr.take().unwrap()).lines();
    // It follows once the history is asked for; the end of the daemon is what it is told then.
    daemon.tell(1, "checkout", "one");
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("one"));
    daemon.end();
    let line = said.next().unwrap().unwrap();
    assert_eq!(line, "processguard: the daemon has gone; waiting for it to come back");
    follow.kill().unwrap();
    follow.wait().unwrap();
}
