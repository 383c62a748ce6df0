//! `cargo xtask tidy`: what a machine can say about the code without running it.

mod house;

use std::{process::Command, time::Instant};

use anyhow::{Context as _, Result, bail};

use crate::{
    setup::{self, Scope},
    sh,
};

/// A check and its name.
type Step = (&'static str, fn() -> Result<()>);

pub(crate) fn verb() -> Result<()> {
    setup::ensure(Scope::Tidy)?;
    // All steps run, whatever the first one finds: one run shows everything there is to mend.
    let steps: [Step; 4] =
        [("house rules", house::check), ("format", format), ("clippy", clippy), ("cargo-deny", deny)];
    let mut failed = Vec::new();
    for (name, step) in steps {
        let began = Instant::now();
        match step() {
            Ok(()) => println!("✓ {name} ({})", sh::took(began.elapsed())),
            Err(error) => {
                println!("✗ {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("not tidy: {}", failed.join(", "));
    }
    Ok(())
}

fn format() -> Result<()> {
    sh::run(sh::cargo().args(["fmt", "--all", "--check"])).context("remedy: cargo fmt --all")
}

/// All crates, guard-ebpf as the host sees it included; and the tests of virtual machines, which are no part of "all targets".
fn clippy() -> Result<()> {
    for targets in [&["--workspace", "--all-targets"][..], &["--package", "guard-tests", "--test", "vm"]] {
        let mut cargo = sh::cargo();
        cargo.args(["clippy", "--quiet", "--locked"]).args(targets).args(["--", "--deny", "warnings"]);
        sh::run(&mut cargo)?;
    }
    Ok(())
}

/// Not `advisories`: see deny.toml.
fn deny() -> Result<()> {
    let program = setup::cargo_deny().context("cargo-deny is missing")?;
    let mut deny = Command::new(program);
    deny.current_dir(sh::workspace()).args(["--log-level", "error", "--locked", "--all-features", "check"]);
    sh::run(deny.args(["licenses", "bans", "sources"]))
}
