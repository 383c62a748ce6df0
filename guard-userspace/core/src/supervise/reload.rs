//! Other policies from now on: what did not change goes on undisturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::policy::model::{Check, CheckKind, Instances, Mode, Origin, Run, Service, Signal};
use crate::policy::set::PolicySet;
use crate::select::{Claims, Index};

use super::checks::Checks;
use super::instance::{Hold, Phase, Why};
use super::shared::Slot;
use super::supervisor::Supervisor;
use super::unit::{Turn, Unit, first_target};

/// What a change of a policy does to the processes of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// They go on.
    None,
    /// They are ended and started anew, one after the other: their `run` changed in more than its number of instances.
    Restarted,
    /// Others are looked for: the selector changed, or who starts it.
    Searched,
}

impl Disturbance {
    /// Of a service whose policy was `old` and is `new`.
    #[must_use]
    pub fn between(old: &Service, new: &Service) -> Self {
        match (&old.origin, &new.origin) {
            (Origin::Run(old), Origin::Run(new)) if is_same(old, new) => Self::None,
            (Origin::Run(_), Origin::Run(_)) => Self::Restarted,
            (Origin::Adopt(old), Origin::Adopt(new)) if old.matching == new.matching => Self::None,
            _ => Self::Searched,
        }
    }
}

/// What a check measures.
const fn signal(check: &Check) -> Option<&Signal> {
    match &check.kind {
        CheckKind::Threshold(threshold) => Some(&threshold.signal),
        CheckKind::Probe(_) => None,
    }
}

/// Whether two ways to run differ in nothing but the number of instances.
fn is_same(old: &Run, new: &Run) -> bool {
    let instances = Instances { min: 0, start: 0, max: 0 };
    Run { instances, ..old.clone() } == Run { instances, ..new.clone() }
}

impl Supervisor {
    pub(super) fn policies(&mut self, now_ns: u64, set: &PolicySet) {
        self.shared.set_host(&set.host);
        let names: BTreeSet<&str> = set.services.iter().map(|service| service.name.as_str()).collect();
        let gone = self.units.values().filter(|unit| !unit.retiring && !names.contains(&*unit.name));
        let gone: Vec<Slot> = gone.map(|unit| unit.slot).collect();
        for slot in gone {
            self.retire(now_ns, slot);
        }
        for policy in &set.services {
            self.place(now_ns, policy);
        }
        self.know(now_ns, set);
    }

    /// Finds whose is what, by policies that all have their service.
    pub(super) fn know(&mut self, now_ns: u64, set: &PolicySet) {
        self.connect(now_ns);
        self.claims = Claims::new(Index::new(set));
        self.places = set
            .services
            .iter()
            .map(|service| self.shared.slots.get(service.name.as_str()).copied())
            .collect();
    }

    /// A service that is new, or has a policy already.
    pub(super) fn place(&mut self, now_ns: u64, policy: &Arc<Service>) {
        let leaving = self.units.values().find(|unit| unit.retiring && *unit.name == *policy.name);
        if let Some((slot, old)) = leaving.map(|unit| (unit.slot, &unit.policy))
            && !self.shared.slots.contains_key(policy.name.as_str())
        {
            let comes_back = Disturbance::between(old, policy) != Disturbance::Searched;
            return if comes_back {
                self.revive(now_ns, slot, policy)
            } else {
                self.add(now_ns, policy, Some(slot), None)
            };
        }
        let known = self.shared.slots.get(policy.name.as_str()).copied();
        let disturbance = known
            .and_then(|slot| self.units.get(&slot))
            .map(|unit| Disturbance::between(&unit.policy, policy));
        match (known, disturbance) {
            (Some(slot), Some(Disturbance::None | Disturbance::Restarted)) => {
                let policy = Arc::clone(policy);
                self.with(now_ns, slot, |unit, turn| unit.set_policy(policy, turn));
            }
            (Some(slot), Some(Disturbance::Searched)) => {
                // What was stopped stays stopped, whatever is found for it from now on.
                let stopped = self.units.get(&slot).filter(|unit| !unit.wanted);
                let stopped = stopped.and_then(|unit| unit.stop_why.clone());
                self.retire(now_ns, slot);
                self.add(now_ns, policy, Some(slot), stopped);
            }
            _ => self.add(now_ns, policy, None, None),
        }
    }

