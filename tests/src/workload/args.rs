//! `guard-workload MODE [--key value | --switch]... [-- REST...]`

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};

/// The command line after the mode.
#[derive(Debug, Default)]
pub(super) struct Args {
    options: Vec<(String, OsString)>,
    /// All after `--`.
    pub(super) rest: Vec<OsString>,
}

impl Args {
    /// The mode and its options.
    pub(super) fn parse() -> Result<(String, Self)> {
        let mut words = std::env::args_os().skip(1).peekable();
        let mode = words.next().and_then(|mode| mode.into_string().ok()).context("which mode?")?;
        let mut args = Self::default();
        while let Some(word) = words.next() {
            if word == "--" {
                args.rest = words.collect();
                break;
            }
            let key = word.to_str().and_then(|word| word.strip_prefix("--"));
            let key = key.ok_or_else(|| anyhow!("{}: not an option", word.display()))?.to_owned();
            let value = words.next_if(|word| !word.as_encoded_bytes().starts_with(b"--"));
            args.options.push((key, value.unwrap_or_default()));
        }
        Ok((mode, args))
    }

    /// An option's value.
    pub(super) fn get(&self, key: &str) -> Option<&OsString> {
        self.options.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Whether a switch was given.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A path that must be given.
    pub(super) fn path(&self, key: &str) -> Result<PathBuf> {
        self.get(key).map(PathBuf::from).with_context(|| format!("--{key} PATH is missing"))
    }

    /// A number, or `default` if it was not given.
    pub(super) fn number<T: FromStr>(&self, key: &str, default: T) -> Result<T> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let text = value.to_str().and_then(|text| text.parse().ok());
        text.with_context(|| format!("--{key} {}: not a number", value.display()))
    }
}
