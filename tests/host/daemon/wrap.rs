//! Pids wrap while services are stopped, restarted and killed all the time: nobody else is ever signalled.
//!
//! 200 processes a second that live for a second each come and go, and thousands that live for a moment, so that numbers are
//! soon used again. None of them handles a signal: whoever got one that was meant for another ends by it, and its parent writes
//! that down. A virtual machine is given few pids; elsewhere they are left as they are, and wrap where there are 32,768 of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// Pids of a virtual machine: some hundred are in use at any time.
const FEW: u32 = 2_000;

/// Numbers that the machine has, made few where nobody else is disturbed; put back when dropped.
struct Pids {
    max: u32,
    before: Option<String>,
}

impl Pids {
    fn new() -> Result<Self> {
        let before = fs::read_to_string(PID_MAX).context(PID_MAX)?;
        if std::env::var_os("PROCESSGUARD_VM").is_none() {
            return Ok(Self { max: before.trim().parse().context(PID_MAX)?, before: None });
        }
        fs::write(PID_MAX, FEW.to_string()).context("make pids few")?;
        Ok(Self { max: FEW, before: Some(before) })
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(PID_MAX, before);
        }
    }
}

/// Unrelated processes, and what their parent says of each.
struct Storm {
    child: Child,
    truth: PathBuf,
}

impl Storm {
    fn start(place: &Place, name: &str, arguments: &[&str]) -> Result<Self> {
        let truth = place.path(name);
        let mut command = Command::new(host::guard_workload()?);
        command.arg("storm").args(arguments).arg("--truth").arg(&truth);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("start a storm")?;
        Ok(Self { child, truth })
    }

    fn is_over(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("wait for a storm")?.is_some())
    }

    /// The pids of its processes in the order of their births; none by a signal.
    fn end(mut self) -> Result<Vec<u32>> {
        // Whoever runs until it is told, is told by this.
        drop(self.child.stdin.take());
        let status = self.child.wait().context("wait for a storm")?;
        ensure!(status.success(), "the storm ended with {status}");
        let mut born = Vec::new();
        for line in fs::read_to_string(&self.truth)?.lines() {
            let line: Value = serde_json::from_str(line)?;
            if line.get("what").is_none_or(|what| what != "child") {
                continue;
            }
            let number =
                |key: &str| line.get(key).and_then(Value::as_u64).with_context(|| format!("{key}: {line}"));
            // The lowest seven bits of a wait status are the signal; the code is the number of arguments.
            ensure!(number("status")? & 0x7f == 0, "somebody else was signalled: {line}");
            born.push((number("born_before_ns")?, u32::try_from(number("pid")?)?));
        }
        born.sort_unstable();
        Ok(born.into_iter().map(|(_, pid)| pid).collect())
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What lives for a second.
fn sleeper(place: &Place) -> Result<PathBuf> {
    let path = place.path("sleeper");
    fs::write(&path, "#!/bin/sh\nexec sleep 1\n").context("write the sleeper")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("make it executable")?;
    Ok(path)
}

/// Services that end by themselves, from at once to after 100 ms, and one that lives until it is killed.
fn policies(place: &Place) -> Result<String> {
    let workload = host::guard_workload()?;
    let service = |name: &str, words: &str| {
        format!(
            "---\nversion: processguard/v1\nservice: {name}\nrun:\n  command: [{}, {words}, --truth, {}]\n  log: none\n\
             restart: {{ on: always, budget: 100000/1h, backoff: {{ initial: 1ms, factor: 1, max: 1ms, jitter: 0% }} }}\n",
            workload.display(),
            place.path("services").display()
        )
    };
    let crashers = (0..4).map(|n| service(&format!("c{n}"), "crasher, --least-ms, '0', --most-ms, '100'"));
    Ok(crashers.chain([service("lives", "once")]).collect())
}

/// Lives that began so far, and the one of the last line.
fn lives(truth: &Path) -> (usize, Option<i32>) {
    let text = fs::read_to_string(truth).unwrap_or_default();
    let once = text.lines().rev().find(|line| line.contains("\"once\""));
    let pid = once.and_then(|line| serde_json::from_str::<Value>(line).ok()?.get("pid")?.as_i64());
    (text.lines().count(), pid.and_then(|pid| i32::try_from(pid).ok()))
}

#[test]
fn whoever_has_a_used_pid_is_never_signalled() -> Result<()> {
    let (pids, place) = (Pids::new()?, Place::new()?);
    // Where there are millions of them they don't wrap, and as many processes must do.
    let count = host::scaled(11, 500)? * u64::from(pids.max.min(32_768)) / 10;
    let rate = host::scaled_down("20", "200", "200")?;
    place.policy("services.yaml", &policies(&place)?)?;
    let mut daemon = place.start(&place.policies(), &[])?;
    let (count, sleeper) = (count.to_string(), sleeper(&place)?.display().to_string());
    let steady = ["--parallel", rate, "--rate", rate, "--program", &sleeper, "--until-told"];
    let mut slow = Storm::start(&place, "slow", &steady)?;
    let mut fast = Storm::start(&place, "fast", &["--parallel", "2", "--count", &count])?;

    let truth = place.path("services");
    let (mut orders, mut killed, mut last) = (0, 0, None);
    while !fast.is_over()? {
        ensure!(!slow.is_over()?, "the steady storm has ended");
        daemon.check_running()?;
        let service = format!("c{}", orders % 4);
        // What dies at that very moment cannot be stopped, which is said: an answer is not what this is about.
        for verb in ["restart", "stop", "start"] {
            place.client(&[verb, "--no-wait", &service])?;
            orders += 1;
        }
        let (_, pid) = lives(&truth);
        if let Some(pid) = pid.filter(|_| pid != last) {
            // Ours and nobody else's: it lives until this.
            sys::kill(pid, libc::SIGKILL)?;
            (killed, last) = (killed + 1, Some(pid));
        }
    }
    let (slow, fast) = (slow.end()?, fast.end()?);
    daemon.stop()?;
    let (lives, _) = lives(&truth);
    let wraps = fast.windows(2).filter(|pair| matches!(pair, [a, b] if *b + pids.max / 2 < *a)).count();
    println!(
        "{} and {} processes, pids wrapped {wraps} times; {lives} lives, {orders} orders, {killed} killed",
        slow.len(),
        fast.len()
    );
    ensure!(lives > 20 && killed > 0, "the services did nothing: {lives} lives, {killed} killed");
    ensure!(wraps > 0 || pids.max > 32_768, "pids never wrapped: {} of {}", fast.len(), pids.max);
    Ok(())
}
