//! Where the BPF toolchain is. Shared by guard-userspace's build script and `cargo xtask setup`, so that the
//! two never disagree about what is missing.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The target that guard-ebpf is compiled for.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// Names another compiler than Debian's; a path that does not exist switches it off.
pub(crate) const RUSTC_VARIABLE: &str = "PROCESSGUARD_BPF_RUSTC";

/// The compiler of Debian's package rustc-web, the one with a core library for the BPF target.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The compiler that guard-ebpf is built with.
#[derive(Debug)]
pub(crate) enum Compiler {
    /// Already has core for the target; not a nightly, so it needs RUSTC_BOOTSTRAP.
    WithCore {
        /// The compiler itself, not a rustup proxy.
        rustc: PathBuf,
    },
    /// A rustup nightly with rust-src: core is built from source.
    Nightly,
}

/// A complete toolchain.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// What compiles.
    pub(crate) compiler: Compiler,
    /// bpf-linker, by its full path.
    pub(crate) linker: PathBuf,
}

impl Toolchain {
    /// Files whose change makes another object.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.linker.clone()];
        if let Compiler::WithCore { rustc } = &self.compiler {
            files.push(rustc.clone());
        }
        files
    }
}

/// What a machine lacks for compiling guard-ebpf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missing {
    /// No compiler for the target.
    pub(crate) compiler: bool,
    /// No bpf-linker.
    pub(crate) linker: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.compiler, self.linker) {
            (true, true) => write!(f, "no compiler with core for {TARGET} and no bpf-linker"),
            (true, false) => write!(f, "no compiler with core for {TARGET}"),
            (false, _) => write!(f, "no bpf-linker"),
        }
    }
}

/// Finds the toolchain.
///
/// # Errors
/// What is missing, if anything is.
pub(crate) fn find(workspace: &Path) -> Result<Toolchain, Missing> {
    match (find_compiler(), find_linker(workspace)) {
        (Some(compiler), Some(linker)) => Ok(Toolchain { compiler, linker }),
        (compiler, linker) => Err(Missing { compiler: compiler.is_none(), linker: linker.is_none() }),
    }
}

/// Paths whose appearance can complete the toolchain.
pub(crate) fn watched(workspace: &Path) -> [PathBuf; 2] {
    [debian_rustc(), installed_linker(workspace)]
}

/// The compiler with a core library at hand, else a nightly that can build one.
pub(crate) fn find_compiler() -> Option<Compiler> {
    let rustc = debian_rustc();
    if has_core(&rustc) {
        return Some(Compiler::WithCore { rustc });
    }
    has_nightly_with_source().then_some(Compiler::Nightly)
}

/// bpf-linker as set-up installs it, else one in PATH.
pub(crate) fn find_linker(workspace: &Path) -> Option<PathBuf> {
    let in_path =
        env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    std::iter::once(installed_linker(workspace))
        .chain(in_path.map(|dir| dir.join("bpf-linker")))
        .find(|file| file.is_file())
}

/// Tools stay in the workspace, whatever CARGO_TARGET_DIR says: they are no product of one build.
fn installed_linker(workspace: &Path) -> PathBuf {
    workspace.join("target/tools/bin/bpf-linker")
}

fn debian_rustc() -> PathBuf {
    env::var_os(RUSTC_VARIABLE).map_or_else(|| PathBuf::from(DEBIAN_RUSTC), PathBuf::from)
}

/// A rustup proxy at this path would answer for another compiler: it is told apart by having no core here.
fn has_core(rustc: &Path) -> bool {
    let Some(libdir) = output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]))
    else {
        return false;
    };
    let Ok(entries) = Path::new(&libdir).read_dir() else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn has_nightly_with_source() -> bool {
    let sysroot = output(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]));
    sysroot.is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir())
}

/// The command's trimmed standard output, if it ran and succeeded.
fn output(command: &mut Command) -> Option<String> {
    // A toolchain chosen for the outer build must not choose for this question.
    let result = command.env_remove("RUSTUP_TOOLCHAIN").stderr(Stdio::null()).output().ok()?;
    if !result.status.success() {
        return None;
    }
    String::from_utf8(result.stdout).ok().map(|text| text.trim().to_owned())
}
