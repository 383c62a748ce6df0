//! The daemon is killed at any moment: services go on, none is lost, none is doubled.

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, service};

#[test]
fn services_go_on_without_their_daemon() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "steady");
    place.policy("steady.yaml", &truth.service("steady", "")?)?;
    let mut daemon = place.start(&place.policies(), &[])?;
    let pid = truth.wait_for(1)?;
    for _ in 0..host::scaled(3, 100)? {
        daemon.kill()?;
        ensure!(sys::is_alive(pid), "the service died with its daemon");
        daemon = place.start(&place.policies(), &[])?;
        ensure!(service(&place, "steady")?.get("state") == Some(&"healthy".into()));
    }
    ensure!(truth.pids()? == [pid], "it was started again: {:?}", truth.pids()?);
    truth.kill(1)?;
    daemon.stop()
}

#[test]
fn a_death_without_a_daemon_is_taken_up_with_its_cause() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "orphan");
    place.policy("orphan.yaml", &truth.service("orphan", "")?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let pid = truth.wait_for(1)?;
    daemon.kill()?;
    sys::kill(pid, libc::SIGABRT)?;
    let daemon = place.start(&place.policies(), &[])?;
    truth.wait_for(2)?;
    let incident = super::closed_incident(&place, "orphan")?;
    let cause = incident.get("cause").and_then(Value::as_str).context("no cause")?;
    ensure!(cause.contains("SIGABRT"), "the cause is {cause:?}");
    daemon.stop()
}

/// At each point that a restart passes, the daemon dies once. The service has one life more each time, and not two.
#[test]
fn killed_at_each_step_of_a_restart_nothing_is_lost_or_doubled() -> Result<()> {
    const POINTS: [&str; 6] =
        ["end.seen", "end.taken-in", "start.decided", "start.written", "start.prepared", "start.done"];
    for point in POINTS {
        let place = Place::new()?;
        let truth = Truth::new(&place, "victim");
        place.policy("victim.yaml", &truth.service("victim", "")?)?;
        let daemon = place.start(&place.policies(), &[])?;
        truth.wait_for(1)?;
        daemon.kill()?;
        let mut daemon = place.start_failing(&place.policies(), point)?;
        let first = truth.wait_for(1)?;
        sys::kill(first, libc::SIGKILL)?;
        let status = daemon.wait()?;
        ensure!(!status.success(), "{point} was not passed");
        let daemon = place.start(&place.policies(), &[])?;
        let second = truth.wait_for(2)?;
        // Another start would have come by now: it takes milliseconds.
        let healthy = service(&place, "victim")?;
        ensure!(truth.pids()?.len() == 2, "{point}: lives {:?}, {healthy}", truth.pids()?);
        ensure!(sys::is_alive(second), "{point}: the second one has ended");
        truth.kill(2)?;
        daemon.stop()?;
    }
    Ok(())
}
