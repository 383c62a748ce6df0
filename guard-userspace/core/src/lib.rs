//! Everything that ProcessGuard decides.
//!
//! Inputs and time go in, effects come out; nothing here performs I/O, reads a clock or draws
//! global randomness. One [`Core`] is owned by one task, which feeds it every kernel record in
//! ring order and carries out what it asks for.
//!
//! ```text
//! Input::{Snapshot, Kernel, Gap, ...}    -> Core::handle(now) -> poll_effect() -> Effect::Emit(Event)
//!                                           Core::handle_timeout(now) <- poll_timeout()
//!
//! Input::Gap -> Effect::Resync -> Input::{Cgroup, Resync} -> drain -> Input::{Tombstone, Settled}
//!                                  Effect::ReadProgram -> Input::Program
//! ```

pub mod draft;
pub mod event;
pub mod health;
pub mod ids;
pub mod incident;
pub mod latency;
pub mod names;
#[macro_use]
pub mod policy;

pub mod process;
pub mod rehearse;
pub mod resources;
pub mod select;
pub mod suggest;
pub mod supervise;

pub mod trial;

mod aged;
mod core;
mod groups;
mod limits;
mod resync;
mod samples;
#[cfg(test)]
#[expect(dead_code, reason = "the integration tests use the rest")]
#[path = "../tests/testkit/mod.rs"]
mod testkit;

pub use crate::core::{Core, Effect, Input};
pub use crate::limits::Limits;
