//! Why a process was not started: which step, what the system said, what to do.

use std::io;
use std::path::PathBuf;

use crate::daemon::hands::rooms::RoomError;

/// A process that was not started. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No such user.
    #[error("user `{0}` does not exist (it is not in /etc/passwd); create it: useradd --system {0}")]
    NoUser(String),
    /// No such group.
    #[error("group `{0}` does not exist (it is not in /etc/group); create it: groupadd --system {0}")]
    NoGroup(String),
    /// No such capability.
    #[error("this program knows no capability `{0}`")]
    NoCapability(String),
    /// A NUL byte where the kernel takes none.
    #[error("`{0}` holds a NUL byte")]
    Nul(String),
    /// Nothing to run.
    #[error("the command is empty")]
    Empty,
    /// There is no room for it.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// It cannot be prepared.
    #[error("cannot {action}: {source}")]
    Prepare {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no new process.
    #[error("cannot start a process: {source}{}", hint(source))]
    Clone {
        /// What the system said.
        source: io::Error,
    },
    /// The new process could not become the program.
    #[error("{}", step.text(source, program, directory))]
    Child {
        /// How far it came.
        step: Step,
        /// What the system said.
        source: io::Error,
        /// The program.
        program: PathBuf,
        /// Its working directory.
        directory: PathBuf,
    },
}

/// What a new process does before it is the program, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "their texts say it")]
pub enum Step {
    Session = 1,
    Room,
    Score,
    Nice,
    Limits,
    Descriptors,
    Bounding,
    Groups,
    Group,
    User,
    Capabilities,
    Privileges,
    Directory,
    Signals,
    Execute,
}

impl Step {
    pub(super) const ALL: [Self; 15] = [
        Self::Session,
        Self::Room,
        Self::Score,
        Self::Nice,
        Self::Limits,
        Self::Descriptors,
        Self::Bounding,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Capabilities,
        Self::Privileges,
        Self::Directory,
        Self::Signals,
        Self::Execute,
    ];

    fn text(self, source: &io::Error, program: &std::path::Path, directory: &std::path::Path) -> String {
        let tried = match self {
            Self::Execute => return execute(source, program),
            Self::Directory => {
                let what = match source.kind() {
                    io::ErrorKind::NotFound => "it does not exist; create it".to_owned(),
                    io::ErrorKind::NotADirectory => "it is no directory".to_owned(),
                    io::ErrorKind::PermissionDenied => "the service's user may not enter it".to_owned(),
                    _ => source.to_string(),
                };
                return format!("cannot enter the working directory {}: {what}", directory.display());
            }
            Self::Session => "begin a session",
            Self::Room => "enter its control group",
            Self::Score => "reset oom_score_adj",
            Self::Nice => "reset the nice value",
            Self::Limits => "set limits of open files or core files",
            Self::Descriptors => "set up standard input, output and error",
            Self::Bounding => "drop capabilities from the bounding set",
            Self::Groups => "set supplementary groups",
            Self::Group => "become the group",
            Self::User => "become the user",
            Self::Capabilities => "keep capabilities",
            Self::Privileges => "set no_new_privs",
            Self::Signals => "reset signals",
        };
        format!("cannot run {}: cannot {tried}: {source}", program.display())
    }
}

fn execute(source: &io::Error, program: &std::path::Path) -> String {
    let why = match source.raw_os_error() {
        // The kernel says the same of a script whose interpreter is missing.
        Some(libc::ENOENT) if program.exists() => {
            "the interpreter or loader that it names does not exist".to_owned()
        }
        Some(libc::ENOENT) => "no such file".to_owned(),
        Some(libc::EACCES) if program.is_dir() => "it is a directory".to_owned(),
        Some(libc::EACCES) => {
            "permission denied; is it executable, and may the service's user reach it?".to_owned()
        }
        Some(libc::ENOEXEC) => "it is no program (a script needs a first line such as #!/bin/sh)".to_owned(),
        Some(libc::E2BIG) => "its arguments and environment are too long".to_owned(),
        Some(libc::ETXTBSY) => "somebody has it open for writing".to_owned(),
        _ => source.to_string(),
    };
    format!("cannot run {}: {why}", program.display())
}

fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EAGAIN) => {
            "; there are too many processes (limits.processes, kernel.pid_max, RLIMIT_NPROC)"
        }
        Some(libc::EBUSY) => "; a controller is handed down from its control group, which can hold none then",
        Some(libc::ENOSYS | libc::EPERM) => {
            "; clone3 must be allowed (Linux 5.7, no seccomp filter against it)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_their_numbers() {
        for (at, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, at + 1);
        }
    }
}
