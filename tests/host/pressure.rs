//! Loss, when the reader cannot keep up: counted, shown, and exact.

use std::time::Duration;

use anyhow::Result;
use guard_tests::tracer::{Sentinel, Tracer, json};
use guard_tests::truth::Workload;
use guard_tests::{host, sys};

#[test]
fn what_does_not_fit_is_counted_exactly() -> Result<()> {
    let count: i64 = host::scaled_down(600, 3000, 20_000)?;
    let storm = Workload::hold(&["storm", "--count", &count.to_string(), "--parallel", "2"])?;
    let pid = storm.pid();
    let tree = pid.to_string();
    let arguments = json(&["--ring-size", "64KiB", "--tree", &tree, "--events", "fork,exec,exit,signal"]);
    // A signal that a waiting process ignores by default shows that the trace is attached.
    let mut sentinel = Sentinel::doing("SIGWINCH", move || sys::kill(pid, libc::SIGWINCH));
    let mut tracer = Tracer::start_with(&arguments, &mut sentinel)?;
    tracer.signal(libc::SIGSTOP)?;
    let truth = storm.finish()?;
    tracer.signal(libc::SIGCONT)?;
    // The reader must find the gap by itself, before it is told to stop.
    std::thread::sleep(Duration::from_millis(300));
    let trace = tracer.stop()?;
    assert_eq!(i64::try_from(truth.all("child").count())?, count);
    // The storm's own exit, and the children's exits, and nothing else, are of this tree.
    for (kind, expected) in [("fork", count), ("exec", count), ("exit", count + 1)] {
        // An end that only the comparison with the kernel showed has no record, and no number.
        let recorded = trace.all(kind).filter(|record| record.number("event.sequence").is_ok_and(|n| n > 0));
        let (shown, lost) = (i64::try_from(recorded.count())?, trace.lost(kind)?);
        println!("{kind}: {shown} shown and {lost} lost of {expected}");
        assert!(lost > 0, "{kind}: nothing was lost: the test presses too little");
        assert!(shown > 0, "{kind}: nothing was kept");
        assert_eq!(trace.seen(kind)? + lost, expected, "{kind}: seen and lost");
        assert_eq!(shown, trace.seen(kind)?, "{kind}: shown and seen");
        assert_eq!(trace.lost_in_gaps(kind), lost, "{kind}: gaps and summary");
    }
    assert!(trace.all("gap").count() > 0);
    // Whoever was seen to be born is told to have ended, once, though the record is lost.
    for fork in trace.all("fork") {
        let born = fork.identity("process")?;
        let ends =
            trace.with_pid("exit", fork.pid()).filter(|exit| exit.identity("process").ok() == Some(born));
        assert_eq!(ends.count(), 1, "{born}");
    }
    Ok(())
}

#[test]
fn after_a_gap_the_trace_goes_on() -> Result<()> {
    let mut tracer = Tracer::start(&["--ring-size", "64KiB"])?;
    tracer.signal(libc::SIGSTOP)?;
    guard_tests::truth::run(&["storm", "--count", host::scaled_down("300", "1000", "1000")?])?;
    tracer.signal(libc::SIGCONT)?;
    tracer.wait_until_attached(&mut Sentinel::new("after-the-gap")?)?;
    let truth = guard_tests::truth::run(&["exit-code", "--code", "9"])?;
    let trace = tracer.stop()?;
    assert!(trace.lost_in_all()? > 0);
    let process = truth.one("process")?;
    trace.one("fork", process)?;
    assert_eq!(trace.one("exit", process)?.number("process.exit_code")?, 9);
    let gap = trace.records.iter().rposition(|record| record.action() == "gap");
    let last = trace.records.iter().rposition(|record| record.pid() == process.pid().unwrap_or(0));
    assert!(gap < last, "the gap stands after what came after it");
    Ok(())
}
