//! Measures decode + core, alone and with a supervisor, on one thread: a synthetic stream of forks, execs and exits, as the ring
//! would hold it, fed again and again to a fresh core, on small and large hosts, with few and many policies. What processes
//! and services take of memory is said too.
//!
//! `cargo run --release -p guard-core --example replay [-- SPAWNS [ROUNDS [--json]]]`

mod policies;
mod stream;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../tests/testkit/mod.rs"]
mod testkit;

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Arc;

use guard_common::decode::decode;
use guard_core::event::Program;
use guard_core::policy::set::PolicySet;
use guard_core::process::AHEAD;
use guard_core::supervise::{self, Settings, Supervisor};
use guard_core::{Core, Effect, Input, Limits};

use stream::Ring;

/// What is compared: processes alive all the time, how many of them spawn, each in turn, and policies; `None`: no supervisor.
#[derive(Clone, Copy)]
struct Case {
    processes: u32,
    spawners: u32,
    policies: Option<u32>,
}

const fn case(processes: u32, spawners: u32, policies: Option<u32>) -> Case {
    Case { processes, spawners, policies }
}

/// Where few of many spawn, the table's size is all that differs. Where all do, each spawn also asks for a parent that nobody
/// asked for lately: it is in no cache. Records are looked at ahead as the readers of the ring do.
const CASES: [Case; 11] = [
    case(100, 100, None),
    case(10_000, 100, None),
    case(100_000, 100, None),
    case(10_000, 10_000, None),
    case(100_000, 100_000, None),
    case(100, 100, Some(100)),
    case(100_000, 100, Some(100)),
    case(1_000, 100, Some(10)),
    case(1_000, 100, Some(100)),
    case(1_000, 100, Some(1_000)),
    case(1_000, 100, Some(10_000)),
];

/// Records that are read before anybody looks at the clock.
const BATCH: usize = 256;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = arguments.iter().filter_map(|text| text.parse::<u32>().ok());
    match arguments.first().map(String::as_str) {
        Some("--case") => {
            let (number, spawns) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            let case = CASES.get(number as usize).ok_or("there is no such case")?;
            let set = case.policies.map(policies::set).transpose()?;
            let ring = Ring::new(spawns, case.spawners);
            println!("{}", round(&ring, case.processes, set.as_ref()) * 1e9);
        }
        Some("--memory") => println!("{} {}", memory_of_processes(), memory_of_services()?),
        _ => {
            let (spawns, rounds) = (numbers.next().unwrap_or(50_000), numbers.next().unwrap_or(11));
            let costs = costs(spawns, rounds)?;
            let memory = child(&["--memory"])?;
            let mut bytes = memory.split_whitespace().map(str::parse::<u64>);
            let memory = (bytes.next().ok_or("no bytes")??, bytes.next().ok_or("no bytes")??);
            say(arguments.iter().any(|argument| argument == "--json"), &costs, memory);
        }
    }
    Ok(())
}

/// Nanoseconds of each record by case and round. All cases in each round, so that what else the machine does meets all; each in
/// a process of its own, so that none finds the memory in the state that another left.
fn costs(spawns: u32, rounds: u32) -> Outcome<Vec<Vec<f64>>> {
    let mut costs: Vec<Vec<f64>> = vec![vec![]; CASES.len()];
    for _ in 0..rounds {
        for (number, costs) in costs.iter_mut().enumerate() {
            let said = child(&["--case", &number.to_string(), &spawns.to_string()])?;
            costs.push(said.trim().parse()?);
        }
    }
    Ok(costs)
}

