//! A container of a real podman: found by its id, and restarted by its runtime on our word.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{closed_incident, service};

/// What podman keeps and is told is its own here: the daemon finds root's default storage, as on a host, and nothing of it stays.
/// The shell then is the namespace's keeper.
const NAMESPACE: &str = r#"
set -e
mkdir -p /var/lib/containers /etc/containers
for directory in /var/lib/containers /etc/containers /run; do mount -t tmpfs tmpfs $directory; done
cat >/etc/containers/containers.conf <<EOF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "none"
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
EOF
cat >/etc/containers/storage.conf <<EOF
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
EOF
echo ready
exec cat"#;

/// The namespace, and what runs containers in it.
struct Podman {
    keeper: Child,
    program: PathBuf,
}

impl Podman {
    fn new() -> Result<Self> {
        let program = host::tool("podman")?;
        host::tool("runc")?;
        let mut unshare = Command::new(host::tool("unshare")?);
        unshare.args(["--mount", "--propagation", "private", "/bin/sh", "-c", NAMESPACE]);
        let mut keeper =
            unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("make a mount namespace")?;
        let mut line = String::new();
        let said = keeper.stdout.as_mut().context("its output")?;
        BufReader::new(said).read_line(&mut line).context("the namespace's word")?;
        let podman = Self { keeper, program };
        ensure!(line == "ready\n", "the namespace was not made: {line:?}");
        Ok(podman)
    }

    fn pid(&self) -> i32 {
        self.keeper.id().cast_signed()
    }

    fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .arg(format!("--mount=/proc/{}/ns/mnt", self.pid()))
            .arg("--")
            .arg(&self.program)
            .args(arguments);
        let output = nsenter.output().context("run podman")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "podman: {}, {complaint}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The first process of the test's container.
    fn main(&self) -> Result<i32> {
        self.run(["inspect", "--format", "{{.State.Pid}}", "box"])?.parse().context("a pid")
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.run(["rm", "--force", "--time", "0", "box"]);
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A system of one program: a shell that writes down that it began, and sleeps.
fn root(place: &Place) -> Result<PathBuf> {
    let root = place.path("root");
    for name in ["bin", "dev", "etc", "out", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(root.join(name)).with_context(|| format!("create {name}"))?;
    }
    fs::copy(host::tool("busybox")?, root.join("bin/busybox")).context("copy busybox")?;
    symlink("busybox", root.join("bin/sh")).context("a link for the shell")?;
    Ok(root)
}

#[test]
fn a_container_that_died_is_restarted_by_podman() -> Result<()> {
    let place = Place::new()?;
    // What is mounted by now is in there too.
    let podman = Podman::new()?;
    let place = place.inside_of(podman.pid());
    let root = root(&place)?;
    let starts = || -> Result<usize> {
        Ok(fs::read_to_string(root.join("out/starts")).unwrap_or_default().lines().count())
    };
    let group = format!("--cgroup-parent=/{}/box", place.cgroup());
    let root_text = root.display().to_string();
    let script = "echo $$ >>/out/starts; exec /bin/busybox sleep 1000";
    let begin = ["run", "--detach", "--name", "box", &group, "--rootfs", &root_text, "/bin/sh", "-c", script];
    let id = podman.run(begin)?;
    place.policy(
        "box.yaml",
        &format!(
            "version: processguard/v1\nservice: box\n\
             adopt: {{ container: {id}, restart_via: {{ container: {{ runtime: podman, name: box }} }} }}\n\
             restart: {{ on: always, backoff: {{ initial: 1ms }} }}\n"
        ),
    )?;
    let daemon = place.start(&place.policies(), &[])?;
    let is_main = |pid: i32| -> Result<Option<()>> {
        let text = service(&place, "box")?;
        let mains = text.get("instances").and_then(Value::as_array).cloned().unwrap_or_default();
        let has = |instance: &Value| instance.pointer("/main/pid") == Some(&Value::from(pid));
        Ok(mains.iter().any(has).then_some(()))
    };
    for life in 1..=2 {
        let pid = podman.main()?;
        host::wait_for("the container's process to be known", || is_main(pid))?;
        sys::kill(pid, libc::SIGKILL)?;
        host::wait_for("the container's next life", || Ok((starts()? > life).then_some(())))?;
        let next = podman.main()?;
        ensure!(next != pid && sys::is_alive(next), "{next} after {pid}");
        host::wait_for("the next life to be known", || is_main(next))?;
        ensure!(starts()? == life + 1, "restarted twice");
    }
    let incident = closed_incident(&place, "box")?.to_string();
    ensure!(incident.contains("SIGKILL") && incident.contains("restart the container"), "{incident}");
    daemon.stop()
}
