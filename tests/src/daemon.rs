//! `processguard daemon` at a place of its own, started, killed and stopped, and asked by its own client.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;
use tempfile::TempDir;

use crate::{host, sys};

/// State, sockets, pins and a control group of one test's own. The daemon may come and go; with the place all that it has
/// started is gone.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
    cgroup: String,
    /// What each command line begins with: how to get into another mount namespace.
    before: Vec<OsString>,
}

/// A file system with little room.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Takes all the room that there is.
    ///
    /// # Errors
    /// If there is room without end.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.filler()).context("create a file")?;
        for _ in 0..100_000 {
            if file.write_all(&[0; 512]).is_err() {
                return Ok(());
            }
        }
        bail!("{} has room without end", self.0.display())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn make_room(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("remove what fills it")
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Else the directory cannot be removed, which is seen.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A daemon that runs.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    said: PathBuf,
}

impl Place {
    /// A new one.
    ///
    /// # Errors
    /// If no bpf file system can be mounted.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // In /tmp: a socket's path must be short.
        let directory =
            tempfile::Builder::new().prefix("pg-").tempdir_in("/tmp").context("make a directory")?;
        let place =
            Self { directory, cgroup: format!("pg-test-{}-{number}", sys::pid()), before: Vec::new() };
        for name in ["state", "runtime", "policies", "bpf"] {
            fs::create_dir(place.path(name)).with_context(|| format!("create {name}"))?;
        }
        mount("bpf", place.path("bpf"), "bpf", MountFlags::empty(), None)
            .context("mount a bpf file system")?;
        Ok(place)
    }

    /// The same, but the daemon and its clients run in the mount namespace of this process.
    #[must_use]
    pub fn inside_of(mut self, pid: i32) -> Self {
        self.before = vec!["nsenter".into(), format!("--mount=/proc/{pid}/ns/mnt").into(), "--".into()];
        self
    }

    /// Something below it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where policies are, unless others are named.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.path("policies")
    }

    /// Where the daemon is asked.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("api.sock")
    }

    /// The control group of everything, below the root of the hierarchy.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Writes a policy's file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn policy(&self, name: &str, text: &str) -> Result<()> {
        let path = self.policies().join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// The product's command line, in the right namespace.
    ///
    /// # Errors
    /// If it was not built.
    pub fn command(&self) -> Result<Command> {
        let words: Vec<OsString> =
            self.before.iter().cloned().chain([host::processguard()?.into_os_string()]).collect();
        let (program, arguments) = words.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// Starts a daemon on these policies with more arguments; it may not answer yet.
    ///
    /// # Errors
    /// If it does not start.
    pub fn spawn(&self, policies: &Path, more: &[&str]) -> Result<Daemon> {
        self.spawn_with(policies, more, None)
    }

    /// One that dies, as if by `kill -9`, when it passes this point for the first time after its services are up; it answers when this
    /// returns.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_failing(&self, policies: &Path, point: &str) -> Result<Daemon> {
        let mut daemon = self.spawn_with(policies, &[], Some(point))?;
        self.wait_for_answer(&mut daemon)?;
        Ok(daemon)
    }

    fn spawn_with(&self, policies: &Path, more: &[&str], fails_at: Option<&str>) -> Result<Daemon> {
        let said = self.path("daemon.err");
        let log = File::options().create(true).append(true).open(&said).context("create the log")?;
        let mut command = self.command()?;
        command.arg("daemon").arg("--policies").arg(policies);
        command.arg("--state").arg(self.path("state")).arg("--runtime").arg(self.path("runtime"));
        command.arg("--socket").arg(self.socket()).args(["--cgroup", &self.cgroup]);
        command.arg("--pins").arg(self.path("bpf").join("processguard")).args(more);
        if let Some(point) = fails_at {
            command.env("PROCESSGUARD_FAIL_AT", point);
        }
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().context("start the daemon")?;
        Ok(Daemon { child, said })
    }

    /// The same; it answers when this returns.
    ///
    /// # Errors
    /// If it ends instead.
    pub fn start(&self, policies: &Path, more: &[&str]) -> Result<Daemon> {
        let mut daemon = self.spawn(policies, more)?;
        self.wait_for_answer(&mut daemon)?;
        Ok(daemon)
    }

    fn wait_for_answer(&self, daemon: &mut Daemon) -> Result<()> {
        host::wait_for("the daemon's first answer", || {
            daemon.check_running()?;
            Ok(UnixStream::connect(self.socket()).is_ok().then_some(()))
        })
        .with_context(|| daemon.said())
    }

    /// Runs a client's verb for this daemon.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn client(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command()?;
        command.args(arguments).arg("--socket").arg(self.socket());
        command.output().context("run the client")
    }

    /// What a verb says in JSON.
    ///
    /// # Errors
    /// If it fails.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.client(&[arguments, &["--json"]].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {}, {said}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}"))
    }

    /// The control group's directories, in all hierarchies.
    /// The control group in version 2 in which its services are, once the daemon has made it.
    #[must_use]
    pub fn group(&self) -> Option<PathBuf> {
        self.groups().into_iter().find(|group| group.join("cgroup.max.descendants").exists())
    }

    /// A small file system for one of its directories, so that a test can fill it; gone with what is returned.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn small_disk(&self, name: &str, bytes: u32) -> Result<SmallDisk> {
        let path = self.path(name);
        let size = CString::new(format!("size={bytes},mode=0700"))?;
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), Some(size.as_c_str()))
            .with_context(|| format!("mount a tmpfs at {}", path.display()))?;
        Ok(SmallDisk(path))
    }

    /// The process that keeps the logs, if there is one.
    #[must_use]
    pub fn keeper(&self) -> Option<i32> {
        let read = |group: PathBuf| fs::read_to_string(group.join("+keeper/cgroup.procs")).ok();
        self.groups().into_iter().filter_map(read).find_map(|text| text.lines().next()?.parse().ok())
    }

    fn groups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let below = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let all = std::iter::once(root.to_owned()).chain(below).map(|root| root.join(&self.cgroup));
        all.filter(|group| group.is_dir()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let groups = self.groups();
            if groups.is_empty() || Instant::now() > end {
                break;
            }
            for group in groups {
                let kill = group.join("cgroup.kill");
                // Version 1 has no such file; what is there is in version 2 too.
                if kill.exists() {
                    let _ = fs::write(kill, "1");
                }
                remove(&group);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Else the temporary directory cannot be removed, which is seen.
        let _ = unmount(self.path("bpf"), UnmountFlags::DETACH);
    }
}

/// From the leaves up; a group that is busy stays.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

impl Daemon {
    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it and those before it at its place have said.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Checks that it has not ended.
    ///
    /// # Errors
    /// If it has, with what it said.
    pub fn check_running(&mut self) -> Result<()> {
        let ended = self.child.try_wait().context("wait for the daemon")?;
        ensure!(ended.is_none(), "it has ended: {ended:?}, {}", self.said());
        Ok(())
    }

    /// Ends it without a farewell; services stay.
    ///
    /// # Errors
    /// If it had ended before.
    pub fn kill(mut self) -> Result<()> {
        self.check_running()?;
        self.child.kill().context("kill the daemon")?;
        let status = self.child.wait().context("wait for the daemon")?;
        ensure!(status.signal() == Some(libc::SIGKILL), "it ended otherwise: {status}");
        Ok(())
    }

    /// Stops it as a service manager does; services stay.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn stop(mut self) -> Result<()> {
        self.check_running()?;
        sys::kill(self.pid(), libc::SIGTERM)?;
        let status = self.wait()?;
        ensure!(status.success(), "the daemon: {status}, {}", self.said());
        Ok(())
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        host::wait_for("the daemon's end", || self.child.try_wait().context("wait for the daemon"))
            .with_context(|| self.said())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