    /// A service that was to be forgotten has a policy again before all of it has ended.
    fn revive(&mut self, now_ns: u64, slot: Slot, policy: &Arc<Service>) {
        self.with(now_ns, slot, |unit, turn| {
            (unit.retiring, unit.wanted, unit.stop_why) = (false, true, None);
            unit.parted.clear();
            turn.shared.slots.insert(Arc::clone(&unit.name), slot);
            unit.set_policy(Arc::clone(policy), turn);
        });
        self.poke_heirs(slot);
    }

    /// A new service, which is not started before the one that it follows has ended, nor at all if it is stopped.
    pub(super) fn add(
        &mut self,
        now_ns: u64,
        policy: &Arc<Service>,
        follows: Option<Slot>,
        stopped: Option<Why>,
    ) {
        self.last_slot += 1;
        let slot = self.last_slot;
        let mut unit = Unit::new(slot, Arc::clone(policy), self.shared.seed, now_ns);
        unit.follows = follows;
        (unit.wanted, unit.stop_why) = (stopped.is_none(), stopped);
        if unit.wanted && unit.run().is_none() {
            unit.expect_processes(&Turn { now_ns, shared: &mut self.shared });
        }
        self.shared.slots.insert(Arc::clone(&unit.name), slot);
        self.units.insert(slot, unit);
        self.shared.poked.insert(slot);
    }

    /// A service without a policy: what we started is stopped, what we found is let go.
    pub(super) fn retire(&mut self, now_ns: u64, slot: Slot) {
        self.with(now_ns, slot, |unit, turn| {
            unit.leave(super::text::POLICY_GONE, turn.now_ns);
            (unit.retiring, unit.handover) = (true, None);
            unit.climbs.values().filter_map(super::ladder::Climb::asked).for_each(|id| {
                turn.shared.approvals.remove(&id);
            });
            unit.climbs.clear();
            if unit.run().is_none() || !unit.acts() {
                let numbers: Vec<u32> = unit.instances.keys().copied().collect();
                for number in numbers {
                    unit.set(number, Phase::Down);
                    unit.drop_instance(number, turn);
                }
            }
        });
        if let Some(unit) = self.units.get(&slot)
            && self.shared.slots.get(&unit.name) == Some(&slot)
        {
            self.shared.slots.remove(&unit.name);
        }
    }

    /// Finds who depends on whom, and who shares a role with whom.
    fn connect(&mut self, now_ns: u64) {
        let mut needed_by: BTreeMap<Slot, Vec<Slot>> = BTreeMap::new();
        for unit in self.units.values_mut().filter(|unit| !unit.retiring) {
            unit.needs.clear();
            for needed in &unit.policy.depends_on {
                let Some(&slot) = self.shared.slots.get(needed.service.as_str()) else { continue };
                unit.needs.push((slot, needed.until));
            }
        }
        for unit in self.units.values() {
            unit.needs.iter().for_each(|(slot, _)| needed_by.entry(*slot).or_default().push(unit.slot));
        }
        for unit in self.units.values_mut() {
            unit.needed_by = needed_by.remove(&unit.slot).unwrap_or_default();
        }
        let living = self.units.values().filter(|unit| !unit.retiring);
        let services = living.map(|unit| (unit.slot, &*unit.policy));
        let holders = self.shared.roles.connect(services, &self.shared.slots);
        for (slot, token) in holders {
            self.shared.tell_role(slot, token, now_ns);
        }
    }
}

