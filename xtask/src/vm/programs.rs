//! What runs inside: our programs, linked statically, and the tools that the tests call.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{cpio::Archive, machine::list, systemd};
use crate::{cargo, sh};

/// From the host, with the libraries that they need: what the tests call, and a /bin/true that is a file of
/// its own, where busybox has links to itself.
const TOOLS: [(&str, &str); 4] = [
    ("setpriv", "/opt/tools/setpriv"),
    ("unshare", "/opt/tools/unshare"),
    ("bpftool", "/opt/tools/bpftool"),
    ("true", "/bin/true"),
];

/// Mount points of init.sh.
const DIRECTORIES: [&str; 12] =
    ["bin", "sbin", "usr/bin", "usr/sbin", "var/tmp", "root", "proc", "sys", "dev", "tmp", "run", "etc"];

/// Who there is: the bus has a user of its own.
const USERS: &str =
    "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nmessagebus:x:100:\nnogroup:x:65534:\n";

/// Test programs that run inside: what runs on any kernel, and what only a virtual machine can be asked for.
const TARGETS: [&str; 2] = ["host", "vm"];

/// Our programs.
pub(crate) struct Programs {
    processguard: PathBuf,
    workload: PathBuf,
    /// In the order of [`TARGETS`].
    tests: Vec<PathBuf>,
}

impl Programs {
    /// Builds them static: as they are shipped, or, for small counts, in half the time.
    pub(crate) fn build(as_shipped: bool) -> Result<Self> {
        if cfg!(not(target_arch = "x86_64")) {
            bail!("the kernels of the matrix are for x86-64, and so must be what runs in them");
        }
        let messages = build(as_shipped)?;
        let built = |name: &str| {
            let mut found = messages.lines().filter_map(|line| executable(line, name));
            found.next().with_context(|| format!("cargo built no {name}"))
        };
        Ok(Self {
            processguard: built("processguard")?,
            workload: built("guard-workload")?,
            tests: TARGETS.into_iter().map(built).collect::<Result<_>>()?,
        })
    }

    /// The one binary.
    pub(crate) fn processguard(&self) -> &Path {
        &self.processguard
    }

    /// The names of the tests that contain the filter, as `TARGET::NAME`: what every kernel must have run.
    pub(super) fn tests(&self, filter: Option<&str>) -> Result<Vec<String>> {
        let mut tests = Vec::new();
        for (target, program) in TARGETS.iter().zip(&self.tests) {
            let list = sh::output(Command::new(program).args(["--list", "--format", "terse"]))?;
            let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
            tests.extend(names.map(|name| format!("{target}::{name}")));
        }
        tests.retain(|name| filter.is_none_or(|part| name.contains(part)));
        Ok(tests)
    }

    /// The first file system of all machines: each kernel's tests, which run at a scale, each for at most so long.
    pub(super) fn pack(&self, lists: &[(&str, Vec<&str>)], scale: &str, limit: Duration) -> Result<Vec<u8>> {
        let mut archive = Archive::new();
        for directory in DIRECTORIES {
            archive.directory(directory)?;
        }
        archive.file("/init", include_bytes!("init.sh"))?;
        archive.file("/etc/passwd", USERS.as_bytes())?;
        archive.file("/etc/group", GROUPS.as_bytes())?;
        archive.file("/opt/scale", scale.as_bytes())?;
        archive.file("/opt/limit", limit.as_secs().to_string().as_bytes())?;
        for (version, tests) in lists {
            let lines: String = tests.iter().map(|name| format!("{name}\n")).collect();
            archive.file(&list(version), lines.as_bytes())?;
        }
        archive.copy("/opt/processguard", &self.processguard)?;
        // The tests look for the workload where cargo puts it: one directory above their own.
        archive.copy("/opt/guard-workload", &self.workload)?;
        for (target, program) in TARGETS.iter().zip(&self.tests) {
            archive.copy(&format!("/opt/deps/{target}"), program)?;
        }
        let mut libraries = systemd::pack(&mut archive)?;
        for (name, place) in TOOLS.into_iter().chain([("busybox", "/bin/busybox")]) {
            let tool = sh::find_program(name);
            let tool = tool.with_context(|| format!("{name} is missing; remedy: cargo xtask setup"))?;
            archive.copy(place, &tool)?;
            libraries.extend(needed(&tool)?);
        }
        for library in libraries {
            archive.copy(&library, Path::new(&library))?;
        }
        archive.symlink("/bin/sh", "busybox")?;
        archive.finish()
    }
}

/// Builds static programs, and gives cargo's messages.
fn build(as_shipped: bool) -> Result<String> {
    let mut cargo = cargo::release("build", as_shipped);
    cargo.args(["--package", "guard-userspace", "--package", "guard-tests", "--bins"]);
    for target in TARGETS {
        cargo.args(["--test", target]);
    }
    cargo.arg("--message-format=json-render-diagnostics");
    sh::output(cargo.stderr(Stdio::inherit()))
}

/// The program that a line of cargo's messages says was built from the target of this name.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?.get("name")?.as_str()?;
    let path = message.get("executable")?.as_str()?;
    (target == name).then(|| path.into())
}

/// The libraries and the loader that a program needs; none if it is static.
pub(super) fn needed(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(line) = text.lines().find(|line| line.contains("not found")) {
        bail!("{}: {}", program.display(), line.trim());
    }
    Ok(libraries(&text))
}

fn libraries(text: &str) -> Vec<String> {
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(ToOwned::to_owned);
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::{executable, libraries};

    #[test]
    fn libraries_are_what_ldd_says() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f1)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        assert_eq!(libraries(text), ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert_eq!(libraries("\tnot a dynamic executable\n"), [""; 0]);
    }

    #[test]
    fn programs_are_those_that_cargo_names() {
        let line = r#"{"target":{"name":"host"},"executable":"/t/deps/host-1"}"#;
        assert_eq!(executable(line, "host"), Some("/t/deps/host-1".into()));
        assert_eq!(executable(line, "processguard"), None);
        assert_eq!(executable(r#"{"target":{"name":"host"},"executable":null}"#, "host"), None);
        assert_eq!(executable("noise", "host"), None);
    }
}
