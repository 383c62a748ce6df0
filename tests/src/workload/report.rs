//! `report [--what NAME]`: writes what the kernel says of this very process. The program that
//! the path and privilege modes run.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::{Context, Result};
use serde_json::json;

use super::Args;
use super::truth::Truth;
use crate::sys;

pub(super) fn run(args: &Args) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let link = |name: &str| {
        let target = fs::read_link(format!("/proc/self/{name}"));
        target.map(|path| String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned())
    };
    let what = args.get("what").and_then(|what| what.to_str()).unwrap_or("report");
    Truth::open(args)?.line(&json!({
        "what": what,
        "pid": sys::pid(),
        "executable": link("exe").context("read /proc/self/exe")?,
        "working_directory": link("cwd").context("read /proc/self/cwd")?,
        "name": field("Name"),
        "uid": field("Uid"),
        "capabilities": field("CapEff"),
        "cgroups": fs::read_to_string("/proc/self/cgroup").context("read /proc/self/cgroup")?,
    }))
}
