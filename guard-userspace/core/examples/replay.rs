//! Measures decode + core on one thread: a synthetic stream of forks, execs and exits, as the ring
//! would hold it, fed again and again to a fresh core.
//!
//! `cargo run --release -p guard-core --example replay [-- SPAWNS [ROUNDS]]`

use std::hint::black_box;
use std::time::Instant;

use guard_common::decode::decode;
use guard_common::wire::Task;
use guard_core::{Core, Input, Limits};

#[expect(dead_code, reason = "tests use the rest")]
#[path = "../tests/testkit/mod.rs"]
mod testkit;

/// Shells that spawn, alive all the time.
const SHELLS: u32 = 200;
/// Spawned processes alive at once.
const ALIVE: u32 = 50;

fn main() {
    let mut arguments = std::env::args().skip(1).map_while(|text| text.parse::<u32>().ok());
    let spawns = arguments.next().unwrap_or(100_000);
    let rounds = arguments.next().unwrap_or(15);
    let ring = ring(spawns);
    let records = ring.len();
    let mut rates: Vec<f64> = (0..rounds).map(|_| records as f64 / round(&ring)).collect();
    rates.sort_by(f64::total_cmp);
    let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
    let worst = rates.first().copied().unwrap_or_default();
    println!(
        "{records} records, {rounds} rounds: median {:.2} million records/s ({:.0} ns each), worst {:.2}",
        median / 1e6,
        1e9 / median,
        worst / 1e6
    );
}

/// Seconds for one pass over the stream.
fn round(ring: &[Vec<u8>]) -> f64 {
    let mut core = Core::new(Limits::default());
    for shell in 0..SHELLS {
        let record = testkit::snapshot(task(1_000 + shell, 10, 1, 1));
        core.handle(0, Input::Kernel(testkit::decoded(testkit::bytes(&record))));
    }
    core.handle(0, Input::Cgroup { hierarchy: 0, id: 77, path: "/system.slice/cron.service" });
    let start = Instant::now();
    for bytes in ring {
        if let Ok(record) = decode(bytes) {
            core.handle(u64::MAX, Input::Kernel(record));
        }
        while let Some(effect) = core.poll_effect() {
            black_box(&effect);
        }
    }
    start.elapsed().as_secs_f64()
}

fn ring(spawns: u32) -> Vec<Vec<u8>> {
    let mut ring = vec![];
    for spawn in 0..spawns + ALIVE {
        if spawn < spawns {
            let child = spawned(spawn);
            ring.push(testkit::bytes(&testkit::fork(child)).to_vec());
            let comm = testkit::comm("cc1");
            let exec = testkit::exec(Task { comm, ..child })
                .exe(b"cc1\x0012\0x86_64-linux-gnu\0gcc\0libexec\0usr\0")
                .cwd(b"build\0linux\0src\0user\0home\0")
                .args(b"cc1\0-quiet\0-I\0include\0-O2\0-Wall\0fs/ext4/inode.c\0-o\0/tmp/ccXq81.s\0");
            ring.push(exec.encode());
        }
        if let Some(spawn) = spawn.checked_sub(ALIVE) {
            let ended = Task { comm: testkit::comm("cc1"), ..spawned(spawn) };
            ring.push(testkit::bytes(&testkit::exit(ended, 0)).to_vec());
        }
    }
    ring
}

fn spawned(spawn: u32) -> Task {
    task(2_000 + spawn % 30_000, 1_000_000 + u64::from(spawn) * 1_000, 1_000 + spawn % SHELLS, 10)
}

fn task(pid: u32, start_ns: u64, parent: u32, parent_start_ns: u64) -> Task {
    Task { parent: testkit::key(parent, parent_start_ns), cgroup_id: 77, ..testkit::task(pid, start_ns) }
}
