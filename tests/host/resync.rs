//! After a loss the process table is the kernel's again, and nobody's end is left untold.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guard_tests::record::Record;
use guard_tests::tracer::Tracer;
use guard_tests::{host, sys, truth};

/// Nanoseconds of a clock tick: `USER_HZ` is 100 wherever Linux runs on x86.
const TICK_NS: u64 = 10_000_000;

/// The parent of all kernel threads.
const KTHREADD: i64 = 2;

/// What can be asked of a process that lives: parent, real user, name, executable.
type Facts = (i64, i64, String, Option<String>);

/// Processes by pid and start, in clock ticks.
type Living = BTreeMap<(i64, u64), Facts>;

#[test]
fn after_a_gap_the_table_is_the_kernels() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("table");
    let file_name = file.to_str().context("a name that is text")?;
    let mut tracer = Tracer::start(&["--ring-size", "64KiB", "--table", file_name])?;
    let mut dying = sleepers(20)?;
    let mut changing =
        Sleeper(Command::new("sh").args(["-c", "read line; exec sleep 1000"]).stdin(Stdio::piped()).spawn()?);
    host::wait_for("the shell's exec in the output", || {
        let text = fs::read_to_string(tracer.output())?;
        Ok(text.contains("read line; exec sleep 1000").then_some(()))
    })?;

    tracer.signal(libc::SIGSTOP)?;
    truth::run(&["storm", "--count", host::scaled_down("300", "1000", "1000")?])?;
    dying.iter_mut().try_for_each(Sleeper::end)?;
    let born = sleepers(20)?;
    changing.0.stdin.take().context("no standard input")?.write_all(b"\n")?;
    let new_name = |facts: &Facts| facts.2 == "sleep";
    host::wait_for("the shell's last exec", || {
        Ok(living()?.get(&changing.key()?).filter(|f| new_name(f)).map(|_| ()))
    })?;
    let at_the_gap = living()?;
    tracer.signal(libc::SIGCONT)?;
    host::wait_for("a resync", || {
        let text = fs::read_to_string(tracer.output())?;
        Ok(text.contains(r#""action":"resync""#).then_some(()))
    })?;
    // The reader may have fallen behind once more while it wrote what it had.
    std::thread::sleep(Duration::from_secs(1));

    let (before, before_ns) = (living()?, sys::boottime_ns());
    let trace = tracer.stop()?;
    let after = living()?;
    let table = read_table(&fs::read_to_string(&file)?)?;
    for (process, facts) in &before {
        if after.contains_key(process) {
            let held = table.get(process).with_context(|| format!("{process:?} is missing: {facts:?}"))?;
            // What no record tells may have changed since the table was compared.
            if at_the_gap.get(process) == Some(facts) && after.get(process) == Some(facts) {
                assert_eq!(held, facts, "{process:?}");
            }
        }
    }
    for (process, facts) in &table {
        let here = before.contains_key(process) || process.1 >= ticks(before_ns);
        assert!(here, "{process:?} lives only in the table: {facts:?}");
    }
    for sleeper in born.iter().chain([&changing]) {
        let facts = table.get(&sleeper.key()?).context("a process of the gap is missing")?;
        assert_eq!((facts.2.as_str(), ends_with_sleep(facts)), ("sleep", true));
    }

    let gap = trace.records.iter().position(|record| record.action() == "gap").context("no gap")?;
    let first = trace.records.iter().position(|record| record.action() == "resync").context("no resync")?;
    assert!(gap < first, "the gap is told first");
    for kind in ["fork", "exec", "exit"] {
        assert!(trace.lost_in_gaps(kind) > 20, "{kind}");
    }
    let resyncs: Vec<_> = trace.all("resync").collect();
    assert!(resyncs.iter().all(|record| record.text("processguard.resync.reason").is_ok_and(|r| r == "gap")));
    let sum = |name| {
        resyncs
            .iter()
            .map(|record| record.number(&format!("processguard.resync.{name}")))
            .sum::<Result<i64>>()
    };
    assert!(sum("inserted")? >= 20 && sum("ended")? >= 20 && sum("programs")? >= 21, "{resyncs:?}");
    for sleeper in &dying {
        let pid = i64::from(sleeper.pid());
        let exits: Vec<_> = trace.with_pid("exit", pid).collect();
        let [exit] = &exits[..] else { panic!("{} exits of {pid}", exits.len()) };
        assert_eq!(exit.text("processguard.exit.status")?, "unknown");
        assert_eq!(exit.text("processguard.cause.kind")?, "record_lost");
        assert!(exit.field("process.exit_code").is_none() && exit.field("processguard.usage").is_none());
    }
    Ok(())
}

/// A process that sleeps until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn key(&self) -> Result<(i64, u64)> {
        let pid = i64::from(self.pid());
        stat(pid).map(|stat| (pid, stat.start_ticks)).context("it ended")
    }

    fn end(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.end();
    }
}

