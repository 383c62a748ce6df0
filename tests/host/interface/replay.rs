//! A saved stream, shown again.

use std::fs;

use anyhow::{Context, Result, ensure};
use guard_tests::tracer::{Tracer, trace_command};
use guard_tests::{host, truth};

/// Shows a saved stream to its end.
fn show(arguments: &[&str]) -> Result<String> {
    let ended = Tracer::spawn(&trace_command(arguments)?)?.wait()?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    Ok(String::from_utf8(ended.stdout)?)
}

/// The lines of these processes, one process after the other: between processes there is no order
/// that two traces must share.
fn lines_about(text: &str, pids: &[i64]) -> Vec<String> {
    let about = |pid: &i64| {
        let pid = pid.to_string();
        text.lines().filter(move |line| line.split_whitespace().any(|word| word == pid)).map(without_times)
    };
    pids.iter().flat_map(about).collect()
}

/// Two traces look at the same moment one after the other, so their times differ by some
/// microseconds: every number becomes one and the same, with its unit if that is a time's.
fn without_times(line: &str) -> String {
    let mark = |letter: char| if letter.is_ascii_digit() || letter == '.' { '#' } else { letter };
    let mut text: String = line.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(mark).collect();
    while text.contains("##") {
        text = text.replace("##", "#");
    }
    ["ns", "us", "ms"].iter().fold(text, |text, unit| text.replace(&format!("#{unit}"), "#s"))
}

#[test]
fn a_saved_stream_reads_as_it_did_live() -> Result<()> {
    let compact = ["--color", "never", "--events", "fork,exec,exit"];
    let tracer = Tracer::start(&["--events", "fork,exec,exit"])?;
    let people = Tracer::start_compact(&compact)?;
    let truths = [truth::run(&["run", "--times", "10", "--", "/bin/true"])?, truth::run(&["weird-argv"])?];
    let (trace, people) = (tracer.stop()?, people.interrupt()?);
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("saved.json");
    fs::write(&file, &trace.stdout)?;
    let name = file.to_str().context("path")?;
    let replayed = show(&[&["--input", name, "--format", "compact"], &compact[..]].concat())?;
    let live = String::from_utf8(people.stdout)?;
    let facts = truths.iter().flat_map(|truth| truth.all("program").chain(truth.all("process")));
    let pids: Vec<i64> = facts.map(|fact| fact.pid()).collect::<Result<_>>()?;
    let (live, replayed) = (lines_about(&live, &pids), lines_about(&replayed, &pids));
    assert!(live.len() >= 3 * pids.len(), "{live:?}");
    assert_eq!(replayed, live);
    Ok(())
}

#[test]
fn json_becomes_the_same_json() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    truth::run(&["killed-by-other-user"])?;
    truth::run(&["signals"])?;
    truth::run(&["fault", "--core"])?;
    truth::run(&["setuid-exec"])?;
    truth::run(&["weird-argv"])?;
    truth::run(&["listen"])?;
    truth::run(&["exec-path", "--kind", "deep"])?;
    let trace = tracer.stop()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("saved.json");
    fs::write(&file, &trace.stdout)?;
    let name = file.to_str().context("path")?;
    let again = show(&["--input", name, "--format", "json"])?;
    let original = std::str::from_utf8(&trace.stdout)?;
    let (mut count, mut lines) = (0, again.lines());
    for line in original.lines().filter(|line| !line.contains(r#""action":"summary""#)) {
        assert_eq!(lines.next(), Some(line));
        count += 1;
    }
    assert!(count > 50, "only {count} lines");
    Ok(())
}

#[test]
fn a_saved_stream_takes_the_same_filters() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["run", "--uid", "65531", "--", "/bin/true"])?;
    truth::run(&["run", "--", "/bin/true"])?;
    let trace = tracer.stop()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("saved.json");
    fs::write(&file, &trace.stdout)?;
    let name = file.to_str().context("path")?;
    let pid = truth.one("program")?.pid()?;
    for filter in [["--uid", "65531"], ["--pid", &pid.to_string()]] {
        let arguments = [&["--input", name, "--format", "json"], &filter[..]].concat();
        let shown = guard_tests::trace::Trace::parse(show(&arguments)?.into_bytes(), String::new())?;
        assert!(!shown.records.is_empty());
        assert!(shown.records.iter().all(|record| record.pid() == pid), "{filter:?}: {:?}", shown.records);
    }
    let children = ["--input", name, "--format", "json", "--tree", &truth.workload.to_string()];
    let shown = guard_tests::trace::Trace::parse(show(&children)?.into_bytes(), String::new())?;
    assert!(shown.with_pid("exec", pid).count() == 1);
    Ok(())
}

#[test]
fn a_saved_stream_needs_no_privileges() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let trace = {
        let tracer = Tracer::start(&["--events", "exec"])?;
        truth::run(&["run", "--", "/bin/true"])?;
        tracer.stop()?
    };
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let (file, program) = (directory.path().join("saved.json"), directory.path().join("processguard"));
    fs::write(&file, &trace.stdout)?;
    fs::copy(host::processguard()?, &program)?;
    let output = std::process::Command::new(program)
        .args(["trace", "--input"])
        .arg(file)
        .uid(65_534)
        .gid(65_534)
        .current_dir("/")
        .output()?;
    assert!(output.status.success(), "{output:?}");
    assert!(!output.stdout.is_empty());
    Ok(())
}
