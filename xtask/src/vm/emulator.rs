//! The qemu that machines run in, and its cache below `target/vm/qemu`.
//!
//! That of Debian 12 (7.2) is not good enough: a processor's flags have come back as rubbish from an interrupt, and the guest's
//! kernel then failed with a `rep stos` that went backwards (seen on 6.18, within its verifier). What a system has is taken if it is
//! as new as that of the backports; else that is fetched. It is not installed: a system's own packages stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::archive::{Archive, Place, Suite};
use crate::sh;

/// The first release that is good enough.
const MAJOR: u32 = 10;
const SUITE: &[Suite] = &[(Place::Archive, "bookworm-backports")];
/// What it needs besides the libraries that the set-up brings: firmware.
const PACKAGES: [&str; 3] = ["qemu-system-x86", "qemu-system-data", "seabios"];
const PROGRAM: &str = "qemu-system-x86_64";

/// A qemu that can be started.
#[derive(Clone, Debug)]
pub(super) struct Emulator {
    program: PathBuf,
    /// Where its firmware is, if it is not where it was built for.
    firmware: Vec<PathBuf>,
}

impl Emulator {
    /// The system's, if it is new enough; else that in the cache, which is filled first if it is empty.
    pub(super) fn find(cache: &Path) -> Result<Self> {
        if let Some(program) = installed() {
            return Ok(Self { program, firmware: Vec::new() });
        }
        let directory = cache.join("qemu");
        if !directory.is_dir() {
            fetch(cache, &directory).context("a newer qemu")?;
        }
        let share = directory.join("usr/share");
        let program = directory.join("usr/bin").join(PROGRAM);
        Ok(Self { program, firmware: vec![share.join("qemu"), share.join("seabios")] })
    }

    pub(super) fn command(&self) -> Command {
        let mut qemu = Command::new(&self.program);
        for directory in &self.firmware {
            qemu.arg("-L").arg(directory);
        }
        qemu
    }
}

/// The system's own, if it is new enough.
pub(crate) fn installed() -> Option<PathBuf> {
    sh::find_program(PROGRAM).filter(|program| major(program).is_some_and(|major| major >= MAJOR))
}

/// `QEMU emulator version 7.2.22 (Debian ...)`
fn major(program: &Path) -> Option<u32> {
    let said = sh::output(Command::new(program).arg("--version")).ok()?;
    said.split("version ").nth(1)?.split('.').next()?.parse().ok()
}

/// Whole or not at all: what is interrupted leaves nothing that looks like a qemu.
fn fetch(cache: &Path, directory: &Path) -> Result<()> {
    let archive = Archive::open(cache.join("apt/bookworm-backports"), SUITE).context("lists")?;
    let scratch = cache.join(format!("scratch-qemu-{}", std::process::id()));
    let result = unpack(&archive, &scratch)
        .and_then(|()| fs::rename(scratch.join("root"), directory).context("move it into the cache"));
    let _ = fs::remove_dir_all(&scratch);
    result
}

fn unpack(archive: &Archive, scratch: &Path) -> Result<()> {
    for name in PACKAGES {
        let package = archive.newest(&[name.to_owned()], name)?;
        println!("… {} {}", package.name, package.version);
        let place = scratch.join(name);
        fs::create_dir_all(&place).with_context(|| format!("create {}", place.display()))?;
        let file = archive.fetch(&package, &place)?;
        let mut dpkg = Command::new("dpkg-deb");
        sh::quietly(dpkg.arg("--extract").arg(file).arg(scratch.join("root")))?;
    }
    Ok(())
}
