//! Waits for the CPU: twin of the kernel's `sched.rs`.

use std::process::Command;

use anyhow::{Context, Result};
use guard_tests::record::Record;
use guard_tests::trace::Trace;
use guard_tests::tracer::{Sentinel, Tracer, json, trace_command};
use guard_tests::truth::{Truth, Workload};
use guard_tests::{host, sys};
use serde_json::Value;

/// Traces the waits of one process while it works; its poked signals show that the trace is attached.
fn waits_of(arguments: &[&str], options: &[&str]) -> Result<(i64, Truth, Trace)> {
    let workload = Workload::hold(arguments)?;
    let pid = workload.pid();
    let named = pid.to_string();
    let watch = ["--events", "stall,latency,signal,exit", "--pid", &named];
    let mut poke = Sentinel::doing("SIGWINCH", move || sys::kill(pid, libc::SIGWINCH));
    let tracer = Tracer::start_with(&json(&[&watch, options].concat()), &mut poke)?;
    let truth = workload.finish()?;
    let trace = tracer.stop()?;
    let others: Vec<_> = trace.records.iter().filter(|record| record.pid() != i64::from(pid)).collect();
    assert!(others.is_empty(), "nobody else is watched: {others:?}");
    Ok((pid.into(), truth, trace))
}

/// All waits of a kind, by length: the sum of the intervals.
fn histogram(trace: &Trace, name: &str) -> Result<Vec<u64>> {
    let mut sum = vec![0; 32];
    for record in trace.all("latency") {
        let field = format!("processguard.latency.{name}.buckets_log2_us");
        let buckets = record.field(&field).and_then(Value::as_array).context("no buckets")?;
        for (sum, waits) in sum.iter_mut().zip(buckets) {
            *sum += waits.as_u64().context("not a number")?;
        }
    }
    Ok(sum)
}

fn stalls<'a>(trace: &'a Trace, kind: &str) -> Vec<&'a Record> {
    trace
        .all("stall")
        .filter(|stall| stall.text("processguard.stall.kind").is_ok_and(|is| is == kind))
        .collect()
}

#[test]
fn sleeps_fall_into_the_bucket_of_their_length() -> Result<()> {
    // An emulated CPU can stand still after the nap's timer has started and before the switch is seen: that nap is shorter
    // by as much, 1 to 3 ms on two busy CPUs. There, naps are so long that they stay in their bucket (8 to 16 ms).
    let nap_us: u32 = if host::slowness()? > 1 { 15_000 } else { 5_000 };
    let naps = ["naps", "--count", "60", "--us", &nap_us.to_string()];
    let (_, truth, trace) = waits_of(&naps, &["--latency-interval", "100ms"])?;
    assert!(trace.all("latency").count() >= 2, "one event in each interval");
    let slept = histogram(&trace, "voluntary")?;
    let all = slept.iter().sum::<u64>();
    // One that is preempted on its way to sleep counts as that.
    assert!((55..=61).contains(&all), "60 naps: {slept:?}");
    let short = slept.iter().take(nap_us.ilog2() as usize).sum::<u64>();
    assert_eq!(short, 0, "in buckets of shorter ones: {slept:?}");
    for (percent, name) in [(50, "p50_us"), (90, "p90_us")] {
        let truth = u64::try_from(truth.one("naps")?.number(name)?)?.ilog2() as usize;
        let mut seen = 0;
        let bucket = slept.iter().position(|waits| {
            seen += waits;
            seen * 100 >= all * percent
        });
        let bucket = bucket.context("no waits")?;
        assert!(bucket.abs_diff(truth) <= 1, "{name}: bucket {bucket}, truly {truth}: {slept:?}");
    }
    let queued: u64 = histogram(&trace, "run_queue")?.iter().sum();
    assert!(queued >= all, "each nap ends in the run queue: {queued} of {all}");
    for record in trace.all("latency") {
        assert_eq!(record.number("processguard.latency.group")?, 1);
        assert_eq!(record.number("processguard.latency.negative")?, 0);
        assert_eq!(record.number("processguard.latency.missed")?, 0);
    }
    Ok(())
}

#[test]
fn a_stall_lasts_as_long_as_the_cpu_was_held_and_names_who_held_it() -> Result<()> {
    a_stall_names_the_hog(&["starve", "--ms", "300"])
}

#[test]
fn one_that_ran_for_a_moment_after_the_hog_is_not_named_also_if_the_wake_up_came_from_elsewhere() -> Result<()>
{
    a_stall_names_the_hog(&["inherit", "--ms", "300"])
}

#[test]
fn of_two_that_ran_during_the_wait_the_longer_is_named_whoever_ran_for_longer_before() -> Result<()> {
    // As seen once: the waiting one was woken behind the heir, the hog came, and somebody had held the CPU for longer than
    // the hog just before.
    let workload = ["inherit", "--ms", "150", "--before", "300", "--early", "120"];
    let (_, truth, trace) = waits_of(&workload, &[])?;
    let held = truth.one("held")?;
    let held_ns = held.number("ns")?;
    let waited_for_both = |stall: &&Record| {
        stall.number("processguard.stall.waited_ns").is_ok_and(|waited_ns| waited_ns >= held_ns)
    };
    // The first one, if it is there, is that behind whoever ran before.
    let stalls = stalls(&trace, "run_queue");
    let stall =
        stalls.iter().copied().rfind(waited_for_both).with_context(|| format!("no stall: {stalls:?}"))?;
    assert_eq!(stall.text("processguard.stall.instead.name")?, "pg-hog", "{stalls:?}");
    assert_eq!(stall.number("processguard.stall.instead.pid")?, held.pid()?);
    Ok(())
}

