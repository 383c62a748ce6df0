//! `cargo xtask vm`: the privileged checks on every kernel of the matrix, each in a virtual machine.
//!
//! ```text
//! archive.rs -> kernels.rs   a kernel as Debian ships it, kept below target/vm/kernels
//! programs.rs -> cpio.rs     our programs, static, and the tools that the tests call; systemd.rs: systemd
//! emulator.rs                a qemu that is new enough, kept below target/vm/qemu
//! choice.rs                  which tests run on which kernel
//! machine.rs <-> init.sh     boot, probe, one test after the other
//! outcome.rs -> table.rs     kernel x test; what did not run is red
//! ```

mod archive;
mod choice;
mod cpio;
mod emulator;
mod kernels;
mod machine;
mod outcome;
mod programs;
mod systemd;
mod table;

use std::{
    fs::{self, File, TryLockError},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    setup::{self, Scope},
    sh,
};
pub(crate) use archive::mirror;
use choice::Choice;
use emulator::Emulator;
pub(crate) use emulator::installed as installed_qemu;
use kernels::{Image, Kernel};
use machine::{Broken, Plan};
use outcome::Outcome;
pub(crate) use programs::Programs;

/// The longest test takes half a minute inside; one that hangs must not take the time of the others.
const TEST_LIMIT: Duration = Duration::from_secs(6 * 60);

/// All tests take 4 minutes inside, and longer on two cores that do other things too.
const MACHINE_LIMIT: Duration = Duration::from_secs(20 * 60);

/// How often a machine tells how far it is, in tests.
const TOLD_EVERY: usize = 20;

/// So many tests are worth more than one boot.
const PARTED_FROM: usize = 20;

/// Machines that share the tests of one kernel; a boot takes 3 to 10 s.
const PARTS: usize = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kernel; may be given more than once
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(kernels::TABLE.iter().map(|one| one.version)))]
    kernel: Vec<String>,
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// How many machines run at a time; each takes one core
    #[arg(long, default_value = "2")]
    jobs: NonZeroUsize,
    /// Storms as large as the issues state them (15,000 spawns), all else as on the host, and every test
    #[arg(long)]
    full: bool,
}

/// How large the tests' counts are, and how long they may take.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// As `PROCESSGUARD_SCALE` names it.
    name: &'static str,
    test: Duration,
    machine: Duration,
    /// Whether also those run of which nothing depends on the kernel. They do anyway if they are asked for by name.
    interface: bool,
}

impl Scale {
    /// What shows that it works.
    pub(crate) const TINY: Self =
        Self { name: "tiny", test: TEST_LIMIT, machine: MACHINE_LIMIT, interface: false };

    /// What the issues state for the kernels of the matrix.
    pub(crate) const STATED: Self = Self {
        name: "matrix",
        test: Duration::from_secs(15 * 60),
        machine: Duration::from_secs(60 * 60),
        interface: true,
    };
}

pub(crate) fn verb(args: &Args) -> Result<()> {
    setup::ensure(Scope::Test)?;
    let scale = if args.full { Scale::STATED } else { Scale::TINY };
    let wanted: Vec<&'static Kernel> = kernels::TABLE
        .iter()
        .filter(|kernel| args.kernel.is_empty() || args.kernel.iter().any(|one| one == kernel.version))
        .collect();
    let programs = Programs::build(args.full)?;
    let tests = wanted_tests(&programs, args.filter.as_deref(), scale)?;
    if tests.is_empty() {
        bail!("no test has {:?} in its name", args.filter.as_deref().unwrap_or_default());
    }
    run(&programs, &wanted, tests, scale, args.jobs.get(), Choice::Whole)
}

/// The whole matrix, as a part of the test command: those tests that contain the filter. Set-up is done.
pub(crate) fn matrix(programs: &Programs, filter: Option<&str>, scale: Scale) -> Result<()> {
    let tests = wanted_tests(programs, filter, scale)?;
    if tests.is_empty() {
        println!("no test of the kernel matrix has {:?} in its name", filter.unwrap_or_default());
        return Ok(());
    }
    let choice = if scale.interface { Choice::Whole } else { Choice::quick() };
    run(programs, &kernels::TABLE.iter().collect::<Vec<_>>(), tests, scale, 2, choice)
}

