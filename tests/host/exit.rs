//! How processes end, and why: twin of the kernel's `exit.rs`.

use anyhow::{Context, Result};
use guard_tests::record::Record;
use guard_tests::trace::Trace;
use guard_tests::tracer::Tracer;
use guard_tests::truth::{self, Fact};

/// The exit record of a process, after a check that it says what `wait()` said.
fn exit<'a>(trace: &'a Trace, process: &Fact) -> Result<&'a Record> {
    let exit = trace.one("exit", process)?;
    assert_eq!(exit.number("process.exit_code").ok(), process.exit_code()?, "{}", exit.0);
    assert_eq!(exit.number("processguard.signal.number").ok(), process.signal()?, "{}", exit.0);
    assert_eq!(exit.flag("processguard.signal.core"), process.core()?, "{}", exit.0);
    let life = exit.field("processguard.lifetime_ns").and_then(serde_json::Value::as_u64);
    let life = life.context("no lifetime")?;
    let longest = process.time("reaped_ns")? - process.born()?.start();
    assert!(life <= longest, "lived {life} ns of at most {longest}");
    assert_eq!(exit.start_ns()? + life, exit.time_ns()?);
    Ok(exit)
}

#[test]
fn exit_codes() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let codes = ["0", "1", "42", "255"];
    let truths = codes.map(|code| truth::run(&["exit-code", "--code", code]));
    let trace = tracer.stop()?;
    for (code, truth) in codes.iter().zip(truths) {
        let truth = truth?;
        let exit = exit(&trace, truth.one("process")?)?;
        assert_eq!(exit.number("process.exit_code")?.to_string(), *code);
        assert_eq!(exit.text("processguard.cause.kind")?, "own");
    }
    Ok(())
}

#[test]
fn a_process_ends_with_its_last_thread() -> Result<()> {
    for more in [&[][..], &["--group"], &["--leader", "0", "--thread", "1"]] {
        let tracer = Tracer::start(&[])?;
        let truth = truth::run(&[&["thread-outlives-leader"], more].concat())?;
        let trace = tracer.stop()?;
        let (process, thread) = (truth.one("process")?, truth.one("last thread")?);
        let exit = exit(&trace, process)?;
        assert!(exit.time_ns()? > thread.time("alive_ns")?, "the end was reported while a thread lived");
        assert_eq!(exit.text("process.name")?, "guard-workload", "named after a thread");
        assert_eq!(trace.of(process)?.iter().filter(|record| record.action() == "fork").count(), 1);
    }
    Ok(())
}

#[test]
fn faults_and_their_core_files() -> Result<()> {
    let cases = [("segv", "--core"), ("segv", "--no-core"), ("bus", "--no-core"), ("ill", "--core")];
    let tracer = Tracer::start(&[])?;
    let truths = cases.map(|(kind, core)| truth::run(&["fault", "--kind", kind, core]));
    let trace = tracer.stop()?;
    for ((kind, core), truth) in cases.iter().zip(truths) {
        let truth = truth?;
        let process = truth.one("process")?;
        assert_eq!(process.core()?, *core == "--core", "{kind}: this machine's core_pattern is in the way");
        assert_eq!(exit(&trace, process)?.text("processguard.cause.kind")?, "fault", "{kind}");
    }
    Ok(())
}

#[test]
fn a_signal_to_oneself_is_nobody_elses() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let signals = [libc::SIGTERM, libc::SIGKILL, libc::SIGABRT].map(|number| number.to_string());
    let truths = signals.map(|number| truth::run(&["self-kill", "--signal", &number]));
    let trace = tracer.stop()?;
    for truth in truths {
        let truth = truth?;
        let exit = exit(&trace, truth.one("process")?)?;
        assert_eq!(exit.text("processguard.cause.kind")?, "own");
    }
    Ok(())
}

#[test]
fn a_kill_names_its_sender() -> Result<()> {
    for uid in ["0", "65533"] {
        let tracer = Tracer::start(&[])?;
        let people = Tracer::start_compact(&["--color", "never"])?;
        let truth =
            truth::run(&["killed-by-other-user", "--killer-uid", uid, "--killer-name", "the killer"])?;
        let (trace, people) = (tracer.stop()?, people.interrupt()?);
        let (victim, killer) = (truth.one("victim")?, truth.one("killer")?);
        let exit = exit(&trace, victim)?;
        assert_eq!(exit.text("process.user.id")?, "65534");
        assert_eq!(exit.text("processguard.cause.kind")?, "signal");
        assert_eq!(exit.number("processguard.cause.sender.pid")?, killer.pid()?);
        assert_eq!(exit.text("processguard.cause.sender.name")?, killer.text("name")?);
        assert_eq!(exit.text("processguard.cause.sender.user.id")?, uid);
        let killer_exit = trace.one("exit", killer)?;
        assert_eq!(exit.identity("processguard.cause.sender")?, killer_exit.identity("process")?);
        let words = format!("killed by SIGKILL from the killer[{}] (uid {uid})", killer.pid()?);
        let text = String::from_utf8(people.stdout)?;
        assert!(text.contains(&words), "nowhere: {words}");
    }
    Ok(())
}

#[test]
fn a_kill_by_a_thread_names_the_process() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["killed-by-other-user", "--by-thread", "--killer-name", "the-process"])?;
    let trace = tracer.stop()?;
    let exit = exit(&trace, truth.one("victim")?)?;
    assert_eq!(exit.number("processguard.cause.sender.pid")?, truth.one("killer")?.pid()?);
    assert_eq!(exit.text("processguard.cause.sender.name")?, "the-process");
    Ok(())
}
