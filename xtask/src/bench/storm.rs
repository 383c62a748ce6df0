//! The load: `guard-workload storm` spawns a tiny static program as fast as it can.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::sh;

/// How hard to storm, and with what.
pub(super) struct Storm {
    pub(super) workload: PathBuf,
    /// Spawns.
    pub(super) count: u64,
    /// Threads that spawn.
    pub(super) parallel: u64,
}

/// What a storm did.
pub(super) struct Outcome {
    pub(super) spawned: u64,
    /// From the first spawn to the end of the last child.
    pub(super) seconds: f64,
}

impl Storm {
    pub(super) fn run(&self) -> Result<Outcome> {
        self.run_with(&mut Command::new(&self.workload))
    }

    /// The same, with its children below `scratch` and the truth about each written to `truth`.
    pub(super) fn run_with_truth(&self, scratch: &Path, truth: &Path) -> Result<Outcome> {
        let mut command = Command::new(&self.workload);
        command.env("TMPDIR", scratch);
        let storm = self.arguments(&mut command);
        storm.arg("--truth").arg(truth);
        Self::read(&sh::output(storm)?)
    }

    fn run_with(&self, command: &mut Command) -> Result<Outcome> {
        Self::read(&sh::output(self.arguments(command))?)
    }

    fn arguments<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let (count, parallel) = (self.count.to_string(), self.parallel.to_string());
        command.args(["storm", "--count", &count, "--parallel", &parallel])
    }

    fn read(said: &str) -> Result<Outcome> {
        let said: Value = serde_json::from_str(said).context("what the storm said")?;
        let spawned = said.get("spawned").and_then(Value::as_u64).context("the storm did not say spawned")?;
        let seconds = said.get("seconds").and_then(Value::as_f64).context("the storm did not say seconds")?;
        ensure!(spawned > 0 && seconds > 0.0, "the storm spawned nothing");
        Ok(Outcome { spawned, seconds })
    }
}
