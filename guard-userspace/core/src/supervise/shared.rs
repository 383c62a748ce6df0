//! What the services of a supervisor share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::policy::model::{Condition, Host, Mode};

use super::budget::Window;
use super::clock::Clock;
use super::effect::{ActionId, Ask, Effect, Notice, Plan, Question, ServiceState, Subject, What};
use super::ladder::Key;
use super::members::Members;
use super::roles::Roles;
use super::text;

/// A service's number within its supervisor.
pub(super) type Slot = u32;

/// Everything that is not one service's own.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) effects: VecDeque<Effect>,
    /// Whether the process table can be relied on.
    pub(super) certain: bool,
    pub(super) seed: u64,
    pub(super) clock: Clock,
    /// The time of the last turn.
    pub(super) now_ns: u64,
    /// Services by name, without those that are gone and have processes left.
    pub(super) slots: BTreeMap<Arc<str>, Slot>,
    pub(super) roles: Roles,
    /// Steps that wait for somebody's consent.
    pub(super) approvals: BTreeMap<ActionId, (Slot, Key)>,
    /// The number under which somebody agreed to what is planned next.
    pub(super) agreed: Option<ActionId>,
    /// Services that must be looked at again within this turn.
    pub(super) poked: BTreeSet<Slot>,
    /// Services that have something to do to the living once the table is certain again.
    pub(super) deferred: BTreeSet<Slot>,
    pub(super) standings: BTreeMap<Slot, Standing>,
    pub(super) members: Members,
    pub(super) host: Option<Window>,
    pub(super) groups: BTreeMap<String, Window>,
    /// Plans that are being carried out.
    flights: FxHashMap<ActionId, (Slot, Job)>,
    /// Questions that wait for an answer.
    questions: FxHashMap<u64, (Slot, Subject, Option<Arc<str>>)>,
    pub(super) last_action: u64,
    pub(super) last_question: u64,
}

/// How far a service is, for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) name: Arc<str>,
    pub(super) state: ServiceState,
    /// How far it is for those that depend on it.
    pub(super) reached: Option<Condition>,
    /// It has processes, or will have when a start that is under way is done.
    pub(super) alive: bool,
    /// It is to be stopped.
    pub(super) leaving: bool,
    pub(super) mode: Mode,
}

/// What a plan is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// The start of this instance.
    Start(u32),
    /// The restart of an adopted service, for this instance.
    Renew(u32),
    /// A step of a ladder.
    Step(Key),
    /// A step of a failover.
    Role,
    /// The end of what a main process left.
    Clear,
    /// Nothing that waits for it.
    Plain,
}

/// No room in a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// Which: in words, such as `5 restarts in 10m`.
    pub(super) what: String,
    /// When there may be room again.
    pub(super) next_ns: Option<u64>,
}

impl Shared {
    pub(super) fn new(seed: u64, clock: Clock) -> Self {
        Self {
            effects: VecDeque::new(),
            certain: true,
            seed,
            clock,
            now_ns: 0,
            slots: BTreeMap::new(),
            roles: Roles::default(),
            approvals: BTreeMap::new(),
            agreed: None,
            poked: BTreeSet::new(),
            deferred: BTreeSet::new(),
            standings: BTreeMap::new(),
            members: Members::default(),
            host: None,
            groups: BTreeMap::new(),
            flights: FxHashMap::default(),
            questions: FxHashMap::default(),
            last_action: 0,
            last_question: 0,
        }
    }

    /// Another host's budgets from now on, over the same past.
    pub(super) fn set_host(&mut self, host: &Host) {
        set(&mut self.host, host.budget);
        self.groups.retain(|name, _| host.groups.contains_key(name));
        for (name, &budget) in &host.groups {
            self.groups.entry(name.clone()).or_insert_with(|| Window::new(budget)).set(budget);
        }
    }

    /// The number of the next plan: that under which it was agreed to, if it was.
    pub(super) const fn next_action(&mut self) -> ActionId {
        if let Some(agreed) = self.agreed.take() {
            return agreed;
        }
        self.last_action += 1;
        ActionId(self.last_action)
    }

    /// Has a plan carried out, or only recorded.
    pub(super) fn act(&mut self, slot: Slot, plan: Plan, job: Job) {
        if plan.act {
            self.flights.insert(plan.id, (slot, job));
        }
        self.effects.push_back(Effect::Act(plan));
    }

    /// Whose plan this was. Each is told once.
    pub(super) fn landed(&mut self, id: ActionId) -> Option<(Slot, Job)> {
        self.flights.remove(&id)
    }

    pub(super) fn tell(&mut self, time_ns: u64, subject: Subject, what: What) {
        self.effects.push_back(Effect::Tell(Notice { time_ns, subject, what }));
    }

