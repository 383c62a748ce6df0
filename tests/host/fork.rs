//! Who is whose child: twin of the kernel's `fork.rs`.

use anyhow::{Context, Result};
use guard_tests::tracer::Tracer;
use guard_tests::truth;

#[test]
fn a_double_fork_keeps_its_lineage() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["double-fork"])?;
    let trace = tracer.stop()?;
    let (child, grandchild) = (truth.one("child")?, truth.one("grandchild")?);
    let (child_fork, fork) = (trace.one("fork", child)?, trace.one("fork", grandchild)?);
    assert_eq!(child_fork.number("process.parent.pid")?, i64::from(truth.workload));
    assert_eq!(fork.identity("process.parent")?, child_fork.identity("process")?);
    assert_eq!(trace.one("exit", child)?.number("process.exit_code")?, 22);
    let exit = trace.one("exit", grandchild)?;
    assert_eq!(exit.identity("process")?, fork.identity("process")?);
    assert_eq!(exit.number("process.exit_code")?, 23);
    assert_eq!(exit.number("process.parent.pid")?, i64::from(truth.workload), "the subreaper adopted it");
    assert_eq!(exit.identity("process.parent")?, child_fork.identity("process.parent")?);
    Ok(())
}

#[test]
fn processes_in_a_pid_namespace_have_both_pids() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["pidns"])?;
    let trace = tracer.stop()?;
    let mut identities = Vec::new();
    for what in ["first", "second"] {
        let fact = truth.one(what)?;
        let mut forks = trace.with_pid("fork", fact.pid()?);
        let fork = forks.find(|fork| fork.number("process.vpid").ok() == fact.number("inner_pid").ok());
        let fork = fork.with_context(|| format!("no fork of {fact:?}"))?;
        assert_eq!(fork.number("processguard.pid_namespace")?, fact.number("namespace")?);
        identities.push(fork.identity("process")?);
    }
    let second = trace.all("fork").find(|fork| fork.identity("process").ok() == Some(identities[1]));
    assert_eq!(second.context("no fork")?.identity("process.parent")?, identities[0]);
    assert_eq!(trace.one("exit", truth.one("first's end")?)?.number("process.exit_code")?, 4);
    // The kernel kills whoever is left in a pid namespace without its first process.
    let exit = trace.all("exit").find(|exit| exit.identity("process").ok() == Some(identities[1]));
    let exit = exit.context("no exit of the second process")?;
    assert_eq!(exit.number("processguard.signal.number")?, i64::from(libc::SIGKILL));
    assert_eq!(exit.text("processguard.cause.kind")?, "kernel");
    Ok(())
}
