//! Where log lines go. A sink never makes a service wait for a disk: what it cannot put down is counted, and told in
//! the log itself once there is room again.

mod file;
mod journal;

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Instant;

use super::wire::Target;
use file::FileSink;
use journal::JournalSink;

/// Where a pipe leads.
#[derive(Debug)]
pub(super) enum Sink {
    Null,
    File(FileSink),
    Journal(JournalSink),
}

impl Sink {
    /// `journal`: the socket of journald.
    pub(super) fn new(target: &Target, journal: &Path) -> Self {
        match target {
            Target::Null => Self::Null,
            Target::File { path, max_size, keep } => {
                Self::File(FileSink::new(path.clone(), *max_size, *keep))
            }
            Target::Journal { identifier, fallback } => {
                Self::Journal(JournalSink::new(identifier, journal.to_owned(), fallback.clone()))
            }
        }
    }

    /// Puts bytes down. Returns how many were lost.
    pub(super) fn write(&mut self, bytes: &[u8], now: Instant) -> u64 {
        match self {
            Self::Null => 0,
            Self::File(file) => file.write(bytes, now),
            Self::Journal(journal) => journal.write(bytes, now),
        }
    }

    /// The socket for which it waits, and until when; nothing is to be written to it meanwhile.
    pub(super) fn waits(&self) -> Option<(BorrowedFd<'_>, Instant)> {
        match self {
            Self::Journal(journal) => journal.waits(),
            Self::Null | Self::File(_) => None,
        }
    }

    /// Goes on with what waits. Returns how many bytes were lost.
    pub(super) fn resume(&mut self, now: Instant) -> u64 {
        match self {
            Self::Journal(journal) => journal.resume(now),
            Self::Null | Self::File(_) => 0,
        }
    }

    /// What is wrong with it now.
    pub(super) fn trouble(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::File(file) => file.trouble(),
            Self::Journal(journal) => journal.trouble(),
        }
    }
}

#[cfg(test)]
mod tests;
