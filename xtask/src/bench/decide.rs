//! How fast decisions are: a storm is recorded, and its records go through decode + core on one thread.

use std::{
    fs,
    io::Read as _,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{envelope::Verdict, process::Process, stats::median, storm::Storm};
use crate::sh;

/// Row 7 of the envelope, on one thread.
const RECORDS_PER_SECOND: f64 = 2e6;

/// Records of the storm that the recording must at least hold for each spawn: fork, exec and exit.
const RECORDS_PER_SPAWN: u64 = 3;

/// A round takes a tenth of a second.
const ROUNDS: u32 = 11;

/// What was measured.
pub(super) struct Decided {
    records: u64,
    /// Processes in the recording's first table.
    processes: u64,
    /// Records a second, in each round.
    rates: Vec<f64>,
}

/// A bpf file system, the recording and the recorder's socket, in a directory of its own. All are gone with it, and
/// with the file system the pinned sensor.
struct Place(PathBuf);

impl Place {
    /// In /tmp, since a socket's path must be short.
    fn new() -> Result<Self> {
        let place = Self(std::env::temp_dir().join(format!("processguard-bench-{}", std::process::id())));
        fs::create_dir_all(place.bpffs()).with_context(|| place.0.display().to_string())?;
        sh::run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(place.bpffs()))?;
        Ok(place)
    }

    fn bpffs(&self) -> PathBuf {
        self.0.join("bpf")
    }

    fn recording(&self) -> PathBuf {
        self.0.join("recording")
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    /// Waits until the recorder serves: it is at work then.
    fn wait(&self, recorder: &mut Process) -> Result<()> {
        for _ in 0..300 {
            recorder.check()?;
            let greeted = UnixStream::connect(self.socket()).and_then(|mut one| one.read_exact(&mut [0; 8]));
            if greeted.is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("the recorder served nobody within 30 s")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is still mounted or cannot be removed is seen in /tmp.
        _ = Command::new("umount").arg(self.bpffs()).status();
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Records a storm and decides it again.
pub(super) fn measure(processguard: &Path, decide: &Path, storm: &Storm, scratch: &Path) -> Result<Decided> {
    let place = Place::new()?;
    let mut record = Command::new(processguard);
    record.arg("record").arg(place.recording()).arg("--pins").arg(place.bpffs().join("processguard"));
    record.arg("--socket").arg(place.socket());
    let mut recorder = Process::start(&mut record, &scratch.join("decide.err"))?;
    place.wait(&mut recorder)?;
    let outcome = storm.run()?;
    // Longer than the longest gathering of records before a wake-up, 20 ms.
    thread::sleep(Duration::from_millis(500));
    recorder.check()?;
    recorder.stop()?;

    let said = sh::output(Command::new(decide).arg(place.recording()).arg(ROUNDS.to_string()))?;
    let decided = read(&said)?;
    ensure!(
        decided.records >= outcome.spawned * RECORDS_PER_SPAWN,
        "only {} records of {} spawns were recorded",
        decided.records,
        outcome.spawned
    );
    Ok(decided)
}

fn read(said: &str) -> Result<Decided> {
    let said: Value = serde_json::from_str(said).context("what the replay said")?;
    let number = |key| said.get(key).and_then(Value::as_u64).with_context(|| format!("no {key}"));
    let records = number("records")?;
    let ns = said.get("ns").and_then(Value::as_array).context("no ns")?;
    let rates = ns.iter().filter_map(Value::as_f64).map(|ns| records as f64 * 1e9 / ns).collect();
    Ok(Decided { records, processes: number("processes")?, rates })
}

impl Decided {
    pub(super) fn verdict(&self) -> Verdict {
        let (rate, worst) = (median(&self.rates), self.rates.iter().copied().fold(f64::NAN, f64::min));
        Verdict {
            rule: format!(
                "decode + core of a recorded storm, one thread: at least {:.0} million records a second",
                RECORDS_PER_SECOND / 1e6
            ),
            measured: format!(
                "{:.2} million, worst of {} rounds {:.2}; {} records, {} processes at their beginning",
                rate / 1e6,
                self.rates.len(),
                worst / 1e6,
                self.records,
                self.processes
            ),
            holds: rate >= RECORDS_PER_SECOND,
            gates: false,
        }
    }
}
