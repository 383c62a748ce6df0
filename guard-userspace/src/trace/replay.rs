//! A saved stream shown again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use guard_core::event::Action;
use guard_core::ids::BootId;
use rustix::event::{PollFd, PollFlags, poll};

use super::{Audience, Wanted, quiet_if_closed};
use crate::clock::Stamp;
use crate::exit::Failure;
use crate::filter;
use crate::recording::frame::FrameError;
use crate::recording::player::OtherLayout;
use crate::show::escape;
use crate::show::json::{self, Line};
use crate::stop::{Stop, requested};

/// Longest line that is read. The longest that is written has a few hundred kibibytes: arguments
/// (limits::ARGS_BYTES) and paths of which every byte is escaped.
const LINE_BYTES: u64 = 1024 * 1024;

/// Why a saved stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open input {name}")]
    Open {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reading stopped.
    #[error("cannot read input {name}")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A line is no event.
    #[error("{name}:{line}:{}{cause}", column(.cause))]
    Line {
        /// The file.
        name: String,
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong with it; part of the message, and so no source.
        cause: json::Error,
    },
    /// The last line has no end.
    #[error("{name}:{line}: the last line is cut short: its writer was interrupted")]
    CutShort {
        /// The file.
        name: String,
        /// Number of the line, from 1.
        line: u64,
    },
    /// A directory without a recording.
    #[error("there is no recording in {name}")]
    NoRecording {
        /// The directory.
        name: String,
    },
    /// There is nothing in it.
    #[error("there is no event in {name}")]
    Empty {
        /// The file or directory.
        name: String,
    },
    /// A recording is damaged.
    #[error("{name}: byte {offset}: {cause}")]
    Damaged {
        /// The file.
        name: String,
        /// Bytes before the bad place.
        offset: u64,
        /// What is wrong there; part of the message, and so no source.
        cause: FrameError,
    },
    /// A file of a recording that others follow ends too early.
    #[error("{name}: byte {offset}: the file ends in the middle")]
    Ends {
        /// The file.
        name: String,
        /// Bytes before the bad place.
        offset: u64,
    },
    /// A recording of another version.
    #[error("{name}: {cause}")]
    OtherLayout {
        /// The file.
        name: String,
        /// What is different; part of the message, and so no source.
        cause: OtherLayout,
    },
    /// A line is absurdly long.
    #[error("{name}:{line}: longer than {LINE_BYTES} bytes")]
    TooLong {
        /// The file.
        name: String,
        /// Number of the line, from 1.
        line: u64,
    },
}

impl Error {
    /// Whether it is one bad place in a recording, whose other files can be read.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Ends { .. })
    }

    /// Whether all that stands before the bad place was read well.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        self.is_damage() || matches!(self, Self::CutShort { .. })
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Read { .. } => {
                "name a file that was saved by `trace --format json`, a recording of `processguard record`, or - for standard input"
            }
            Self::CutShort { .. } => "all lines before it were shown",
            Self::NoRecording { .. } => "name the directory that `processguard record` writes to",
            Self::Empty { .. } => {
                "record while what is to be seen happens, and without a filter that leaves it out"
            }
            Self::Damaged { .. } | Self::Ends { .. } => {
                "all events before it were shown, and those of the files after it; what lies between is a gap"
            }
            Self::OtherLayout { .. } => "or record anew with this version",
            Self::Line { .. } | Self::TooLong { .. } => {
                "the input must be what `trace --format json` writes, one object a line"
            }
        }
    }
}

fn column(error: &json::Error) -> String {
    error.column().map_or_else(|| " ".to_owned(), |column| format!("{column}: "))
}

