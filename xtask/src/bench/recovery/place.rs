//! Where a contender works: a directory with a victim of its own, and the file in which each life of it is written
//! down by itself.

use std::{
    fs,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::sh;

/// How long a contender may take to start, or to bring its victim back: twice what the slowest known one takes in a
/// bad case.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the file is looked at while a victim is waited for. The victim read its clock before it wrote: this
/// costs no accuracy, only 1% of a core.
const LOOK: Duration = Duration::from_millis(2);

/// A directory of its own, gone with everything that runs its victim.
pub(in crate::bench) struct Place {
    directory: PathBuf,
    /// Device and inode of the victim's file: nothing else is ever killed.
    victim: (u64, u64),
}

/// One life of the victim, by its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Life {
    /// As the victim sees it: in a container another one than ours.
    pid: i32,
    /// The first instruction of main, in nanoseconds since boot.
    pub(in crate::bench) began_ns: u64,
}

impl Place {
    /// In /tmp, since a socket's path must be short; `victim` is copied, so that its inode is nobody else's.
    pub(in crate::bench) fn new(name: &str, victim: &Path) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("pg-bench-{}-{name}", std::process::id()));
        fs::create_dir(&directory).with_context(|| format!("create {}", directory.display()))?;
        let mut place = Self { directory, victim: (0, 0) };
        fs::copy(victim, place.program()).context("copy the victim")?;
        fs::write(place.record(), "").context("create the record")?;
        let file = fs::metadata(place.program()).context("the victim")?;
        place.victim = (file.dev(), file.ino());
        Ok(place)
    }

    pub(in crate::bench) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(in crate::bench) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What is to be kept running.
    pub(in crate::bench) fn program(&self) -> PathBuf {
        self.path("victim")
    }

    /// What it writes to: RECORD in its environment, or its argument.
    pub(in crate::bench) fn record(&self) -> PathBuf {
        self.path("record")
    }

    /// Writes a file below the place; its path.
    pub(in crate::bench) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// All lives so far.
    pub(in crate::bench) fn lives(&self) -> Result<Vec<Life>> {
        let text = fs::read_to_string(self.record()).context("read the record")?;
        // A line comes whole, by one write.
        text.lines().map(|line| Life::read(line).with_context(|| format!("record: {line:?}"))).collect()
    }

    /// Waits for the life with this number, counted from 1; it must be the last one.
    pub(in crate::bench) fn wait_for(
        &self,
        number: usize,
        mut check: impl FnMut() -> Result<()>,
    ) -> Result<Life> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let lives = self.lives()?;
            ensure!(lives.len() <= number, "started twice: {lives:?}");
            if let Some(life) = lives.get(number - 1) {
                return Ok(*life);
            }
            check()?;
            thread::sleep(LOOK);
        }
        bail!("not started within {} s", PATIENCE.as_secs())
    }

    /// Kills the victim of this life. The moment just before, in nanoseconds since boot.
    pub(in crate::bench) fn kill(&self, life: Life) -> Result<u64> {
        let mut found = self.running()?.into_iter().filter(|pid| innermost(*pid) == Some(life.pid));
        let pid = found.next().with_context(|| format!("the victim {} does not run", life.pid))?;
        let handle = pidfd(pid).with_context(|| format!("pidfd_open({pid})"))?;
        // Whoever has the number now: is it a victim of this place?
        ensure!(self.is_victim(pid), "{pid} is somebody else now");
        let before = boottime_ns();
        signal(&handle, libc::SIGKILL).with_context(|| format!("kill {pid}"))?;
        Ok(before)
    }

    /// Kills all victims of this place, one right after the other: how many, and the moment before the first.
    pub(in crate::bench) fn kill_all(&self) -> Result<(usize, u64)> {
        let victims = self.running()?;
        let before = boottime_ns();
        for pid in &victims {
            let handle = pidfd(*pid).with_context(|| format!("pidfd_open({pid})"))?;
            ensure!(self.is_victim(*pid), "{pid} is somebody else now");
            signal(&handle, libc::SIGKILL).with_context(|| format!("kill {pid}"))?;
        }
        Ok((victims.len(), before))
    }

    /// The pids, as we see them, of all that run this place's victim.
    fn running(&self) -> Result<Vec<i32>> {
        let entries = fs::read_dir("/proc").context("read /proc")?;
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(pids.filter(|pid| self.is_victim(*pid)).collect())
    }

    fn is_victim(&self, pid: i32) -> bool {
        fs::metadata(format!("/proc/{pid}/exe")).is_ok_and(|file| (file.dev(), file.ino()) == self.victim)
    }

    /// Ends victims that their supervisor has left behind.
    fn sweep(&self) {
        for pid in self.running().unwrap_or_default() {
            if let Ok(handle) = pidfd(pid)
                && self.is_victim(pid)
            {
                // It ends by itself otherwise.
                _ = signal(&handle, libc::SIGKILL);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sweep();
        // What cannot be removed is seen in /tmp.
        _ = fs::remove_dir_all(&self.directory);
    }
}

impl Life {
    fn read(line: &str) -> Option<Self> {
        let (pid, began_ns) = line.split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, began_ns: began_ns.parse().ok()? })
    }
}

/// A C program of this bench, compiled into `scratch`.
pub(in crate::bench) fn compile(name: &str, source: &str, scratch: &Path) -> Result<PathBuf> {
    let (file, program) = (scratch.join(format!("{name}.c")), scratch.join(name));
    fs::write(&file, source).with_context(|| format!("write {}", file.display()))?;
    sh::run(Command::new("cc").args(["-O2", "-static", "-Wall", "-o"]).arg(&program).arg(&file))?;
    Ok(program)
}

/// The pid of a process as the innermost of its namespaces has it.
fn innermost(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back()?.parse().ok()
}

/// Nanoseconds since boot, suspended time included: the victim's clock.
pub(in crate::bench) fn boottime_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; this clock exists on every kernel that we run on.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn pidfd(pid: i32) -> std::io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let number = i32::try_from(number).unwrap_or(-1);
    if number < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel gave us this descriptor just now, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn signal(pidfd: &OwnedFd, number: i32) -> std::io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo the kernel makes its own; the descriptor is open.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, none, 0) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
