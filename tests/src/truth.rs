//! What truly happened, as the workload wrote it down.

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::host;

/// Runs a mode of the workload to its end.
///
/// # Errors
/// If it fails.
pub fn run(arguments: &[&str]) -> Result<Truth> {
    Workload::start(arguments)?.finish()
}

/// A workload that runs.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    directory: TempDir,
}

impl Workload {
    /// Starts a mode of the workload, which waits for [`Workload::finish`] before it begins.
    ///
    /// # Errors
    /// If it does not start.
    pub fn hold(arguments: &[&str]) -> Result<Self> {
        let mut workload = Self::spawn(arguments, true)?;
        let stdout = workload.child.stdout.as_mut().context("no standard output")?;
        let mut line = String::new();
        BufReader::with_capacity(1, stdout).read_line(&mut line).context("wait for the workload")?;
        ensure!(line == "ready\n", "the workload said {line:?} instead of ready");
        Ok(workload)
    }

    /// Starts a mode of the workload, which begins at once.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::spawn(arguments, false)
    }

    fn spawn(arguments: &[&str], hold: bool) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a temporary directory")?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).context("chmod")?;
        let truth = directory.path().join("truth");
        let file = File::create(&truth).with_context(|| format!("create {}", truth.display()))?;
        file.set_permissions(Permissions::from_mode(0o666)).context("chmod")?; // For other users' children.
        let (mode, options) = arguments.split_first().context("no mode")?;
        let mut command = Command::new(host::guard_workload()?);
        command.arg(mode).arg("--truth").arg(&truth).args(hold.then_some("--hold")).args(options);
        // What it leaves behind when it is killed goes with the directory.
        command.env("TMPDIR", directory.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self { child: command.spawn().context("start guard-workload")?, directory })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The pids of a kind that it has written down so far, once they are so many.
    ///
    /// # Errors
    /// If the truth cannot be read.
    pub fn pids(&self, what: &str, count: usize) -> Result<Option<Vec<i32>>> {
        let facts = self.read()?;
        let pids = facts.iter().filter(|fact| fact.is(what)).map(|fact| Ok(i32::try_from(fact.pid()?)?));
        let pids = pids.collect::<Result<Vec<_>>>()?;
        Ok((pids.len() >= count).then_some(pids))
    }

    fn read(&self) -> Result<Vec<Fact>> {
        let text = fs::read_to_string(self.directory.path().join("truth")).context("read the truth")?;
        let lines: serde_json::Result<Vec<Value>> = text.lines().map(serde_json::from_str).collect();
        Ok(lines.context("the truth is not JSON")?.into_iter().map(Fact).collect())
    }

    /// Lets it go and waits for its end.
    ///
    /// # Errors
    /// If it fails.
    pub fn finish(mut self) -> Result<Truth> {
        if let Some(mut stdin) = self.child.stdin.take() {
            // One that does not wait may have ended already.
            let _ = stdin.write_all(b"go\n");
        }
        let pid = self.pid();
        let status = self.child.wait().context("wait for guard-workload")?;
        ensure!(status.success(), "guard-workload: {status}");
        let lines = self.read()?;
        Ok(Truth { workload: pid, lines })
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a workload wrote down.
#[derive(Debug)]
pub struct Truth {
    /// Pid of the workload itself.
    pub workload: i32,
    lines: Vec<Fact>,
}

impl Truth {
    /// The facts of a kind.
    pub fn all<'a>(&'a self, what: &'a str) -> impl Iterator<Item = &'a Fact> {
        self.lines.iter().filter(move |line| line.is(what))
    }

    /// The only fact of its kind.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn one(&self, what: &str) -> Result<&Fact> {
        let mut facts = self.lines.iter().filter(|line| line.is(what));
        let fact = facts.next().with_context(|| format!("no {what:?} in {self:?}"))?;
        ensure!(facts.next().is_none(), "more than one {what:?} in {self:?}");
        Ok(fact)
    }
}

/// One thing that truly happened.
#[derive(Debug)]
pub struct Fact(Value);

impl Fact {
    fn is(&self, what: &str) -> bool {
        self.get("what").as_str() == Some(what)
    }

    fn get(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or(&Value::Null)
    }

    /// A number.
    ///
    /// # Errors
    /// If it is missing.
    pub fn number(&self, key: &str) -> Result<i64> {
        self.get(key).as_i64().with_context(|| format!("no {key} in {}", self.0))
    }

    /// A time in nanoseconds since boot.
    ///
    /// # Errors
    /// If it is missing.
    pub fn time(&self, key: &str) -> Result<u64> {
        self.get(key).as_u64().with_context(|| format!("no {key} in {}", self.0))
    }

    /// A text.
    ///
    /// # Errors
    /// If it is missing.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.get(key).as_str().with_context(|| format!("no {key} in {}", self.0))
    }

    /// A string of bytes.
    ///
    /// # Errors
    /// If it is missing.
    pub fn bytes(&self, key: &str) -> Result<Vec<u8>> {
        as_bytes(self.get(key)).with_context(|| format!("no {key} in {}", self.0))
    }

    /// A list of strings of bytes.
    ///
    /// # Errors
    /// If it is missing.
    pub fn list(&self, key: &str) -> Result<Vec<Vec<u8>>> {
        let list = self.get(key).as_array().and_then(|list| list.iter().map(as_bytes).collect());
        list.with_context(|| format!("no {key} in {}", self.0))
    }

    /// What `wait4` counted.
    ///
    /// # Errors
    /// If it is missing.
    pub fn usage(&self, key: &str) -> Result<u64> {
        self.get("usage")
            .get(key)
            .and_then(Value::as_u64)
            .with_context(|| format!("no usage {key} in {}", self.0))
    }

    /// The process's pid.
    ///
    /// # Errors
    /// If it is missing.
    pub fn pid(&self) -> Result<i64> {
        self.number("pid")
    }

    /// When the process was born.
    ///
    /// # Errors
    /// If it is missing.
    pub fn born(&self) -> Result<RangeInclusive<u64>> {
        Ok(self.time("born_after_ns")?..=self.time("born_before_ns")?)
    }

    /// The exit code, if it exited.
    ///
    /// # Errors
    /// If the status is missing.
    pub fn exit_code(&self) -> Result<Option<i64>> {
        let status = self.status()?;
        Ok(libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status).into()))
    }

    /// The signal that killed it, if one did.
    ///
    /// # Errors
    /// If the status is missing.
    pub fn signal(&self) -> Result<Option<i64>> {
        let status = self.status()?;
        Ok(libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status).into()))
    }

    /// Whether it left a core file.
    ///
    /// # Errors
    /// If the status is missing.
    pub fn core(&self) -> Result<bool> {
        let status = self.status()?;
        Ok(libc::WIFSIGNALED(status) && libc::WCOREDUMP(status))
    }

    fn status(&self) -> Result<i32> {
        i32::try_from(self.number("status")?).context("status")
    }
}

fn as_bytes(list: &Value) -> Option<Vec<u8>> {
    list.as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
}
