//! What the daemon is told: by options, by its file, or by nobody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::api::Readers;
use crate::recording::writer::Rotation;

/// Where policies are unless told otherwise.
pub const POLICIES: &str = "/etc/processguard/policies";

/// Where state is kept unless told otherwise.
pub const STATE: &str = "/var/lib/processguard";

/// Where the daemon's sockets are unless told otherwise.
pub const RUNTIME: &str = "/run/processguard";

/// The control group below which services live, unless told otherwise.
pub const CGROUP: &str = "processguard";

/// All that the daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Files and directories of policies.
    pub policies: Vec<PathBuf>,
    /// Where state is kept; made if need be.
    pub state: PathBuf,
    /// The API's socket.
    pub socket: PathBuf,
    /// Where metrics are served, if they are.
    pub metrics: Option<SocketAddr>,
    /// The group whose members may act.
    pub group: Option<u32>,
    /// Who else may read.
    pub readers: Readers,
    /// Program and arguments that are told of alerts; empty: none.
    pub alert_exec: Vec<String>,
    /// A URL that is told of alerts.
    pub alert_webhook: Option<String>,
    /// The control group below which services live.
    pub cgroup: String,
    /// Where the daemon's other sockets are; made if need be.
    pub runtime: PathBuf,
    /// Where the sensor is pinned.
    pub pins: PathBuf,
    /// Bytes of the kernel's ring; `None`: as large as it is, or else as is usual.
    pub ring_bytes: Option<u32>,
    /// How often resources are sampled.
    pub sample_interval: Duration,
    /// Files of the recording.
    pub record: Rotation,
    /// SIGTERM stops the services too.
    pub stop_services_on_exit: bool,
}
