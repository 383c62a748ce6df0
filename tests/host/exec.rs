//! Programs and their arguments: twin of the kernel's `exec.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, ensure};
use guard_tests::record::Record;
use guard_tests::tracer::Tracer;
use guard_tests::truth;
use guard_tests::workload::elf;

#[test]
fn an_exec_from_a_thread_keeps_the_process() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["exec-from-thread"])?;
    let trace = tracer.stop()?;
    let (process, thread) = (truth.one("process")?, truth.one("calling thread")?);
    let exec = trace.one("exec", process)?;
    assert_eq!(exec.number("processguard.exec.calling_thread")?, thread.number("tid")?);
    assert_eq!(exec.text("process.executable")?, thread.text("executable")?);
    assert_eq!(exec.args()?, [b"from-thread".to_vec(), b"a".to_vec(), b"b".to_vec()]);
    assert_eq!(exec.text("process.name")?, "from-thread");
    let (fork, exit) = (trace.one("fork", process)?, trace.one("exit", process)?);
    assert_eq!(exit.identity("process")?, fork.identity("process")?);
    assert_eq!(exit.number("process.exit_code")?, 2);
    Ok(())
}

#[test]
fn a_huge_command_line_is_cut_and_counted() -> Result<()> {
    let lengths = ["100", "4000", "102400"];
    let tracer = Tracer::start(&[])?;
    let truths = lengths.map(|each| truth::run(&["big-argv", "--bytes", "102400", "--each", each]));
    let trace = tracer.stop()?;
    for (each, truth) in lengths.into_iter().zip(truths) {
        let truth = truth?;
        let process = truth.one("process")?;
        let exec = trace.one("exec", process)?;
        let kept = prefix(exec, &process.list("args")?)?;
        assert!(kept >= 4096, "{kept} bytes of arguments of {each} bytes were kept");
        assert!(exec.flag("processguard.args.truncated"), "not marked as cut");
    }
    Ok(())
}

#[test]
fn a_long_command_line_that_fits_is_whole() -> Result<()> {
    // Around the sizes at which the sensor chooses another record.
    let sizes = [300, 380, 390, 500, 1000, 2000, 4096];
    let tracer = Tracer::start(&[])?;
    let truths = sizes.map(|bytes| truth::run(&["big-argv", "--bytes", &bytes.to_string(), "--each", "10"]));
    let trace = tracer.stop()?;
    for (bytes, truth) in sizes.into_iter().zip(truths) {
        let truth = truth?;
        let process = truth.one("process")?;
        let exec = trace.one("exec", process)?;
        assert_eq!(exec.args()?, process.list("args")?);
        assert!(!exec.flag("processguard.args.truncated"), "{bytes} bytes are marked as cut");
    }
    Ok(())
}

/// How many bytes of arguments were kept, after a check that they are the true ones' beginning.
fn prefix(exec: &Record, truth: &[Vec<u8>]) -> Result<usize> {
    let args = exec.args()?;
    assert_eq!(exec.number("process.args_count")?, i64::try_from(truth.len())?);
    let (last, whole) = args.split_last().context("no arguments")?;
    let (expected, rest) = truth.split_at(whole.len());
    ensure!(whole == expected, "arguments differ before the last one");
    let cut = rest.first().context("more arguments than there are")?;
    ensure!(cut.starts_with(last), "the last argument differs");
    Ok(args.iter().map(|arg| arg.len() + 1).sum())
}

#[test]
fn a_script_runs_its_interpreter() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (interpreter, script) = (directory.path().join("interpreter"), directory.path().join("script"));
    elf::write(&interpreter)?;
    fs::write(&script, format!("#!{} -o -p\n", interpreter.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let script = script.to_str().context("path")?;
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["run", "--", script, "one", "two"])?;
    let trace = tracer.stop()?;
    let process = truth.one("program")?;
    let exec = trace.one("exec", process)?;
    let interpreter = interpreter.to_str().context("path")?;
    assert_eq!(exec.text("process.executable")?, interpreter);
    let expected = [interpreter, "-o -p", script, "one", "two"].map(|arg| arg.as_bytes().to_vec());
    assert_eq!(exec.args()?, expected);
    assert_eq!(exec.text("process.name")?, "script");
    assert_eq!(process.exit_code()?, Some(4));
    assert_eq!(trace.one("exit", process)?.number("process.exit_code")?, 4);
    Ok(())
}

#[test]
fn an_exec_that_fails_is_none() -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(&["failed-exec"])?;
    let trace = tracer.stop()?;
    let process = truth.one("process")?;
    let records = trace.of(process)?;
    assert!(records.iter().all(|record| record.action() != "exec"), "{records:?}");
    assert_eq!(trace.one("exit", process)?.number("process.exit_code")?, 127);
    Ok(())
}

#[test]
fn privileges_gained_by_a_users_exec_are_shown() -> Result<()> {
    gained(&["setuid-exec"])?;
    gained(&["file-capability-exec"])
}

#[test]
fn privileges_gained_right_after_root_was_given_up_are_shown() -> Result<()> {
    gained(&["setuid-exec", "--direct"])?;
    gained(&["file-capability-exec", "--direct"])
}

fn gained(workload: &[&str]) -> Result<()> {
    let tracer = Tracer::start(&[])?;
    let truth = truth::run(workload)?;
    let trace = tracer.stop()?;
    let report = truth.one("report")?;
    let records = trace.of(truth.one("process")?)?;
    let mut execs = records.iter().filter(|record| record.action() == "exec");
    let exec = execs.next_back().context("no exec")?;
    assert_eq!(exec.text("process.executable")?, report.text("executable")?);
    assert_eq!(exec.text("processguard.capabilities.effective")?, report.text("capabilities")?);
    // Nobody had none before, so all that it has was gained.
    assert_eq!(exec.text("processguard.exec.capabilities_gained.mask")?, report.text("capabilities")?);
    assert!(exec.flag("processguard.exec.secure"), "not marked as secure");
    let (real, rest) = report.text("uid")?.split_once('\t').context("uid")?;
    let (effective, _) = rest.split_once('\t').context("uid")?;
    assert_eq!(exec.text("process.real_user.id")?, real);
    assert_eq!(exec.text("process.user.id")?, effective);
    for exec in execs {
        assert_eq!(exec.field("processguard.exec.capabilities_gained"), None);
        assert!(!exec.flag("processguard.exec.secure"));
    }
    Ok(())
}
