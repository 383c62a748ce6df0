//! What somebody else started.

use super::Span;

/// A service whose processes are found, not started. Its main processes are the matches whose parent does not match.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopt {
    /// Whom.
    pub matching: Selector,
    /// How to bring it back; `None`: it is only observed.
    pub restart_via: Option<RestartVia>,
    /// How long a restart may take.
    pub timeout: Span,
    /// Fewer main processes, and it is down.
    pub min: u32,
}

/// All that is given must match; something is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    /// Absolute path of the executable; `*` stands for anything but a slash, `**` for anything.
    pub exe: Option<String>,
    /// Regular expression over the command line, arguments joined by spaces.
    pub command: Option<String>,
    /// User name or number.
    pub user: Option<String>,
    /// Path of the control group, of whichever hierarchy; itself and what is below.
    pub cgroup: Option<String>,
    /// systemd unit, such as `nginx.service`.
    pub unit: Option<String>,
    /// Container id (at least 12 hexadecimal digits of it).
    pub container: Option<String>,
    /// TCP port that it listens on. It matches from then on.
    pub listens: Option<u16>,
}

/// How an adopted service is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartVia {
    /// A program and its arguments.
    Command(Vec<String>),
    /// systemd, by the unit's name.
    Unit(String),
    /// The container's runtime.
    Container {
        /// `docker` or `podman`, as found in the path of root.
        runtime: String,
        /// Name or id.
        container: String,
    },
}
