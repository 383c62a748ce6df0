//! Lines of logs: none is lost, none is doubled, whoever dies.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::host;

use super::Truth;

/// A logger's policy, and where its lines go.
fn policy(place: &Place, truth: &Truth, lines: u32, rate: u32) -> Result<()> {
    let options = format!(", logger, --count, \"{lines}\", --rate, \"{rate}\",");
    let text = truth.service("logger", "")?.replace(", once,", &options).replace("on: always", "on: failure");
    let log = format!("log: {{ file: {} }}", place.path("logger.log").display());
    place.policy("logger.yaml", &text.replace("log: { none: {} }", &log))
}

/// Waits for the last line, then compares all of them with what one process has written.
fn check(place: &Place, truth: &Truth, lines: u32) -> Result<()> {
    let pid = truth.wait_for(1)?;
    let last = format!("{pid} {lines}\n");
    let path = place.path("logger.log");
    let text = host::wait_for("the last line of the log", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        Ok(text.ends_with(&last).then_some(text))
    })
    .with_context(|| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        format!("{} lines; its own words: {:?}", text.lines().count(), truth.pids())
    })?;
    let wanted: String = (1..=lines).map(|number| format!("{pid} {number}\n")).collect();
    ensure!(text == wanted, "lines are lost or doubled: {} of {lines}", text.lines().count());
    Ok(())
}

#[test]
fn no_line_is_lost_while_daemons_come_and_go() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "logger");
    let lines = host::scaled(6_000, 200_000)?;
    policy(&place, &truth, lines, 3_000)?;
    let mut daemon = place.start(&place.policies(), &[])?;
    truth.wait_for(1)?;
    for _ in 0..host::scaled(4, 50)? {
        daemon.kill()?;
        daemon = place.start(&place.policies(), &[])?;
    }
    check(&place, &truth, lines)?;
    daemon.stop()
}
