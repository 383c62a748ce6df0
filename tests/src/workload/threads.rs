//! Threads and their leader.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::child::Child;
use super::truth::Truth;
use super::{Args, elf};
use crate::sys;

/// How long the last thread lives on, so that an exit reported at the leader's end shows.
const OUTLIVES: Duration = Duration::from_millis(100);

/// `thread-outlives-leader [--leader CODE] [--thread CODE] [--group]`: the leader ends, then the
/// last thread: alone, or with `--group` by exit_group.
pub(super) fn outlive_leader(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    let (leader, last) = (args.number("leader", 7)?, args.number("thread", 3)?);
    let group = args.has("group");
    let child = Child::fork(|| {
        thread::spawn(move || {
            if let Err(error) = wait_for_zombie_leader(&mut truth) {
                eprintln!("guard-workload: {error:#}");
                sys::exit_group(125);
            }
            if group { sys::exit_group(last) } else { sys::exit_thread(last) }
        });
        sys::exit_thread(leader)
    })?;
    Truth::open(args)?.line(&child.wait("process")?)
}

fn wait_for_zombie_leader(truth: &mut Truth) -> Result<()> {
    sys::set_name("last-thread")?;
    let path = format!("/proc/self/task/{}/stat", sys::pid());
    loop {
        let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')) {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(OUTLIVES);
    truth.line(&json!({ "what": "last thread", "tid": sys::tid(), "alive_ns": sys::boottime_ns() }))
}

/// `exec-from-thread`: a thread other than the leader replaces the program.
pub(super) fn exec(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    let program = directory.path().join("from-thread");
    elf::write(&program)?;
    let path = program.to_string_lossy().into_owned();
    let child = Child::fork(|| {
        let (mut truth, path) = (Truth::open(args)?, path.clone());
        let thread = thread::spawn(move || -> Result<()> {
            truth.line(&json!({ "what": "calling thread", "tid": sys::tid(), "executable": path }))?;
            Err(sys::execveat(libc::AT_FDCWD, path.as_bytes(), &["from-thread", "a", "b"]))
        });
        thread.join().map_err(|_| anyhow!("the thread panicked"))??;
        Ok(125)
    })?;
    truth.line(&child.wait("process")?)
}
