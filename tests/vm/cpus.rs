//! A CPU that goes and comes back.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use guard_tests::host;
use guard_tests::storm::complete;
use guard_tests::trace::Trace;
use guard_tests::tracer::Tracer;
use guard_tests::truth::{Truth, Workload};

const SWITCH: &str = "/sys/devices/system/cpu/cpu1/online";

/// Switched on again when dropped.
struct SecondCpu;

impl SecondCpu {
    fn off(self) -> Result<Self> {
        fs::write(SWITCH, "0").context("switch the second CPU off")?;
        Ok(self)
    }

    fn on(self) -> Result<Self> {
        fs::write(SWITCH, "1").context("switch the second CPU on")?;
        Ok(self)
    }
}

impl Drop for SecondCpu {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, "1");
    }
}

/// Every child of the storm has its three records, and nothing counts as lost.
fn assert_whole(trace: &Trace, truth: &Truth) -> Result<()> {
    let spawned = i64::try_from(truth.all("child").count())?;
    for what in ["fork", "exec", "exit"] {
        assert_eq!(complete(trace, truth, what)?, spawned, "{what}");
    }
    assert_eq!(trace.lost_in_all()?, 0);
    assert!(spawned > 20, "a storm of {spawned}");
    Ok(())
}

/// On which CPUs records were made.
fn cpus(trace: &Trace) -> Result<Vec<i64>> {
    let mut cpus =
        trace.all("fork").map(|record| record.number("processguard.cpu")).collect::<Result<Vec<_>>>()?;
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

#[test]
fn a_cpu_that_goes_and_comes_takes_nothing_along() -> Result<()> {
    crate::ensure_virtual()?;
    let mut cpu = SecondCpu;
    let tracer = Tracer::start(&["--events", "fork,exec,exit"])?;
    let storm = Workload::start(&["storm", "--seconds", "600", "--parallel", "3", "--until-told"])?;
    for _ in 0..host::scaled_down(2, 8, 8)? {
        thread::sleep(Duration::from_millis(100) * host::slowness()?);
        cpu = cpu.off()?;
        thread::sleep(Duration::from_millis(100) * host::slowness()?);
        cpu = cpu.on()?;
    }
    let truth = storm.finish()?;
    assert_whole(&tracer.stop()?, &truth)
}

#[test]
fn a_cpu_that_comes_after_the_start_is_seen() -> Result<()> {
    crate::ensure_virtual()?;
    let cpu = SecondCpu.off()?;
    let tracer = Tracer::start(&["--events", "fork,exec,exit"])?;
    let _cpu = cpu.on()?;
    let count = host::scaled_down("200", "2000", "2000")?;
    let truth = Workload::start(&["storm", "--count", count, "--parallel", "4"])?.finish()?;
    let trace = tracer.stop()?;
    assert_eq!(cpus(&trace)?, [0, 1]);
    assert_whole(&trace, &truth)
}
