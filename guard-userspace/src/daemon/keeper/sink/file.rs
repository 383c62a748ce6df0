//! A log file that is rotated.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked whether somebody else has moved the file away.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::daemon::keeper) struct FileSink {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    file: Option<File>,
    size: u64,
    is_line_begun: bool,
    looked: Option<Instant>,
    /// Bytes lost since something was last put down.
    missing: u64,
    failed: Option<String>,
    /// What hinders rotation.
    unmoved: Option<String>,
}

impl FileSink {
    pub(super) fn new(path: PathBuf, max_size: u64, keep: u32) -> Self {
        Self {
            path,
            max_size: max_size.max(1),
            keep,
            file: None,
            size: 0,
            is_line_begun: false,
            looked: None,
            missing: 0,
            failed: None,
            unmoved: None,
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let failed =
            self.failed.as_ref().map(|error| format!("cannot write {}: {error}", self.path.display()));
        failed.or_else(|| {
            let error = self.unmoved.as_ref()?;
            Some(format!("cannot rotate {}: {error}; it grows on", self.path.display()))
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8], now: Instant) -> u64 {
        let mut rest = bytes;
        match self.put_all(&mut rest, now) {
            Ok(()) => {
                self.failed = None;
                0
            }
            Err(error) => {
                // Opened anew next time: it may be on another device by then.
                self.file = None;
                self.failed = Some(error.to_string());
                self.missing = self.missing.saturating_add(rest.len() as u64);
                rest.len() as u64
            }
        }
    }

    /// `rest` is what is not put down yet.
    fn put_all(&mut self, rest: &mut &[u8], now: Instant) -> io::Result<()> {
        self.look(now);
        while !rest.is_empty() {
            self.open()?;
            self.tell_missing()?;
            let space = usize::try_from(self.max_size.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let part = if rest.len() <= space { rest.len() } else { end_of_line(rest, space) };
            if part == 0 && self.size > 0 {
                self.rotate();
                continue;
            }
            // A line that is longer than a file is cut.
            let part = if part == 0 { rest.len().min(space.max(1)) } else { part };
            let (now, later) = rest.split_at_checked(part).unwrap_or((rest, &[]));
            *rest = now;
            self.put(rest)?;
            *rest = later;
        }
        Ok(())
    }

    fn put(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.size += written as u64;
                    let (done, later) = rest.split_at_checked(written).unwrap_or((rest, &[]));
                    self.is_line_begun = done.last() != Some(&b'\n');
                    *rest = later;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A gap is never silent.
    fn tell_missing(&mut self) -> io::Result<()> {
        if self.missing == 0 {
            return Ok(());
        }
        let end = if self.is_line_begun { "\n" } else { "" };
        let why = self.failed.as_deref().unwrap_or("it could not be written");
        let text = format!("{end}processguard: {} bytes of the log are missing here: {why}\n", self.missing);
        // All of it, or nothing: it is a line.
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = file.write(text.as_bytes())?;
        if written < text.len() {
            let _ = file.set_len(self.size);
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.size += written as u64;
        self.is_line_begun = false;
        self.missing = 0;
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let open = || File::options().append(true).create(true).mode(0o640).open(&self.path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(directory) = self.path.parent() {
                    fs::create_dir_all(directory)?;
                }
                open()?
            }
            file => file?,
        };
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Somebody else may rotate as well, or have removed it.
    fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK) {
            return;
        }
        self.looked = Some(now);
        let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino(), metadata.len());
        let own = self.file.as_ref().and_then(|file| file.metadata().ok()).map(place);
        let there = fs::metadata(&self.path).ok().map(place);
        match (own, there) {
            (Some((device, inode, _)), Some((other, found, size))) if (device, inode) == (other, found) => {
                self.size = size;
            }
            _ => self.file = None,
        }
    }

    fn rotate(&mut self) {
        self.file = None;
        let rotated = if self.keep == 0 { fs::remove_file(&self.path) } else { self.shift() };
        self.unmoved = rotated.err().map(|error| error.to_string());
        if self.unmoved.is_some() && self.open().is_ok() {
            // Tried again when as much has come once more.
            self.size = 0;
        }
    }

    fn shift(&self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match fs::rename(older(&self.path, number), older(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, older(&self.path, 1))
    }
}

/// `checkout.log.3`.
fn older(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// Bytes up to the last line end within `space`; 0: there is none.
fn end_of_line(bytes: &[u8], space: usize) -> usize {
    let within = bytes.get(..space).unwrap_or(bytes);
    within.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
}
