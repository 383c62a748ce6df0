//! runqlat of libbpf-tools, as an oracle: over the same time and the same process, the same distribution.

use std::ffi::OsString;

use anyhow::{Context, Result, ensure};
use guard_tests::host;
use guard_tests::tracer::{Sentinel, Tracer, json};
use guard_tests::truth::Workload;
use guard_tests::{sys, trace::Trace};
use serde_json::Value;

/// Buckets of powers of two of a microsecond.
type Buckets = Vec<u64>;

/// Lines like `4 -> 7  : 12  |****  |`.
fn table(text: &str) -> Result<Buckets> {
    let mut buckets = vec![0; 32];
    for line in text.lines().filter(|line| line.contains("->")) {
        let numbers: Vec<u64> = line
            .split(|letter: char| !letter.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect();
        let [from, _, count, ..] = numbers[..] else { continue };
        let at = from.max(1).ilog2() as usize;
        *buckets.get_mut(at).context("a bucket beyond the last")? += count;
    }
    Ok(buckets)
}

fn ours(trace: &Trace) -> Result<Buckets> {
    let mut sum = vec![0; 32];
    for record in trace.all("latency") {
        let name = "processguard.latency.run_queue.buckets_log2_us";
        let buckets = record.field(name).and_then(Value::as_array).context("no buckets")?;
        for (sum, waits) in sum.iter_mut().zip(buckets) {
            *sum += waits.as_u64().context("not a number")?;
        }
    }
    Ok(sum)
}

/// The bucket that a share of all waits stays below.
fn quantile(buckets: &Buckets, share: f64) -> usize {
    let wanted = (buckets.iter().sum::<u64>() as f64 * share).ceil() as u64;
    let mut seen = 0;
    let found = buckets.iter().position(|waits| {
        seen += waits;
        seen >= wanted
    });
    found.unwrap_or(buckets.len())
}

/// How many waits are in a bucket or below it.
fn below(buckets: &Buckets, bucket: usize) -> u64 {
    buckets.iter().take(bucket + 1).sum()
}

#[test]
fn histograms_agree_with_runqlat() -> Result<()> {
    let workload = Workload::hold(&["rivals", "--ms", host::scaled("3000", "10000")?])?;
    let pid = workload.pid();
    let named = pid.to_string();
    let runqlat = Tracer::spawn(&[host::tool("runqlat")?.into(), "-p".into(), OsString::from(&named)])?;
    let mut poke = Sentinel::doing("SIGWINCH", move || sys::kill(pid, libc::SIGWINCH));
    let tracer = Tracer::start_with(&json(&["--events", "latency,signal", "--pid", &named]), &mut poke)?;
    // It has no sign of being attached but its programs; loading them takes a fraction of a second.
    host::wait_for("runqlat's programs", || {
        let held = guard_tests::bpf::Objects::held_by(runqlat.pid())?;
        Ok((held.links.len() >= 3).then_some(()))
    })?;
    workload.finish()?;
    let (theirs, trace) = (runqlat.interrupt()?, tracer.stop()?);
    let theirs = table(&String::from_utf8_lossy(&theirs.stdout))?;
    let ours = ours(&trace)?;
    println!("runqlat {theirs:?}\nours    {ours:?}");
    let (all, all_theirs) = (ours.iter().sum::<u64>(), theirs.iter().sum::<u64>());
    ensure!(all_theirs > 300, "the oracle saw next to nothing: {theirs:?}");
    // It also counts a thread that was about to sleep and did not, from the wake-up that never was one.
    assert!(all.abs_diff(all_theirs) * 50 <= all_theirs, "{all} waits, {all_theirs} by runqlat");
    for share in [0.1, 0.25, 0.5, 0.75, 0.9, 0.99] {
        let (mine, theirs) = (quantile(&ours, share), quantile(&theirs, share));
        assert!(mine.abs_diff(theirs) <= 1, "p{}: bucket {mine}, {theirs} by runqlat", share * 100.0);
    }
    // Bucket by bucket: what is below a bucket here is there below the next one, and the reverse.
    let slack = all_theirs / 50;
    for bucket in 0..31 {
        assert!(below(&ours, bucket) <= below(&theirs, bucket + 1) + slack, "{ours:?}, {theirs:?}");
        assert!(below(&theirs, bucket) <= below(&ours, bucket + 1) + slack, "{ours:?}, {theirs:?}");
    }
    Ok(())
}
