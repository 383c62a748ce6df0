//! Points at which a test has the daemon die.
//!
//! `PROCESSGUARD_FAIL_AT=NAME` or `NAME:N` in the daemon's environment: at the N-th passing (the first, if not said) of the point NAME it
//! kills itself as if by `kill -9`. For tests alone; unarmed, a point costs one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment's variable.
pub const VARIABLE: &str = "PROCESSGUARD_FAIL_AT";

#[derive(Debug)]
struct Armed {
    name: String,
    /// Passings that are left.
    left: AtomicU64,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Reads what the environment says. Without this no point does anything.
pub fn arm() {
    let _ = ARMED.set(std::env::var(VARIABLE).ok().and_then(|text| {
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        let left = AtomicU64::new(count.parse().ok().filter(|count| *count > 0)?);
        Some(Armed { name: name.to_owned(), left })
    }));
}

/// Dies here, if it was asked for.
pub fn point(name: &str) {
    if let Some(Some(armed)) = ARMED.get()
        && armed.name == name
        && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        // SAFETY: integers only; it is ourselves.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}
