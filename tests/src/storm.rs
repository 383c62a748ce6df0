//! Storms of processes, and whether a trace has all of them.

use anyhow::{Result, ensure};

use crate::trace::Trace;
use crate::tracer::Tracer;
use crate::truth::{self, Truth};

/// How many children of a storm have exactly one record of a kind, which says what is true.
///
/// # Errors
/// If one has two, or a record or the truth lacks something.
///
/// # Panics
/// If a record says what is not true.
pub fn complete(trace: &Trace, truth: &Truth, what: &str) -> Result<i64> {
    let mut found = 0;
    for child in truth.all("child") {
        let records = trace.of(child)?;
        let mut of_kind = records.iter().filter(|record| record.action() == what);
        let Some(record) = of_kind.next() else { continue };
        ensure!(of_kind.next().is_none(), "doubled: {records:?}");
        // Told because nobody is there any more: its own record is among the lost.
        if record.text("processguard.cause.kind").is_ok_and(|kind| kind == "record_lost") {
            continue;
        }
        match what {
            "fork" => assert_eq!(record.number("process.parent.pid")?, i64::from(truth.workload)),
            "exec" => assert_eq!(record.number("process.args_count")?, child.number("args_count")?),
            _ => assert_eq!(record.number("process.exit_code").ok(), child.exit_code()?, "{}", record.0),
        }
        found += 1;
    }
    Ok(found)
}

/// What a storm may cost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Losses {
    /// Nothing.
    None,
    /// Only what is counted.
    Counted,
}

/// Storms, and finds each child with its fork, exec and exit, or counted as lost.
///
/// # Errors
/// If the trace or the storm fails.
///
/// # Panics
/// If more is missing than was counted, or anything where nothing may be.
pub fn storm(arguments: &[&str], count: &str, losses: Losses) -> Result<()> {
    let tracer = Tracer::start(&[&["--events", "fork,exec,exit"], arguments].concat())?;
    let truth = truth::run(&["storm", "--count", count, "--parallel", "2"])?;
    let trace = tracer.stop()?;
    let spawned = i64::try_from(truth.all("child").count())?;
    assert_eq!(spawned.to_string(), count);
    for what in ["fork", "exec", "exit"] {
        let (found, lost) = (complete(&trace, &truth, what)?, trace.lost(what)?);
        println!("{arguments:?} {what}: {found} of {spawned}, {lost} counted as lost");
        assert!(spawned - found <= lost, "{what}: {found} of {spawned} and {lost} counted as lost");
        assert!(
            lost == 0 || losses == Losses::Counted,
            "{what}: {lost} lost, though the ring is large enough"
        );
    }
    Ok(())
}
