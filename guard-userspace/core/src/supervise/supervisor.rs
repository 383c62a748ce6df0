//! The door: inputs in, effects out, one timer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::{Action, Event};
use crate::policy::set::PolicySet;

use super::effect::{Effect, ServiceState, What};
use super::input::{Command, Done, Input, Refused};
use super::members::Early;
use super::shared::{Job, Shared, Slot};
use super::unit::{Turn, Unit};

/// What a supervisor is made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// From which all dice come: same inputs, same seed, same effects.
    pub seed: u64,
}

/// Keeps services as their policies say, by telling others what to do.
#[derive(Debug)]
pub struct Supervisor {
    units: BTreeMap<Slot, Unit>,
    slots: BTreeMap<Arc<str>, Slot>,
    last_slot: Slot,
    shared: Shared,
    /// When each service has something to do.
    due: BTreeSet<(u64, Slot)>,
    due_of: BTreeMap<Slot, u64>,
}

impl Supervisor {
    /// Without policies it does nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            units: BTreeMap::new(),
            slots: BTreeMap::new(),
            last_slot: 0,
            shared: Shared::new(settings.seed),
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
        }
    }

    /// Takes in what happened. `now_ns` never runs backwards.
    pub fn handle(&mut self, now_ns: u64, input: Input<'_>) {
        match input {
            Input::Policies(set) => self.policies(&set),
            Input::Found(_) => {}
            Input::Event(event) => self.event(now_ns, event),
            Input::Certain(certain) => self.certain(certain),
            Input::Answered { question, answer, took_ns } => {
                let _ = took_ns;
                if let Some((slot, subject, check)) = self.shared.answered(question)
                    && let (Some(number), None) = (subject.instance, check)
                {
                    self.with(now_ns, slot, |unit, turn| unit.ready_answer(number, &answer, turn));
                }
            }
            Input::Done { id, result } => self.done(now_ns, id, result),
            Input::Notified(id) => {
                if let Some(member) = self.shared.members.get(id) {
                    self.with(now_ns, member.slot, |unit, turn| {
                        unit.is_ready(member.instance, "it said READY=1", turn);
                    });
                }
            }
            Input::Command(command) => self.command(now_ns, command),
        }
        self.settle(now_ns);
    }

    /// Lets time pass: does all that is due at `now_ns`.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        while let Some(&(due_ns, slot)) = self.due.first()
            && due_ns <= now_ns
        {
            self.due.pop_first();
            self.due_of.remove(&slot);
            self.shared.poked.insert(slot);
        }
        self.settle(now_ns);
    }

    /// When [`Supervisor::handle_timeout`] is due next, in nanoseconds since boot.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.due.first().map(|&(due_ns, _)| due_ns)
    }

    /// The next thing to do, oldest first.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.shared.effects.pop_front()
    }

    /// The state of a service, as it was last told; `None`: there is no such service.
    #[must_use]
    pub fn state(&self, service: &str) -> Option<ServiceState> {
        self.units.get(self.slots.get(service)?).map(Unit::state)
    }

    fn policies(&mut self, set: &PolicySet) {
        self.shared.set_host(&set.host);
        for policy in &set.services {
            if self.slots.contains_key(policy.name.as_str()) {
                continue;
            }
            self.last_slot += 1;
            let slot = self.last_slot;
            let unit = Unit::new(slot, Arc::clone(policy), self.shared.seed);
            self.slots.insert(Arc::clone(&unit.name), slot);
            self.units.insert(slot, unit);
            self.shared.poked.insert(slot);
        }
        self.connect();
    }

    /// Finds who depends on whom.
    fn connect(&mut self) {
        let mut needed_by: BTreeMap<Slot, Vec<Slot>> = BTreeMap::new();
        for unit in self.units.values_mut() {
            unit.needs.clear();
            for needed in &unit.policy.depends_on {
                let Some(&slot) = self.slots.get(needed.service.as_str()) else { continue };
                unit.needs.push((slot, needed.until));
                needed_by.entry(slot).or_default().push(unit.slot);
            }
        }
        for unit in self.units.values_mut() {
            unit.needed_by = needed_by.remove(&unit.slot).unwrap_or_default();
        }
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        match &event.action {
            Action::Fork { process } => {
                self.shared.members.born(process);
            }
            Action::Exit { process, exit } => {
                let (id, time_ns, status) = (process.id, event.time_ns, exit.status);
                self.shared.members.remember(Early::Ended { id, time_ns, status });
                if let Some(member) = self.shared.members.remove(id) {
                    self.with(now_ns, member.slot, |unit, turn| {
                        if unit.instances.get(&member.instance).and_then(|one| one.main()) == Some(id) {
                            unit.ended(member.instance, time_ns, status, turn);
                        }
                    });
                }
            }
            Action::Listen { process, listen } => {
                let (id, port) = (process.id, listen.address.port());
                self.shared.members.remember(Early::Listens { id, port });
                if let Some(member) = self.shared.members.get(id) {
                    self.with(now_ns, member.slot, |unit, turn| unit.listens(member.instance, port, turn));
                }
            }
            _ => {}
        }
    }

    fn certain(&mut self, certain: bool) {
        self.shared.certain = certain;
        if certain {
            let deferred = std::mem::take(&mut self.shared.deferred);
            self.shared.poked.extend(deferred);
        }
    }

    fn done(&mut self, now_ns: u64, id: super::ActionId, result: Result<Done, Refused>) {
        let Some((slot, job)) = self.shared.landed(id) else { return };
        let failed = result.as_ref().err().map(|refused| refused.why.clone());
        self.with(now_ns, slot, |unit, turn| {
            let instance = match job {
                Job::Start(number) | Job::Renew(number) => Some(number),
                Job::Plain => None,
            };
            turn.shared.tell(turn.now_ns, unit.subject(instance), What::Outcome { id, failed });
            if let Job::Start(number) = job {
                let process = result.map(|done| match done {
                    Done::Started(process) => Some(process),
                    Done::Carried => None,
                });
                unit.started(number, process, turn);
            }
        });
    }

    fn command(&mut self, now_ns: u64, command: Command) {
        match command {
            Command::Start(name) => self.named(now_ns, &name, |unit, _| unit.wanted = true),
            Command::Stop(name) => self.named(now_ns, &name, |unit, _| unit.wanted = false),
            Command::Shutdown => {
                for unit in self.units.values_mut() {
                    unit.wanted = false;
                    self.shared.poked.insert(unit.slot);
                }
            }
            _ => {}
        }
    }

    fn named(&mut self, now_ns: u64, name: &str, what: impl FnOnce(&mut Unit, &mut Turn<'_>)) {
        if let Some(&slot) = self.slots.get(name) {
            self.with(now_ns, slot, what);
        }
    }

    /// Does something to a service, which is looked at afterwards.
    fn with(&mut self, now_ns: u64, slot: Slot, what: impl FnOnce(&mut Unit, &mut Turn<'_>)) {
        let Some(unit) = self.units.get_mut(&slot) else { return };
        what(unit, &mut Turn { now_ns, shared: &mut self.shared });
        self.shared.poked.insert(slot);
    }

    /// Looks at every service that something happened to, until nothing follows from it any more.
    fn settle(&mut self, now_ns: u64) {
        while let Some(slot) = self.shared.poked.pop_first() {
            let Some(unit) = self.units.get_mut(&slot) else { continue };
            unit.advance(&mut Turn { now_ns, shared: &mut self.shared });
            // Never now: what is due now was just done.
            let next_ns = unit.next_ns(self.shared.certain).map(|next_ns| next_ns.max(now_ns + 1));
            if let Some(before_ns) = self.due_of.remove(&slot) {
                self.due.remove(&(before_ns, slot));
            }
            if let Some(next_ns) = next_ns {
                self.due.insert((next_ns, slot));
                self.due_of.insert(slot, next_ns);
            }
        }
    }
}
