//! Policies held against what was recorded here.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guard_tests::recorder::{self, Place};
use guard_tests::{host, truth};

use crate::policies::policy_test;

/// A service that fails four times, of which the budget allows two restarts.
const POLICY: &str = "\
version: processguard/v1
service: shop
run: { command: [PROGRAM, nop] }
restart: { budget: 2/10m, backoff: { initial: 1ms, jitter: 0% } }
";

/// What is decided on: without the numbers of actions.
fn plans(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.split_once(" would #"));
    lines.filter_map(|(_, plan)| plan.split_once(' ')).map(|(_, plan)| plan).collect()
}

#[test]
fn what_was_recorded_is_decided_upon() -> Result<()> {
    let place = Place::new()?;
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("shop");
    fs::copy(host::guard_workload()?, &program).context("copy the workload")?;
    let policies = directory.path().join("shop.yaml");
    fs::write(&policies, POLICY.replace("PROGRAM", &program.display().to_string()))?;

    // All of them are kept: what was recorded first is decided on too.
    let recorder = place.record(&["--max-size", "64KiB", "--keep", "1000"])?;
    let filler = host::scaled_down("60", "200", "2000")?;
    for _ in 0..4 {
        let status = Command::new(&program).args(["nop", "--code", "3"]).status()?;
        ensure!(status.code() == Some(3), "{status}");
        // The backoff passes before somebody else starts it again; and the recording goes on in another file.
        truth::run(&["storm", "--count", filler])?;
        std::thread::sleep(Duration::from_millis(100) * host::slowness()?);
    }
    recorder::stop(recorder)?;
    let files = recorder::files(&place.recording())?;
    ensure!(files.len() >= 3, "rotated to {files:?} only");

    let output = policy_test(&place.recording(), &policies, &[])?;
    let told = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let plans = plans(&told);
    let restarts = plans.iter().filter(|plan| plan.starts_with("restart by ")).count();
    assert_eq!(restarts, 2, "{told}");
    let spent = plans.iter().filter(|plan| plan.contains("2 restarts in 10m are spent")).count();
    assert_eq!((spent, plans.len()), (2, 4), "{told}");
    assert!(told.contains("ended with exit code 3"), "{told}");

    // As a stream of events, it is decided the same.
    let stream = directory.path().join("shop.json");
    fs::write(&stream, place.replay(&[])?.stdout)?;
    let output = policy_test(&stream, &policies, &[])?;
    assert_eq!(String::from_utf8(output.stdout)?, told);
    damaged(&place.recording(), &policies, &told)
}

/// What is behind a bad place in a file is lost; what is in the other files is decided upon.
fn damaged(recording: &Path, policies: &Path, whole: &str) -> Result<()> {
    let files = recorder::files(recording)?;
    let (last, middle) = (files.last().context("no file")?, files.get(1).context("no second file")?);
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());

    // Its writer was killed in the middle of a frame: nothing is wrong with that.
    let bytes = fs::read(last)?;
    fs::write(last, bytes.get(..bytes.len() - 3).context("an empty file")?)?;
    let output = policy_test(recording, policies, &[])?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let cut = String::from_utf8(output.stdout)?;
    ensure!(plans(&cut) == plans(whole), "{cut}");

    // The end is damaged: told, once all before it was watched.
    let mut bad = bytes.clone();
    let end = bad.last_mut().context("an empty file")?;
    *end ^= 0x55;
    fs::write(last, &bad)?;
    let output = policy_test(recording, policies, &[])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(6), "{}: {said}", output.status);
    ensure!(said.contains(&name(last).context("name")?) && said.contains(": byte "), "{said}");
    let told = String::from_utf8(output.stdout)?;
    ensure!(plans(&told) == plans(whole), "{told}");
    fs::write(last, &bytes)?;

    // A gap: half of the second file is gone.
    let bytes = fs::read(middle)?;
    fs::write(middle, bytes.get(..bytes.len() / 2).context("an empty file")?)?;
    let output = policy_test(recording, policies, &[])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(6), "{}: {said}", output.status);
    ensure!(said.contains(&name(middle).context("name")?) && said.contains("ends in the middle"), "{said}");
    let told = String::from_utf8(output.stdout)?;
    ensure!(told.contains("2 restarts in 10m are spent") || plans(&told).len() < 4, "{told}");
    ensure!(plans(&told).iter().all(|plan| plans(whole).contains(plan)), "{told}\n{whole}");
    ensure!(!plans(&told).is_empty(), "{told}");
    fs::write(middle, bytes)?;
    Ok(())
}
