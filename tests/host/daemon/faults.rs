//! Services that cannot be helped: each has its message and its end, and none is in another's way.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, service};

/// Waits until a service is held, and gives why.
fn why_held(place: &Place, name: &str) -> Result<String> {
    host::wait_for(&format!("{name} to be held"), || {
        let now = service(place, name)?;
        let why = now.get("why").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok((now.get("state") == Some(&"held".into())).then_some(why))
    })
}

#[test]
fn what_cannot_start_is_held_and_others_recover() -> Result<()> {
    let place = Place::new()?;
    let good = Truth::new(&place, "good");
    place.policy("good.yaml", &good.service("good", "")?)?;
    let budget = "restart: { budget: 2/10m, backoff: { initial: 1ms, factor: 1, max: 1ms, jitter: 0% } }";
    let run = "command: [/nonexistent/program], log: { none: {} }";
    place.policy(
        "a.yaml",
        &format!("version: processguard/v1\nservice: absent\nrun: {{ {run} }}\n{budget}\n"),
    )?;
    let run = "command: [/bin/sleep, \"1000\"], user: nobody-of-that-name, log: { none: {} }";
    place.policy(
        "u.yaml",
        &format!("version: processguard/v1\nservice: userless\nrun: {{ {run} }}\n{budget}\n"),
    )?;
    let daemon = place.start(&place.policies(), &[])?;
    good.wait_for(1)?;
    why_held(&place, "absent")?;
    why_held(&place, "userless")?;
    let said = place.client(&["incidents", "--json"])?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned() + &daemon.said();
    ensure!(said.contains("/nonexistent/program"), "nobody names the program: {said}");
    ensure!(said.contains("nobody-of-that-name"), "nobody names the user: {said}");
    good.kill(1)?;
    daemon.stop()
}

/// All that a forker begets ends with it, though it ignores its parent's end and has sessions of its own.
#[test]
fn a_stop_ends_all_descendants() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "forker");
    let options = ", forker, --sessions, --count, \"100000\", --ms, \"1\",";
    place.policy("forker.yaml", &truth.service("forker", "")?.replace(", once,", options))?;
    let daemon = place.start(&place.policies(), &[])?;
    truth.wait_for(50)?;
    let stopped = place.client(&["stop", "forker"])?;
    ensure!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    host::wait_for("the end of all that it has forked", || {
        let left = truth.pids()?.into_iter().filter(|pid| sys::is_alive(*pid)).count();
        Ok((left == 0).then_some(()))
    })?;
    daemon.stop()
}

#[test]
fn a_broken_state_file_is_refused_and_stays_as_it_is() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "kept");
    place.policy("kept.yaml", &truth.service("kept", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let pid = truth.wait_for(1)?;
    daemon.stop()?;
    let path = place.path("state").join("state.db");
    let whole = fs::read(&path).context("read the state")?;
    let broken = vec![b'x'; whole.len()];
    fs::write(&path, &broken)?;
    let mut refused = place.spawn(&place.policies(), &[])?;
    let status = refused.wait()?;
    ensure!(!status.success() && status.code().is_some(), "{status}");
    ensure!(refused.said().contains("state.db"), "{}", refused.said());
    ensure!(fs::read(&path)? == broken, "the broken state was changed");
    ensure!(sys::is_alive(pid), "the service ended with a state that cannot be read");
    // The way out: what was whole is put back, and nothing has happened.
    fs::write(&path, whole)?;
    let daemon = place.start(&place.policies(), &[])?;
    ensure!(truth.pids()? == [pid], "it was started again: {:?}", truth.pids()?);
    daemon.stop()
}

#[test]
fn whoever_is_refused_for_the_first_policies_leaves_nothing_behind() -> Result<()> {
    let place = Place::new()?;
    let mut unread = place.spawn(&place.path("nowhere"), &[])?;
    ensure!(unread.wait()?.code() == Some(6), "as for `policy check`: {}", unread.said());
    ensure!(unread.said().contains("nowhere"), "{}", unread.said());
    place.policy("wrong.yaml", "version: processguard/v1\nservice: wrong\nnonsense: 1\n")?;
    let mut invalid = place.spawn(&place.policies(), &[])?;
    ensure!(invalid.wait()?.code() == Some(8), "{}", invalid.said());
    ensure!(invalid.said().contains("nonsense"), "{}", invalid.said());
    let begun = fs::read_dir(place.path("state"))?.next().transpose()?;
    ensure!(begun.is_none(), "a state was begun: {begun:?}");
    Ok(())
}
