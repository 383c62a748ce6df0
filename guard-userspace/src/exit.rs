//! How the program ends: the exit codes, and the errors that lead to them.

use std::borrow::Cow;
use std::error::Error as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::sensor::{self, ErrorKind};
use crate::show::escape;
use crate::{client, daemon, output, policy, recording, subscription, trace};

/// Exit codes. Stable: scripts depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done, also when the reader of standard output has gone.
    Ok = 0,
    /// Failed while running.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Privileges are missing.
    Privileges = 3,
    /// The kernel lacks a feature.
    Kernel = 4,
    /// The output cannot be written.
    Output = 5,
    /// The input cannot be read.
    Input = 6,
    /// The place where a sensor is pinned cannot be used, or somebody else holds it.
    Pins = 7,
    /// Policies have errors, or decide otherwise than they should.
    Policies = 8,
    /// No daemon answers at its socket.
    NoDaemon = 9,
    /// Whoever asks may not.
    NotAllowed = 10,
    /// There is no such service, incident or approval.
    Unknown = 11,
    /// The daemon refused to do something, or it failed.
    Declined = 12,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl From<ErrorKind> for Code {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Privilege => Self::Privileges,
            ErrorKind::Kernel => Self::Kernel,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Pins => Self::Pins,
            ErrorKind::Runtime => Self::Failed,
        }
    }
}

/// The text of the codes in every `--help`.
pub const HELP: &str = "\
EXIT STATUS
  0  done; also if the reader of standard output has gone
     (`processguard trace | head`)
  1  failed while running
  2  the command line makes no sense: an unknown option, a filter that cannot be
     read
  3  privileges are missing (root, or CAP_BPF and CAP_PERFMON)
  4  the kernel lacks a feature; `processguard probe` tells which
  5  the output cannot be written
  6  the input cannot be read
  7  a sensor cannot be pinned or taken up: no bpf file system, pins of somebody
     else, or held already
  8  policies have errors, or a rehearsal of them decides otherwise than its
     golden file says
  9  no daemon answers at the socket
 10  refused: whoever asks is neither root nor a member of the group that may
 11  there is no such service, incident or approval
 12  the daemon refused an order, or what was ordered failed";

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The options contradict what is there.
    #[error("{0}")]
    Usage(String),
    /// The sensor cannot work.
    #[error(transparent)]
    Sensor(#[from] sensor::Error),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] output::Error),
    /// The input cannot be read.
    #[error(transparent)]
    Input(#[from] trace::replay::Error),
    /// Policies have errors, which were shown.
    #[error("the policies have errors")]
    Policies,
    /// Policies cannot be read.
    #[error(transparent)]
    Files(#[from] policy::files::Error),
    /// The recording cannot be written.
    #[error(transparent)]
    Recording(#[from] recording::writer::Error),
    /// The holder of the pinned sensor does not serve.
    #[error(transparent)]
    Subscription(#[from] subscription::Error),
    /// The socket of the sensor's holder cannot be used.
    #[error("cannot listen at {}", escape::display(path.as_os_str().as_encoded_bytes()))]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The logs' keeper cannot work.
    #[error(transparent)]
    Keeper(#[from] daemon::keeper::Error),
    /// What outlives the daemon cannot be used.
    #[error(transparent)]
    State(#[from] daemon::state::StateError),
    /// Services cannot be started.
    #[error(transparent)]
    Hands(#[from] daemon::hands::HandsError),
    /// The daemon cannot go on with what it found.
    #[error("{0}")]
    Daemon(String),
    /// The daemon does not do, or does not say, what was asked.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The metrics cannot be served.
    #[error(transparent)]
    Metrics(#[from] daemon::metrics::Error),
    /// The running system withholds something basic.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Failure {
    /// The exit code that stands for it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Usage(_) => Code::Usage,
            Self::Sensor(error) => error.kind().into(),
            Self::Output(_) | Self::Recording(_) => Code::Output,
            Self::Socket { .. } | Self::Subscription(_) => Code::Pins,
            Self::Policies => Code::Policies,
            Self::Files(policy::files::Error::Write { .. }) => Code::Output,
            Self::Input(_) | Self::Files(_) => Code::Input,
            Self::Client(error) => error.code(),
            Self::Keeper(_)
            | Self::State(_)
            | Self::Hands(_)
            | Self::Daemon(_)
            | Self::System { .. }
            | Self::Metrics(_) => Code::Failed,
        }
    }

    /// What to do about it, where the error does not say so itself.
    fn remedy(&self) -> Option<Cow<'static, str>> {
        let fixed = match self {
            Self::Client(error) => return error.remedy().map(Cow::Owned),
            Self::State(error) => return Some(Cow::Owned(error.remedy())),
            Self::Metrics(error) => Some(error.remedy()),
            Self::Output(error) => Some(error.remedy()),
            Self::Recording(error) => Some(error.remedy()),
            Self::Subscription(error) => Some(error.remedy()),
            Self::Socket { .. } => Some("name another place with --socket"),
            Self::Input(error) => Some(error.remedy()),
            Self::Files(error) => Some(error.remedy()),
            Self::Policies => Some("see above"),
            Self::Usage(_)
            | Self::Sensor(_)
            | Self::Keeper(_)
            | Self::Hands(_)
            | Self::Daemon(_)
            | Self::System { .. } => None,
        };
        fixed.map(Cow::Borrowed)
    }

    /// One line for standard error: the cause, what is behind it, the remedy.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("processguard: {self}");
        let mut source = self.source();
        while let Some(error) = source {
            line.push_str(&format!(": {error}"));
            source = error.source();
        }
        if let Some(remedy) = self.remedy() {
            line.push_str("; ");
            line.push_str(&remedy);
        }
        line
    }
}

/// Says something on standard error; if that is closed, nobody wants to know.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
