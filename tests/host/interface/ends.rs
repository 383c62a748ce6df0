//! Ways in which a trace ends by itself.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use guard_tests::tracer::{Tracer, json, trace_command};
use guard_tests::truth::{self, Workload};
use guard_tests::{bpf, host};

#[test]
fn after_a_count() -> Result<()> {
    let tracer = Tracer::spawn(&trace_command(&json(&["--count", "7", "--events", "exec"]))?)?;
    let _storm = Workload::start(&["storm", "--seconds", "60"])?;
    let trace = tracer.finish()?;
    assert_eq!(trace.records.len(), 7);
    assert!(trace.records.iter().all(|record| record.action() == "exec"));
    Ok(())
}

#[test]
fn after_a_duration() -> Result<()> {
    // No process need to do anything for it to end.
    let tracer = Tracer::spawn(&trace_command(&json(&["--duration", "1s", "--events", "listen"]))?)?;
    let trace = tracer.finish()?;
    assert_eq!(trace.records.iter().filter(|record| record.action() != "listen").count(), 0);
    Ok(())
}

#[test]
fn quietly_when_nobody_reads_any_more() -> Result<()> {
    for format in ["compact", "json"] {
        let command = trace_command(&["--format", format])?;
        let (program, arguments) = command.split_first().context("no program")?;
        let mut child =
            Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let _storm = Workload::start(&["storm", "--seconds", "60"])?;
        let mut reader = BufReader::new(child.stdout.take().context("no output")?);
        for _ in 0..3 {
            assert!(reader.read_line(&mut String::new())? > 0, "the trace ended before its reader");
        }
        drop(reader);
        let ended = host::wait_for("the trace's end", || Ok(child.try_wait()?));
        let _ = child.kill();
        let output = child.wait_with_output()?;
        assert_eq!(ended?.code(), Some(0), "{output:?}");
        let stderr = String::from_utf8(output.stderr)?;
        assert!(!stderr.to_lowercase().contains("pipe"), "{stderr}");
    }
    Ok(())
}

#[test]
fn by_any_polite_signal_with_a_summary() -> Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut tracer = Tracer::start(&[])?;
        let truth = truth::run(&["exit-code", "--code", "3"])?;
        tracer.signal(signal)?;
        let trace = tracer.finish()?;
        trace.one("exit", truth.one("process")?)?;
        assert!(trace.stderr.contains("lost"), "no summary for people: {:?}", trace.stderr);
    }
    Ok(())
}

#[test]
fn with_nothing_left_in_the_kernel() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let held = bpf::Objects::held_by(tracer.pid())?;
    assert!(!held.programs.is_empty() && !held.maps.is_empty(), "{held:?}");
    tracer.stop()?;
    crate::restarts::assert_gone(&held)
}
