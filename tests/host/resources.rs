//! Resources as sampled, against known use and against /proc: twin of the kernel's `resources.rs`.
//!
//! The machines that run this have no swap, so of swap only that there is none can be seen here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guard_tests::cgroup::Cgroup;
use guard_tests::record::Record;
use guard_tests::trace::Trace;
use guard_tests::tracer::{self, Sentinel, Tracer};
use guard_tests::truth::Workload;
use guard_tests::{host, sys};

const INTERVAL: Duration = Duration::from_millis(200);
const TICK_NS: u64 = 10_000_000;

/// How far a process's memory may be from what /proc says: before 6.17, that leaves out what each CPU has not added
/// up yet, of up to 32 pages for each of three counters on each CPU (on machines with few of them).
fn memory_tolerance() -> Result<u64> {
    let cpus = thread::available_parallelism().context("count the CPUs")?.get() as u64;
    Ok(3 * 32 * 4096 * cpus)
}

/// Ended and reaped when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A trace of the resources of a process, and perhaps of its descendants, which shows it already.
fn trace(which: &str, pid: i32, more: &[&str]) -> Result<Tracer> {
    let text = pid.to_string();
    let interval = format!("{}ms", INTERVAL.as_millis());
    let mut arguments = vec!["--events", "resources", "--sample-interval", &interval, which, &text];
    arguments.extend(more);
    let mut sentinel = Sentinel::doing(format!(r#""process":{{"pid":{pid},"#), || Ok(()));
    Tracer::start_with(&tracer::json(&arguments), &mut sentinel)
}

fn used(record: &Record, name: &str) -> Result<u64> {
    Ok(record.number(&format!("processguard.resources.{name}"))?.unsigned_abs())
}

/// What /proc says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proc {
    start_ticks: u64,
    parent: u64,
    cpu_ns: u64,
    rss_bytes: u64,
    threads: u64,
    files: u64,
    limit: Option<u64>,
    read_bytes: u64,
    write_bytes: u64,
    zombie: bool,
    /// What the scheduler accounted for each thread, to the nanosecond.
    ran: String,
}

impl Proc {
    /// `task` is empty, or a thread that still has the memory of a process whose leader has ended.
    fn read(pid: u64, task: &str) -> Option<Self> {
        let process = format!("/proc/{pid}");
        let shared = format!("{process}/{task}");
        let read = |directory: &str, name| fs::read_to_string(format!("{directory}/{name}")).ok();
        let stat = read(&process, "stat")?;
        let stat: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |field: usize| stat.get(field - 3)?.parse::<u64>().ok();
        let io = read(&process, "io")?;
        let io = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let mut tasks: Vec<_> = fs::read_dir(format!("{process}/task")).ok()?.flatten().collect();
        tasks.sort_unstable_by_key(fs::DirEntry::file_name);
        let schedstat = |task: &fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).ok();
        let limits = read(&process, "limits")?;
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        Some(Self {
            start_ticks: number(22)?,
            parent: number(4)?,
            cpu_ns: (number(14)? + number(15)?) * TICK_NS,
            rss_bytes: read(&shared, "statm")?.split(' ').nth(1)?.parse::<u64>().ok()? * 4096,
            threads: number(20)?,
            files: fs::read_dir(format!("{shared}/fd")).ok()?.count() as u64,
            limit: limit.split_whitespace().next()?.parse().ok(),
            read_bytes: io("read_bytes:")?,
            write_bytes: io("\nwrite_bytes:").or_else(|| io("write_bytes:"))?,
            zombie: stat.first() == Some(&"Z"),
            ran: tasks.iter().map(schedstat).collect::<Option<_>>()?,
        })
    }

    /// Compares a sample that was taken between two readings.
    fn check(before: &Self, after: &Self, sample: &Record) -> Result<()> {
        let range = |name: &str, low: u64, high: u64| {
            let ours = used(sample, name)?;
            ensure!((low..=high).contains(&ours), "{name} {ours}, not {low} to {high}: {}", sample.0);
            anyhow::Ok(())
        };
        let limit = sample.field("processguard.resources.open_files_limit").and_then(|limit| limit.as_u64());
        ensure!([before.limit, after.limit].contains(&limit), "limit {limit:?}: {before:?}");
        // /proc counts in whole ticks, user and system apart; of what runs at the moment, up to a tick (of 100 Hz at
        // worst) is not in its account yet.
        range("cpu_ns", before.cpu_ns.saturating_sub(TICK_NS), after.cpu_ns + 3 * TICK_NS)?;
        range("read_bytes", before.read_bytes, after.read_bytes)?;
        range("write_bytes", before.write_bytes, after.write_bytes)?;
        // What can go up and down in between is compared if no thread ran.
        if before.ran == after.ran {
            range("threads", before.threads, after.threads)?;
            range("open_files", before.files, after.files)?;
            let tolerance = memory_tolerance()?;
            range("rss_bytes", before.rss_bytes.saturating_sub(tolerance), after.rss_bytes + tolerance)?;
        }
        Ok(())
    }
}

