//! Policies from files: found, read, checked, shown. What they mean is decided in the core.

pub mod entries;
pub mod files;
pub mod golden;
pub mod host;
pub mod load;
pub mod recorded;
pub mod render;
pub mod scenario;
