//! What is kept, in the shapes in which it comes and goes.

use guard_core::ids::BootId;
use guard_core::incident::{Incident, IncidentId};
use guard_core::supervise::ActionId;

use crate::clock::Stamp;
use crate::daemon::door::Generation;

/// Files of policies: names and contents.
pub type Files = Vec<(String, String)>;

/// The process of an instance, and the room in which it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The service's name.
    pub service: String,
    /// Which instance, counted from 0.
    pub instance: u32,
    /// Its control group, as whoever made it names it.
    pub room: String,
    /// The main process.
    pub pid: u32,
    /// Its start, in nanoseconds since boot.
    pub start_ns: u64,
    /// Since which boot.
    pub boot: BootId,
}

/// Something that was about to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The action's number: never used twice, also not by the next daemon.
    pub id: ActionId,
    /// When, in nanoseconds since boot.
    pub time_ns: u64,
    /// Since which boot.
    pub boot: BootId,
    /// What: `start`, `signal`, `kill`.
    pub kind: String,
    /// To which service.
    pub service: String,
    /// To which instance; `None`: to the service as one.
    pub instance: Option<u32>,
    /// JSON, for whoever has to find out what became of it.
    pub detail: String,
}

/// An incident, and what turns its times into times of day: those of the boot in which it was last written.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptIncident {
    /// The incident.
    pub incident: Incident,
    /// The boot, and how far UTC was from it.
    pub stamp: Stamp,
}

/// How long what is written must be able to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Our own death: for what starts the dead.
    Crash,
    /// A power failure: for what is done to the living.
    Power,
}

/// What an earlier daemon left.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The boot in which it ran, and how far UTC was from that boot's clock. `None`: there was none.
    pub before: Option<Stamp>,
    /// What the supervisor saved of each service, by name.
    pub services: Vec<(String, String)>,
    /// What it saved of all.
    pub shared: Option<String>,
    /// Processes of instances that did not end as far as is known.
    pub lives: Vec<Life>,
    /// Intents without an outcome, in the order of their numbers. They were done, or not, or half.
    pub unfinished: Vec<Intent>,
    /// The largest number of an action: the next one is larger.
    pub last_action: u64,
    /// Incidents that are not over.
    pub open: Vec<KeptIncident>,
    /// The largest number of an incident: the next one is larger.
    pub last_incident: IncidentId,
    /// The set of policies that holds, with its files.
    pub active: Option<(Generation, Files)>,
    /// The largest number of a set of policies.
    pub last_generation: u64,
    /// Flags that were set.
    pub flags: Vec<(String, bool)>,
    /// Counters.
    pub counters: Vec<(String, u64)>,
    /// Sketches: service, signal, contents.
    pub sketches: Vec<(String, String, Vec<u8>)>,
    /// Notes.
    pub notes: Vec<(String, Vec<u8>)>,
    /// What a reader of the log should know: something at the end was lost in a power failure.
    pub warnings: Vec<String>,
}

impl Recovered {
    /// What to add to a time of the earlier daemon to have it on the clock of this boot: negative after a reboot.
    /// Within one boot it is 0, whatever the wall clock did.
    #[must_use]
    pub fn shift_ns(&self, now: Stamp) -> i64 {
        self.before
            .filter(|before| before.boot != now.boot)
            .map_or(0, |before| before.utc_offset_ns.saturating_sub(now.utc_offset_ns))
    }
}