/// Those that contain the filter; without one, those that the scale asks for.
fn wanted_tests(programs: &Programs, filter: Option<&str>, scale: Scale) -> Result<Vec<String>> {
    let mut tests = programs.tests(filter)?;
    if filter.is_none() && !scale.interface {
        let all = tests.len();
        tests.retain(|name| choice::depends_on_the_kernel(name));
        let (left_out, interface, daemon) = (all - tests.len(), choice::INTERFACE, choice::DAEMON);
        println!(
            "{left_out} tests in {interface} and {daemon} do not depend on the kernel: --full runs them too"
        );
    }
    Ok(tests)
}

fn run(
    programs: &Programs,
    wanted: &[&'static Kernel],
    tests: Vec<String>,
    scale: Scale,
    jobs: usize,
    choice: Choice,
) -> Result<()> {
    let began = Instant::now();
    let cache = sh::workspace().join("target/vm");
    let _lock = lock(&cache)?;
    let emulator = Emulator::find(&cache)?;
    let images = kernels::images(wanted, &cache)?;
    let initramfs = cache.join("initramfs");
    let run =
        Run { emulator, images, initramfs, logs: cache.join("logs"), tests, limit: scale.machine, choice };
    let lists: Vec<_> = run.images.iter().map(|image| (image.version, run.tests_of(image))).collect();
    let archive = programs.pack(&lists, scale.name, scale.test)?;
    fs::write(&run.initramfs, archive).context("write the initramfs")?;
    println!("{} tests on {} kernels, scale {}", run.tests.len(), run.images.len(), scale.name);
    let outcomes = run.boot_all(jobs)?;
    run.conclude(&outcomes, began)
}

/// Waits until no other run uses the cache. The lock ends with the process.
fn lock(cache: &Path) -> Result<File> {
    fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    let file = File::create(cache.join("lock")).context("create the lock")?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        println!("… waiting for another cargo xtask vm");
    }
    file.lock().context("lock the cache")?;
    Ok(file)
}

/// What is to be done: all of it is known before the first machine starts.
struct Run {
    emulator: Emulator,
    images: Vec<Image>,
    initramfs: PathBuf,
    logs: PathBuf,
    tests: Vec<String>,
    limit: Duration,
    choice: Choice,
}

