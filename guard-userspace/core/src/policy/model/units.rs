//! Quantities.

/// A span of time, in nanoseconds.
pub type Span = u64;

/// At most so many in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many.
    pub count: u32,
    /// In how long, in nanoseconds.
    pub within: Span,
}

/// What a signal is measured in, and so what its bounds are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `80%`; held in percent. Of CPU time: of one core.
    Percent,
    /// `400MiB`; held in bytes.
    Bytes,
    /// `10MiB/m`; held in bytes per second.
    BytesPerTime,
    /// `30s`; held in nanoseconds.
    Time,
    /// `200`; a plain number, also from outside.
    Number,
}
