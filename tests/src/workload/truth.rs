//! The file in which the workload says what truly happened.

use std::fs::{File, OpenOptions};
use std::io::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Args;

/// JSON lines, appended whole: children may write to it too.
pub(super) struct Truth {
    file: Option<File>,
}

impl Truth {
    /// The file of `--truth`; without it, nothing is written.
    pub(super) fn open(args: &Args) -> Result<Self> {
        let Some(path) = args.get("truth") else { return Ok(Self { file: None }) };
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { file: Some(file.with_context(|| format!("open {}", path.display()))?) })
    }

    /// Adds one line.
    pub(super) fn line(&mut self, line: &Value) -> Result<()> {
        self.lines([line.clone()])
    }

    /// Adds many lines at the price of one.
    pub(super) fn lines(&mut self, lines: impl IntoIterator<Item = Value>) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
        file.write_all(text.as_bytes()).context("write the truth")
    }
}
