//! What outlives us: the directory of pinned objects in the bpf file system, and its lock.
//!
//! ```text
//! /sys/fs/bpf/processguard/            locked (flock) by the one process that reads the ring
//!     v1-3fa9c2d1/                     one sensor; named after the kernel programs that it runs
//!         link_fork ...  prog_fork ...  map_RING ...
//!     new/                             one in the making; it gets its name when it is complete
//! ```
//! Another build with other kernel programs is another version: it makes a directory of its own and takes
//! over from the one that it finds.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, statfs};

use super::bpf;

/// Where sensors are pinned unless told otherwise.
pub const PINS: &str = "/sys/fs/bpf/processguard";

/// `BPF_FS_MAGIC` of the kernel's `magic.h`.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Version of the directory's layout.
const LAYOUT: &str = "v1-";

/// A sensor in the making. The bpf file system reserves names with dots.
const NEW: &str = "new";

/// How long the kernel may take to free a link once its last pin is gone: it does so in the background.
const FREED_WITHIN: Duration = Duration::from_secs(5);

/// How long the lock is asked for.
const LOCKED_WITHIN: Duration = Duration::from_millis(100);

/// Why pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no bpf file system.
    #[error("{} is not in a bpf file system; run `mount -t bpf bpf /sys/fs/bpf`, or name another place with --pins", .0.display())]
    NotBpffs(PathBuf),
    /// It cannot be written.
    #[error("the bpf file system at {} is read-only; run `mount -o remount,rw /sys/fs/bpf`, or name another place with --pins", .0.display())]
    ReadOnly(PathBuf),
    /// Another process reads the ring.
    #[error("the sensor at {} is held by {}; stop that first, or see what it sees with `processguard trace`", base.display(), holder(*.pid))]
    Held {
        /// The directory.
        base: PathBuf,
        /// The holder, if its sensor could be asked.
        pid: Option<u32>,
    },
    /// Something is there that we did not make, or that is damaged.
    #[error("{} is not a sensor of ours, or is damaged: {reason}; `processguard sensor detach` removes what is ours, remove the rest by hand", path.display())]
    Foreign {
        /// What.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl PinError {
    fn system(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path),
            _ => Self::System { action, path, source },
        }
    }

    pub(crate) fn foreign(path: &Path, reason: impl ToString) -> Self {
        Self::Foreign { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// The locked directory.
#[derive(Debug)]
pub struct Pins {
    base: PathBuf,
    /// The directory itself: the lock is on it, and ends with this process.
    _lock: File,
}

impl Pins {
    /// Makes the directory if need be, and locks it.
    ///
    /// # Errors
    /// If it cannot be made, or is locked.
    pub fn lock(base: &Path) -> Result<Self, PinError> {
        let parent = base.parent().unwrap_or(base);
        if !is_bpffs(if base.exists() { base } else { parent }) {
            return Err(PinError::NotBpffs(base.to_owned()));
        }
        let patience = Instant::now();
        loop {
            if let Err(source) = fs::create_dir(base)
                && source.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(PinError::system("create", base)(source));
            }
            let lock = File::open(base).map_err(PinError::system("open", base))?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&lock, base) => return Ok(Self { base: base.to_owned(), _lock: lock }),
                // Whoever had it locked has just removed it.
                Ok(()) => {}
                // Somebody may only be looking whether it is locked, or be about to end.
                Err(rustix::io::Errno::WOULDBLOCK) if patience.elapsed() < LOCKED_WITHIN => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(PinError::Held { base: base.to_owned(), pid: super::pinned::holder(base) });
                }
                Err(source) => return Err(PinError::system("lock", base)(source.into())),
            }
        }
    }

    /// The directory.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Where a sensor of these kernel programs is pinned.
    #[must_use]
    pub fn version(&self, object: &[u8]) -> PathBuf {
        self.base.join(format!("{LAYOUT}{:08x}", crc32fast::hash(object)))
    }

    /// Removes what an earlier beginning, or an earlier removal, left half-done.
    pub(crate) fn clear(&self) -> Result<(), PinError> {
        let new = self.base.join(NEW);
        if new.exists() { remove(&new) } else { Ok(()) }
    }

    /// Begins to pin a new sensor.
    pub(crate) fn begin(&self) -> Result<PathBuf, PinError> {
        self.clear()?;
        let new = self.base.join(NEW);
        fs::create_dir(&new).map_err(PinError::system("create", &new))?;
        Ok(new)
    }

    /// The new sensor is complete: it gets its name.
    pub(crate) fn commit(&self, new: &Path, version: &Path) -> Result<(), PinError> {
        fs::rename(new, version).map_err(PinError::system("rename", new))
    }

    /// Removes the directory itself, if no sensor is left in it.
    pub fn remove_if_empty(&self) {
        // Not empty, or in use by the next one: then it stays.
        let _ = fs::remove_dir(&self.base);
    }
}

