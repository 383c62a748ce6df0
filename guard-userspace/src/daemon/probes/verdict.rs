//! What a question ends in if it is not answered well, and the time that it has.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use guard_core::policy::model::{Span, span};
use guard_core::supervise::Answer;
use rustix::io::Errno;
use tokio::time::{Instant, timeout_at};

/// Not as it should be. The text is what people read; it names no check, for whoever tells it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::daemon) enum Bad {
    /// The service's fault.
    #[error("{0}")]
    Fail(String),
    /// Our own trouble: it says nothing about the service.
    #[error("{0}")]
    Own(String),
}

impl Bad {
    pub(super) fn fail<T>(text: impl Into<String>) -> Result<T, Self> {
        Err(Self::Fail(text.into()))
    }

    pub(super) fn own<T>(text: impl Into<String>) -> Result<T, Self> {
        Err(Self::Own(text.into()))
    }

    /// What a connection to that address ended in.
    pub(in crate::daemon) fn of_io(error: &io::Error, address: SocketAddr) -> Self {
        let text = match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("connection refused by {address}"),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                format!("connection reset by {address}")
            }
            io::ErrorKind::UnexpectedEof => {
                format!("{address} closed the connection before its answer was complete")
            }
            _ => format!("{address}: {}", system(error)),
        };
        if is_our_own(error) { Self::Own(text) } else { Self::Fail(text) }
    }
}

impl From<Bad> for Answer {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Fail(text) => Self::Fail(text),
            Bad::Own(text) => Self::Error(text),
        }
    }
}

/// What this host lacks, and not whoever was asked: descriptors, memory, ports, permission.
fn is_our_own(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let lacks = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::AFNOSUPPORT,
        Errno::PERM,
        Errno::ACCESS,
    ];
    errno.is_some_and(|errno| lacks.contains(&errno))
}

/// The system's words, without the number that Rust adds.
pub(in crate::daemon) fn system(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    match (letters.next(), error.raw_os_error()) {
        // `Permission denied` in the middle of a sentence.
        (Some(first), Some(_)) => first.to_lowercase().chain(letters).collect(),
        _ => words.to_owned(),
    }
}

/// Until when an answer must be there, and how long that was from the beginning.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) struct Deadline {
    at: Instant,
    span: Span,
}

impl Deadline {
    /// So many nanoseconds from now.
    pub(in crate::daemon) fn after(span: Span) -> Self {
        Self { at: Instant::now() + Duration::from_nanos(span), span }
    }

    pub(super) const fn at(self) -> Instant {
        self.at
    }

    /// An equal part of what is left, for the first of so many attempts.
    pub(super) fn part(self, attempts: usize) -> Instant {
        let left = self.at.saturating_duration_since(Instant::now());
        let attempts = u32::try_from(attempts).unwrap_or(u32::MAX).max(1);
        Instant::now() + left / attempts
    }

    /// `no answer within 1s`.
    pub(super) fn missed(self, what: impl fmt::Display) -> Bad {
        Bad::Fail(format!("no {what} within {}", span(self.span)))
    }

    /// What `future` gives, if in time.
    pub(super) async fn of<T>(
        self,
        what: impl FnOnce() -> String,
        future: impl Future<Output = Result<T, Bad>>,
    ) -> Result<T, Bad> {
        timeout_at(self.at, future).await.unwrap_or_else(|_over| Err(self.missed(what())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_our_own_trouble_says_nothing_of_the_service() {
        let address = "127.0.0.1:80".parse().unwrap();
        let bad = |errno: Errno| Bad::of_io(&errno.into(), address);
        assert_eq!(bad(Errno::CONNREFUSED), Bad::Fail("connection refused by 127.0.0.1:80".into()));
        assert_eq!(bad(Errno::CONNRESET), Bad::Fail("connection reset by 127.0.0.1:80".into()));
        assert_eq!(bad(Errno::HOSTUNREACH), Bad::Fail("127.0.0.1:80: no route to host".into()));
        assert_eq!(bad(Errno::MFILE), Bad::Own("127.0.0.1:80: too many open files".into()));
        assert_eq!(
            bad(Errno::ADDRNOTAVAIL),
            Bad::Own("127.0.0.1:80: cannot assign requested address".into())
        );
    }
}
