//! A queue grows: workers are added until it is short again.

use std::collections::BTreeSet;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::host;

use crate::world::{World, lives, number, of_kind, within};

/// The queue, ended when it is dropped.
pub(crate) struct Queue(Child);

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// More than the policy's 20,000, and as many more as two workers can take.
pub(crate) fn queue(world: &World) -> Result<Queue> {
    let mut command = Command::new(host::guard_workload()?);
    command.args(["queue", "--port", "9308", "--metric", "kafka_consumergroup_lag", "--group", "orders"]);
    command.args(["--arrives", "290", "--length", "22000", "--truth"]).arg(world.srv("stream/queue"));
    Ok(Queue(command.spawn().context("start the queue")?))
}

pub(crate) fn story(world: &World, _: &Place) -> Result<()> {
    let first = within(Duration::from_secs(30), "two workers", || two_or_more(world, 2))?;
    ensure!(first.len() == 2, "{} workers at first", first.len());
    // A minute above, asked for every 15 s.
    let more = within(Duration::from_secs(150), "four workers", || two_or_more(world, 4))?;
    ensure!(first.is_subset(&more), "the first workers were ended: {first:?}, {more:?}");
    within(Duration::from_secs(180), "a short queue", || {
        let workers = alive(world)?;
        ensure!(workers.len() <= 6, "{} workers", workers.len());
        Ok((length(world)? < 5_000).then_some(()))
    })?;
    let last = alive(world)?;
    ensure!(first.is_subset(&last), "the first workers were ended: {first:?}, {last:?}");

    if host::Scale::wanted()? == host::Scale::Full {
        // Nothing comes any more: after ten minutes, and with five between two steps, two workers are enough.
        let answer = Command::new("curl").args(["-sf", "http://127.0.0.1:9308/arrives/0"]).status()?;
        ensure!(answer.success(), "the queue: {answer}");
        within(Duration::from_secs(25 * 60), "two workers again", || {
            let workers = alive(world)?;
            ensure!(workers.len() >= 2, "fewer than two workers");
            Ok((workers.len() == 2).then_some(()))
        })?;
    }
    Ok(())
}

/// The pids of all workers that ever began and still live.
fn alive(world: &World) -> Result<BTreeSet<u64>> {
    let truth = world.truth("stream/truth")?;
    let pids = of_kind(&truth, "queue-worker").into_iter().map(|line| number(line, "pid"));
    let pids = pids.collect::<Result<Vec<_>>>()?;
    Ok(pids.into_iter().filter(|pid| lives(*pid)).collect())
}

fn two_or_more(world: &World, count: usize) -> Result<Option<BTreeSet<u64>>> {
    let workers = alive(world)?;
    Ok((workers.len() >= count).then_some(workers))
}

/// What the queue wrote down last.
fn length(world: &World) -> Result<u64> {
    let truth = world.truth("stream/queue")?;
    number(of_kind(&truth, "length").last().context("the queue wrote nothing")?, "length")
}