/// Checks the shares of CPU time of a process's samples, in their order.
fn check_shares(samples: &[&Record]) -> Result<()> {
    for pair in samples.windows(2) {
        let [earlier, later] = pair else { continue };
        let passed = later.time_ns()? - earlier.time_ns()?;
        let share = later.field("processguard.resources.cpu_percent").and_then(serde_json::Value::as_f64);
        let Some(worked) = used(later, "cpu_ns")?.checked_sub(used(earlier, "cpu_ns")?) else { continue };
        let expected = worked as f64 * 100.0 / passed as f64;
        let share = share.with_context(|| format!("no share: {}", later.0))?;
        assert!((share - expected).abs() < 0.011, "{share}%, by its own totals {expected}%");
    }
    Ok(())
}

/// A directory on a disk, if this machine has one: /tmp may be memory.
fn on_disk() -> &'static Path {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    if built.is_dir() { built } else { Path::new("/tmp") }
}

/// Whether files there are memory: `RAMFS_MAGIC` or `TMPFS_MAGIC` of the kernel's `magic.h`.
fn is_memory(directory: &Path) -> Result<bool> {
    let kind = rustix::fs::statfs(directory).context("statfs")?.f_type;
    Ok([0x8584_58f6, 0x0102_1994].contains(&kind))
}

/// Runs the workload, traces it, and gives its last sample beside what /proc says and its own CPU time.
fn known_use(more: &[&str]) -> Result<(Record, Proc, u64)> {
    let directory = tempfile::tempdir_in(on_disk()).context("make a temporary directory")?;
    let directory = directory.path().to_str().context("path")?;
    let workload = Workload::start(&[&["resources", "--directory", directory], more].concat())?;
    let ready = host::wait_for("the workload", || workload.pids("uses", 1));
    let pid = *ready?.first().context("no pid")?;
    let tracer = trace("--pid", pid, &[])?;
    thread::sleep(2 * INTERVAL);
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("tasks")?;
    let ids = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse::<u32>().ok());
    let task = format!("task/{}", ids.max().context("no task")?);
    let read = || Proc::read(pid.unsigned_abs().into(), &task).context("/proc");
    let before = read()?;
    thread::sleep(2 * INTERVAL);
    let trace = tracer.stop()?;
    // Memory can grow though nothing runs: khugepaged fills the holes when it makes 512 pages a huge one.
    let after = read()?;
    let truth = workload.finish()?;
    let cpu_ns = truth.one("uses")?.number("cpu_ns")?.unsigned_abs();
    let samples: Vec<&Record> = trace.with_pid("resources", pid.into()).collect();
    ensure!(samples.len() >= 4, "{} samples", samples.len());
    assert_eq!(trace.seen("resources")?, i64::try_from(trace.all("resources").count())?);
    check_shares(&samples)?;
    let last = samples.last().copied().cloned().context("no sample")?;
    Proc::check(&before, &after, &last)?;
    Ok((last, after, cpu_ns))
}

#[test]
fn known_use_is_what_is_reported() -> Result<()> {
    let (sample, proc, cpu_ns) =
        known_use(&["--mib", "64", "--files", "70", "--limit", "300", "--threads", "5", "--busy-ms", "300"])?;
    let rss = used(&sample, "rss_bytes")?;
    assert!((64 << 20..80 << 20).contains(&rss), "{rss}");
    assert_eq!(used(&sample, "open_files_limit")?, 300);
    assert_eq!(used(&sample, "threads")?, 1 + 5);
    // 70, and what it had before: three standard ones, the truth, the file written, and what it inherited.
    let files = used(&sample, "open_files")?;
    assert!(files >= 75 && files == proc.files, "{files} open files of {proc:?}");
    let ours = used(&sample, "cpu_ns")?;
    // Its own clock is read while it runs; to write down what it read takes a little more.
    assert!(
        ours >= 300_000_000 && ours + TICK_NS >= cpu_ns && ours < cpu_ns + 5 * TICK_NS,
        "{ours} of {cpu_ns}"
    );
    let written = used(&sample, "write_bytes")?;
    // Writes to memory are not accounted for: in virtual machines there is nothing else.
    let expected = if is_memory(on_disk())? { 0..=0 } else { 1 << 20..=u64::MAX };
    assert!(expected.contains(&written), "{written} bytes of 1 MiB written");
    assert_eq!(used(&sample, "swap_bytes")?, 0);
    assert!(sample.number("processguard.resources.run_delay_ns").is_ok());
    Ok(())
}

#[test]
fn a_process_whose_leader_has_ended_keeps_memory_and_files() -> Result<()> {
    let (sample, proc, _) = known_use(&["--leader-ends", "--mib", "32", "--files", "30", "--threads", "3"])?;
    let rss = used(&sample, "rss_bytes")?;
    assert!((32 << 20..48 << 20).contains(&rss), "{rss}");
    assert!(used(&sample, "open_files")? >= 30);
    assert_eq!(used(&sample, "threads")?, 1 + 1 + 3, "the ended leader counts, as in /proc: {proc:?}");
    Ok(())
}

