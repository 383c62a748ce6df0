//! Bad files and bad options of a trace: one clear line, a documented exit code.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use guard_tests::host;

use crate::refusals::{assert_refused, run};

#[test]
fn unwritable_output() -> Result<()> {
    // A file may refuse only what is written to it, so there is something to write.
    let _storm = guard_tests::truth::Workload::start(&["storm", "--seconds", "600"])?;
    for path in ["/no/such/directory/file", "/proc/version", "/tmp"] {
        let output = run(0, &["trace", "--output", path])?;
        assert_refused(&output, &[path])?;
    }
    Ok(())
}

#[test]
fn a_full_disk() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let script = "mount -t tmpfs -o size=64k tmpfs \"$1\" && shift && exec \"$@\"";
    let binary = host::processguard()?;
    let file = directory.path().join("events");
    let mut tracer = Command::new(host::tool("unshare")?)
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(binary)
        .args(["trace", "--format", "json", "--output"])
        .arg(&file)
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    let storm = guard_tests::truth::Workload::start(&["storm", "--seconds", "60"])?;
    let ended = host::wait_for("the trace's end", || Ok(tracer.try_wait()?));
    let _ = tracer.kill();
    drop(storm);
    let output = tracer.wait_with_output()?;
    ended?;
    assert_refused(&output, &["space"])
}

#[test]
fn filters_that_cannot_parse() -> Result<()> {
    let bad: [&[&str]; 9] = [
        &["--events", "fork,nonsense"],
        &["--comm", "[a"],
        &["--exe", "{a"],
        &["--pid", "x"],
        &["--uid", "-1"],
        &["--duration", "5"],
        &["--redact", "("],
        &["--ring-size", "5"],
        &["--cgroup", "/no/such/group"],
    ];
    for arguments in bad {
        let output = run(0, &[&["trace"], arguments].concat())?;
        assert_refused(&output, &[]).with_context(|| format!("{arguments:?}"))?;
        assert_eq!(output.stdout, b"");
    }
    Ok(())
}

#[test]
fn an_input_that_is_none() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("input");
    fs::write(&file, "{\"no\": \"event\"}\n")?;
    let name = file.to_str().context("path")?;
    assert_refused(&run(0, &["trace", "--input", name])?, &[&format!("{name}:1")])?;
    assert_refused(&run(0, &["trace", "--input", "/no/such/file"])?, &["/no/such/file"])
}
