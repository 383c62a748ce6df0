//! Things that really happen on this kernel, and what `processguard trace` says of them.
//!
//! One module per hook of the kernel sensor, and one per promise that several hooks keep.

mod attach;
mod cgroups;
mod daemon;
mod exec;
mod exit;
mod faults;
mod filters;
mod fork;
mod interface;
mod latency;
mod listen;
mod oom;
mod paths;
mod policies;
mod pressure;
mod recorder;
mod refusals;
mod resources;
mod restarts;
mod resync;
mod signal;
mod start;
mod storm;
mod usage;
