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
mod ends;
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
mod resume;
pub mod settings;
mod settle;
pub mod state;
pub mod systemd;
pub mod tally;
mod told;
mod turn;
pub mod view;
mod web;
