//! `signals`: sends a child one signal of each sort, one after the other. The truth has a line per
//! signal in the order of their sending, with what must become of it.

use std::io::{Read as _, Write as _};
use std::ptr::null_mut;
use std::thread;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Args;
use super::child::Child;
use super::truth::Truth;
use crate::sys::{self, Disposition};

/// A value as `sigqueue` carries it.
const VALUE: usize = 0x0123_4567;

pub(super) fn run(args: &Args) -> Result<()> {
    let mut truth = Truth::open(args)?;
    let (mut wake, told) = std::io::pipe().context("pipe")?;
    let target = Child::fork(|| target(&told, &mut Truth::open(args)?))?;
    wake.read_exact(&mut [0]).context("wait for the target")?;
    let pid = target.pid;
    let mut sent = |number: i32, code: i32, result: &str, thread: Option<i32>, value: usize| {
        truth.line(&json!({
            "what": "signal",
            "pid": pid,
            "sender_pid": sys::pid(),
            "number": number,
            "code": code,
            "result": result,
            "thread": thread,
            "value": value,
        }))
    };
    sys::kill(pid, libc::SIGUSR2)?;
    sent(libc::SIGUSR2, libc::SI_USER, "ignored", None, 0)?;
    sys::kill(pid, libc::SIGUSR1)?;
    sent(libc::SIGUSR1, libc::SI_USER, "delivered", None, 0)?;
    sys::kill(pid, libc::SIGUSR1)?;
    sent(libc::SIGUSR1, libc::SI_USER, "pending", None, 0)?;
    sys::kill(pid, libc::SIGHUP)?;
    sent(libc::SIGHUP, libc::SI_USER, "delivered", None, 0)?;
    // SAFETY: no pointers.
    sys::check(unsafe { i32::try_from(libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGWINCH))? })
        .context("tgkill")?;
    sent(libc::SIGWINCH, libc::SI_TKILL, "ignored", Some(pid), 0)?;
    let queued = libc::SIGRTMIN() + 3;
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(VALUE) };
    // SAFETY: the value is never used as a pointer.
    sys::check(unsafe { libc::sigqueue(pid, queued, value) }).context("sigqueue")?;
    sent(queued, libc::SI_QUEUE, "delivered", None, VALUE)?;
    sys::kill(pid, libc::SIGTERM)?;
    sent(libc::SIGTERM, libc::SI_USER, "delivered", None, 0)?;
    truth.line(&target.wait("target")?)
}

/// Ignores one signal, blocks another, handles a third, is sent one by its own timer, and dies by
/// SIGTERM.
fn target(mut told: &std::io::PipeWriter, truth: &mut Truth) -> Result<i32> {
    sys::take_signal(libc::SIGUSR2, Disposition::Ignore)?;
    sys::take_signal(libc::SIGWINCH, Disposition::Ignore)?;
    sys::block_signal(libc::SIGUSR1)?;
    sys::block_signal(libc::SIGRTMIN() + 3)?;
    sys::take_signal(libc::SIGHUP, Disposition::Handle)?;
    sys::take_signal(libc::SIGTERM, Disposition::Default)?;
    truth.line(&timer()?)?;
    sys::die_with_parent()?;
    told.write_all(b"x").context("say that the target is ready")?;
    loop {
        thread::park();
    }
}

/// Lets a POSIX timer send SIGRTMIN + 5 once, blocked, so that it stays pending.
fn timer() -> Result<Value> {
    let number = libc::SIGRTMIN() + 5;
    sys::block_signal(number)?;
    // SAFETY: zeroes are a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = number;
    let mut timer = null_mut();
    // SAFETY: both pointers are valid for the length of the call.
    sys::check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) })
        .context("timer_create")?;
    let nothing = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let soon =
        libc::itimerspec { it_interval: nothing, it_value: libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 } };
    // SAFETY: the timer was made above; the old setting is not asked for.
    sys::check(unsafe { libc::timer_settime(timer, 0, &raw const soon, null_mut()) })
        .context("timer_settime")?;
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    loop {
        // SAFETY: the pointer is valid for writes.
        sys::check(unsafe { libc::sigpending(pending.as_mut_ptr()) }).context("sigpending")?;
        // SAFETY: the set was written above.
        if unsafe { libc::sigismember(pending.as_ptr(), number) } == 1 {
            break;
        }
        thread::yield_now();
    }
    let (pid, code) = (sys::pid(), libc::SI_TIMER);
    Ok(json!({ "what": "timer", "pid": pid, "number": number, "code": code, "result": "delivered" }))
}
