//! The daemon, its policies and its host.

use std::cmp::Reverse;

use guard_core::supervise::ServiceFacts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, Impact, Service, Services, State};
use crate::clock::Stamp;
use crate::daemon::door::{self, DaemonFacts};
use crate::timestamp;

/// The daemon and all services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// When this was true.
    pub now: At,
    /// The daemon.
    pub daemon: Daemon,
    /// The services, in order of name.
    pub services: Vec<Service>,
}

/// The daemon itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it was started.
    pub started: At,
    /// How many daemons kept these services before it.
    pub takeovers: u64,
    /// The generation of policies that holds.
    pub generation: u64,
    /// Whether the process table can be relied on; while not, nothing is done to the living.
    pub certain: bool,
    /// Kernel records read.
    pub records: u64,
    /// Kernel records lost.
    pub lost: u64,
    /// The kernel's ring of records.
    pub ring: Ring,
    /// CPU time used.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open files.
    pub open_files: u64,
    /// What is wrong with the daemon itself.
    pub troubles: Vec<String>,
}

/// The kernel's ring of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ring {
    /// What waits to be read.
    pub waiting_bytes: u64,
    /// What fits in.
    pub size_bytes: u64,
}

/// Services by how bad it is when they are down, and what nobody guards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// Those with a policy: the highest impact first, of these the shortest `rto`.
    pub services: Vec<Known>,
    /// Processes that listen, and that no policy guards.
    pub unguarded: Vec<Unguarded>,
}

/// A service with a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// How bad it is when it is down.
    pub impact: Impact,
    /// How long it may be down.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rto_ns: Option<u64>,
    /// Whom to ask.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<String>,
    /// How it is.
    pub state: State,
}

/// A process that listens, and that no policy guards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unguarded {
    /// Its pid.
    pub pid: u32,
    /// Its executable's path, escaped.
    pub exe: String,
    /// Its command line, escaped.
    pub command: String,
    /// TCP ports on which it listens.
    pub ports: Vec<u16>,
    /// Its systemd unit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
}

/// Sets of policies that were accepted, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Generations {
    /// Each of them.
    pub generations: Vec<Generation>,
}

/// A set of policies that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Generation {
    /// Counted from 1.
    pub number: u64,
    /// When it was accepted, in UTC: it may have been before this boot.
    pub accepted: String,
    /// How many services it has.
    pub services: u64,
    /// Why it came.
    pub why: String,
    /// It holds now.
    pub active: bool,
    /// Until when restarts decide whether it stays, in UTC.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trial_until: Option<String>,
    /// What changed against the one before.
    pub changes: Vec<String>,
}

/// Behaviours that can be switched off on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flags {
    /// Each of them.
    pub flags: Vec<Flag>,
}

/// A behaviour that can be switched off on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flag {
    /// Its name.
    pub name: String,
    /// What it switches.
    pub meaning: String,
    /// Whether it is on.
    pub on: bool,
}

/// The daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Always true: otherwise there is a problem instead.
    pub ok: bool,
}

impl Status {
    /// All of it.
    #[must_use]
    pub fn new(stamp: &Stamp, now_ns: u64, daemon: &DaemonFacts, services: &[ServiceFacts]) -> Self {
        Self {
            now: At::new(stamp, now_ns),
            daemon: Daemon::new(stamp, daemon),
            services: Services::new(stamp, services).services,
        }
    }
}

impl Daemon {
    fn new(stamp: &Stamp, facts: &DaemonFacts) -> Self {
        let sum = |sum: u64, more: u64| sum.saturating_add(more);
        let (cpu_seconds, resident_bytes, open_files) = facts.used;
        Self {
            version: facts.version.clone(),
            pid: facts.pid,
            started: At::new(stamp, facts.started_ns),
            takeovers: facts.takeovers,
            generation: facts.generation,
            certain: facts.certain,
            records: facts.records.iter().map(|(_, count)| *count).fold(0, sum),
            lost: facts.losses.iter().map(|(_, _, count)| *count).fold(0, sum),
            ring: Ring { waiting_bytes: facts.ring.0, size_bytes: facts.ring.1.into() },
            cpu_seconds,
            resident_bytes,
            open_files,
            troubles: facts.troubles.clone(),
        }
    }
}

impl Inventory {
    /// In its order.
    #[must_use]
    pub fn new(services: &[ServiceFacts], unguarded: Vec<door::Unguarded>) -> Self {
        let known = |facts: &ServiceFacts| Known {
            name: facts.policy.name.clone(),
            impact: facts.policy.impact.into(),
            rto_ns: facts.policy.rto,
            owner: facts.policy.owner.clone(),
            state: facts.state.into(),
        };
        let mut services: Vec<Known> = services.iter().map(known).collect();
        services.sort_by(|one, other| {
            let key = |known: &Known| (Reverse(known.impact), known.rto_ns.unwrap_or(u64::MAX));
            key(one).cmp(&key(other)).then_with(|| one.name.cmp(&other.name))
        });
        Self { services, unguarded: unguarded.into_iter().map(Unguarded::from).collect() }
    }
}

impl From<door::Unguarded> for Unguarded {
    fn from(facts: door::Unguarded) -> Self {
        let door::Unguarded { pid, exe, command, ports, unit } = facts;
        Self { pid, exe, command, ports, unit }
    }
}

impl From<door::Generation> for Generation {
    fn from(facts: door::Generation) -> Self {
        Self {
            number: facts.number,
            accepted: timestamp::utc(facts.accepted_unix_ns),
            services: facts.services as u64,
            why: facts.why,
            active: facts.active,
            trial_until: facts.trial_until_unix_ns.map(timestamp::utc),
            changes: facts.changes,
        }
    }
}

impl From<Vec<door::Generation>> for Generations {
    fn from(facts: Vec<door::Generation>) -> Self {
        Self { generations: facts.into_iter().map(Generation::from).collect() }
    }
}

impl From<Vec<door::Flag>> for Flags {
    fn from(facts: Vec<door::Flag>) -> Self {
        let flag =
            |door::Flag { name, meaning, on }: door::Flag| Flag { name, meaning: meaning.to_owned(), on };
        Self { flags: facts.into_iter().map(flag).collect() }
    }
}
