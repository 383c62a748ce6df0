//! What the tests need of this machine. Nothing is skipped: what is missing fails, with the
//! command that brings it.

use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a test waits for what must come at once, on a machine that does other things too.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The product: `PROCESSGUARD_BIN`, else what `cargo build --release` made.
///
/// # Errors
/// If it was not built, or this is not root.
pub fn processguard() -> Result<PathBuf> {
    ensure!(rustix::process::geteuid().is_root(), "these tests need root: run `sudo -E cargo xtask test`");
    if let Some(path) = env::var_os("PROCESSGUARD_BIN") {
        return Ok(path.into());
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/processguard");
    let target = env::var_os("CARGO_TARGET_DIR").map(|path| Path::new(&path).join("release/processguard"));
    let found = target.into_iter().chain([workspace]).find(|path| path.exists());
    found.context("no processguard: run `cargo build --release`, or `cargo xtask test` instead")
}

/// The program of [`crate::workload`], which cargo builds beside the tests.
///
/// # Errors
/// If it was not built.
pub fn guard_workload() -> Result<PathBuf> {
    let test = env::current_exe().context("current_exe")?;
    let path = test.ancestors().nth(2).context("no target directory")?.join("guard-workload");
    ensure!(path.exists(), "{}: not built", path.display());
    Ok(path)
}

/// Where a tool lies.
///
/// # Errors
/// If it is missing.
pub fn tool(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = places.map(|place| place.join(name)).find(|path| path.exists());
    found.with_context(|| format!("{name} is missing: run `cargo xtask setup`"))
}

/// `small` for a quick run (`PROCESSGUARD_SCALE=small`, the default), `full` for the counts that
/// the issue states (`PROCESSGUARD_SCALE=full`).
///
/// # Errors
/// If `PROCESSGUARD_SCALE` is neither.
pub fn scaled<T>(small: T, full: T) -> Result<T> {
    match env::var("PROCESSGUARD_SCALE").as_deref() {
        Err(_) | Ok("small") => Ok(small),
        Ok("full") => Ok(full),
        Ok(other) => bail!("PROCESSGUARD_SCALE={other}: neither small nor full"),
    }
}

/// How many times slower than the host this machine is: `PROCESSGUARD_SLOWNESS`, which the set-up
/// of an emulated machine says; 1 elsewhere.
///
/// # Errors
/// If it is not a whole number.
pub fn slowness() -> Result<u32> {
    env::var("PROCESSGUARD_SLOWNESS").map_or(Ok(1), |text| {
        text.parse().with_context(|| format!("PROCESSGUARD_SLOWNESS={text}: not a whole number"))
    })
}

/// Tries until there is something.
///
/// # Errors
/// If a try fails, or nothing comes within [`PATIENCE`], on a slower machine in as much longer.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let patience = PATIENCE * slowness()?;
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "{what}: nothing within {patience:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
