//! Recordings: the kernel's own records, as they lay in the ring, with what is needed to understand them.

pub mod frame;
