//! `cargo xtask run`: from a fresh checkout to the live trace in one command.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Profile},
    setup::{self, Scope},
    sh,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Handed on to `processguard trace`
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) fn verb(args: &Args) -> Result<()> {
    setup::ensure(Scope::Build)?;
    let binary = build::processguard(Profile::Release)?;
    let mut trace = Command::new(&binary);
    trace.arg("trace").args(&args.args);
    if !sh::is_root() {
        bail!("watching the kernel needs root; it is built, so run: sudo {}", sh::line(&trace));
    }
    // Replaced, not started: signals and the exit code are then the trace's own.
    let error = trace.exec();
    Err(error).with_context(|| format!("cannot start {}", binary.display()))
}
