//! The daemon: services kept as their policies say.
//!
//! ```text
//! holder (ring -> recording -> events) ----+
//! hands/   pidfds of main processes -------+      +-> hands/    starts, signals, kills; keeper/ holds the logs
//! probes/  answers ------------------------+-> Supervisor (guard-core) -> Effect
//! api/     commands, by door.rs -----------+      +-> probes/   questions
//!                                                 +-> incidents (guard-core) -> state/, events, alerts/
//! ```
//! One task owns the core; what takes long is done elsewhere and answers through a channel.

pub mod alerts;
pub mod api;
pub mod door;
pub mod hands;
pub mod keeper;
pub mod metrics;
pub mod probes;
pub mod settings;
pub mod state;
pub mod systemd;
pub mod view;
mod web;
