//! Who is started and stopped first, and when somebody counts as up.

use std::fs;

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, free_port, service};

/// A service that writes down that it was told to end.
fn polite(place: &Place, name: &str, more: &str) -> Result<()> {
    let order = place.path("order");
    let script =
        format!("trap \"echo {name} >>{}; exit 0\" TERM; while :; do sleep 0.02; done", order.display());
    place.policy(
        &format!("{name}.yaml"),
        &format!(
            "version: processguard/v1\nservice: {name}\nrun: {{ command: [/bin/sh, -c, '{script}'], log: {{ none: {{}} }} }}\n{more}"
        ),
    )
}

#[test]
fn started_after_what_it_needs_is_up() -> Result<()> {
    let place = Place::new()?;
    let (base, user) = (Truth::new(&place, "base"), Truth::new(&place, "user"));
    let port = free_port()?;
    let options = format!(", listen-late, --port, \"{port}\", --after-ms, \"300\",");
    let ready = format!("ready: {{ listen: {port}, within: 30s }}\n");
    place.policy("base.yaml", &base.service("base", &ready)?.replace(", once,", &options))?;
    place.policy("a-user.yaml", &user.service("a-user", "depends_on: [base]\n")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    user.wait_for(1)?;
    let moment = |name: &str, what: &str| -> Result<u64> {
        let text = fs::read_to_string(place.path(&format!("{name}.truth")))?;
        let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let line = lines.iter().find(|line| line.get("what").is_some_and(|found| found == what));
        line.and_then(|line| line.get("time_ns")?.as_u64()).with_context(|| format!("no {what}: {text}"))
    };
    let (listens, began) = (moment("base", "listens")?, moment("user", "once")?);
    ensure!(listens < began, "started {} ns before the other listened", listens - began);
    daemon.stop()
}

#[test]
fn stopped_before_what_it_needs() -> Result<()> {
    let place = Place::new()?;
    polite(&place, "base", "")?;
    polite(&place, "middle", "depends_on: [base]\n")?;
    polite(&place, "a-top", "depends_on: [middle]\n")?;
    // Up only when the trap is set.
    let daemon = place.start(&place.policies(), &[])?;
    host::wait_for("all to be healthy", || {
        for name in ["base", "middle", "a-top"] {
            if service(&place, name)?.get("state") != Some(&"healthy".into()) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let output = place.client(&["stop", "--all"])?;
    ensure!(output.status.success(), "{output:?}");
    let order = fs::read_to_string(place.path("order")).context("nobody was told to end")?;
    ensure!(order.lines().eq(["a-top", "middle", "base"]), "{order}");
    daemon.stop()
}

/// Each way to be ready holds a dependent back until it is so.
#[test]
fn ready_by_notification_program_and_delay() -> Result<()> {
    let place = Place::new()?;
    let gate = place.path("gate");
    let wait = format!("while ! [ -e {} ]; do sleep 0.02; done", gate.display());
    let ways = [
        ("by-notify", format!("{wait}; systemd-notify --ready; exec sleep 1000"), "notify: {}".to_owned()),
        (
            "by-program",
            "exec sleep 1000".to_owned(),
            format!("exec: {{ command: [/usr/bin/test, -e, {}] }}", gate.display()),
        ),
        ("by-delay", "exec sleep 1000".to_owned(), "delay: 300ms".to_owned()),
    ];
    for (name, script, ready) in &ways {
        place.policy(
            &format!("{name}.yaml"),
            &format!(
                "version: processguard/v1\nservice: {name}\nrun: {{ command: [/bin/sh, -c, '{script}'], log: {{ none: {{}} }} }}\n\
                 ready: {{ {ready}, within: 30s }}\n"
            ),
        )?;
    }
    let daemon = place.start(&place.policies(), &[])?;
    let healthy =
        |name: &str| -> Result<bool> { Ok(service(&place, name)?.get("state") == Some(&"healthy".into())) };
    let wait_for = |name: &str| {
        host::wait_for(&format!("{name} to be healthy"), || Ok(healthy(name)?.then_some(())))
            .with_context(|| daemon.said())
    };
    wait_for("by-delay")?;
    ensure!(!healthy("by-notify")? && !healthy("by-program")?, "ready, though nobody has said so");
    fs::write(&gate, "")?;
    wait_for("by-notify")?;
    wait_for("by-program")?;
    ensure!(sys::is_alive(daemon.pid()));
    daemon.stop()
}
