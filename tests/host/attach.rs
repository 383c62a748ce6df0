//! The two ways to attach see the same.

use std::process::Command;

use anyhow::{Context as _, Result};
use guard_tests::storm::{Losses, storm};
use guard_tests::tracer::Tracer;
use guard_tests::{host, truth};
use serde_json::Value;

/// What the probe found of a feature: `yes`, `no` or `unknown`.
fn probed(feature: &str) -> Result<String> {
    let output = Command::new(host::processguard()?).args(["probe", "--json"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let findings = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let found = findings.iter().find(|finding| finding["name"] == feature).context("no such feature")?;
    Ok(found["state"].as_str().context("no state")?.to_owned())
}

#[test]
fn classic_tracepoints_see_every_spawn() -> Result<()> {
    storm(&["--attach", "classic"], host::storm()?, Losses::None)
}

/// Where the kernel preempts them, what they miss is counted.
#[test]
fn btf_tracepoints_see_or_count_every_spawn() -> Result<()> {
    let losses = if probed("lossless_tp_btf")? == "yes" { Losses::None } else { Losses::Counted };
    storm(&["--attach", "btf"], host::scaled_down("400", "1000", "20000")?, losses)
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
