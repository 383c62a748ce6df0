//! Paths and working directories, however the program was reached.

use anyhow::{Context, Result};
use guard_tests::record::Record;
use guard_tests::tracer::Tracer;
use guard_tests::truth::{self, Truth};

/// All ways that the workload knows whose report `/proc` can confirm.
pub(crate) const KINDS: [&str; 12] = [
    "absolute",
    "relative",
    "symlink",
    "fexecve",
    "deleted-executable",
    "deleted-directory",
    "executable-in-deleted-directory",
    "renamed",
    "memfd",
    "tmpfs",
    "stacked-tmpfs",
    "bind",
];

#[test]
fn paths_are_what_the_kernel_itself_says() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truths = KINDS.map(|kind| truth::run(&["exec-path", "--kind", kind]));
    let trace = tracer.stop()?;
    for (kind, truth) in KINDS.iter().zip(truths) {
        let truth = truth?;
        compare(trace.one("exec", truth.one("process")?)?, &truth).with_context(|| (*kind).to_owned())?;
    }
    Ok(())
}

/// Compares an exec record with what the program read of itself in `/proc`.
pub(crate) fn compare(exec: &Record, truth: &Truth) -> Result<()> {
    let report = truth.one("report")?;
    for (path, flag, truth) in [
        ("process.executable", "processguard.executable.deleted", report.text("executable")?),
        (
            "process.working_directory",
            "processguard.working_directory.deleted",
            report.text("working_directory")?,
        ),
    ] {
        let deleted = truth.strip_suffix(" (deleted)");
        assert_eq!(exec.text(path)?, deleted.unwrap_or(truth), "{}", exec.0);
        assert_eq!(exec.flag(flag), deleted.is_some(), "{}", exec.0);
    }
    assert!(!exec.flag("processguard.executable.truncated"));
    assert!(!exec.flag("processguard.working_directory.truncated"));
    assert_eq!(exec.text("process.name")?, report.text("name")?);
    Ok(())
}

#[test]
fn a_path_in_a_chroot_is_that_of_the_host() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["exec-path", "--kind", "chroot"])?;
    let trace = tracer.stop()?;
    let process = truth.one("process")?;
    let exec = trace.one("exec", process)?;
    let directory = process.text("directory")?;
    assert_eq!(exec.text("process.executable")?, format!("{directory}/work/bin/program"));
    assert_eq!(exec.text("process.working_directory")?, format!("{directory}/work/bin"));
    Ok(())
}

#[test]
fn a_path_beyond_all_limits_keeps_its_end() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["exec-path", "--kind", "deep"])?;
    let trace = tracer.stop()?;
    let exec = trace.one("exec", truth.one("process")?)?;
    assert!(exec.flag("processguard.executable.truncated"));
    assert!(exec.flag("processguard.working_directory.truncated"));
    let end = format!("/{}/program", ["d".repeat(60).as_str(); 40].join("/"));
    assert!(exec.text("process.executable")?.ends_with(&end), "{}", exec.0);
    let end = format!("/{}", ["d".repeat(60).as_str(); 40].join("/"));
    assert!(exec.text("process.working_directory")?.ends_with(&end), "{}", exec.0);
    Ok(())
}

#[test]
fn inode_and_device_are_those_of_the_file() -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["run", "--", "/bin/true"])?;
    let trace = tracer.stop()?;
    let exec = trace.one("exec", truth.one("program")?)?;
    let file = std::fs::metadata("/bin/true")?;
    assert_eq!(exec.number("processguard.executable.inode")?, i64::try_from(file.ino())?);
    let device = format!("{}:{}", libc::major(file.dev()), libc::minor(file.dev()));
    assert_eq!(exec.text("processguard.executable.device")?, device);
    Ok(())
}
