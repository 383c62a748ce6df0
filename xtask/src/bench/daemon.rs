//! `processguard daemon` in a place of its own, with whatever it has started ended with it.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::process::Process;
use crate::sh;

/// How long it may take until it answers: it loads and attaches the kernel programs first.
const START: Duration = Duration::from_secs(30);

/// How long processes may take to be gone after their control group was killed.
const GONE: Duration = Duration::from_secs(10);

/// A daemon at work.
pub(super) struct Daemon {
    pub(super) process: Process,
    place: Home,
}

/// Its directory, with a bpf file system of its own for the pinned sensor, and its control group.
struct Home {
    directory: PathBuf,
    cgroup: String,
}

impl Daemon {
    /// Starts it below `directory` with these policies; it answers when this returns.
    pub(super) fn start(processguard: &Path, directory: &Path, policies: &str) -> Result<Self> {
        let place = Home::new(directory)?;
        fs::write(place.at("policies").join("bench.yaml"), policies).context("write the policies")?;
        let mut command = Command::new(processguard);
        command.arg("daemon");
        for name in ["policies", "state", "runtime"] {
            command.arg(format!("--{name}")).arg(place.at(name));
        }
        command.arg("--socket").arg(place.socket()).args(["--cgroup", &place.cgroup]);
        command.arg("--pins").arg(place.at("bpf").join("processguard"));
        let process = Process::start(&mut command, &directory.join("daemon.err"))?;
        let mut daemon = Self { process, place };
        daemon.wait()?;
        Ok(daemon)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            self.process.check()?;
            if UnixStream::connect(self.place.socket()).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("the daemon did not answer within {} s: {}", START.as_secs(), self.process.heard())
    }

    /// Where it is asked.
    pub(super) fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// Ends it; what it leaves running, as it must, is ended too.
    pub(super) fn stop(self) -> Result<()> {
        self.process.stop_by(libc::SIGTERM)
    }
}

impl Home {
    fn new(directory: &Path) -> Result<Self> {
        let name = directory.file_name().context("no name")?.to_string_lossy();
        let home = Self { directory: directory.join("home"), cgroup: name.into_owned() };
        for name in ["policies", "state", "runtime", "bpf"] {
            fs::create_dir_all(home.at(name)).with_context(|| home.at(name).display().to_string())?;
        }
        sh::run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(home.at("bpf")))?;
        Ok(home)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn socket(&self) -> PathBuf {
        self.at("socket")
    }

    /// Ends all in the control group, and removes it.
    fn end_services(&self) {
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let group = Path::new(root).join(&self.cgroup);
            let deadline = Instant::now() + GONE;
            while group.is_dir() && Instant::now() < deadline {
                _ = fs::write(group.join("cgroup.kill"), "1");
                remove_groups(&group);
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.end_services();
        // What is still mounted or cannot be removed is seen in /tmp.
        _ = Command::new("umount").arg(self.at("bpf")).status();
        _ = fs::remove_dir_all(&self.directory);
    }
}

/// From the leaves up; one that is busy stays.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    _ = fs::remove_dir(group);
}
