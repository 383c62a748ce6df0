//! A place for a daemon of its own: directories, a bpf file system for its pinned sensor, a control group. All are gone
//! with it, and whatever the daemon has started.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::sh;

/// How long processes may take to be gone after their control group was killed.
const GONE: Duration = Duration::from_secs(10);

/// The place.
pub(crate) struct Home {
    directory: PathBuf,
    cgroup: String,
}

impl Home {
    /// Makes it: `directory` must not exist, and its path be short, as that of a socket below it must be.
    pub(crate) fn new(directory: PathBuf, cgroup: &str) -> Result<Self> {
        fs::create_dir(&directory).with_context(|| format!("create {}", directory.display()))?;
        let home = Self { directory, cgroup: cgroup.to_owned() };
        for name in ["state", "runtime", "bpf"] {
            fs::create_dir(home.at(name)).with_context(|| home.at(name).display().to_string())?;
        }
        sh::run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(home.at("bpf")))?;
        Ok(home)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.at("socket")
    }

    /// Whether the daemon answers.
    pub(crate) fn answers(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }

    /// A daemon that keeps these policies here.
    pub(crate) fn daemon(&self, processguard: &Path, policies: &Path) -> Command {
        let mut command = Command::new(processguard);
        command.arg("daemon").arg("--policies").arg(policies);
        command.arg("--state").arg(self.at("state")).arg("--runtime").arg(self.at("runtime"));
        command.arg("--socket").arg(self.socket()).args(["--cgroup", &self.cgroup]);
        command.arg("--pins").arg(self.at("bpf").join("processguard"));
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        end_groups(&self.cgroup);
        // What is still mounted or cannot be removed is seen.
        _ = Command::new("umount").arg(self.at("bpf")).status();
        _ = fs::remove_dir_all(&self.directory);
    }
}

/// Kills all that is in the control groups of this name, in every hierarchy, and removes them.
pub(crate) fn end_groups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for group in std::iter::once(root.to_owned()).chain(hierarchies).map(|hierarchy| hierarchy.join(name)) {
        let deadline = Instant::now() + GONE;
        while group.is_dir() && Instant::now() < deadline {
            // Only version 2 can do this; what is in the groups of version 1 is also in one of version 2.
            if group.join("cgroup.kill").exists() {
                _ = fs::write(group.join("cgroup.kill"), "1");
            }
            remove(&group);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// From the leaves up; one that is busy stays.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    _ = fs::remove_dir(group);
}
