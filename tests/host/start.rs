//! The processes that exist when the trace begins, and those that are born at that moment.

use std::time::Duration;

use anyhow::{Context, Result};
use guard_tests::tracer::Tracer;
use guard_tests::truth::{Truth, Workload};
use guard_tests::{host, sys, truth};

#[test]
fn processes_that_exist_are_known() -> Result<()> {
    let family = Workload::start(&["family"])?;
    let members = host::wait_for("the family", || family.pids("member", 2))?;
    let &[child, grandchild] = &members[..] else { panic!("{members:?}") };
    let parent = family.pid();
    let tracer = Tracer::start(&[])?;
    family.finish()?;
    let trace = tracer.stop()?;
    let exit =
        |pid: i32| trace.with_pid("exit", pid.into()).next().with_context(|| format!("no exit of {pid}"));
    for (pid, parent) in [(grandchild, child), (child, parent)] {
        let record = exit(pid)?;
        assert_eq!(record.text("process.name")?, "guard-workload");
        assert_eq!(record.number("process.parent.pid")?, i64::from(parent));
        assert_eq!(record.text("process.parent.name")?, "guard-workload");
        assert_eq!(record.identity("process.parent")?, exit(parent)?.identity("process")?);
    }
    let killed = exit(grandchild)?;
    assert_eq!(killed.text("processguard.cause.sender.name")?, "guard-workload");
    assert_eq!(killed.identity("processguard.cause.sender")?, exit(child)?.identity("process")?);
    Ok(())
}

#[test]
fn started_in_a_storm_nothing_is_missed_or_doubled() -> Result<()> {
    for attach in ["auto", "classic"] {
        // On a busy machine one second of a storm may be too small to tell: then longer.
        let mut storms = [1, 2, 4, 8, 16, 32].into_iter().map(|seconds| seen_whole(attach, seconds));
        let enough = storms.find(|whole| !matches!(whole, Ok(0..100)));
        enough.context("even the longest storm was too small")??;
    }
    Ok(())
}

/// Starts a trace in the middle of a storm that goes on for some seconds, checks what it saw, and gives
/// how many children lived all their life in the trace's time.
fn seen_whole(attach: &str, seconds: u64) -> Result<usize> {
    let storm = Workload::start(&["storm", "--seconds", "600", "--parallel", "2", "--until-told"])?;
    let tracer = Tracer::start(&["--attach", attach])?;
    let attached = sys::boottime_ns();
    std::thread::sleep(Duration::from_secs(seconds));
    let truth: Truth = storm.finish()?;
    let trace = tracer.stop()?;
    assert_eq!(trace.lost_in_all()?, 0);
    let mut whole = 0;
    for child in truth.all("child") {
        let actions: Vec<_> = trace.of(child)?.iter().map(|record| record.action()).collect();
        // Whoever was born before is seen from some point on to its end.
        let complete = ["fork", "exec", "exit"];
        let all = *child.born()?.start() > attached;
        assert!(actions == complete || !all && complete.ends_with(&actions), "{actions:?}: {child:?}");
        whole += usize::from(all);
    }
    Ok(whole)
}

#[test]
fn a_parent_that_execs_later_is_named_by_its_new_name() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["run", "--", "/bin/sh", "-c", "/bin/true; exit 5"])?;
    let trace = tracer.stop()?;
    let shell = truth.one("program")?;
    let child = trace.all("exec").find(|exec| exec.number("process.parent.pid").ok() == shell.pid().ok());
    assert_eq!(child.context("no child")?.text("process.parent.name")?, "sh");
    assert_eq!(trace.one("exit", shell)?.number("process.exit_code")?, 5);
    Ok(())
}
