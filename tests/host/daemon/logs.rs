//! Lines of logs: none is lost, none is doubled, whoever dies.

use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};

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

/// The keeper dies with what it has read and not written yet, a tenth of a second's lines at most; the logger never hears of it.
#[test]
fn another_keeper_takes_the_pipes_of_one_that_was_killed() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "logger");
    let rate = 3_000;
    // More than it will have written when it is stopped.
    policy(&place, &truth, 1_000_000, rate)?;
    let daemon = place.start(&place.policies(), &[])?;
    truth.wait_for(1)?;
    let numbers = || -> Result<Vec<u32>> {
        let text = fs::read_to_string(place.path("logger.log")).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let number = |line: &str| line.trim_end().split_once(' ').and_then(|(_, number)| number.parse().ok());
        whole.map(|line| number(line).with_context(|| line.to_owned())).collect()
    };
    for _ in 0..3 {
        let before = numbers()?.len();
        host::wait_for("lines by way of this keeper", || Ok((numbers()?.len() > before).then_some(())))?;
        let old = host::wait_for("a keeper", || Ok(place.keeper()))?;
        sys::kill(old, libc::SIGKILL)?;
        host::wait_for("another keeper", || Ok(place.keeper().filter(|new| *new != old)))?;
    }
    let before = numbers()?.len();
    let numbers = host::wait_for("lines by way of the last keeper", || {
        Ok(Some(numbers()?).filter(|numbers| numbers.len() > before + 1_000))
    })?;
    ensure!(numbers.is_sorted_by(|one, next| one < next), "lines are doubled or out of order");
    let lost = numbers.last().context("no line")? - u32::try_from(numbers.len())?;
    ensure!(lost <= 3 * rate / 10, "{lost} lines are lost with three keepers");
    let said = fs::read_to_string(place.path("logger.truth"))?;
    ensure!(!said.contains("unheard"), "the logger's pipe broke: {said}");
    daemon.stop()
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

/// The keeper works in another directory than the daemon.
#[test]
fn a_relative_runtime_directory_is_the_keepers_too() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "logger");
    policy(&place, &truth, 20, 100)?;
    let mut command = place.command()?;
    command.current_dir(place.path("")).args(["daemon", "--policies", "policies", "--state", "state"]);
    command.args(["--runtime", "runtime", "--socket", "api.sock", "--cgroup", place.cgroup()]);
    command.args(["--pins", "bpf/processguard"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = command.spawn().context("start the daemon")?;
    let heard = check(&place, &truth, 20);
    let is_there = place.path("runtime/keeper.sock").exists();
    daemon.kill().context("end the daemon")?;
    daemon.wait().context("wait for the daemon")?;
    heard?;
    ensure!(is_there, "the keeper listens elsewhere");
    Ok(())
}
