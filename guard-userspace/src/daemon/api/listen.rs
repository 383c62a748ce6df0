//! The socket's file: who may connect at all.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::peer::Access;
use crate::exit::Failure;
use crate::holder;

/// A socket that listens. Its file goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    /// Which file it is: another daemon may have replaced it.
    file: (u64, u64),
    listener: UnixListener,
}

impl Socket {
    /// Makes it, and its directory if need be. What an earlier daemon left is replaced; where somebody listens, or what is no
    /// socket, is not.
    pub(super) fn bind(path: &Path, access: &Access) -> Result<Self, Failure> {
        let failed = |source| Failure::Socket { path: path.to_owned(), source };
        let listener = holder::listen(path)?;
        // The group before the mode. Whoever connects earlier is asked who they are nevertheless.
        if let Some(group) = access.group() {
            std::os::unix::fs::chown(path, None, Some(group)).map_err(failed)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(access.mode())).map_err(failed)?;
        let made = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: (made.dev(), made.ino()), listener })
    }

    pub(super) const fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if ours {
            // The next daemon replaces it, if this fails.
            let _ = fs::remove_file(&self.path);
        }
    }
}
