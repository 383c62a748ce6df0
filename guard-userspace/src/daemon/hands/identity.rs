//! Whom a signal reaches: nobody but a process whose identity was checked while a descriptor held it.
//!
//! ```text
//! pidfd_open(pid)   from now on the descriptor means one process
//! /proc/PID         is it the one that is meant: start time, no kernel thread, not us, nobody above us
//! pidfd: alive?     then the pid was not given to another in between: /proc spoke of the same
//! pidfd_send_signal
//! ```

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use guard_core::ids::ProcId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The kernel's mark of its own threads (`PF_KTHREAD`), in the flags of /proc/PID/stat.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Nobody has so many ancestors.
const GENERATIONS: usize = 4096;

/// Why nothing may be sent.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It has ended.
    #[error("process {0} has ended")]
    Gone(u32),
    /// The pid means another one by now.
    #[error("pid {pid} is another process by now: it was started at tick {found}, not at {expected}")]
    Reused {
        /// The pid.
        pid: u32,
        /// Ticks since boot at which the one that was meant was started.
        expected: u64,
        /// Those of the one that has the pid.
        found: u64,
    },
    /// It is not where it should be.
    #[error("process {pid} is not in {place}")]
    Elsewhere {
        /// Which.
        pid: u32,
        /// The group or program.
        place: String,
    },
    /// Nobody may touch it.
    #[error("process {pid} is {what}: nothing is ever sent to it")]
    Forbidden {
        /// Which.
        pid: u32,
        /// What it is.
        what: &'static str,
    },
    /// The system refuses.
    #[error("cannot {action} process {pid}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Whom.
        pid: u32,
        /// What it said.
        source: io::Error,
    },
}

impl IdentityError {
    /// Where that a process has ended is as good as ending it.
    pub(super) fn unless_gone(self) -> Result<(), Self> {
        match self {
            Self::Gone(_) | Self::Reused { .. } => Ok(()),
            other => Err(other),
        }
    }
}

/// A process that is the one that is meant, for as long as this exists.
#[derive(Debug)]
pub struct Checked {
    pid: u32,
    pidfd: OwnedFd,
}

/// What else must be true of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// It is in this group of cgroup v2, or below it: a path from the root of the hierarchy.
    pub group: Option<&'a Path>,
    /// Device and inode of its program.
    pub program: Option<(u64, u64)>,
}

impl Checked {
    /// Opens a process and makes sure that it is the one.
    ///
    /// # Errors
    /// If it is gone, another one, or one that must not be touched.
    pub fn open(id: ProcId) -> Result<Self, IdentityError> {
        Self::open_expected(id, Expected::default())
    }

    /// As [`Checked::open`], with more that must be true.
    ///
    /// # Errors
    /// As [`Checked::open`], and if that is not true.
    pub fn open_expected(id: ProcId, expected: Expected<'_>) -> Result<Self, IdentityError> {
        Self::check(id.pid, |stat| {
            let ticks = ticks(id.start_ns);
            if stat.start_ticks != ticks {
                return Err(IdentityError::Reused { pid: id.pid, expected: ticks, found: stat.start_ticks });
            }
            if let Some(group) = expected.group.filter(|group| !is_in_group(id.pid, group)) {
                return Err(IdentityError::Elsewhere { pid: id.pid, place: group.display().to_string() });
            }
            let program = |path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
            if let Some(inode) = expected.program
                && program(format!("/proc/{}/exe", id.pid)) != Some(inode)
            {
                return Err(IdentityError::Elsewhere {
                    pid: id.pid,
                    place: "its program any more".to_owned(),
                });
            }
            Ok(())
        })
    }

    /// Opens whoever has this pid now, if `is_meant` says so of it while it is held.
    ///
    /// # Errors
    /// As [`Checked::open`].
    pub fn member(pid: u32, is_meant: impl FnOnce(u32) -> bool) -> Result<Self, IdentityError> {
        Self::check(pid, |_| {
            let elsewhere = || IdentityError::Elsewhere { pid, place: "the group any more".to_owned() };
            is_meant(pid).then_some(()).ok_or_else(elsewhere)
        })
    }

