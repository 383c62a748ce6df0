//! Completeness: as many processes as two cores can make, and none is missing.

use anyhow::Result;
use guard_tests::storm::{Losses, complete, storm};
use guard_tests::tracer::Tracer;
use guard_tests::{host, truth};

#[test]
fn every_spawn_is_seen() -> Result<()> {
    storm(&[], host::storm()?, Losses::None)
}

#[test]
fn all_kinds_together_are_seen() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth =
        truth::run(&["storm", "--count", host::scaled_down("400", "2000", "20000")?, "--parallel", "4"])?;
    let trace = tracer.stop()?;
    let spawned = i64::try_from(truth.all("child").count())?;
    for what in ["fork", "exec", "exit"] {
        assert_eq!(complete(&trace, &truth, what)?, spawned, "{what}");
    }
    assert_eq!(trace.lost_in_all()?, 0);
    assert_eq!(trace.all("gap").count(), 0);
    Ok(())
}