/// Every process of the host, by pid.
fn everybody() -> Result<BTreeMap<u64, Proc>> {
    let entries = fs::read_dir("/proc").context("read /proc")?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    let alive = pids.filter_map(|pid| Some((pid, Proc::read(pid, "")?))).filter(|(_, proc)| !proc.zombie);
    Ok(alive.collect())
}

#[test]
fn every_process_of_the_host_is_as_proc_says() -> Result<()> {
    let sleepers = Workload::start(&["sleepers", "--count", "50"])?;
    let pids = host::wait_for("the sleepers", || sleepers.pids("sleeper", 50))?;
    // Not init itself: the task iterator of the build machines' kernel leaves it out.
    let roots = everybody()?.into_iter().filter(|(pid, proc)| *pid == 2 || proc.parent == 1);
    let roots: Vec<String> = roots.map(|(pid, _)| pid.to_string()).collect();
    let more: Vec<&str> = roots.iter().flat_map(|root| ["--tree", root.as_str()]).collect();
    let tracer = trace("--tree", sleepers.pid(), &more)?;
    let (before, began) = (everybody()?, sys::boottime_ns());
    thread::sleep(3 * INTERVAL);
    let (ended, after) = (sys::boottime_ns(), everybody()?);
    let trace = tracer.stop()?;
    let mut compared = 0;
    for record in trace.all("resources").filter(|record| record.pid() != 0) {
        if !(began..ended).contains(&record.time_ns()?) {
            continue;
        }
        let pid = record.pid().unsigned_abs();
        let (Some(before), Some(after)) = (before.get(&pid), after.get(&pid)) else { continue };
        if before.start_ticks == after.start_ticks && record.start_ns()? / TICK_NS == before.start_ticks {
            Proc::check(before, after, record)?;
            compared += 1;
        }
    }
    assert!(compared > 2 * pids.len(), "{compared} samples compared");
    for pid in pids {
        let samples: Vec<_> = trace.with_pid("resources", pid.into()).collect();
        assert!(samples.len() > 2, "sleeper {pid}: {} samples", samples.len());
        check_shares(&samples)?;
    }
    sleepers.finish()?;
    Ok(())
}

#[test]
fn the_ended_are_not_sampled_reaped_or_not() -> Result<()> {
    // What the shell becomes reaps nobody: its first child stays a zombie.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "sleep 1 & echo $!; exec sleep 1000"]).stdout(Stdio::piped());
    let mut parent = Running(command.spawn().context("start a shell")?);
    let mut line = String::new();
    let stdout = parent.0.stdout.take().context("no standard output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).context("read")?;
    let child: u64 = line.trim().parse().context("pid")?;
    let tracer = trace("--tree", parent.0.id().cast_signed(), &[])?;
    host::wait_for("the zombie", || Ok(Proc::read(child, "").filter(|proc| proc.zombie).map(drop)))?;
    let dead_ns = sys::boottime_ns();
    thread::sleep(3 * INTERVAL);
    let trace: Trace = tracer.stop()?;
    let times = |pid: u64| -> Result<Vec<u64>> {
        trace.with_pid("resources", pid.cast_signed()).map(Record::time_ns).collect()
    };
    assert!(times(child)?.iter().all(|time| *time < dead_ns), "sampled after its end");
    let later = times(parent.0.id().into())?.iter().filter(|time| **time > dead_ns).count();
    assert!(later >= 2, "its parent was sampled {later} times after that");
    Ok(())
}

#[test]
fn a_control_group_with_its_memory_and_pressure() -> Result<()> {
    let name = format!("processguard-resources-{}", std::process::id());
    // In both hierarchies of a hybrid system, as systemd does it.
    let group = Cgroup::v2(&name)?;
    let memory = Cgroup::memory(&name, 256 << 20)?;
    let sleeper = Running(Command::new("sleep").arg("1000").spawn().context("start sleep")?);
    for directory in [group.directory(), memory.directory()] {
        fs::write(directory.join("cgroup.procs"), sleeper.0.id().to_string()).context("join")?;
    }
    let tracer = trace("--pid", sleeper.0.id().cast_signed(), &[])?;
    thread::sleep(3 * INTERVAL);
    let trace = tracer.stop()?;
    drop(sleeper);
    let groups: Vec<_> = trace.all("resources").filter(|record| record.pid() == 0).collect();
    let last = groups.last().context("no control group")?;
    assert_eq!(last.text("processguard.cgroup.path")?, group.path());
    assert_eq!(used(last, "memory_limit_bytes")?, 256 << 20);
    assert!(used(last, "memory_bytes")? < 256 << 20);
    for resource in ["cpu", "memory", "io"] {
        let file = group.directory().join(format!("{resource}.pressure"));
        let known = last.field(&format!("processguard.resources.pressure.{resource}.some.total_ns"));
        assert_eq!(known.is_some(), is_readable(&file), "{resource}: {}", last.0);
    }
    Ok(())
}

fn is_readable(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.starts_with("some "))
}

#[test]
fn only_named_processes_can_be_sampled() -> Result<()> {
    let command = tracer::trace_command(&["--events", "resources"])?;
    let ended = Tracer::spawn(&command)?.wait()?;
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("--pid") && ended.stderr.contains("--tree"), "{}", ended.stderr);
    Ok(())
}
