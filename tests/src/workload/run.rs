//! `run [--uid U] [--cgroup DIR] [--times N] [--depth D] -- PROGRAM ARGS...`: runs a program,
//! one after the other.
//!
//! With `--depth D` there are D generations of processes between this one and the program.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::Args;
use super::child::Child;
use super::truth::Truth;
use crate::sys;

pub(super) fn run(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    for _ in 0..args.number("times", 1)? {
        descend(args, &mut truth, args.number("depth", 0)?)?;
    }
    Ok(())
}

fn descend(args: &Args, truth: &mut Truth, depth: u32) -> Result<()> {
    if depth > 0 {
        let child = Child::fork(|| descend(args, truth, depth - 1).map(|()| 0))?;
        return truth.line(&child.wait("ancestor")?);
    }
    let child = Child::fork(|| {
        if let Some(directory) = args.get("cgroup") {
            join_cgroup(Path::new(directory))?;
        }
        let uid = args.number("uid", 0)?;
        if uid != 0 {
            sys::become_user(uid)?;
        }
        let words: Vec<&[u8]> = args.rest.iter().map(|word| word.as_bytes()).collect();
        let program = words.first().context("no program after --")?;
        Err(sys::execveat(libc::AT_FDCWD, program, &words))
    })?;
    truth.line(&child.wait("program")?)
}

/// Moves this process to a control group.
pub(super) fn join_cgroup(directory: &Path) -> Result<()> {
    let file = directory.join("cgroup.procs");
    fs::write(&file, "0").with_context(|| format!("write {}", file.display()))
}
