//! The daemon: services kept as their policies say.
//!
//! ```text
//! holder (ring -> recording -> events) ----+
//! hands/   pidfds of main processes -------+      +-> hands/    starts, signals, kills; keeper/ holds the logs
//! probes/  answers ------------------------+-> Supervisor (guard-core) -> Effect
//! api/     commands, by door.rs -----------+      +-> others/   restarts of what somebody else started
//!                                                 +-> probes/   questions
//!                                                 +-> incidents (guard-core) -> state/, events, alerts/
//! ```
//! One task owns the core; what takes long is done elsewhere and answers through a channel.

pub mod alerts;
mod answers;
pub mod api;
mod deeds;
pub mod door;
pub mod drafts;
mod endings;
mod ends;
mod facts;
pub mod fail;
mod flags;
pub mod gauges;
mod generations;
pub mod hands;
pub mod keeper;
mod listening;
mod lives;
pub mod metrics;
mod open;
pub mod others;
pub mod policies;
pub mod probes;
mod quick;
mod resume;
pub mod settings;
mod settle;
mod sketches;
mod slim;
pub mod state;
pub mod systemd;
pub mod tally;
mod told;
mod turn;
pub mod view;
mod web;

use tokio::task::JoinSet;

use crate::exit::Failure;
use door::Door;
use settings::Settings;

/// Runs the daemon until it is asked to end.
///
/// # Errors
/// If something that it cannot do without is missing, or breaks.
pub fn run(settings: Settings) -> Result<(), Failure> {
    fail::arm();
    slim::one_heap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { action: "start the event loop", source })?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let (door, requests) = Door::new();
    let metrics = match settings.metrics {
        Some(address) => Some(metrics::Server::bind(address, door.clone()).await?),
        None => None,
    };
    let reached =
        api::Settings { path: settings.socket.clone(), group: settings.group, readers: settings.readers };
    let (daemon, sources) = open::open(settings, door.clone(), requests).await?;
    let api = api::Server::bind(&reached, door.clone())?;
    // All that runs beside the loop; it ends with it.
    let mut servers = JoinSet::new();
    servers.spawn(api.run(std::future::pending()));
    if let Some(metrics) = metrics {
        servers.spawn(metrics.run(std::future::pending()));
    }
    if let Some(every) = systemd::watchdog() {
        servers.spawn(systemd::watch(door, every));
    }
    daemon.keep(sources).await
}
