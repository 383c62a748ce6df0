//! One compilation of guard-ebpf by an inner cargo, shielded from the outer one.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::toolchain::{Compiler, TARGET, Toolchain};

/// The profile of the kernel programs. The host's profile does not fit: the target cannot unwind, and
/// kernel programs are one unit to the verifier, so they are optimised as one.
const PROFILE: [(&str, &str); 7] = [
    ("opt-level", "3"),
    ("panic", "\"abort\""),
    ("lto", "\"fat\""),
    ("codegen-units", "1"),
    ("debug", "false"),
    ("strip", "\"none\""),
    ("overflow-checks", "false"),
];

/// Variables of the outer build that would change the inner one: its flags, its wrappers (clippy is one),
/// its profile, and what cargo tells build scripts. What says how to reach a registry must pass.
const KEPT_CARGO: [&str; 5] = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];

/// Compiles guard-ebpf into `object`; the compiler's output goes to standard error as it is.
pub(crate) fn compile(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
    object: &Path,
) -> Result<(), String> {
    let mut cargo = inner_cargo(&toolchain.compiler);
    cargo
        .current_dir(workspace.join("guard-ebpf"))
        .args(["build", "--release", "--locked", "--package", "guard-ebpf", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&toolchain.linker, workspace));
    for (key, value) in PROFILE {
        cargo.arg("--config").arg(format!("profile.release.{key}={value}"));
    }
    let status = cargo.status().map_err(|error| format!("cannot start cargo for guard-ebpf: {error}"))?;
    if !status.success() {
        return Err("guard-ebpf does not compile for the kernel; its compiler's output is below".to_owned());
    }
    let built = target_dir.join(TARGET).join("release/guard-ebpf");
    fs::copy(&built, object)
        .map(drop)
        .map_err(|error| format!("cannot copy {} to {}: {error}", built.display(), object.display()))
}

fn inner_cargo(compiler: &Compiler) -> Command {
    let mut cargo = match compiler {
        // CARGO is the outer build's real cargo, not rustup's proxy: it asks no toolchain file.
        Compiler::WithCore { .. } => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
        Compiler::Nightly => Command::new("rustup"),
    };
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if leaks(&text) {
            cargo.env_remove(&name);
        }
    }
    // Empty, not unset: that overrides a wrapper in a configuration file too.
    cargo.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
    match compiler {
        Compiler::WithCore { rustc } => {
            cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        }
        Compiler::Nightly => {
            cargo.args(["run", "nightly", "cargo", "-Z", "build-std=core"]);
        }
    }
    cargo
}

fn leaks(variable: &str) -> bool {
    let cargo = variable.starts_with("CARGO") && !KEPT_CARGO.iter().any(|kept| variable.starts_with(kept));
    let rust = variable.starts_with("RUST") && !["RUSTUP_HOME", "RUST_BACKTRACE"].contains(&variable);
    let make = ["MAKEFLAGS", "MFLAGS", "TARGET", "HOST", "OUT_DIR", "PROFILE", "DEBUG", "OPT_LEVEL"];
    cargo || rust || make.contains(&variable)
}

/// The same source gives the same object wherever the checkout, cargo's home and the toolchain lie.
fn flags(linker: &Path, workspace: &Path) -> String {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = vec![
        format!("-Clinker={}", linker.display()),
        format!("--remap-path-prefix={}=/processguard", workspace.display()),
    ];
    if let Some(home) = cargo_home {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags.join("\u{1f}")
}
