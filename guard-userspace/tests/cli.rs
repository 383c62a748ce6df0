//! Bad input and bad places: each ends with its exit code and one line that says what to do.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn processguard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_processguard"));
    command.env_remove("PROCESSGUARD_LOG").env_remove("NO_COLOR");
    command
}

fn trace(arguments: &[&str]) -> Output {
    processguard().arg("trace").args(arguments).output().unwrap()
}

/// Checks the exit code, that standard output is empty, and that standard error is one line with all
/// these pieces.
#[track_caller]
fn refused(output: &Output, code: i32, pieces: &[&str]) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert!(stderr.starts_with("processguard: ") && stderr.lines().count() == 1, "{stderr:?}");
    for piece in pieces {
        assert!(stderr.contains(piece), "{piece:?} is not in {stderr:?}");
    }
}

#[test]
fn options_that_cannot_be_read() {
    let cases: [(&[&str], &[&str]); 24] = [
        (&["--duration", "5"], &["--duration", "`5` has no unit: write 5s"]),
        (&["--duration", "5 minutes"], &["is not a unit"]),
        (&["--interval", "20"], &["--interval", "has no unit"]),
        (&["--max-size", "64M", "--output", "x"], &["--max-size", "64MiB (powers of 1024) or 64MB"]),
        (&["--max-size", "0B", "--output", "x"], &["--max-size"]),
        (&["--max-size", "64MiB"], &["--output"]),
        (&["--keep", "3", "--output", "x"], &["--max-size"]),
        (&["--keep", "0", "--max-size", "1MiB", "--output", "x"], &["--keep"]),
        (&["--ring-size", "10MiB"], &["--ring-size", "the next below is 8MiB"]),
        (&["--events", "fork,forks"], &["forks", "fork,exec,exit,signal,oom,listen"]),
        (&["--format", "yaml"], &["yaml", "compact, json"]),
        (&["--timestamps", "never"], &["never", "utc"]),
        (&["--color", "sometimes"], &["sometimes"]),
        (&["--pid", "0"], &["--pid", "number from 1"]),
        (&["--pid", "1", "--tree", "1"], &["--pid", "--tree", "cannot be used"]),
        (&["--uid", "no-such-user"], &["--uid", "id -u"]),
        (&["--comm", "[a"], &["--comm", "not a pattern", "unclosed"]),
        (&["--exe", "{a"], &["--exe", "not a pattern"]),
        (&["--redact", "("], &["--redact", "unclosed group"]),
        (&["--redact", "x*"], &["--redact", "empty text"]),
        (&["--cgroup", "system.slice"], &["--cgroup", "/sys/fs/cgroup/system.slice"]),
        (&["--container", "web"], &["--container", "12"]),
        (&["--count", "0"], &["--count"]),
        (&["--evnts", "fork"], &["--evnts", "--events"]),
    ];
    for (arguments, pieces) in cases {
        refused(&trace(arguments), 2, pieces);
    }
}

#[test]
fn options_of_the_kernel_do_not_go_with_an_input() {
    for option in [
        &["--interval", "20ms"][..],
        &["--ring-size", "8MiB"],
        &["--attach", "btf"],
        &["--child-signals"],
        &["--duration", "5s"],
    ] {
        refused(&trace(&[&["--input", "x"], option].concat()), 2, &["--input", option[0], "cannot be used"]);
    }
}

#[test]
fn what_was_given_is_not_repeated_unescaped() {
    let output = trace(&["--pid", "\x1b[2J\u{202e}7"]);
    refused(&output, 2, &[r"\xe2\x80\xae7"]);
    assert!(!output.stderr.contains(&0x1b), "clap leaves escape sequences out");
    let output = trace(&["--input", "/no/such/\x1b[2J"]);
    refused(&output, 6, &[r"/no/such/\x1b[2J"]);
}

