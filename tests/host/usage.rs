//! What a process used, against what `wait4` counted for its parent.

use anyhow::{Context, Result};
use guard_tests::tracer::Tracer;
use guard_tests::truth;

/// What happens between the record and the parent's wait: the rest of the process's own end.
const REST_OF_THE_END: u64 = 16;

#[test]
fn usage_is_what_wait4_says() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["rusage", "--mib", "48", "--busy-ms", "300", "--sleeps", "50"])?;
    let trace = tracer.stop()?;
    let process = truth.one("process")?;
    let exit = trace.one("exit", process)?;
    let usage = |name: &str| {
        let value = exit.field(&format!("processguard.usage.{name}")).and_then(serde_json::Value::as_u64);
        value.with_context(|| format!("no usage {name}"))
    };
    assert_eq!(usage("peak_rss_bytes")?, process.usage("peak_rss_kib")? * 1024);
    assert_eq!(usage("major_faults")?, process.usage("major_faults")?);
    for name in ["minor_faults", "voluntary_switches", "involuntary_switches"] {
        let (ours, truth) = (usage(name)?, process.usage(name)?);
        assert!(ours <= truth && truth - ours <= REST_OF_THE_END, "{name}: {ours}, truly {truth}");
    }
    let total = process.usage("user_us")? + process.usage("system_us")?;
    for (ours, truth) in [("user_ns", "user_us"), ("system_ns", "system_us")] {
        let (ours, truth) = (usage(ours)? / 1000, process.usage(truth)?);
        // 1% of all, or a tick of 100 Hz: the rest of the end is CPU time too.
        let tolerance = (total / 100).max(10_000);
        assert!(ours.abs_diff(truth) <= tolerance, "{ours} us, truly {truth}");
    }
    Ok(())
}
