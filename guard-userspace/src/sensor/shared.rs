//! Maps of the kernel's as memory of ours.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A stretch of memory shared with the kernel.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain shared memory; whoever reads or writes it does so through atomics or, as the ring's
// protocol demands, only what nobody writes meanwhile.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `bytes` of a BPF map, from an offset that is a multiple of the page size.
    pub(crate) fn new(map: impl AsFd, offset: u64, bytes: usize, access: ProtFlags) -> io::Result<Self> {
        // SAFETY: a new mapping at a place of the kernel's choice.
        let address = unsafe { mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, map, offset) }?;
        let start = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    /// The address of a stretch of it; `None` if that does not lie within.
    pub(crate) fn at(&self, offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        let fits = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes);
        // SAFETY: within the mapping, as just checked.
        fits.then(|| unsafe { self.start.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, unmapped once. Failure leaves it to the process's end.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// A memory-mapped array whose entries are made of 64-bit words only.
#[derive(Debug)]
pub(crate) struct SharedArray<T> {
    mapping: Mapping,
    entries: usize,
    entry: PhantomData<T>,
}

// SAFETY: `T` is never held, only its shape is used; the mapping itself may be sent.
unsafe impl<T> Send for SharedArray<T> {}

impl<T> SharedArray<T> {
    const WORDS: usize = size_of::<T>() / 8;

    /// Maps an array created with `BPF_F_MMAPABLE`.
    pub(crate) fn map(map: impl AsFd, entries: usize) -> io::Result<Self> {
        Self::map_part(map, 0, entries)
    }

    /// Maps a part of it, which begins so many bytes from its start: a multiple of the page size.
    pub(crate) fn map_part(map: impl AsFd, offset: u64, entries: usize) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let bytes = (entries * size_of::<T>()).next_multiple_of(rustix::param::page_size());
        let mapping = Mapping::new(map, offset, bytes, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(Self { mapping, entries, entry: PhantomData })
    }

    /// Number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.entries
    }

    /// A word of an entry. `None` outside the map.
    pub(crate) fn word(&self, entry: usize, word: usize) -> Option<&AtomicU64> {
        if entry >= self.entries || word >= Self::WORDS {
            return None;
        }
        let place = self.mapping.at((entry * Self::WORDS + word) * 8, 8)?;
        // SAFETY: within the mapping, which begins at a page and lives as long as `self`; all access
        // to it is atomic.
        Some(unsafe { place.cast::<AtomicU64>().as_ref() })
    }

    /// Reads a word of an entry; 0 outside the map.
    pub(crate) fn read(&self, entry: usize, word: usize) -> u64 {
        self.word(entry, word).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// The same, of which only those parts are mapped that are read: what is mapped counts as our memory.
#[derive(Debug)]
pub(crate) struct PartlyShared<T> {
    map: OwnedFd,
    entries: usize,
    /// Entries of a part: whole pages.
    part: usize,
    parts: Vec<OnceLock<Option<SharedArray<T>>>>,
}

impl<T> PartlyShared<T> {
    /// An array created with `BPF_F_MMAPABLE`. Nothing of it is mapped yet.
    pub(crate) fn new(map: impl AsFd, entries: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let mut part: usize = 64;
        while !(part * size_of::<T>()).is_multiple_of(page) {
            part *= 2;
        }
        let parts = (0..entries.div_ceil(part)).map(|_| OnceLock::new()).collect();
        Ok(Self { map: map.as_fd().try_clone_to_owned()?, entries, part, parts })
    }

    /// Reads a word of an entry; 0 outside the map.
    pub(crate) fn read(&self, entry: usize, word: usize) -> u64 {
        let number = entry / self.part;
        let part = self.parts.get(number).and_then(|part| part.get_or_init(|| self.map(number)).as_ref());
        part.map_or(0, |part| part.read(entry % self.part, word))
    }

    fn map(&self, number: usize) -> Option<SharedArray<T>> {
        let first = number * self.part;
        let entries = self.part.min(self.entries - first);
        let part = SharedArray::map_part(&self.map, (first * size_of::<T>()) as u64, entries);
        part.inspect_err(|error| tracing::warn!("entries {first} and up of an array are not read: {error}"))
            .ok()
    }
}
