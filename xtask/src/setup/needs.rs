//! The table of needs: what for, how it is found, and what brings it.

use std::{path::PathBuf, process::Command};

use super::{
    Scope, peers,
    toolchain::{self, Compiler},
};
use crate::{sh, vm};

/// The version that the BPF object is linked with; another one may give another object.
pub(super) const BPF_LINKER: &str = "0.13.0";
/// The newest whose minimum rustc is below the workspace's.
pub(super) const CARGO_DENY: &str = "0.20.2";
/// bpf-linker's LLVM must be able to read what the compiler writes. Debian's rustc 1.96 has LLVM 22; what a
/// nightly 1.101 with LLVM 23 wrote was read and loaded too, which LLVM does not promise.
pub(super) const LLVM: u32 = 22;

/// What the qemu of bookworm-backports is linked with: that is fetched where the system has none that is new enough
/// (`vm/emulator.rs`), and not installed, since Debian 12's own parts of qemu and newer ones exclude each other.
const QEMU_LIBRARIES: &[&str] = &[
    "libaio1",
    "libbpf1",
    "libcapstone4",
    "libfdt1",
    "libfuse3-3",
    "libglib2.0-0",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libibverbs1",
    "libjpeg62-turbo",
    "libnettle8",
    "libnuma1",
    "libpixman-1-0",
    "libpmem1",
    "libpng16-16",
    "librdmacm1",
    "libsasl2-2",
    "libseccomp2",
    "libslirp0",
    "libudev1",
    "liburing2",
    "libvdeplug2",
    "libzstd1",
    "zlib1g",
];

/// One tool.
pub(super) struct Need {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    /// Why anybody would want it.
    pub(super) purpose: &'static str,
    /// Where it is, for people.
    pub(super) find: fn() -> Option<String>,
    pub(super) source: Source,
}

/// What brings a tool.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Debian packages of these names; elsewhere the names are a hint.
    Packages(&'static [&'static str]),
    /// Debian packages, or rustup's nightly with rust-src.
    BpfCompiler(&'static [&'static str]),
    /// A crate, installed below target/tools; these packages are needed to build it.
    BpfLinker(&'static [&'static str]),
    CargoDeny,
    /// A component of the workspace's own toolchain.
    Component(&'static str),
    /// Built or fetched below target/peers by this function.
    Peer(fn() -> anyhow::Result<()>),
}

