//! A map of the kernel's as memory of ours.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A memory-mapped array whose entries are made of 64-bit words only.
#[derive(Debug)]
pub(crate) struct SharedArray<T> {
    words: NonNull<AtomicU64>,
    entries: usize,
    bytes: usize,
    entry: PhantomData<T>,
}

// SAFETY: the mapping is plain shared memory, accessed through atomics alone.
unsafe impl<T> Send for SharedArray<T> {}

impl<T> SharedArray<T> {
    const WORDS: usize = size_of::<T>() / 8;

    /// Maps an array created with `BPF_F_MMAPABLE`.
    pub(crate) fn map(map: impl AsFd, entries: usize) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let bytes = (entries * size_of::<T>()).next_multiple_of(rustix::param::page_size());
        // SAFETY: a new mapping at a place of the kernel's choice.
        let address = unsafe {
            mmap(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0)
        }?;
        let words = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { words, entries, bytes, entry: PhantomData })
    }

    /// Number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.entries
    }

    /// A word of an entry. `None` outside the map.
    pub(crate) fn word(&self, entry: usize, word: usize) -> Option<&AtomicU64> {
        (entry < self.entries && word < Self::WORDS).then(|| {
            // SAFETY: within the mapping, as just checked; the mapping lives as long as `self`.
            unsafe { self.words.add(entry * Self::WORDS + word).as_ref() }
        })
    }

    /// Reads a word of an entry; 0 outside the map.
    pub(crate) fn read(&self, entry: usize, word: usize) -> u64 {
        self.word(entry, word).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, unmapped once. Failure leaves it to the process's end.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), self.bytes) };
    }
}
