//! The door: inputs in, effects out, one timer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::{Action, Event, Exit, Process};
use crate::health::{Ending, Gauges};
use crate::ids::ProcId;
use crate::select::{Claims, Shift, Standing};

use super::clock::Clock;
use super::effect::{Effect, ServiceState, What};
use super::input::{Answer, Done, Input, Refused};
use super::instance::Instance;
use super::members::Early;
use super::save::Given;
use super::shared::{Job, Shared, Slot};
use super::unit::{Turn, Unit};

/// What a supervisor is made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// From which all dice come: same inputs, same seed, same effects.
    pub seed: u64,
    /// What time it is, for guards that ask for it.
    pub clock: Clock,
}

/// Keeps services as their policies say, by telling others what to do.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) units: BTreeMap<Slot, Unit>,
    pub(super) last_slot: Slot,
    pub(super) shared: Shared,
    /// Whose processes are found, of adopted services.
    pub(super) claims: Claims,
    /// The services of the policies, in their order.
    pub(super) places: Vec<Option<Slot>>,
    /// When each service has something to do.
    due: BTreeSet<(u64, Slot)>,
    due_of: BTreeMap<Slot, u64>,
    /// Services that something happened to since their state was given away, and what that was.
    pub(super) touched: BTreeSet<Arc<str>>,
    pub(super) turned: bool,
    pub(super) given: Given,
}

