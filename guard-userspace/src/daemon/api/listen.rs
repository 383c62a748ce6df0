//! The socket's file: who may connect at all.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::peer::Access;
use crate::exit::Failure;

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
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(failed)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
            // Not ours to remove.
            Ok(_) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
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
