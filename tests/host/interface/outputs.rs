//! What is written, and where.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use guard_tests::trace::Trace;
use guard_tests::tracer::{Tracer, json, trace_command};
use guard_tests::truth::{self, Workload};

#[test]
fn a_file_has_what_standard_output_would() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("events.json");
    let name = path.to_str().context("path")?;
    let tracer =
        Tracer::spawn(&trace_command(&json(&["--output", name, "--events", "exec", "--count", "5"]))?)?;
    let _storm = Workload::start(&["storm", "--seconds", "60"])?;
    let ended = tracer.wait()?;
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(ended.stdout, b"");
    let trace = Trace::parse(fs::read(&path)?, ended.stderr)?;
    assert_eq!(trace.records.len(), 5);
    Ok(())
}

#[test]
fn files_rotate_and_lose_no_line() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("events.json");
    let name = path.to_str().context("path")?;
    let limits = ["--max-size", "64KiB", "--keep", "100", "--count", "500"];
    let arguments = json(&[&["--output", name, "--events", "exec"], &limits[..]].concat());
    let tracer = Tracer::spawn(&trace_command(&arguments)?)?;
    let _storm = Workload::start(&["storm", "--seconds", "60"])?;
    let ended = tracer.wait()?;
    assert!(ended.status.success(), "{ended:?}");
    let mut files: Vec<_> =
        fs::read_dir(directory.path())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    // FILE.2 is older than FILE.1, which is older than FILE.
    files.sort_by_key(|file| std::cmp::Reverse(number(file)));
    assert!(files.len() > 2, "{files:?}");
    let mut text = Vec::new();
    for file in &files {
        let part = fs::read(file)?;
        assert!(part.len() <= 64 << 10, "{}: {} bytes", file.display(), part.len());
        assert!(part.ends_with(b"\n"), "{}: cut within a line", file.display());
        text.extend(part);
    }
    assert_eq!(Trace::parse(text, ended.stderr)?.records.len(), 500);
    Ok(())
}

fn number(file: &Path) -> u32 {
    file.extension().and_then(|number| number.to_str()?.parse().ok()).unwrap_or(0)
}

#[test]
fn secrets_do_not_leave() -> Result<()> {
    let redact = ["--redact", r"(?i)password=\S+", "--redact", "hunter[0-9]"];
    let tracer = Tracer::start(&redact)?;
    let people = Tracer::start_compact(&redact)?;
    let truth = truth::run(&["run", "--", "/bin/true", "user=me", "Password=correct-horse", "x-hunter2-y"])?;
    let (trace, people) = (tracer.stop()?, people.interrupt()?);
    for output in [&trace.stdout, &people.stdout] {
        let text = std::str::from_utf8(output)?;
        assert!(!text.contains("correct-horse") && !text.contains("hunter2"), "a secret has left");
        assert!(text.contains("user=me"));
    }
    let exec = trace.one("exec", truth.one("program")?)?;
    assert_eq!(exec.number("process.args_count")?, 4);
    assert!(exec.text("process.command_line")?.contains("[redacted]"));
    Ok(())
}
