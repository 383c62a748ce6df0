//! The reader's end of the ring, and how it asks to be woken.
//!
//! Layout and protocol: the kernel's `Documentation/bpf/ringbuf.rst`. A page with the position up to
//! which the reader has given room back, a page with the position up to which producers have taken it,
//! then the data, mapped twice in a row so that no record ever wraps: of the second time we take as much as
//! the longest record needs, since what is mapped counts as our memory. Positions only grow.
//!
//! Reading and giving room back are two steps: whoever must not lose a record writes it down in between.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use aya_obj::generated::{BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ};
use guard_common::control::{ARMED, ARMED_FOR_DEATH, Control};
use guard_common::limits::EXEC_LARGE_BYTES;
use guard_common::wire::{CgroupFull, ExecRoom};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::mm::ProtFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::shared::{Mapping, SharedArray};

/// Bytes before each record: its length with two flags, and four that only the kernel uses.
const RECORD_HEADER: usize = BPF_RINGBUF_HDR_SZ as usize;

/// Records begin at multiples of this.
const ALIGNMENT: usize = 8;

/// Bytes of the longest record with its header.
const LONGEST: usize = RECORD_HEADER + size_of::<ExecRoom<EXEC_LARGE_BYTES>>();
const _: () = assert!(LONGEST >= RECORD_HEADER + size_of::<CgroupFull>());

/// The ring and the flag that arms the programs' wake-up.
pub(crate) struct Ring {
    map: OwnedFd,
    /// The reader's page, writable.
    reader: Mapping,
    /// The producers' page and the data.
    producers: Mapping,
    page: usize,
    size: usize,
    /// Up to where records were read.
    cursor: u64,
    /// Up to where producers had taken room when last asked.
    taken: u64,
    control: SharedArray<Control>,
    /// The ring's descriptor again, registered with the runtime at the first wait.
    waiter: Option<AsyncFd<OwnedFd>>,
}

