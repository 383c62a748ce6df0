//! Threads that wait for known times.

use std::hint::spin_loop;
use std::io::{PipeReader, Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
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
    until_kept_out(args, cpu, Duration::ZERO, || {
        let hog = Hog::new(time, || Ok(()))?;
        let end = Instant::now() + Duration::from_millis(200) + time;
        let mut out = KeptOut::new();
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
            out.runs();
        }
        Ok((hog, out))
    })
}

/// `inherit [--ms N] [--before N] [--early N]`: is woken from another CPU every millisecond, while a process holds its own for so
/// long and leaves it to a third one, which runs there for a moment only. Before all that another one held the CPU for some
/// milliseconds, or the third one has it early, for so many, until it is taken from it and after.
pub(super) fn inherit(args: &Args) -> Result<()> {
    let milliseconds =
        |name, default| Ok::<_, anyhow::Error>(Duration::from_millis(args.number(name, default)?));
    let (time, before, early) =
        (milliseconds("ms", 300)?, milliseconds("before", 0)?, milliseconds("early", 0)?);
    let (cpu, other) = (sched::last_cpu()?, 0);
    ensure!(cpu != other, "this machine has one CPU");
    sched::pin(cpu)?;
    let wakes = 200 + args.number("ms", 300)?;
    until_kept_out(args, cpu, early / 4, || {
        let before = Child::fork(|| {
            sys::set_name("pg-before")?;
            sched::become_realtime(50)?;
            spin_until(Instant::now() + before);
            Ok(0)
        })?;
        before.wait("the one before")?;
        let (mut heir_waits, mut to_heir) = std::io::pipe().context("pipe")?;
        let heir = Child::fork(|| {
            sys::set_name("pg-heir")?;
            sched::become_realtime(10)?;
            if !early.is_zero() {
                thread::sleep(UNTIL_HOG / 2);
                spin_until(Instant::now() + early);
            }
            heir_waits.read_exact(&mut [0])?;
            spin_until(Instant::now() + Duration::from_micros(100));
            Ok(0)
        })?;
        let hog = Hog::new(time, || Ok(to_heir.write_all(&[0])?))?;
        let (mut woken, mut waker) = std::io::pipe().context("pipe")?;
        let waking = Child::fork(|| {
            sched::pin(other)?;
            for _ in 0..wakes {
                thread::sleep(Duration::from_millis(1));
                waker.write_all(&[0])?;
            }
            Ok(0)
        })?;
        drop(waker);
        let mut out = KeptOut::new();
        while woken.read(&mut [0; 512])? != 0 {
            out.runs();
        }
        waking.wait("waker")?;
        heir.wait("heir")?;
        Ok((hog, out))
    })
}

/// Tries until it was kept from the CPU for all the time of the hog, and more: since 6.12 the kernel gives all others a share of
/// each second (`fair_server`), which may be due just then; before that, real-time processes got no more than 0.95 of one. Tells of that time only.
fn until_kept_out(
    args: &Args,
    cpu: usize,
    more: Duration,
    mut once: impl FnMut() -> Result<(Hog, KeptOut)>,
) -> Result<()> {
    let mut truth = Truth::open(args)?;
    for _ in 0..5 {
        let (hog, out) = once()?;
        let (pid, held) = (hog.child.pid, hog.end()?);
        if out.longest >= held + more {
            let ns = u64::try_from(held.as_nanos())?;
            return truth.line(&json!({ "what": "held", "pid": pid, "cpu": cpu, "ns": ns }));
        }
        // Into another part of a second.
        thread::sleep(Duration::from_millis(1_300));
    }
    bail!("the CPU was never held for so long without a break")
}

/// The longest time in which a process did not run.
struct KeptOut {
    ran: Instant,
    longest: Duration,
}

impl KeptOut {
    fn new() -> Self {
        Self { ran: Instant::now(), longest: Duration::ZERO }
    }

    fn runs(&mut self) {
        self.longest = self.longest.max(self.ran.elapsed());
        self.ran = Instant::now();
    }
}

/// How long after its start a hog takes the CPU.
const UNTIL_HOG: Duration = Duration::from_millis(100);

/// A process that in a while holds the CPU for so long, does what it is told, and ends.
struct Hog {
    child: Child,
    held: PipeReader,
}

impl Hog {
    fn new(time: Duration, at_end: impl FnOnce() -> Result<()>) -> Result<Self> {
        let (held, mut tell) = std::io::pipe().context("pipe")?;
        let child = Child::fork(|| {
            sys::set_name("pg-hog")?;
            // First: else whoever waits for the CPU too may get it before.
            sched::become_realtime(50)?;
            thread::sleep(UNTIL_HOG);
            let began = Instant::now();
            spin_until(began + time);
            at_end()?;
            let held_ns = u64::try_from(began.elapsed().as_nanos())?;
            tell.write_all(&held_ns.to_ne_bytes())?;
            Ok(0)
        })?;
        Ok(Self { child, held })
    }

    /// For how long it held the CPU.
    fn end(mut self) -> Result<Duration> {
        self.child.wait("hog")?;
        let mut held_ns = [0; 8];
        self.held.read_exact(&mut held_ns)?;
        Ok(Duration::from_nanos(u64::from_ne_bytes(held_ns)))
    }
}

/// `blocked [--ms N] [--or-told]`: sleeps for so long, or until it is let go, in a way that no signal ends.
pub(super) fn blocked(args: &Args) -> Result<()> {
    let began = Instant::now();
    sched::wait_uninterruptibly(args.number("ms", 2_500)?, args.has("or-told"))?;
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
