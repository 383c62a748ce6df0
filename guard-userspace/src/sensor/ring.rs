//! The reader's end of the ring, and how it asks to be woken.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use aya::maps::{MapData, RingBuf};
use guard_common::control::Control;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::shared::SharedArray;

/// The ring and the flag that arms the programs' wake-up.
pub(crate) struct Ring {
    ring: RingBuf<MapData>,
    control: SharedArray<Control>,
    /// The ring's descriptor again, registered with the runtime at the first wait.
    waiter: Option<AsyncFd<OwnedFd>>,
}

impl Ring {
    pub(crate) const fn new(ring: RingBuf<MapData>, control: SharedArray<Control>) -> Self {
        Self { ring, control, waiter: None }
    }

    /// The next record, in ring order, handed to `use_record`. Returns `None` if there is none.
    pub(crate) fn next<T>(&mut self, use_record: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.ring.next().map(|item| use_record(&item))
    }

    /// Waits for a record. First arms, then looks: a program that commits after the look sees the
    /// armed flag and wakes.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        if self.waiter.is_none() {
            let again = self.ring.as_fd().try_clone_to_owned()?;
            // SAFETY: an `OwnedFd` stays open, and the same, until it is dropped.
            self.waiter = Some(unsafe { AsyncFd::register_with_interest(again, Interest::READABLE) }?);
        }
        let Some(waiter) = &self.waiter else { return Ok(()) };
        loop {
            if let Some(armed) = self.control.word(0, 0) {
                armed.store(1, Ordering::SeqCst);
                fence(Ordering::SeqCst);
            }
            if has_data(waiter.get_ref())? {
                return Ok(());
            }
            waiter.readable().await?.clear_ready();
        }
    }
}

/// Whether anything lies in the ring, be it still unfinished.
fn has_data(ring: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(ring, PollFlags::IN)];
    let ready = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(ready > 0)
}
