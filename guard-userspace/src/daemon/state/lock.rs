//! One daemon for one state: a lock that ends with whoever has it, however that ends.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::StateError;

/// The lock, taken.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(directory: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::Directory { path: directory.to_owned(), source };
        let path = directory.join("lock");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.read_to_string(&mut pid);
                let pid = read.ok().map(|_| pid.trim().to_owned()).filter(|pid| !pid.is_empty());
                return Err(StateError::InUse {
                    path: directory.to_owned(),
                    pid: pid.unwrap_or_else(|| "?".to_owned()),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // For whoever is refused; the lock itself is what counts, also on a full disk.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
