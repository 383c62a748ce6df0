//! Puts frames down: in files that rotate by size, so that nothing half-written is ever taken for whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use guard_common::decode::{self, Record};
use guard_common::wire::ProcKey;
use guard_core::event::Lost;

use super::directory::{self, Segment};
use super::frame::{self, Frame, FrameError, MAGIC, Start};
use crate::show::escape;

/// The longest stretch at the end of a file that may be cut off as half-written: whatever one call wrote.
/// Beyond that the file is damaged, and is left as it is.
pub const TORN_BYTES: u64 = 16 * 1024 * 1024;

/// How large files may become and how many of them there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes after which another file is begun.
    pub max_bytes: u64,
    /// Files kept, the current one included.
    pub keep: u64,
}

/// Why nothing can be put down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another recorder writes there.
    #[error("{} is written by another `processguard record`", shown(.0))]
    Locked(PathBuf),
    /// The system refused.
    #[error("cannot {action} {}", shown(path))]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    fn system(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::System { action, path, source }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Locked(_) => "name another directory, or stop that one",
            Self::System { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room and start again: until then the kernel keeps what fits into its ring"
            }
            Self::System { .. } => "name a directory that can be written",
        }
    }
}

fn shown(path: &Path) -> String {
    escape::display(path.as_os_str().as_encoded_bytes())
}

/// Where an earlier recorder stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Whose records it wrote last.
    pub start: Start,
    /// Up to where in that sensor's ring everything is put down.
    pub position: u64,
    /// All losses that it told.
    pub losses: Vec<Lost>,
    /// Processes whose ends are in its last file.
    pub ended: Vec<ProcKey>,
}

/// The open recording.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    rotation: Rotation,
    /// Locked as long as this lives.
    _lock: File,
    /// The current file; `None` before the first.
    current: Option<Current>,
    /// Number of the next file.
    next: u64,
}

#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    bytes: u64,
    /// Bytes with which it began: a file whose table alone is larger than a file may be holds some records too.
    head_bytes: u64,
}

impl Current {
    fn is_full(&self, max_bytes: u64) -> bool {
        self.bytes >= max_bytes && self.bytes >= 2 * self.head_bytes
    }
}