    /// Asks, and gives the question's number.
    pub(super) fn ask(&mut self, slot: Slot, subject: Subject, check: Option<Arc<str>>, ask: Ask) -> u64 {
        self.last_question += 1;
        let id = self.last_question;
        self.questions.insert(id, (slot, subject.clone(), check.clone()));
        self.effects.push_back(Effect::Ask(Question { id, subject, check, ask }));
        id
    }

    /// What this was the answer to. Each is taken once.
    pub(super) fn answered(&mut self, id: u64) -> Option<(Slot, Subject, Option<Arc<str>>)> {
        self.questions.remove(&id)
    }

    /// A service is gone, and nobody waits for its deeds.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.flights.retain(|_, (whose, _)| *whose != slot);
        self.questions.retain(|_, (whose, ..)| *whose != slot);
        self.standings.remove(&slot);
        self.deferred.remove(&slot);
        self.approvals.retain(|_, (whose, _)| *whose != slot);
        self.members.forget(slot);
    }

    /// The service of this name, if it is healthy.
    pub(super) fn healthy(&self, name: &str) -> Option<Slot> {
        let slot = self.slots.get(name)?;
        (self.standings.get(slot)?.state == ServiceState::Healthy).then_some(*slot)
    }

    pub(super) fn name(&self, slot: Slot) -> Arc<str> {
        self.standings.get(&slot).map_or_else(|| "?".into(), |standing| Arc::clone(&standing.name))
    }

    /// A service holds the primary role from now on.
    pub(super) fn give_role(&mut self, slot: Slot, token: u64, now_ns: u64) {
        self.roles.give(slot, token);
        self.tell_role(slot, token, now_ns);
    }

    pub(super) fn tell_role(&mut self, slot: Slot, token: u64, now_ns: u64) {
        let name = self.slots.iter().find(|(_, known)| **known == slot).map(|(name, _)| Arc::clone(name));
        if let Some(service) = name {
            self.tell(now_ns, Subject { service, instance: None }, What::Role { token });
        }
    }

    /// Reserves a restart in every budget that it counts against.
    pub(super) fn reserve(
        &mut self,
        now_ns: u64,
        own: &mut Window,
        group: Option<&str>,
    ) -> Result<(), Spent> {
        let group = group.and_then(|name| self.groups.get_mut(name).map(|window| (name, window)));
        let mut windows = vec![(None, own)];
        windows.extend(group.map(|(name, window)| (Some(format!(" for the group {name}")), window)));
        windows.extend(self.host.as_mut().map(|window| (Some(" for the host".to_owned()), window)));
        let mut spent: Option<Spent> = None;
        for (whose, window) in &mut windows {
            if window.left(now_ns) == 0 {
                let next_ns = window.next_ns(now_ns);
                let first = spent.get_or_insert_with(|| {
                    let what = text::budget(window.budget());
                    Spent { what: format!("{what}{}", whose.as_deref().unwrap_or_default()), next_ns }
                });
                first.next_ns = first.next_ns.max(next_ns);
            }
        }
        match spent {
            Some(spent) => Err(spent),
            None => {
                windows.iter_mut().for_each(|(_, window)| window.reserve());
                Ok(())
            }
        }
    }

    /// Reserves what was reserved already when it was saved.
    pub(super) fn reserve_again(&mut self, own: &mut Window, group: Option<&str>) {
        own.reserve();
        self.common(group).for_each(Window::reserve);
    }

    /// What was reserved is done.
    pub(super) fn spend(&mut self, now_ns: u64, own: &mut Window, group: Option<&str>) {
        own.spend(now_ns);
        self.common(group).for_each(|window| window.spend(now_ns));
    }

    /// What was reserved is not done after all.
    pub(super) fn release(&mut self, own: &mut Window, group: Option<&str>) {
        own.release();
        self.common(group).for_each(Window::release);
    }

    /// What was reserved in a group's budget is reserved in another one's.
    pub(super) fn move_ticket(&mut self, from: Option<&str>, to: Option<&str>) {
        let mut group = |name: Option<&str>, what: fn(&mut Window)| {
            name.and_then(|name| self.groups.get_mut(name)).into_iter().for_each(what);
        };
        group(from, Window::release);
        group(to, Window::reserve);
    }

    fn common(&mut self, group: Option<&str>) -> impl Iterator<Item = &mut Window> {
        group.and_then(|name| self.groups.get_mut(name)).into_iter().chain(self.host.as_mut())
    }
}

fn set(window: &mut Option<Window>, budget: Option<crate::policy::model::Budget>) {
    match (window.as_mut(), budget) {
        (Some(window), Some(budget)) => window.set(budget),
        (None, Some(budget)) => *window = Some(Window::new(budget)),
        (_, None) => *window = None,
    }
}
