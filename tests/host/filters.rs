//! Filters, on the live stream: what matches is shown, what does not is not.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use guard_tests::cgroup::Cgroup;
use guard_tests::trace::Trace;
use guard_tests::tracer::{Sentinel, Tracer, json};
use guard_tests::truth::{self, Truth, Workload};
use guard_tests::{host, sys};

/// The actions that the trace shows for each of the workload's processes of a kind.
fn actions<'a>(trace: &'a Trace, truth: &'a Truth, what: &'a str) -> Result<Vec<Vec<&'a str>>> {
    let of = |fact| Ok(trace.of(fact)?.iter().map(|record| record.action()).collect());
    truth.all(what).map(of).collect()
}

/// A signal that does nothing, to a process that is watched.
fn poke(pid: i32) -> Sentinel {
    Sentinel::doing("SIGWINCH", move || sys::kill(pid, libc::SIGWINCH))
}

#[test]
fn by_event() -> Result<()> {
    let tracer = Tracer::start(&["--events", "exit"])?;
    let truth = truth::run(&["run", "--", "/bin/true"])?;
    let trace = tracer.stop()?;
    assert_eq!(actions(&trace, &truth, "program")?, [["exit"]]);
    assert!(trace.records.iter().all(|record| record.action() == "exit"));
    Ok(())
}

#[test]
fn by_pid() -> Result<()> {
    let watched = Workload::hold(&["run", "--depth", "1", "--", "/bin/true"])?;
    let pid = watched.pid();
    let tracer = Tracer::start_with(&json(&["--pid", &pid.to_string()]), &mut poke(pid))?;
    truth::run(&["run", "--", "/bin/true"])?;
    watched.finish()?;
    let trace = tracer.stop()?;
    assert!(trace.records.iter().all(|record| record.pid() == i64::from(pid)), "{:?}", trace.records);
    assert_eq!(trace.all("exit").count(), 1);
    Ok(())
}

#[test]
fn by_tree() -> Result<()> {
    let root = Workload::hold(&["run", "--depth", "2", "--times", "3", "--", "/bin/true"])?;
    let pid = root.pid();
    let tracer = Tracer::start_with(&json(&["--tree", &pid.to_string()]), &mut poke(pid))?;
    let stranger = truth::run(&["run", "--", "/bin/true"])?;
    let truth = root.finish()?;
    let trace = tracer.stop()?;
    assert_eq!(actions(&trace, &stranger, "program")?, [[""; 0]]);
    let signals = |actions: &Vec<&str>| actions.iter().filter(|&&action| action != "signal").count();
    let programs = actions(&trace, &truth, "program")?;
    assert_eq!(programs.iter().map(signals).collect::<Vec<_>>(), [3; 3], "fork, exec, exit: {programs:?}");
    let ancestors = actions(&trace, &truth, "ancestor")?;
    assert_eq!(ancestors.iter().map(signals).collect::<Vec<_>>(), [2; 6], "fork, exit: {ancestors:?}");
    let exits = trace.with_pid("exit", pid.into()).count();
    assert_eq!(exits, 1, "the root's own end");
    Ok(())
}

#[test]
fn by_tree_of_a_family_that_exists() -> Result<()> {
    // The grandchild that is killed was born before the trace began.
    let root = Workload::start(&["family"])?;
    let members = host::wait_for("the family", || root.pids("member", 2))?;
    let [_child, grandchild] = members[..] else { panic!("{members:?}") };
    let tracer = Tracer::start_with(&json(&["--tree", &root.pid().to_string()]), &mut poke(root.pid()))?;
    let truth = root.finish()?;
    let trace = tracer.stop()?;
    assert_eq!(trace.with_pid("exit", grandchild.into()).count(), 1, "{:?}", trace.records);
    assert_eq!(truth.all("member").count(), 2);
    Ok(())
}

#[test]
fn by_user() -> Result<()> {
    let mut sentinel = Sentinel::run("sentinel", |program| as_user(program, 65_532))?;
    let tracer = Tracer::start_with(&json(&["--uid", "65532"]), &mut sentinel)?;
    let theirs = truth::run(&["run", "--uid", "65532", "--", "/bin/true"])?;
    let ours = truth::run(&["run", "--", "/bin/true"])?;
    let trace = tracer.stop()?;
    assert_eq!(actions(&trace, &ours, "program")?, [[""; 0]]);
    let shown = actions(&trace, &theirs, "program")?;
    assert!(shown.iter().all(|actions| actions.contains(&"exec") && actions.contains(&"exit")), "{shown:?}");
    assert!(
        trace.records.iter().all(|record| record.text("process.real_user.id").is_ok_and(|id| id == "65532"))
    );
    Ok(())
}

