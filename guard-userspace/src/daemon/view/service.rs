//! Services and their instances.

use std::collections::BTreeMap;

use guard_core::ids::ProcId;
use guard_core::supervise::{CheckFacts, InstanceFacts, ServiceFacts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, CheckState, Impact, Mode, Origin, State};
use crate::clock::Stamp;

/// Services, in order of name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Services {
    /// Each of them.
    pub services: Vec<Service>,
}

/// A service, as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Whom to ask.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<String>,
    /// For selection and display.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, String>,
    /// How bad it is when it is down.
    pub impact: Impact,
    /// How long it may be down.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rto_ns: Option<u64>,
    /// What to read when it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runbook: Option<String>,
    /// Where its processes come from.
    pub origin: Origin,
    /// Whether decisions about it are carried out.
    pub mode: Mode,
    /// How it is.
    pub state: State,
    /// Why.
    pub why: String,
    /// Since when.
    pub since: At,
    /// It is to run.
    pub wanted: bool,
    /// How many instances are wanted.
    pub target: u32,
    /// How many are ready.
    pub ready: u32,
    /// Restarts that it may still have.
    pub budget: Budget,
    /// Since when too few are ready.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub down_since: Option<At>,
    /// It holds the primary role of its group, with this token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub primary_token: Option<u64>,
    /// Its instances, in order.
    pub instances: Vec<Instance>,
    /// Checks of the service as one.
    pub checks: Vec<Check>,
    /// Steps that wait for somebody's consent.
    pub approvals: Vec<Approval>,
}

/// Restarts that a service may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// How many are left.
    pub left: u32,
    /// Of how many.
    pub of: u32,
    /// In how long.
    pub within_ns: u64,
}

/// An instance of a service, as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Counted from 0.
    pub number: u32,
    /// How it is.
    pub state: State,
    /// Why.
    pub why: String,
    /// Since when.
    pub since: At,
    /// Its living main process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub main: Option<Process>,
    /// When it was ready.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ready_at: Option<At>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_at: Option<At>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// Its checks.
    pub checks: Vec<Check>,
    /// What it uses, with all its descendants; absent: not sampled yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub used: Option<Used>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its pid, which may be another's later.
    pub pid: u32,
    /// Boot, pid and start: never another's. `process.entity_id` in events.
    pub entity_id: String,
    /// When it began.
    pub start: At,
}

impl Process {
    pub(super) fn new(stamp: &Stamp, id: ProcId) -> Self {
        Self { pid: id.pid, entity_id: stamp.boot.entity_id(id), start: At::new(stamp, id.start_ns) }
    }
}

/// A check, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What it says.
    pub state: CheckState,
    /// What was seen.
    pub why: String,
}

/// What an instance uses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Used {
    /// In percent of one core.
    pub cpu_percent: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Descriptors, of the process with most.
    pub open_files: u32,
    /// Threads.
    pub threads: u32,
}

/// Steps that wait for consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approvals {
    /// Each of them, the oldest first.
    pub approvals: Vec<Approval>,
}

/// A step that waits for consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Its number.
    pub id: u64,
    /// For which service.
    pub service: String,
    /// What would be done.
    pub deed: String,
}

impl Services {
    /// All of them, in order of name.
    #[must_use]
    pub fn new(stamp: &Stamp, facts: &[ServiceFacts]) -> Self {
        let mut services: Vec<Service> = facts.iter().map(|facts| Service::new(stamp, facts)).collect();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        Self { services }
    }
}

impl Approvals {
    /// All that wait.
    #[must_use]
    pub fn new(facts: &[ServiceFacts]) -> Self {
        let mut approvals: Vec<Approval> = facts.iter().flat_map(approvals).collect();
        approvals.sort_by_key(|approval| approval.id);
        Self { approvals }
    }
}

fn approvals(facts: &ServiceFacts) -> impl Iterator<Item = Approval> + '_ {
    let approval = |(id, deed): &(u64, String)| Approval {
        id: *id,
        service: facts.policy.name.clone(),
        deed: deed.clone(),
    };
    facts.waiting.iter().map(approval)
}

impl Service {
    /// One of them.
    #[must_use]
    pub fn new(stamp: &Stamp, facts: &ServiceFacts) -> Self {
        let policy = &facts.policy;
        let (left, of) = facts.budget;
        Self {
            name: policy.name.clone(),
            owner: policy.owner.clone(),
            labels: policy.labels.clone(),
            impact: policy.impact.into(),
            rto_ns: policy.rto,
            runbook: policy.runbook.clone(),
            origin: (&policy.origin).into(),
            mode: policy.mode.into(),
            state: facts.state.into(),
            why: facts.why.clone(),
            since: At::new(stamp, facts.since_ns),
            wanted: facts.wanted,
            target: facts.target,
            ready: facts.ready,
            budget: Budget { left, of, within_ns: policy.restart.budget.within },
            down_since: facts.down_since_ns.map(|since_ns| At::new(stamp, since_ns)),
            primary_token: facts.role,
            instances: facts.instances.iter().map(|facts| Instance::new(stamp, facts)).collect(),
            checks: facts.checks.iter().map(Check::from).collect(),
            approvals: approvals(facts).collect(),
        }
    }
}

impl Instance {
    fn new(stamp: &Stamp, facts: &InstanceFacts) -> Self {
        let at = |time_ns| At::new(stamp, time_ns);
        Self {
            number: facts.number,
            state: facts.state.into(),
            why: facts.why.clone(),
            since: at(facts.since_ns),
            main: facts.main.map(|id| Process::new(stamp, id)),
            ready_at: facts.ready_ns.map(at),
            next_at: facts.next_ns.map(at),
            port: facts.port,
            checks: facts.checks.iter().map(Check::from).collect(),
            used: facts.used.map(|used| Used {
                cpu_percent: used.cpu_percent,
                resident_bytes: used.rss_bytes,
                open_files: used.open_files,
                threads: used.threads,
            }),
        }
    }
}

impl From<&CheckFacts> for Check {
    fn from(facts: &CheckFacts) -> Self {
        Self { name: facts.name.to_string(), state: facts.state.into(), why: facts.why.clone() }
    }
}
