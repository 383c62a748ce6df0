//! The scheduler sensor: what a switch and a wake-up cost, of threads that nobody watches.
//!
//! The load is two processes on one CPU that send each other a byte through pipes: nothing but switches and
//! wake-ups. Like the storms, everything is interleaved: a round takes every contender once, in random order,
//! and each is compared with the two empty programs of the same round.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    envelope::Verdict,
    kernel::{self, Programs, Stats},
    process::Process,
    stats::{Estimate, Random, estimate, median},
};
use crate::sh;

/// The name for `--only`.
pub(super) const NAME: &str = "scheduler";

/// Bytes sent to and fro in one measurement: about a second.
const BYTES: &str = "100000";

/// How long a contender may take until its programs run.
const START: Duration = Duration::from_secs(30);

/// Runs of its programs that show that a contender is attached: an idle machine makes as many in a moment.
const RUNS: u64 = 20;

/// Row 3: per unwatched event.
const EVENT_NS: f64 = 100.0;
/// Row 3: the load against the same with two empty programs.
const EMPTY_RATIO: f64 = 1.08;
/// Row 3 beside its peer, as a ratio that means the same on every machine: 100 against 464 and 285 ns.
const PEER_RATIO: f64 = 0.5;

/// Who is measured. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Nothing,
    Empty,
    Unwatched,
    Watched,
    Peer,
}

const ALL: [Who; 5] = [Who::Nothing, Who::Empty, Who::Unwatched, Who::Watched, Who::Peer];

impl Who {
    const fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Empty => "two empty programs",
            Self::Unwatched => "processguard, the load not watched",
            Self::Watched => "processguard, the load watched",
            Self::Peer => "runqlat (libbpf-tools)",
        }
    }
}

/// One contender in one round.
struct Sample {
    /// Nanoseconds for a byte to go and come back.
    round_trip_ns: f64,
    /// Nanoseconds in a program each time that it runs, by its name.
    programs: BTreeMap<String, f64>,
}

/// What is needed to measure.
pub(super) struct Scheduler<'a> {
    pub(super) processguard: &'a Path,
    /// The example that attaches two empty programs.
    pub(super) empty: &'a Path,
    pub(super) workload: &'a Path,
    pub(super) scratch: &'a Path,
}

/// All of one run.
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    who: Who,
    round_trip_ns: f64,
    /// Against the empty programs of the same round.
    ratio: Estimate,
    programs: BTreeMap<String, f64>,
}

/// A process that sleeps: somebody to watch who does nothing. Killed when dropped.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Scheduler<'_> {
    pub(super) fn measure(&self, rounds: usize, random: &mut Random) -> Result<Table> {
        let mut samples: BTreeMap<Who, Vec<Sample>> = BTreeMap::new();
        self.ping_pong()?;
        for round in 1..=rounds {
            let began = Instant::now();
            let mut order = ALL;
            random.shuffle(&mut order);
            for who in order {
                samples.entry(who).or_default().push(self.sample(who).with_context(|| who.title())?);
            }
            eprintln!("scheduler: round {round} of {rounds} ({})", sh::took(began.elapsed()));
        }
        Ok(Table { rows: rows(&samples, random) })
    }

    fn sample(&self, who: Who) -> Result<Sample> {
        let sleeper = Sleeper(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?);
        let Some(mut command) = self.command(who, &sleeper) else {
            return Ok(Sample { round_trip_ns: self.ping_pong()?, programs: BTreeMap::new() });
        };
        let mut process = Process::start(&mut command, &self.scratch.join("scheduler.err"))?;
        wait_for_programs(&mut process)?;
        let round_trip_ns = self.ping_pong()?;
        let stats = Stats::enable()?;
        let before = own_programs(&process)?;
        self.ping_pong()?;
        let after = own_programs(&process)?;
        drop(stats);
        process.check()?;
        process.stop()?;
        Ok(Sample { round_trip_ns, programs: per_run(&before, &after) })
    }

    fn command(&self, who: Who, sleeper: &Sleeper) -> Option<Command> {
        let ours = |arguments: [&str; 2]| {
            let mut command = Command::new(self.processguard);
            command.args(["trace", "--events", "latency,stall"]).args(arguments);
            command
        };
        match who {
            Who::Nothing => None,
            Who::Empty => Some(Command::new(self.empty)),
            Who::Unwatched => Some(ours(["--pid", &sleeper.0.id().to_string()])),
            // The load is our child.
            Who::Watched => Some(ours(["--tree", &std::process::id().to_string()])),
            Who::Peer => {
                Some(Command::new(sh::find_program("runqlat").unwrap_or_else(|| PathBuf::from("runqlat"))))
            }
        }
    }

    /// Nanoseconds a round trip.
    fn ping_pong(&self) -> Result<f64> {
        let said = sh::output(Command::new(self.workload).args(["ping-pong", "--count", BYTES]))?;
        let said: Value = serde_json::from_str(&said).context("what the load said")?;
        let number = |key| said.get(key).and_then(Value::as_f64).with_context(|| format!("no {key}"));
        Ok(number("seconds")? * 1e9 / number("rounds")?)
    }
}