    fn check(
        pid: u32,
        is_meant: impl FnOnce(&Stat) -> Result<(), IdentityError>,
    ) -> Result<Self, IdentityError> {
        let forbidden = |what| IdentityError::Forbidden { pid, what };
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(IdentityError::Gone(pid))?;
        match pid {
            1 => return Err(forbidden("the first process")),
            pid if pid == std::process::id() => return Err(forbidden("the daemon itself")),
            pid if sacred().contains(&pid) => return Err(forbidden("an ancestor of the daemon")),
            _ => {}
        }
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(|error| match error {
            // EINVAL: the number of a thread that leads no process.
            rustix::io::Errno::SRCH | rustix::io::Errno::INVAL => IdentityError::Gone(pid),
            error => IdentityError::System { action: "open", pid, source: error.into() },
        })?;
        let stat = Stat::read(pid).ok_or(IdentityError::Gone(pid))?;
        if stat.flags & KERNEL_THREAD != 0 {
            return Err(forbidden("a thread of the kernel"));
        }
        is_meant(&stat)?;
        if has_ended(pidfd.as_fd()) {
            return Err(IdentityError::Gone(pid));
        }
        Ok(Self { pid, pidfd })
    }

    /// Sends a signal. `value` is seen by whoever gets it and by the kernel's record of it: `si_value`, with `SI_QUEUE`.
    ///
    /// # Errors
    /// If it has ended, or the system refuses.
    pub fn send(&self, signal: i32, value: Option<u64>) -> Result<(), IdentityError> {
        let info = value.map(|value| Queued {
            signal,
            error: 0,
            code: libc::SI_QUEUE,
            _gap: 0,
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
            value,
            _rest: [0; 12],
        });
        let pointer = info.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the descriptor is open; the pointer is null or to a whole siginfo_t that outlives the call.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal, pointer, 0) };
        if sent == 0 {
            return Ok(());
        }
        let source = io::Error::last_os_error();
        match source.raw_os_error() {
            Some(libc::ESRCH) => Err(IdentityError::Gone(self.pid)),
            _ => Err(IdentityError::System { action: "send a signal to", pid: self.pid, source }),
        }
    }

    /// Its pid.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The descriptor: readable once it has ended.
    #[must_use]
    pub fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }
}

impl AsFd for Checked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// A `siginfo_t` with a value, as 64-bit kernels have it.
#[repr(C)]
struct Queued {
    signal: i32,
    error: i32,
    code: i32,
    _gap: i32,
    pid: u32,
    uid: u32,
    value: u64,
    _rest: [u64; 12],
}

const _: () = assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>());

/// What /proc/PID/stat says of a process.
pub(crate) struct Stat {
    parent: u32,
    pub(crate) group: u32,
    flags: u32,
    pub(crate) start_ticks: u64,
}

impl Stat {
    pub(crate) fn read(pid: u32) -> Option<Self> {
        let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let end = bytes.iter().rposition(|&byte| byte == b')')?;
        let text = std::str::from_utf8(bytes.get(end + 2..)?).ok()?;
        let mut fields = text.split(' ');
        // state ppid pgrp session tty_nr tpgid flags ... starttime is field 22 of proc(5).
        let parent = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let flags = fields.nth(3)?.parse().ok()?;
        let start_ticks = fields.nth(12)?.parse().ok()?;
        Some(Self { parent, group, flags, start_ticks })
    }
}

/// Ticks since boot, as /proc has them: 10 ms each.
pub(crate) fn ticks(start_ns: u64) -> u64 {
    start_ns / (1_000_000_000 / procfs::ticks_per_second())
}

/// Whom nobody may touch: the first process, ourselves, and all above us. Read each time, since whoever loses its parent
/// gets another one.
pub(crate) fn sacred() -> Vec<u32> {
    let mut found = vec![1, std::process::id()];
    let mut pid = std::process::id();
    while let Some(stat) = Stat::read(pid) {
        if stat.parent == 0 || found.len() > GENERATIONS {
            break;
        }
        pid = stat.parent;
        found.push(pid);
    }
    found
}

/// Whether a process is in a group of cgroup v2, named by its path from the root of the hierarchy, or below it.
pub(crate) fn is_in_group(pid: u32, group: &Path) -> bool {
    let below = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
    group_of(pid).is_some_and(|path| below(Path::new(&path)).starts_with(below(group)))
}

/// The path of a process's group of cgroup v2, from the root of the hierarchy.
pub(crate) fn group_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Whether the process of this descriptor has ended, to its last thread.
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut descriptors = [PollFd::new(&pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut descriptors, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests;
