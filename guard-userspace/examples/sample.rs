//! What a pass over the resources of all processes costs, beside reading the same from /proc.
//!
//! `cargo run --release -p guard-userspace --example sample -- 1000` with so many sleeping processes beside; as root.

use std::fs;
use std::hint::black_box;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use guard_common::wire::Kind;
use guard_core::resources::Resources;
use guard_userspace::sensor::{Attach, Options, Sensor, Watch};

/// Passes of each sort.
const ROUNDS: usize = 50;

/// The files of a process that say what the iterator says.
const FILES: [&str; 5] = ["stat", "statm", "io", "limits", "schedstat"];

/// Ended when dropped.
struct Sleepers(Vec<Child>);

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count = std::env::args().nth(1).map_or(Ok(1000), |count| count.parse())?;
    let mut sleepers = Sleepers(Vec::new());
    for _ in 0..count {
        sleepers.0.push(Command::new("sleep").arg("600").spawn()?);
    }
    let mut sensor = Sensor::attach(&Options {
        kinds: vec![Kind::EXIT],
        watch: Watch::All,
        uid: None,
        cgroup: None,
        child_signals: false,
        samples: true,
        ring_bytes: 1 << 20,
        attach: Attach::Btf,
        kernel_log: false,
        latency: None,
    })?;
    let mut sampler = sensor.sampler().ok_or("no sampler")?;
    let mut resources: Vec<Resources> = Vec::new();
    let ours = fastest(|| Ok(sampler.sample(&mut resources)?))?;
    let processes = resources.len();
    let proc = fastest(|| {
        for process in &resources {
            let directory = format!("/proc/{}", process.id.pid);
            for file in FILES {
                // A process that is gone is fewer to read.
                black_box(fs::read(format!("{directory}/{file}")).unwrap_or_default());
            }
            black_box(fs::read_dir(format!("{directory}/fd")).map_or(0, Iterator::count));
        }
        Ok(())
    })?;
    let each = |pass: Duration| pass.as_nanos() / processes as u128;
    println!("{processes} processes; a pass by the task iterator {ours:?}, {} ns a process", each(ours));
    println!("from /proc ({} and fd) {proc:?}, {} ns a process", FILES.join(", "), each(proc));
    Ok(())
}

fn fastest(
    mut pass: impl FnMut() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        pass()?;
        fastest = fastest.min(begun.elapsed());
    }
    Ok(fastest)
}
