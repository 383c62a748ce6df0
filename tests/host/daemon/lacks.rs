//! What the daemon lacks: room on the disk, control groups, records. Services go on, and it says so.

use std::fs;
use std::process::{Child, Command};

use anyhow::{Context as _, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};

use super::{Truth, service};

/// Lives of the service while records are lost.
const LIVES: usize = 20;

/// A shell that starts one program after another until it is ended.
struct Storm(Child);

impl Storm {
    fn start() -> Result<Self> {
        let mut sh = Command::new("sh");
        sh.args(["-c", "i=0; while [ $i -lt 100000 ]; do /bin/true; i=$((i+1)); done"]);
        Ok(Self(sh.spawn().context("start a storm")?))
    }

    /// Ends it; it must not have ended by itself.
    fn end(mut self) -> Result<()> {
        ensure!(self.0.try_wait()?.is_none(), "the storm was over too early");
        Ok(())
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn on_a_full_disk_the_dead_are_replaced_and_the_next_daemon_knows() -> Result<()> {
    let place = Place::new()?;
    let disk = place.small_disk("state", 16 << 20)?;
    let truth = Truth::new(&place, "kept");
    place.policy("kept.yaml", &truth.service("kept", "")?)?;
    let mut daemon = place.start(&place.policies(), &[])?;
    truth.wait_for(1)?;
    disk.fill()?;
    for life in 1..=20 {
        truth.kill(life).with_context(|| daemon.said())?;
    }
    let state = place.path("state").display().to_string();
    host::wait_for("a word about the full disk", || {
        Ok((daemon.said().contains(&state) && daemon.said().contains("the disk is full")).then_some(()))
    })
    .with_context(|| daemon.said())?;
    disk.make_room()?;
    truth.kill(21)?;
    daemon.check_running()?;
    daemon.kill()?;
    // What is known after that is all of it: nobody is started twice, nor forgotten.
    let daemon = place.start(&place.policies(), &[])?;
    let last = truth.wait_for(22)?;
    ensure!(truth.pids()?.len() == 22 && sys::is_alive(last), "{:?}", truth.pids()?);
    truth.kill(22)?;
    daemon.stop()
}

#[test]
fn without_a_control_group_one_waits_and_others_go_on() -> Result<()> {
    let place = Place::new()?;
    let (old, new) = (Truth::new(&place, "old"), Truth::new(&place, "new"));
    place.policy("old.yaml", &old.service("old", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    old.wait_for(1)?;
    let limit = place.group().context("no control group")?.join("cgroup.max.descendants");
    fs::write(&limit, "1").context("limit the groups")?;
    // Slower than usual: its budget is not to be spent meanwhile.
    place.policy("new.yaml", &new.service("new", "")?.replace("1ms", "100ms"))?;
    // It is no error of the policies that the host has no room: they hold.
    place.client(&["reload"])?;
    let why = host::wait_for("the new service to wait", || {
        let now = service(&place, "new")?;
        let why = now.get("why").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Ok(why.contains("could not be started").then_some(why))
    })?;
    ensure!(why.contains(place.cgroup()), "it does not say which group: {why}");
    ensure!(service(&place, "old")?.get("state") == Some(&"healthy".into()), "the other one is disturbed");
    fs::write(&limit, "max").context("lift the limit")?;
    new.wait_for(1)?;
    old.kill(1)?;
    daemon.stop()
}

/// The ring of one page overflows all the time: deaths are seen by their pidfds, causes are not known, and both are said.
#[test]
fn lost_records_are_told_and_deaths_are_seen_all_the_same() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "kept");
    place.policy("kept.yaml", &truth.service("kept", "")?)?;
    let daemon = place.start(&place.policies(), &["--ring-size", "4KiB"])?;
    truth.wait_for(1)?;
    let storm = Storm::start()?;
    for life in 1..=LIVES {
        truth.kill(life)?;
    }
    storm.end()?;
    let status = place.json(&["status"])?;
    let lost = status.pointer("/daemon/lost").and_then(serde_json::Value::as_u64);
    ensure!(lost.is_some_and(|lost| lost > 0), "nothing was lost, or nobody says so: {status}");
    // After the storm all is certain again.
    truth.kill(LIVES + 1)?;
    daemon.stop()
}

/// The kernel tells pids of the host: where others are seen, nothing is begun.
#[test]
fn in_a_pid_namespace_it_says_so_and_begins_nothing() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "kept");
    place.policy("kept.yaml", &truth.service("kept", "")?)?;
    let mut unshare = Command::new(host::tool("unshare")?);
    unshare.args(["--pid", "--fork", "--mount-proc", "--"]).arg(host::processguard()?).arg("daemon");
    unshare.arg("--policies").arg(place.policies()).arg("--state").arg(place.path("state"));
    unshare.arg("--runtime").arg(place.path("runtime")).arg("--socket").arg(place.socket());
    unshare.args(["--cgroup", place.cgroup()]).arg("--pins").arg(place.path("bpf").join("processguard"));
    let output = unshare.output().context("run the daemon in a pid namespace")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}: {said}", output.status);
    ensure!(said.contains("pid namespace") && said.contains("--pid=host"), "{said}");
    ensure!(truth.pids()?.is_empty(), "it started something");
    Ok(())
}
