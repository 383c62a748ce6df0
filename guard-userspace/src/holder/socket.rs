//! Where others subscribe: a socket that only root and the holder's own user may use.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::exit::Failure;

/// Where the socket is unless told otherwise.
pub const SOCKET: &str = "/run/processguard/sensor.sock";

/// The listening socket. Its file goes with it.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    listener: UnixListener,
}

impl Listener {
    /// Makes the socket, and its directory if need be. What an earlier holder left is replaced.
    pub(super) fn bind(path: &Path) -> Result<Self, Failure> {
        let listener = listen(path)?;
        let failed = |source| Failure::Socket { path: path.to_owned(), source };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// The next subscriber that may see what we see.
    pub(super) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_permitted(&stream) => return stream,
                Ok(_) => tracing::warn!("a subscriber without permission was turned away"),
                // Out of descriptors, say: those who wait can wait longer.
                Err(error) => {
                    tracing::warn!("cannot accept a subscriber: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Listens at a path whose directory is made if need be. A socket that nobody serves any more is replaced; where somebody listens, or
/// what is no socket, is not.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, Failure> {
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
    UnixListener::bind(path).map_err(failed)
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The next holder replaces it, if this fails.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_permitted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}
