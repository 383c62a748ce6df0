//! `cargo xtask build`: set-up, then cargo's own build.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    setup::{self, Scope},
    sh,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimised, as it is shipped
    #[arg(long)]
    release: bool,
}

pub(crate) fn verb(args: &Args) -> Result<()> {
    setup::ensure(Scope::Build)?;
    let built = processguard(if args.release { Profile::Release } else { Profile::Dev })?;
    println!("built {}", built.display());
    Ok(())
}

/// Which of cargo's profiles.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    fn dir(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// Builds the one binary, and says where it is.
pub(crate) fn processguard(profile: Profile) -> Result<PathBuf> {
    binary(profile, "guard-userspace", "processguard")
}

/// Builds one package's binary, and says where it is.
pub(crate) fn binary(profile: Profile, package: &str, name: &str) -> Result<PathBuf> {
    Ok(built(profile, package, "--bin", name)?.join(name))
}

/// Builds one package's example, and says where it is.
pub(crate) fn example(profile: Profile, package: &str, name: &str) -> Result<PathBuf> {
    Ok(built(profile, package, "--example", name)?.join("examples").join(name))
}

fn built(profile: Profile, package: &str, what: &str, name: &str) -> Result<PathBuf> {
    let mut cargo = sh::cargo();
    cargo.args(["build", "--package", package, what, name]);
    if matches!(profile, Profile::Release) {
        cargo.arg("--release");
    }
    sh::run(&mut cargo)?;
    Ok(sh::target_dir().join(profile.dir()))
}
