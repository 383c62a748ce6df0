//! The out-of-memory killer: twin of the kernel's `oom.rs`.

use anyhow::{Context, Result};
use guard_tests::cgroup::Cgroup;
use guard_tests::tracer::Tracer;
use guard_tests::{host, truth};

#[test]
fn out_of_memory_is_named_with_its_control_group() -> Result<()> {
    let times: usize = host::scaled_down(2, 5, 30)?;
    // One that exists before the trace and one made while it runs.
    let before = Cgroup::memory(&format!("processguard-test/before-{}", std::process::id()), 16 << 20)?;
    let tracer = Tracer::start(&[])?;
    let people = Tracer::start_compact(&["--color", "never", "--events", "exit"])?;
    let during = Cgroup::memory(&format!("processguard-test/during-{}", std::process::id()), 16 << 20)?;
    let run = |group: &Cgroup| {
        let directory = group.directory().to_str().context("path")?;
        truth::run(&["oom", "--cgroup", directory, "--times", &times.to_string()])
    };
    let truths = [(&before, run(&before)?), (&during, run(&during)?)];
    let (trace, people) = (tracer.stop()?, people.interrupt()?);
    let text = String::from_utf8(people.stdout)?;
    for (group, truth) in &truths {
        assert_eq!(truth.all("victim").count(), times);
        for victim in truth.all("victim") {
            assert_eq!(victim.signal()?, Some(libc::SIGKILL.into()), "the workload was not killed");
            let exit = trace.one("exit", victim)?;
            assert_eq!(exit.number("processguard.signal.number")?, i64::from(libc::SIGKILL));
            assert_eq!(exit.text("processguard.cause.kind")?, "oom", "{}", exit.0);
            assert_eq!(exit.text("processguard.cause.memory_cgroup.path")?, group.path());
            let oom = trace.one("oom", victim)?;
            assert_eq!(oom.text("processguard.oom.memory_cgroup.path")?, group.path());
        }
        let words = format!("out of memory in {}", group.path().trim_start_matches('/'));
        let lines = text.lines().filter(|line| line.contains(&words)).count();
        assert_eq!(lines, times, "{words}");
    }
    Ok(())
}
