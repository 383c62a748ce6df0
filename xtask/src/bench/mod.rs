//! `cargo xtask bench`.

use anyhow::{Result, bail};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn verb(_args: &Args) -> Result<()> {
    bail!("not yet")
}
