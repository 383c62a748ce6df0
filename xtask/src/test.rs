//! `cargo xtask test` and `cargo xtask campaign`: the same tests at two scales.

use std::{
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};

use crate::{
    cargo, fuzz,
    setup::{self, Scope},
    sh, vm,
};

/// The kernel tests run on the real kernel and storm it: one at a time, or they measure each other.
const KERNEL_TESTS: &str = "guard-tests";

/// What a full run at small counts may take on two cores (design, section 8).
const SMALL_LIMIT: Duration = Duration::from_secs(25 * 60);

/// Cases of each property test in a campaign.
const FULL_CASES: &str = "1000";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
}

/// How large the counts of the kernel tests are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Seconds per test.
    Small,
    /// The counts that the issues state.
    Full,
}

pub(crate) fn verb(args: &Args, scale: Scale) -> Result<()> {
    if !sh::is_root() {
        bail!(
            "the tests load kernel programs: run them as root, for example sudo --preserve-env=PATH cargo xtask test"
        );
    }
    let mut clock = Clock::start();
    setup::ensure(Scope::Test)?;
    clock.tell("set-up");
    // What runs here is what runs on the kernels of the matrix, and is built once.
    let programs = vm::Programs::build(scale == Scale::Full)?;
    clock.tell("the static programs");

    let with_environment = |cargo: &mut Command| {
        cargo.env("PROCESSGUARD_BIN", programs.processguard());
        cargo.env("PROCESSGUARD_SCALE", if scale == Scale::Small { "small" } else { "full" });
    };
    let mut pure = sh::cargo();
    pure.args(["test", "--workspace", "--no-fail-fast", "--exclude", KERNEL_TESTS]);
    pure.args(&args.filter);
    with_environment(&mut pure);
    if scale == Scale::Full {
        throw_other_dice(&mut pure);
    }
    // Last, and without doc tests, so that the closing line of this command counts real tests. Built as for the matrix: most of
    // it is there already.
    let mut kernel = cargo::release("test", scale == Scale::Full);
    kernel.args(["--package", KERNEL_TESTS, "--tests", "--no-fail-fast"]).args(&args.filter);
    kernel.args(["--", "--test-threads=1"]);
    with_environment(&mut kernel);

    let pure = sh::run(&mut pure);
    clock.tell("pure tests");
    let fuzzed = if args.filter.is_none() { fuzz::short() } else { Ok(()) };
    clock.tell("fuzzers");
    let counts = if scale == Scale::Small { vm::Scale::TINY } else { vm::Scale::STATED };
    let matrix = vm::matrix(&programs, args.filter.as_deref(), counts);
    clock.tell("kernel matrix");
    if let Err(error) = &matrix {
        // Said here too: the last lines are the test runner's.
        eprintln!("xtask: kernel matrix: {error:#}");
    }
    let kernel = sh::run(&mut kernel);
    clock.tell("this kernel");
    if scale == Scale::Small && clock.whole() > SMALL_LIMIT {
        eprintln!(
            "xtask: the tests took {}, more than their {}",
            sh::took(clock.whole()),
            sh::took(SMALL_LIMIT)
        );
    }
    pure.and(fuzzed).and(matrix).and(kernel)
}

/// Property tests that have no count of their own have this one, and seeds that no run had before. Without this they are what
/// `.cargo/config.toml` says, so that the tests are the same each time.
fn throw_other_dice(cargo: &mut Command) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = since_epoch.as_secs();
    cargo.env("PROPTEST_CASES", FULL_CASES).env("PROPTEST_RNG_SEED", seed.to_string());
    eprintln!("xtask: property tests: {FULL_CASES} cases, PROPTEST_RNG_SEED={seed}");
}

/// Says on standard error what each part took: standard output ends with the test runner's own lines.
struct Clock {
    began: Instant,
    part: Instant,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self { began: now, part: now }
    }

    /// A part is over.
    fn tell(&mut self, part: &str) {
        eprintln!("xtask: {part}: {}", sh::took(self.part.elapsed()));
        self.part = Instant::now();
    }

    fn whole(&self) -> Duration {
        self.began.elapsed()
    }
}
