//! What a supervisor knows of its services, for whoever shows it. Nothing here changes anything.

use std::sync::Arc;

use crate::health::CheckState;
use crate::ids::ProcId;
use crate::policy::model::Service;

use super::effect::ServiceState;

/// A service, as it is now. Times are nanoseconds since boot.
#[derive(Clone, Debug)]
pub struct ServiceFacts {
    /// Its policy.
    pub policy: Arc<Service>,
    /// Its state.
    pub state: ServiceState,
    /// Why it is in it.
    pub why: String,
    /// Since when it is in it.
    pub since_ns: u64,
    /// It is to run.
    pub wanted: bool,
    /// How many instances are wanted.
    pub target: u32,
    /// How many are ready.
    pub ready: u32,
    /// Restarts that are left in its budget, and of how many.
    pub budget: (u32, u32),
    /// Since when fewer than `min` are ready.
    pub down_since_ns: Option<u64>,
    /// It holds the primary role of its group, with this token.
    pub role: Option<u64>,
    /// Its instances, in order.
    pub instances: Vec<InstanceFacts>,
    /// Checks of the service as one.
    pub checks: Vec<CheckFacts>,
    /// Steps that wait for somebody's consent: their number, and what they would do.
    pub waiting: Vec<(u64, String)>,
}

/// An instance, as it is now.
#[derive(Clone, Debug)]
pub struct InstanceFacts {
    /// Counted from 0.
    pub number: u32,
    /// Its state.
    pub state: ServiceState,
    /// Why it is in it.
    pub why: String,
    /// Since when it is in it.
    pub since_ns: u64,
    /// Its living main process.
    pub main: Option<ProcId>,
    /// When it was ready.
    pub ready_ns: Option<u64>,
    /// When it is tried again: the end of a wait, or the next slow try.
    pub next_ns: Option<u64>,
    /// Its port, if it has one.
    pub port: Option<u16>,
    /// Its checks.
    pub checks: Vec<CheckFacts>,
    /// What it uses, as sampled last, with all its descendants; `None`: not sampled yet.
    pub used: Option<Used>,
}

/// A check, as it is now.
#[derive(Clone, Debug)]
pub struct CheckFacts {
    /// Its name.
    pub name: Arc<str>,
    /// What it says.
    pub state: CheckState,
    /// What was seen.
    pub why: String,
}

/// What an instance uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// In percent of one core.
    pub cpu_percent: f64,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Descriptors, of the process with most.
    pub open_files: u32,
    /// Threads.
    pub threads: u32,
}
