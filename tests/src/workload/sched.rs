//! Threads that wait for known times.

use std::hint::spin_loop;
use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use super::Args;
use super::child::Child;
use super::truth::Truth;
use crate::{sched, sys};

/// `naps [--count N] [--us N]`: sleeps so often, for so long.
pub(super) fn naps(args: &Args) -> Result<()> {
    let nap = Duration::from_micros(args.number("us", 5_000)?);
    let mut slept_us = Vec::new();
    for _ in 0..args.number("count", 40)? {
        let began = Instant::now();
        thread::sleep(nap);
        slept_us.push(u64::try_from(began.elapsed().as_micros())?);
    }
    slept_us.sort_unstable();
    let share = |percent: usize| slept_us.get(slept_us.len() * percent / 100).copied();
    let line = json!({ "what": "naps", "p50_us": share(50), "p90_us": share(90) });
    Truth::open(args)?.line(&line)
}

/// `starve [--ms N]`: tries to run every millisecond, while another process holds the CPU for so long.
pub(super) fn starve(args: &Args) -> Result<()> {
    let time = Duration::from_millis(args.number("ms", 300)?);
    let cpu = sched::last_cpu()?;
    sched::pin(cpu)?;
    let mut truth = Truth::open(args)?;
    let hog = hog(args, cpu, time, || Ok(()))?;
    let end = Instant::now() + Duration::from_millis(200) + time;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    truth.line(&hog.wait("hog")?)
}

/// `inherit [--ms N]`: is woken from another CPU every millisecond, while a process holds its own for so long
/// and leaves it to a third one, which runs there for a moment only.
pub(super) fn inherit(args: &Args) -> Result<()> {
    let time = Duration::from_millis(args.number("ms", 300)?);
    let (cpu, other) = (sched::last_cpu()?, 0);
    ensure!(cpu != other, "this machine has one CPU");
    sched::pin(cpu)?;
    let mut truth = Truth::open(args)?;
    let (mut heir_waits, mut to_heir) = std::io::pipe().context("pipe")?;
    let heir = Child::fork(|| {
        sys::set_name("pg-heir")?;
        sched::become_realtime(10)?;
        heir_waits.read_exact(&mut [0])?;
        spin_until(Instant::now() + Duration::from_micros(100));
        Ok(0)
    })?;
    let hog = hog(args, cpu, time, || Ok(to_heir.write_all(&[0])?))?;
    let (mut woken, mut waker) = std::io::pipe().context("pipe")?;
    let wakes = 200 + args.number("ms", 300)?;
    let waking = Child::fork(|| {
        sched::pin(other)?;
        for _ in 0..wakes {
            thread::sleep(Duration::from_millis(1));
            waker.write_all(&[0])?;
        }
        Ok(0)
    })?;
    drop(waker);
    while woken.read(&mut [0; 512])? != 0 {}
    waking.wait("waker")?;
    heir.wait("heir")?;
    truth.line(&hog.wait("hog")?)
}

/// A process that in a while holds the CPU for so long, does what it is told, and ends.
fn hog(args: &Args, cpu: usize, time: Duration, at_end: impl FnOnce() -> Result<()>) -> Result<Child> {
    Child::fork(|| {
        sys::set_name("pg-hog")?;
        thread::sleep(Duration::from_millis(100));
        sched::become_realtime(50)?;
        let (began, began_ns) = (Instant::now(), sys::boottime_ns());
        spin_until(began + time);
        at_end()?;
        let ended_ns = sys::boottime_ns();
        let line = json!({ "what": "held", "pid": sys::pid(), "cpu": cpu, "ns": ended_ns - began_ns });
        Truth::open(args)?.line(&line)?;
        Ok(0)
    })
}

/// `blocked [--ms N]`: sleeps for so long in a way that no signal ends.
pub(super) fn blocked(args: &Args) -> Result<()> {
    let began = Instant::now();
    sched::wait_uninterruptibly(args.number("ms", 2_500)?)?;
    let slept = u64::try_from(began.elapsed().as_nanos())?;
    Truth::open(args)?.line(&json!({ "what": "blocked", "pid": sys::pid(), "ns": slept }))
}

/// `rivals [--ms N]`: two threads that always want the same CPU, and one that sometimes does.
pub(super) fn rivals(args: &Args) -> Result<()> {
    sched::pin(sched::last_cpu()?)?;
    let end = Instant::now() + Duration::from_millis(args.number("ms", 3_000)?);
    let busy: Vec<_> = (0..2).map(|_| thread::spawn(move || spin_until(end))).collect();
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(3));
        spin_until(Instant::now() + Duration::from_micros(100));
    }
    busy.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked")))
}

/// `ping-pong [--count N]`: two processes on one CPU send each other a byte, so that every byte is two
/// wake-ups and two switches a round. Says on standard output how long that took.
pub(super) fn ping_pong(args: &Args) -> Result<()> {
    sched::pin(sched::last_cpu()?)?;
    let count: u64 = args.number("count", 100_000)?;
    let (mut from_parent, mut to_child) = std::io::pipe().context("pipe")?;
    let (mut from_child, mut to_parent) = std::io::pipe().context("pipe")?;
    let child = Child::fork(move || {
        let mut byte = [0];
        for _ in 0..count {
            from_parent.read_exact(&mut byte)?;
            to_parent.write_all(&byte)?;
        }
        Ok(0)
    })?;
    let (began, mut byte) = (Instant::now(), [0]);
    for _ in 0..count {
        to_child.write_all(&byte)?;
        from_child.read_exact(&mut byte)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    child.wait("pong")?;
    println!("{}", json!({ "rounds": count, "seconds": seconds }));
    Ok(())
}

fn spin_until(end: Instant) {
    while Instant::now() < end {
        spin_loop();
    }
}
