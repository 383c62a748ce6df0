//! What a holder of the pinned sensor serves: the same events, without kernel programs of our own.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guard_core::event::Event;
use guard_core::process::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::clock::Stamp;
use crate::recording::frame::FrameError;
use crate::recording::player::{OtherLayout, Player};
use crate::recording::reader::Reader;
use crate::show::escape;

/// How long the holder may take to say what is left.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why nothing (more) comes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody serves there.
    #[error("nobody serves a sensor at {}", shown(.0))]
    Nobody(PathBuf),
    /// The socket cannot be used.
    #[error("cannot read from {}", shown(path))]
    System {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The holder has ended.
    #[error("the reader of the sensor behind {} has ended", shown(.0))]
    Ended(PathBuf),
    /// The holder speaks another language.
    #[error("{}: {cause}", shown(path))]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What is wrong; part of the message, and so no source.
        cause: FrameError,
    },
    /// The holder is of another version.
    #[error("{}: {cause}", shown(path))]
    OtherLayout {
        /// The socket.
        path: PathBuf,
        /// What is different; part of the message, and so no source.
        cause: OtherLayout,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Nobody(_) => "start `processguard record DIR`, or leave --sensor out",
            Self::Ended(_) => "start it again, or run with --sensor own",
            Self::System { .. } | Self::Foreign { .. } | Self::OtherLayout { .. } => "run with --sensor own",
        }
    }
}

fn shown(path: &Path) -> String {
    escape::display(path.as_os_str().as_encoded_bytes())
}

/// A connection to a holder.
#[derive(Debug)]
pub struct Subscription {
    path: PathBuf,
    stream: UnixStream,
    reader: Reader,
    player: Player,
}

impl Subscription {
    /// Connects, and takes in the process table.
    ///
    /// # Errors
    /// If nobody serves there, or somebody else.
    pub async fn connect(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::Nobody(path.to_owned()),
            _ => Error::System { path: path.to_owned(), source },
        })?;
        let (reader, player) = (Reader::default(), Player::default());
        let mut subscription = Self { path: path.to_owned(), stream, reader, player };
        while !subscription.player.knows_table() {
            subscription.ready().await?;
            subscription.turn()?;
        }
        Ok(subscription)
    }

    /// Waits for more. Dropping the future is safe.
    ///
    /// # Errors
    /// If nothing more comes.
    pub async fn ready(&mut self) -> Result<(), Error> {
        match self.stream.read_buf(self.reader.space()).await {
            Ok(0) => Err(Error::Ended(self.path.clone())),
            Ok(_) => Ok(()),
            Err(source) => Err(Error::System { path: self.path.clone(), source }),
        }
    }

    /// Takes in what came; [`Subscription::poll_event`] then gives the events.
    ///
    /// # Errors
    /// If that is not what a holder of this version says.
    pub fn turn(&mut self) -> Result<(), Error> {
        loop {
            let player = &mut self.player;
            match self.reader.next(|frame| player.play(frame)) {
                Ok(Some(Ok(()))) => {}
                Ok(None) => return Ok(()),
                Ok(Some(Err(cause))) => return Err(Error::OtherLayout { path: self.path.clone(), cause }),
                Err(cause) => return Err(Error::Foreign { path: self.path.clone(), cause }),
            }
        }
    }

    /// The next event, oldest first, and the clocks of its time.
    pub fn poll_event(&mut self) -> Option<(Stamp, Event)> {
        self.player.poll_event()
    }

    /// What was read so far.
    #[must_use]
    pub const fn player(&self) -> &Player {
        &self.player
    }

    /// Takes in what happened until now, and no more; what waited for more evidence waits no longer.
    ///
    /// # Errors
    /// If what comes is not what a holder of this version says.
    pub async fn finish(&mut self) -> Result<(), Error> {
        let all = async {
            // The holder answers this with what is left, and the end. If it has ended, so be it.
            let _ = self.stream.shutdown().await;
            while self.ready().await.is_ok() {}
        };
        // One that is stopped, or very busy, is not waited for.
        let _ = tokio::time::timeout(FAREWELL, all).await;
        self.turn()?;
        self.player.finish();
        Ok(())
    }

    /// The process table as of the last turn.
    #[must_use]
    pub fn processes(&self) -> &Table {
        self.player.processes()
    }
}
