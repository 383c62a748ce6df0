//! The kernel's BPF objects, by their numbers, which are never reused.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::host;

/// Numbers of programs, maps and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Maps.
    pub maps: BTreeSet<u64>,
    /// Links.
    pub links: BTreeSet<u64>,
}

impl Objects {
    /// All that exist.
    ///
    /// # Errors
    /// If bpftool is missing or fails.
    pub fn existing() -> Result<Self> {
        Ok(Self { programs: list("prog")?, maps: list("map")?, links: list("link")? })
    }

    /// Those that a process holds open.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn held_by(pid: i32) -> Result<Self> {
        let mut held = Self::default();
        let directory = format!("/proc/{pid}/fdinfo");
        for entry in fs::read_dir(&directory).with_context(|| format!("read {directory}"))? {
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let number =
                |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
            // A link's description also names its program, which the link keeps alive.
            held.links.extend(number("link_id:"));
            held.programs.extend(number("prog_id:"));
            held.maps.extend(number("map_id:"));
        }
        Ok(held)
    }

    /// Those that are in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self {
            programs: &self.programs & &other.programs,
            maps: &self.maps & &other.maps,
            links: &self.links & &other.links,
        }
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self {
            programs: &self.programs - &other.programs,
            maps: &self.maps - &other.maps,
            links: &self.links - &other.links,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn list(kind: &str) -> Result<BTreeSet<u64>> {
    let output = Command::new(host::tool("bpftool")?).args(["-j", kind, "show"]).output();
    let output = output.with_context(|| format!("bpftool {kind} show"))?;
    ensure!(output.status.success(), "bpftool {kind} show: {}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).context("bpftool's output is not JSON")?;
    Ok(list.as_array().into_iter().flatten().filter_map(|object| object.get("id")?.as_u64()).collect())
}
