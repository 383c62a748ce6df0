//! Why the state cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// Why the state cannot be used. It is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be made or locked.
    #[error("cannot use the directory {}: {source}; give another one with --state", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error("{} is in use by process {pid}: end that daemon, or give this one another directory with --state", path.display())]
    InUse {
        /// Which directory.
        path: PathBuf,
        /// By whom; `?` if it did not say.
        pid: String,
    },
    /// It is no state of ours, or damaged.
    #[error(
        "{shown} cannot be read: {cause}; nothing was changed. To begin anew, move it away (`mv {shown} {shown}.broken`): services that run are \
         found by their control groups, budgets and incidents are forgotten",
        shown = path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A newer version wrote it.
    #[error("{} was written by a newer version of processguard ({found}, this one knows {known}); run that one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl StateError {
    pub(super) fn broken(path: &Path, cause: impl ToString) -> Self {
        Self::Broken { path: path.to_owned(), cause: cause.to_string() }
    }

    pub(super) fn write(path: &Path, source: rusqlite::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}