impl Writer {
    /// Opens a directory, making it if need be. If an earlier recorder wrote there, its last file is read:
    /// what it left half-written is cut off, and the file is gone on with if `goes_on` says so of its end.
    ///
    /// # Errors
    /// If the directory cannot be used, or another recorder uses it.
    pub fn open(
        directory: &Path,
        rotation: Rotation,
        goes_on: impl FnOnce(&Resume) -> bool,
    ) -> Result<(Self, Option<Resume>), Error> {
        fs::create_dir_all(directory).map_err(Error::system("create", directory))?;
        let lock = File::open(directory).map_err(Error::system("open", directory))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(directory.to_owned())),
            Err(TryLockError::Error(source)) => return Err(Error::system("lock", directory)(source)),
        }
        let segments = directory::segments(directory).map_err(Error::system("read", directory))?;
        let next = segments.last().map_or(1, |last| last.number + 1);
        let directory = directory.to_owned();
        let mut writer = Self { directory, rotation, _lock: lock, current: None, next };
        let resume = match segments.last() {
            Some(last) => writer.take_up(last, goes_on)?,
            None => None,
        };
        Ok((writer, resume))
    }

    /// Reads the last file to its end. It is gone on with only if all of it is whole.
    fn take_up(
        &mut self,
        last: &Segment,
        goes_on: impl FnOnce(&Resume) -> bool,
    ) -> Result<Option<Resume>, Error> {
        let path = &last.path;
        let mut file =
            OpenOptions::new().read(true).append(true).open(path).map_err(Error::system("open", path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::system("read", path))?;
        let Scan { end, resume, is_foreign } = scan(&bytes);
        let torn = (bytes.len() - end) as u64;
        if is_foreign || torn > TORN_BYTES {
            tracing::warn!("{} cannot be read behind byte {end}: it is left as it is", shown(path));
            return Ok(resume);
        }
        if torn > 0 {
            file.set_len(end as u64).map_err(Error::system("cut the half-written end off", path))?;
        }
        if resume.as_ref().is_some_and(goes_on) {
            file.seek(SeekFrom::End(0)).map_err(Error::system("seek in", path))?;
            self.current = Some(Current { file, path: path.clone(), bytes: end as u64, head_bytes: 0 });
        }
        Ok(resume)
    }

    /// The current file is not gone on with.
    pub fn finish_file(&mut self) {
        self.current = None;
    }

    /// Whether the next frames belong into another file, which [`Writer::begin`] begins.
    #[must_use]
    pub fn wants_another(&self) -> bool {
        self.current.as_ref().is_none_or(|current| current.is_full(self.rotation.max_bytes))
    }

    /// Begins another file with what makes it complete in itself, and removes those that are too old.
    ///
    /// # Errors
    /// If it cannot be written. The one before stays the current one then.
    pub fn begin(&mut self, head: &[u8]) -> Result<(), Error> {
        let segment = Segment::new(&self.directory, self.next);
        let unfinished = segment.unfinished();
        let failed = |action| Error::system(action, &unfinished);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(failed("create"))?;
        let written = file.write_all(&MAGIC).and_then(|()| file.write_all(head));
        if let Err(source) = written {
            // Half a file is no file.
            let _ = fs::remove_file(&unfinished);
            return Err(failed("write")(source));
        }
        fs::rename(&unfinished, &segment.path).map_err(failed("rename"))?;
        let bytes = (MAGIC.len() + head.len()) as u64;
        self.current = Some(Current { file, path: segment.path, bytes, head_bytes: bytes });
        self.next += 1;
        self.remove_old()
    }

    fn remove_old(&self) -> Result<(), Error> {
        let segments =
            directory::segments(&self.directory).map_err(Error::system("read", &self.directory))?;
        let old = segments.len().saturating_sub(usize::try_from(self.rotation.keep).unwrap_or(usize::MAX));
        for segment in segments.iter().take(old) {
            fs::remove_file(&segment.path).map_err(Error::system("remove", &segment.path))?;
        }
        Ok(())
    }

    /// Puts frames down: all of them or none. Once this returns they survive our death.
    ///
    /// # Errors
    /// If they cannot be written, for example because the disk is full.
    pub fn append(&mut self, frames: &[u8]) -> Result<(), Error> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Err(source) = current.file.write_all(frames) {
            // What did get in is no whole number of frames. If even this fails, the next start does it.
            let _ = current.file.set_len(current.bytes);
            let _ = current.file.seek(SeekFrom::Start(current.bytes));
            return Err(Error::system("write", &current.path)(source));
        }
        current.bytes += frames.len() as u64;
        Ok(())
    }
}

/// What a file holds.
struct Scan {
    /// The end of the last whole frame.
    end: usize,
    /// What stands there.
    resume: Option<Resume>,
    /// What follows was not half-written: another version, or somebody else, made it.
    is_foreign: bool,
}

fn scan(bytes: &[u8]) -> Scan {
    match frame::check_magic(bytes) {
        Ok(Some(())) => {}
        // After a power failure a file can be zeros.
        begun => {
            let is_foreign = begun.is_err() && bytes.iter().any(|byte| *byte != 0);
            return Scan { end: 0, resume: None, is_foreign };
        }
    }
    let mut at = MAGIC.len();
    let mut resume: Option<Resume> = None;
    let mut is_foreign = false;
    while let Some(rest) = bytes.get(at..) {
        let read = match frame::read(rest) {
            Ok(Some(read)) => read,
            Ok(None) => break,
            Err(error) => {
                // Its checksum fits, its kind is unknown.
                is_foreign = matches!(error, FrameError::Malformed(_));
                break;
            }
        };
        at += read.bytes;
        match (read.frame, &mut resume) {
            (Frame::Start(start), resume) => {
                let same = |before: &Resume| before.start.instance == start.instance;
                let (losses, ended) = resume
                    .take()
                    .filter(same)
                    .map_or_else(Default::default, |before| (before.losses, before.ended));
                *resume = Some(Resume { start, position: read.position, losses, ended });
            }
            (Frame::Record(bytes), Some(resume)) => {
                if let Ok(Record::Exit(exit)) = decode::decode(bytes) {
                    resume.ended.push(exit.task.key);
                }
            }
            (Frame::Losses(losses), Some(resume)) => resume.losses = losses,
            _ => {}
        }
        if let Some(resume) = &mut resume {
            resume.position = resume.position.max(read.position);
        }
    }
    Scan { end: at, resume, is_foreign }
}

