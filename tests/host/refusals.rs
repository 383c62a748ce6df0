//! Bad places and bad input: one clear line, a documented exit code, nothing left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use guard_tests::{bpf, host};
use tempfile::TempDir;

/// The product in a place that every user may reach.
fn public() -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let program = directory.path().join("processguard");
    fs::copy(host::processguard()?, &program)?;
    Ok((directory, program))
}

/// Runs the product to its end as a user.
fn run(uid: u32, arguments: &[&str]) -> Result<Output> {
    let (_directory, program) = public()?;
    let output = Command::new(program).args(arguments).uid(uid).gid(uid).output()?;
    println!("{arguments:?} {:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// Checks for a failure that says why in a few words, with a code that `--help` tells.
fn assert_refused(output: &Output, words: &[&str]) -> Result<()> {
    let stderr = String::from_utf8(output.stderr.clone())?;
    let code = output.status.code().context("it was killed")?;
    ensure!(code != 0 && code != 101, "exit code {code}: {stderr}");
    let help = run(0, &["trace", "--help"])?;
    let help = String::from_utf8(help.stdout)?;
    let documented = help.lines().any(|line| line.trim_start().starts_with(&format!("{code} ")));
    ensure!(documented, "exit code {code} is not in --help:\n{help}");
    for word in words {
        ensure!(stderr.to_lowercase().contains(&word.to_lowercase()), "no {word:?} in: {stderr}");
    }
    ensure!(stderr.lines().count() <= 6, "a long story: {stderr}");
    Ok(())
}

#[test]
fn without_root() -> Result<()> {
    let output = run(65_534, &["trace", "--format", "json"])?;
    assert_refused(&output, &["root"])?;
    assert_eq!(output.stdout, b"");
    Ok(())
}

#[test]
fn without_root_the_probe_says_what_is_missing() -> Result<()> {
    let output = run(65_534, &["probe"])?;
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout)?.to_lowercase().contains("cap_"));
    Ok(())
}

#[test]
fn the_probe_agrees_with_the_trace() -> Result<()> {
    let output = run(0, &["probe", "--json"])?;
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout)?;
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).with_context(|| line.to_owned())?;
    }
    let human = run(0, &["probe"])?;
    assert_eq!(human.status.code(), Some(0));
    Ok(())
}

#[test]
fn unwritable_output() -> Result<()> {
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

#[test]
fn a_refusal_leaves_nothing_half_attached() -> Result<()> {
    let before = bpf::Objects::existing()?;
    // A pid that cannot be: found out before or after the programs are loaded.
    run(0, &["trace", "--cgroup", "/no/such/group"])?;
    run(0, &["trace", "--output", "/no/such/directory/file"])?;
    run(65_534, &["trace"])?;
    let new = bpf::Objects::existing()?.without(&before);
    crate::restarts::assert_gone(&new)
}
