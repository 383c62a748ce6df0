//! Services that somebody else starts: found, watched, and restarted by others on our word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use guard_tests::cgroup::Cgroup;
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::Truth;

/// Somebody else's process, gone with the test.
struct Foreign(Child);

impl Foreign {
    fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn().with_context(|| program.display().to_string())?))
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Killed, and waited for.
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.end();
    }
}

/// A program of the test's own: no other process of the host has its file.
fn program(place: &Place, name: &str) -> Result<PathBuf> {
    let path = place.path(name);
    fs::copy(host::guard_workload()?, &path).context("copy guard-workload")?;
    Ok(path)
}

/// Waits until the daemon says that a service has exactly these main processes.
fn wait_for_mains(place: &Place, name: &str, wanted: &[i32]) -> Result<()> {
    let mut seen = Value::Null;
    host::wait_for(&format!("{name} to be {wanted:?}"), || {
        seen = super::service(place, name)?;
        let instances = seen.get("instances").and_then(Value::as_array).cloned().unwrap_or_default();
        let pid = |instance: &Value| instance.pointer("/main/pid").and_then(Value::as_i64);
        let mut pids: Vec<i64> = instances.iter().filter_map(pid).collect();
        pids.sort_unstable();
        let mut wanted: Vec<i64> = wanted.iter().map(|&pid| i64::from(pid)).collect();
        wanted.sort_unstable();
        Ok((pids == wanted).then_some(()))
    })
    .with_context(|| seen.to_string())
}

/// By file, command line, port and control group; those that ran before the daemon, and those that begin under it.
#[test]
fn adopted_by_each_selector_before_and_after_the_start() -> Result<()> {
    let place = Place::new()?;
    let (by_exe, other) = (program(&place, "by-exe")?, program(&place, "other")?);
    // Nobody has this port; who takes it meanwhile is told by the listener's failure.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let word = format!("adopt-{}", sys::pid());
    let group = Cgroup::v2(&format!("pg-adopted-{}", sys::pid()))?;
    let selectors = [
        ("by-exe", format!("exe: {}", by_exe.display())),
        ("by-command", format!("command: '--word {word}$'")),
        ("by-port", format!("listens: {port}")),
        ("by-cgroup", format!("cgroup: '{}'", group.path())),
    ];
    let mut text = String::new();
    for (name, selector) in &selectors {
        text.push_str(&format!(
            "---\nversion: processguard/v1\nservice: {name}\nadopt: {{ {selector} }}\nrestart: {{ on: never }}\n"
        ));
    }
    place.policy("adopted.yaml", &text)?;
    let begin = |name: &str| -> Result<Foreign> {
        Ok(match name {
            "by-exe" => Foreign::start(&by_exe, &["once"])?,
            "by-command" => Foreign::start(&other, &["once", "--word", &word])?,
            "by-port" => Foreign::start(&other, &["listen-late", "--port", &port, "--after-ms", "0"])?,
            // As whoever starts services does it: into the group first, then the program.
            _ => {
                let enter = format!(
                    "echo $$ >{}/cgroup.procs; exec {} once",
                    group.directory().display(),
                    other.display()
                );
                Foreign::start(Path::new("/bin/sh"), &["-c", &enter])?
            }
        })
    };
    let mut foreign: Vec<(&str, Foreign)> = Vec::new();
    for (name, _) in &selectors {
        foreign.push((name, begin(name)?));
    }
    let daemon = place.start(&place.policies(), &[])?;
    for (name, process) in &foreign {
        wait_for_mains(&place, name, &[process.pid()])?;
    }
    for (name, process) in &mut foreign {
        process.end();
        *process = begin(name)?;
        wait_for_mains(&place, name, &[process.pid()])?;
    }
    daemon.stop()
}

