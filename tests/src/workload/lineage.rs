//! Who is whose child, and by which pid.

use std::fs;
use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Args;
use super::child::{Child, with};
use super::truth::Truth;
use crate::sys::{self, Disposition};

/// `double-fork`: a child forks a grandchild and ends; the grandchild, now this process's child,
/// ends after it.
pub(super) fn double_fork(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    // SAFETY: no pointers.
    sys::check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }).context("become a subreaper")?;
    let reaper = sys::pid();
    let child = Child::fork(|| {
        let (from_child, to_grandchild) = std::io::pipe().context("pipe")?;
        let before = sys::boottime_ns();
        let grandchild = sys::fork(move || {
            drop(to_grandchild);
            // End of file: the child is gone. The reparenting follows its descriptors' closing.
            (&from_child).read_to_end(&mut Vec::new()).context("wait for the child's end")?;
            while std::os::unix::process::parent_id().cast_signed() != reaper {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(23)
        })?;
        Truth::open(args)?.line(&json!({
            "what": "grandchild",
            "pid": grandchild,
            "ppid": sys::pid(),
            "born_after_ns": before,
            "born_before_ns": sys::boottime_ns(),
        }))?;
        Ok(22)
    })?;
    truth.line(&child.wait("child")?)?;
    let ended = sys::wait(-1)?;
    truth.line(&json!({ "what": "grandchild's end", "pid": ended.pid, "status": ended.status }))
}

/// `family`: a child and a grandchild that live until this process is told to go on.
pub(super) fn family(args: &Args) -> Result<()> {
    let child = Child::fork(|| {
        member(args)?;
        let grandchild = Child::fork(|| {
            member(args)?;
            loop {
                thread::park();
            }
        })?;
        sys::take_signal(libc::SIGUSR1, Disposition::Handle)?;
        // SAFETY: no pointers.
        unsafe { libc::pause() };
        sys::kill(grandchild.pid, libc::SIGKILL)?;
        grandchild.wait("grandchild").map(|_| 0)
    })?;
    std::io::stdin().lock().read_line(&mut String::new()).context("wait for a line")?;
    sys::kill(child.pid, libc::SIGUSR1)?;
    child.wait("child").map(drop)
}

/// Says that this process is a member of the family.
fn member(args: &Args) -> Result<()> {
    sys::die_with_parent()?;
    Truth::open(args)?.line(&json!({ "what": "member", "pid": sys::pid() }))
}

/// `pidns`: process 1 of a new pid namespace and a child of it, which the kernel kills when
/// process 1 ends.
pub(super) fn pid_namespace(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    // SAFETY: no pointers; only children are affected.
    sys::check(unsafe { libc::unshare(libc::CLONE_NEWPID) }).context("unshare(CLONE_NEWPID)")?;
    let init = Child::fork(|| {
        let (mut wake, told) = std::io::pipe().context("pipe")?;
        identify(args, "first")?;
        sys::fork(move || {
            identify(args, "second")?;
            (&told).write_all(b"x").context("wake the parent")?;
            loop {
                thread::park();
            }
        })?;
        wake.read_exact(&mut [0]).context("wait for the child")?;
        Ok(4)
    })?;
    let line = init.wait("first's end")?;
    truth.line(&line)
}

/// Says how this process is called inside and outside.
fn identify(args: &Args, what: &str) -> Result<()> {
    let outer = fs::read_link("/proc/self").context("read /proc/self")?;
    let outer: i32 = outer.to_string_lossy().parse().context("/proc/self is not a pid")?;
    let namespace = fs::metadata("/proc/self/ns/pid").context("stat /proc/self/ns/pid")?.ino();
    let line = json!({ "what": what, "pid": outer, "inner_pid": sys::pid(), "namespace": namespace });
    Truth::open(args)?.line(&with(line, "seen_ns", sys::boottime_ns()))
}
