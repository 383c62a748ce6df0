//! A day like any other: what the daemon costs while it samples a thousand processes that do nothing.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{envelope::Verdict, process::Process};

/// Row 6 of the envelope.
pub(super) const RSS_BYTES: u64 = 25_000_000;
pub(super) const CPU_PERCENT: f64 = 0.5;

/// Sleeping processes.
const PROCESSES: usize = 1_000;

/// The daemon is measured for so long, after it has settled.
const MEASURED: Duration = Duration::from_secs(20);
const SETTLES: Duration = Duration::from_secs(3);

/// What was measured.
pub(super) struct Resident {
    /// Events of sleepers in the time.
    sampled: u64,
    seconds: f64,
    cpu: Duration,
    steady_rss: u64,
    /// Type information is read at the start and freed again.
    peak_rss: u64,
}

/// The sleepers; they end with their parent.
pub(super) struct Sleepers(Child);

impl Sleepers {
    /// So many.
    pub(super) fn start(workload: &Path, count: usize) -> Result<Self> {
        let mut command = Command::new(workload);
        command.args(["sleepers", "--count", &count.to_string()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the sleepers")?;
        let mut sleepers = Self(child);
        let stdout = sleepers.0.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("wait for the sleepers")?;
        ensure!(line.contains("sleepers"), "the sleepers said {line:?}");
        Ok(sleepers)
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            _ = stdin.write_all(b"end\n");
        }
        _ = self.0.wait();
    }
}

/// Samples every second a tree of a thousand sleepers.
pub(super) fn measure(processguard: &Path, workload: &Path, scratch: &Path) -> Result<Resident> {
    let sleepers = Sleepers::start(workload, PROCESSES)?;
    let stream = scratch.join("resident.jsonl");
    _ = fs::remove_file(&stream);
    let mut trace = Command::new(processguard);
    trace.args(["trace", "--events", "resources", "--sample-interval", "1s", "--format", "json"]);
    trace.args(["--tree", &sleepers.0.id().to_string(), "--output"]).arg(&stream);
    let mut trace = Process::start(&mut trace, &scratch.join("resident.err"))?;
    thread::sleep(SETTLES);
    let (cpu, began, lines) = (trace.cpu()?, Instant::now(), samples(&stream)?);
    thread::sleep(MEASURED);
    let (cpu, seconds) = (trace.cpu()?.saturating_sub(cpu), began.elapsed().as_secs_f64());
    let sampled = samples(&stream)? - lines;
    let (steady_rss, peak_rss) = (trace.rss()?, trace.peak_rss()?);
    trace.check()?;
    trace.stop()?;
    fs::remove_file(&stream)?;
    // Without, a daemon that samples nothing would pass.
    ensure!(
        sampled >= PROCESSES as u64 * (MEASURED.as_secs() - 2),
        "only {sampled} samples in {seconds:.1} s"
    );
    Ok(Resident { sampled, seconds, cpu, steady_rss, peak_rss })
}

fn samples(stream: &Path) -> Result<u64> {
    let text = fs::read(stream).with_context(|| stream.display().to_string())?;
    Ok(text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count() as u64)
}

impl Resident {
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let percent = self.cpu.as_secs_f64() * 100.0 / self.seconds;
        let each = self.cpu.as_secs_f64() * 1e6 / self.sampled as f64;
        let mb = |bytes: u64| bytes as f64 / 1e6;
        vec![
            Verdict {
                rule: format!("RSS at most {:.0} MB while {PROCESSES} processes are sampled", mb(RSS_BYTES)),
                measured: format!("{:.1} MB, at its start {:.1} MB", mb(self.steady_rss), mb(self.peak_rss)),
                holds: self.steady_rss <= RSS_BYTES,
                gates: false,
            },
            Verdict {
                rule: format!(
                    "at most {CPU_PERCENT}% of a core with samples of {PROCESSES} processes every second"
                ),
                measured: format!("{percent:.2}%, {each:.1} us a sample, JSON to a file included"),
                holds: percent <= CPU_PERCENT,
                gates: false,
            },
        ]
    }
}
