//! The journal: two files that are written in turn, one call per frame.
//!
//! One is written; the other waits until the database's own file holds all that it says, is emptied, and is free. Both
//! exist from the beginning, so that no intent depends on a directory entry that a power failure may lose.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StateError;
use super::frame::{self, Frame};
use crate::daemon::fail;

/// Names of the two files.
pub(super) const NAMES: [&str; 2] = ["journal-a", "journal-b"];

/// Bytes from which on the other file is written, if that is free: a thousand intents and their lives.
pub(super) const TURN_BYTES: u64 = 256 * 1024;

/// One of the files.
#[derive(Debug)]
pub(super) struct Segment {
    /// Which: 0 or 1.
    pub(super) which: usize,
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Bytes of whole frames.
    pub(super) bytes: u64,
    /// Number of its first and of its last frame; 0: it is empty.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Something in it may not be on the disk yet.
    is_dirty: bool,
    /// Something that does not count may stand behind the whole frames.
    is_torn: bool,
}

impl Segment {
    /// Opens or makes it, and reads all of it.
    pub(super) fn open(directory: &Path, which: usize, name: &str) -> Result<(Self, Vec<u8>), StateError> {
        let path = directory.join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(StateError::system("open", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(StateError::system("read", &path))?;
        let mut segment = Self {
            which,
            path,
            file: Arc::new(file),
            bytes: 0,
            first: 0,
            last: 0,
            is_dirty: true,
            is_torn: true,
        };
        for frame in frame::frames(&bytes) {
            segment.holds(frame.number, frame.bytes);
        }
        Ok((segment, bytes))
    }

    fn holds(&mut self, number: u64, bytes: usize) {
        if self.bytes == 0 {
            self.first = number;
        }
        self.last = number;
        self.bytes += bytes as u64;
    }

    /// Removes what is not whole at its end.
    pub(super) fn cut(&mut self) -> Result<(), StateError> {
        if self.is_torn {
            self.file.set_len(self.bytes).map_err(StateError::system("cut the torn end of", &self.path))?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Removes everything: the database has it.
    pub(super) fn empty(&mut self) -> Result<(), StateError> {
        self.file.set_len(0).map_err(StateError::system("empty", &self.path))?;
        self.forget();
        Ok(())
    }

    /// It was emptied.
    fn forget(&mut self) {
        (self.bytes, self.first, self.last) = (0, 0, 0);
        (self.is_dirty, self.is_torn) = (false, false);
    }

    pub(super) fn sync(&mut self) -> Result<(), StateError> {
        if self.is_dirty {
            self.file.sync_data().map_err(StateError::system("synchronise", &self.path))?;
            self.is_dirty = false;
        }
        Ok(())
    }
}

/// Both files.
#[derive(Debug)]
pub(super) struct Journal {
    /// The one that is written.
    pub(super) active: Segment,
    /// The one that is free, or waits for the database.
    pub(super) other: Segment,
    /// Number of the next frame.
    pub(super) next: u64,
}

impl Journal {
    /// Writes a frame. Once this returns it survives our death; if it fails nothing of it counts.
    pub(super) fn append(&mut self, frame: &mut [u8]) -> Result<(), StateError> {
        let active = &mut self.active;
        if frame.len() > frame::FRAME_BYTES {
            let source = io::ErrorKind::FileTooLarge.into();
            return Err(StateError::system("write so much at once into", &active.path)(source));
        }
        active.cut()?;
        frame::seal(frame, self.next);
        fail::point("state.journal.before");
        if let Err(source) = write_at_once(&active.file, frame) {
            active.is_torn = true;
            // If this fails too, it is done before the next one is written.
            let _ = active.cut();
            return Err(StateError::system("write", &active.path)(source));
        }
        active.holds(self.next, frame.len());
        active.is_dirty = true;
        self.next += 1;
        fail::point("state.journal.written");
        Ok(())
    }

    /// Makes all that was written survive a power failure: what waits in the other file too, for a frame counts only
    /// if all before it are there.
    pub(super) fn sync(&mut self) -> Result<(), StateError> {
        self.other.sync()?;
        self.active.sync()?;
        fail::point("state.journal.synced");
        Ok(())
    }

    /// Takes the last frame back, which had so many bytes.
    pub(super) fn withdraw(&mut self, bytes: usize) {
        let active = &mut self.active;
        active.bytes = active.bytes.saturating_sub(bytes as u64);
        self.next -= 1;
        active.last = if active.bytes == 0 { 0 } else { self.next - 1 };
        active.is_torn = true;
        // If this fails, it is done before the next one is written.
        let _ = active.cut();
    }

    /// From now on the other file is written, which was emptied.
    pub(super) fn turn(&mut self) {
        self.other.forget();
        mem::swap(&mut self.active, &mut self.other);
        fail::point("state.journal.turned");
    }
}

fn write_at_once(mut file: &File, frame: &[u8]) -> io::Result<()> {
    loop {
        match file.write(frame) {
            Ok(written) if written == frame.len() => return Ok(()),
            // The rest had no room.
            Ok(_) => return Err(io::ErrorKind::StorageFull.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What the journal says beyond what the database has.
#[derive(Debug)]
pub(super) struct Tail<'a> {
    /// In order, without a gap.
    pub(super) frames: Vec<Frame<'a>>,
    /// Number of the last one, or of the last that the database has.
    pub(super) last: u64,
    /// Whole frames that cannot be used, because one before them is missing.
    pub(super) is_parted: bool,
    /// Behind the whole frames stands something else than a write that did not come to its end.
    pub(super) is_damaged: bool,
}

/// Reads both files, for a database that has everything up to `applied`.
pub(super) fn tail<'a>(files: [&'a [u8]; 2], applied: u64) -> Tail<'a> {
    let mut all: Vec<_> = files.into_iter().flat_map(frame::frames).collect();
    all.sort_by_key(|frame| frame.number);
    let mut last = applied;
    let mut frames = Vec::new();
    for frame in all {
        if frame.number == last + 1 {
            last = frame.number;
            frames.push(frame);
        }
    }
    let is_parted = files.into_iter().any(|bytes| frame::has_frame(bytes, last + 1));
    let is_damaged = files.into_iter().any(|bytes| {
        let whole = frame::frames(bytes).map(|frame| frame.bytes).sum();
        !bytes.get(whole..).is_some_and(frame::is_torn)
    });
    Tail { frames, last, is_parted, is_damaged }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let mut all = Vec::new();
        for number in numbers {
            let mut one = Vec::new();
            frame::begin(&mut one);
            frame::change(&mut one, 1, &[]);
            frame::seal(&mut one, number);
            all.extend_from_slice(&one);
        }
        all
    }

    fn seen(a: &[u8], b: &[u8], applied: u64) -> (Vec<u64>, u64, bool) {
        let tail = tail([a, b], applied);
        (tail.frames.iter().map(|frame| frame.number).collect(), tail.last, tail.is_parted)
    }

    #[test]
    fn frames_count_as_far_as_none_is_missing() {
        let (a, b) = (bytes(4..=6), bytes(1..=3));
        assert_eq!(seen(&a, &b, 0), (vec![1, 2, 3, 4, 5, 6], 6, false));
        assert_eq!(seen(&a, &b, 5), (vec![6], 6, false));
        assert_eq!(seen(&a, &b, 9), (vec![], 9, false));
        assert_eq!(seen(&a, &[], 2), (vec![], 2, true));
        assert_eq!(seen(&a, &b[..b.len() - 1], 0), (vec![1, 2], 2, true));
        assert_eq!(seen(&a[..a.len() - 1], &b, 0), (vec![1, 2, 3, 4, 5], 5, false));
    }

    #[test]
    fn a_frame_that_finds_no_room_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = [0, 1].map(|which| Segment::open(directory.path(), which, NAMES[which]).unwrap().0);
        let mut journal = Journal { active: a, other: b, next: 1 };
        let mut frame = bytes([1]);
        journal.append(&mut frame).unwrap();
        journal.append(&mut frame).unwrap();
        journal.withdraw(frame.len());
        journal.turn();
        journal.append(&mut frame).unwrap();
        journal.sync().unwrap();
        let [a, b] = NAMES.map(|name| std::fs::read(directory.path().join(name)).unwrap());
        assert_eq!(seen(&a, &b, 0), (vec![1, 2], 2, false));
    }
}
