//! A trace beside a recorder: it sees the same, without kernel programs of its own.

use anyhow::{Context, Result};
use guard_tests::bpf::Objects;
use guard_tests::recorder::{self, Place};
use guard_tests::trace::Trace;
use guard_tests::tracer::{Sentinel, Tracer, json};
use guard_tests::truth::{self, Workload};
use guard_tests::{host, sys};

/// A trace that subscribes at a place.
fn subscribe(place: &Place, arguments: &[&str], sentinel: &mut Sentinel) -> Result<Tracer> {
    let mut all = json(arguments);
    all.extend(["--socket".into(), place.socket().into()]);
    Tracer::start_with(&all, sentinel)
}

fn actions(trace: &Trace, process: &truth::Fact) -> Result<Vec<String>> {
    Ok(trace.of(process)?.iter().map(|record| record.action().to_owned()).collect())
}

#[test]
fn a_trace_beside_a_recorder_needs_no_programs() -> Result<()> {
    let place = Place::new()?;
    let recorder = place.record(&[])?;
    let tracer = subscribe(&place, &[], &mut Sentinel::new("beside")?)?;
    let held = Objects::held_by(tracer.pid())?;
    assert!(held.is_empty(), "{held:?}");
    let truth = truth::run(&["run", "--times", "20", "--", "/bin/true"])?;
    let trace = tracer.stop()?;
    recorder::stop(recorder)?;
    let recorded = place.replay(&[])?;
    for program in truth.all("program") {
        assert_eq!(actions(&trace, program)?, ["fork", "exec", "exit"]);
        let text = |trace: &Trace| -> Result<Vec<String>> {
            Ok(trace.of(program)?.iter().map(|record| record.0.to_string()).collect())
        };
        assert_eq!(text(&trace)?, text(&recorded)?, "what is shown live is what is recorded");
    }
    assert_eq!(trace.lost_in_all()?, 0);
    Ok(())
}

#[test]
fn filters_hold_for_subscribers_too() -> Result<()> {
    let place = Place::new()?;
    let recorder = place.record(&[])?;
    let family = Workload::hold(&["run", "--times", "3", "--", "/bin/true"])?;
    let (pid, tree) = (family.pid(), family.pid().to_string());
    let mut sentinel = Sentinel::doing("SIGWINCH", move || sys::kill(pid, libc::SIGWINCH));
    let tracer = subscribe(&place, &["--tree", &tree], &mut sentinel)?;
    let other = truth::run(&["run", "--", "/bin/true"])?;
    let truth = family.finish()?;
    let trace = tracer.stop()?;
    for program in truth.all("program") {
        assert_eq!(actions(&trace, program)?, ["fork", "exec", "exit"]);
    }
    for program in other.all("program") {
        assert_eq!(actions(&trace, program)?, [""; 0]);
    }
    let mut absent = json(&["--pid", "4194303"]);
    absent.extend(["--socket".into(), place.socket().into()]);
    let ended = Tracer::spawn(&guard_tests::tracer::trace_command(&absent)?)?.wait()?;
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    recorder::stop(recorder)?;
    Ok(())
}

#[test]
fn a_slow_subscriber_loses_and_the_recorder_does_not() -> Result<()> {
    let place = Place::new()?;
    let recorder = place.record(&["--ring-size", "32MiB"])?;
    let arguments = ["--events", "fork,exec,exit"];
    let mut tracer = subscribe(&place, &arguments, &mut Sentinel::new("slow")?)?;
    tracer.signal(libc::SIGSTOP)?;
    let count = host::scaled_down("1500", "8000", "20000")?;
    let truth = truth::run(&["storm", "--count", count, "--parallel", "2"])?;
    tracer.signal(libc::SIGCONT)?;
    let mut after = Sentinel::new("after-the-gap")?;
    tracer.wait_until_attached(&mut after)?;
    let trace = tracer.stop()?;
    recorder::stop(recorder)?;
    let recorded = place.replay(&arguments)?;
    assert_eq!(recorded.lost_in_all()?, 0, "the recorder was held up");
    let mut missing = 0;
    for child in truth.all("child") {
        assert_eq!(actions(&recorded, child)?, ["fork", "exec", "exit"]);
        missing += usize::from(trace.of(child)?.is_empty());
    }
    let lost = trace.lost_in_gaps("exit");
    println!("{missing} of {count} children missing, {lost} exits told as lost");
    assert!(missing > 0, "the storm was too small for this test");
    assert!(lost >= i64::try_from(missing)?, "{missing} missing, {lost} told");
    let cause = trace.all("gap").next().context("no gap")?.0.to_string();
    assert!(cause.contains("slow_reader"), "{cause}");
    Ok(())
}

#[test]
fn a_recorder_that_does_not_answer_keeps_nobody() -> Result<()> {
    let place = Place::new()?;
    let mut recorder = place.record(&[])?;
    recorder.signal(libc::SIGSTOP)?;
    // Without a word from it: programs of our own.
    let tracer = subscribe(&place, &[], &mut Sentinel::new("alone")?)?;
    assert!(!Objects::held_by(tracer.pid())?.is_empty());
    tracer.stop()?;
    // Asked for by name: waited for, as long as nobody ends us.
    let mut command = json(&["--sensor", "shared"]);
    command.extend(["--socket".into(), place.socket().into()]);
    let mut waiting = Tracer::spawn(&guard_tests::tracer::trace_command(&command)?)?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    waiting.check_running()?;
    waiting.signal(libc::SIGTERM)?;
    let ended = waiting.wait()?;
    assert!(ended.status.success(), "{}", ended.stderr);
    recorder.signal(libc::SIGCONT)?;
    recorder::stop(recorder)?;
    Ok(())
}

#[test]
fn a_trace_ends_with_its_recorder_and_says_so() -> Result<()> {
    let place = Place::new()?;
    let recorder = place.record(&[])?;
    let tracer = subscribe(&place, &["--sensor", "shared"], &mut Sentinel::new("orphan")?)?;
    recorder.kill()?;
    let ended = tracer.wait()?;
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert!(ended.stderr.contains("has ended"), "{}", ended.stderr);
    Ok(())
}
