//! The unit that is shipped, under a real systemd, which is the first process here.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use guard_tests::{host, sys};
use serde_json::Value;

const POLICIES: &str = "/etc/processguard/policies";
/// Its service and ours differ in who starts them.
const FOREIGN: &str = "/etc/systemd/system/foreign.service";
const UNIT: &str = "processguard.service";
/// Where the unit has it.
const PROCESSGUARD: &str = "/usr/bin/processguard";

fn run(program: &str, arguments: &[&str]) -> Result<Output> {
    Command::new(program).args(arguments).output().with_context(|| program.to_owned())
}

/// What a program says that must succeed.
fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = run(program, arguments)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {}, {complaint}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn systemctl(arguments: &[&str]) -> Result<String> {
    said("systemctl", arguments)
}

fn property(unit: &str, name: &str) -> Result<String> {
    systemctl(&["show", "--value", "--property", name, unit])
}

fn main_pid(unit: &str) -> Result<i32> {
    property(unit, "MainPID")?.parse().context("MainPID")
}

/// Waits until the unit has another main process, and is active with it.
fn next_main(unit: &str, before: i32) -> Result<i32> {
    host::wait_for(&format!("another main process of {unit}"), || {
        let now = main_pid(unit)?;
        let is_up = property(unit, "ActiveState")? == "active";
        Ok((is_up && now != 0 && now != before).then_some(now))
    })
}

fn json(arguments: &[&str]) -> Result<Value> {
    let text = said(PROCESSGUARD, &[arguments, &["--json"]].concat())?;
    serde_json::from_str(&text).with_context(|| format!("{arguments:?}"))
}

/// A logger that is kept, and its log.
struct Kept {
    log: String,
}

impl Kept {
    /// One of this name, which no other test has: what is stopped stays stopped.
    fn new(name: &str) -> Result<Self> {
        let systemd = fs::read_to_string("/proc/1/comm").context("/proc/1/comm")?;
        ensure!(systemd.trim_end() == "systemd", "the first process is {systemd}");
        fs::create_dir_all(POLICIES).context(POLICIES)?;
        let workload = host::guard_workload()?;
        let log = format!("/tmp/{name}.log");
        let text = format!(
            "version: processguard/v1\nservice: {name}\nrun:\n  command: [{}, logger, --count, \"1000000\", --rate, \"20\"]\n  \
             log: {{ file: {log} }}\nrestart: {{ on: always, backoff: {{ initial: 1ms }} }}\n",
            workload.display()
        );
        fs::write(Path::new(POLICIES).join("logger.yaml"), text).context("write the policy")?;
        systemctl(&["start", UNIT])?;
        Ok(Self { log })
    }

    /// The pid that the log's lines begin with, and their numbers, in the log's order.
    fn lines(&self) -> Result<Vec<(i32, u64)>> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let words = whole.map(|line| line.trim_end().split_once(' ').context("two words"));
        words.map(|words| words.and_then(|(pid, number)| Ok((pid.parse()?, number.parse()?)))).collect()
    }

    /// Checks that the same process goes on to be heard, and that no line is missing.
    fn goes_on(&self, pid: i32) -> Result<()> {
        let before = self.lines()?.len();
        host::wait_for("the next lines of the log", || Ok((self.lines()?.len() > before + 2).then_some(())))?;
        let lines = self.lines()?;
        let of_it: Vec<u64> =
            lines.iter().filter(|(who, _)| *who == pid).map(|(_, number)| *number).collect();
        ensure!(
            lines.last().map(|(who, _)| *who) == Some(pid),
            "the last line is another one's: {:?}",
            lines.last()
        );
        let wanted: Vec<u64> = (1..=of_it.len() as u64).collect();
        ensure!(of_it == wanted, "lines are lost or doubled: {of_it:?}");
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // It may be stopped already; the next test finds what this leaves, and says so.
        let _ = run(PROCESSGUARD, &["stop", "--all"]);
        let _ = run("systemctl", &["stop", UNIT]);
        let _ = fs::remove_dir_all(POLICIES);
    }
}

