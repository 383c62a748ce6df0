//! execsnoop and exitsnoop of libbpf-tools, as oracles: what they see and we do not is zero.
//!
//! They know a process by its pid and name only, and pids return, so occurrences are counted.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use guard_tests::host;
use guard_tests::trace::Trace;
use guard_tests::tracer::{Ended, Sentinel, Tracer};

/// What both snoops saw of one kind: pid and name, in the order of their lines.
type Seen = Vec<(i64, String)>;

/// Starts a snoop in a mount namespace of its own, where tracefs is mounted for it.
fn snoop(name: &str) -> Result<Tracer> {
    let script =
        "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing && exec \"$@\"";
    let mut command: Vec<OsString> = vec![host::tool("unshare")?.into()];
    command.extend(["--mount", "sh", "-c", script, "sh", "stdbuf", "-oL"].map(OsString::from));
    command.push(host::tool(name)?.into());
    Tracer::spawn(&command)
}

/// Lines of a table whose columns are found by their heads.
fn table(ended: &Ended, pid: &str, name: &str) -> Result<Seen> {
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let mut lines = text.lines();
    let head = lines.next().with_context(|| format!("no output: {}", ended.stderr))?;
    let column = |title: &str| {
        let found = head.split_whitespace().position(|word| word == title);
        found.with_context(|| format!("no {title} in {head:?}"))
    };
    let (pid, name) = (column(pid)?, column(name)?);
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        Some((words.get(pid)?.parse().ok()?, (*words.get(name)?).to_owned()))
    };
    Ok(lines.filter_map(row).collect())
}

/// What a snoop saw and the trace did not, counted: a pid may be used again.
fn missing(trace: &Trace, action: &str, seen: &Seen) -> Seen {
    let mut ours = HashMap::<(i64, String), i64>::new();
    for record in trace.all(action) {
        let name = record.text("process.name").unwrap_or_default().to_owned();
        *ours.entry((record.pid(), name)).or_default() += 1;
    }
    let unseen = |key: &&(i64, String)| {
        let left = ours.entry((*key).clone()).or_default();
        *left -= 1;
        *left < 0
    };
    seen.iter().filter(unseen).cloned().collect()
}

/// Leaves out the ends of leading threads whose process lives on, because another of its threads
/// has called exec: exitsnoop takes them for the process's end, and sees its true end too.
fn without_replaced_leaders(trace: &Trace, mut missing: Seen) -> Seen {
    for exec in trace.all("exec") {
        let replaced =
            exec.number("processguard.exec.calling_thread").is_ok_and(|thread| thread != exec.pid());
        let at = missing.iter().position(|(pid, _)| replaced && *pid == exec.pid());
        at.map(|at| missing.remove(at));
    }
    missing
}

fn compare(workload: impl FnOnce() -> Result<()>) -> Result<()> {
    // The trace begins first and ends last, so all that they see is in its time.
    let trace = Tracer::start(&["--events", "fork,exec,exit"])?;
    let (mut execs, mut exits) = (snoop("execsnoop")?, snoop("exitsnoop")?);
    execs.wait_until_attached(&mut Sentinel::named("pg-exec-sign")?)?;
    exits.wait_until_attached(&mut Sentinel::named("pg-exit-sign")?)?;
    workload()?;
    let (execs, exits) = (execs.interrupt()?, exits.interrupt()?);
    let trace = trace.stop()?;
    let (execs, exits) = (table(&execs, "PID", "PCOMM")?, table(&exits, "PID", "PCOMM")?);
    println!(
        "execsnoop saw {}, exitsnoop {}; we {} and {}",
        execs.len(),
        exits.len(),
        trace.all("exec").count(),
        trace.all("exit").count()
    );
    ensure!(execs.len() > 10 && exits.len() > 10, "the oracles saw next to nothing");
    assert_eq!(trace.lost_in_all()?, 0);
    for (action, seen) in [("exec", &execs), ("exit", &exits)] {
        let mut missing = missing(&trace, action, seen);
        if action == "exit" {
            missing = without_replaced_leaders(&trace, missing);
        }
        let pids: Vec<_> = missing.iter().map(|(pid, _)| *pid).take(3).collect();
        let ours: Vec<_> = trace.records.iter().filter(|record| pids.contains(&record.pid())).collect();
        ensure!(missing.is_empty(), "{action} that only the oracle saw: {missing:?}; we of them: {ours:?}");
    }
    Ok(())
}

#[test]
fn stress_ng() -> Result<()> {
    let operations = host::scaled("200", "2000")?;
    // Its exec stressor refuses to run as root, and wants a directory to write to.
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
    compare(|| {
        let mut stress = Command::new(host::tool("stress-ng")?);
        stress.args(["--exec", "2", "--exec-max", "32", "--exec-ops", operations]);
        stress.args(["--fork", "1", "--fork-ops", operations, "--quiet"]);
        let status = stress.current_dir(directory.path()).uid(65_534).gid(65_534).status()?;
        ensure!(status.success(), "stress-ng: {status}");
        Ok(())
    })
}

#[test]
fn building_something() -> Result<()> {
    let directory = tempfile::tempdir()?;
    write_sources(directory.path(), host::scaled(12, 100)?)?;
    compare(|| {
        let status =
            Command::new(host::tool("make")?).args(["-s", "-j3", "-C"]).arg(directory.path()).status()?;
        ensure!(status.success(), "make: {status}");
        Ok(())
    })
}

/// A program of many files and its makefile, which calls a compiler, an assembler and a linker.
fn write_sources(directory: &Path, files: u32) -> Result<()> {
    host::tool("gcc")?;
    let names: Vec<String> = (0..files).map(|number| format!("part{number}")).collect();
    for name in &names {
        fs::write(directory.join(format!("{name}.c")), format!("int {name}(void) {{ return 1; }}\n"))?;
    }
    let calls: String = names.iter().map(|name| format!(" + {name}()")).collect();
    let declarations: String = names.iter().map(|name| format!("int {name}(void);\n")).collect();
    fs::write(directory.join("main.c"), format!("{declarations}int main(void) {{ return 0{calls}; }}\n"))?;
    let objects: String = names.iter().map(|name| format!(" {name}.o")).collect();
    let makefile = format!(
        "all: main.o{objects}\n\tgcc -o program $^\n\t./program || true\n%.o: %.c\n\t@echo $< | cat > $@.log\n\tgcc -c -o $@ $<\n"
    );
    fs::write(directory.join("Makefile"), makefile)?;
    Ok(())
}
