//! Where and how threads run: CPUs, real-time priority, and a wait that no signal ends.

use std::io::{self, stdin};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sys;

/// The last CPU that this thread may use: the first ones are where interrupts go.
///
/// # Errors
/// If the kernel does not say.
pub fn last_cpu() -> Result<usize> {
    let allowed = sched_getaffinity(None).context("sched_getaffinity")?;
    (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu)).context("no CPU to run on")
}

/// Binds this thread, and those that it makes, to one CPU.
///
/// # Errors
/// If there is no such CPU.
pub fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("bind to CPU {cpu}"))
}

/// Makes this thread run before all others that are not real-time, for as long as it likes.
///
/// # Errors
/// Without CAP_SYS_NICE.
pub fn become_realtime(priority: i32) -> Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameters are valid for the length of the call; 0 is this thread.
    let answer = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    sys::check(answer).map(drop).context("sched_setscheduler")
}

/// Forks a child that sleeps for so long and ends, and waits for that as `vfork` does: in state D. `or_told`: the child ends before
/// that if something is written to standard input.
///
/// # Errors
/// If the child cannot be made.
pub fn wait_uninterruptibly(milliseconds: u32, or_told: bool) -> Result<()> {
    let (flags, nothing) = (libc::c_long::from(libc::CLONE_VFORK | libc::SIGCHLD), 0_usize);
    // SAFETY: without CLONE_VM the child has memory of its own, as after a fork.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, nothing, nothing, nothing, nothing) };
    ensure!(child >= 0, "clone: {}", io::Error::last_os_error());
    if child == 0 {
        let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
        let time = Timespec { tv_sec: seconds.into(), tv_nsec: (rest * 1_000_000).into() };
        let stdin = stdin();
        let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
        let told = if or_told { &mut polled[..] } else { &mut [] };
        // Nothing that could fail leaves a child that goes on as its parent.
        let _ = poll(told, Some(&time));
        sys::exit_group(0);
    }
    sys::wait(i32::try_from(child)?).map(drop)
}
