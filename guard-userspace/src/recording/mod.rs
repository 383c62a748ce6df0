//! Recordings: the kernel's own records, as they lay in the ring, with what is needed to understand them.
//!
//! A recording is not yet interpreted: whoever reads it feeds it to a core, which then decides exactly as it
//! would have at the time, since inputs and clocks are all there.

pub mod directory;
pub mod frame;
pub mod player;
pub mod reader;
pub mod writer;