#[test]
fn whatever_is_done_to_the_unit_services_go_on() -> Result<()> {
    crate::ensure_virtual()?;
    let kept = Kept::new("beat")?;
    // `start` comes back when READY=1 was said.
    ensure!(property(UNIT, "ActiveState")? == "active");
    ensure!(property(UNIT, "StatusText")?.contains("keeps 1 services"), "{}", property(UNIT, "StatusText")?);
    let service = host::wait_for("the first line", || Ok(kept.lines()?.first().map(|(pid, _)| *pid)))?;

    let daemon = main_pid(UNIT)?;
    systemctl(&["restart", UNIT])?;
    let daemon = next_main(UNIT, daemon)?;
    kept.goes_on(service).context("restart")?;

    systemctl(&["kill", "--signal=KILL", UNIT])?;
    let daemon = next_main(UNIT, daemon)?;
    kept.goes_on(service).context("SIGKILL")?;

    // A daemon that hangs is ended by the watchdog.
    let drop_in = Path::new("/run/systemd/system/processguard.service.d");
    fs::create_dir_all(drop_in).context("create the drop-in's directory")?;
    fs::write(drop_in.join("watchdog.conf"), "[Service]\nWatchdogSec=4s\n").context("write the drop-in")?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["restart", UNIT])?;
    let daemon = next_main(UNIT, daemon)?;
    sys::kill(daemon, libc::SIGSTOP)?;
    let daemon = next_main(UNIT, daemon).context("the watchdog")?;
    kept.goes_on(service).context("watchdog")?;

    reload(daemon)?;
    kept.goes_on(service).context("reload")?;

    systemctl(&["stop", UNIT])?;
    ensure!(sys::is_alive(service), "the service was stopped with the unit");
    systemctl(&["start", UNIT])?;
    kept.goes_on(service).context("stop and start")?;

    sys::kill(service, libc::SIGKILL)?;
    let next = host::wait_for("the next life", || {
        Ok(kept.lines()?.last().map(|(pid, _)| *pid).filter(|pid| *pid != service))
    })?;
    kept.goes_on(next).context("its own death")
}

/// What is right is taken over by the same daemon; what is wrong is refused, and systemctl says so.
fn reload(daemon: i32) -> Result<()> {
    let more = Path::new(POLICIES).join("more.yaml");
    let text = "version: processguard/v1\nservice: more\nrun: { command: [/bin/busybox, sleep, \"1000\"] }\n";
    fs::write(&more, text).context("write the policy")?;
    systemctl(&["reload", UNIT])?;
    ensure!(main_pid(UNIT)? == daemon, "the daemon was started again");
    let services = json(&["status"])?.to_string();
    ensure!(services.contains("\"more\""), "{services}");
    fs::write(&more, "version: processguard/v1\nservice: more\nrnu: {}\n").context("write the policy")?;
    let refused = run("systemctl", &["reload", UNIT])?;
    ensure!(!refused.status.success(), "a wrong policy was taken over");
    fs::remove_file(&more).context("remove the policy")?;
    systemctl(&["reload", UNIT])?;
    ensure!(property(UNIT, "ActiveState")? == "active");
    Ok(())
}

#[test]
fn a_unit_that_died_is_restarted_over_the_bus() -> Result<()> {
    crate::ensure_virtual()?;
    fs::write(FOREIGN, "[Service]\nExecStart=/bin/busybox sleep 1000\n").context(FOREIGN)?;
    systemctl(&["daemon-reload"])?;
    systemctl(&["start", "foreign"])?;
    let _kept = Kept::new("neighbour")?;
    let text = "version: processguard/v1\nservice: foreign\nadopt: { unit: foreign.service, restart_via: { unit: foreign.service } }\n\
                restart: { on: always, backoff: { initial: 1ms } }\n";
    fs::write(Path::new(POLICIES).join("foreign.yaml"), text).context("write the policy")?;
    systemctl(&["reload", UNIT])?;
    let pid = main_pid("foreign")?;
    host::wait_for("the unit's process to be known", || {
        Ok(json(&["status"])?.to_string().contains(&format!("\"pid\":{pid}")).then_some(()))
    })?;
    sys::kill(pid, libc::SIGKILL)?;
    let next = next_main("foreign", pid).with_context(|| {
        let incidents = json(&["incidents"]).map_or_else(|error| error.to_string(), |all| all.to_string());
        let bus = run("systemctl", &["status", "dbus.service", "dbus.socket"]);
        format!(
            "{incidents}\n{}",
            bus.map_or_else(
                |error| error.to_string(),
                |bus| String::from_utf8_lossy(&bus.stdout).into_owned()
            )
        )
    })?;
    let closed = host::wait_for("its incident to be closed", || {
        let incidents = json(&["incidents"])?;
        let text = incidents.to_string();
        Ok(text.contains("\"service\":\"foreign\"").then_some(text).filter(|text| text.contains("recovered")))
    })?;
    ensure!(closed.contains("SIGKILL"), "{closed}");
    // Not started twice.
    if main_pid("foreign")? != next {
        bail!("it was started again");
    }
    systemctl(&["stop", "foreign"])?;
    fs::remove_file(FOREIGN).context(FOREIGN)
}
