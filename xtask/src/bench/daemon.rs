//! `processguard daemon` in a place of its own, with whatever it has started ended with it.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::process::Process;
use crate::home::Home;

/// How long it may take until it answers: it loads and attaches the kernel programs first.
const START: Duration = Duration::from_secs(30);

/// A daemon at work.
pub(super) struct Daemon {
    pub(super) process: Process,
    home: Home,
}

impl Daemon {
    /// Starts it below `directory` with these policies; it answers when this returns.
    pub(super) fn start(processguard: &Path, directory: &Path, policies: &str) -> Result<Self> {
        let name = directory.file_name().context("no name")?.to_string_lossy();
        let home = Home::new(directory.join("home"), &name)?;
        let file = home.at("policies.yaml");
        fs::write(&file, policies).context("write the policies")?;
        let process = Process::start(&mut home.daemon(processguard, &file), &directory.join("daemon.err"))?;
        let mut daemon = Self { process, home };
        daemon.wait()?;
        Ok(daemon)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            self.process.check()?;
            if self.home.answers() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("the daemon did not answer within {} s: {}", START.as_secs(), self.process.heard())
    }

    /// Where it is asked.
    pub(super) fn socket(&self) -> PathBuf {
        self.home.socket()
    }

    /// Ends it; what it leaves running, as it must, is ended too.
    pub(super) fn stop(self) -> Result<()> {
        self.process.stop_by(libc::SIGTERM)
    }
}