fn child(arguments: &[&str]) -> Outcome<String> {
    let output = Command::new(std::env::current_exe()?).args(arguments).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{arguments:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn say(json: bool, costs: &[Vec<f64>], (per_process, per_service): (u64, u64)) {
    if json {
        let cases = CASES.iter().zip(costs).map(|(case, ns)| {
            let Case { processes, spawners, policies } = case;
            serde_json::json!({ "processes": processes, "spawners": spawners, "policies": policies, "ns": ns })
        });
        let said = serde_json::json!({
            "cases": cases.collect::<Vec<_>>(),
            "bytes_per_service": per_service,
            "bytes_per_process": per_process,
        });
        println!("{said}");
        return;
    }
    for (Case { processes, spawners, policies }, ns) in CASES.iter().zip(costs) {
        let mut ns = ns.clone();
        ns.sort_by(f64::total_cmp);
        let at = |place: usize| ns.get(place).copied().unwrap_or(f64::NAN);
        let (best, median, worst) = (at(0), at(ns.len() / 2), at(ns.len().saturating_sub(1)));
        let with = policies.map_or("no supervisor".to_owned(), |count| format!("{count} policies"));
        println!(
            "{processes:>7} processes, {spawners:>7} spawn, {with:>15}: {median:.0} ns a record ({:.2} million/s), best {best:.0}, worst {worst:.0}",
            1e3 / median
        );
    }
    println!("{per_process} bytes a process, {per_service} bytes a service without processes");
}

/// Seconds of CPU time for each record of a stream, once the table is full.
fn round(ring: &Ring, population: u32, set: Option<&Arc<PolicySet>>) -> f64 {
    let mut core = host(population);
    let mut supervisor = set.map(|set| {
        let mut supervisor = Supervisor::new(Settings::default());
        supervisor.handle(0, supervise::Input::Policies(Arc::clone(set)));
        for process in core.processes().living() {
            supervisor.handle(0, supervise::Input::Found(process));
        }
        supervisor
    });
    // Until the ended fill their room the table grows: that is not what an event costs later on.
    let steady = warm_up().min(ring.len() / 2);
    feed(&mut core, supervisor.as_mut(), ring, 0, steady);
    let start = cpu_seconds();
    feed(&mut core, supervisor.as_mut(), ring, steady, ring.len());
    (cpu_seconds() - start) / (ring.len() - steady) as f64
}

/// A core that knows so many processes, each with a program of its own.
fn host(population: u32) -> Core {
    let limits = Limits::default();
    let mut core = Core::new(Limits { processes: limits.processes + population as usize, ..limits });
    core.handle(0, Input::Cgroup { hierarchy: 0, id: 77, path: "/system.slice/cron.service" });
    for task in stream::population(population) {
        let program = Some(Arc::new(Program {
            executable: b"/usr/lib/postgresql/15/bin/postgres".to_vec(),
            working_directory: b"/var/lib/postgresql/15/main".to_vec(),
            args: b"postgres: 15/main: orders checkout 127.0.0.1(40312) idle\0".to_vec(),
            args_count: 1,
            ..Program::default()
        }));
        core.handle(0, Input::Snapshot { task, program });
    }
    core
}

/// Records after which the table is full: three for each spawn.
fn warm_up() -> usize {
    3 * (Limits::default().processes + stream::ALIVE as usize)
}

fn feed(core: &mut Core, mut supervisor: Option<&mut Supervisor>, ring: &Ring, from: usize, to: usize) {
    let mut now_ns = 0;
    for (number, bytes) in ring.records(from, to).enumerate() {
        if number % AHEAD == 0 {
            core.processes().look_ahead(ring.records(from + number, to));
        }
        if let Ok(record) = decode(bytes) {
            core.handle(u64::MAX, Input::Kernel(record));
        }
        while let Some(effect) = core.poll_effect() {
            if let (Some(supervisor), Effect::Emit(event)) = (&mut supervisor, &effect) {
                now_ns = event.time_ns.max(now_ns);
                supervisor.handle(now_ns, supervise::Input::Event(event));
            }
            black_box(&effect);
        }
        let Some(supervisor) = &mut supervisor else { continue };
        if number % BATCH == 0 && supervisor.poll_timeout().is_some_and(|due_ns| due_ns <= now_ns) {
            supervisor.handle_timeout(now_ns);
        }
        while let Some(effect) = supervisor.poll_effect() {
            black_box(&effect);
        }
    }
}

/// Resident bytes that a service takes, its policy and its index included, while it has no process.
fn memory_of_services() -> Outcome<u64> {
    const SERVICES: u32 = 10_000;
    let set = policies::set(SERVICES)?;
    let before = resident();
    // A copy, because the set itself was allocated among much that is gone by now.
    let copy = PolicySet {
        services: set.services.iter().map(|service| Arc::new((**service).clone())).collect(),
        ..(*set).clone()
    };
    let mut supervisor = Supervisor::new(Settings::default());
    supervisor.handle(0, supervise::Input::Policies(Arc::new(copy)));
    while supervisor.poll_effect().is_some() {}
    let taken = resident().saturating_sub(before) / u64::from(SERVICES);
    black_box(&supervisor);
    Ok(taken)
}

/// Resident bytes that a living process takes, with a short command line.
fn memory_of_processes() -> u64 {
    const PROCESSES: u32 = 100_000;
    let before = resident();
    let core = host(PROCESSES);
    let taken = resident().saturating_sub(before) / u64::from(PROCESSES);
    black_box(&core);
    taken
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4_096
}

/// CPU time of this thread: whoever else uses the machine does not count.
fn cpu_seconds() -> f64 {
    // The count is brought up to date at the kernel's ticks, milliseconds apart, and when the thread yields.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
    ns.unwrap_or_default() as f64 / 1e9
}