fn a_stall_names_the_hog(workload: &[&str]) -> Result<()> {
    let (pid, truth, trace) = waits_of(workload, &[])?;
    let held = truth.one("held")?;
    let held_ns = held.number("ns")?;
    // The hog's own stamps lie within its time on the CPU; the victim came at most a nap after its start.
    let slack_ns = 20_000_000 * i64::from(host::slowness()?);
    let stalls = stalls(&trace, "run_queue");
    let mut by_hog = stalls.iter().filter(|stall| {
        stall
            .number("processguard.stall.instead.pid")
            .is_ok_and(|pid| Ok::<_, ()>(pid) == held.pid().map_err(drop))
    });
    let stall = by_hog.next().with_context(|| format!("no stall by {held:?}: {stalls:?}"))?;
    assert!(by_hog.next().is_none(), "one stall by {held:?}: {stalls:?}");
    let waited_ns = stall.number("processguard.stall.waited_ns")?;
    assert!((waited_ns - held_ns).abs() <= slack_ns, "waited {waited_ns}, held {held_ns}");
    assert_eq!(stall.text("processguard.stall.instead.name")?, "pg-hog");
    assert_eq!(stall.number("processguard.stall.cpu")?, held.number("cpu")?);
    assert_eq!(stall.number("processguard.stall.thread")?, pid);
    assert!(!stall.flag("processguard.stall.ongoing"));
    let queued = histogram(&trace, "run_queue")?;
    assert!(queued.iter().skip(17).take(3).sum::<u64>() >= 1, "131 ms to 1.05 s: {queued:?}");
    Ok(())
}

#[test]
fn a_short_wait_is_no_stall() -> Result<()> {
    let (_, _, trace) = waits_of(&["starve", "--ms", "100"], &["--stall-run-queue", "30s"])?;
    assert_eq!(trace.all("stall").count(), 0, "{:?}", trace.records);
    Ok(())
}

#[test]
fn an_uninterruptible_sleep_is_told_while_it_lasts_and_when_it_ends() -> Result<()> {
    let (pid, truth, trace) = waits_of(&["blocked", "--ms", "3500"], &[])?;
    let slept_ns = truth.one("blocked")?.number("ns")?;
    let stalls = stalls(&trace, "uninterruptible");
    let [lasting, over] = stalls[..] else { panic!("{stalls:?}") };
    let waited = |stall: &Record| stall.number("processguard.stall.waited_ns");
    assert!(lasting.flag("processguard.stall.ongoing") && !over.flag("processguard.stall.ongoing"));
    // Looked for every second: between one and two seconds after it began, and told once.
    assert!((1_000_000_000..3_000_000_000).contains(&waited(lasting)?), "{lasting:?}");
    let slack_ns = 50_000_000 * i64::from(host::slowness()?);
    assert!((slept_ns - slack_ns..=slept_ns).contains(&waited(over)?), "{over:?}, truly {slept_ns}");
    for stall in [lasting, over] {
        assert_eq!(stall.number("processguard.stall.thread")?, pid);
        assert_eq!(stall.identity("process")?, over.identity("process")?);
        assert_eq!(stall.text("process.name")?, "guard-workload");
    }
    let slept = histogram(&trace, "uninterruptible")?;
    assert!(slept[21..=22].iter().sum::<u64>() == 1, "2.1 to 8.4 s: {slept:?}");
    Ok(())
}

#[test]
fn a_process_that_hangs_already_is_found() -> Result<()> {
    // Longer than any machine needs to attach, and let go once it was found.
    let blocked = Workload::start(&["blocked", "--or-told", "--ms", "120000"])?;
    let pid = blocked.pid();
    host::wait_for("the uninterruptible sleep", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        Ok((state == Some("D")).then_some(()))
    })?;
    let arguments = json(&["--events", "stall", "--pid", &pid.to_string(), "--count", "1"]);
    let trace = Tracer::spawn(&trace_command(&arguments)?)?.finish()?;
    let stall = trace.all("stall").next().context("no stall")?;
    assert!(stall.flag("processguard.stall.ongoing"), "{stall:?}");
    assert_eq!(stall.number("processguard.stall.thread")?, i64::from(pid));
    blocked.finish()?;
    Ok(())
}

#[test]
fn an_exit_tells_how_the_process_began() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = guard_tests::truth::run(&["listen"])?;
    let trace = tracer.stop()?;
    let pid = truth.one("listener")?.pid()?;
    let one = |action| trace.with_pid(action, pid).next().with_context(|| format!("no {action} of {pid}"));
    let (exec, listen, exit) = (one("exec")?, one("listen")?, one("exit")?);
    assert_eq!(exit.number("processguard.fork_to_exec_ns")?, exec.number("processguard.exec.since_fork_ns")?);
    let to_listen = u64::try_from(exit.number("processguard.exec_to_listen_ns")?)?;
    assert_eq!(to_listen, listen.time_ns()? - exec.time_ns()?);
    assert!(exit.number("processguard.lifetime_ns")? > 0);
    Ok(())
}

#[test]
fn whose_waits_must_be_said() -> Result<()> {
    for kind in ["latency", "stall"] {
        let output = Command::new(host::processguard()?).args(["trace", "--events", kind]).output()?;
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr)?;
        assert!(text.contains(kind) && text.contains("--pid"), "{text}");
    }
    let idle = ["trace", "--events", "exec", "--latency-interval", "1s"];
    let output = Command::new(host::processguard()?).args(idle).output()?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr)?.contains("--events latency"));
    Ok(())
}
