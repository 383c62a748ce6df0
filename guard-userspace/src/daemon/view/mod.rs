//! What others see: facts made into documents with stable names.
//!
//! The API writes them, the client reads them. Times are UTC with nanoseconds, and nanoseconds since boot beside, which no
//! step of a clock moves; lengths of time are nanoseconds, in fields that end with `_ns`.

mod host;
mod incident;
mod service;
mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::timestamp;

pub use host::{
    Daemon, Flag, Flags, Generation, Generations, Health, Inventory, Known, Ring, Status, Unguarded,
};
pub use incident::{Incident, Incidents, Moment, Recovery};
pub use service::{Approval, Approvals, Budget, Check, Instance, Process, Service, Services, Used};
pub use words::{CheckState, Impact, Kind, Mode, Origin, State};

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct At {
    /// UTC: `2026-11-21T22:36:49.123456789Z`.
    pub utc: String,
    /// Nanoseconds since boot, suspended time included.
    pub boottime_ns: u64,
}

impl At {
    /// A moment since boot, by what the clocks say now.
    #[must_use]
    pub fn new(stamp: &Stamp, boottime_ns: u64) -> Self {
        Self { utc: timestamp::utc(stamp.unix_ns(boottime_ns)), boottime_ns }
    }

    /// How long it is before another moment, in nanoseconds since boot; 0 if it is later.
    #[must_use]
    pub const fn before_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.boottime_ns)
    }
}
