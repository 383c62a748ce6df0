//! Whoever asks the daemon: the verbs' way to its socket, and what is shown of its answers.
//!
//! ```text
//! api.rs       one request, one connection
//! stream.rs    events as they come, across restarts of the daemon
//! wait.rs      an order is followed until it is done or failed
//! progress.rs  a line for people, where something takes more than a second
//! show/        documents as tables
//! ```

mod api;
pub mod progress;
pub mod show;
pub mod stream;
pub mod wait;

use std::io;
use std::path::PathBuf;

use crate::daemon::api::Problem;
use crate::exit::Code;
use crate::show::escape;

pub(crate) use api::encoded;
pub use api::{Api, Document};

/// Why the daemon did not do, or did not say, what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers.
    #[error("no daemon answers at {}", escape::display(path.as_os_str().as_encoded_bytes()))]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is not for us.
    #[error("you may not use {}", escape::display(path.as_os_str().as_encoded_bytes()))]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon said why not.
    #[error("{}", escape::message(&.0.detail))]
    Problem(Box<Problem>),
    /// An order was taken, and came to nothing.
    #[error("{}", escape::message(.0))]
    Failed(String),
    /// The answer cannot be understood.
    #[error("the daemon's answer cannot be read: {0}")]
    Answer(String),
}

impl Error {
    /// The exit code that stands for it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoDaemon { .. } => Code::NoDaemon,
            Self::NotAllowed { .. } => Code::NotAllowed,
            Self::Failed(_) => Code::Declined,
            Self::Answer(_) => Code::Failed,
            Self::Problem(problem) => match problem.status {
                403 => Code::NotAllowed,
                404 => Code::Unknown,
                422 => Code::Policies,
                _ => Code::Declined,
            },
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NoDaemon { .. } => Some(
                "start it (`systemctl start processguard`, `processguard daemon`), or name its socket with --socket"
                    .to_owned(),
            ),
            Self::NotAllowed { .. } => Some(
                "ask as root, or become a member of the group that the daemon names with --group".to_owned(),
            ),
            Self::Problem(problem) => problem.remedy.as_deref().map(escape::message),
            Self::Failed(_) => Some("`processguard incidents` says more".to_owned()),
            Self::Answer(_) => Some("ask with the version of processguard that the daemon has".to_owned()),
        }
    }
}
