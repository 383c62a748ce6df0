//! The two ways to attach see the same.

use anyhow::Result;
use guard_tests::tracer::Tracer;
use guard_tests::{host, truth};

use crate::storm::storm;

#[test]
fn classic_tracepoints_see_every_spawn() -> Result<()> {
    storm(&["--attach", "classic"], host::scaled("3000", "20000")?)
}

#[test]
fn btf_tracepoints_see_every_spawn() -> Result<()> {
    storm(&["--attach", "btf"], host::scaled("1000", "20000")?)
}

#[test]
fn classic_tracepoints_know_the_last_thread() -> Result<()> {
    let tracer = Tracer::start(&["--attach", "classic"])?;
    let outlived = truth::run(&["thread-outlives-leader"])?;
    let exec = truth::run(&["exec-from-thread"])?;
    let trace = tracer.stop()?;
    let (process, thread) = (outlived.one("process")?, outlived.one("last thread")?);
    let exit = trace.one("exit", process)?;
    assert!(exit.time_ns()? > thread.time("alive_ns")?);
    assert_eq!(exit.number("process.exit_code").ok(), process.exit_code()?);
    let (process, thread) = (exec.one("process")?, exec.one("calling thread")?);
    let record = trace.one("exec", process)?;
    assert_eq!(record.number("processguard.exec.calling_thread")?, thread.number("tid")?);
    assert_eq!(trace.one("exit", process)?.number("process.exit_code").ok(), process.exit_code()?);
    Ok(())
}
