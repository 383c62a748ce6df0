//! Fail points: places at which a test has the daemon die, as by `kill -9`.
//!
//! They are in every build, so that what is tested is what is shipped: a point costs one relaxed load of a byte
//! that nobody writes. They are armed by the environment alone:
//!
//! ```text
//! PROCESSGUARD_FAIL_AT=NAME[:NTH]     the NTH time (else the first) that NAME is passed, SIGKILL to ourselves
//! ```
//! This is for tests. Whoever can set the environment of a daemon that runs as root can end it anyway.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The variable that arms a point.
pub const VARIABLE: &str = "PROCESSGUARD_FAIL_AT";

static IS_ARMED: AtomicBool = AtomicBool::new(false);
static ARMED: OnceLock<Armed> = OnceLock::new();

#[derive(Debug)]
struct Armed {
    name: String,
    /// How often it is passed until it kills.
    left: AtomicU64,
}

/// Reads the environment. Once, when the daemon starts; without this nothing ever fires.
pub fn arm() {
    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let armed = parse(&wanted);
    tracing::warn!("{VARIABLE} is set: this daemon will kill itself at {}", armed.name);
    if ARMED.set(armed).is_ok() {
        IS_ARMED.store(true, Ordering::Release);
    }
}

fn parse(wanted: &str) -> Armed {
    let numbered = wanted.rsplit_once(':').and_then(|(name, nth)| Some((name, nth.parse().ok()?)));
    let (name, nth) = numbered.unwrap_or((wanted, 1));
    Armed { name: name.to_owned(), left: AtomicU64::new(nth) }
}

/// A point with a name, such as `state.journal.written`.
#[inline]
pub fn point(name: &str) {
    if IS_ARMED.load(Ordering::Relaxed) {
        pass(name);
    }
}

#[cold]
fn pass(name: &str) {
    let Some(armed) = ARMED.get().filter(|armed| armed.name == name) else { return };
    if armed.left.fetch_sub(1, Ordering::Relaxed) != 1 {
        return;
    }
    // Nobody else is meant than this process itself, which cannot be gone while it asks.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_or_without_a_number() {
        let read = |text: &str| {
            let armed = parse(text);
            (armed.name, armed.left.into_inner())
        };
        assert_eq!(read("state.batch"), ("state.batch".to_owned(), 1));
        assert_eq!(read("state.batch:3"), ("state.batch".to_owned(), 3));
        assert_eq!(read("state:x"), ("state:x".to_owned(), 1));
    }
}
