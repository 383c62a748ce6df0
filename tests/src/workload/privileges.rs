//! Programs that gain privileges by being run.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::XattrFlags;

use super::Args;
use super::child::Child;
use super::truth::Truth;
use crate::sys;

/// The number of CAP_NET_RAW.
const NET_RAW: u32 = 13;

/// `setuid-exec [--direct]`: a set-user-id program of root's, run by nobody: from
/// a shell, or by the process that has just given up root.
pub(super) fn set_user_id(args: &Args) -> Result<()> {
    exec(args, |program| fs::set_permissions(program, Permissions::from_mode(0o4755)).context("chmod 4755"))
}

/// `file-capability-exec [--direct]`: a program with CAP_NET_RAW in its file, run by nobody.
pub(super) fn file_capability(args: &Args) -> Result<()> {
    exec(args, |program| {
        // struct vfs_cap_data: revision 2 with the effective bit, then permitted and inheritable
        // of capabilities 0 to 31, then of 32 to 63.
        let words = [0x0200_0001, 1_u32 << NET_RAW, 0, 0, 0];
        let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        rustix::fs::setxattr(program, "security.capability", &value, XattrFlags::empty())
            .context("set security.capability")
    })
}

fn exec(args: &Args, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut truth = Truth::open(args)?;
    let directory = tempfile::tempdir().context("make a temporary directory")?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).context("chmod 755")?;
    let program = directory.path().join("privileged");
    fs::copy("/proc/self/exe", &program).context("copy this program")?;
    fs::set_permissions(&program, Permissions::from_mode(0o755)).context("chmod 755")?;
    prepare(&program)?;
    let direct = args.has("direct");
    let report = args.get("truth").map_or(OsStr::new("/dev/null"), |path| path.as_os_str());
    let child = Child::fork(|| {
        sys::become_user(65_534)?;
        let path = program.as_os_str().as_bytes();
        let words: [&[u8]; 4] = [b"privileged", b"report", b"--truth", report.as_bytes()];
        if direct {
            return Err(sys::execveat(libc::AT_FDCWD, path, &words));
        }
        // As after a login: a program of the user's runs the privileged one.
        let shell: [&[u8]; 5] = [b"sh", b"-c", b"path=$0; exec \"$path\" \"$@\"", path, b"report"];
        Err(sys::execveat(libc::AT_FDCWD, b"/bin/sh", &[&shell[..], &words[2..]].concat()))
    })?;
    truth.line(&child.wait("process")?)
}
