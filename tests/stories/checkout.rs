//! A worker that leaks is restarted before the kernel would end it; its neighbour goes on.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::sys;
use serde_json::Value;

use crate::world::{World, lives, number, of_kind, within};

/// 37 s to 400 MiB, 30 s above, samples and the stop: with as much again for a busy machine.
const RESTARTED: Duration = Duration::from_secs(150);

pub(crate) fn story(world: &World, _: &Place) -> Result<()> {
    let both = within(Duration::from_secs(30), "two workers", || {
        let truth = world.truth("checkout/truth")?;
        Ok((of_kind(&truth, "leaky-worker").len() >= 2 && ask(8080).is_ok() && ask(8081).is_ok())
            .then_some(()))
    });
    both?;
    let (good, leaking) = (worker(world, 8080, 0)?, worker(world, 8081, 0)?);
    let mut most_kib = 0;
    let mut refused = 0;
    let again = within(RESTARTED, "the leaking worker's next life", || {
        // A client of the good one is never sent away.
        refused += u32::from(ask(8080).is_err());
        most_kib = most_kib.max(rss_kib(number(&leaking, "pid")?).unwrap_or(0));
        worker_if(world, 8081, 1)
    })?;
    ensure!(refused == 0, "the good worker failed {refused} clients");
    ensure!(most_kib > 400 << 10, "it was restarted at {most_kib} KiB");
    ensure!(!lives(number(&leaking, "pid")?), "the old worker still lives");
    let lived = number(&again, "time_ns")? - number(&leaking, "time_ns")?;
    ensure!(lived > 60_000_000_000, "it was restarted after {lived} ns: too early");

    // A crash by its own fault: nobody else is the cause of it.
    let pid = i32::try_from(number(&good, "pid")?)?;
    let crashed_ns = sys::boottime_ns();
    sys::kill(pid, libc::SIGSEGV)?;
    let back =
        within(Duration::from_secs(20), "the crashed worker's next life", || worker_if(world, 8080, 1))?;
    let away_ns = number(&back, "time_ns")? - crashed_ns;
    // The policy's first wait is 100 ms, a quarter more by chance.
    ensure!((75_000_000..1_000_000_000).contains(&away_ns), "back after {away_ns} ns");
    within(Duration::from_secs(10), "an answer of its next life", || Ok(ask(8080).ok()))?;
    ensure!(worker_if(world, 8080, 2)?.is_none() && worker_if(world, 8081, 2)?.is_none(), "restarted twice");
    Ok(())
}

/// The life with this number, counted from 0, of the worker of a port, as it wrote it down.
fn worker_if(world: &World, port: u64, life: usize) -> Result<Option<Value>> {
    let truth = world.truth("checkout/truth")?;
    let mut of_port = of_kind(&truth, "leaky-worker")
        .into_iter()
        .filter(|line| line.get("port").is_some_and(|found| found == port));
    Ok(of_port.nth(life).cloned())
}

fn worker(world: &World, port: u64, life: usize) -> Result<Value> {
    worker_if(world, port, life)?.with_context(|| format!("no worker on {port}"))
}

/// A client with a second's patience.
fn ask(port: u16) -> Result<()> {
    let began = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let patience = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    ensure!(&answer == b"HTTP/1.1 200" && began.elapsed() < patience, "not well");
    Ok(())
}

fn rss_kib(pid: u64) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
