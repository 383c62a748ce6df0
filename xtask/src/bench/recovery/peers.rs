//! The peers, each with its fastest settings that its manual names.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::{
    contender::{Running, Supervised, Supervisor},
    place::Place,
};
use crate::{bench::process::Process, setup::peers, sh};

/// A program that we start in the foreground with a configuration of its own.
pub(super) struct Peer {
    /// What is started for this place, after its configuration has been written.
    pub(super) command: fn(&Place) -> Result<Command>,
    /// What ends it.
    pub(super) ends_by: i32,
}

impl Supervisor for Peer {
    fn start(&self, place: &Place) -> Result<Box<dyn Running>> {
        let mut command = (self.command)(place)?;
        // Nothing of a person's own settings is read.
        command.env("RECORD", place.record()).env("HOME", place.directory()).current_dir(place.directory());
        let process = Process::start(&mut command, &place.path("said"))?;
        Ok(Box::new(Supervised { process, ends_by: self.ends_by }))
    }
}

fn debian(program: &str) -> Result<PathBuf> {
    sh::find_program(program).with_context(|| format!("{program} is missing; remedy: cargo xtask setup"))
}

/// The bare loop, compiled beside the bench's scratch files.
pub(super) fn bare_loop(place: &Place) -> Result<Command> {
    let mut command = Command::new(sh::target_dir().join("bench/loop"));
    command.arg(place.program()).arg(place.record());
    Ok(command)
}

/// A loop that is in no hurry: whoever watches its program has 50 ms to see that it is gone.
pub(super) fn slow_loop(place: &Place) -> Result<Command> {
    let mut command = Command::new("sh");
    command
        .args(["-c", "while :; do \"$@\"; sleep 0.05; done", "sh"])
        .arg(place.program())
        .arg(place.record());
    Ok(command)
}

/// A service directory whose `run` is the program itself: a shell in between would cost another millisecond.
fn service_directory(place: &Place) -> Result<PathBuf> {
    let directory = place.path("service");
    fs::create_dir(&directory).context("create the service directory")?;
    fs::hard_link(place.program(), directory.join("run")).context("link the program")?;
    Ok(directory)
}

pub(super) fn runit(place: &Place) -> Result<Command> {
    let mut command = Command::new(debian("runsv")?);
    command.arg(service_directory(place)?);
    Ok(command)
}

pub(super) fn s6(place: &Place) -> Result<Command> {
    let mut command = Command::new(debian("s6-supervise")?);
    command.arg(service_directory(place)?);
    Ok(command)
}

pub(super) fn supervisord(place: &Place) -> Result<Command> {
    let text = format!(
        "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={pid}\n\n\
         [program:victim]\ncommand={program} {record}\nautorestart=true\nstartsecs=0\nstartretries=1000000\n\
         stdout_logfile=NONE\nstderr_logfile=NONE\n",
        pid = place.path("pid").display(),
        program = place.program().display(),
        record = place.record().display(),
    );
    let mut command = Command::new(peers::python_program("supervisord")?);
    command.arg("--configuration").arg(place.write("supervisord.conf", &text)?);
    Ok(command)
}

/// It looks every second, as often as it can; and it expects programs that go to the background by themselves.
pub(super) fn monit(place: &Place) -> Result<Command> {
    let (at, pid) = (place.directory().display(), place.path("victim.pid"));
    let text = format!(
        "set daemon 1\nset log {at}/log\nset pidfile {at}/monit.pid\nset statefile {at}/state\nset idfile {at}/id\n\
         check process victim with pidfile {pid}\n  \
           start program = \"/bin/sh -c '{program} {record} & echo $! > {pid}'\"\n  \
           if does not exist then start\n",
        pid = pid.display(),
        program = place.program().display(),
        record = place.record().display(),
    );
    let configuration = place.write("monitrc", &text)?;
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o600)).context("chmod")?;
    let mut command = Command::new(debian("monit")?);
    command.arg("-I").arg("-c").arg(configuration);
    Ok(command)
}

/// As it runs in containers: in the foreground, with its daemon in the same process.
pub(super) fn pm2(place: &Place) -> Result<Command> {
    let apps = serde_json::json!({ "apps": [{
        "name": "victim",
        "script": place.program(),
        "args": [place.record()],
        "interpreter": "none",
        "exec_mode": "fork",
        "restart_delay": 0,
        "max_restarts": 1_000_000,
        "out_file": "/dev/null",
        "error_file": "/dev/null",
    }]});
    let mut command = Command::new(peers::pm2_program()?);
    command.arg("start").arg(place.write("apps.config.json", &apps.to_string())?);
    command.env("PM2_HOME", place.path("pm2"));
    Ok(command)
}

pub(super) fn circus(place: &Place) -> Result<Command> {
    circus_that_looks(place, "1")
}

pub(super) fn eager_circus(place: &Place) -> Result<Command> {
    circus_that_looks(place, "0.05")
}

/// It looks for the dead once in this many seconds, whatever SIGCHLD says.
fn circus_that_looks(place: &Place, every: &str) -> Result<Command> {
    let text = format!(
        "[circus]\ncheck_delay = {every}\nendpoint = ipc://{at}/endpoint\npubsub_endpoint = ipc://{at}/pubsub\n\n\
         [watcher:victim]\ncmd = {program} {record}\nwarmup_delay = 0\n",
        at = place.directory().display(),
        program = place.program().display(),
        record = place.record().display(),
    );
    let mut command = Command::new(peers::python_program("circusd")?);
    command.arg(place.write("circus.ini", &text)?);
    Ok(command)
}
