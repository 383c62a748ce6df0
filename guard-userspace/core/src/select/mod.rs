//! Whose a process is: the selectors of all adopted services, compiled into an index.
//!
//! ```text
//! Selector -> Matcher (compiled) -> Index: by the key that fewest others share -> the few that may match -> Matcher::matches
//! ```

mod glob;
mod index;
mod matcher;

pub use index::{Index, Place};
