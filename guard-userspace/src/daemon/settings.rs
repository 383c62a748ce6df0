//! What the daemon is started with.

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
    pub stop_services_on_exit: bool,
}
