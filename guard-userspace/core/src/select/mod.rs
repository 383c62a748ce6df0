//! Whose a process is: the selectors of all adopted services, compiled into an index.
//!
//! ```text
//! Selector -> Matcher (compiled) -> Index: by the key that fewest others share -> the few that may match -> Matcher::matches
//! ```

mod claims;
pub(crate) mod expression;
pub(crate) mod glob;
mod index;
mod key;
mod matcher;

pub use claims::{Claim, Claims, Shift, Standing};
pub use index::{Index, Place};

#[cfg(test)]
mod tests;
