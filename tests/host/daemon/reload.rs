//! Sets of policies: changed whole, kept, and gone back to; and flags.

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, free_port};

/// The generation that holds.
fn active(place: &Place) -> Result<Value> {
    let all = place.json(&["policy", "generations"])?;
    let all = all.get("generations").and_then(Value::as_array).context("no generations")?;
    let found = all.iter().find(|one| one.get("active") == Some(&true.into()));
    found.cloned().context("no generation holds")
}

fn number(generation: &Value) -> Option<u64> {
    generation.get("number")?.as_u64()
}

fn succeeds(place: &Place, verb: &[&str]) -> Result<()> {
    let output = place.client(verb)?;
    ensure!(output.status.success(), "{verb:?}: {output:?}");
    Ok(())
}

#[test]
fn only_what_changed_is_touched_and_each_step_can_be_undone() -> Result<()> {
    let place = Place::new()?;
    let [same, changed, removed] = ["same", "changed", "removed"].map(|name| Truth::new(&place, name));
    place.policy("same.yaml", &same.service("same", "")?)?;
    place.policy("changed.yaml", &changed.service("changed", "")?)?;
    place.policy("removed.yaml", &removed.service("removed", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let pid = same.wait_for(1)?;
    let (old, gone) = (changed.wait_for(1)?, removed.wait_for(1)?);
    let text = changed.service("changed", "")?.replace(", --truth", ", --second, --truth");
    place.policy("changed.yaml", &text)?;
    // By signal, as service managers do it.
    std::fs::remove_file(place.policies().join("removed.yaml"))?;
    sys::kill(daemon.pid(), libc::SIGHUP)?;
    changed.wait_for(2)?;
    host::wait_for("what was removed to end", || Ok((!sys::is_alive(gone)).then_some(())))?;
    ensure!(!sys::is_alive(old), "the changed service has both lives");
    let second = number(&active(&place)?);
    // A third set, of other labels alone: nobody is touched.
    place.policy("same.yaml", &same.service("same", "labels: { team: a }\n")?)?;
    succeeds(&place, &["reload"])?;
    ensure!(number(&active(&place)?) > second, "{}", active(&place)?);
    // Back, and back again: to the first.
    succeeds(&place, &["policy", "rollback"])?;
    ensure!(removed.pids()?.len() == 1, "one step back is the second set");
    succeeds(&place, &["policy", "rollback"])?;
    removed.wait_for(2)?;
    changed.wait_for(3)?;
    ensure!(
        same.pids()? == [pid] && sys::is_alive(pid),
        "what did not change was disturbed: {:?}",
        same.pids()?
    );
    daemon.stop()
}

#[test]
fn policies_that_make_restarts_rise_are_rolled_back_by_themselves() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "web");
    place.policy("web.yaml", &truth.service("web", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    truth.wait_for(1)?;
    let bad = truth.service("web", "")?.replace(", once,", ", once, --seconds, \"0.05\", --code, \"3\",");
    place.policy("web.yaml", &bad)?;
    succeeds(&place, &["reload"])?;
    let now = host::wait_for("the rollback", || {
        let now = active(&place)?;
        Ok((number(&now) > Some(2)).then_some(now))
    })?;
    ensure!(now.get("why").is_some_and(|why| why.to_string().contains("restarts in the")), "{now}");
    let events = String::from_utf8(place.client(&["events", "--json"])?.stdout)?;
    ensure!(events.contains("restarts in the"), "nobody was told: {events}");
    host::wait_for("a life that lasts", || {
        let last = truth.pids()?.last().copied().context("no life")?;
        let line = std::fs::read_to_string(format!("/proc/{last}/cmdline")).unwrap_or_default();
        Ok((sys::is_alive(last) && !line.contains("--seconds")).then_some(()))
    })?;
    daemon.stop()
}

#[test]
fn flags_hold_back_and_outlive_the_daemon() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "web");
    place.policy("web.yaml", &truth.service("web", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let pid = truth.wait_for(1)?;
    for name in ["act", "probes", "alerts", "trial"] {
        succeeds(&place, &["flags", name, "off"])?;
    }
    daemon.kill()?;
    let daemon = place.start(&place.policies(), &[])?;
    let flags = place.json(&["flags"])?;
    let flags = flags.get("flags").and_then(Value::as_array).context("no flags")?;
    ensure!(flags.len() == 4 && flags.iter().all(|flag| flag.get("on") == Some(&false.into())), "{flags:?}");
    sys::kill(pid, libc::SIGKILL)?;
    host::wait_for("the death to be told", || {
        let all = place.json(&["incidents", "--service", "web"])?;
        Ok(all.pointer("/incidents/0").cloned())
    })?;
    ensure!(truth.pids()? == [pid], "it was restarted, though `act` is off");
    succeeds(&place, &["flags", "act", "on"])?;
    // Whoever was left down is started by an order at the latest.
    succeeds(&place, &["start", "web"])?;
    truth.wait_for(2)?;
    daemon.stop()
}

#[test]
fn a_suggestion_without_data_says_so() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "web");
    place.policy(
        "web.yaml",
        &truth.service("web", "checks: { memory: { signal: memory.rss, above: 1GiB } }\n")?,
    )?;
    let daemon = place.start(&place.policies(), &[])?;
    truth.wait_for(1)?;
    let output = place.client(&["policy", "suggest", "web"])?;
    ensure!(output.status.success(), "{output:?}");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // A sample may have been taken by now, but never as many as are needed.
    ensure!(text.contains("are needed") || text.contains("measured yet"), "{text}");
    daemon.stop()
}

/// What is suggested from some hundred answers, put under the policy as it stands there, is taken over.
#[test]
fn a_suggestion_is_a_check_that_is_taken_over() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "web");
    let port = free_port()?;
    let options = format!(", listen-late, --port, \"{port}\", --after-ms, \"0\",");
    let text = truth.service("web", "")?.replace(", once,", &options);
    let check = format!(
        "checks:\n  api: {{ http: {{ url: \"http://127.0.0.1:{port}/\", status: 200, timeout: 1s }}, every: 20ms }}\n"
    );
    place.policy("web.yaml", &format!("{text}{check}"))?;
    let daemon = place.start(&place.policies(), &[])?;
    let patch = host::wait_for("enough answers for a suggestion", || {
        let output = place.client(&["policy", "suggest", "web"])?;
        let patch = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(patch.contains("\nchecks:\n").then_some(patch))
    })?;
    let suggested = patch.split_once("checks:\n").with_context(|| patch.clone())?.1;
    place.policy("web.yaml", &format!("{text}{check}{suggested}"))?;
    succeeds(&place, &["reload"])?;
    // It is looked at every 10 s.
    host::wait_for("the suggested check to pass", || {
        let state = super::service(&place, "web")?.to_string();
        Ok(state.contains(r#""name":"slow-api","state":"passing""#).then_some(()))
    })?;
    // It writes more than one line.
    let pids = truth.pids()?;
    ensure!(
        pids.iter().all(|pid| Some(pid) == pids.first()),
        "another check is no reason for a restart: {pids:?}"
    );
    daemon.stop()
}