impl Unit {
    /// Another policy from now on.
    fn set_policy(&mut self, policy: Arc<Service>, turn: &mut Turn<'_>) {
        if Arc::ptr_eq(&policy, &self.policy) || policy == self.policy {
            return;
        }
        let old = std::mem::replace(&mut self.policy, policy);
        let policy = Arc::clone(&self.policy);
        self.window.set(policy.restart.budget);
        self.names = super::unit::names(&policy);
        if old.group != policy.group {
            self.move_tickets(old.group.as_deref(), turn);
        }
        if old.checks != policy.checks || old.actions != policy.actions {
            self.set_checks(&old, turn.now_ns);
        }
        let changed = |key: &super::ladder::Key| old.actions.get(&*key.1) != policy.actions.get(&*key.1);
        let changed: Vec<_> = self.climbs.keys().filter(|key| changed(key)).cloned().collect();
        for key in changed {
            let asked = self.climbs.remove(&key).and_then(|climb| climb.asked());
            asked.map(|id| turn.shared.approvals.remove(&id));
            self.unhold_breaker(&key, turn);
        }
        self.begin_failing_climbs(turn.now_ns);
        if let (Some(run), Origin::Run(before)) = (self.run(), &old.origin) {
            let Instances { min, max, .. } = run.instances;
            let is_first = self.target == before.instances.start;
            let target = if is_first { first_target(&policy) } else { self.target.clamp(min, max) };
            if target != self.target {
                self.scale_to(target, &Why::new("its policy changed", turn.now_ns), turn);
                self.target = target;
            }
        }
        if old.mode != policy.mode {
            self.set_mode(policy.mode, turn);
        }
        if Disturbance::between(&old, &policy) == Disturbance::Restarted {
            self.replace(turn);
        }
    }

    /// Checks that did not change keep their state.
    fn set_checks(&mut self, old: &Service, now_ns: u64) {
        let policy = Arc::clone(&self.policy);
        let signals =
            |service: &Service| -> Vec<_> { service.checks.iter().filter_map(signal).cloned().collect() };
        let is_same = signals(old) == signals(&policy);
        let renew = |checks: &mut Checks, since_ns: u64| {
            let mut new = Checks::new(&policy, since_ns);
            if is_same {
                std::mem::swap(&mut new.gauges, &mut checks.gauges);
            }
            for (place, check) in policy.checks.iter().enumerate() {
                let before = old.checks.iter().position(|known| known == check);
                let watch = before.and_then(|before| checks.watches.get_mut(before)).map(std::mem::take);
                if let (Some(watch), Some(room)) = (watch, new.watches.get_mut(place)) {
                    *room = watch;
                }
            }
            *checks = new;
        };
        renew(&mut self.checks, now_ns);
        if self.is_up {
            self.checks.begin(&policy, None, &self.dice, now_ns);
        }
        for instance in self.instances.values_mut() {
            let since_ns = match &instance.phase {
                Phase::Up(up) => up.since_ns,
                _ => now_ns,
            };
            renew(&mut instance.checks, since_ns);
            if instance.is_ready() {
                instance.checks.begin(&policy, Some(instance.number), &self.dice, now_ns);
            }
        }
    }

    /// What is reserved is reserved in another group's budget. What is too much for it is found when it is to be spent.
    fn move_tickets(&self, old: Option<&str>, turn: &mut Turn<'_>) {
        for _ in self.instances.values().filter(|instance| instance.ticket) {
            turn.shared.move_ticket(old, self.policy.group.as_deref());
        }
    }

    /// It acts from now on, or only observes.
    fn set_mode(&mut self, mode: Mode, turn: &Turn<'_>) {
        if mode == Mode::Observe {
            self.abandon_failover(turn);
        }
        for instance in self.instances.values_mut() {
            instance.told_end = false;
            if mode == Mode::Act && matches!(&instance.phase, Phase::Held { hold: Hold::Observed, .. }) {
                instance.phase = Phase::Down;
                instance.why = Why::new("its policy acts from now on", turn.now_ns);
            }
        }
    }
}
