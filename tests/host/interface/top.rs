//! `processguard top` on a terminal: what a person sees and does, and how it is left behind.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guard_tests::bpf::Objects;
use guard_tests::pty::{Modes, Terminal};
use guard_tests::{host, sys};
use serde_json::Value;
use tempfile::TempDir;

use crate::restarts::assert_gone;

/// A terminal of the usual size, with top on it that shows processes.
fn top(arguments: &[&str]) -> Result<(Terminal, Modes)> {
    let program = host::processguard()?;
    let arguments: Vec<&OsStr> = ["top"].iter().chain(arguments).map(OsStr::new).collect();
    let (mut terminal, before) = Terminal::start(24, 80, program.as_os_str(), &arguments)?;
    terminal.wait_for("q quit")?;
    Ok((terminal, before))
}

/// A process that waits until it is told to end, under a name of its own.
struct Waiting {
    child: Child,
    _directory: TempDir,
}

impl Waiting {
    fn start(name: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join(name);
        std::os::unix::fs::symlink(host::guard_workload()?, &program)?;
        let child = Command::new(program)
            .args(["nop", "--hold"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("start a process that waits")?;
        Ok(Self { child, _directory: directory })
    }

    fn kill(mut self, signal: i32) -> Result<()> {
        sys::kill(self.child.id().cast_signed(), signal)?;
        self.child.wait().map(drop).context("wait")
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks that the terminal is as it was, and that nothing of the program is left in the kernel.
fn assert_clean(terminal: &mut Terminal, before: &Modes, objects: &Objects) -> Result<()> {
    assert_eq!(terminal.modes()?, *before);
    assert_gone(objects)
}

#[test]
fn a_process_and_its_death_with_the_cause() -> Result<()> {
    let (mut terminal, _) = top(&["--interval", "200ms", "--view", "list"])?;
    let victim = Waiting::start("pg-top-victim")?;
    // Filtered, so that the machine's other processes do not push it off the screen.
    terminal.type_in("fpg-top-victim\r")?;
    // Its numbers come with the first sample after its birth.
    terminal.wait_until("its user and its memory", |terminal| {
        let line = terminal.line("pg-top-victim nop");
        line.is_some_and(|(_, line)| line.contains("root") && line.contains("iB"))
    })?;
    victim.kill(libc::SIGKILL)?;
    let killer = std::process::id();
    terminal.wait_until("its death", |terminal| {
        terminal.line("killed by SIGKILL").is_some_and(|(_, line)| line.contains("pg-top-victim"))
    })?;
    terminal.wait_until("its line to go", |terminal| terminal.line("pg-top-victim nop").is_none())?;
    // The details of the dead: cause and the whole life.
    terminal.type_in("d")?;
    terminal.wait_for("x failures only")?;
    terminal.type_in("x")?;
    terminal.wait_for("exit code 0 left out")?;
    terminal.type_in("d")?;
    terminal.type_in("d\r")?;
    terminal.wait_for("pg-top-victim: dead")?;
    terminal.wait_until("cause and killer", |terminal| {
        let cause = terminal.line("cause").map(|(_, line)| line).unwrap_or_default();
        cause.contains("killed by SIGKILL from") && cause.contains(&format!("[{killer}]"))
    })?;
    terminal.type_in("\x1b[F")?;
    terminal.wait_until("the end of its timeline", |terminal| {
        let exits = terminal.line(" exit ").is_some_and(|(_, line)| line.contains("killed by SIGKILL"));
        exits && terminal.line(" signal ").is_some_and(|(_, line)| line.contains("SIGKILL from"))
    })?;
    Ok(())
}

#[test]
fn sort_search_views_pause_and_details() -> Result<()> {
    let waiting = [Waiting::start("pg-top-b")?, Waiting::start("pg-top-a")?];
    let busy = Command::new("sh").args(["-c", "while :; do :; done", "pg-top-busy"]).spawn()?;
    let _busy = Waiting { child: busy, _directory: tempfile::tempdir()? };
    let (mut terminal, _) = top(&["--interval", "200ms", "--view", "list", "--filter", "PG-TOP-"])?;
    let order = |terminal: &Terminal| {
        ["pg-top-b nop", "pg-top-a nop", "sh -c 'while"].map(|part| terminal.line(part).map(|(at, _)| at))
    };
    // The busy one first, and so is its line.
    terminal.wait_until(
        "the busy one to be first",
        |terminal| matches!(order(terminal), [Some(b), Some(a), Some(busy)] if busy < a && busy < b),
    )?;
    let figure = |terminal: &Terminal| -> Option<f64> {
        terminal.line("sh -c 'while")?.1.split_whitespace().nth(2)?.parse().ok()
    };
    terminal
        .wait_until("its share of a CPU", |terminal| figure(terminal).is_some_and(|share| share > 10.0))?;
    // By pid, backwards: cpu is the second key, pid the first.
    terminal.type_in("<")?;
    terminal.wait_for("list by pid")?;
    terminal.wait_until(
        "the order of birth",
        |terminal| matches!(order(terminal), [Some(b), Some(a), Some(busy)] if b < a && a < busy),
    )?;
    terminal.type_in("r")?;
    terminal.wait_for("list by pid reversed")?;
    terminal.wait_until(
        "the reverse",
        |terminal| matches!(order(terminal), [Some(b), Some(a), Some(busy)] if b > a && a > busy),
    )?;
    // A search selects.
    terminal.type_in("/top-a\r")?;
    terminal.wait_until("the selection on what was found", |terminal| {
        terminal.reversed().iter().any(|line| line.contains("pg-top-a"))
    })?;
    // Its details, by Enter, and back.
    terminal.type_in("\r")?;
    let heading = format!("Process {} pg-top-a", waiting[1].child.id());
    terminal.wait_for(&heading)?;
    terminal.wait_for("TIMELINE")?;
    // A long path goes on in the next line.
    let words: String = terminal.text().split_whitespace().collect();
    ensure!(words.contains("/guard-workload"), "no executable:\n{}", terminal.text());
    terminal.type_in("\x1b")?;
    terminal.wait_until("the table", |terminal| terminal.line("COMMAND").is_some())?;
    // Paused, the screen stands still, while the kernel is watched on.
    terminal.type_in(" ")?;
    terminal.wait_for("PAUSED")?;
    let still = terminal.text();
    drop(waiting);
    std::thread::sleep(Duration::from_millis(600));
    terminal.type_in("\x0c")?;
    terminal.wait_until("the same picture", |terminal| terminal.text() == still)?;
    terminal.type_in(" ")?;
    terminal.wait_until("both to be gone", |terminal| matches!(order(terminal), [None, None, Some(_)]))?;
    terminal.wait_until("both deaths", |terminal| {
        ["pg-top-a ", "pg-top-b "]
            .iter()
            .all(|name| terminal.line(name).is_some_and(|(_, line)| line.contains("SIGKILL")))
    })?;
    // Without the filter, other views.
    terminal.type_in("\x1b")?;
    terminal.type_in("\x1b")?;
    terminal.type_in("g")?;
    terminal.wait_for("PROCS")?;
    terminal.type_in("t")?;
    terminal.wait_for("tree by pid")?;
    terminal.type_in("?")?;
    terminal.wait_for("KEYS")?;
    terminal.type_in("\x1b[F")?;
    terminal.wait_for("half of the times")?;
    Ok(())
}

#[test]
fn a_service_that_comes_back_is_counted() -> Result<()> {
    let (mut terminal, _) = top(&["--interval", "200ms", "--view", "list", "--filter", "pg-top-again"])?;
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("pg-top-again");
    // A copy: restarts are told apart by the executable, and others run the workload meanwhile.
    std::fs::copy(host::guard_workload()?, &program)?;
    for code in ["1", "2"] {
        let status = Command::new(&program).args(["nop", "--code", code]).status()?;
        ensure!(!status.success(), "{status}");
    }
    let child =
        Command::new(&program).args(["nop", "--hold"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let _last = Waiting { child, _directory: directory };
    // PID USER CPU% RSS p50 p99 RST
    let restarts = |terminal: &Terminal| -> Option<u32> {
        terminal.line("pg-top-again nop")?.1.split_whitespace().nth(6)?.parse().ok()
    };
    terminal.wait_until("two restarts", |terminal| restarts(terminal) == Some(2))?;
    Ok(())
}

#[test]
fn any_size_of_the_window() -> Result<()> {
    let (mut terminal, before) = top(&["--interval", "100ms"])?;
    terminal.wait_for("RECENT DEATHS")?;
    terminal.resize(10, 40)?;
    terminal.wait_for("needs 60x12")?;
    ensure!(terminal.text().contains("this is 40x10"), "{}", terminal.text());
    for (rows, columns) in [(1, 1), (12, 60), (60, 200), (300, 20), (24, 80)] {
        terminal.resize(rows, columns)?;
        let small = rows < 12 || columns < 60;
        terminal.wait_until(&format!("{columns}x{rows}"), |terminal| {
            if small {
                terminal.line("COMMAND").is_none()
            } else {
                terminal.line("COMMAND").is_some_and(|(at, _)| at == 2)
            }
        })?;
    }
    terminal.wait_for("RECENT DEATHS")?;
    terminal.type_in("q")?;
    assert_eq!(terminal.wait()?.code(), Some(0));
    assert_eq!(terminal.modes()?, before);
    Ok(())
}

/// Keys, a signal, and the end that the two bring.
type End = (&'static str, Option<i32>, fn(ExitStatus) -> bool);

fn assert_ends(ends: &[End]) -> Result<()> {
    // What the terminal is left like does not depend on the kernel, and where that is emulated a start takes seconds.
    let count = host::scaled_down(1, ends.len(), ends.len())?;
    for (keys, signal, as_documented) in ends.iter().take(count) {
        let (mut terminal, before) = top(&[])?;
        let during = terminal.modes()?;
        ensure!(during != before, "it did not take the terminal over");
        let objects = Objects::held_by(terminal.pid())?;
        terminal.type_in(keys)?;
        if let Some(signal) = signal {
            sys::kill(terminal.pid(), *signal)?;
        }
        let status = terminal.wait().with_context(|| format!("{keys:?} {signal:?}"))?;
        ensure!(as_documented(status), "{keys:?} {signal:?}: {status}");
        assert_clean(&mut terminal, &before, &objects).with_context(|| format!("{keys:?} {signal:?}"))?;
        ensure!(terminal.text().trim().is_empty(), "something is left on the screen:\n{}", terminal.text());
    }
    Ok(())
}

#[test]
fn asked_to_end_it_leaves_the_terminal_as_it_was() -> Result<()> {
    let done: fn(ExitStatus) -> bool = |status| status.code() == Some(0);
    assert_ends(&[
        ("q", None, done),
        ("\x03", None, done),
        ("", Some(libc::SIGTERM), done),
        ("", Some(libc::SIGINT), done),
        ("", Some(libc::SIGHUP), done),
    ])
}

#[test]
fn struck_down_it_leaves_the_terminal_as_it_was() -> Result<()> {
    assert_ends(&[
        ("", Some(libc::SIGQUIT), |status| status.signal() == Some(libc::SIGQUIT)),
        ("", Some(libc::SIGABRT), |status| status.signal() == Some(libc::SIGABRT)),
        ("", Some(libc::SIGSEGV), |status| status.signal() == Some(libc::SIGSEGV)),
        ("", Some(libc::SIGUSR1), |status| status.signal() == Some(libc::SIGUSR1)),
    ])
}

#[test]
fn a_closed_window_ends_it() -> Result<()> {
    let (mut terminal, _) = top(&["--interval", "100ms"])?;
    let objects = Objects::held_by(terminal.pid())?;
    terminal.hang_up();
    assert_eq!(terminal.wait()?.code(), Some(0));
    assert_gone(&objects)
}

#[test]
fn a_terminal_that_takes_nothing_does_not_keep_it() -> Result<()> {
    let (mut terminal, before) = top(&[])?;
    terminal.resize(100, 300)?;
    // Each is a picture of at least 10 KiB; a terminal holds back some of them, and then the program.
    for _ in 0..20 {
        terminal.type_in("\x0c?")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    sys::kill(terminal.pid(), libc::SIGTERM)?;
    assert_eq!(terminal.wait_blindly()?.code(), Some(0));
    // Its modes are back; what leaves the alternate screen may lie behind what nobody took.
    let after = terminal.modes()?;
    ensure!(after.is_same_line(&before), "{after:?} instead of {before:?}");
    Ok(())
}

#[test]
fn suspended_and_continued() -> Result<()> {
    let program = host::processguard()?.into_os_string();
    let mut script = OsString::from("set -m; ");
    script.push(&program);
    script.push(" top --interval 100ms; echo stopped; read line; fg; echo ended $?");
    let arguments = [OsStr::new("-c"), &script];
    let (mut terminal, before) = Terminal::start(24, 80, OsStr::new("sh"), &arguments)?;
    terminal.wait_for("q quit")?;
    terminal.type_in("\x1a")?;
    terminal.wait_for("stopped")?;
    let suspended = terminal.modes()?;
    assert_eq!(suspended, before, "the shell's terminal");
    terminal.type_in("go\r")?;
    terminal
        .wait_until("the screen again", |terminal| terminal.line("COMMAND").is_some_and(|(at, _)| at == 2))?;
    terminal.type_in("q")?;
    assert_eq!(terminal.wait()?.code(), Some(0));
    ensure!(terminal.text().contains("ended 0"), "{}", terminal.text());
    assert_eq!(terminal.modes()?, before);
    Ok(())
}

#[test]
fn once_for_people_and_for_programs() -> Result<()> {
    let _waiting = Waiting::start("pg-top-once")?;
    let run = |arguments: &[&str]| -> Result<String> {
        let output = Command::new(host::processguard()?).args(["top", "--once"]).args(arguments).output()?;
        ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let text = run(&["--interval", "300ms", "--view", "list", "--filter", "pg-top-once"])?;
    ensure!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    ensure!(text.contains("pg-top-once nop") && text.contains("RECENT DEATHS"), "{text}");
    let document: Value = serde_json::from_str(&run(&["--interval", "300ms", "--json"])?)?;
    let processes =
        document.pointer("/processguard/processes").and_then(Value::as_array).context("processes")?;
    let of =
        |process: &&Value| process.pointer("/process/name").and_then(Value::as_str) == Some("pg-top-once");
    let process = processes.iter().find(of).context("the process")?;
    let pid = process.pointer("/process/pid").and_then(Value::as_u64);
    assert_eq!(pid, Some(_waiting.child.id().into()));
    let rss = process.pointer("/processguard/resources/rss_bytes").and_then(Value::as_u64);
    // Before 6.2 a thread keeps up to 64 pages of it to itself before the kernel adds them up.
    ensure!(rss.is_some(), "{process}");
    Ok(())
}

#[test]
fn without_a_terminal_it_says_what_to_do() -> Result<()> {
    let output = Command::new(host::processguard()?).arg("top").stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(
        stderr.contains("terminal") && stderr.contains("--once") && stderr.lines().count() == 1,
        "{stderr}"
    );
    Ok(())
}
