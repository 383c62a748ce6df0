//! Services under a supervisor, in a small world of their own.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod chance;
mod changes;
mod chronicle;
mod comebacks;
mod deaths;
mod early;
mod facts;
mod incidents;
mod reached;
mod rules;
mod services;
mod stories;
mod survival;
mod world;