impl Ring {
    /// Maps a ring of `size` bytes. Reading begins at the first record whose room was not given back.
    pub(crate) fn open(map: OwnedFd, size: usize, control: SharedArray<Control>) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let reader = Mapping::new(&map, 0, page, ProtFlags::READ | ProtFlags::WRITE)?;
        let again = LONGEST.next_multiple_of(page).min(size);
        let producers = Mapping::new(&map, page as u64, page + size + again, ProtFlags::READ)?;
        let mut ring =
            Self { map, reader, producers, page, size, cursor: 0, taken: 0, control, waiter: None };
        ring.cursor = ring.released();
        Ok(ring)
    }

    /// The next record, in ring order, handed to `use_record` with the position of its end. Returns
    /// `None` if there is none, or if the next one is not complete yet.
    pub(crate) fn next<T>(&mut self, use_record: impl FnOnce(u64, &[u8]) -> T) -> Option<T> {
        loop {
            if self.cursor >= self.taken {
                self.taken = self.taken();
                if self.cursor >= self.taken {
                    return None;
                }
            }
            let (end, record) = self.at(self.cursor)?;
            let Some(record) = record else {
                self.cursor = end;
                continue;
            };
            let used = use_record(end, record);
            self.cursor = end;
            return Some(used);
        }
    }

    /// The records that [`Ring::next`] will give, as far as they are complete.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = &[u8]> {
        let (mut position, taken) = (self.cursor, self.taken());
        let places = std::iter::from_fn(move || {
            let (end, record) = (position < taken).then(|| self.at(position))??;
            position = end;
            Some(record)
        });
        places.flatten()
    }

    /// The end of the record at a position, and its bytes unless it was discarded. `None` if it is not complete yet.
    fn at(&self, position: u64) -> Option<(u64, Option<&[u8]>)> {
        let place = self.page + (position % self.size as u64) as usize;
        let header = self.producers.at(place, size_of::<u32>())?;
        // SAFETY: an aligned word within the mapping; the producer writes it atomically.
        let header = unsafe { header.cast::<AtomicU32>().as_ref() }.load(Ordering::Acquire);
        if header & BPF_RINGBUF_BUSY_BIT != 0 {
            return None;
        }
        let bytes = (header & !BPF_RINGBUF_DISCARD_BIT) as usize;
        let end = position + (RECORD_HEADER + bytes).next_multiple_of(ALIGNMENT) as u64;
        if header & BPF_RINGBUF_DISCARD_BIT != 0 {
            return Some((end, None));
        }
        let record = self.producers.at(place + RECORD_HEADER, bytes)?;
        // SAFETY: within the mapping; no producer writes it again before its room is given back. Room is given back up to the
        // cursor only, which does not pass a record while `self` is borrowed.
        Some((end, Some(unsafe { std::slice::from_raw_parts(record.as_ptr(), bytes) })))
    }

    /// Up to where records were read.
    pub(crate) const fn position(&self) -> u64 {
        self.cursor
    }

    /// Goes on behind this position, if it is one that the ring can have.
    pub(crate) fn skip_to(&mut self, position: u64) {
        let taken = self.taken();
        if (self.cursor..=taken).contains(&position) && position.is_multiple_of(ALIGNMENT as u64) {
            self.cursor = position;
        }
    }

    /// Bytes whose room is taken: records that nobody has put down yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.taken().saturating_sub(self.released())
    }

    /// Bytes read whose room was not given back.
    pub(crate) fn unreleased(&self) -> u64 {
        self.cursor.saturating_sub(self.released())
    }

    /// Gives the room of all that was read back to the producers.
    pub(crate) fn release(&self) {
        if let Some(released) = word(&self.reader, 0) {
            released.store(self.cursor, Ordering::Release);
        }
    }

    /// Up to where room was given back, by this reader or one before it.
    fn released(&self) -> u64 {
        word(&self.reader, 0).map_or(0, |released| released.load(Ordering::Acquire))
    }

    /// Up to where producers have taken room, for finished records and for those under way.
    pub(crate) fn taken(&self) -> u64 {
        word(&self.producers, 0).map_or(0, |taken| taken.load(Ordering::Acquire))
    }

    /// Waits for a record; what was read must have been released. First arms, then looks: a program
    /// that commits after the look sees the armed flag and wakes.
    ///
    /// While a crowd gathers, only a deadly signal to a watched process is waited for.
    pub(crate) async fn readable(&mut self, gathers: bool) -> io::Result<()> {
        if self.waiter.is_none() {
            let again = self.map.try_clone()?;
            // SAFETY: an `OwnedFd` stays open, and the same, until it is dropped.
            self.waiter = Some(unsafe { AsyncFd::register_with_interest(again, Interest::READABLE) }?);
        }
        let Some(waiter) = &self.waiter else { return Ok(()) };
        loop {
            let Some(armed) = self.control.word(0, 0) else { return Ok(()) };
            armed.store(if gathers { ARMED_FOR_DEATH } else { ARMED }, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if !gathers && has_data(waiter.get_ref().as_fd())? {
                return Ok(());
            }
            waiter.readable().await?.clear_ready();
            // Whoever woke us has cleared it; otherwise it was a wake-up of before.
            if gathers && armed.load(Ordering::SeqCst) == 0 {
                return Ok(());
            }
        }
    }
}

/// A word of a mapping: one of the two positions.
fn word(mapping: &Mapping, offset: usize) -> Option<&AtomicU64> {
    let place = mapping.at(offset, size_of::<u64>())?;
    // SAFETY: an aligned word within the mapping, accessed atomically by all sides.
    Some(unsafe { place.cast::<AtomicU64>().as_ref() })
}

/// Whether anything lies in the ring, be it still unfinished.
fn has_data(ring: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [PollFd::new(&ring, PollFlags::IN)];
    // A signal that is pending ends even a look without a wait.
    let ready = retry_on_intr(|| poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })))?;
    Ok(ready > 0)
}
