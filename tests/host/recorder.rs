//! The flight recorder: killed at any moment, it goes on at the right record.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guard_tests::bpf::Objects;
use guard_tests::recorder::{self, Place};
use guard_tests::trace::Trace;
use guard_tests::tracer::Tracer;
use guard_tests::truth::{self, Fact, Truth, Workload};
use guard_tests::{host, sys};

use crate::restarts::assert_gone;

/// Pseudo-random numbers, for moments that nobody chose. Each run says its seed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = sys::boottime_ns() | 1;
        println!("seed {seed}");
        Self(seed)
    }

    /// Below a bound: xorshift64.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A storm that goes on until it is told to end: 2,000 spawns a second, in proportion to the machine.
fn long_storm() -> Result<Workload> {
    let rate = (2000 / host::slowness()?).to_string();
    Workload::start(&["storm", "--seconds", "100000", "--parallel", "2", "--rate", &rate, "--until-told"])
}

/// Checks that a child has exactly its fork, exec and exit, in this order, and its own status.
pub(crate) fn check(trace: &Trace, child: &Fact) -> Result<()> {
    let records = trace.of(child)?;
    let actions: Vec<_> = records.iter().map(|record| record.action()).collect();
    ensure!(actions == ["fork", "exec", "exit"], "{child:?}: {actions:?}");
    let code = trace.one("exit", child)?.number("process.exit_code").ok();
    ensure!(code == child.exit_code()?, "{child:?}: {code:?}");
    Ok(())
}

/// Checks that a storm's list is the recording's.
fn check_all(trace: &Trace, truth: &Truth) -> Result<usize> {
    let (mut children, mut wrong) = (0, Vec::new());
    for child in truth.all("child") {
        children += 1;
        wrong.extend(check(trace, child).err());
    }
    let exits = trace.all("exit").filter(|exit| {
        exit.number("process.parent.pid").is_ok_and(|parent| parent == i64::from(truth.workload))
    });
    assert_eq!(wrong.len(), 0, "of {children}: {:#?}", wrong.first());
    assert_eq!(exits.count(), children, "exits beyond the storm's own list");
    Ok(children)
}