/// The command starts the next one, which is nobody's child; death to decision is on the kernel's clock.
#[test]
fn restarted_by_its_command() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "foreign");
    let program = program(&place, "foreign")?;
    let line = format!("{} once --truth {}", program.display(), place.path("foreign.truth").display());
    place.policy(
        "foreign.yaml",
        &format!(
            "version: processguard/v1\nservice: foreign\n\
             adopt: {{ exe: {}, restart_via: {{ command: [/bin/sh, -c, '{line} >/dev/null 2>&1 &'] }} }}\n\
             restart: {{ on: always, budget: 1000/1h, backoff: {{ initial: 0s, jitter: 0% }} }}\n",
            program.display()
        ),
    )?;
    let mut first =
        Foreign::start(&program, &["once", "--truth", &place.path("foreign.truth").display().to_string()])?;
    let daemon = place.start(&place.policies(), &[])?;
    wait_for_mains(&place, "foreign", &[first.pid()])?;
    first.end();
    let rounds = host::scaled(3, 50)?;
    let result = (|| {
        for number in 2..rounds + 2 {
            let pid = truth.wait_for(number)?;
            wait_for_mains(&place, "foreign", &[pid])?;
            ensure!(truth.pids()?.len() == number, "restarted twice: {:?}", truth.pids()?);
            if number <= rounds {
                sys::kill(pid, libc::SIGKILL)?;
            }
        }
        let incident = super::closed_incident(&place, "foreign")?;
        let took_us = decisions_us(&incident);
        println!("death to decision: {took_us:?} us");
        ensure!(took_us.len() >= rounds.min(10), "{} decisions: {incident}", took_us.len());
        Ok(())
    })();
    // The last life is nobody's child. The number is still its own: nobody else would run this file.
    daemon.stop()?;
    for pid in truth.pids()? {
        if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program) {
            sys::kill(pid, libc::SIGKILL)?;
        }
    }
    result
}

/// Microseconds from each death to the decision after it.
fn decisions_us(incident: &Value) -> Vec<i64> {
    let (mut took, mut death) = (Vec::new(), None);
    for moment in incident.get("timeline").and_then(Value::as_array).into_iter().flatten() {
        let at = moment.get("after_opened_ns").and_then(Value::as_i64);
        match moment.get("kind").and_then(Value::as_str) {
            Some("death") => death = at,
            Some("decision") => took.extend(at.zip(death.take()).map(|(at, death)| (at - death) / 1_000)),
            _ => {}
        }
    }
    took
}

/// Each service is restarted because its policy asks for it, and that says nothing against the policy.
#[test]
fn new_policies_that_restart_many_services_stay() -> Result<()> {
    let place = Place::new()?;
    let names = ["a", "b", "c", "d", "e"];
    let truths: Vec<Truth> = names.iter().map(|name| Truth::new(&place, name)).collect();
    let write = |more: &str| {
        names.iter().zip(&truths).try_for_each(|(name, truth)| {
            let text = truth.service(name, "")?.replace(", --truth", &format!("{more}, --truth"));
            place.policy(&format!("{name}.yaml"), &text)
        })
    };
    write("")?;
    let daemon = place.start(&place.policies(), &[])?;
    for truth in &truths {
        truth.wait_for(1)?;
    }
    write(", --changed")?;
    let output = place.client(&["reload"])?;
    ensure!(output.status.success(), "{output:?}");
    for truth in &truths {
        truth.wait_for(2)?;
    }
    // Orders are done one after the other: whatever a rollback would restart would have been restarted before this.
    let output = place.client(&["restart", "a"])?;
    ensure!(output.status.success(), "{output:?}");
    truths.first().context("a")?.wait_for(3)?;
    for (name, truth) in names.iter().zip(&truths) {
        let expected = if *name == "a" { 3 } else { 2 };
        ensure!(truth.pids()?.len() == expected, "{name}: {:?}", truth.pids()?);
    }
    let generations = place.json(&["policy", "generations"])?;
    ensure!(!generations.to_string().contains("by itself"), "{generations}");
    daemon.stop()
}
