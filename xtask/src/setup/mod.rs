//! `cargo xtask setup`: finds or installs what building, testing and checking need.
//!
//! What is missing is decided by looking for the thing itself (a program, a library), never for the package
//! that usually brings it: the same probe then holds on every distribution.

#[path = "../../../guard-userspace/build/toolchain.rs"]
#[expect(dead_code, reason = "shared with guard-userspace's build script, which uses the rest")]
mod toolchain;

mod install;
mod needs;
pub(crate) mod peers;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::sh;
use needs::Need;
pub(crate) use needs::cargo_deny;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only report what is missing; install nothing
    #[arg(long)]
    check: bool,
}

/// What the tools are wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `cargo build` with the kernel programs inside.
    Build,
    /// The tests and benchmarks: also peers and oracles.
    Test,
    /// The peers of the recovery benchmark.
    Bench,
    /// Formatting, lints and licences.
    Tidy,
    /// All of it.
    All,
}

impl Scope {
    /// Whether somebody who wants `self` needs a tool of `part`.
    fn covers(self, part: Self) -> bool {
        self == Self::All || self == part || part == Self::Build
    }
}

pub(crate) fn verb(args: &Args) -> Result<()> {
    let began = Instant::now();
    if args.check {
        let missing = needs::TABLE.iter().filter(|need| !report(need)).count();
        if missing > 0 {
            bail!("{missing} missing; remedy: cargo xtask setup");
        }
    } else {
        let missing: Vec<&Need> = needs::TABLE.iter().filter(|need| !report(need)).collect();
        install::all(&missing)?;
    }
    println!("all is there ({})", sh::took(began.elapsed()));
    Ok(())
}

/// What the other verbs call first: installs what is missing, and is silent and quick when nothing is.
pub(crate) fn ensure(scope: Scope) -> Result<()> {
    let wanted = needs::TABLE.iter().filter(|need| scope.covers(need.scope));
    let missing: Vec<&Need> = wanted.filter(|need| (need.find)().is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        println!("✗ {:<18} missing: {}", need.name, need.purpose);
    }
    install::all(&missing)
}

/// Prints one line on a need, and says whether it is met.
fn report(need: &Need) -> bool {
    let began = Instant::now();
    let found = (need.find)();
    let took = sh::took(began.elapsed());
    match &found {
        Some(place) => println!("✓ {:<18} {place} ({took})", need.name),
        None => println!("✗ {:<18} missing: {}", need.name, need.purpose),
    }
    found.is_some()
}
