//! After start-up the trace opens nothing, least of all under `/proc`: strace is the witness.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result, ensure};
use guard_tests::tracer::{Sentinel, Tracer, json, trace_command};
use guard_tests::{host, truth};

/// System calls that name a file.
const CALLS: &str = "trace=%file,openat2,open_by_handle_at";

/// Ways to run a program whose path a tracer could only ask `/proc` for.
const KINDS: [&str; 6] =
    ["relative", "fexecve", "deleted-directory", "executable-in-deleted-directory", "tmpfs", "bind"];

#[test]
fn nothing_is_opened_after_start_up() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("strace");
    // -D: strace is the grandchild, so that the child that we know is the trace itself.
    let mut command: Vec<OsString> = vec![host::tool("strace")?.into()];
    command.extend(["-D", "-f", "-y", "-ttt", "-e", CALLS, "-o"].map(OsString::from));
    command.push(log.clone().into());
    command.extend(trace_command(&json(&[]))?);
    let mut tracer = Tracer::spawn(&command)?;
    tracer.wait_until_attached(&mut Sentinel::new("sentinel")?)?;
    let attached = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    let truths = KINDS.map(|kind| truth::run(&["exec-path", "--kind", kind]));
    let pid_namespace = truth::run(&["pidns"])?;
    let trace = tracer.stop()?;
    let text = fs::read_to_string(&log).context("read strace's log")?;
    let calls: Vec<_> = text.lines().filter_map(call).collect();
    let (before, after): (Vec<_>, Vec<_>) = calls.iter().partition(|(time, _)| *time < attached);
    ensure!(before.iter().any(|(_, call)| call.contains("/sys/kernel/btf")), "strace saw no start-up");
    assert!(after.is_empty(), "{after:#?}");
    // It was not blind meanwhile.
    for (kind, truth) in KINDS.iter().zip(truths) {
        let truth = truth?;
        let (exec, report) = (trace.one("exec", truth.one("process")?)?, truth.one("report")?);
        for (ours, theirs) in
            [("process.executable", "executable"), ("process.working_directory", "working_directory")]
        {
            let theirs = report.text(theirs)?;
            assert_eq!(exec.text(ours)?, theirs.strip_suffix(" (deleted)").unwrap_or(theirs), "{kind}");
        }
    }
    let second = pid_namespace.one("second")?;
    assert_eq!(trace.with_pid("fork", second.pid()?).count(), 1);
    Ok(())
}

/// When a call was made, and what; no signals and ends of processes.
fn call(line: &str) -> Option<(f64, &str)> {
    let (_pid, rest) = line.split_once(' ')?;
    let (time, call) = rest.trim_start().split_once(' ')?;
    (!call.starts_with("---") && !call.starts_with("+++")).then_some((time.parse().ok()?, call))
}
