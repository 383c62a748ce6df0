//! The daemon on real processes: what it keeps, what it survives, what it says.

mod adopted;
mod alerts;
mod containers;
mod continues;
mod essentials;
mod faults;
mod incidents;
mod lacks;
mod logs;
mod metrics;
mod order;
mod reload;
mod survival;
mod survives;
mod verbs;
mod wrap;

use anyhow::Result;
pub(crate) use guard_tests::kept::{Truth, closed_incident, service};

/// A port that nobody has; who takes it meanwhile is told by the listener's failure.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
