//! A recording shown as events: the files that `processguard record` wrote.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use guard_core::event::Action;

use super::replay::{Error, Interruptible, open};
use super::{Audience, Wanted, quiet_if_closed};
use crate::exit::{Failure, say};
use crate::recording::directory;
use crate::recording::frame::MAGIC;
use crate::recording::player::Player;
use crate::recording::reader::Reader;
use crate::show::escape;
use crate::stop::{Stop, requested};

/// Bytes read at once.
const PIECE: usize = 256 * 1024;

/// The files of a recording, if the path is a directory or a file of one.
///
/// # Errors
/// If a directory cannot be read, or holds no recording.
pub fn files(input: &Path) -> Result<Option<Vec<PathBuf>>, Error> {
    let name = || escape::display(input.as_os_str().as_encoded_bytes());
    if input.is_dir() {
        let segments = directory::segments(input).map_err(|source| Error::Open { name: name(), source })?;
        if segments.is_empty() {
            return Err(Error::NoRecording { name: name() });
        }
        return Ok(Some(segments.into_iter().map(|segment| segment.path).collect()));
    }
    let mut magic = [0; MAGIC.len()];
    let read = File::open(input).and_then(|mut file| file.read_exact(&mut magic));
    // Anything else that is wrong with it is said by whoever reads it next.
    let is_recording = read.is_ok() && magic.starts_with(b"PGREC");
    Ok(is_recording.then(|| vec![input.to_owned()]))
}

/// Shows the events of a recording, file by file. What a damaged file holds behind the bad place is a gap.
///
/// # Errors
/// If a file cannot be read or understood, or the output cannot be written; if one is damaged, once all is shown.
pub fn run(files: &[PathBuf], show: impl Audience) -> Result<(), Failure> {
    let stop = Stop::install().map_err(|source| Failure::System { action: "handle signals", source })?;
    let mut recorded = Recorded { player: Player::default(), show, damage: None };
    quiet_if_closed(recorded.all(files, &stop).and_then(|()| recorded.finish()))
}

struct Recorded<A> {
    player: Player,
    show: A,
    /// The last bad place. Earlier ones were complained about.
    damage: Option<Error>,
}

impl<A: Audience> Recorded<A> {
    fn all(&mut self, files: &[PathBuf], stop: &Stop) -> Result<(), Failure> {
        for (at, path) in files.iter().enumerate() {
            let is_last = at + 1 == files.len();
            let name = escape::display(path.as_os_str().as_encoded_bytes());
            let file = match open(path) {
                Ok(file) => file,
                // A recorder at work may just have removed it as too old.
                Err(source) if source.kind() == io::ErrorKind::NotFound && !is_last => continue,
                Err(source) => return Err(Error::Open { name, source }.into()),
            };
            let ended = self.file(Interruptible { file, stop }, &name, is_last);
            // What came before a bad place is shown before the complaint about it.
            if self.forward()? == Wanted::Enough {
                return Ok(());
            }
            match ended {
                Ok(()) => {}
                Err(Failure::Input(error)) if error.is_damage() => {
                    // The next file begins with a table of its own.
                    self.player.skip();
                    if let Some(other) = self.damage.replace(error) {
                        say(&format!("processguard: {other}"));
                    }
                }
                Err(error) => return Err(error),
            }
            if requested() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Shows one file. The last one may end in the middle of a frame: its writer is at work, or was killed.
    fn file(&mut self, mut file: Interruptible<'_>, name: &str, is_last: bool) -> Result<(), Failure> {
        let mut reader = Reader::default();
        let mut piece = vec![0; PIECE];
        loop {
            let bytes = match file.read(&mut piece) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted && requested() => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Read { name: name.to_owned(), source }.into()),
            };
            if bytes == 0 {
                break;
            }
            reader.space().extend_from_slice(piece.get(..bytes).unwrap_or_default());
            loop {
                let player = &mut self.player;
                let played = reader.next(|frame| player.play(frame));
                let offset = reader.offset();
                match played {
                    Ok(Some(Ok(()))) => {}
                    Ok(Some(Err(cause))) => {
                        return Err(Error::OtherLayout { name: name.to_owned(), cause }.into());
                    }
                    Ok(None) => break,
                    Err(cause) => {
                        return Err(Error::Damaged { name: name.to_owned(), offset, cause }.into());
                    }
                }
            }
            if self.forward()? == Wanted::Enough {
                return Ok(());
            }
        }
        if reader.unused() > 0 && !is_last {
            let (name, offset) = (name.to_owned(), reader.offset());
            return Err(Error::Ends { name, offset }.into());
        }
        Ok(())
    }

    fn forward(&mut self) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::More;
        while let Some((stamp, event)) = self.player.poll_event() {
            if let Action::Gap(gap) = &event.action {
                self.show.summary().add_gap(gap);
            }
            wanted = self.show.event(&stamp, &event)?;
            if wanted == Wanted::Enough {
                break;
            }
        }
        self.show.flush()?;
        Ok(wanted)
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.player.finish();
        self.forward()?;
        let (stamp, now_ns) = self.player.now();
        self.show.summary().set_played(&self.player);
        self.show.finish(&stamp, now_ns)?;
        self.damage.map_or(Ok(()), |error| Err(error.into()))
    }
}
