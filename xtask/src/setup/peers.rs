//! Peers that no package of the system's brings: from PyPI and npm, in versions that stay the same, and a root file
//! system with systemd. All below target/peers: what is removed there is brought again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{sh, vm};

/// The newest of November 2026, and what they need besides.
const PYTHON_PACKAGES: &[&str] = &["supervisor==4.3.0", "circus==0.19.0", "setuptools==65.5.0"];
const PM2: &str = "pm2@7.0.4";
/// Whose systemd is measured: 252, the one of Debian 12.
const RELEASE: &str = "bookworm";

fn directory(name: &str) -> PathBuf {
    sh::workspace().join("target/peers").join(name)
}

/// A program of the Python environment.
pub(crate) fn python_program(name: &str) -> Result<PathBuf> {
    there(directory("python/bin").join(name))
}

/// pm2 for the foreground.
pub(crate) fn pm2_program() -> Result<PathBuf> {
    there(directory("pm2/bin/pm2-runtime"))
}

/// The root of a file system that boots systemd.
pub(crate) fn systemd_root() -> Result<PathBuf> {
    let root = directory("systemd");
    // Written last: what was interrupted is made anew.
    there(root.join("etc/processguard-bench")).map(|_| root)
}

fn there(path: PathBuf) -> Result<PathBuf> {
    if !path.exists() {
        bail!("{} is missing; remedy: cargo xtask setup", path.display());
    }
    Ok(path)
}

/// For the table of needs.
pub(super) fn found(place: Result<PathBuf>) -> Option<String> {
    let path = place.ok()?;
    Some(path.strip_prefix(sh::workspace()).unwrap_or(&path).display().to_string())
}

/// A Python that can make environments.
pub(super) fn python() -> Option<String> {
    let python = sh::find_program("python3")?;
    let can = sh::output(Command::new(&python).args(["-c", "import ensurepip, venv"]));
    can.is_ok().then(|| python.display().to_string())
}

/// supervisord and circus.
pub(super) fn python_packages() -> Result<()> {
    let environment = directory("python");
    make_parent(&environment)?;
    sh::quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PYTHON_PACKAGES);
    sh::quietly(&mut pip)
}

/// pm2, without what its packages would run at their installation.
pub(super) fn pm2() -> Result<()> {
    let place = directory("pm2");
    make_parent(&place)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--global", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(&place);
    sh::quietly(npm.arg(PM2))
}

/// A small Debian with systemd, from the mirror that apt is set up for.
pub(super) fn systemd() -> Result<()> {
    let root = directory("systemd");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    make_parent(&root)?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", "--include=systemd,systemd-sysv", RELEASE]).arg(&root);
    sh::quietly(debootstrap.arg(vm::mirror()?))?;
    let mark = root.join("etc/processguard-bench");
    fs::write(&mark, "complete\n").with_context(|| format!("write {}", mark.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().context("no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))
}
