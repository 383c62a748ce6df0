//! The directory, and the lock that says whose it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk, geteuid};

use super::error::StateError;

/// The file that is locked.
const LOCK: &str = "lock";

/// Makes the directory if need be, and locks it for as long as the file that is given back is open.
///
/// The lock is one of POSIX: it is the process's own, so that a child between fork and exec, which has copies of all
/// descriptors, does not hold it when we are dead, and the kernel says who has it. The price: it keeps out other
/// processes, not a second use by this one.
pub(super) fn lock(directory: &Path) -> Result<File, StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(StateError::system("create", directory))?;
    let found = fs::metadata(directory).map_err(StateError::system("look at", directory))?;
    let exposed = |what: String| Err(StateError::Exposed { directory: directory.to_owned(), what });
    if found.uid() != geteuid().as_raw() {
        return exposed(format!("it belongs to user {}", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return exposed(format!("its mode is {:04o}", found.mode() & 0o7777));
    }
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(StateError::system("open", &path))?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::AGAIN | Errno::ACCESS) => {
            Err(StateError::Used { directory: directory.to_owned(), pid: holder(&file) })
        }
        Err(error) => Err(StateError::system("lock", &path)(error.into())),
    }
}

fn holder(file: &File) -> Option<i32> {
    let wanted = Flock {
        start: 0,
        length: 0,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    let found = fcntl_getlk(file, &wanted).ok()??;
    found.pid.map(|pid| pid.as_raw_nonzero().get())
}