/// All sensors below a directory, complete ones and others, in the order of their names.
///
/// # Errors
/// If it cannot be read.
pub fn sensors(base: &Path) -> Result<Vec<PathBuf>, PinError> {
    let entries = match fs::read_dir(base) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(PinError::system("read", base))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry.map_err(PinError::system("read", base))?.path());
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a directory is named like a complete sensor.
#[must_use]
pub fn is_version(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(LAYOUT.as_bytes()))
}

/// Whether a directory is named like anything of ours.
#[must_use]
pub fn is_ours(path: &Path) -> bool {
    is_version(path) || path.file_name().is_some_and(|name| name == NEW)
}

/// Whether somebody holds the lock.
#[must_use]
pub fn is_held(base: &Path) -> bool {
    let Ok(directory) = File::open(base) else { return false };
    flock(&directory, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Removes a sensor's pins, the links first, and waits until the kernel has let go of its hooks. Whoever is killed
/// in the middle leaves something unfinished, and nothing that looks like a whole sensor.
///
/// # Errors
/// If a pin cannot be removed.
pub fn remove(sensor: &Path) -> Result<(), PinError> {
    let new = sensor.with_file_name(NEW);
    if is_version(sensor) {
        if new.exists() {
            remove(&new)?;
        }
        fs::rename(sensor, &new).map_err(PinError::system("rename", sensor))?;
    }
    let detached = detach(&new)?;
    for pin in sensors(&new)? {
        fs::remove_file(&pin).map_err(PinError::system("remove", &pin))?;
    }
    fs::remove_dir(&new).map_err(PinError::system("remove", &new))?;
    wait_until_gone(&detached);
    Ok(())
}

/// Removes the pins of a sensor's links, so that no more records come; its maps stay.
///
/// # Errors
/// If a pin cannot be removed.
pub(crate) fn detach(sensor: &Path) -> Result<Vec<u32>, PinError> {
    let mut links = Vec::new();
    for pin in sensors(sensor)?.iter().filter(|pin| is_link(pin)) {
        if let Ok(id) = bpf::open_pin(pin).and_then(|link| bpf::link_id(link.as_fd())) {
            links.push(id);
        }
        fs::remove_file(pin).map_err(PinError::system("remove", pin))?;
    }
    Ok(links)
}

/// Waits until links are gone, for a while: who else holds one keeps it.
pub(crate) fn wait_until_gone(links: &[u32]) {
    let patience = Instant::now();
    while links.iter().any(|&id| bpf::link_exists(id)) && patience.elapsed() < FREED_WITHIN {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether an open directory is still the one at a path.
fn is_at(directory: &File, path: &Path) -> bool {
    let same = directory.metadata().and_then(|open| Ok(open.ino() == fs::metadata(path)?.ino()));
    same.unwrap_or(false)
}

fn is_link(pin: &Path) -> bool {
    pin.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"link_"))
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.f_type as u64 & 0xffff_ffff == BPF_FS_MAGIC)
}
