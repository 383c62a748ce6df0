//! Steps of the clock on the wall.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::kept::{Truth, closed_incident, service};
use guard_tests::record::Record;
use guard_tests::tracer::{Sentinel, Tracer, json, trace_command};
use guard_tests::{host, sys, truth};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

const HOUR_NS: i64 = 3600 * 1_000_000_000;

/// The tracer measures how far the clocks are apart a moment later than a record is made.
const TOLERANCE_NS: i64 = 1_000_000;

/// Nanoseconds since 1970.
fn utc_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Puts the clock forward, or back, and puts it right when dropped.
struct Step(i64);

impl Step {
    fn by(ns: i64) -> Result<Self> {
        set(utc_ns() + ns)?;
        Ok(Self(ns))
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let _ = set(utc_ns() - self.0);
    }
}

fn set(utc_ns: i64) -> Result<()> {
    let (tv_sec, tv_nsec) = (utc_ns.div_euclid(1_000_000_000), utc_ns.rem_euclid(1_000_000_000));
    clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec }).context("set the clock")
}

/// Nanoseconds since 1970 of `2026-01-31T12:34:56.123456789Z`.
fn timestamp_ns(record: &Record) -> Result<i64> {
    let text = record.text("@timestamp")?;
    let numbers: Vec<i64> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let &[year, month, day, hour, minute, second, ns] = &numbers[..] else {
        anyhow::bail!("{text}: not a time with nanoseconds")
    };
    ensure!(text.ends_with('Z') && text.len() == 30, "{text}: not UTC with nanoseconds");
    // Days of the years before, with the year beginning in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Ok((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + ns)
}

#[test]
fn times_are_right_on_both_sides_of_a_step() -> Result<()> {
    crate::ensure_virtual()?;
    let mut tracer = Tracer::start(&[])?;
    let mut processes = Vec::new();
    // An hour forward, then an hour back from where it was.
    for ns in [0, HOUR_NS, -HOUR_NS] {
        let _step = Step::by(ns)?;
        let (began, utc_began) = (sys::boottime_ns(), utc_ns());
        let truth = truth::run(&["exit-code", "--code", "3"])?;
        processes.push((truth, utc_began..=utc_ns(), began..=sys::boottime_ns()));
        // What was recorded before a step is written before it.
        tracer.wait_until_attached(&mut Sentinel::new("written")?)?;
    }
    let trace = tracer.stop()?;
    let within = |time: i64, range: &RangeInclusive<i64>| {
        (range.start() - TOLERANCE_NS..=range.end() + TOLERANCE_NS).contains(&time)
    };
    for (truth, utc, boot) in &processes {
        for what in ["fork", "exit"] {
            let record = trace.one(what, truth.one("process")?)?;
            assert!(boot.contains(&record.time_ns()?), "{boot:?}: {}", record.0);
            assert!(within(timestamp_ns(record)?, utc), "{utc:?}: {}", record.0);
        }
    }
    assert_eq!(trace.lost_in_all()?, 0);
    Ok(())
}

#[test]
fn a_duration_does_not_follow_a_step() -> Result<()> {
    crate::ensure_virtual()?;
    let wanted = Duration::from_secs(3);
    for ns in [HOUR_NS, -HOUR_NS] {
        let duration = format!("{}s", wanted.as_secs());
        let mut tracer = Tracer::spawn(&trace_command(&json(&["--duration", &duration]))?)?;
        tracer.wait_until_attached(&mut Sentinel::new("attached")?)?;
        let began = Instant::now();
        let _step = Step::by(ns)?;
        let trace = tracer.finish()?;
        // It began when it was attached, a moment before that was seen.
        let took = began.elapsed();
        assert!(took <= wanted + host::PATIENCE, "{took:?} instead of at most {wanted:?}");
        assert!(took >= wanted / 3, "{took:?} instead of nearly {wanted:?}");
        assert_eq!(trace.lost_in_all()?, 0);
    }
    Ok(())
}

/// An hour forward does not give a budget back, nor does an hour back keep a service waiting; incidents last as long as they do.
#[test]
fn recoveries_do_not_follow_a_step() -> Result<()> {
    crate::ensure_virtual()?;
    let place = Place::new()?;
    let truth = Truth::new(&place, "stepped");
    let text = truth.service("stepped", "")?.replace("budget: 1000/1h", "budget: 3/30m");
    place.policy("stepped.yaml", &text)?;
    let daemon = place.start(&place.policies(), &[])?;
    let began = Instant::now();
    for (ns, number) in [(HOUR_NS, 1), (-HOUR_NS, 2), (HOUR_NS, 3)] {
        let _step = Step::by(ns)?;
        truth.kill(number)?;
    }
    let incident = closed_incident(&place, "stepped")?;
    let lasted = incident.get("duration_ns").and_then(serde_json::Value::as_u64).context("no duration")?;
    let lasted = Duration::from_nanos(lasted);
    ensure!(lasted <= began.elapsed(), "it lasted {lasted:?}: {incident}");
    sys::kill(truth.wait_for(4)?, libc::SIGKILL)?;
    host::wait_for("the service to be held", || {
        Ok((service(&place, "stepped")?.get("state") == Some(&"held".into())).then_some(()))
    })?;
    ensure!(truth.pids()?.len() == 4, "lives: {:?}", truth.pids()?);
    daemon.stop()
}