#[test]
fn help_is_complete_and_goes_to_standard_output() {
    for arguments in [&["--help"][..], &["trace", "--help"]] {
        let output = processguard().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stderr, b"");
        let text = String::from_utf8(output.stdout).unwrap();
        for code in 0..=6 {
            assert!(text.lines().any(|line| line.starts_with(&format!("  {code}  "))), "{code}: {text}");
        }
    }
    let text = String::from_utf8(trace(&["--help"]).stdout).unwrap();
    assert!(text.contains("EXAMPLES") && text.contains("EXIT STATUS"));
    refused(&processguard().output().unwrap(), 2, &["trace", "probe", "--help"]);
}

#[test]
fn options_of_top() {
    let top = |arguments: &[&str]| processguard().arg("top").args(arguments).output().unwrap();
    refused(&top(&["--interval", "1"]), 2, &["--interval", "has no unit"]);
    refused(&top(&["--interval", "1ms"]), 2, &["--interval", "100ms"]);
    refused(&top(&["--sort", "size"]), 2, &["size", "cpu, memory, run-queue, restarts, age, pid"]);
    refused(&top(&["--view", "forest"]), 2, &["forest", "tree, list, groups"]);
    refused(&top(&["--json"]), 2, &["--once"]);
    refused(&top(&["--tree", "0"]), 2, &["--tree"]);
    // Standard output is a pipe here.
    refused(&top(&[]), 2, &["needs a terminal", "--once"]);
    let help = String::from_utf8(top(&["--help"]).stdout).unwrap();
    for part in ["KEYS", "EXAMPLES", "EXIT STATUS", "q, Ctrl-C", "--once --json"] {
        assert!(help.contains(part), "{part}");
    }
}

#[test]
fn options_of_record() {
    let record =
        |arguments: &[&str]| processguard().args(["record", "/nowhere"]).args(arguments).output().unwrap();
    refused(&record(&["--sweep", "1ns"]), 2, &["--sweep", "100ms"]);
    refused(&record(&["--interval", "0s"]), 2, &["--interval", "1ms"]);
    refused(&record(&["--keep", "0"]), 2, &["--keep", "1..=99999"]);
}