#[cfg(test)]
mod tests {
    use guard_core::ids::BootId;

    use super::*;

    const ROTATION: Rotation = Rotation { max_bytes: 1000, keep: 2 };

    fn start() -> Start {
        Start {
            boot: BootId(7),
            instance: 3,
            wire: 1,
            host: "host".into(),
            processguard: "0".into(),
            continues: None,
        }
    }

    fn head() -> Vec<u8> {
        let mut head = Vec::new();
        frame::write(&mut head, 40, &Frame::Start(start()));
        head
    }

    fn records(positions: std::ops::Range<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        for position in positions {
            frame::write(&mut out, position, &Frame::Record(&[1, 2, 3]));
        }
        out
    }

    fn open(directory: &Path) -> (Writer, Option<Resume>) {
        Writer::open(directory, ROTATION, |_| true).unwrap()
    }

    #[test]
    fn goes_on_where_it_was_whatever_was_torn_off() {
        let directory = tempfile::tempdir().unwrap();
        let (mut writer, resume) = open(directory.path());
        assert_eq!(resume, None);
        writer.begin(&head()).unwrap();
        writer.append(&records(50..60)).unwrap();
        drop(writer);
        let path = directory::segments(directory.path()).unwrap().remove(0).path;
        let whole = fs::read(&path).unwrap();
        let last = whole.len() - records(59..60).len();
        for length in last..whole.len() {
            fs::write(&path, whole.get(..length).unwrap()).unwrap();
            let (mut writer, resume) = open(directory.path());
            assert_eq!(resume.map(|resume| resume.position), Some(58), "cut at {length}");
            writer.append(&records(59..60)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at {length}");
        }
    }

    #[test]
    fn what_another_version_wrote_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (mut writer, _) = open(directory.path());
        writer.begin(&head()).unwrap();
        drop(writer);
        let path = directory::segments(directory.path()).unwrap().remove(0).path;
        let mut later = fs::read(&path).unwrap();
        *later.get_mut(7).unwrap() = 2;
        let other = b"something else altogether".to_vec();
        for bytes in [later, other] {
            fs::write(&path, &bytes).unwrap();
            let (writer, resume) = open(directory.path());
            assert_eq!(resume, None);
            assert!(writer.wants_another());
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        fs::write(&path, [0; 4096]).unwrap();
        open(directory.path());
        assert!(fs::read(&path).unwrap().is_empty(), "what a power failure left");
    }

    #[test]
    fn the_oldest_file_goes_when_there_are_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let (mut writer, _) = open(directory.path());
        for _ in 0..4 {
            assert!(writer.wants_another());
            writer.begin(&head()).unwrap();
            writer.append(&records(0..40)).unwrap();
        }
        let numbers: Vec<_> =
            directory::segments(directory.path()).unwrap().iter().map(|segment| segment.number).collect();
        assert_eq!(numbers, [3, 4]);
    }

    #[test]
    fn two_do_not_write_to_one_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path());
        let second = Writer::open(directory.path(), ROTATION, |_| true);
        assert!(matches!(second, Err(Error::Locked(_))), "{second:?}");
    }

    #[test]
    fn losses_told_are_known_again() {
        let lost = Lost {
            kind: guard_common::wire::Kind::EXEC,
            cause: guard_core::event::LossCause::RingFull,
            cpu: Some(1),
            count: 9,
        };
        let directory = tempfile::tempdir().unwrap();
        let (mut writer, _) = open(directory.path());
        let mut frames = head();
        frame::write(&mut frames, 70, &Frame::Losses(vec![lost]));
        writer.begin(&frames).unwrap();
        drop(writer);
        let (_, resume) = open(directory.path());
        assert_eq!(resume.map(|resume| resume.losses), Some(vec![lost]));
    }
}