impl Supervisor {
    /// Without policies it does nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            units: BTreeMap::new(),
            last_slot: 0,
            shared: Shared::new(settings.seed, settings.clock),
            claims: Claims::default(),
            places: vec![],
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
            touched: BTreeSet::new(),
            turned: false,
            given: Given::default(),
        }
    }

    /// The wall clock was set.
    pub fn set_clock(&mut self, clock: Clock) {
        self.shared.clock = clock;
    }

    /// Takes in what happened. `now_ns` never runs backwards.
    pub fn handle(&mut self, now_ns: u64, input: Input<'_>) {
        match input {
            Input::Policies(set) => self.policies(now_ns, &set),
            Input::Found(process) => self.found(now_ns, process),
            Input::Event(event) => self.event(now_ns, event),
            Input::Certain(certain) => self.certain(certain),
            Input::Answered { question, answer, took_ns } => {
                self.answered(now_ns, question, &answer, took_ns)
            }
            Input::Done { id, result } => self.done(now_ns, id, result),
            Input::Notified(id) => {
                if self.shared.members.is_starting() {
                    self.shared.members.remember(Early::Notified { id });
                }
                if let Some(member) = self.shared.members.get(id) {
                    self.with(now_ns, member.slot, |unit, turn| unit.notified(member.instance, turn));
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

    /// The state of a service; `None`: there is no such service.
    #[must_use]
    pub fn state(&self, service: &str) -> Option<ServiceState> {
        self.units.get(self.shared.slots.get(service)?).map(Unit::state)
    }

    fn event(&mut self, now_ns: u64, event: &Event) {
        let mut shifts = vec![];
        self.claims.event(event, &mut shifts);
        match &event.action {
            Action::Fork { process } => self.shared.members.born(process),
            Action::Exit { process, exit } => {
                self.exited(now_ns, event.time_ns, process, exit, &mut shifts);
            }
            Action::Listen { process, listen } => {
                let (id, port) = (process.id, listen.address.port());
                if self.shared.members.is_starting() {
                    self.shared.members.remember(Early::Listens { id, port });
                }
                self.shift(now_ns, &shifts, false);
                shifts.clear();
                if let Some(member) = self.shared.members.get(id) {
                    self.with(now_ns, member.slot, |unit, turn| unit.listens(member.instance, port, turn));
                }
            }
            Action::Resources { process, sample } => {
                self.measured(process.id, |gauges| gauges.sample(sample));
            }
            Action::Latency { process, latency } => {
                self.measured(process.id, |gauges| gauges.latency(event.time_ns, latency));
            }
            Action::Stall { process, stall } => {
                self.measured(process.id, |gauges| gauges.stall(event.time_ns, stall));
            }
            Action::Group(group) => {
                if let Some(member) = self.shared.members.in_cgroup(&group.cgroup)
                    && let Some(instance) = self.instance(member.slot, member.instance)
                {
                    instance.checks.gauges.group(event.time_ns, &group.used);
                }
            }
            _ => {}
        }
        self.shift(now_ns, &shifts, false);
        if let (false, Some(process)) = (shifts.is_empty(), event.action.process()) {
            self.shared.members.place(process);
        }
    }

    /// Something was measured of a process; its checks look at it when their time comes.
    fn measured(&mut self, id: ProcId, what: impl FnOnce(&mut Gauges)) {
        let Some(member) = self.shared.members.get(id) else { return };
        if let Some(instance) = self.instance(member.slot, member.instance) {
            what(&mut instance.checks.gauges);
        }
    }

    fn instance(&mut self, slot: Slot, number: u32) -> Option<&mut Instance> {
        self.units.get_mut(&slot)?.instances.get_mut(&number)
    }

    /// A process has ended.
    fn exited(
        &mut self,
        now_ns: u64,
        time_ns: u64,
        process: &Arc<Process>,
        exit: &Exit,
        shifts: &mut Vec<Shift>,
    ) {
        let id = process.id;
        if self.shared.members.is_starting() {
            self.shared.members.remember(Early::Ended { id, time_ns, exit: Box::new(exit.clone()) });
        }
        let Some(member) = self.shared.members.remove(id) else { return };
        self.with(now_ns, member.slot, |unit, turn| {
            let Some(instance) = unit.instances.get_mut(&member.instance) else { return };
            instance.checks.gauges.exited(id, exit);
            if instance.main() != Some(id) {
                return;
            }
            let heir = shifts.iter().find(|shift| shift.to == Standing::Main).map(|shift| shift.id);
            let well = Ending::of(exit, &unit.policy.restart.success).is_none();
            match heir.filter(|_| well && unit.wanted) {
                Some(heir) => unit.succeed(member.instance, heir, turn),
                None => unit.ended(member.instance, time_ns, exit, turn),
            }
            if !well {
                // What a main process left behind is not the service.
                shifts.clear();
            }
        });
    }

    fn found(&mut self, now_ns: u64, process: &Arc<Process>) {
        if let Some(member) = self.shared.members.get(process.parent)
            && self.shared.members.get(process.id).is_none()
        {
            self.shared.members.add(process.id, member);
        }
        let mut shifts = vec![];
        self.claims.found(process, &mut shifts);
        self.shift(now_ns, &shifts, true);
        self.shared.members.place(process);
    }

    /// Processes are something else to adopted services.
    fn shift(&mut self, now_ns: u64, shifts: &[Shift], long_ago: bool) {
        for shift in shifts {
            let Some(slot) = self.places.get(shift.service).copied().flatten() else { continue };
            let id = shift.id;
            if shift.to == Standing::Main && self.is_started_by_another(id, slot) {
                continue;
            }
            self.with(now_ns, slot, |unit, turn| match shift.to {
                Standing::Main => unit.found(id, long_ago, turn),
                Standing::Below | Standing::Nothing => unit.let_go(id, turn),
            });
        }
    }

    /// Whether it is a main process that we started for another service, or for this one under a policy before. Who started
    /// it ends it, and must see that: nobody adopts it.
    fn is_started_by_another(&self, id: ProcId, slot: Slot) -> bool {
        let member = self.shared.members.get(id).filter(|member| member.slot != slot);
        let unit = member.and_then(|member| Some((member, self.units.get(&member.slot)?)));
        unit.is_some_and(|(member, unit)| {
            let instance = unit.instances.get(&member.instance);
            unit.run().is_some() && instance.is_some_and(|instance| instance.main() == Some(id))
        })
    }

    fn certain(&mut self, certain: bool) {
        self.shared.certain = certain;
        let deferred = std::mem::take(&mut self.shared.deferred);
        self.shared.poked.extend(deferred);
    }

    fn answered(&mut self, now_ns: u64, question: u64, answer: &Answer, took_ns: u64) {
        let Some((slot, subject, check)) = self.shared.answered(question) else { return };
        let whose = subject.instance;
        self.with(now_ns, slot, |unit, turn| match (check, whose) {
            (Some(check), _) => unit.answered(whose, &check, (question, answer, took_ns), turn),
            (None, Some(number)) => unit.ready_answer(number, question, answer, turn),
            (None, None) => {}
        });
    }

    fn done(&mut self, now_ns: u64, id: super::ActionId, result: Result<Done, Refused>) {
        let Some((slot, job)) = self.shared.landed(id) else { return };
        let started = result.as_ref().ok().and_then(|done| match done {
            Done::Started(process) => Some(Arc::clone(process)),
            Done::Carried => None,
        });
        self.with(now_ns, slot, |unit, turn| {
            let whose = match &job {
                Job::Start(number) => Some(*number),
                Job::Step((whose, _)) => *whose,
                _ => None,
            };
            let failed = result.as_ref().err().map(|refused| refused.why.clone());
            let what = What::Outcome { id, failed: failed.clone() };
            turn.shared.tell(turn.now_ns, unit.subject(whose), what);
            match job {
                Job::Start(number) => {
                    unit.started(number, result.map(|_| started.clone()), turn);
                    started.iter().for_each(|process| turn.shared.members.place(process));
                }
                Job::Renew(number) => unit.renewed(number, id, failed.as_deref(), turn),
                Job::Step(key) => unit.step_done(&key, id),
                Job::Role => unit.role_done(id, result.map(|_| ()), turn),
                Job::Clear => drop(unit.clearing.remove(&id)),
                Job::Plain => {}
            }
        });
    }

    /// Does something to a service, which is looked at afterwards.
    pub(super) fn with(&mut self, now_ns: u64, slot: Slot, what: impl FnOnce(&mut Unit, &mut Turn<'_>)) {
        let Some(unit) = self.units.get_mut(&slot) else { return };
        what(unit, &mut Turn { now_ns, shared: &mut self.shared });
        self.shared.poked.insert(slot);
    }

    /// Looks at every service that something happened to, until nothing follows from it any more.
    pub(super) fn settle(&mut self, now_ns: u64) {
        (self.shared.now_ns, self.turned) = (now_ns, true);
        while let Some(slot) = self.shared.poked.pop_first() {
            let Some(unit) = self.units.get_mut(&slot) else { continue };
            if !self.touched.contains(&unit.name) {
                self.touched.insert(Arc::clone(&unit.name));
            }
            unit.advance(&mut Turn { now_ns, shared: &mut self.shared });
            // Never now: what is due now was just done.
            let next_ns = unit.next_ns(self.shared.certain).map(|next_ns| next_ns.max(now_ns + 1));
            if !self.shared.certain && unit.next_ns(true) != unit.next_ns(false) {
                self.shared.deferred.insert(slot);
            }
            let (is_gone, follows) = (unit.retiring && unit.is_gone(), unit.follows);
            // Who follows this one follows all before it.
            let is_last = |before: Slot| self.units.get(&before).is_none_or(|unit| !unit.retiring);
            let is_over = is_gone && follows.is_none_or(is_last);
            if let Some(before_ns) = self.due_of.remove(&slot) {
                self.due.remove(&(before_ns, slot));
            }
            if is_over {
                self.units.remove(&slot);
                self.shared.forget(slot);
                self.poke_heirs(slot);
            } else if let Some(next_ns) = next_ns {
                self.due.insert((next_ns, slot));
                self.due_of.insert(slot, next_ns);
            }
        }
    }

    /// Whoever waits for this service looks again.
    pub(super) fn poke_heirs(&mut self, slot: Slot) {
        let heirs = self.units.values().filter(|unit| unit.follows == Some(slot));
        self.shared.poked.extend(heirs.map(|unit| unit.slot));
    }
}
