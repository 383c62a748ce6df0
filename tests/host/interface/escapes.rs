//! Strange bytes that processes choose: kept for programs, harmless for people.

use anyhow::{Context, Result, ensure};
use guard_tests::tracer::Tracer;
use guard_tests::truth;

#[test]
fn strange_bytes_are_kept_in_json_and_harmless_in_text() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let people = Tracer::start_compact(&[])?;
    let truth = truth::run(&["weird-argv"])?;
    let (trace, people) = (tracer.stop()?, people.interrupt()?);
    let process = truth.one("process")?;
    let exec = trace.one("exec", process)?;
    assert_eq!(exec.args()?, process.list("args")?);
    assert_eq!(exec.number("process.args_count")?, i64::try_from(process.list("args")?.len())?);
    let path = process.bytes("executable")?;
    assert_eq!(exec.bytes("process.executable")?, path);
    let name = path.rsplit(|&byte| byte == b'/').next().context("no name")?;
    assert_eq!(exec.bytes("process.name")?, name);
    assert_harmless(&trace.stdout)?;
    assert_harmless(&people.stdout)?;
    let text = String::from_utf8(people.stdout)?;
    let line = text.lines().find(|line| line.contains("title")).context("no such line")?;
    for escaped in [r"\x1b[31mred", r"two\nlines\x0d\tand", r"\xff\xfe not", r"right-to-left \xe2\x80\xae"] {
        assert!(line.contains(escaped), "{escaped} is not in {line}");
    }
    Ok(())
}

/// Nothing that moves the cursor, changes colours or turns the line around.
fn assert_harmless(output: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(output).context("not UTF-8")?;
    let bidi = |letter| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    for line in text.lines() {
        let bad = line.chars().find(|&letter| letter.is_control() || bidi(letter));
        ensure!(bad.is_none(), "{bad:?} in {}", line.escape_debug());
    }
    Ok(())
}

#[test]
fn a_name_reads_as_text_in_a_cause() -> Result<()> {
    let tracer = Tracer::start_compact(&["--color", "never"])?;
    let truth = truth::run(&["killed-by-other-user", "--killer-name", "\u{1b}[31mred"])?;
    let text = String::from_utf8(tracer.interrupt()?.stdout)?;
    let words = format!("from \\x1b[31mred[{}] (uid 0)", truth.one("killer")?.pid()?);
    assert!(text.contains(&words), "nowhere: {words}");
    Ok(())
}
