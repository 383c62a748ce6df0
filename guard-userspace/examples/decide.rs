//! What decode + core cost on a recording, on one thread: its records, as they lay in the kernel's ring, through
//! decoding and a core that begins with the recording's process table.
//!
//! `cargo run --release -p guard-userspace --example decide -- DIR [ROUNDS]` says in JSON how many records
//! there are, and the nanoseconds of processor time of each round.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use guard_common::decode::decode;
use guard_core::{Core, Input};
use guard_userspace::feed;
use guard_userspace::recording::directory;
use guard_userspace::recording::frame::{Frame, Process};
use guard_userspace::recording::reader::Reader;
use rustix::time::{ClockId, clock_gettime};

/// A recording, taken apart.
#[derive(Default)]
struct Recording {
    /// The first process table.
    processes: Vec<Process>,
    /// Hierarchy, id and path of the control groups of that table.
    cgroups: Vec<(u32, u64, String)>,
    steps: Vec<Step>,
    records: u64,
}

enum Step {
    /// What the boot clock said before the next records, in nanoseconds.
    Clock(u64),
    /// As it lay in the ring.
    Record(Box<[u8]>),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("the directory of a recording is missing")?;
    let rounds = arguments.next().map_or(Ok(11), |text| text.parse::<u32>())?;
    let recording = Recording::read(Path::new(&directory))?;
    // The first round brings memory and caches to where the others find them.
    recording.round();
    let ns: Vec<u64> = (0..rounds).map(|_| recording.round()).collect();
    println!(
        "{}",
        serde_json::json!({ "records": recording.records, "processes": recording.processes.len(), "ns": ns })
    );
    Ok(())
}

impl Recording {
    fn read(directory: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let (mut recording, mut tabled) = (Self::default(), false);
        for segment in directory::segments(directory)? {
            let mut reader = Reader::default();
            reader.space().extend_from_slice(&fs::read(segment.path)?);
            while reader.next(|frame| recording.take(frame, &mut tabled))?.is_some() {}
        }
        Ok(recording)
    }

    /// Keeps what a round needs. Later tables repeat what the records told.
    fn take(&mut self, frame: Frame<'_>, tabled: &mut bool) {
        match frame {
            Frame::Process(process) if !*tabled => self.processes.push(*process),
            Frame::Cgroup { hierarchy, id, path } if !*tabled => {
                self.cgroups.push((hierarchy, id, path.to_owned()));
            }
            Frame::TableEnd => *tabled = true,
            Frame::Clock { now_ns, .. } => self.steps.push(Step::Clock(now_ns)),
            Frame::Record(bytes) => {
                self.steps.push(Step::Record(bytes.into()));
                self.records += 1;
            }
            _ => {}
        }
    }

    /// Nanoseconds of processor time for all records.
    fn round(&self) -> u64 {
        let mut core = Core::new(feed::LIMITS);
        for (hierarchy, id, path) in &self.cgroups {
            core.handle(0, Input::Cgroup { hierarchy: *hierarchy, id: *id, path });
        }
        for process in &self.processes {
            let program = process.program.clone().map(Arc::new);
            core.handle(0, Input::Snapshot { task: process.snapshot.task, program });
        }
        let (began_ns, mut now_ns) = (processor_ns(), 0);
        for step in &self.steps {
            match step {
                Step::Clock(read_ns) => {
                    now_ns = *read_ns;
                    core.handle_timeout(now_ns);
                }
                Step::Record(bytes) => {
                    if let Ok(record) = decode(bytes) {
                        core.handle(now_ns, Input::Kernel(record));
                    }
                }
            }
            while let Some(effect) = core.poll_effect() {
                black_box(&effect);
            }
        }
        processor_ns() - began_ns
    }
}

/// Processor time of this thread: whoever else uses the machine does not count.
fn processor_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    (now.tv_sec.unsigned_abs()) * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
