//! Cargo with other flags than its own.

use std::{
    env,
    fs::{self, Permissions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::sh;

/// The C library must be linkable statically: musl would be another program than the one that is shipped.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Links statically: as it is shipped, or quicker to build. Whoever calls it with the same finds what it has built before.
pub(crate) fn release(verb: &str, as_shipped: bool) -> Command {
    let mut cargo = sh::cargo();
    cargo.args([verb, "--release", "--target", TRIPLE]);
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    cargo.env("RUSTFLAGS", format!("{flags} -C target-feature=+crt-static").trim());
    // It would override the flags.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Less to unpack in a slow machine.
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols").env("CARGO_PROFILE_RELEASE_DEBUG", "none");
    if !as_shipped {
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    }
    cargo
}

/// More flags for our own crates, but not for their build scripts: what these crates depend on is the same without, and is built once
/// for both.
pub(crate) fn add_flags(cargo: &mut Command, flags: &str) -> Result<()> {
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' build_script_build '*) exec \"$@\" ;; esac\nexec \"$@\" {flags}\n"
    );
    // Cargo keeps what it has built by the wrapper's name: one with other flags has another name.
    let mut hasher = DefaultHasher::new();
    script.hash(&mut hasher);
    let wrapper = sh::target_dir().join(format!("rustc-{:016x}", hasher.finish()));
    if !wrapper.exists() {
        write(&wrapper, &script).with_context(|| format!("write {}", wrapper.display()))?;
    }
    cargo.env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    Ok(())
}

/// Writes a program: it is there whole, or not.
fn write(path: &Path, script: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, script)?;
    fs::set_permissions(&unfinished, Permissions::from_mode(0o755))?;
    fs::rename(&unfinished, path)
}
