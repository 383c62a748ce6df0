//! `processguard trace`, started, known to be attached, and stopped.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::trace::Trace;
use crate::workload::elf;
use crate::{host, sys};

/// A trace that runs.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    directory: TempDir,
}

/// What a trace left behind.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Tracer {
    /// Traces in JSON with more arguments; attached when this returns. The arguments must let
    /// through what a process does that runs as root, outside of any control group.
    ///
    /// # Errors
    /// If it does not start, or shows nothing.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_with(&json(arguments), &mut Sentinel::new("sentinel")?)
    }

    /// Traces for people with more arguments; attached when this returns.
    ///
    /// # Errors
    /// If it does not start, or shows nothing.
    pub fn start_compact(arguments: &[&str]) -> Result<Self> {
        let arguments: Vec<_> = ["--format", "compact"].iter().chain(arguments).collect();
        Self::start_with(&arguments, &mut Sentinel::named("pg-sentinel")?)
    }

    /// Traces with these arguments exactly; attached when this returns, which the sentinel's
    /// traces in the output tell.
    ///
    /// # Errors
    /// If it does not start, or shows nothing.
    pub fn start_with(arguments: &[impl AsRef<OsStr>], sentinel: &mut Sentinel) -> Result<Self> {
        let mut tracer = Self::spawn(&trace_command(arguments)?)?;
        tracer.wait_until_attached(sentinel)?;
        Ok(tracer)
    }

    /// Runs a program (itself, or a wrapper that execs it) with arguments, not yet attached.
    ///
    /// # Errors
    /// If it does not start.
    pub fn spawn(command: &[OsString]) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a temporary directory")?;
        let open = |name: &str| File::create(directory.path().join(name)).context("create a file");
        let (program, arguments) = command.split_first().context("no program")?;
        let child = Command::new(program)
            .args(arguments)
            .stdout(open("stdout")?)
            .stderr(open("stderr")?)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child, directory })
    }

    /// Lets the sentinel act until the output shows it.
    ///
    /// # Errors
    /// If the trace ends instead, or shows nothing.
    pub fn wait_until_attached(&mut self, sentinel: &mut Sentinel) -> Result<()> {
        let path = self.output();
        let output = File::open(&path).context("open the output")?;
        let (mut seen, mut text) = (0, Vec::new());
        let attached = host::wait_for("the trace's first record of the sentinel", || {
            if let Some(status) = self.child.try_wait().context("wait for the trace")? {
                anyhow::bail!("the trace ended at once: {status}");
            }
            sentinel.act()?;
            let length = output.metadata().context("stat the output")?.len();
            let mut more = vec![0; usize::try_from(length - seen)?];
            output.read_exact_at(&mut more, seen).context("read the output")?;
            seen = length;
            text.extend(more);
            Ok(sentinel.is_in(&text).then_some(()))
        });
        attached.with_context(|| format!("standard error: {:?}", self.stderr()))
    }

    /// Checks that it has not ended.
    ///
    /// # Errors
    /// If it has, with what it said.
    pub fn check_running(&mut self) -> Result<()> {
        let ended = self.child.try_wait().context("wait for the trace")?;
        ensure!(ended.is_none(), "it has ended: {ended:?}, {:?}", self.stderr());
        Ok(())
    }

    /// The trace's pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The file with its standard output.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.directory.path().join("stdout")
    }

    fn stderr(&self) -> String {
        let bytes = fs::read(self.directory.path().join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal to the trace itself.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&mut self, number: i32) -> Result<()> {
        self.check_running()?;
        sys::kill(self.pid(), number)
    }

    /// Stops it as Ctrl-C does and reads all that it said in JSON.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn stop(mut self) -> Result<Trace> {
        self.signal(libc::SIGINT)?;
        self.finish()
    }

    /// Ends it without a chance to clean up.
    ///
    /// # Errors
    /// If it had ended before.
    pub fn kill(mut self) -> Result<()> {
        self.signal(libc::SIGKILL)?;
        self.wait().map(drop)
    }

    /// Waits until it ends by itself and reads all that it said in JSON.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn finish(self) -> Result<Trace> {
        let ended = self.wait()?;
        ensure!(ended.status.success(), "the trace: {}, {:?}", ended.status, ended.stderr);
        Trace::parse(ended.stdout, ended.stderr)
    }

    /// Stops it as Ctrl-C does and takes what it said as it is.
    ///
    /// # Errors
    /// If it does not end.
    pub fn interrupt(mut self) -> Result<Ended> {
        self.signal(libc::SIGINT)?;
        self.wait()
    }

    /// Waits until it ends by itself and takes what it said as it is.
    ///
    /// # Errors
    /// If it does not end.
    pub fn wait(mut self) -> Result<Ended> {
        let status = host::wait_for("the trace's end", || self.child.try_wait().context("wait"))
            .with_context(|| format!("standard error: {:?}", self.stderr()))?;
        let stdout = fs::read(self.output()).context("read the output")?;
        Ok(Ended { status, stdout, stderr: self.stderr() })
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // A stopped process takes a kill as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The arguments of a trace in JSON, with more of them.
#[must_use]
pub fn json(arguments: &[&str]) -> Vec<OsString> {
    ["--format", "json"].iter().chain(arguments).map(OsString::from).collect()
}

/// The command line of a trace.
///
/// # Errors
/// If the product was not built.
pub fn trace_command(arguments: &[impl AsRef<OsStr>]) -> Result<Vec<OsString>> {
    let head = [host::processguard()?.into_os_string(), "trace".into()];
    Ok(head.into_iter().chain(arguments.iter().map(OsString::from)).collect())
}

/// Something that happens again and again until the trace shows it.
pub struct Sentinel {
    act: Box<dyn FnMut() -> Result<()>>,
    sign: String,
    _directory: Option<TempDir>,
}

impl Sentinel {
    /// A program with a name of its own (and the caller's choice), run by root.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        Self::run(name, |program| {
            let status = Command::new(program).status().context("run the sentinel")?;
            ensure!(status.success(), "the sentinel: {status}");
            Ok(())
        })
    }

    /// A program whose name (up to 15 bytes) is the sign, for outputs that show no more.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn named(name: &str) -> Result<Self> {
        Ok(Self { sign: name.to_owned(), ..Self::new(name)? })
    }

    /// A program with a name of its own, run by a function.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn run(name: &str, run: impl Fn(&Path) -> Result<()> + 'static) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().context("make a temporary directory")?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).context("chmod")?;
        let sign = directory.path().file_name().context("no name")?.to_string_lossy().into_owned();
        let program = directory.path().join(name);
        elf::write(&program)?;
        Ok(Self { act: Box::new(move || run(&program)), sign, _directory: Some(directory) })
    }

    /// Anything that leaves a sign in the output.
    pub fn doing(sign: impl Into<String>, act: impl FnMut() -> Result<()> + 'static) -> Self {
        Self { act: Box::new(act), sign: sign.into(), _directory: None }
    }

    fn act(&mut self) -> Result<()> {
        (self.act)()
    }

    fn is_in(&self, output: &[u8]) -> bool {
        let sign = self.sign.as_bytes();
        output.windows(sign.len()).any(|window| window == sign)
    }
}
