//! What an operator relies on from the first minute.

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, closed_incident, service};

/// The timeline's kinds, in order.
fn kinds(incident: &Value) -> Result<Vec<(String, i64)>> {
    let timeline = incident.get("timeline").and_then(Value::as_array).context("no timeline")?;
    let of = |entry: &Value| {
        let kind = entry.get("kind")?.as_str()?.to_owned();
        Some((kind, entry.get("after_opened_ns")?.as_i64()?))
    };
    Ok(timeline.iter().filter_map(of).collect())
}

#[test]
fn who_is_killed_is_back_and_the_incident_tells_it() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "victim");
    place.policy("victim.yaml", &truth.service("victim", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    truth.kill(1)?;
    let incident = closed_incident(&place, "victim")?;
    let cause = incident.get("cause").and_then(Value::as_str).unwrap_or_default();
    ensure!(cause.contains("SIGKILL from host"), "the cause is {cause:?}, and the killer was this test");
    let kinds = kinds(&incident)?;
    let at = |kind: &str| {
        let found = kinds.iter().find(|(found, _)| found == kind);
        found.map(|(_, at)| *at).with_context(|| format!("no {kind} in {kinds:?}"))
    };
    let order = [at("signal")?, at("death")?, at("decision")?, at("fork")?, at("ready")?];
    ensure!(order.is_sorted(), "out of order: {kinds:?}");
    ensure!(incident.get("outcome").is_some_and(|outcome| outcome == "recovered"), "{incident}");
    daemon.stop()
}

#[test]
fn a_spent_budget_holds_and_says_so() -> Result<()> {
    let place = Place::new()?;
    let policy = "version: processguard/v1\nservice: dies\nrun: { command: [/bin/false], log: { none: {} } }\n\
                  restart: { budget: 3/10m, backoff: { initial: 1ms, factor: 1, max: 1ms, jitter: 0% } }\n";
    place.policy("dies.yaml", policy)?;
    let daemon = place.start(&place.policies(), &[])?;
    let held = host::wait_for("the service to be held", || {
        let now = service(&place, "dies")?;
        Ok((now.get("state") == Some(&"held".into())).then_some(now))
    })?;
    let why = held.get("why").and_then(Value::as_str).unwrap_or_default();
    ensure!(why.contains("3 restarts in 10m are spent"), "{why}");
    daemon.stop()
}

#[test]
fn a_stop_by_hand_stays_over_a_new_daemon() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "stopped");
    place.policy("stopped.yaml", &truth.service("stopped", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let pid = truth.wait_for(1)?;
    let stopped = place.client(&["stop", "stopped"])?;
    ensure!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    ensure!(!sys::is_alive(pid), "process {pid} lives on");
    daemon.kill()?;
    let daemon = place.start(&place.policies(), &[])?;
    ensure!(service(&place, "stopped")?.get("state") == Some(&"stopped".into()));
    let started = place.client(&["start", "stopped"])?;
    ensure!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    truth.wait_for(2)?;
    daemon.stop()
}

#[test]
fn a_reload_is_whole_or_nothing_and_can_be_rolled_back() -> Result<()> {
    let place = Place::new()?;
    let (one, two) = (Truth::new(&place, "one"), Truth::new(&place, "two"));
    place.policy("one.yaml", &one.service("one", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let first = one.wait_for(1)?;
    place.policy("two.yaml", &two.service("two", "nonsense: 1\n")?)?;
    let refused = place.client(&["reload"])?;
    ensure!(refused.status.code() == Some(8), "{refused:?}");
    ensure!(two.pids()?.is_empty(), "a service of a refused set was started");
    place.policy("two.yaml", &two.service("two", "")?)?;
    let reloaded = place.client(&["reload"])?;
    ensure!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    let second = two.wait_for(1)?;
    let back = place.client(&["policy", "rollback"])?;
    ensure!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    host::wait_for("the service that was rolled back to end", || Ok((!sys::is_alive(second)).then_some(())))?;
    ensure!(one.pids()? == [first], "the service that did not change was disturbed");
    daemon.stop()
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "only");
    place.policy("only.yaml", &truth.service("only", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let mut second = place.spawn(&place.policies(), &[])?;
    let status = second.wait()?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(second.said().contains(&daemon.pid().to_string()), "{}", second.said());
    truth.kill(1)?;
    daemon.stop()
}
