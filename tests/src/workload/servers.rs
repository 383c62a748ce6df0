//! Servers that get worse: one leaks, one stops answering, one listens late.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::lives::began;
use super::{Args, http};
use crate::sys;

/// How often a leak grows and a job makes progress.
const TICK: Duration = Duration::from_millis(100);

/// `leaky-worker --port N [--leak MIB] [--upto MIB] [--slower-ms MS] [--only-port N]`: a server whose `/health` is
/// always good, and which leaks so much each second until it has lost so much; each MiB makes its answers slower by so
/// many milliseconds. With `--only-port` other ports do not leak.
pub(super) fn leaky(args: &Args) -> Result<()> {
    let port: u16 = args.number("port", 8080)?;
    let only: u16 = args.number("only-port", port)?;
    let leak: f64 = if only == port { args.number("leak", 0.0)? } else { 0.0 };
    let (upto, slower): (f64, f64) = (args.number("upto", f64::MAX)?, args.number("slower-ms", 0.0)?);
    // Rust's own handler lets a process live on after the first SIGSEGV that no fault of its own has made.
    sys::take_signal(libc::SIGSEGV, sys::Disposition::Default)?;
    let listener = http::listen(port)?;
    began(args, "leaky-worker", json!({ "port": port, "leak": leak }))?;
    let lost = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&lost);
    thread::spawn(move || leak_for_ever(leak, upto, &counter));
    let handler = move |_: &str| {
        let mib = lost.load(Ordering::Relaxed) >> 20;
        thread::sleep(Duration::from_secs_f64(mib as f64 * slower / 1e3));
        Some((200, format!("lost {mib} MiB\n")))
    };
    http::serve(&listener, Arc::new(handler))
}

fn leak_for_ever(per_second: f64, upto: f64, lost: &AtomicU64) {
    let (began, mut kept) = (Instant::now(), Vec::new());
    loop {
        thread::sleep(TICK);
        let wanted = (began.elapsed().as_secs_f64() * per_second).min(upto) * f64::from(1 << 20);
        let missing = wanted as u64 - lost.load(Ordering::Relaxed);
        // Written to, else it is only a promise.
        kept.push(vec![1_u8; usize::try_from(missing).unwrap_or(0)]);
        black_box(&kept);
        lost.fetch_add(missing, Ordering::Relaxed);
    }
}

/// `hanger [--port N] [--heartbeat FILE] [--after-ms MS] [--unless FILE] [--deaf]`: a server that answers, and a job that
/// changes a file, until so much time has passed; then neither, though it lives on. It never hangs if the file of
/// `--unless` exists, and makes it when it hangs: its next life is healthy. `--deaf`: it ignores SIGTERM from then on.
pub(super) fn hanger(args: &Args) -> Result<()> {
    let hangs = Hangs::new(args)?;
    let fields = json!({ "hangs_after_ms": hangs.after.map(|after| after.as_millis() as u64) });
    if let Some(path) = args.get("heartbeat") {
        beat(&PathBuf::from(path))?;
    }
    if let Some(port) = args.get("port") {
        let listener = http::listen(args.number("port", 0)?).with_context(|| port.display().to_string())?;
        began(args, "hanger", fields)?;
        let since = hangs.began;
        let after = hangs.after;
        let healthy = move || after.is_none_or(|after| since.elapsed() < after);
        let handler = move |_: &str| healthy().then(|| (200, "well\n".to_owned()));
        thread::spawn(move || http::serve(&listener, Arc::new(handler)));
    } else {
        began(args, "hanger", fields)?;
    }
    hangs.work(args)
}

/// When it stops to do anything.
struct Hangs {
    began: Instant,
    after: Option<Duration>,
}

impl Hangs {
    fn new(args: &Args) -> Result<Self> {
        let after = Duration::from_millis(args.number("after-ms", 5_000)?);
        let spared = args.get("unless").is_some_and(|path| PathBuf::from(path).exists());
        Ok(Self { began: Instant::now(), after: (!spared).then_some(after) })
    }

    /// Makes progress until it hangs, and never returns.
    fn work(&self, args: &Args) -> Result<()> {
        let mut hung = false;
        loop {
            if self.after.is_none_or(|after| self.began.elapsed() < after) {
                if let Some(path) = args.get("heartbeat") {
                    beat(&PathBuf::from(path))?;
                }
            } else if !hung {
                hung = true;
                if let Some(path) = args.get("unless") {
                    fs::write(path, "").with_context(|| path.display().to_string())?;
                }
                if args.has("deaf") {
                    sys::take_signal(libc::SIGTERM, sys::Disposition::Ignore)?;
                }
                super::lives::told(args, "hung", json!({}))?;
            }
            thread::sleep(TICK);
        }
    }
}

fn beat(path: &PathBuf) -> Result<()> {
    fs::write(path, format!("{}\n", sys::boottime_ns())).with_context(|| path.display().to_string())
}

/// `listen-late --port N [--after-ms MS]`: a server that listens only after a while.
pub(super) fn listen_late(args: &Args) -> Result<()> {
    let port: u16 = args.number("port", 8080)?;
    began(args, "listen-late", json!({ "port": port }))?;
    thread::sleep(Duration::from_millis(args.number("after-ms", 1_000)?));
    let listener = http::listen(port)?;
    super::lives::told(args, "listens", json!({ "port": port }))?;
    http::serve(&listener, Arc::new(|_: &str| Some((200, "at last\n".to_owned()))))
}
