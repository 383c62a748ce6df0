//! Whether a service is well: single answers and numbers become the state of a check.
//!
//! ```text
//! events, samples, answers -> Gauges::value(signal, now) --+
//! Input::Answered ------------------------------------------+-> Monitor -> Change { state, why, since }
//! ```
//! A [`Gauges`] holds what is measured of one instance (or of a service as one), a [`Monitor`] the state of one check of it.

mod gauges;
mod growth;
mod members;
mod monitor;
mod window;

pub use gauges::{Ending, Gauges, together};
pub use monitor::{Change, Monitor};

/// What a check says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckState {
    /// Nothing was found out yet, or not any more: a state of its own, neither well nor ill.
    #[default]
    Unknown,
    /// All is as it should be.
    Passing,
    /// Something is not, for long enough.
    Failing,
}

impl CheckState {
    /// Its name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
        }
    }
}