/// The same, but what the kernel skipped, and counted as that, may be missing. Gives the number of children and of those
/// records. While a system call reads or changes a map, no program of a classic tracepoint runs on that CPU; where the call
/// can be preempted (seen on 7.2), others fork, exec and exit there meanwhile. A new sensor makes such calls while the old
/// one is attached.
fn check_all_but_skipped(trace: &Trace, truth: &Truth) -> Result<(usize, i64)> {
    let kinds = ["fork", "exec", "exit"];
    let mut missing = [0_i64; 3];
    let mut children = 0;
    for child in truth.all("child") {
        children += 1;
        // What only a comparison with the kernel's list tells has no number.
        let records = trace.of(child)?.into_iter();
        let records: Vec<_> =
            records.filter(|one| one.number("event.sequence").is_ok_and(|n| n > 0)).collect();
        let places: Vec<_> =
            records.iter().filter_map(|one| kinds.iter().position(|kind| *kind == one.action())).collect();
        ensure!(places.is_sorted_by(|one, other| one < other), "{child:?}: {places:?}");
        for (place, missing) in missing.iter_mut().enumerate() {
            *missing += i64::from(!places.contains(&place));
        }
        if let Some(exit) = records.iter().find(|one| one.action() == "exit") {
            ensure!(exit.number("process.exit_code").ok() == child.exit_code()?, "{child:?}: {}", exit.0);
        }
    }
    for (kind, missing) in kinds.iter().zip(missing) {
        let lost = trace.lost(kind)?;
        ensure!(missing <= lost, "{kind}: {missing} of {children} missing, {lost} told as lost");
    }
    for gap in trace.all("gap") {
        ensure!(!gap.0.to_string().contains("ring_full"), "{}", gap.0);
    }
    Ok((children, missing.iter().sum()))
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_doubled() -> Result<()> {
    let rounds = host::scaled_down(3, 8, 100)?;
    let place = Place::new()?;
    let arguments = ["--events", "fork,exec,exit"];
    // Room for what happens in some seconds, in which no recorder may get as far as reading.
    let first = place.record(&["--ring-size", "64MiB"])?;
    let storm = long_storm()?;
    let mut random = Random::new();
    std::thread::sleep(Duration::from_millis(random.below(300)));
    first.kill()?;
    let began = Instant::now();
    for _ in 0..rounds {
        let recorder = place.spawn(&[])?;
        std::thread::sleep(Duration::from_millis(random.below(500)));
        recorder.kill()?;
    }
    let took = began.elapsed();
    let last = place.record(&[])?;
    let truth = storm.finish()?;
    std::thread::sleep(Duration::from_millis(100));
    recorder::stop(last)?;
    let trace = place.replay(&arguments)?;
    let children = check_all(&trace, &truth)?;
    let storm = truth.one("storm")?;
    let rate = children as f64 / (storm.time("nanoseconds")? as f64 / 1e9);
    println!("{rounds} kills within {took:?}; {children} spawns at {rate:.0} a second: lost 0, doubled 0");
    assert_eq!(trace.lost_in_all()?, 0);
    Ok(())
}

/// Makes the pinned sensor look like another version's: its directory is named after the kernel programs. A
/// stand-in for a real older version, of which there is none yet; programs, ring and records are real.
pub(crate) fn age(place: &Place, name: &str) -> Result<std::path::PathBuf> {
    let sensors = recorder::files(&place.pins())?;
    ensure!(sensors.len() == 1, "{sensors:?}");
    let old = place.pins().join(name);
    std::fs::rename(sensors.first().context("no sensor")?, &old).context("rename the sensor")?;
    Ok(old)
}

#[test]
fn another_version_takes_over_without_a_gap() -> Result<()> {
    let rounds = host::scaled_down(1, 4, 30)?;
    let place = Place::new()?;
    let first = place.record(&["--ring-size", "64MiB"])?;
    let storm = long_storm()?;
    let mut random = Random::new();
    first.kill()?;
    for round in 0..rounds {
        age(&place, &format!("v1-{round:08x}"))?;
        // Killed while it takes over, perhaps; then the next one has two or more to take over from.
        let recorder = place.spawn(&["--ring-size", "64MiB"])?;
        std::thread::sleep(Duration::from_millis(random.below(400)));
        recorder.kill()?;
        let last = place.record(&["--ring-size", "64MiB"])?;
        host::wait_for("the old sensor's end", || {
            Ok((recorder::files(&place.pins())?.len() == 1).then_some(()))
        })?;
        last.kill()?;
    }
    let last = place.record(&[])?;
    let truth = storm.finish()?;
    std::thread::sleep(Duration::from_millis(100));
    recorder::stop(last)?;
    let trace = place.replay(&["--events", "fork,exec,exit"])?;
    let (children, skipped) = check_all_but_skipped(&trace, &truth)?;
    println!(
        "{rounds} hand-overs, {children} spawns: skipped by the kernel {skipped}, unexplained 0, doubled 0"
    );
    Ok(())
}

#[test]
fn killed_while_it_took_over_the_next_one_goes_on() -> Result<()> {
    let place = Place::new()?;
    place.record(&[])?.kill()?;
    let truth = truth::run(&["storm", "--count", "50"])?;
    let old = age(&place, "v1-00000000")?;
    // As far as the one before came: the old sensor is detached, its records are not put down.
    for pin in recorder::files(&old)? {
        let name = pin.file_name().context("name")?.to_string_lossy().into_owned();
        if name.starts_with("link_") {
            std::fs::remove_file(&pin)?;
        }
    }
    let recorder = place.record(&[])?;
    host::wait_for(
        "the old sensor's end",
        || Ok((recorder::files(&place.pins())?.len() == 1).then_some(())),
    )?;
    recorder::stop(recorder)?;
    check_all(&place.replay(&["--events", "fork,exec,exit"])?, &truth)?;
    Ok(())
}

#[test]
fn records_that_cannot_be_read_are_counted() -> Result<()> {
    let place = Place::new()?;
    place.record(&[])?.kill()?;
    truth::run(&["storm", "--count", "50"])?;
    let old = age(&place, "v1-00000000")?;
    // The third word of CONTROL is the version of the records.
    let words = [1, u64::from_le_bytes(*b"PGSENSOR"), 999, 1, 0, 0];
    let bytes = words.iter().flat_map(|word: &u64| word.to_le_bytes()).map(|byte| byte.to_string());
    let mut update = std::process::Command::new(host::tool("bpftool")?);
    update.args(["map", "update", "pinned"]).arg(old.join("map_CONTROL"));
    update.args(["key", "0", "0", "0", "0", "value"]).args(bytes);
    ensure!(update.status()?.success(), "bpftool");
    let recorder = place.record(&[])?;
    recorder::stop(recorder)?;
    let trace = place.replay(&[])?;
    for kind in ["fork", "exec", "exit"] {
        let lost = trace.lost_in_gaps(kind);
        assert!((50..100).contains(&lost), "{kind}: {lost}");
    }
    let gaps: Vec<_> = trace.all("gap").map(|gap| gap.0.to_string()).collect();
    assert!(gaps.iter().any(|gap| gap.contains("unreadable")), "{gaps:?}");
    Ok(())
}

#[test]
fn what_overflows_while_nobody_reads_is_counted_and_watched_ends_are_known() -> Result<()> {
    let place = Place::new()?;
    let storm = Workload::hold(&["storm", "--count", host::scaled_down("500", "2000", "2000")?])?;
    let watched = Workload::hold(&["exit-code", "--code", "42"])?;
    let pid = watched.pid().to_string();
    let recorder = place.record(&["--ring-size", "64KiB", "--watch", &pid])?;
    recorder.kill()?;
    // The ring overflows, and only then the watched one ends.
    let spawned = storm.finish()?.all("child").count();
    let truth = watched.finish()?;
    let recorder = place.record(&[])?;
    host::wait_for("the resync", || {
        let trace = place.replay(&["--events", "exit"])?;
        Ok((trace.all("resync").count() > 0).then_some(()))
    })?;
    recorder::stop(recorder)?;
    let trace = place.replay(&["--events", "fork,exec,exit"])?;
    for kind in ["fork", "exec", "exit"] {
        let seen =
            trace.all(kind).filter(|record| record.number("event.sequence").is_ok_and(|n| n > 0)).count();
        let lost = trace.lost(kind)?;
        println!("{kind}: {seen} seen, {lost} lost");
        assert!(lost > 0, "{kind}: the ring was too large for this test");
        assert!(
            i64::try_from(seen)? + lost >= i64::try_from(spawned)?,
            "{kind}: {seen} and {lost} of {spawned}"
        );
        assert_eq!(trace.lost_in_gaps(kind), lost, "{kind}");
    }
    let exit = trace.one("exit", truth.one("process")?)?;
    assert_eq!(exit.number("process.exit_code")?, 42, "{}", exit.0);
    Ok(())
}

#[test]
fn only_one_holds_and_status_says_who() -> Result<()> {
    let place = Place::new()?;
    let recorder = place.record(&[])?;
    let second = place.spawn(&[])?.wait()?;
    assert_eq!(second.status.code(), Some(7), "{}", second.stderr);
    assert!(second.stderr.contains(&format!("held by process {}", recorder.pid())), "{}", second.stderr);
    let status = place.sensor(&["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).context("status")?;
    assert_eq!(status.pointer("/sensors/0/reader_pid"), Some(&recorder.pid().into()), "{status}");
    let detach = place.sensor(&["detach"])?;
    assert_eq!(detach.status.code(), Some(7), "{detach:?}");
    recorder::stop(recorder)?;
    let status = place.sensor(&["status"])?;
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("none; the last was process"), "{text}");
    Ok(())
}

#[test]
fn detaching_leaves_nothing() -> Result<()> {
    let before = Objects::existing()?;
    let place = Place::new()?;
    place.record(&[])?.kill()?;
    let pinned = Objects::existing()?.without(&before);
    assert!(!pinned.links.is_empty(), "nothing was pinned");
    let detached = place.sensor(&["detach"])?;
    assert!(detached.status.success(), "{detached:?}");
    assert!(!place.pins().exists());
    assert_gone(&pinned)
}

#[test]
fn what_another_directory_got_is_told_as_missing() -> Result<()> {
    let (place, other) = (Place::new()?, tempfile::tempdir()?);
    recorder::stop(place.record(&[])?)?;
    let mut command = place.record_command(&[])?;
    let elsewhere = command.get_mut(2).context("no directory")?;
    *elsewhere = other.path().into();
    let mut recorder = Tracer::spawn(&command)?;
    host::wait_for("the other recording", || Ok(recorder::files(other.path())?.first().map(|_| ())))?;
    truth::run(&["run", "--times", "3", "--", "/bin/true"])?;
    std::thread::sleep(Duration::from_millis(200));
    recorder.check_running()?;
    recorder::stop(recorder)?;
    let recorder = place.record(&[])?;
    std::thread::sleep(Duration::from_millis(500));
    recorder::stop(recorder)?;
    let trace = place.replay(&[])?;
    assert_eq!(trace.all("gap").count(), 1, "what the other directory got is missing here");
    assert_eq!(trace.all("resync").count(), 1);
    Ok(())
}

#[test]
fn nothing_else_is_taken_for_an_old_socket() -> Result<()> {
    let place = Place::new()?;
    std::fs::write(place.socket(), "precious")?;
    let ended = place.spawn(&[])?.wait()?;
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert!(ended.stderr.contains("--socket"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(place.socket())?, "precious");
    Ok(())
}

#[test]
fn who_cannot_be_watched_is_known_before_anything_is_attached() -> Result<()> {
    let before = Objects::existing()?;
    let place = Place::new()?;
    let ended = place.spawn(&["--watch", "4194303"])?.wait()?;
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert_gone(&Objects::existing()?.without(&before))
}

#[test]
fn a_sweep_finds_no_drift() -> Result<()> {
    let place = Place::new()?;
    let storm = Workload::start(&["storm", "--seconds", "600", "--parallel", "2", "--rate", "500"])?;
    let recorder = place.record(&["--sweep", "300ms"])?;
    let swept = |trace: &Trace| trace.all("resync").count();
    host::wait_for("three sweeps", || Ok((swept(&place.replay(&[])?) >= 3).then_some(())))?;
    recorder::stop(recorder)?;
    drop(storm);
    let trace = place.replay(&[])?;
    for resync in trace.all("resync") {
        // Not its program: in the middle of an exec a process has the new one already, and its record is to come.
        for kind in ["inserted", "ended"] {
            assert_eq!(resync.number(&format!("processguard.resync.{kind}"))?, 0, "{}", resync.0);
        }
    }
    Ok(())
}
