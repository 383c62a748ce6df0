//! What is known of processes: who lives, from whom, where, and why one died.

mod ahead;
mod cgroup;
pub mod cgroup_path;
mod lineage;
mod pids;
mod program;
mod settle;
mod store;
mod table;

pub(crate) mod cause;
pub(crate) mod convert;
pub(crate) mod held;
pub(crate) mod usage;

pub use ahead::AHEAD;
pub(crate) use cgroup::Cgroups;
pub(crate) use settle::Settled;
pub use table::Table;
pub(crate) use table::{Ended, Milestones};
