//! ProcessGuard's userspace: everything around the deciding core that touches the world.

pub mod cli;
pub mod client;
pub mod clock;
pub mod daemon;
pub mod exit;
pub mod feed;
pub mod filter;
pub mod holder;
pub mod names;
pub mod output;
pub mod policy;
pub mod recording;
pub mod redact;
pub mod sample;
pub mod sensor;
pub mod show;
pub mod stop;
pub mod subscription;
pub mod summary;
pub mod timestamp;
pub mod top;
pub mod trace;
pub mod units;
