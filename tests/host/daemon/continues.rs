//! What a daemon had begun goes on in the next one: budgets, holds, incidents; and what hangs is in nobody's way.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, service};

/// The incident of a service that is open, if there is one.
fn open_incident(place: &Place, service: &str) -> Result<Option<Value>> {
    let all = place.json(&["incidents", "--service", service])?;
    let incidents = all.get("incidents").and_then(Value::as_array).context("no incidents")?;
    Ok(incidents.iter().find(|incident| incident.get("open") == Some(&Value::Bool(true))).cloned())
}

fn held(place: &Place, name: &str) -> Result<Value> {
    host::wait_for(&format!("{name} to be held"), || {
        let now = service(place, name)?;
        Ok((now.get("state") == Some(&"held".into())).then_some(now))
    })
}

#[test]
fn a_budget_its_hold_and_the_incident_go_on() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "spends");
    place.policy("spends.yaml", &truth.service("spends", "")?.replace("1000/1h", "3/10m"))?;
    let daemon = place.start(&place.policies(), &[])?;
    truth.kill(1)?;
    truth.kill(2)?;
    daemon.kill()?;
    // Two of three are spent: the next daemon has one more, and not three.
    let daemon = place.start(&place.policies(), &[])?;
    truth.kill(3)?;
    sys::kill(truth.wait_for(4)?, libc::SIGKILL)?;
    held(&place, "spends")?;
    let before = open_incident(&place, "spends")?.context("no incident is open")?;
    daemon.kill()?;

    let daemon = place.start(&place.policies(), &[])?;
    let now = held(&place, "spends")?;
    let why = now.get("why").and_then(Value::as_str).unwrap_or_default();
    ensure!(why.contains("3 restarts in 10m are spent"), "{why}");
    ensure!(truth.pids()?.len() == 4, "it was started again: {:?}", truth.pids()?);
    let after = open_incident(&place, "spends")?.context("its incident is open no more")?;
    ensure!(before.get("id") == after.get("id"), "another incident: {before} and {after}");

    // An operator's word ends the hold, and the same incident.
    let started = place.client(&["start", "spends"])?;
    ensure!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    truth.wait_for(5)?;
    let over = host::wait_for("the incident to be over", || {
        let all = place.json(&["incidents", "--service", "spends"])?;
        let incidents = all.get("incidents").and_then(Value::as_array).context("no incidents")?;
        let is_it =
            |one: &&Value| one.get("id") == before.get("id") && one.get("open") == Some(&false.into());
        Ok(incidents.iter().find(is_it).cloned())
    })?;
    ensure!(over.get("outcome") == Some(&"recovered".into()), "{over}");
    daemon.stop()
}

/// One server takes connections and never answers, one program never ends: both fail within their time, and a neighbour that is
/// killed meanwhile is back as fast as ever.
#[test]
fn what_never_answers_fails_in_time_and_delays_nobody() -> Result<()> {
    let place = Place::new()?;
    let (silent, hanging, good) =
        (Truth::new(&place, "silent"), Truth::new(&place, "hanging"), Truth::new(&place, "good"));
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let check = |what: &str| format!("checks: {{ asked: {{ {what}, every: 500ms, fail_after: 2 }} }}\n");
    let http = check(&format!("http: {{ url: \"{url}\", timeout: 300ms }}"));
    let exec = check("exec: { command: [/bin/sleep, \"1000\"], timeout: 300ms }");
    place.policy("silent.yaml", &silent.service("silent", &http)?)?;
    place.policy("hanging.yaml", &hanging.service("hanging", &exec)?)?;
    place.policy("good.yaml", &good.service("good", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    for name in ["silent", "hanging"] {
        let incident = host::wait_for(&format!("an incident of {name}"), || open_incident(&place, name))?;
        let cause = incident.get("cause").and_then(Value::as_str).unwrap_or_default();
        ensure!(cause.contains("within 300ms"), "the cause is {cause:?}");
    }
    let mut back: Vec<Duration> = vec![];
    for life in 1..=11 {
        let killed_ns = sys::boottime_ns();
        good.kill(life)?;
        back.push(Duration::from_nanos(sys::boottime_ns() - killed_ns));
    }
    back.sort_unstable();
    let median = back.get(back.len() / 2).copied().unwrap_or_default();
    ensure!(median < Duration::from_millis(100) * host::slowness()?, "back after {back:?}");
    ensure!(silent.pids()?.len() == 1 && hanging.pids()?.len() == 1, "who has no action was restarted");
    daemon.stop()
}
