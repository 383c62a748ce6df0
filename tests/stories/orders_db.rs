//! PostgreSQL: a primary that does not stay up, two standbys, a fence, and a client that remembers what it was promised.

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::sys;
use serde_json::Value;

use crate::world::{World, lives, within};

const PORTS: [u16; 3] = [5432, 5433, 5434];

/// Makes the three servers' directories.
pub(crate) fn prepare(world: &World) -> Result<()> {
    let mut command = world.command("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "/usr/local/bin/prepare"]);
    let output = command.current_dir("/").output().context("prepare the databases")?;
    ensure!(output.status.success(), "prepare: {}", text(&output));
    Ok(())
}

pub(crate) fn story(world: &World, place: &Place) -> Result<()> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| write(world, &over));
        let primaries = scope.spawn(|| look(world, &over));
        let told = tell(world, place);
        over.store(true, Ordering::Relaxed);
        let acknowledged = client.join().ok().context("the client panicked")??;
        let two_at_once = primaries.join().ok().context("the looker panicked")??;
        told?;
        ensure!(two_at_once == 0, "two primaries, seen {two_at_once} times");
        let found: BTreeSet<u64> =
            ask(world, 5433, "select id from orders")?.lines().filter_map(|id| id.parse().ok()).collect();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        ensure!(acknowledged.len() >= 20, "only {} writes were acknowledged", acknowledged.len());
        ensure!(lost.is_empty(), "acknowledged, but lost: {lost:?}");
        Ok(())
    })
}

fn tell(world: &World, place: &Place) -> Result<()> {
    let mut server = within(Duration::from_secs(60), "the primary takes writes", || primary(world))?;
    for death in 1..=3 {
        sys::kill(server, libc::SIGKILL)?;
        if death == 3 {
            break;
        }
        let old = server;
        server = within(Duration::from_secs(60), "the primary is back", || {
            Ok(primary(world)?.filter(|next| *next != old))
        })?;
        ensure!(!lives(old.unsigned_abs().into()), "the old primary still lives");
    }
    // Its budget is spent. Nobody takes over by himself.
    let approval = within(Duration::from_secs(60), "a step waits for approval", || {
        let waiting = place.json(&["approvals", "list"])?;
        let waiting = waiting.get("approvals").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(waiting.iter().find_map(|one| one.get("id")?.as_u64()))
    })?;
    ensure!(PORTS.iter().all(|port| !takes_writes(world, *port)), "somebody took over unasked");
    place.json(&["approvals", "approve", &approval.to_string()])?;
    within(
        Duration::from_secs(90),
        "standby a takes writes",
        || Ok(takes_writes(world, 5433).then_some(())),
    )?;
    let control = world.srv("orders-db/global/pg_control");
    ensure!(!control.exists(), "no fence: {} is there", control.display());
    within(Duration::from_secs(60), "standby b follows", || {
        let followers =
            ask(world, 5433, "select count(*) from pg_stat_replication where application_name = 'b'");
        Ok(followers.is_ok_and(|count| count.trim() == "1").then_some(()))
    })?;
    // Whoever wants the old one back gets an error, not a second primary.
    place.client(&["start", "orders-db", "--no-wait"])?;
    thread::sleep(Duration::from_secs(10));
    ensure!(!takes_writes(world, 5432) && !takes_writes(world, 5434), "a second primary");
    Ok(())
}

/// The postmaster on the primary's directory, if it takes writes.
fn primary(world: &World) -> Result<Option<i32>> {
    if !takes_writes(world, 5432) {
        return Ok(None);
    }
    let file = std::fs::read_to_string(world.srv("orders-db/postmaster.pid")).unwrap_or_default();
    Ok(file.lines().next().and_then(|pid| pid.parse().ok()))
}

/// Writes numbers to whoever takes writes, until it is over. Those that were acknowledged.
fn write(world: &World, over: &AtomicBool) -> Result<BTreeSet<u64>> {
    let anyone = "host=/run/postgresql,/run/postgresql,/run/postgresql port=5432,5433,5434 user=postgres dbname=orders \
                  target_session_attrs=read-write connect_timeout=2";
    let mut acknowledged = BTreeSet::new();
    for id in 1_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let mut command = world.command("/usr/lib/postgresql/15/bin/psql");
        command.args(["--no-psqlrc", "--quiet", "--dbname", anyone, "--command"]);
        // Whoever waits for a standby that is away gives up; the number is not acknowledged then.
        command.arg(format!("set statement_timeout = '5s'; insert into orders values ({id})"));
        let output = command.output().context("run psql")?;
        // A warning: it waited for standbys in vain, so nobody has promised anything.
        if output.status.success() && output.stderr.is_empty() {
            acknowledged.insert(id);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(acknowledged)
}

/// Looks for two servers that take writes, until it is over: how often there were.
fn look(world: &World, over: &AtomicBool) -> Result<u32> {
    let mut seen = 0;
    while !over.load(Ordering::Relaxed) {
        seen += u32::from(PORTS.iter().filter(|port| takes_writes(world, **port)).count() > 1);
        thread::sleep(Duration::from_millis(100));
    }
    Ok(seen)
}

fn takes_writes(world: &World, port: u16) -> bool {
    ask(world, port, "select pg_is_in_recovery()").is_ok_and(|answer| answer.trim() == "f")
}

fn ask(world: &World, port: u16, question: &str) -> Result<String> {
    let mut command = world.command("/usr/lib/postgresql/15/bin/psql");
    command.args([
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--host",
        "/run/postgresql",
        "--username",
        "postgres",
    ]);
    command.args(["--port", &port.to_string(), "--dbname", "orders", "--command", question]);
    let output = command.env("PGCONNECT_TIMEOUT", "2").output().context("run psql")?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