/// Everything, in the order in which it is installed.
pub(super) const TABLE: &[Need] = &[
    Need {
        name: "C linker",
        scope: Scope::Build,
        purpose: "links every Rust program",
        find: || program("cc"),
        source: Source::Packages(&["gcc", "libc6-dev"]),
    },
    Need {
        name: "BPF compiler",
        scope: Scope::Build,
        purpose: "a rustc with core for bpfel-unknown-none compiles guard-ebpf",
        find: bpf_compiler,
        source: Source::BpfCompiler(&["rustc-web", "libstd-rust-web-dev-bpf"]),
    },
    Need {
        name: "bpf-linker",
        scope: Scope::Build,
        purpose: "links guard-ebpf",
        find: || toolchain::find_linker(&sh::workspace()).map(shown),
        source: Source::BpfLinker(&["llvm-22-dev", "g++", "zlib1g-dev"]),
    },
    Need {
        name: "execsnoop",
        scope: Scope::Test,
        purpose: "oracle and peer for execs",
        find: || program("execsnoop"),
        source: Source::Packages(&["libbpf-tools"]),
    },
    Need {
        name: "exitsnoop",
        scope: Scope::Test,
        purpose: "oracle and peer for exits",
        find: || program("exitsnoop"),
        source: Source::Packages(&["libbpf-tools"]),
    },
    Need {
        name: "bpftrace",
        scope: Scope::Test,
        purpose: "peer in the benchmarks",
        find: || program("bpftrace"),
        source: Source::Packages(&["bpftrace"]),
    },
    Need {
        name: "forkstat",
        scope: Scope::Test,
        purpose: "peer in the benchmarks",
        find: || program("forkstat"),
        source: Source::Packages(&["forkstat"]),
    },
    Need {
        name: "bpftool",
        scope: Scope::Test,
        purpose: "lists programs and maps left behind",
        find: || program("bpftool"),
        source: Source::Packages(&["bpftool"]),
    },
    Need {
        name: "strace",
        scope: Scope::Test,
        purpose: "shows which files the tracer opens",
        find: || program("strace"),
        source: Source::Packages(&["strace"]),
    },
    Need {
        name: "stress-ng",
        scope: Scope::Test,
        purpose: "a workload that we do not control",
        find: || program("stress-ng"),
        source: Source::Packages(&["stress-ng"]),
    },
    Need {
        name: "jq",
        scope: Scope::Test,
        purpose: "examples of the help pipe into it",
        find: || program("jq"),
        source: Source::Packages(&["jq"]),
    },
    Need {
        name: "dbus-daemon",
        scope: Scope::Test,
        purpose: "a bus of the tests' own, on which restarts of units are asked for",
        find: || program("dbus-daemon"),
        source: Source::Packages(&["dbus-daemon"]),
    },
    Need {
        name: "prometheus",
        scope: Scope::Test,
        purpose: "scrapes our metrics",
        find: || program("prometheus"),
        source: Source::Packages(&["prometheus"]),
    },
    Need {
        name: "promtool",
        scope: Scope::Test,
        purpose: "says what is wrong with our metrics",
        find: || program("promtool"),
        source: Source::Packages(&["prometheus"]),
    },
    Need {
        name: "curl",
        scope: Scope::Test,
        purpose: "asks the API as other users",
        find: || program("curl"),
        source: Source::Packages(&["curl"]),
    },
    Need {
        name: "PostgreSQL",
        scope: Scope::Test,
        purpose: "the database of the story orders-db",
        find: postgres,
        source: Source::Packages(&["postgresql-15", "postgresql-client-15"]),
    },
    Need {
        name: "make",
        scope: Scope::Test,
        purpose: "a build as a workload that we do not control",
        find: || program("make"),
        source: Source::Packages(&["make"]),
    },
    Need {
        name: "gcc",
        scope: Scope::Test,
        purpose: "what that build calls",
        find: || program("gcc"),
        source: Source::Packages(&["gcc", "libc6-dev"]),
    },
    Need {
        name: "C++ compiler",
        scope: Scope::Test,
        purpose: "builds libFuzzer",
        find: || program("c++"),
        source: Source::Packages(&["g++"]),
    },
    Need {
        name: "unshare",
        scope: Scope::Test,
        purpose: "namespaces for tests and peers",
        find: || program("unshare"),
        source: Source::Packages(&["util-linux"]),
    },
    Need {
        name: "qemu",
        scope: Scope::Test,
        purpose: "boots the kernels of the matrix",
        find: qemu,
        source: Source::Packages(QEMU_LIBRARIES),
    },
    Need {
        name: "busybox",
        scope: Scope::Test,
        purpose: "what those machines have for a system",
        find: || program("busybox"),
        source: Source::Packages(&["busybox-static"]),
    },
    Need {
        name: "systemd",
        scope: Scope::Test,
        purpose: "runs the shipped unit in those machines",
        find: || systemd().map(shown),
        source: Source::Packages(&["systemd", "dbus"]),
    },
    Need {
        name: "runit",
        scope: Scope::Bench,
        purpose: "peer in the recovery benchmark",
        find: || program("runsv"),
        source: Source::Packages(&["runit"]),
    },
    Need {
        name: "s6",
        scope: Scope::Bench,
        purpose: "peer in the recovery benchmark",
        find: || program("s6-supervise"),
        source: Source::Packages(&["s6"]),
    },
    Need {
        name: "monit",
        scope: Scope::Bench,
        purpose: "peer in the recovery benchmark",
        find: || program("monit"),
        source: Source::Packages(&["monit"]),
    },
    Need {
        name: "podman",
        scope: Scope::Test,
        purpose: "has a container that is restarted, and systemd as pid 1 in the recovery benchmark",
        find: || program("podman"),
        source: Source::Packages(&["podman"]),
    },
    Need {
        name: "runc",
        scope: Scope::Test,
        purpose: "runs podman's containers where crun cannot",
        find: || program("runc"),
        source: Source::Packages(&["runc"]),
    },
    Need {
        name: "debootstrap",
        scope: Scope::Bench,
        purpose: "makes the root file system of that systemd",
        find: || program("debootstrap"),
        source: Source::Packages(&["debootstrap"]),
    },
    Need {
        name: "python3 with venv",
        scope: Scope::Bench,
        purpose: "holds supervisord and circus",
        find: peers::python,
        source: Source::Packages(&["python3", "python3-venv"]),
    },
    Need {
        name: "supervisord",
        scope: Scope::Bench,
        purpose: "peer in the recovery benchmark",
        find: || peers::found(peers::python_program("supervisord")),
        source: Source::Peer(peers::python_packages),
    },
    Need {
        name: "circus",
        scope: Scope::Bench,
        purpose: "peer in the recovery benchmark",
        find: || peers::found(peers::python_program("circusd")),
        source: Source::Peer(peers::python_packages),
    },
    Need {
        name: "npm",
        scope: Scope::Bench,
        purpose: "brings pm2",
        find: || program("npm"),
        source: Source::Packages(&["npm", "nodejs"]),
    },
    Need {
        name: "pm2",
        scope: Scope::Bench,
        purpose: "peer in the recovery benchmark",
        find: || peers::found(peers::pm2_program()),
        source: Source::Peer(peers::pm2),
    },
    Need {
        name: "systemd root",
        scope: Scope::Bench,
        purpose: "peer in the recovery benchmark",
        find: || peers::found(peers::systemd_root()),
        source: Source::Peer(peers::systemd),
    },
    Need {
        name: "rustfmt",
        scope: Scope::Tidy,
        purpose: "checks the format",
        find: || component("fmt"),
        source: Source::Component("rustfmt"),
    },
    Need {
        name: "clippy",
        scope: Scope::Tidy,
        purpose: "checks the code",
        find: || component("clippy"),
        source: Source::Component("clippy"),
    },
    Need {
        name: "cargo-deny",
        scope: Scope::Tidy,
        purpose: "checks licences, sources and duplicates of dependencies",
        find: || cargo_deny().map(shown),
        source: Source::CargoDeny,
    },
];

