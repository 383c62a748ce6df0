//! `cargo xtask bench`: what watching costs, ours beside its peers, interleaved in one run.
//!
//! A round takes every contender once, in random order: a machine that slows down for a minute then slows
//! all of them. Each is stormed three times: before it is attached, for the pace without it; then plainly, for
//! the slow-down and the reader's processor time; then while the kernel measures its programs, which by itself
//! makes them slower.

mod contender;
mod daemon;
mod decide;
mod envelope;
mod flat;
mod kernel;
mod machine;
mod process;
mod recovery;
mod report;
mod resident;
mod sched;
mod stats;
mod storm;
mod thousand;
mod truth;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    setup::{self, Scope},
    sh,
};
use contender::{Contender, Running};
use kernel::{Programs, Stats};
use stats::Random;
use storm::Storm;

/// What a tracer may still have to do when a storm ends.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each contender is measured
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Spawns per storm
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    /// Only contenders whose id contains this, beside nothing: processguard, execsnoop+exitsnoop, bpftrace,
    /// forkstat; or only the scheduler sensor and its peers: scheduler; or only what decisions cost: policies; or only
    /// recoveries beside other supervisors: recovery (recovery-peers: without ourselves); or only a daemon with a
    /// thousand services: thousand
    #[arg(long)]
    only: Option<String>,
    /// For the order and the intervals
    #[arg(long, default_value_t = 24_301)]
    seed: u64,
}

/// One contender in one round.
struct Sample {
    /// The storm just before it was attached.
    bare_seconds: f64,
    storm_seconds: f64,
    spawned: u64,
    /// Processor time of its processes during the plain storm.
    cpu: Duration,
    peak_rss: u64,
    /// Time in each of its programs during the measured storm, and how many spawns that had.
    kernel: Vec<kernel::Program>,
    kernel_spawned: u64,
}

/// All samples of a contender, in the order of the rounds.
type Samples = BTreeMap<&'static str, Vec<Sample>>;

pub(crate) fn verb(args: &Args) -> Result<()> {
    if args.only.as_deref() == Some(flat::NAME) {
        // Made up, and decided in one process: neither root nor the kernel is needed.
        let verdicts = flat::measure(args.rounds.max(1))?.verdicts();
        let scratch = scratch()?;
        return tell(args, Findings { verdicts, ..Findings::default() }, &scratch);
    }
    if !sh::is_root() {
        bail!(
            "the bench loads kernel programs: run it as root, for example sudo --preserve-env=PATH cargo xtask bench"
        );
    }
    match args.only.as_deref() {
        Some(recovery::NAME | recovery::PEERS) => return recoveries(args),
        Some(thousand::NAME) => return a_thousand(args),
        _ => {}
    }
    setup::ensure(Scope::Test)?;
    let chosen: Vec<&Contender> = contender::ALL.iter().filter(|one| wanted(one, args)).collect();
    let ours = chosen.iter().any(|one| one.is_ours());
    let scheduler = args.only.as_ref().is_none_or(|only| sched::NAME.contains(only.as_str()));
    let bench = Bench {
        // Peers can be measured while ours does not build.
        processguard: if ours || scheduler { build::processguard(Profile::Release)? } else { PathBuf::new() },
        storm: Storm {
            workload: build::binary(Profile::Release, "guard-tests", "guard-workload")?,
            count: args.count,
            parallel: 2,
        },
        scratch: scratch()?,
    };

    let mut random = Random::new(args.seed);
    // With nothing alone there is nothing to compare.
    let storms = chosen.len() > 1;
    let chosen = if storms { chosen } else { Vec::new() };
    let samples =
        if storms { bench.rounds(&chosen, args.rounds.max(1), &mut random)? } else { Samples::new() };
    let account = if ours { Some(bench.count()?) } else { None };

    let rows = report::rows(&chosen, &samples, &mut random);
    let scheduler = if scheduler { Some(bench.scheduler(args.rounds.max(1), &mut random)?) } else { None };
    let mut verdicts = envelope::check(&rows, account.as_ref());
    if ours {
        let resident = resident::measure(&bench.processguard, &bench.storm.workload, &bench.scratch);
        verdicts.extend(resident.context("a thousand sleepers")?.verdicts());
        verdicts.push(bench.decide().context("deciding again what was recorded")?.verdict());
    }
    verdicts.extend(scheduler.iter().flat_map(sched::Table::verdicts));
    if args.only.is_none() {
        let flat = flat::measure(args.rounds.max(1)).context("decisions on hosts that grow")?;
        verdicts.extend(flat.verdicts());
    }
    let mut recoveries = None;
    if args.only.is_none() {
        setup::ensure(Scope::Bench)?;
        let program = Some(bench.processguard.clone());
        let table = recovery::measure(program, args.rounds.max(1), &bench.scratch, &mut random)?;
        verdicts.extend(table.verdicts());
        recoveries = Some(table);
        verdicts.extend(thousand::measure(&bench.processguard, &bench.storm.workload, &bench.scratch)?);
    }
    tell(args, Findings { rows, account, scheduler, recoveries, verdicts }, &bench.scratch)
}

/// Recoveries alone.
fn recoveries(args: &Args) -> Result<()> {
    setup::ensure(Scope::Bench)?;
    let ours = args.only.as_deref() == Some(recovery::NAME);
    let processguard = if ours { Some(processguard()?) } else { None };
    let scratch = scratch()?;
    let table = recovery::measure(processguard, args.rounds.max(1), &scratch, &mut Random::new(args.seed))?;
    let verdicts = table.verdicts();
    tell(args, Findings { recoveries: Some(table), verdicts, ..Findings::default() }, &scratch)
}

