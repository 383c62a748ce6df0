//! Suspended and resumed.

use std::fs;

use anyhow::{Context, Result};
use guard_tests::tracer::{Sentinel, Tracer};
use guard_tests::{sys, truth};
use rustix::time::{ClockId, clock_gettime};

/// How long the machine sleeps, in seconds of its own clock.
const SLEEP: u64 = 4;

/// Sends the machine to sleep until its clock wakes it up; gives how long it slept.
fn suspend() -> Result<u64> {
    let alarm = "/sys/class/rtc/rtc0/wakealarm";
    let slept = || {
        let running = clock_gettime(ClockId::Monotonic);
        let running = u64::try_from(running.tv_sec * 1_000_000_000 + running.tv_nsec).unwrap_or(0);
        sys::boottime_ns() - running
    };
    let before = slept();
    fs::write(alarm, "0").with_context(|| format!("clear {alarm}"))?;
    fs::write(alarm, format!("+{SLEEP}")).with_context(|| format!("set {alarm}"))?;
    // To memory: from the lighter sleep, qemu's clock does not wake it up.
    fs::write("/sys/power/state", "mem").context("suspend")?;
    Ok(slept() - before)
}

#[test]
fn a_trace_goes_on_after_a_suspend() -> Result<()> {
    crate::ensure_virtual()?;
    let mut tracer = Tracer::start(&[])?;
    let before = truth::run(&["exit-code", "--code", "4"])?;
    let slept_ns = suspend()?;
    let after = truth::run(&["exit-code", "--code", "5"])?;
    tracer.wait_until_attached(&mut Sentinel::new("after-the-sleep")?)?;
    let trace = tracer.stop()?;
    // The alarm's second may have begun already.
    assert!(slept_ns >= (SLEEP - 2) * 1_000_000_000, "slept for {slept_ns} ns");
    let exit = |truth: &truth::Truth| trace.one("exit", truth.one("process")?);
    let (before, after) = (exit(&before)?, exit(&after)?);
    assert_eq!(before.number("process.exit_code")?, 4);
    assert_eq!(after.number("process.exit_code")?, 5);
    // Times of records count the sleep.
    assert!(after.time_ns()? - before.time_ns()? >= slept_ns, "{} {}", before.0, after.0);
    assert_eq!(trace.lost_in_all()?, 0);
    Ok(())
}
