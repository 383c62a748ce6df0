//! Verbs: what they do to real processes, what they say, and how they end.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, free_port, service};

/// Ended with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn orders_are_done_when_their_verbs_end() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "web");
    let bounds = "  instances: { min: 1, start: 1, max: 3 }\n  log: {";
    place.policy("web.yaml", &truth.service("web", "")?.replace("  log: {", bounds))?;
    let daemon = place.start(&place.policies(), &[])?;
    let first = truth.wait_for(1)?;
    place.json(&["restart", "web"])?;
    let second = truth.wait_for(2)?;
    ensure!(!sys::is_alive(first) && sys::is_alive(second), "restarted, {first} and {second}");
    place.json(&["scale", "web", "3"])?;
    truth.wait_for(4)?;
    let pids =
        || -> Result<Vec<i32>> { Ok(truth.pids()?.into_iter().filter(|pid| sys::is_alive(*pid)).collect()) };
    ensure!(pids()?.len() == 3, "scaled to 3: {:?}", pids()?);
    for beyond in ["0", "4"] {
        let output = place.client(&["scale", "web", beyond])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(12) && said.contains("1 to 3 instances"),
            "{beyond}: {output:?}"
        );
    }
    // One instance alone.
    let before = pids()?;
    place.json(&["restart", "web/1"])?;
    truth.wait_for(5)?;
    let left = before.iter().filter(|pid| sys::is_alive(**pid)).count();
    ensure!(left == 2, "restarted one of three, and {left} are left");
    place.json(&["scale", "web", "1"])?;
    host::wait_for("one to be left", || Ok((pids()?.len() == 1).then_some(())))?;
    place.json(&["stop", "web"])?;
    ensure!(pids()?.is_empty(), "stopped: {:?}", pids()?);
    place.json(&["start", "web"])?;
    truth.wait_for(6)?;
    daemon.stop()
}

#[test]
fn exit_codes_say_who_is_to_blame() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "web");
    place.policy("web.yaml", &truth.service("web", "")?)?;
    let verbs: [&[&str]; 6] =
        [&["status"], &["events"], &["incidents"], &["inventory"], &["restart", "web"], &["reload"]];
    for verb in verbs {
        let output = place.client(verb)?;
        ensure!(output.status.code() == Some(9), "{verb:?} without a daemon: {output:?}");
        ensure!(String::from_utf8_lossy(&output.stderr).contains("api.sock"), "{verb:?}: {output:?}");
    }
    let daemon = place.start(&place.policies(), &[])?;
    let pid = truth.wait_for(1)?;
    let unknown: [&[&str]; 6] = [
        &["status", "nobody"],
        &["stop", "nobody"],
        &["restart", "nobody"],
        &["scale", "nobody", "2"],
        &["incidents", "4711"],
        &["flags", "nonsense", "off"],
    ];
    for verb in unknown {
        let output = place.client(verb)?;
        ensure!(output.status.code() == Some(11), "{verb:?}: {output:?}");
        ensure!(output.stdout.is_empty() && !output.stderr.is_empty(), "{verb:?}: {output:?}");
    }
    let refused = place.client(&["policy", "rollback"])?;
    ensure!(refused.status.code() == Some(12), "nothing to go back to: {refused:?}");
    ensure!(truth.pids()? == [pid] && sys::is_alive(pid), "refused orders did something");
    for verb in [
        &["status"][..],
        &["incidents"],
        &["inventory"],
        &["flags"],
        &["approvals", "list"],
        &["policy", "generations"],
    ] {
        place.json(verb)?;
    }
    daemon.stop()
}

#[test]
fn events_are_followed_as_they_happen() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "web");
    place.policy("web.yaml", &truth.service("web", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let pid = truth.wait_for(1)?;
    let mut command = place.command()?;
    command.args(["events", "--follow", "--json", "--socket"]).arg(place.socket());
    let mut follower = Ends(command.stdout(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(follower.0.stdout.take().context("no output")?).lines();
    // It begins with what was: then it follows.
    lines.next().context("nothing was told")??;
    let before = sys::boottime_ns();
    sys::kill(pid, libc::SIGKILL)?;
    let reader = thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .find(|line| line.contains("SIGKILL"))
            .map(|line| (line, sys::boottime_ns()))
    });
    host::wait_for("the death to be told", || Ok(reader.is_finished().then_some(())))?;
    let (line, seen) = reader.join().ok().flatten().context("the events ended")?;
    let event: Value = serde_json::from_str(&line)?;
    ensure!(event.to_string().contains(&pid.to_string()), "{event}");
    println!("a death was told after {} us", (seen - before) / 1_000);
    daemon.stop()
}

/// What a newcomer does: draft, check, reload, kill, look.
#[test]
fn a_draft_guards_a_process_that_runs() -> Result<()> {
    let place = Place::new()?;
    let program = place.path("newcomer");
    fs::copy(host::guard_workload()?, &program)?;
    let port = free_port()?;
    let mut command = Command::new(&program);
    command.args(["leaky-worker", "--port", &port.to_string()]).stdin(Stdio::null());
    let mut foreign = Ends(command.spawn()?);
    let pid = foreign.0.id();
    host::wait_for("it to listen", || {
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()))
    })?;
    let other = Truth::new(&place, "other");
    place.policy("other.yaml", &other.service("other", "")?)?;
    // Without a daemon.
    let draft = place.command()?.args(["inventory", "--draft", &pid.to_string()]).output()?;
    ensure!(draft.status.success(), "{draft:?}");
    let daemon = place.start(&place.policies(), &[])?;
    let listed = |inventory: &Value| {
        let unguarded = inventory.get("unguarded").and_then(Value::as_array).cloned().unwrap_or_default();
        unguarded.iter().any(|process| process.get("pid") == Some(&pid.into()))
    };
    let inventory = place.json(&["inventory"])?;
    ensure!(listed(&inventory), "process {pid} is not listed: {inventory}");
    place.policy("newcomer.yaml", &String::from_utf8(draft.stdout)?)?;
    let checked = place.command()?.args(["policy", "check"]).arg(place.policies()).output()?;
    ensure!(checked.status.success(), "{checked:?}");
    let reloaded = place.client(&["reload"])?;
    ensure!(reloaded.status.success(), "{reloaded:?}");
    host::wait_for("it to be adopted", || {
        let now = service(&place, "newcomer")?;
        Ok((now.pointer("/instances/0/main/pid") == Some(&pid.into())).then_some(()))
    })
    .with_context(|| place.json(&["status"]).unwrap_or_default().to_string())?;
    ensure!(!listed(&place.json(&["inventory"])?), "it is guarded now");
    foreign.0.kill()?;
    foreign.0.wait()?;
    let incident = host::wait_for("its incident", || {
        let all = place.json(&["incidents", "--service", "newcomer"])?;
        Ok(all.pointer("/incidents/0").cloned())
    })?;
    ensure!(incident.get("cause").is_some_and(|cause| cause.to_string().contains("SIGKILL")), "{incident}");
    daemon.stop()
}
