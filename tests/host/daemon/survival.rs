//! The daemon is killed while it stops a service: what an operator asked for is done once, and stays done.

use anyhow::{Context as _, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};

use super::{Truth, service};

/// What a stop by hand passes, from the first signal to the last.
const POINTS: [&str; 4] = ["signal.before", "signal.after", "kill.before", "kill.after"];

#[test]
fn killed_at_each_step_of_a_stop_it_is_stopped_once_and_for_all() -> Result<()> {
    for point in POINTS {
        stopped_at(point).with_context(|| point.to_owned())?;
    }
    Ok(())
}

fn stopped_at(point: &str) -> Result<()> {
    let place = Place::new()?;
    let (stopped, other) = (Truth::new(&place, "stopped"), Truth::new(&place, "other"));
    let ignores = stopped.service("stopped", "stop: { signal: SIGTERM, timeout: 100ms }\n")?;
    // Only who ignores the signal is killed.
    let ignores = ignores.replace(", once,", ", ignorer,");
    place.policy("stopped.yaml", &ignores)?;
    place.policy("other.yaml", &other.service("other", "")?)?;
    let mut daemon = place.start_failing(&place.policies(), point)?;
    let (pid, bystander) = (stopped.wait_for(1)?, other.wait_for(1)?);
    // Its daemon dies before it can answer.
    let asked = place.client(&["stop", "stopped"])?;
    let status = daemon.wait()?;
    ensure!(!status.success(), "the point was not passed: {asked:?}");

    let daemon = place.start(&place.policies(), &[])?;
    host::wait_for("the end of what was stopped", || Ok((!sys::is_alive(pid)).then_some(())))?;
    host::wait_for("the state `stopped`", || {
        let now = service(&place, "stopped")?;
        Ok((now.get("state") == Some(&"stopped".into())).then_some(()))
    })?;
    ensure!(stopped.pids()? == [pid], "it was started again: {:?}", stopped.pids()?);
    ensure!(other.pids()? == [bystander], "another service was disturbed: {:?}", other.pids()?);
    ensure!(sys::is_alive(bystander), "another service has ended");
    daemon.stop()
}

/// A job that ended well while no daemon was there is not run again, and its exit is known exactly.
#[test]
fn a_job_that_ended_without_a_daemon_is_not_run_again() -> Result<()> {
    let place = Place::new()?;
    let job = Truth::new(&place, "job");
    let policy = job.service("job", "")?.replace("on: always", "on: failure");
    place.policy("job.yaml", &policy.replace(", once,", ", once, --seconds, \"0.5\","))?;
    let daemon = place.start(&place.policies(), &[])?;
    let pid = job.wait_for(1)?;
    daemon.kill()?;
    host::wait_for("the job's end", || Ok((!sys::is_alive(pid)).then_some(())))?;
    for _ in 0..host::scaled(2, 20)? {
        let daemon = place.start(&place.policies(), &[])?;
        let now = service(&place, "job")?;
        ensure!(job.pids()? == [pid], "it was run again: {:?}, {now}", job.pids()?);
        daemon.kill()?;
    }
    Ok(())
}
