//! Keys from the terminal, as they are pressed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::keys::{Decoder, Key};

/// How long the rest of a key's sequence may take. A lone Escape is known as such only after this.
const SEQUENCE: Duration = Duration::from_millis(50);

/// Reads keys from a terminal in raw mode.
#[derive(Debug)]
pub(super) struct Input {
    terminal: AsyncFd<Terminal>,
    decoder: Decoder,
}

/// A descriptor that somebody else owns.
#[derive(Debug)]
struct Terminal(RawFd);

impl AsRawFd for Terminal {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Input {
    /// Reads from this terminal, which must stay open.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub(super) fn new(terminal: RawFd) -> io::Result<Self> {
        // SAFETY: the caller keeps the descriptor open; nothing here closes it.
        let terminal = unsafe { AsyncFd::register_with_interest(Terminal(terminal), Interest::READABLE) }?;
        Ok(Self { terminal, decoder: Decoder::default() })
    }

    /// Waits for keys. Dropping the future is safe.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the terminal has gone.
    pub(super) async fn keys(&mut self) -> io::Result<Vec<Key>> {
        loop {
            let ready = if self.decoder.is_waiting() {
                match tokio::time::timeout(SEQUENCE, self.terminal.readable()).await {
                    Ok(ready) => ready,
                    Err(_elapsed) => return Ok(self.decoder.give_up().into_iter().collect()),
                }
            } else {
                self.terminal.readable().await
            };
            let mut ready = ready?;
            // The descriptor belongs to the shell too, and so stays a blocking one.
            match read_now(ready.get_inner().0)? {
                Some(bytes) => return Ok(self.decoder.feed(&bytes)),
                None => ready.clear_ready(),
            }
        }
    }
}

/// What can be read without waiting; `None` if that is nothing.
fn read_now(fd: RawFd) -> io::Result<Option<Vec<u8>>> {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the owner keeps it open.
    let terminal = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut polled = [PollFd::new(&terminal, PollFlags::IN)];
    if poll(&mut polled, Some(&NOW))? == 0 {
        return Ok(None);
    }
    let mut bytes = vec![0; 256];
    let length = rustix::io::read(terminal, &mut bytes)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}
