//! Measures decode + core on one thread: a synthetic stream of forks, execs and exits, as the ring
//! would hold it, fed again and again to a fresh core, on small and large hosts.
//!
//! `cargo run --release -p guard-core --example replay [-- SPAWNS [ROUNDS [POPULATION]]]`

use std::hint::black_box;

use guard_common::decode::decode;
use guard_common::wire::Task;
use guard_core::{Core, Input, Limits};

#[expect(dead_code, reason = "tests use the rest")]
#[path = "../tests/testkit/mod.rs"]
mod testkit;

/// Processes alive all the time, each of which spawns in turn.
const POPULATIONS: [u32; 4] = [100, 1_000, 10_000, 100_000];
/// Spawned processes alive at once.
const ALIVE: u32 = 50;

fn main() {
    let mut arguments = std::env::args().skip(1).map_while(|text| text.parse::<u32>().ok());
    let spawns = arguments.next().unwrap_or(100_000);
    let rounds = arguments.next().unwrap_or(11);
    let only = arguments.next();
    for population in POPULATIONS.into_iter().filter(|population| only.is_none_or(|only| only == *population)) {
        let ring = ring(spawns, population);
        let records = ring.len() as f64;
        let mut rates: Vec<f64> = (0..rounds).map(|_| 1.0 / round(&ring, population)).collect();
        rates.sort_by(f64::total_cmp);
        let median = rates.get(rates.len() / 2).copied().unwrap_or_default();
        let worst = rates.first().copied().unwrap_or_default();
        println!(
            "{population:>7} processes, {records} records: median {:.2} million records/s ({:.0} ns each), worst {:.2}",
            median / 1e6,
            1e9 / median,
            worst / 1e6
        );
    }
}

/// Seconds of CPU time for each record of a stream, once the table is full.
fn round(ring: &[Vec<u8>], population: u32) -> f64 {
    let limits = Limits::default();
    let mut core = Core::new(Limits { processes: limits.processes + population as usize, ..limits });
    for parent in 0..population {
        let record = testkit::snapshot(task(FIRST_PARENT + parent, 10, 1, 1));
        core.handle(0, Input::Kernel(testkit::decoded(testkit::bytes(&record))));
    }
    core.handle(0, Input::Cgroup { hierarchy: 0, id: 77, path: "/system.slice/cron.service" });
    // Until the ended fill their room the table grows: that is not what an event costs later on.
    let (grows, steady) = ring.split_at(warm_up(&limits).min(ring.len() / 2));
    feed(&mut core, grows);
    let start = cpu_seconds();
    feed(&mut core, steady);
    (cpu_seconds() - start) / steady.len() as f64
}

/// Records after which the table is full: three for each spawn.
const fn warm_up(limits: &Limits) -> usize {
    3 * (limits.processes + ALIVE as usize)
}

fn feed(core: &mut Core, ring: &[Vec<u8>]) {
    for bytes in ring {
        if let Ok(record) = decode(bytes) {
            core.handle(u64::MAX, Input::Kernel(record));
        }
        while let Some(effect) = core.poll_effect() {
            black_box(&effect);
        }
    }
}

/// CPU time of this thread: whoever else uses the machine does not count.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    ns.unwrap_or_default() as f64 / 1e9
}

fn ring(spawns: u32, population: u32) -> Vec<Vec<u8>> {
    let mut ring = vec![];
    for spawn in 0..spawns + ALIVE {
        if spawn < spawns {
            let child = spawned(spawn, population);
            ring.push(testkit::bytes(&testkit::fork(child)).to_vec());
            let comm = testkit::comm("cc1");
            let exec = testkit::exec(Task { comm, ..child })
                .exe(b"cc1\x0012\0x86_64-linux-gnu\0gcc\0libexec\0usr\0")
                .cwd(b"build\0linux\0src\0user\0home\0")
                .args(b"cc1\0-quiet\0-I\0include\0-O2\0-Wall\0fs/ext4/inode.c\0-o\0/tmp/ccXq81.s\0");
            ring.push(exec.encode());
        }
        if let Some(spawn) = spawn.checked_sub(ALIVE) {
            let ended = Task { comm: testkit::comm("cc1"), ..spawned(spawn, population) };
            ring.push(testkit::bytes(&testkit::exit(ended, 0)).to_vec());
        }
    }
    ring
}

/// Pid of the first of those that stay; the pids below are used again and again.
const FIRST_PARENT: u32 = 40_000;

fn spawned(spawn: u32, population: u32) -> Task {
    let parent = FIRST_PARENT + spawn.wrapping_mul(2_654_435_761) % population;
    task(2_000 + spawn % 30_000, 1_000_000 + u64::from(spawn) * 1_000, parent, 10)
}

fn task(pid: u32, start_ns: u64, parent: u32, parent_start_ns: u64) -> Task {
    Task { parent: testkit::key(parent, parent_start_ns), cgroup_id: 77, ..testkit::task(pid, start_ns) }
}