impl Run {
    /// Runs the machines, some at a time, and gives what each kernel showed, in the images' order.
    fn boot_all(&self, jobs: usize) -> Result<Vec<Outcome>> {
        // In parts, and the newest kernels first, which take longest: no machine is left alone for long at the end.
        let parts = if self.tests.len() >= PARTED_FROM { PARTS } else { 1 };
        let newest = self.images.iter().enumerate().rev();
        let all = newest.flat_map(|image| (0..parts).map(move |part| (image, part)));
        let queue = Mutex::new(all);
        let done = Mutex::new(Vec::new());
        let worker = || {
            loop {
                // A worker that panicked has left the queue whole.
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(((number, image), part)) = next else { return };
                let outcome = self.boot(image, (part, parts));
                done.lock().unwrap_or_else(PoisonError::into_inner).push((number, outcome));
            }
        };
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(worker);
            }
        });
        let mut whole: Vec<Option<Outcome>> = self.images.iter().map(|_| None).collect();
        for (number, outcome) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            match (whole.get_mut(number), outcome?) {
                (Some(Some(whole)), part) => whole.merge(part),
                (Some(none), part) => *none = Some(part),
                (None, _) => bail!("no image {number}"),
            }
        }
        whole.into_iter().map(|whole| whole.context("a kernel that was not booted")).collect()
    }

    /// What is run on this kernel.
    fn tests_of(&self, image: &Image) -> Vec<&str> {
        let names = self.tests.iter().map(String::as_str);
        names.filter(|name| self.choice.left_out(image.version, name).is_none()).collect()
    }

    /// Runs one machine, and says what happens in it.
    fn boot(&self, image: &Image, (part, parts): (usize, usize)) -> Result<Outcome> {
        let began = Instant::now();
        let version = if parts == 1 {
            image.version.to_owned()
        } else {
            format!("{} {}/{parts}", image.version, part + 1)
        };
        let tests = (1..=self.tests_of(image).len()).filter(|line| line % parts == part).count();
        let directory = self.logs.join(image.version).join((part + 1).to_string());
        let plan = Plan {
            emulator: &self.emulator,
            image,
            initramfs: &self.initramfs,
            part: (part, parts),
            directory,
            limit: self.limit,
        };
        let (mut booted, mut told) = (false, 0);
        let (outcome, broken) = plan.run(|so_far| {
            if let (false, Some((release, modules))) = (booted, &so_far.kernel) {
                println!("{version:>8}: {release} is up ({}), lsm={modules}", sh::took(began.elapsed()));
                booted = true;
            }
            if so_far.tests.len() >= told + TOLD_EVERY {
                told = so_far.tests.len();
                println!("{version:>8}: {told} of {tests} ({})", sh::took(began.elapsed()));
            }
        })?;
        let passed = outcome.tests.values().filter(|ended| ended.passed).count();
        println!("{version:>8}: {passed} of {tests} passed ({})", sh::took(began.elapsed()));
        match broken {
            None => {}
            Some(Broken::TooSlow) => {
                println!(
                    "{version:>8}: not done after {}, ended\n{}",
                    sh::took(plan.limit),
                    plan.last_words()
                );
            }
            Some(Broken::Early(status)) => {
                println!("{version:>8}: ended before its end ({status})\n{}", plan.last_words());
            }
        }
        Ok(outcome)
    }

    /// Says what is red and why, then the table.
    fn conclude(&self, outcomes: &[Outcome], began: Instant) -> Result<()> {
        for (image, outcome) in self.images.iter().zip(outcomes) {
            complain(image, outcome);
        }
        let columns: Vec<_> = self.images.iter().map(|image| image.version).collect();
        let left_out =
            |column: usize, name: &str| self.choice.left_out(self.images.get(column)?.version, name);
        let rows = table::rows(&outcomes.iter().collect::<Vec<_>>(), &self.tests, left_out);
        println!("\n{}", table::text(&columns, &rows));
        println!(
            "vm::* run in virtual machines only; what needs peers' tools (tests/peers) runs on the host only"
        );
        self.choice.legend().iter().for_each(|line| println!("{line}"));
        for (image, outcome) in self.images.iter().zip(outcomes) {
            println!("{:>5}: {}; {}", image.version, image.package, times(outcome));
        }
        let red = rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.is_red()).count();
        if red > 0 {
            bail!("{red} red cells; consoles and results: target/vm/logs/KERNEL");
        }
        println!("all green ({})", sh::took(began.elapsed()));
        Ok(())
    }
}

fn times(outcome: &Outcome) -> String {
    let seconds: f64 = outcome.tests.values().map(|ended| ended.seconds).sum();
    let slowest = outcome.tests.iter().max_by(|(_, one), (_, other)| one.seconds.total_cmp(&other.seconds));
    let slowest =
        slowest.map_or(String::new(), |(name, ended)| format!(", {:.0} s of it {name}", ended.seconds));
    format!("tests {seconds:.0} s{slowest}")
}

/// Why a kernel's cells are red, and what its probe did not find.
fn complain(image: &Image, outcome: &Outcome) {
    let version = image.version;
    for probe in outcome.probes.iter().filter(|probe| probe.state != "yes") {
        println!("{version:>5}: {} {}: {}", probe.name, probe.state, probe.detail);
    }
    if let Some(Err(log)) = &outcome.probed {
        println!("\n--- {version}: processguard probe\n{}", log.join("\n"));
    }
    for (name, ended) in outcome.tests.iter().filter(|(_, ended)| !ended.passed) {
        println!("\n--- {version}: {name}\n{}", ended.log.join("\n"));
    }
    if let Some(complaints) = outcome.complaints.as_ref().filter(|complaints| !complaints.is_empty()) {
        println!("\n--- {version}: the kernel's log\n{}", complaints.join("\n"));
    }
}