/// Waits until the contender's programs run, and it loads no more of them.
fn wait_for_programs(process: &mut Process) -> Result<()> {
    let _stats = Stats::enable()?;
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        process.check()?;
        let earlier = own_programs(process)?;
        thread::sleep(Duration::from_millis(200));
        let later = own_programs(process)?;
        let ran = |programs: &Programs| programs.values().map(|program| program.runs).sum::<u64>();
        if later.len() == earlier.len() && ran(&later) >= ran(&earlier) + RUNS {
            return Ok(());
        }
    }
    bail!("its programs did not run within {} s", START.as_secs())
}

fn own_programs(process: &Process) -> Result<Programs> {
    let own = process.programs()?;
    let mut all = kernel::programs()?;
    all.retain(|id, _| own.contains(id));
    Ok(all)
}

/// Nanoseconds each time, of those that ran at least once for each byte.
fn per_run(before: &Programs, after: &Programs) -> BTreeMap<String, f64> {
    let bytes: u64 = BYTES.parse().unwrap_or(u64::MAX);
    let ran = after.iter().filter_map(|(id, after)| {
        let before = before.get(id)?;
        let (ns, runs) = (after.run_ns - before.run_ns, after.runs - before.runs);
        (runs >= bytes).then(|| (after.name.clone(), ns as f64 / runs as f64))
    });
    ran.collect()
}

fn rows(samples: &BTreeMap<Who, Vec<Sample>>, random: &mut Random) -> Vec<Row> {
    let trips = |who: Who| samples.get(&who).into_iter().flatten().map(|sample| sample.round_trip_ns);
    let row = |who: Who| {
        let ratios: Vec<f64> = trips(who).zip(trips(Who::Empty)).map(|(one, empty)| one / empty).collect();
        let mut programs: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, ns) in samples.get(&who).into_iter().flatten().flat_map(|sample| &sample.programs) {
            programs.entry(name.clone()).or_default().push(*ns);
        }
        Row {
            who,
            round_trip_ns: median(&trips(who).collect::<Vec<_>>()),
            ratio: estimate(&ratios, random),
            programs: programs.into_iter().map(|(name, ns)| (name, median(&ns))).collect(),
        }
    };
    ALL.into_iter().map(row).collect()
}

impl Table {
    /// Ready for the README.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from(
            "Two processes on one CPU send each other a byte. Slow-down: against two empty programs of the same round.\n\n\
            | on the scheduler's hooks | ns per round trip | slow-down | ns per run |\n| --- | ---: | ---: | --- |\n",
        );
        for row in &self.rows {
            let Estimate { median, low, high } = row.ratio;
            let each: Vec<_> = row.programs.iter().map(|(name, ns)| format!("{name} {ns:.0}")).collect();
            // Writing to a String cannot fail.
            _ = writeln!(
                text,
                "| {} | {:.0} | {median:.3} ({low:.3} to {high:.3}) | {} |",
                row.who.title(),
                row.round_trip_ns,
                each.join(", ")
            );
        }
        text.push('\n');
        text
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "title": row.who.title(),
                "round_trip_ns": row.round_trip_ns,
                "slowdown": { "median": row.ratio.median, "low": row.ratio.low, "high": row.ratio.high },
                "ns_per_run": row.programs,
            })
        });
        rows.collect()
    }

    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let find = |who| self.rows.iter().find(|row| row.who == who);
        let (Some(ours), Some(peer)) = (find(Who::Unwatched), find(Who::Peer)) else { return Vec::new() };
        let dearest = ours.programs.values().copied().fold(f64::NAN, f64::max);
        let sum = |row: &Row| row.programs.values().sum::<f64>();
        let beside = sum(ours) / sum(peer);
        vec![
            Verdict {
                rule: format!("an unwatched switch or wake-up at most {EVENT_NS:.0} ns"),
                measured: format!("{dearest:.0} ns"),
                holds: dearest <= EVENT_NS,
                gates: false,
            },
            Verdict {
                rule: format!("both together at most {PEER_RATIO} x those of runqlat"),
                measured: format!("{beside:.3} x"),
                holds: beside <= PEER_RATIO,
                gates: true,
            },
            // Its interval must lie above before this fails: the rest of the machine is not still.
            Verdict {
                rule: format!("ping-pong on one CPU at most {EMPTY_RATIO} x that with two empty programs"),
                measured: format!("{:.3} x", ours.ratio.median),
                holds: ours.ratio.low <= EMPTY_RATIO,
                gates: true,
            },
        ]
    }
}