fn sleepers(count: u32) -> Result<Vec<Sleeper>> {
    (0..count).map(|_| Ok(Sleeper(Command::new("sleep").arg("1000").spawn()?))).collect()
}

fn ends_with_sleep(facts: &Facts) -> bool {
    let names = ["/sleep", "coreutils", "busybox"];
    facts.3.as_ref().is_some_and(|path| names.iter().any(|name| path.ends_with(name)))
}

struct Stat {
    name: String,
    state: String,
    parent: i64,
    threads: u64,
    start_ticks: u64,
}

/// `/proc/PID/stat`; `None` if it is gone.
fn stat(pid: i64) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, tail) = text.rsplit_once(") ")?;
    let name = head.split_once(" (")?.1.to_owned();
    let fields: Vec<_> = tail.split(' ').collect();
    // The fields after the name begin with the third of proc(5).
    let number = |at: usize| fields.get(at - 3)?.parse().ok();
    Some(Stat {
        name,
        state: (*fields.first()?).to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        threads: number(20)?,
        start_ticks: number(22)?,
    })
}

/// All processes that live now: a dead leader whose threads go on is one, a zombie is not.
fn living() -> Result<Living> {
    let mut living = Living::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i64>() else { continue };
        // The build machines' first process is no one's business: iterators do not show it, and its
        // executable cannot be read.
        let Some(stat) = stat(pid).filter(|_| pid != 1) else { continue };
        if matches!(stat.state.as_str(), "Z" | "X") && stat.threads <= 1 {
            continue;
        }
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
        let uid = uid.and_then(|uid| uid.parse().ok()).context("no Uid")?;
        let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let exe = exe.map(|path| path.to_string_lossy().trim_end_matches(" (deleted)").to_owned());
        living.insert((pid, stat.start_ticks), (stat.parent, uid, name(stat.parent, &stat.name), exe));
    }
    Ok(living)
}

/// A name; none of kernel threads, to which `/proc` adds what they work on.
fn name(parent: i64, name: &str) -> String {
    if parent == KTHREADD { String::new() } else { name.to_owned() }
}

/// Clock ticks since boot, as in `/proc/PID/stat`.
fn ticks(boottime_ns: u64) -> u64 {
    boottime_ns / TICK_NS
}

fn read_table(text: &str) -> Result<Living> {
    let mut table = Living::new();
    for line in text.lines() {
        let record = Record(serde_json::from_str(line)?);
        ensure!(record.action() == "living", "{line}");
        let parent = record.number("process.parent.pid").unwrap_or(0);
        let facts = (
            parent,
            record.text("process.real_user.id")?.parse()?,
            name(parent, &String::from_utf8_lossy(&record.bytes("process.name")?)),
            record.bytes("process.executable").ok().map(|path| String::from_utf8_lossy(&path).into_owned()),
        );
        if record.pid() == 1 {
            continue;
        }
        table.insert((record.pid(), ticks(record.start_ns()?)), facts);
    }
    Ok(table)
}
