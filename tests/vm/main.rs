//! What no test may do to the machine that others use: in virtual machines only (`cargo xtask vm`).

mod clock;
mod cpus;
mod suspend;
mod systemd;

use anyhow::{Result, ensure};

/// To be asked first by every test here.
fn ensure_virtual() -> Result<()> {
    let told = std::env::var_os("PROCESSGUARD_VM").is_some();
    ensure!(told, "this would harm the machine: run `cargo xtask vm`, which sets PROCESSGUARD_VM inside");
    Ok(())
}