/// Many services alone.
fn a_thousand(args: &Args) -> Result<()> {
    setup::ensure(Scope::Build)?;
    let processguard = processguard()?;
    let workload = build::binary(Profile::Release, "guard-tests", "guard-workload")?;
    let scratch = scratch()?;
    let verdicts = thousand::measure(&processguard, &workload, &scratch)?;
    tell(args, Findings { verdicts, ..Findings::default() }, &scratch)
}

/// What is measured: another build than this one's if `PROCESSGUARD_BIN` names it, as for the tests.
fn processguard() -> Result<PathBuf> {
    std::env::var_os("PROCESSGUARD_BIN")
        .map_or_else(|| build::processguard(Profile::Release), |path| Ok(path.into()))
}

/// Where the bench's own files are.
fn scratch() -> Result<PathBuf> {
    let scratch = sh::target_dir().join("bench");
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    Ok(scratch)
}

/// All that one run has found out.
#[derive(Default)]
struct Findings {
    rows: Vec<report::Row>,
    account: Option<truth::Account>,
    scheduler: Option<sched::Table>,
    recoveries: Option<recovery::Table>,
    verdicts: Vec<envelope::Verdict>,
}

/// Prints and keeps what was measured. An error if a rule that decides over the exit code does not hold.
fn tell(args: &Args, findings: Findings, scratch: &Path) -> Result<()> {
    let machine = machine::describe();
    let report = report::Report { args, machine: &machine, findings: &findings };
    print!("{}", report.markdown());
    let file = report.save(scratch)?;
    eprintln!("saved {}", file.display());

    let failed = findings.verdicts.iter().filter(|one| one.gates && !one.holds).count();
    if failed > 0 {
        bail!("{failed} of the counts and ratios do not hold");
    }
    Ok(())
}

fn wanted(contender: &Contender, args: &Args) -> bool {
    let asked = args.only.as_ref().is_none_or(|only| contender.id.contains(only.as_str()));
    asked || contender.id == contender::NOTHING
}

struct Bench {
    processguard: PathBuf,
    storm: Storm,
    scratch: PathBuf,
}

impl Bench {
    fn rounds(&self, chosen: &[&Contender], rounds: usize, random: &mut Random) -> Result<Samples> {
        let mut samples = Samples::new();
        // The first storm after a pause is slower: caches are cold and the frequency is low.
        self.storm.run()?;
        for round in 1..=rounds {
            let began = Instant::now();
            let mut order = chosen.to_vec();
            random.shuffle(&mut order);
            for contender in order {
                let sample = self.sample(contender).with_context(|| contender.title)?;
                samples.entry(contender.id).or_default().push(sample);
            }
            eprintln!("round {round} of {rounds} ({})", sh::took(began.elapsed()));
        }
        Ok(samples)
    }

    fn sample(&self, contender: &Contender) -> Result<Sample> {
        let bare = self.storm.run()?;
        let mut running = contender.start(&self.processguard, &self.scratch)?;
        let cpu_before = running.cpu()?;
        let storm = self.storm.run()?;
        thread::sleep(SETTLE);
        let cpu = running.cpu()?.saturating_sub(cpu_before);

        let (kernel, kernel_spawned) = self.in_kernel(&running)?;
        running.check()?;
        let peak_rss = running.peak_rss()?;
        running.stop()?;
        Ok(Sample {
            bare_seconds: bare.seconds,
            storm_seconds: storm.seconds,
            spawned: storm.spawned,
            cpu,
            peak_rss,
            kernel,
            kernel_spawned,
        })
    }

    /// A second storm under the kernel's own measurement.
    fn in_kernel(&self, running: &Running) -> Result<(Vec<kernel::Program>, u64)> {
        let before = running.programs()?;
        if before.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let stats = Stats::enable()?;
        let storm = self.storm.run()?;
        let after = running.programs()?;
        drop(stats);
        Ok((difference(&before, &after), storm.spawned))
    }

    fn scheduler(&self, rounds: usize, random: &mut Random) -> Result<sched::Table> {
        let scheduler = sched::Scheduler {
            processguard: &self.processguard,
            empty: &build::example(Profile::Release, "guard-userspace", "empty_scheduler")?,
            workload: &self.storm.workload,
            scratch: &self.scratch,
        };
        scheduler.measure(rounds, random)
    }

    fn decide(&self) -> Result<decide::Decided> {
        let decide = build::example(Profile::Release, "guard-userspace", "decide")?;
        decide::measure(&self.processguard, &decide, &self.storm, &self.scratch)
    }

    fn count(&self) -> Result<truth::Account> {
        // Twice as many threads as cores: somebody is always ready to spawn.
        let storm = Storm { workload: self.storm.workload.clone(), count: self.storm.count, parallel: 4 };
        truth::account(&self.processguard, &storm, Path::new(&self.scratch)).context("counting")
    }
}

fn difference(before: &Programs, after: &Programs) -> Vec<kernel::Program> {
    let ran = after.iter().filter_map(|(id, after)| {
        let before = before.get(id)?;
        Some(kernel::Program {
            name: after.name.clone(),
            run_ns: after.run_ns.saturating_sub(before.run_ns),
            runs: after.runs.saturating_sub(before.runs),
        })
    });
    ran.collect()
}