/// cargo-deny as we install it, else one in PATH.
pub(crate) fn cargo_deny() -> Option<PathBuf> {
    let ours = sh::tools_dir().join("bin/cargo-deny");
    if ours.is_file() { Some(ours) } else { sh::find_program("cargo-deny") }
}

fn program(name: &str) -> Option<String> {
    sh::find_program(name).map(shown)
}

/// The system's, if it is new enough; else that all is there that a fetched one needs.
fn qemu() -> Option<String> {
    if let Some(program) = vm::installed_qemu() {
        return Some(shown(program));
    }
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status}\n"]).args(QEMU_LIBRARIES);
    let states = sh::output(&mut query).ok()?;
    states.lines().all(|state| state == "installed").then(|| "the libraries of a fetched one".to_owned())
}

/// With the units of the bus, which the daemon's package lacks.
fn systemd() -> Option<PathBuf> {
    let files = ["/lib/systemd/system/dbus.service", "/lib/systemd/systemd"].map(PathBuf::from);
    files.iter().all(|file| file.is_file()).then(|| files.into_iter().last()).flatten()
}

/// Debian's version, which is not in the path.
fn postgres() -> Option<String> {
    let program = PathBuf::from("/usr/lib/postgresql/15/bin/postgres");
    program.is_file().then(|| shown(program))
}

fn bpf_compiler() -> Option<String> {
    toolchain::find_compiler().map(|compiler| match compiler {
        Compiler::WithCore { rustc } => shown(rustc),
        Compiler::Nightly => "rustup nightly with rust-src".to_owned(),
    })
}

fn component(name: &str) -> Option<String> {
    let version = sh::output(sh::cargo().args([name, "--version"])).ok()?;
    Some(version.lines().next().unwrap_or(name).to_owned())
}

fn shown(path: PathBuf) -> String {
    path.strip_prefix(sh::workspace()).unwrap_or(&path).display().to_string()
}

/// Where a system LLVM of the right version is, if one is: the prefix that holds its include and lib.
pub(super) fn llvm_prefix() -> Option<PathBuf> {
    // Debian and Ubuntu, Alpine, Fedora; then whatever llvm-config says.
    let usual =
        [format!("/usr/lib/llvm-{LLVM}"), format!("/usr/lib/llvm{LLVM}"), format!("/usr/lib64/llvm{LLVM}")];
    let usual = usual.into_iter().map(PathBuf::from).find(|dir| dir.join("include/llvm-c/Core.h").is_file());
    usual.or_else(|| {
        let config = sh::find_program("llvm-config")?;
        let version = sh::output(Command::new(&config).arg("--version")).ok()?;
        let matches = version.split('.').next() == Some(LLVM.to_string().as_str());
        let prefix = sh::output(Command::new(&config).arg("--prefix")).ok()?;
        matches.then(|| PathBuf::from(prefix))
    })
}
