//! What can go wrong with the state, and the way out.

use std::io;
use std::path::{Path, PathBuf};

use crate::show::escape;

/// Why the state cannot be opened, or something cannot be put down.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another daemon works with it.
    #[error("the state in {} is used by {}", shown(directory), holder(*pid))]
    Used {
        /// The directory.
        directory: PathBuf,
        /// The other, unless it is in a pid namespace that we don't see.
        pid: Option<i32>,
    },
    /// Others than us could have written what is in it.
    #[error("the state in {} can be written by others: {what}", shown(directory))]
    Exposed {
        /// The directory.
        directory: PathBuf,
        /// By whom.
        what: String,
    },
    /// Something else has the name of our file.
    #[error("{} is not a state of processguard: {what}", shown(path))]
    Foreign {
        /// What.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A newer processguard made it.
    #[error("{} is of version {found}; this processguard knows versions up to {known}", shown(path))]
    Newer {
        /// What.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It is ours, and not whole.
    #[error("the state in {} is damaged: {what}", shown(path))]
    Broken {
        /// What.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no room.
    #[error("cannot {action} {}: the disk is full", shown(path))]
    Full {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
    },
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
    /// SQLite refused.
    #[error("cannot {action} {}", shown(path))]
    Database {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// An earlier synchronisation failed, and until all is in the database nothing can be promised.
    #[error("cannot promise that anything in {} survives a power failure: the disk did not confirm it", shown(.0))]
    Unconfirmed(PathBuf),
    /// So much could not be written that it was dropped: what is written next must be everything.
    #[error("changes of the state in {} were dropped while the disk took none", shown(.0))]
    Dropped(PathBuf),
    /// The thread that writes the database is gone.
    #[error("the writer of {} has ended", shown(.0))]
    Ended(PathBuf),
}

impl StateError {
    pub(super) fn system(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { action, path },
            _ => Self::System { action, path, source },
        }
    }

    pub(super) fn database(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { action, path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Broken { path, what: source.to_string() }
            }
            _ => Self::Database { action, path, source },
        }
    }

    pub(super) fn broken(path: &Path, what: impl Into<String>) -> Self {
        Self::Broken { path: path.to_owned(), what: what.into() }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        const APART: &str = "nothing in it was changed; move the directory away and start again: processes that run \
                             stay as they are, their budgets and incidents begin anew";
        match self {
            Self::Used { pid: Some(pid), .. } => {
                format!(
                    "stop that one (`kill {pid}`; its services go on), or give this one another place with --state"
                )
            }
            Self::Used { pid: None, .. } | Self::Foreign { .. } => {
                "name another place with --state".to_owned()
            }
            Self::Exposed { directory, .. } => {
                format!("run `chown root: {0}; chmod 0700 {0}` if you trust what is in it", shown(directory))
            }
            Self::Newer { .. } => {
                "install that processguard again, or name another place with --state".to_owned()
            }
            Self::Broken { .. } => APART.to_owned(),
            Self::Full { .. } | Self::Dropped(_) => {
                "make room: it is tried again until it succeeds".to_owned()
            }
            Self::System { .. } | Self::Database { .. } => {
                "see that the place can be written, or name another with --state".to_owned()
            }
            Self::Unconfirmed(_) => "look for errors of the disk in the kernel's log (dmesg)".to_owned(),
            Self::Ended(_) => "restart the daemon: its services go on".to_owned(),
        }
    }

    /// What is wrong and what to do about it, in one line.
    #[must_use]
    pub fn advice(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&escape::message(&error.to_string()));
            source = error.source();
        }
        format!("{text}; {}", self.remedy())
    }

    /// It may succeed later, once there is room or the disk is well.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::System { .. } | Self::Database { .. } | Self::Unconfirmed(_))
    }
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn shown(path: &Path) -> String {
    escape::display(path.as_os_str().as_encoded_bytes())
}
