//! Who is measured: a bare loop, ourselves, and the peers.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;

use super::{
    ours::Ours,
    peers::{self, Peer},
    place::Place,
    systemd::Systemd,
};
use crate::bench::process::Process;

/// Something that starts a program again when it has ended.
pub(super) trait Supervisor {
    /// Starts it, and has it start the place's victim.
    fn start(&self, place: &Place) -> Result<Box<dyn Running>>;
}

/// A supervisor at work. Dropped, it is gone, whatever happened; its victim may not be.
pub(super) trait Running {
    /// An error if it has ended.
    fn check(&mut self) -> Result<()>;

    /// Ends it as its manual says.
    fn stop(self: Box<Self>) -> Result<()>;
}

/// One row of the table.
pub(super) struct Contender {
    /// For the saved file.
    pub(super) id: &'static str,
    /// For people.
    pub(super) title: &'static str,
    /// Kills in a round. The slow ones get few: they vary little beside what they take.
    pub(super) kills: usize,
    /// How long a victim lives before it is killed, at least and at most: a moment of its own each time, since some
    /// of them look only so often.
    pub(super) life: (Duration, Duration),
    pub(super) supervisor: Box<dyn Supervisor>,
}

pub(super) const LOOP: &str = "loop";
pub(super) const OURS: &str = "processguard";

/// Long enough for whatever a supervisor still writes down; short beside the clock of any poller.
const BRIEF: (Duration, Duration) = (Duration::from_millis(15), Duration::from_millis(30));
/// Any moment of a poller's second.
const POLLED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(1_100));
/// runsv and s6-supervise wait if a life was shorter than a second.
const GROWN_UP: (Duration, Duration) = (Duration::from_millis(1_100), Duration::from_millis(1_200));

/// All, in the table's order. `processguard` is `None` where only the peers are wanted.
pub(super) fn all(processguard: Option<PathBuf>) -> Vec<Contender> {
    let bare = peer(LOOP, "C loop of waitpid + posix_spawn", 100, BRIEF, peers::bare_loop, libc::SIGTERM);
    let ours = processguard.map(|program| Contender {
        id: OURS,
        title: "**processguard**",
        kills: 100,
        life: BRIEF,
        supervisor: Box::new(Ours { program }),
    });
    let others = [
        peer("runit", "runit (runsv)", 5, GROWN_UP, peers::runit, libc::SIGTERM),
        peer("s6", "s6 (s6-supervise)", 4, GROWN_UP, peers::s6, libc::SIGTERM),
        peer("pm2", "pm2", 20, BRIEF, peers::pm2, libc::SIGINT),
        systemd("systemd-0", "systemd, RestartSec=0", Some("0"), 20),
        systemd("systemd", "systemd, default RestartSec of 100 ms", None, 5),
        peer("circus-eager", "circus, check_delay 0.05 s", 5, POLLED, peers::eager_circus, libc::SIGTERM),
        peer("circus", "circus, default check_delay of 1 s", 4, POLLED, peers::circus, libc::SIGTERM),
        peer("supervisord", "supervisord, startsecs=0", 4, POLLED, peers::supervisord, libc::SIGTERM),
        peer("monit", "monit, cycle of 1 s", 4, POLLED, peers::monit, libc::SIGTERM),
    ];
    std::iter::once(bare).chain(ours).chain(others).collect()
}

fn peer(
    id: &'static str,
    title: &'static str,
    kills: usize,
    life: (Duration, Duration),
    command: fn(&Place) -> Result<std::process::Command>,
    ends_by: i32,
) -> Contender {
    Contender { id, title, kills, life, supervisor: Box::new(Peer { command, ends_by }) }
}

fn systemd(
    id: &'static str,
    title: &'static str,
    restart_sec: Option<&'static str>,
    kills: usize,
) -> Contender {
    Contender { id, title, kills, life: BRIEF, supervisor: Box::new(Systemd { restart_sec }) }
}

/// A supervisor that is one process of ours.
pub(super) struct Supervised {
    pub(super) process: Process,
    pub(super) ends_by: i32,
}

impl Running for Supervised {
    fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    fn stop(self: Box<Self>) -> Result<()> {
        self.process.stop_by(self.ends_by)
    }
}
