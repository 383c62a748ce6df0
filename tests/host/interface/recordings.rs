//! The files of a recording.

use std::time::Duration;

use anyhow::{Context, Result};
use guard_tests::recorder::{self, Place};
use guard_tests::truth;

use crate::recorder::{age, check};

#[test]
fn files_rotate_and_each_is_complete_in_itself() -> Result<()> {
    let place = Place::new()?;
    let recorder = place.record(&["--max-size", "256KiB", "--keep", "3"])?;
    for _ in 0..6 {
        truth::run(&["storm", "--count", "400"])?;
    }
    let truth = truth::run(&["run", "--times", "5", "--", "/bin/true"])?;
    std::thread::sleep(Duration::from_millis(100));
    recorder::stop(recorder)?;
    let files = recorder::files(&place.recording())?;
    assert_eq!(files.len(), 3, "{files:?}");
    let trace = place.replay(&[])?;
    for program in truth.all("program") {
        check(&trace, program)?;
    }
    // A process that lived before the oldest file is known in it, with its program.
    let own = std::process::id();
    let fork = trace.all("fork").find(|fork| fork.number("process.parent.pid").ok() == Some(own.into()));
    let fork = fork.context("no fork of this test")?;
    let executable = std::env::current_exe()?;
    assert_eq!(fork.text("process.executable")?, executable.to_str().context("path")?, "{}", fork.0);
    Ok(())
}

#[test]
fn secrets_are_written_nowhere() -> Result<()> {
    let place = Place::new()?;
    // One is there already, one is recorded while nobody reads, one while somebody does.
    let sleeper = |secret: &str| {
        std::process::Command::new("/bin/sh")
            .args(["-c", "read x", secret])
            .stdin(std::process::Stdio::piped())
            .spawn()
    };
    let redact = ["--redact", "hunter[0-9]+"];
    let mut sleepers = vec![sleeper("hunter1")?];
    place.record(&redact)?.kill()?;
    sleepers.push(sleeper("hunter2")?);
    age(&place, "v1-00000000")?;
    let recorder = place.record(&redact)?;
    sleepers.push(sleeper("hunter3")?);
    std::thread::sleep(Duration::from_millis(200));
    recorder::stop(recorder)?;
    for mut sleeper in sleepers {
        drop(sleeper.stdin.take());
        sleeper.wait()?;
    }
    let mut marks = 0;
    for file in recorder::files(&place.recording())? {
        let bytes = std::fs::read(&file)?;
        let count = |what: &[u8]| bytes.windows(what.len()).filter(|window| *window == what).count();
        for secret in [b"hunter1", b"hunter2", b"hunter3"] {
            assert_eq!(count(secret), 0, "{}", file.display());
        }
        marks += count(b"[redacted]");
    }
    assert!(marks >= 3, "{marks}");
    Ok(())
}