/// Shows the file's events; `-` is standard input.
///
/// # Errors
/// If the input cannot be read or the output cannot be written.
pub fn run(input: &Path, show: impl Audience) -> Result<(), Failure> {
    let stop = Stop::install().map_err(|source| Failure::System { action: "handle signals", source })?;
    let (name, opened) = if input == Path::new("-") {
        ("standard input".to_owned(), io::stdin().as_fd().try_clone_to_owned().map(File::from))
    } else {
        (escape::display(input.as_os_str().as_encoded_bytes()), open(input))
    };
    let file = match opened {
        Ok(file) => file,
        Err(source) => return Err(Error::Open { name, source }.into()),
    };
    let reader = BufReader::with_capacity(256 * 1024, Interruptible { file, stop: &stop });
    quiet_if_closed(Replay::new(name, show).run(reader))
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// A file of which a read ends when the request to stop comes, however long the file stays silent.
pub(super) struct Interruptible<'a> {
    pub(super) file: File,
    pub(super) stop: &'a Stop,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ready = [PollFd::new(&self.file, PollFlags::IN), PollFd::new(self.stop, PollFlags::IN)];
        poll(&mut ready, None)?;
        if requested() { Err(io::ErrorKind::Interrupted.into()) } else { self.file.read(buffer) }
    }
}

struct Replay<A> {
    name: String,
    show: A,
    line: u64,
    stamp: Stamp,
    time_ns: u64,
    /// Whether the stream's own summary told what was lost; then its gaps must not count again.
    told: bool,
}

impl<A: Audience> Replay<A> {
    const fn new(name: String, show: A) -> Self {
        let stamp = Stamp { boot: BootId(0), utc_offset_ns: 0 };
        Self { name, show, line: 0, stamp, time_ns: 0, told: false }
    }

    fn run(mut self, mut reader: BufReader<impl Read>) -> Result<(), Failure> {
        let mut text = Vec::new();
        loop {
            // The input may be a pipe: what is known is shown before waiting for more.
            if !reader.buffer().contains(&b'\n') {
                self.show.flush()?;
            }
            text.clear();
            if !self.next_line(&mut reader, &mut text)? || self.line(&text)? == Wanted::Enough {
                break;
            }
        }
        self.show.finish(&self.stamp, self.time_ns)?;
        Ok(())
    }

    /// Reads a line; false at the end, or when asked to stop.
    fn next_line(&mut self, reader: &mut BufReader<impl Read>, text: &mut Vec<u8>) -> Result<bool, Error> {
        loop {
            let piece = match reader.fill_buf() {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    if requested() {
                        return Ok(false);
                    }
                    continue;
                }
                Err(source) => return Err(Error::Read { name: self.name.clone(), source }),
            };
            if requested() || piece.is_empty() {
                self.line += u64::from(!text.is_empty());
                return Ok(!text.is_empty() && !requested());
            }
            let end = piece.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(piece.len());
            text.extend_from_slice(piece.get(..taken).unwrap_or_default());
            reader.consume(taken);
            if text.len() as u64 > LINE_BYTES {
                return Err(Error::TooLong { name: self.name.clone(), line: self.line + 1 });
            }
            if end.is_some() {
                self.line += 1;
                return Ok(true);
            }
        }
    }

    fn line(&mut self, text: &[u8]) -> Result<Wanted, Failure> {
        if text.trim_ascii().is_empty() {
            return Ok(Wanted::More);
        }
        let line = json::read(text).map_err(|cause| {
            let (name, line) = (self.name.clone(), self.line);
            if text.ends_with(b"\n") {
                Error::Line { name, line, cause }
            } else {
                Error::CutShort { name, line }
            }
        });
        // What came before a bad line is shown before the complaint about it.
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                self.show.flush()?;
                return Err(error.into());
            }
        };
        match line {
            Line::Event(stamp, event) => {
                (self.stamp, self.time_ns) = (stamp, event.time_ns);
                match &event.action {
                    Action::Gap(gap) if !self.told => self.show.summary().add_gap(gap),
                    Action::Gap(_) | Action::Resync(_) => {}
                    action if event.sequence != 0 => self.show.summary().kind(filter::kind(action)).seen += 1,
                    _ => {}
                }
                self.show.event(&stamp, &event)
            }
            Line::Summary(told) => {
                if !self.told {
                    self.told = true;
                    self.show.summary().forget_losses();
                }
                self.show.summary().add_losses(&told);
                self.show.is_whole();
                Ok(Wanted::More)
            }
        }
    }
}
