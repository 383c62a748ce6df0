//! What a supervisor knows of its services, for whoever shows it. Nothing here changes anything.

use std::sync::Arc;

use crate::health::CheckState;
use crate::ids::ProcId;
use crate::policy::model::{Ladder, Run, Scope, Service};

use super::checks::Checks;
use super::effect::{ActionId, ServiceState, Subject};
use super::instance::{Instance, Phase};
use super::ladder::{Climb, Key};
use super::shared::Shared;
use super::supervisor::Supervisor;
use super::text;
use super::unit::Unit;

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

impl Supervisor {
    /// All services that have a policy, in order of name. What is left of a budget is as of the last input.
    #[must_use]
    pub fn facts(&self) -> Vec<ServiceFacts> {
        let slots = self.shared.slots.values();
        slots.filter_map(|slot| Some(self.units.get(slot)?.service_facts(&self.shared))).collect()
    }

    /// The service of this name, if it has a policy.
    #[must_use]
    pub fn facts_of(&self, service: &str) -> Option<ServiceFacts> {
        let slot = self.shared.slots.get(service)?;
        Some(self.units.get(slot)?.service_facts(&self.shared))
    }

    /// The policy of a service.
    #[must_use]
    pub fn policy_of(&self, service: &str) -> Option<&Arc<Service>> {
        Some(&self.units.get(self.shared.slots.get(service)?)?.policy)
    }

    /// Whether a check of whoever lives in a control group looks at what that says: to read it is dear where there are many.
    #[must_use]
    pub fn measures_group(&self, path: &str) -> bool {
        let unit = self.shared.members.in_group_at(path).and_then(|member| self.units.get(&member.slot));
        unit.is_some_and(|unit| unit.policy.checks.iter().any(|check| check.kind.is_of_a_group()))
    }

    /// The main processes of a service's instances, with the instances' numbers.
    #[must_use]
    pub fn mains_of(&self, service: &str) -> Vec<(u32, ProcId)> {
        let unit = self.shared.slots.get(service).and_then(|slot| self.units.get(slot));
        let instances = unit.iter().flat_map(|unit| unit.instances.values());
        instances.filter_map(|instance| Some((instance.number, instance.main()?))).collect()
    }

    /// How an instance is started, with `{port}` and `{instance}` resolved; `None`: somebody else starts it, or there is no such
    /// service.
    #[must_use]
    pub fn run_of(&self, subject: &Subject) -> Option<Run> {
        let unit = self.units.get(self.shared.slots.get(&*subject.service)?)?;
        Some(unit.fill(subject.instance?).run(unit.run()?))
    }

    /// The names of all services that have a policy, in order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.shared.slots.keys()
    }

    /// Whose a process is, and whether it is the main process. `None`: nobody's.
    #[must_use]
    pub fn whose(&self, id: ProcId) -> Option<(Subject, bool)> {
        let member = self.shared.members.get(id)?;
        let unit = self.units.get(&member.slot)?;
        let is_main = unit.instances.get(&member.instance).and_then(Instance::main) == Some(id);
        Some((unit.subject(Some(member.instance)), is_main))
    }
}

impl Unit {
    fn service_facts(&self, shared: &Shared) -> ServiceFacts {
        ServiceFacts {
            policy: Arc::clone(&self.policy),
            state: self.state(),
            why: self.why(),
            since_ns: self.told_ns,
            wanted: self.wanted,
            target: self.target,
            ready: self.ready(),
            budget: (self.window.left_at(shared.now_ns), self.window.budget().count),
            down_since_ns: self.down.map(|(since_ns, _)| since_ns),
            role: shared.roles.held_with(self.slot),
            instances: self.instances.values().map(|instance| self.instance_facts(instance)).collect(),
            checks: self.check_facts(&self.checks, Scope::Service),
            waiting: self.climbs.iter().filter_map(|(key, climb)| self.asked(key, climb)).collect(),
        }
    }

    fn instance_facts(&self, instance: &Instance) -> InstanceFacts {
        let next_ns = match &instance.phase {
            Phase::Backoff { until_ns } => Some(*until_ns),
            Phase::Held { retry_ns, .. } => *retry_ns,
            _ => None,
        };
        let ready_ns = if let Phase::Up(up) = &instance.phase { up.ready_ns } else { None };
        InstanceFacts {
            number: instance.number,
            state: instance.state(),
            why: instance.why.what.clone(),
            since_ns: instance.told_ns,
            main: instance.main(),
            ready_ns,
            next_ns,
            port: self.run().and_then(|run| run.port(instance.number)),
            checks: self.check_facts(&instance.checks, Scope::Instance),
            used: instance.main().and_then(|_| instance.checks.gauges.used()),
        }
    }

    /// What the checks of one scope say.
    fn check_facts(&self, checks: &Checks, scope: Scope) -> Vec<CheckFacts> {
        let all = self.policy.checks.iter().zip(&self.names).zip(&checks.watches);
        let said = all.filter(|((check, _), _)| check.scope == scope).map(|((_, name), watch)| CheckFacts {
            name: Arc::clone(name),
            state: watch.state(),
            why: watch.monitor.as_ref().map_or_else(String::new, crate::health::Monitor::why),
        });
        said.collect()
    }

    /// The step of a ladder that waits for somebody's consent.
    fn asked(&self, key: &Key, climb: &Climb) -> Option<(u64, String)> {
        let (step, ActionId(id)) = climb.asks()?;
        let ladder: &Ladder = self.policy.actions.get(&*key.1)?;
        Some((id, text::act(&ladder.steps.get(step)?.act)))
    }
}
