//! What we start ourselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a service's processes are started. `{port}` and `{instance}` stand in `command`, `environment`, `directory` and
/// the log's path until an instance is known: see [`Run::port`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Program and arguments; the program is an absolute path. Never empty.
    pub command: Vec<String>,
    /// User name or number; `None`: the daemon's.
    pub user: Option<String>,
    /// Group name or number; `None`: the user's.
    pub group: Option<String>,
    /// The whole environment besides `PATH`, which has a default, and `HOME`, `LOGNAME`, `SHELL`, `USER` if a user is named.
    pub environment: BTreeMap<String, String>,
    /// Working directory.
    pub directory: PathBuf,
    /// The first instance's port.
    pub first_port: Option<u16>,
    /// How many of them.
    pub instances: Instances,
    /// What they may use.
    pub limits: Limits,
    /// Capabilities that are kept, by their lower-case names without `cap_`; `None`: what the user has.
    pub capabilities: Option<Vec<String>>,
    /// Where standard output and error go.
    pub log: Log,
}

impl Run {
    /// The port of an instance, counted from 0.
    #[must_use]
    pub fn port(&self, instance: u32) -> Option<u16> {
        self.first_port?.checked_add(u16::try_from(instance).ok()?)
    }
}

/// How many processes of a kind: `min <= start <= max`, `max >= 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instances {
    /// Fewer ready ones, and the service is down.
    pub min: u32,
    /// As many at first.
    pub start: u32,
    /// Never more.
    pub max: u32,
}

/// What each instance may use, unless `per_service`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The limits are shared by all instances.
    pub per_service: bool,
    /// The control group's memory limit, in bytes.
    pub memory: Option<u64>,
    /// The control group's share of CPU time, in hundredths of a percent of one core.
    pub cpu: Option<u64>,
    /// The control group's number of processes and threads.
    pub processes: Option<u64>,
    /// Open files of each process (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
    /// Size of core files, in bytes (`RLIMIT_CORE`).
    pub core: Option<u64>,
}

/// Where standard output and error go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where.
    pub target: LogTarget,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// To the journal, under the service's name.
    Journal,
    /// To a file that is rotated.
    File {
        /// The file.
        path: PathBuf,
        /// Rotated before it is larger, in bytes.
        max_size: u64,
        /// So many older ones are kept.
        keep: u32,
    },
    /// Nowhere.
    Null,
}
