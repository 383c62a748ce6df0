//! Identities that are never reused.

use std::fmt;

use guard_common::wire::ProcKey;
use serde::{Deserialize, Serialize};

/// A process within one boot: thread group id and start time of its leader. Together with the
/// boot's id it names a process for ever; a bare pid is for display only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcId {
    /// Thread group id in the initial pid namespace; 0: no process.
    pub pid: u32,
    /// Start of the group leader in nanoseconds since boot; 0: not known.
    pub start_ns: u64,
}

impl ProcId {
    /// No process: the kernel itself, or a parent that was never seen.
    pub const NONE: Self = Self { pid: 0, start_ns: 0 };

    /// Whether this names a process.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.pid != 0
    }
}

impl From<ProcKey> for ProcId {
    fn from(key: ProcKey) -> Self {
        Self { pid: key.tgid, start_ns: key.start_ns }
    }
}

/// The kernel's `boot_id`, a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootId(pub u128);

impl BootId {
    /// Reads the UUID's usual text form; hyphens are optional. `None` if it is not a UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|&digit| digit != '-').collect();
        (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok().map(Self)).flatten()
    }

    /// The text that identifies a process across boots and hosts: `process.entity_id` on the wire.
    #[must_use]
    pub fn entity_id(self, process: ProcId) -> String {
        format!("{self}-{}-{}", process.pid, process.start_ns)
    }
}

impl fmt::Display for BootId {
    /// The UUID without hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
