//! Saved streams and what is shown of them, file beside file: see `golden/README.md`.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like the tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const STREAMS: [&str; 3] = ["session", "deaths", "hostile"];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn shown(stream: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_processguard"))
        .args(["trace", "--quiet", "--input"])
        .arg(file(&format!("{stream}.json")))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stderr, b"", "--quiet says nothing");
    String::from_utf8(output.stdout).unwrap()
}

fn compare(name: &str, shown: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file(name), shown).unwrap();
    }
    let expected = fs::read_to_string(file(name)).unwrap();
    for (number, (shown, expected)) in shown.lines().zip(expected.lines()).enumerate() {
        assert_eq!(shown, expected, "{name}:{}", number + 1);
    }
    assert_eq!(shown.lines().count(), expected.lines().count(), "{name}");
}

#[test]
fn compact() {
    for stream in STREAMS {
        compare(&format!("{stream}.compact"), &shown(stream, &["--timestamps", "utc"]));
    }
}

#[test]
fn colors_are_the_only_escape_sequences() {
    for stream in STREAMS {
        let colored = shown(stream, &["--timestamps", "utc", "--color", "always"]);
        compare(&format!("{stream}.color"), &colored);
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            let (code, after) = after.split_once('m').unwrap();
            assert!(code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'), "{code:?}");
            rest = after;
        }
        plain.push_str(rest);
        assert_eq!(plain, fs::read_to_string(file(&format!("{stream}.compact"))).unwrap());
    }
}

#[test]
fn json_stays_as_it_is() {
    for stream in STREAMS {
        compare(&format!("{stream}.json"), &shown(stream, &["--format", "json"]));
    }
}

#[test]
fn filters() {
    let lines = |stream, arguments: &[&str]| shown(stream, arguments).lines().count();
    assert_eq!(lines("session", &["--events", "listen"]), 2);
    assert_eq!(lines("session", &["--events", "exec,exit", "--comm", "[ls][sh]"]), 4);
    assert_eq!(lines("session", &["--exe", "*/nginx"]), 2);
    assert_eq!(lines("session", &["--uid", "1000"]), 2);
    assert_eq!(lines("session", &["--pid", "900", "--pid", "902"]), 4);
    assert_eq!(lines("session", &["--tree", "812"]), 8);
    assert_eq!(lines("session", &["--cgroup", "/sys/fs/cgroup/system.slice"]), 2);
    assert_eq!(lines("session", &["--container", "0123456789ab"]), 1);
    assert_eq!(lines("session", &["--count", "3"]), 3);
    // The gap passes them all, and is not counted.
    assert_eq!(lines("deaths", &["--comm", "no such name"]), 1);
    assert_eq!(lines("deaths", &["--events", "oom", "--count", "3"]), 3);
}

#[test]
fn redaction_reaches_every_form() {
    for format in ["json", "compact"] {
        let text = shown("hostile", &["--format", format, "--redact", "token=.*"]);
        assert!(!text.contains("secret") && text.contains("--[redacted]"), "{text}");
    }
    // Also in a line that is copied into another stream, and there the cut argument goes as a whole.
    let text = shown("hostile", &["--comm", "long", "--redact", "nothing like that"]);
    assert!(text.contains("x aaaa '[redacted]' ... (3 of 5000 arguments)"), "{text}");
}
