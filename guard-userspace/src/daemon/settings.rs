//! What the daemon is started with.
//! What the daemon is told: by options, by its file, or by nobody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::api::Readers;
use crate::recording::writer::Rotation;

/// Everything that the command line and the configuration say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files and directories of policies.
    pub policies: Vec<PathBuf>,
    /// What outlives the daemon.
    pub state: PathBuf,
    /// Sockets, and the keeper's own.
    pub runtime: PathBuf,
    /// Where the API listens.
    pub socket: PathBuf,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Where the sensor is pinned.
    pub pins: PathBuf,
    /// The ring's size, if it was asked for.
    pub ring_bytes: Option<u32>,
    /// How often resources are sampled.
    pub sample_interval: Duration,
    /// The control group below which all services are.
    pub cgroup: String,
    /// Its members may act.
    pub group: Option<String>,
    /// Who may read besides those who may act.
    pub readers: Readers,
    /// A program that is run for each alert.
    pub alert_exec: Option<Vec<String>>,
    /// Where each alert is posted.
    pub alert_webhook: Option<String>,
    /// How large the recording's files become, and how many there are.
    pub rotation: Rotation,
    /// Services are stopped when the daemon is asked to end.
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
    /// Where state is kept; made if need be.
    /// The API's socket.
    /// Where metrics are served, if they are.
    /// The group whose members may act.
    pub group: Option<u32>,
    /// Who else may read.
    /// Program and arguments that are told of alerts; empty: none.
    pub alert_exec: Vec<String>,
    /// A URL that is told of alerts.
    /// The control group below which services live.
    /// Where the daemon's other sockets are; made if need be.
    /// Bytes of the kernel's ring; `None`: as large as it is, or else as is usual.
    /// Files of the recording.
    pub record: Rotation,
    /// SIGTERM stops the services too.
    pub stop_services_on_exit: bool,
}
