//! One room: a control group, held open.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use tokio::io::Interest;

use super::{RoomError, RoomName};
use crate::daemon::hands::identity::{self, Checked, IdentityError};
use crate::daemon::hands::watch;

/// Rounds in which a room is emptied where the kernel has no `cgroup.kill`. Frozen, nobody forks: one is enough, unless somebody
/// cannot be frozen, as in an uninterruptible sleep.
const ROUNDS: u32 = 20;

/// How long all in a room may take to be frozen: 20 rounds of it are a second.
const FREEZES_WITHIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A control group, held open: what is done to it is done to this one, and not to a later one of the same name.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    path: PathBuf,
    /// Its path from the root of the hierarchy, as /proc/PID/cgroup has it.
    group: PathBuf,
    directory: OwnedFd,
    /// `cgroup.events`: whether anybody is in it.
    events: File,
    id: u64,
    /// Groups of the same path in v1.
    twins: Vec<PathBuf>,
    /// `cgroup.procs` of each: opened ahead, so that a start need not.
    twin_procs: Vec<File>,
}

impl Room {
    /// Opens the group that is `below` the mount.
    pub(super) fn open(
        name: RoomName,
        mount: &Path,
        below: &Path,
        twins: Vec<PathBuf>,
    ) -> Result<Self, RoomError> {
        let path = mount.join(below);
        let failed = |source| RoomError::Use { action: "open", path: path.clone(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let events = File::open(path.join("cgroup.events")).map_err(failed)?;
        let id = fs::symlink_metadata(&path).map_err(failed)?.ino();
        let twin_procs = twins
            .iter()
            .map(|twin| File::options().write(true).open(twin.join("cgroup.procs")))
            .collect::<io::Result<_>>()
            .map_err(failed)?;
        let group = Path::new("/").join(below);
        Ok(Self { name, path, group, directory, events, id, twins, twin_procs })
    }

    /// Whose it is.
    #[must_use]
    pub const fn name(&self) -> &RoomName {
        &self.name
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path from the root of the hierarchy, with a leading slash: what /proc/PID/cgroup says.
    #[must_use]
    pub fn group(&self) -> &Path {
        &self.group
    }

    /// The kernel's number of the group, which is in its records.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// For `clone3`.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Where a process writes `0` to be in the twins, too.
    pub(crate) fn twin_procs(&self) -> &[File] {
        &self.twin_procs
    }

    /// Where a thread writes `0` to be in the twins by itself.
    pub(crate) fn twin_tasks(&self) -> io::Result<Vec<File>> {
        let open = |twin: &PathBuf| File::options().write(true).open(twin.join("tasks"));
        self.twins.iter().map(open).collect()
    }

    /// Whether nobody is in it or below it. A group that was removed is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !is_populated(self.events.as_fd())
    }

    /// Waits until nobody is in it.
    ///
    /// # Errors
    /// If the system refuses to tell.
    pub async fn wait_empty(&self) -> Result<(), RoomError> {
        if self.is_empty() {
            return Ok(());
        }
        let failed = |source| self.failed("watch", source);
        // A description of its own: the kernel remembers for each up to which change it was read.
        let events = File::open(self.path.join("cgroup.events"));
        let events = match events {
            Ok(events) => watch(events.into(), Interest::PRIORITY).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        while is_populated(events.get_ref().as_fd()) {
            events.ready(Interest::PRIORITY).await.map_err(failed)?.clear_ready();
        }
        Ok(())
    }

    /// Who is in it and below it. Each may be gone by now.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        numbers(&self.path, "cgroup.procs")
    }

    /// Their threads.
    #[must_use]
    pub fn threads(&self) -> Vec<u32> {
        numbers(&self.path, "cgroup.threads")
    }

    /// Kills all who are in it, also those that are forked meanwhile, also if it is frozen.
    ///
    /// # Errors
    /// If somebody is in it who must not be touched, or the system refuses.
    pub fn kill(&self) -> Result<(), RoomError> {
        self.check()?;
        // Not as one that may be created: such a file would be refused, and not found to be missing.
        let kill = File::options().write(true).open(self.path.join("cgroup.kill"));
        match kill.and_then(|mut kill| kill.write_all(b"1")) {
            Ok(()) => Ok(()),
            // Before Linux 5.14; or the group is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.kill_each(None),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(self.failed("kill", error)),
        }
    }

    /// Does so without the kernel's help: frozen, so that nobody forks.
    pub(crate) fn kill_each(&self, value: Option<u64>) -> Result<(), RoomError> {
        let was_frozen = self.is_frozen();
        let mut told = HashSet::new();
        for _ in 0..ROUNDS {
            self.freeze()?;
            let are_all = self.is_frozen_soon();
            self.check()?;
            for pid in self.pids() {
                // Whoever was told is dying, which takes its time where many do.
                if told.insert(pid)
                    && let Ok(member) = self.member(pid)
                {
                    // Gone: not meant.
                    let _ = member.send(libc::SIGKILL, value);
                }
            }
            self.thaw()?;
            if are_all || self.is_empty() {
                break;
            }
        }
        if was_frozen { self.freeze() } else { Ok(()) }
    }

    /// Waits until all in it are frozen, unless that takes too long.
    fn is_frozen_soon(&self) -> bool {
        // A description of its own: the kernel remembers for each up to which change it was read.
        let Ok(events) = File::open(self.path.join("cgroup.events")) else { return false };
        while !says(events.as_fd(), b"frozen 1") {
            let mut changed = [PollFd::new(&events, PollFlags::PRI)];
            if !retry_on_intr(|| poll(&mut changed, Some(&FREEZES_WITHIN))).is_ok_and(|changed| changed > 0) {
                return false;
            }
        }
        true
    }

    /// Somebody who is in it.
    fn member(&self, pid: u32) -> Result<Checked, IdentityError> {
        Checked::member(pid, |pid| identity::is_in_group(pid, &self.group))
    }

    /// Sends a signal to each who is in it `but` one; how many it was sent to.
    ///
    /// # Errors
    /// If somebody is in it who must not be touched.
    pub fn signal(&self, signal: i32, value: Option<u64>, but: Option<u32>) -> Result<usize, RoomError> {
        self.check()?;
        let mut sent = 0;
        for pid in self.pids().into_iter().filter(|&pid| Some(pid) != but) {
            // Gone, or elsewhere: not meant.
            let Ok(member) = self.member(pid) else { continue };
            sent += usize::from(member.send(signal, value).is_ok());
        }
        Ok(sent)
    }

    /// Stops all who are in it, without a signal. Whoever is in a system call goes on to its end.
    ///
    /// # Errors
    /// If somebody is in it who must not be touched, or the system refuses.
    pub fn freeze(&self) -> Result<(), RoomError> {
        self.check()?;
        self.write("cgroup.freeze", "1", "freeze")
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn thaw(&self) -> Result<(), RoomError> {
        self.write("cgroup.freeze", "0", "thaw")
    }

    /// Whether it was frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.freeze")).is_ok_and(|text| text.trim_end() == "1")
    }

    /// Removes it; that it is gone already is fine.
    ///
    /// # Errors
    /// If somebody is in it.
    pub fn remove(&self) -> Result<(), RoomError> {
        for path in self.twins.iter().chain([&self.path]) {
            remove_tree(path).map_err(|source| RoomError::Use {
                action: "remove",
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Nobody is in it whom we must never touch: an operator can move anybody anywhere.
    fn check(&self) -> Result<(), RoomError> {
        let sacred = identity::sacred();
        match self.pids().into_iter().find(|pid| sacred.contains(pid)) {
            Some(pid) => {
                let what = format!("process {pid}, which is the daemon itself or above it");
                Err(RoomError::Forbidden { path: self.path.clone(), what })
            }
            None => Ok(()),
        }
    }

    fn write(&self, file: &str, text: &str, action: &'static str) -> Result<(), RoomError> {
        match fs::write(self.path.join(file), text) {
            Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written.map_err(|source| self.failed(action, source)),
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> RoomError {
        RoomError::Use { action, path: self.path.clone(), source }
    }
}

/// The kernel's word for a group that was removed.
fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

fn is_populated(events: BorrowedFd<'_>) -> bool {
    says(events, b"populated 1")
}

/// Whether `cgroup.events` has this line.
fn says(events: BorrowedFd<'_>, wanted: &[u8]) -> bool {
    let mut text = [0; 64];
    // A group that was removed cannot be read.
    let read = rustix::io::pread(events, &mut text, 0).unwrap_or(0);
    let text = text.get(..read).unwrap_or_default();
    text.split(|&byte| byte == b'\n').any(|line| line == wanted)
}

/// The numbers in a file of a group and of all below it.
fn numbers(path: &Path, file: &str) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(path.join(file))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        // 0: of another pid namespace.
        .filter(|&pid| pid != 0)
        .collect();
    for directory in directories(path) {
        found.extend(numbers(&directory, file));
    }
    found
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.filter(is_directory).map(|entry| entry.path()).collect()
}

/// A service may have made groups below its own.
fn remove_tree(path: &Path) -> io::Result<()> {
    for directory in directories(path) {
        remove_tree(&directory)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
