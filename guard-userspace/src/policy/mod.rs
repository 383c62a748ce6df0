//! Policies from files: found, read, checked, shown. What they mean is decided in the core.

pub mod files;
pub mod host;
pub mod load;
pub mod render;
