//! Where the lines go: standard output, or a file that may be rotated by size.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::show::escape;
use crate::stop;

/// Why lines could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reader of standard output has gone. No failure: the caller ends quietly.
    #[error("standard output is closed")]
    Closed,
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
    /// The file cannot be opened.
    #[error("cannot open output file {}", shown(path))]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write output file {}", shown(path))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be moved out of the way.
    #[error("cannot rotate output file {}", shown(path))]
    Rotate {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Only a regular file can be rotated.
    #[error("output {} is not a regular file and cannot be rotated", shown(.0))]
    NotRegular(PathBuf),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Closed | Self::Stdout(_) => "give it a reader, or write to a file with --output FILE",
            Self::Open { .. } => "name a file in a directory that exists and that you may write to",
            Self::Write { .. } => "make room, bound it with --max-size and --keep, or name another file",
            Self::Rotate { .. } => "give write permission to its directory, or leave out --max-size",
            Self::NotRegular(_) => "leave out --max-size, or name a file",
        }
    }
}

fn shown(path: &Path) -> String {
    escape::display(path.as_os_str().as_encoded_bytes())
}

/// How a file is kept from growing for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Largest size of a file in bytes; a single longer line still makes a longer file.
    pub max_bytes: u64,
    /// How many old files are kept: FILE.1 (the newest) to FILE.keep.
    pub keep: u32,
}

/// A place for lines.
#[derive(Debug)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A file.
    File(LogFile),
}

impl Sink {
    /// Appends whole lines.
    ///
    /// # Errors
    /// If they cannot be written, or nobody is there to read them.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), Error> {
        match self {
            // Not `std::io::stdout`: it would search and copy each batch for its last line.
            Self::Stdout => write_all(io::stdout().as_fd(), lines).map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Error::Closed,
                _ => Error::Stdout(error),
            }),
            Self::File(file) => file.write(lines),
        }
    }
}

/// How long a reader that does not read is waited for once we were asked to stop.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// What a pipe that is ready for writing takes without blocking: POSIX's `PIPE_BUF`.
const PIPE_BYTES: usize = 4096;

/// Writes all, in as few calls as the kernel allows.
///
/// A pipe may be full for ever (`trace | less`). The request to stop interrupts the write; after
/// that only what the reader takes in time is written.
pub(crate) fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut piece = bytes;
        if stop::requested() {
            let mut ready = [PollFd::new(&fd, PollFlags::OUT)];
            match poll(&mut ready, Some(&PATIENCE)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) if error != Errno::INTR => return Err(error.into()),
                _ => piece = bytes.get(..PIPE_BYTES).unwrap_or(bytes),
            }
        }
        match rustix::io::write(&fd, piece) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A file that lines are appended to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotation: Option<Rotation>,
}

impl LogFile {
    /// Opens the file for appending; makes it, readable by its owner only, because command lines
    /// may hold secrets.
    ///
    /// # Errors
    /// If it cannot be opened, or cannot be rotated although it should.
    pub fn open(path: PathBuf, rotation: Option<Rotation>) -> Result<Self, Error> {
        let opened = open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        match opened {
            Ok((_, metadata)) if rotation.is_some() && !metadata.is_file() => Err(Error::NotRegular(path)),
            Ok((file, metadata)) => Ok(Self { path, file, bytes: metadata.len(), rotation }),
            Err(source) => Err(Error::Open { path, source }),
        }
    }

    fn write(&mut self, mut lines: &[u8]) -> Result<(), Error> {
        while !lines.is_empty() {
            let (now, later) = match self.rotation {
                Some(rotation) => {
                    let room = rotation.max_bytes.saturating_sub(self.bytes);
                    let fitting = lines_within(lines, room);
                    if fitting == 0 && self.bytes > 0 {
                        self.rotate(rotation.keep)?;
                        continue;
                    }
                    // A line that does not fit into an empty file gets it to itself.
                    let first = lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| at + 1);
                    lines.split_at(fitting.max(first))
                }
                None => (lines, [].as_slice()),
            };
            write_all(&self.file, now).map_err(|source| Error::Write { path: self.path.clone(), source })?;
            self.bytes += now.len() as u64;
            lines = later;
        }
        Ok(())
    }

    /// Moves FILE to FILE.1, FILE.1 to FILE.2 and so on, and begins anew.
    fn rotate(&mut self, keep: u32) -> Result<(), Error> {
        let failed = |source| Error::Rotate { path: self.path.clone(), source };
        for number in (1..keep).rev() {
            match std::fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        std::fs::rename(&self.path, numbered(&self.path, 1)).map_err(failed)?;
        self.file = open(&self.path).map_err(failed)?;
        self.bytes = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// How many bytes of whole lines fit into `room` bytes.
fn lines_within(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
    let head = lines.get(..room).unwrap_or_default();
    head.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_else(|_| "absent".to_owned())
    }

    #[test]
    fn rotation_keeps_whole_lines_and_a_few_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let rotation = Rotation { max_bytes: 8, keep: 2 };
        let mut file = LogFile::open(path.clone(), Some(rotation)).unwrap();
        file.write(b"a1\na2\na3\n").unwrap();
        assert_eq!((read(&path).as_str(), read(&numbered(&path, 1)).as_str()), ("a3\n", "a1\na2\n"));
        file.write(b"a line longer than the limit\nb1\n").unwrap();
        assert_eq!(read(&path), "b1\n");
        assert_eq!(read(&numbered(&path, 1)), "a line longer than the limit\n");
        assert_eq!(read(&numbered(&path, 2)), "a3\n");
        assert_eq!(read(&numbered(&path, 3)), "absent");
        // What is there already counts.
        let mut file = LogFile::open(path.clone(), Some(rotation)).unwrap();
        file.write(b"c12345\n").unwrap();
        assert_eq!((read(&path).as_str(), read(&numbered(&path, 1)).as_str()), ("c12345\n", "b1\n"));
    }

    #[test]
    fn a_new_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        LogFile::open(path.clone(), None).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0);
    }
}
