//! SIGINT, SIGTERM and SIGHUP as a request to finish.
//!
//! The handler is our own and not tokio's for one reason: it is installed without `SA_RESTART`, so
//! that a write to a pipe that nobody empties (`trace | less`) is interrupted too, instead of keeping
//! the program alive for ever.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Listens for the signals. Only one may exist at a time.
#[derive(Debug)]
pub struct Stop {
    wake: OwnedFd,
}

impl Stop {
    /// Installs the handlers.
    ///
    /// # Errors
    /// If the system refuses, which it has no reason to.
    pub fn install() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        REQUESTED.store(false, Ordering::Relaxed);
        WAKE.store(wake.as_raw_fd(), Ordering::Relaxed);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            handle(signal, on_signal as *const () as libc::sighandler_t)?;
        }
        Ok(Self { wake })
    }

    /// Installs the handlers for an event loop: readable once a signal has come.
    ///
    /// # Errors
    /// As [`Stop::install`].
    pub fn listen() -> io::Result<AsyncFd<Self>> {
        let stop = Self::install()?;
        // SAFETY: `Stop` owns its descriptor, and keeps it until it is dropped with the `AsyncFd`.
        Ok(unsafe { AsyncFd::register_with_interest(stop, Interest::READABLE) }?)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // Setting a default action cannot fail for these signals.
            let _ = handle(signal, libc::SIG_DFL);
        }
        WAKE.store(-1, Ordering::Relaxed);
    }
}

impl AsFd for Stop {
    /// Readable once a signal has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl AsRawFd for Stop {
    /// Readable once a signal has come.
    fn as_raw_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }
}

/// Whether a signal has come.
#[must_use]
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

fn handle(signal: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: zero is a value of every field of `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    // SAFETY: the action is valid for the call; its handler only does what is allowed in handlers.
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Only an atomic store and `write`, which are async-signal-safe; `errno` is kept.
extern "C" fn on_signal(_signal: libc::c_int) {
    REQUESTED.store(true, Ordering::Relaxed);
    // SAFETY: the location of this thread's errno is valid as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the buffer is valid for its length; a closed or foreign descriptor cannot be hit,
    // because the number is taken back before the eventfd is closed.
    unsafe { libc::write(WAKE.load(Ordering::Relaxed), one.as_ptr().cast(), one.len()) };
    // SAFETY: as above.
    unsafe { *errno = before };
}
