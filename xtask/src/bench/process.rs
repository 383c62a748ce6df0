//! A contender's process: started quietly, asked what it costs, stopped as a person would.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How long a contender may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A running contender.
pub(super) struct Process {
    child: Child,
    clock: libc::clockid_t,
    /// What it says on standard error.
    pub(super) said: PathBuf,
}

impl Process {
    /// Starts it with its output thrown away, and what it says kept in `said`.
    pub(super) fn start(command: &mut Command, said: &Path) -> Result<Self> {
        let log = File::create(said).with_context(|| said.display().to_string())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // SAFETY: between fork and exec only an async-signal-safe system call without pointers.
        unsafe {
            command.pre_exec(|| {
                // A shell starts what runs in the background deaf to it, and children inherit that.
                match libc::signal(libc::SIGINT, libc::SIG_DFL) {
                    libc::SIG_ERR => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
        }
        // In our process group: a Ctrl-C on our terminal reaches it too, and nothing stays behind.
        let child = command.spawn().with_context(|| format!("cannot start {}", crate::sh::line(command)))?;
        let clock = cpu_clock(child.id()).context("its CPU clock")?;
        Ok(Self { child, clock, said: said.to_owned() })
    }

    /// Processor time of all its threads so far, user and system.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a live timespec, and the child is not yet waited for, so its clock exists.
        if unsafe { libc::clock_gettime(self.clock, &raw mut time) } != 0 {
            return Err(io::Error::last_os_error()).context("its CPU clock");
        }
        Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
    }

    /// The most memory it ever had resident, in bytes.
    pub(super) fn peak_rss(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// The memory that it has resident, in bytes.
    pub(super) fn rss(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).context(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("no {name}"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().with_context(|| name.to_owned())?;
        Ok(kib * 1024)
    }

    /// The BPF programs that it holds open, by id: as programs, or as the links that attach them.
    pub(super) fn programs(&self) -> Result<BTreeSet<u32>> {
        let dir = format!("/proc/{}/fdinfo", self.child.id());
        let mut programs = BTreeSet::new();
        for entry in fs::read_dir(&dir).context(dir)? {
            // A descriptor may be closed while we look.
            let Ok(info) = fs::read_to_string(entry?.path()) else { continue };
            let ids =
                info.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok());
            programs.extend(ids);
        }
        Ok(programs)
    }

    /// Whether it still runs; if not, what it said.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended early ({status}): {}", self.heard());
        }
        Ok(())
    }

    /// What it has said on standard error.
    pub(super) fn heard(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default().trim().to_owned()
    }

    /// Ctrl-C, and waits for the end.
    pub(super) fn stop(self) -> Result<()> {
        self.stop_by(libc::SIGINT)
    }

    /// This signal, and waits for the end.
    pub(super) fn stop_by(mut self, signal: libc::c_int) -> Result<()> {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end that it was asked for.
    pub(super) fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("it did not end within {} s: {}", GRACE.as_secs(), self.heard())
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = self.child.id().cast_signed();
        // SAFETY: the child is not yet waited for, so the number is still its own.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Whatever goes wrong, it is not left behind.
impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(libc::SIGKILL);
            _ = self.child.wait();
        }
    }
}

/// The clock that counts another process's processor time in nanoseconds: /proc counts in 10 ms ticks.
fn cpu_clock(pid: u32) -> io::Result<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: `clock` is a live clockid_t, written only on success.
    match unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) } {
        0 => Ok(clock),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
