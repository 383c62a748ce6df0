//! Completeness: as many processes as two cores can make, and none is missing.

use anyhow::{Result, ensure};
use guard_tests::host;
use guard_tests::trace::Trace;
use guard_tests::tracer::Tracer;
use guard_tests::truth::{self, Truth};

/// How many children of a storm have exactly one record of a kind, which `right` accepts.
fn complete(trace: &Trace, truth: &Truth, what: &str) -> Result<i64> {
    let mut found = 0;
    for child in truth.all("child") {
        let records = trace.of(child)?;
        let mut of_kind = records.iter().filter(|record| record.action() == what);
        let Some(record) = of_kind.next() else { continue };
        ensure!(of_kind.next().is_none(), "doubled: {records:?}");
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
pub(crate) enum Losses {
    /// Nothing.
    None,
    /// Only what is counted.
    Counted,
}

/// Storms, and finds each child with its fork, exec and exit, or counted as lost.
pub(crate) fn storm(arguments: &[&str], count: &str, losses: Losses) -> Result<()> {
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

#[test]
fn every_spawn_is_seen() -> Result<()> {
    storm(&[], host::scaled("3000", "20000")?, Losses::None)
}

#[test]
fn all_kinds_together_are_seen() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["storm", "--count", host::scaled("2000", "20000")?, "--parallel", "4"])?;
    let trace = tracer.stop()?;
    let spawned = i64::try_from(truth.all("child").count())?;
    for what in ["fork", "exec", "exit"] {
        assert_eq!(complete(&trace, &truth, what)?, spawned, "{what}");
    }
    assert_eq!(trace.lost_in_all()?, 0);
    assert_eq!(trace.all("gap").count(), 0);
    Ok(())
}
