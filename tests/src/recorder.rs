//! `processguard record` at a place of its own, started, killed and stopped.

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::host;
use crate::trace::Trace;
use crate::tracer::{Ended, Tracer, trace_command};

/// A bpf file system, a directory for files and a socket, for one test. All are gone with it, and with the
/// file system whatever is pinned there.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
}

impl Place {
    /// A new one.
    ///
    /// # Errors
    /// If no bpf file system can be mounted.
    pub fn new() -> Result<Self> {
        let place = Self { directory: tempfile::tempdir().context("make a temporary directory")? };
        fs::create_dir(place.bpffs()).context("create the mount point")?;
        mount("bpf", place.bpffs(), "bpf", MountFlags::empty(), None).context("mount a bpf file system")?;
        Ok(place)
    }

    /// Where the bpf file system is mounted.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.directory.path().join("bpf")
    }

    /// Where the sensor is pinned.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs().join("processguard")
    }

    /// Where the recording is.
    #[must_use]
    pub fn recording(&self) -> PathBuf {
        self.directory.path().join("recording")
    }

    /// Where to subscribe.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// The command line of a recorder here.
    ///
    /// # Errors
    /// If the product was not built.
    pub fn record_command(&self, arguments: &[&str]) -> Result<Vec<OsString>> {
        let mut command = vec![host::processguard()?.into_os_string(), "record".into()];
        command.extend([self.recording().into(), "--pins".into(), self.pins().into()]);
        command.extend(["--socket".into(), self.socket().into()]);
        command.extend(arguments.iter().map(OsString::from));
        Ok(command)
    }

    /// Starts a recorder, which may not be at work yet.
    ///
    /// # Errors
    /// If it does not start.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Tracer> {
        Tracer::spawn(&self.record_command(arguments)?)
    }

    /// Starts a recorder; it is at work when this returns: a subscriber is served.
    ///
    /// # Errors
    /// If it ends instead.
    pub fn record(&self, arguments: &[&str]) -> Result<Tracer> {
        let mut recorder = self.spawn(arguments)?;
        let served = host::wait_for("the recorder's first answer", || {
            recorder.check_running()?;
            Ok(self.greeting().ok())
        });
        served.context("the recorder does not answer")?;
        Ok(recorder)
    }

    /// The first bytes that a subscriber gets.
    fn greeting(&self) -> Result<[u8; 8]> {
        let mut stream = UnixStream::connect(self.socket()).context("connect")?;
        let mut bytes = [0; 8];
        std::io::Read::read_exact(&mut stream, &mut bytes).context("read")?;
        Ok(bytes)
    }

    /// What the recording tells, all of it, in JSON.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn replay(&self, arguments: &[&str]) -> Result<Trace> {
        let recording = self.recording();
        let mut command = trace_command(&["--format", "json", "--input"])?;
        command.push(recording.into());
        command.extend(arguments.iter().map(OsString::from));
        let (program, arguments) = command.split_first().context("no program")?;
        // As long as it takes: a recording may be large, and this machine slow.
        let ended = Command::new(program).args(arguments).output().context("run processguard trace")?;
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.success(), "the replay: {}, {stderr}", ended.status);
        Trace::parse(ended.stdout, stderr)
    }

    /// Runs `processguard sensor VERB` for this place.
    ///
    /// # Errors
    /// If it does not start.
    pub fn sensor(&self, verb: &[&str]) -> Result<Output> {
        let mut command = Command::new(host::processguard()?);
        command.arg("sensor").args(verb).arg("--pins").arg(self.pins());
        command.output().context("run processguard sensor")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Else the temporary directory cannot be removed, which is seen.
        let _ = unmount(self.bpffs(), UnmountFlags::DETACH);
    }
}

/// Stops a recorder as a service manager does.
///
/// # Errors
/// If it does not end well.
pub fn stop(mut recorder: Tracer) -> Result<Ended> {
    recorder.signal(libc::SIGTERM)?;
    let ended = recorder.wait()?;
    ensure!(ended.status.success(), "the recorder: {}, {:?}", ended.status, ended.stderr);
    Ok(ended)
}

/// The files of a recording.
///
/// # Errors
/// If the directory cannot be read.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}