#[test]
fn completions_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = processguard().args(["completions", shell]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains("child-signals"), "{shell}");
    }
    refused(&processguard().args(["completions", "cmd"]).output().unwrap(), 2, &["cmd", "bash"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let input = golden("session.json");
    let input = input.to_str().unwrap();
    let to = |output: &str| trace(&["--input", input, "--quiet", "--output", output]);
    refused(&to("/no/such/directory/file"), 5, &["/no/such/directory/file", "No such file", "; "]);
    refused(&to("/tmp"), 5, &["/tmp", "directory"]);
    refused(&to("/dev/full"), 5, &["/dev/full", "No space left", "make room"]);
    let rotated = trace(&["--input", input, "--output", "/dev/null", "--max-size", "1MiB"]);
    refused(&rotated, 5, &["/dev/null", "not a regular file"]);
    // Standard output on a full disk is a failure too.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = processguard().args(["trace", "-q", "--input", input]).stdout(full).output().unwrap();
    refused(&output, 5, &["standard output", "No space left"]);
}

#[test]
fn inputs_that_cannot_be_read() {
    refused(
        &trace(&["--input", "/no/such/file"]),
        6,
        &["/no/such/file", "No such file", "trace --format json"],
    );
    refused(&trace(&["--input", "/tmp"]), 6, &["/tmp", "directory"]);

    let good = fs::read_to_string(golden("session.json")).unwrap();
    let line = good.lines().next().unwrap();
    let cases = [
        ("nonsense\n".to_owned(), ":1:2: expected"),
        ("{\"no\": \"event\"}\n".to_owned(), ":1:15: missing field `@timestamp`"),
        (line.replace("\"pid\":900", "\"pid\":-1") + "\n", "invalid value: integer `-1`, expected u32"),
        (line.replace("\"fork\"", "\"frok\"") + "\n", ":1: event.action: `frok` is not one of fork exec"),
        (line.replace("\"action\":\"fork\"", "\"action\":\"exec\"") + "\n", "exec without processguard.exec"),
        (line.replace("5f0c1c9e-", "zzzz-"), ":1: the last line is cut short"),
        (line.replace("5f0c1c9e-", "zzzz-") + "\n", "host.boot.id: `zzzz-"),
        (line.replace("2025-", "2025x") + "\n", "@timestamp"),
        (line.replace("-900-", "-901-") + "\n", "process.entity_id"),
        (line.get(..200).unwrap().to_owned(), ":1: the last line is cut short"),
        ("x".repeat(2 << 20), ":1: longer than"),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (number, (text, expected)) in cases.iter().enumerate() {
        let file = directory.path().join(format!("case-{number}.json"));
        fs::write(&file, text).unwrap();
        let name = file.to_str().unwrap();
        refused(&trace(&["--input", name]), 6, &[name, expected]);
    }

    // What stands before a bad line is shown, and the line is named.
    let file = directory.path().join("late.json");
    fs::write(&file, format!("{line}\n\n{line}\n{{}}\n")).unwrap();
    let output = trace(&["--input", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(6));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
    assert!(String::from_utf8(output.stderr).unwrap().contains("late.json:4:2: missing field"));
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    // Far more than a pipe holds.
    let many = fs::read(golden("deaths.json")).unwrap().repeat(2_000);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("many.json");
    fs::write(&file, many).unwrap();
    for format in ["compact", "json"] {
        let mut child = processguard()
            .args(["trace", "--format", format, "--input"])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("SIGTERM"), "{first}");
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{format}");
    }
}

#[test]
fn standard_input_is_shown_as_it_comes() {
    let mut child = processguard()
        .args(["trace", "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stream = fs::read_to_string(golden("session.json")).unwrap();
    let mut to = child.stdin.take().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    for line in stream.lines().take(3) {
        writeln!(to, "{line}").unwrap();
        // The stream is still open: a line must not wait for the next one.
        let mut shown = String::new();
        from.read_line(&mut shown).unwrap();
        assert!(shown.contains("  900  "), "{shown}");
    }
    // An interrupt ends it with its summary, although the input is still open.
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("3 seen, 3 shown, 0 lost\n"), "{stderr}");
    drop(to);
}

#[test]
fn a_stuck_reader_does_not_keep_it_alive() {
    let many = fs::read(golden("deaths.json")).unwrap().repeat(2_000);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("many.json");
    fs::write(&file, many).unwrap();
    let mut child = processguard()
        .args(["trace", "--input"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "nobody reads, so it must wait");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // The reader is there but does not read; standard output is dropped only after the end.
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(5));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.contains("standard output"), "{stderr}");
}

#[test]
fn rotation_loses_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.json");
    let stream = fs::read(golden("session.json")).unwrap().repeat(20);
    let input = directory.path().join("input.json");
    fs::write(&input, &stream).unwrap();
    let arguments = ["trace", "-q", "--format", "json", "--max-size", "64KiB", "--keep", "9", "--output"];
    let status = processguard().args(arguments).arg(&path).arg("--input").arg(&input).status().unwrap();
    assert!(status.success());
    let mut all = Vec::new();
    for number in (0..=9).rev() {
        let name = if number == 0 { path.clone() } else { path.with_extension(format!("json.{number}")) };
        let Ok(part) = fs::read(name) else { continue };
        assert!(part.len() <= 64 * 1024 && part.ends_with(b"\n"));
        all.extend(part);
    }
    let lines = |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
    // Each copy has 12 events; the summaries of the copies give way to the one of this run.
    assert_eq!(lines(&all), 20 * 12 + 1);
    assert!(all.len() > 2 * 64 * 1024);
}
