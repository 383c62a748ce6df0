//! Whatever way it ends, it leaves no program, map, link or file behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use guard_tests::bpf::Objects;
use guard_tests::host;
use guard_tests::tracer::Tracer;
use guard_tests::truth::Workload;

/// Waits until the kernel has none of these any more: it frees them a moment after their last use.
pub(crate) fn assert_gone(objects: &Objects) -> Result<()> {
    let gone = host::wait_for("the end of all BPF objects", || {
        Ok(Objects::existing()?.common(objects).is_empty().then_some(()))
    });
    gone.with_context(|| format!("left: {:?}", Objects::existing().map(|now| now.common(objects))))
}

/// Files where a tracer could leave some.
fn files() -> BTreeSet<PathBuf> {
    let places = ["/sys/fs/bpf", "/run", "/run/lock", "/tmp", "/var/tmp", "/var/run", "/dev/shm"];
    let entries = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.starts_with("/sys/fs/bpf") || path.to_string_lossy().contains("processguard"))
        .collect()
}

#[test]
fn twenty_restarts_under_a_storm_leave_nothing() -> Result<()> {
    let _storm = Workload::start(&["storm", "--seconds", "600", "--parallel", "2"])?;
    let files_before = files();
    let mut held = Vec::new();
    // Each takes seconds where the machine is emulated.
    for round in 0..host::scaled_down(2, 20, 20)? {
        let tracer = Tracer::start(&["--events", "fork,exec,exit,signal,oom,listen"])?;
        let objects = Objects::held_by(tracer.pid())?;
        ensure!(!objects.programs.is_empty(), "round {round}: holds no program");
        held.push(objects);
        if round % 2 == 0 {
            let trace = tracer.stop()?;
            assert!(trace.seen("fork")? > 0, "round {round}");
        } else {
            tracer.kill()?;
        }
    }
    for (round, objects) in held.iter().enumerate() {
        assert_gone(objects).with_context(|| format!("round {round}"))?;
    }
    assert_eq!(files(), files_before);
    Ok(())
}

#[test]
fn nothing_of_a_round_is_left_at_all() -> Result<()> {
    // What it holds is not all that there is: the kernel itself says what came and stayed.
    let before = Objects::existing()?;
    Tracer::start(&[])?.stop()?;
    Tracer::start(&["--attach", "classic"])?.stop()?;
    Tracer::start(&[])?.kill()?;
    host::wait_for("the end of all BPF objects", || {
        Ok(Objects::existing()?.without(&before).is_empty().then_some(()))
    })
}

#[test]
fn two_at_a_time_see_the_same() -> Result<()> {
    let (first, second) = (Tracer::start(&[])?, Tracer::start(&[])?);
    let truth = guard_tests::truth::run(&["run", "--times", "20", "--", "/bin/true"])?;
    let traces = [first.stop()?, second.stop()?];
    for trace in &traces {
        for program in truth.all("program") {
            let actions: Vec<_> = trace.of(program)?.iter().map(|record| record.action()).collect();
            assert_eq!(actions, ["fork", "exec", "exit"]);
        }
    }
    Ok(())
}
