//! The journal: journald's stream socket, which takes lines after a header. A file stands in for it.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::file::FileSink;

/// How long journald may take nothing before the file stands in for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it is left alone after that.
const RETRY: Duration = Duration::from_secs(1);
/// The file's bounds: those of a policy that names a file and nothing else.
const FALLBACK_BYTES: u64 = 64 << 20;
const FALLBACK_KEPT: u32 = 5;

#[derive(Debug)]
pub(in crate::daemon::keeper) struct JournalSink {
    header: String,
    path: PathBuf,
    stream: Option<UnixStream>,
    /// Not before then.
    retry: Option<Instant>,
    /// What journald did not take yet, and until when it may.
    waiting: Option<(Vec<u8>, Instant)>,
    fallback: FileSink,
    fallback_path: PathBuf,
    failed: Option<String>,
}

impl JournalSink {
    pub(super) fn new(identifier: &str, path: PathBuf, fallback: PathBuf) -> Self {
        // A header of seven lines: identifier, unit, priority (6: info), whether `<3>` at a line's begin is its priority,
        // and whether it goes to syslog, the kernel's log and the console, too.
        let identifier = identifier.replace('\n', " ");
        Self {
            header: format!("{identifier}\n\n6\n1\n0\n0\n0\n"),
            path,
            stream: None,
            retry: None,
            waiting: None,
            fallback: FileSink::new(fallback.clone(), FALLBACK_BYTES, FALLBACK_KEPT),
            fallback_path: fallback,
            failed: None,
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.fallback.trouble().or_else(|| {
            let error = self.failed.as_ref()?;
            let (journal, file) = (self.path.display(), self.fallback_path.display());
            Some(format!("the journal does not listen at {journal} ({error}); the log goes to {file}"))
        })
    }

    pub(super) fn waits(&self) -> Option<(BorrowedFd<'_>, Instant)> {
        let (_, until) = self.waiting.as_ref()?;
        Some((self.stream.as_ref()?.as_fd(), *until))
    }

    pub(super) fn write(&mut self, bytes: &[u8], now: Instant) -> u64 {
        self.connect(now);
        self.send(bytes, now, now + PATIENCE)
    }

    pub(super) fn resume(&mut self, now: Instant) -> u64 {
        let Some((bytes, until)) = self.waiting.take() else { return 0 };
        if now >= until {
            return self.give_up(&bytes, "it takes nothing", now);
        }
        self.send(&bytes, now, until)
    }

    fn connect(&mut self, now: Instant) {
        if self.stream.is_some() || self.retry.is_some_and(|retry| now < retry) {
            return;
        }
        let connected = UnixStream::connect(&self.path).and_then(|mut stream| {
            stream.set_nonblocking(true)?;
            // Into an empty buffer: it fits.
            stream.write_all(self.header.as_bytes())?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => {
                self.stream = Some(stream);
                self.failed = None;
            }
            Err(error) => self.part(&error.to_string(), now),
        }
    }

    fn send(&mut self, bytes: &[u8], now: Instant, until: Instant) -> u64 {
        let mut rest = bytes;
        let Some(stream) = &mut self.stream else { return self.fallback.write(rest, now) };
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let until = if rest.len() < bytes.len() { now + PATIENCE } else { until };
                    self.waiting = Some((rest.to_vec(), until));
                    return 0;
                }
                // Started anew, perhaps: the next bytes try again.
                Err(error) => return self.give_up(rest, &error.to_string(), now),
            }
        }
        0
    }

    fn give_up(&mut self, rest: &[u8], why: &str, now: Instant) -> u64 {
        self.part(why, now);
        self.fallback.write(rest, now)
    }

    fn part(&mut self, why: &str, now: Instant) {
        self.stream = None;
        self.retry = Some(now + RETRY);
        self.failed = Some(why.to_owned());
    }
}
