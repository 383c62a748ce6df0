//! Containers and units, told by the control group's path.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use guard_tests::cgroup::Cgroup;
use guard_tests::tracer::Tracer;
use guard_tests::truth::{self, Truth};

/// An id of 64 hexadecimal digits, never the same twice.
fn container_id() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{:032x}{:032x}", 0xfeed_face_u64 + u64::from(std::process::id()), number + 1)
}

/// Runs a program in a control group.
fn run_in(group: &Cgroup) -> Result<Truth> {
    let directory = group.directory().to_str().context("path")?;
    truth::run(&["run", "--cgroup", directory, "--", "/bin/true"])
}

/// Paths as the container runtimes make them, with the runtime's name on the wire.
fn shapes() -> Vec<(String, String, Option<&'static str>)> {
    let shapes = [
        ("system.slice/docker-{}.scope", Some("docker")),
        ("docker/{}", Some("docker")),
        ("kubepods.slice/kubepods-besteffort.slice/cri-containerd-{}.scope", Some("containerd")),
        ("machine.slice/libpod-{}.scope", Some("podman")),
    ];
    let with_id = |(shape, runtime): (&str, _)| {
        let id = container_id();
        (shape.replace("{}", &id), id, runtime)
    };
    shapes.into_iter().map(with_id).collect()
}

fn check(groups: &[(Cgroup, String, Option<&str>)], tracer: Tracer) -> Result<()> {
    let truths: Vec<_> = groups.iter().map(|(group, ..)| run_in(group)).collect::<Result<_>>()?;
    let trace = tracer.stop()?;
    for ((group, id, runtime), truth) in groups.iter().zip(truths) {
        let process = truth.one("program")?;
        for action in ["exec", "exit"] {
            let record = trace.one(action, process)?;
            assert_eq!(record.text("container.id").ok(), Some(id.as_str()), "{}", record.0);
            assert_eq!(record.text("container.runtime").ok(), *runtime, "{}", record.0);
            assert_eq!(record.text("processguard.cgroup.path")?, group.path());
        }
    }
    Ok(())
}

fn make(path: (String, String, Option<&'static str>)) -> Result<(Cgroup, String, Option<&'static str>)> {
    Ok((Cgroup::v2(&path.0)?, path.1, path.2))
}

#[test]
fn containers_that_exist_before_the_trace() -> Result<()> {
    let groups = shapes().into_iter().map(make).collect::<Result<Vec<_>>>()?;
    check(&groups, Tracer::start(&[])?)
}

#[test]
fn containers_that_start_during_the_trace() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let groups = shapes().into_iter().map(make).collect::<Result<Vec<_>>>()?;
    check(&groups, tracer)
}

#[test]
fn containers_in_the_first_version() -> Result<()> {
    // On a hybrid system docker may use the first version's hierarchies alone: all of them, of
    // which one is asked.
    let id = container_id();
    let group = Cgroup::v1("pids", &format!("docker/{id}"))?;
    check(&[(group, id, Some("docker"))], Tracer::start(&[])?)
}

#[test]
fn a_systemd_unit_is_named() -> Result<()> {
    let group = Cgroup::v2(&format!("system.slice/processguard-test-{}.service", std::process::id()))?;
    let tracer = Tracer::start(&[])?;
    let truth = run_in(&group)?;
    let trace = tracer.stop()?;
    let exec = trace.one("exec", truth.one("program")?)?;
    assert_eq!(exec.text("processguard.unit")?, group.path().rsplit('/').next().context("name")?);
    assert_eq!(exec.field("container"), None);
    Ok(())
}