fn as_user(program: &Path, uid: u32) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let status = Command::new(program).uid(uid).gid(uid).status().context("run the sentinel")?;
    ensure!(status.success(), "the sentinel: {status}");
    Ok(())
}

/// Runs one program under two names; the filter is for the first.
fn by_name(option: &str, filter: impl Fn(&Path) -> String) -> Result<()> {
    let mut sentinel = Sentinel::new("pg-wanted-sentinel")?;
    let directory = tempfile::tempdir()?;
    let (wanted, other) = (directory.path().join("pg-wanted-1"), directory.path().join("pg-other"));
    std::fs::copy("/bin/true", &wanted)?;
    std::fs::copy("/bin/true", &other)?;
    let tracer = Tracer::start_with(&json(&[option, &filter(directory.path())]), &mut sentinel)?;
    let run = |program: &Path| truth::run(&["run", "--", program.to_str().context("path")?]);
    let (yes, no) = (run(&wanted)?, run(&other)?);
    let trace = tracer.stop()?;
    assert_eq!(actions(&trace, &no, "program")?, [[""; 0]]);
    let shown = actions(&trace, &yes, "program")?;
    assert!(shown.iter().all(|actions| actions.contains(&"exec") && actions.contains(&"exit")), "{shown:?}");
    Ok(())
}

#[test]
fn by_command_name() -> Result<()> {
    by_name("--comm", |_| "pg-wanted-*".to_owned())
}

#[test]
fn by_executable() -> Result<()> {
    by_name("--exe", |_| "/tmp/*/pg-wanted-*".to_owned())
}

#[test]
fn by_control_group() -> Result<()> {
    for below in ["", "/below"] {
        let parent = format!("processguard-test-{}", std::process::id());
        let outer = Cgroup::v2(&parent)?;
        let inner = Cgroup::v2(&format!("{parent}{below}"))?;
        let directory = inner.directory().to_str().context("path")?.to_owned();
        let group = directory.clone();
        let mut sentinel = Sentinel::run("sentinel", move |program| {
            truth::run(&["run", "--cgroup", &group, "--", program.to_str().context("path")?]).map(drop)
        })?;
        let filter = outer.directory().to_str().context("path")?;
        let tracer = Tracer::start_with(&json(&["--cgroup", filter]), &mut sentinel)?;
        let inside = truth::run(&["run", "--cgroup", &directory, "--", "/bin/true"])?;
        let outside = truth::run(&["run", "--", "/bin/true"])?;
        let trace = tracer.stop()?;
        assert_eq!(actions(&trace, &outside, "program")?, [[""; 0]]);
        let shown = actions(&trace, &inside, "program")?;
        assert!(shown.iter().all(|actions| actions.ends_with(&["exec", "exit"])), "{shown:?}");
    }
    Ok(())
}

#[test]
fn by_container() -> Result<()> {
    let id = format!("{:064x}", u64::from(std::process::id()) << 20);
    let group = Cgroup::v2(&format!("docker/{id}"))?;
    let directory = group.directory().to_str().context("path")?.to_owned();
    let inner = directory.clone();
    let mut sentinel = Sentinel::run("sentinel", move |program| {
        truth::run(&["run", "--cgroup", &inner, "--", program.to_str().context("path")?]).map(drop)
    })?;
    let tracer = Tracer::start_with(&json(&["--container", &id]), &mut sentinel)?;
    let inside = truth::run(&["run", "--cgroup", &directory, "--", "/bin/true"])?;
    let outside = truth::run(&["run", "--", "/bin/true"])?;
    let trace = tracer.stop()?;
    assert_eq!(actions(&trace, &outside, "program")?, [[""; 0]]);
    let shown = actions(&trace, &inside, "program")?;
    assert!(shown.iter().all(|actions| actions.contains(&"exec") && actions.contains(&"exit")), "{shown:?}");
    Ok(())
}
