//! The modes of `guard-workload`. Each does one thing and writes what truly happened as JSON
//! lines to `--truth FILE`.

mod args;
mod elf;
mod storm;
mod truth;

use std::process::ExitCode;

use anyhow::{Result, bail};
use args::Args;

/// Runs the mode that the command line names.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("guard-workload: {error:#}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<u8> {
    let (mode, args) = Args::parse()?;
    match mode.as_str() {
        "nop" => return args.number("code", 0),
        "storm" => storm::run(&args)?,
        _ => bail!("unknown mode {mode:?}"),
    }
    Ok(0)
}
