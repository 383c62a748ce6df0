//! Compiles guard-ebpf for the BPF target and hands the object to the crate as `GUARD_EBPF_OBJECT`.
//!
//! Without a BPF toolchain the object is empty: `cargo check`, clippy and the core's tests need none. The
//! binary then says at run time that it holds no kernel programs.

#[path = "build/kernel.rs"]
mod kernel;
#[path = "build/toolchain.rs"]
mod toolchain;

use std::{env, fs, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let here = path_from_env("CARGO_MANIFEST_DIR")?;
    let out_dir = path_from_env("OUT_DIR")?;
    let workspace = here.parent().ok_or("guard-userspace is not inside the workspace")?;
    for source in ["guard-ebpf/src", "guard-ebpf/Cargo.toml", "guard-common/src", "guard-common/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    // Naming any file switches off the default of watching the whole package, so these need saying too.
    for source in ["build.rs", "build/kernel.rs", "build/toolchain.rs"] {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-env-changed={}", toolchain::RUSTC_VARIABLE);

    let object = out_dir.join("guard-ebpf.o");
    match toolchain::find(workspace) {
        Ok(found) => {
            for tool in found.files() {
                println!("cargo::rerun-if-changed={}", tool.display());
            }
            kernel::compile(&found, workspace, &kernel_target_dir(&out_dir), &object)?;
        }
        Err(missing) => {
            // A path that does not exist makes cargo run this script every time, so that the toolchain is
            // found as soon as it is there.
            for absent in toolchain::watched(workspace) {
                println!("cargo::rerun-if-changed={}", absent.display());
            }
            println!("cargo::warning=processguard is built without its kernel programs: {missing}");
            println!("cargo::warning=remedy: cargo xtask setup");
            fs::write(&object, []).map_err(|error| format!("cannot write {}: {error}", object.display()))?;
        }
    }
    println!("cargo::rustc-env=GUARD_EBPF_OBJECT={}", object.display());
    Ok(())
}

/// One directory for all profiles and targets, those of the fuzzers included: all embed the same object, so it is compiled
/// once. Cargo marks the top of a target directory, and the directory of a named target below it.
fn kernel_target_dir(out_dir: &std::path::Path) -> PathBuf {
    let cargos = |dir: &&std::path::Path| {
        fs::read(dir.join("CACHEDIR.TAG")).is_ok_and(|tag| tag.windows(5).any(|word| word == b"cargo"))
    };
    out_dir.ancestors().filter(cargos).last().unwrap_or(out_dir).join("bpf")
}

fn path_from_env(name: &str) -> Result<PathBuf, String> {
    env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("cargo did not set {name}"))
}
