//! Bringing what is missing: Debian packages in one go, then what rustup and cargo bring.

use std::{collections::BTreeSet, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, bail};

use super::needs::{BPF_LINKER, CARGO_DENY, LLVM, Need, Source, llvm_prefix};
use crate::sh;

/// Installs what these needs want, and looks again.
pub(super) fn all(missing: &[&Need]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages = packages_for(missing);
    if sh::find_program("apt-get").is_some() {
        apt(&packages)?;
    }
    for need in missing.iter().filter(|need| (need.find)().is_none()) {
        match need.source {
            Source::Packages(names) => bail!("{} is missing: {}", need.name, by_hand(names)),
            Source::BpfCompiler(_) => step("rustup: nightly with rust-src", nightly)?,
            Source::BpfLinker(_) => step(&format!("cargo install bpf-linker {BPF_LINKER}"), bpf_linker)?,
            Source::Peer(bring) => step(need.name, bring)?,
            Source::CargoDeny => step(&format!("cargo install cargo-deny {CARGO_DENY}"), cargo_deny)?,
            Source::Component(name) => step(&format!("rustup: {name}"), || {
                sh::run(Command::new("rustup").current_dir(sh::workspace()).args(["component", "add", name]))
            })?,
        }
        if (need.find)().is_none() {
            bail!("{} is still missing after its installation", need.name);
        }
    }
    Ok(())
}

/// Runs one step, between a line that announces it and one that says how long it took.
fn step(what: &str, action: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("… {what}");
    let began = Instant::now();
    action().with_context(|| what.to_owned())?;
    println!("✓ {what} ({})", sh::took(began.elapsed()));
    Ok(())
}

fn packages_for(missing: &[&Need]) -> BTreeSet<&'static str> {
    let mut packages = BTreeSet::new();
    for need in missing {
        match need.source {
            Source::Packages(names) | Source::BpfCompiler(names) => packages.extend(names),
            Source::BpfLinker(names) if llvm_prefix().is_none() => packages.extend(names),
            Source::BpfLinker(_) | Source::CargoDeny | Source::Component(_) | Source::Peer(_) => {}
        }
    }
    packages
}

/// Installs the packages that this system's archive has. Those it lacks are left to the fallbacks.
fn apt(packages: &BTreeSet<&'static str>) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    if !sh::is_root() {
        let names: Vec<_> = packages.iter().copied().collect();
        bail!("installing packages needs root; remedy: sudo apt-get install {}", names.join(" "));
    }
    let mut known = in_archive(packages);
    if known.len() < packages.len() {
        // No list yet, as in a fresh container, or one too old to have the package.
        step("apt-get update", || sh::quietly(apt_get().arg("update")))?;
        known = in_archive(packages);
    }
    let names = known.iter().copied().collect::<Vec<_>>();
    if names.is_empty() {
        return Ok(());
    }
    let install =
        || sh::quietly(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&names));
    let what = format!("apt-get install {}", names.join(" "));
    if step(&what, install).is_err() {
        // An old list names versions that the archive no longer has.
        step("apt-get update", || sh::quietly(apt_get().arg("update")))?;
        step(&what, install)?;
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    // Waits for another apt instead of failing; never removes what somebody else installed.
    apt.args([
        "-q",
        "-o",
        "DPkg::Lock::Timeout=300",
        "-o",
        "APT::Get::Remove=false",
        "-o",
        "Dpkg::Use-Pty=0",
    ]);
    apt
}

/// Which of the packages can be installed here.
fn in_archive(packages: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    let has_candidate = |package: &str| {
        let policy = sh::output(Command::new("apt-cache").env("LC_ALL", "C").args(["policy", package]));
        policy.is_ok_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
    };
    packages.iter().copied().filter(|package| has_candidate(package)).collect()
}

fn nightly() -> Result<()> {
    if sh::find_program("rustup").is_none() {
        bail!(
            "no compiler for the BPF target: install rustup and run \
             'rustup toolchain install nightly --profile minimal --component rust-src', \
             or on Debian {}",
            by_hand(&["rustc-web", "libstd-rust-web-dev-bpf"])
        );
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
    sh::run(&mut rustup)
}

fn bpf_linker() -> Result<()> {
    let Some(prefix) = llvm_prefix() else {
        bail!(
            "bpf-linker needs LLVM {LLVM} with its headers: install it (Debian: llvm-{LLVM}-dev; \
             Alpine: llvm{LLVM}-dev; Fedora, Arch: llvm-devel or llvm of that version), \
             or put a ready bpf-linker into PATH"
        );
    };
    let feature = format!("llvm-{LLVM}");
    cargo_install("bpf-linker", BPF_LINKER, |cargo| {
        cargo.args(["--no-default-features", "--features", &feature]).env("LLVM_PREFIX", &prefix);
    })
}

fn cargo_deny() -> Result<()> {
    cargo_install("cargo-deny", CARGO_DENY, |cargo| {
        // It runs for a second, so it is compiled for speed of compiling: 49 s instead of minutes.
        cargo.arg("--no-default-features");
        for (key, value) in [("OPT_LEVEL", "0"), ("LTO", "off"), ("DEBUG", "0"), ("CODEGEN_UNITS", "16")] {
            cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
        }
    })
}

fn cargo_install(name: &str, version: &str, adjust: impl FnOnce(&mut Command)) -> Result<()> {
    let mut cargo = sh::cargo();
    cargo.args(["install", name, "--version", version, "--locked", "--quiet", "--root"]).arg(sh::tools_dir());
    adjust(&mut cargo);
    // These belong to the build that started us, not to a tool.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(variable);
    }
    // Kept apart from the workspace's target directory, which may be anybody's.
    let scratch = sh::tools_dir().join(format!("build-{name}"));
    cargo.env("CARGO_TARGET_DIR", &scratch);
    let result = sh::run(&mut cargo);
    remove_scratch(&scratch);
    result
}

/// A tool's intermediate files are of no further use, and as large as the workspace's own.
fn remove_scratch(scratch: &Path) {
    if let Err(error) = std::fs::remove_dir_all(scratch)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("xtask: cannot remove {}: {error}", scratch.display());
    }
}

fn by_hand(packages: &[&str]) -> String {
    format!("install it with 'sudo apt-get install {}', or its like on this system", packages.join(" "))
}
