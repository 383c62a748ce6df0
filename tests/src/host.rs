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

/// How large the counts of the tests are: `PROCESSGUARD_SCALE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// `tiny`: what shows that it works at all, for emulated machines.
    Tiny,
    /// `small`: a quick run; also without the variable.
    Small,
    /// `matrix`: the storms as large as the issue states them for emulated machines, all else small.
    Matrix,
    /// `full`: the counts that the issue states.
    Full,
}

impl Scale {
    /// The one that was asked for.
    ///
    /// # Errors
    /// If `PROCESSGUARD_SCALE` is none.
    pub fn wanted() -> Result<Self> {
        match env::var("PROCESSGUARD_SCALE").as_deref() {
            Ok("tiny") => Ok(Self::Tiny),
            Err(_) | Ok("small") => Ok(Self::Small),
            Ok("matrix") => Ok(Self::Matrix),
            Ok("full") => Ok(Self::Full),
            Ok(other) => bail!("PROCESSGUARD_SCALE={other}: not tiny, small, matrix or full"),
        }
    }
}

/// A count of two sizes: what a quick run needs, and what the issue states.
///
/// # Errors
/// If `PROCESSGUARD_SCALE` is no scale.
pub fn scaled<T>(small: T, full: T) -> Result<T> {
    Ok(if Scale::wanted()? == Scale::Full { full } else { small })
}

/// The same, with a third size for a machine on which each turn takes seconds.
///
/// # Errors
/// If `PROCESSGUARD_SCALE` is no scale.
pub fn scaled_down<T>(tiny: T, small: T, full: T) -> Result<T> {
    if Scale::wanted()? == Scale::Tiny { Ok(tiny) } else { scaled(small, full) }
}

/// The spawns of a storm.
///
/// # Errors
/// If `PROCESSGUARD_SCALE` is no scale.
pub fn storm() -> Result<&'static str> {
    Ok(match Scale::wanted()? {
        Scale::Tiny => "400",
        Scale::Small => "3000",
        Scale::Matrix => "15000",
        Scale::Full => "20000",
    })
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
