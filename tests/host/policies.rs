//! Policies held against what was recorded on another machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use guard_tests::host;

pub(crate) fn policy_test(recording: &Path, policies: &Path, more: &[&str]) -> Result<Output> {
    let mut command = Command::new(host::processguard()?);
    command.args(["policy", "test", "--recording"]).arg(recording).arg("--policies").arg(policies);
    command.args(more).output().context("run processguard policy test")
}

/// The stream was recorded once, on one machine; every machine decides the same, byte by byte.
#[test]
fn the_same_recording_is_decided_the_same_here() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    fs::write(path("shop.json"), include_bytes!("../../policies/recordings/shop/shop.json"))?;
    fs::write(path("policy.yaml"), include_bytes!("../../policies/recordings/shop/policy.yaml"))?;
    fs::write(path("shop.golden"), include_bytes!("../../policies/recordings/shop/shop.golden"))?;
    let golden = path("shop.golden").display().to_string();
    let output = policy_test(&path("shop.json"), &path("policy.yaml"), &["--golden", &golden])?;
    let told = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && told.starts_with("ok "), "{}: {told}", output.status);
    Ok(())
}
