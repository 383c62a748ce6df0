//! Where a program writes that leaves a service behind: the service goes on writing there when nobody reads it any more.
//!
//! A pipe would end it then, by SIGPIPE; a file would grow for ever. A piece of memory of a fixed size does neither: what does
//! not fit is refused (`EPERM`), as on a full disk.

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// Bytes. What a restart says fits; longer ones lose their end.
const SIZE: u32 = 256 * 1024;

/// Written by others, read by us.
#[derive(Debug)]
pub(super) struct Notepad(File);

impl Notepad {
    pub(super) fn new() -> io::Result<Self> {
        let memory = memfd_create("processguard-output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, u64::from(SIZE))?;
        fcntl_add_seals(&memory, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(memory.into()))
    }

    /// For a program's output. All of them write behind each other.
    pub(super) fn writer(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// What was written so far.
    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        // We never move it: it is where the next writer writes.
        let written = self.0.stream_position()?.min(u64::from(SIZE));
        let mut text = vec![0; usize::try_from(written).unwrap_or_default()];
        self.0.read_exact_at(&mut text, 0)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut notepad = Notepad::new().unwrap();
        let (mut first, mut second) = (notepad.writer().unwrap(), notepad.writer().unwrap());
        first.write_all(b"one ").unwrap();
        second.write_all(b"two").unwrap();
        assert_eq!(notepad.read().unwrap(), b"one two");
        let refused = first.write_all(&vec![b'x'; SIZE as usize + 1]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(notepad.read().unwrap().len(), SIZE as usize);
    }
}
