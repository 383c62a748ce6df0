//! Runners whose jobs hang are marked, their jobs queued again, and they are restarted; the others go on.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guard_tests::daemon::Place;
use guard_tests::host::Scale;
use guard_tests::sys;
use serde_json::Value;

use crate::world::{World, lives, number, of_kind, within};

/// Five minutes without progress, the hooks, the stop of 20 s: with as much as two minutes more for a busy machine.
const HUNG: Duration = Duration::from_secs(450);

pub(crate) fn story(world: &World, _: &Place) -> Result<()> {
    let first = within(Duration::from_secs(30), "three runners", || {
        let lives = (0..3).map(|slot| life(world, slot, 0)).collect::<Result<Vec<_>>>()?;
        Ok(lives.into_iter().collect::<Option<Vec<_>>>())
    })?;
    let mut hung = Vec::new();
    for slot in [1, 2] {
        hung.push(within(Duration::from_secs(20), "a job hangs", || one(world, slot, "hung", 0))?);
    }
    if Scale::wanted()? != Scale::Full {
        return patience(world, &first, &hung);
    }
    let mut next = Vec::new();
    for slot in [1, 2] {
        next.push(within(HUNG, "a next life", || life(world, slot, 1))?);
    }
    for ((slot, hung), next) in [1_u64, 2].into_iter().zip(&hung).zip(&next) {
        let waited = number(next, "time_ns")? - number(hung, "time_ns")?;
        ensure!(waited > 295_000_000_000, "slot {slot} was restarted {waited} ns after it hung");
        ensure!(!lives(number(hung, "pid")?), "the old runner of slot {slot} still lives");
    }
    let [asked, killed] = next.as_slice() else { bail!("{next:?}") };
    let (asked, killed) = (number(asked, "time_ns")?, number(killed, "time_ns")?);
    ensure!(killed > asked + 15_000_000_000, "slot 2 minds no SIGTERM: it had its 20 s");
    let told = fs::read_to_string(world.srv("ci/told")).context("what ci-ctl was told")?;
    let orders: Vec<_> =
        told.lines().filter_map(|line| line.rsplit_once(' ')).map(|(order, _)| order).collect();
    for slot in [1, 2] {
        let of_slot: Vec<_> = orders.iter().filter(|order| order.ends_with(&format!(" {slot}"))).collect();
        ensure!(of_slot == [&format!("mark-hung {slot}"), &format!("requeue {slot}")], "slot {slot}: {told}");
    }
    ensure!(orders.len() == 4, "more was done: {told}");
    let zero = number(first.first().context("no runner 0")?, "pid")?;
    ensure!(lives(zero) && life(world, 0, 1)?.is_none(), "runner 0 was not left alone");
    Ok(())
}

/// How long a runner may hang unharmed in a quick run, which has no five minutes: no longer than the other stories take.
const UNHARMED: Duration = Duration::from_secs(90);

/// What can be seen of it without the five minutes: whoever hangs is left alone until then, and one that does not mind SIGTERM and
/// is killed by somebody else is back, while the other ones go on.
fn patience(world: &World, first: &[Value], hung: &[Value]) -> Result<()> {
    thread::sleep(UNHARMED);
    for runner in first {
        ensure!(lives(number(runner, "pid")?), "ended before its time: {runner}");
    }
    ensure!(!world.srv("ci/told").exists(), "orders before their time");
    let deaf = number(hung.last().context("no runner 2")?, "pid")?;
    let killed_ns = sys::boottime_ns();
    sys::kill(i32::try_from(deaf)?, libc::SIGKILL)?;
    let next = within(Duration::from_secs(20), "the killed runner's next life", || life(world, 2, 1))?;
    let away_ns = number(&next, "time_ns")? - killed_ns;
    // The policy's first wait, which has no chance in it.
    ensure!((1_000_000_000..3_000_000_000).contains(&away_ns), "back after {away_ns} ns");
    ensure!(!lives(deaf), "the old runner of slot 2 still lives");
    for slot in [0, 1] {
        ensure!(life(world, slot, 1)?.is_none(), "the runner of slot {slot} was not left alone");
    }
    Ok(())
}

/// The life of a slot's runner with this number, counted from 0.
fn life(world: &World, slot: u32, number: usize) -> Result<Option<Value>> {
    one(world, slot, "hanger", number)
}

fn one(world: &World, slot: u32, what: &str, number: usize) -> Result<Option<Value>> {
    let truth = world.truth(&format!("ci/{slot}/truth"))?;
    Ok(of_kind(&truth, what).get(number).map(|line| (*line).clone()))
}
