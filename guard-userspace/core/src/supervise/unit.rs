//! One service: its instances, and how far it is as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::health::CheckState;
use crate::ids::ProcId;
use crate::policy::model::{Condition, Mode, Origin, Run, Service};

use super::budget::Window;
use super::checks::Checks;
use super::dice::Dice;
use super::effect::{ActionId, Because, Deed, Plan, ServiceState, Subject, What};
use super::failover::Handover;
use super::fill::Fill;
use super::instance::{Hold, Instance, Phase, Why};
use super::ladder::{Climb, Key};
use super::parted::Parted;
use super::scale::Rolling;
use super::shared::{Job, Shared, Slot, Standing};
use super::text;

/// A moment, and what all services share.
pub(super) struct Turn<'a> {
    pub(super) now_ns: u64,
    pub(super) shared: &'a mut Shared,
}

/// One service.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) slot: Slot,
    pub(super) name: Arc<str>,
    pub(super) policy: Arc<Service>,
    /// It is to run.
    pub(super) wanted: bool,
    /// Its policy is gone: it is forgotten once it has ended.
    pub(super) retiring: bool,
    /// The service of the same name whose processes must have ended first.
    pub(super) follows: Option<Slot>,
    /// How many instances are wanted.
    pub(super) target: u32,
    /// Why nothing of it is started.
    pub(super) hold: Option<(Hold, Why)>,
    pub(super) instances: BTreeMap<u32, Instance>,
    /// Those that went because fewer are wanted.
    pub(super) parted: BTreeMap<u32, Parted>,
    pub(super) window: Window,
    pub(super) dice: Dice,
    /// What it depends on, and how far that must be.
    pub(super) needs: Vec<(Slot, Condition)>,
    /// Who depends on it.
    pub(super) needed_by: Vec<Slot>,
    /// Main processes that ended and left others, which are killed once the table is certain.
    pub(super) leftovers: Vec<(u32, ProcId)>,
    /// Those of them that are being killed, by the plan.
    pub(super) clearing: BTreeMap<ActionId, (u32, ProcId)>,
    /// The names of its checks, in order.
    pub(super) names: Vec<Arc<str>>,
    /// The checks of the service as one.
    pub(super) checks: Checks,
    /// Enough instances are ready, so those checks are made.
    pub(super) is_up: bool,
    pub(super) climbs: BTreeMap<Key, Climb>,
    pub(super) rolling: Option<Rolling>,
    /// When a step changed the number of instances last.
    pub(super) scaled_ns: Option<u64>,
    pub(super) handover: Option<Handover>,
    pub(super) failovers: Option<Window>,
    /// Why new instances are started, superfluous ones ended, all of them stopped.
    pub(super) start_why: Why,
    pub(super) scale_why: Option<Why>,
    pub(super) stop_why: Option<Why>,
    pub(super) told: ServiceState,
    /// Since when it is in the state that was told.
    pub(super) told_ns: u64,
    /// Since when fewer than its policy's `min` are ready, and whether it was told that this is too long.
    pub(super) down: Option<(u64, bool)>,
}

impl Unit {
    pub(super) fn new(slot: Slot, policy: Arc<Service>, seed: u64, now_ns: u64) -> Self {
        let name: Arc<str> = policy.name.as_str().into();
        Self {
            slot,
            dice: Dice::new(seed, &name),
            name,
            wanted: true,
            retiring: false,
            follows: None,
            target: first_target(&policy),
            hold: None,
            instances: BTreeMap::new(),
            parted: BTreeMap::new(),
            window: Window::new(policy.restart.budget),
            needs: vec![],
            needed_by: vec![],
            leftovers: vec![],
            clearing: BTreeMap::new(),
            names: names(&policy),
            checks: Checks::new(&policy, now_ns),
            is_up: false,
            climbs: BTreeMap::new(),
            rolling: None,
            scaled_ns: None,
            handover: None,
            failovers: None,
            start_why: Why::new("its policy wants it", now_ns),
            scale_why: None,
            stop_why: None,
            told: ServiceState::Stopped,
            told_ns: now_ns,
            down: None,
            policy,
        }
    }

    pub(super) fn subject(&self, instance: Option<u32>) -> Subject {
        Subject { service: Arc::clone(&self.name), instance }
    }

    pub(super) fn acts(&self) -> bool {
        self.policy.mode == Mode::Act
    }

    pub(super) fn run(&self) -> Option<&Run> {
        match &self.policy.origin {
            Origin::Run(run) => Some(run),
            Origin::Adopt(_) => None,
        }
    }

    /// Fewer ready instances, and it is down.
    pub(super) fn min(&self) -> u32 {
        match &self.policy.origin {
            Origin::Run(run) => run.instances.min,
            Origin::Adopt(adopt) => adopt.min,
        }
    }

    /// Whether this instance is to run.
    pub(super) fn wants(&self, number: u32) -> bool {
        self.wanted && (number < self.target || self.run().is_none())
    }

    pub(super) fn fill(&self, instance: u32) -> Fill<'_> {
        Fill::of(&self.policy, instance)
    }

    /// Does all that is due.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) {
        self.clear_away(turn);
        if self.wanted && self.run().is_some() {
            let why = self.start_why.clone();
            (0..self.target).for_each(|number| self.take_up(number, &why, turn));
        } else if self.wanted && self.instances.is_empty() {
            self.expect_processes(turn);
        }
        self.tend_all(turn);
        self.roll_on(turn);
        self.look(turn);
        self.climb(turn);
        self.hand_over(turn);
        // What the steps did may be gone on with at once.
        self.tend_all(turn);
        self.publish(turn);
    }

    fn tend_all(&mut self, turn: &mut Turn<'_>) {
        let numbers: Vec<u32> = self.instances.keys().copied().collect();
        for number in numbers {
            self.tend(number, turn);
        }
    }

    /// When there is something to do, if nothing else happens.
    pub(super) fn next_ns(&self, certain: bool) -> Option<u64> {
        let instances = self.instances.values().flat_map(|instance| {
            [self.instance_next_ns(instance, certain), instance.checks.next_ns()].into_iter().flatten()
        });
        let overdue = self.down.filter(|(_, told)| !told).zip(self.policy.rto);
        let overdue = overdue.map(|((since_ns, _), rto)| since_ns.saturating_add(rto));
        let own = [overdue, self.checks.next_ns(), self.climbs_next_ns()];
        instances.chain(own.into_iter().flatten()).min()
    }

    /// Whether nothing of it is left.
    pub(super) fn is_gone(&self) -> bool {
        self.instances.is_empty() && self.leftovers.is_empty()
    }

    pub(super) fn ready(&self) -> u32 {
        let ready = self.instances.values().filter(|instance| instance.is_ready()).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    pub(super) fn alive(&self) -> u32 {
        let alive = self.instances.values().filter(|instance| instance.is_alive()).count();
        u32::try_from(alive).unwrap_or(u32::MAX)
    }

    /// Whether all that it depends on is far enough.
    pub(super) fn may_start(&self, shared: &Shared) -> bool {
        let alone = self.follows.is_none_or(|before| !shared.standings.contains_key(&before));
        alone
            && self.needs.iter().all(|(slot, until)| {
                let reached = shared.standings.get(slot).and_then(|standing| standing.reached);
                reached.is_some_and(|reached| far(reached) >= far(*until))
            })
    }

    /// Whether those that depend on it, and are to end as well, have ended.
    pub(super) fn may_end(&self, shared: &Shared) -> bool {
        let in_the_way =
            |slot: &Slot| shared.standings.get(slot).is_some_and(|other| other.alive && other.leaving);
        !self.needed_by.iter().any(in_the_way)
    }

    /// Plans a deed.
    pub(super) fn plan(
        &self,
        instance: Option<u32>,
        deed: Deed,
        because: Because,
        job: Job,
        turn: &mut Turn<'_>,
    ) -> ActionId {
        let id = turn.shared.next_action();
        let (time_ns, subject, act) = (turn.now_ns, self.subject(instance), self.acts());
        turn.shared.act(self.slot, Plan { id, time_ns, subject, deed, act, because }, job);
        id
    }

    /// The facts of a plan.
    pub(super) fn because(&mut self, why: &Why, restart: bool, now_ns: u64) -> Because {
        let left = restart.then(|| (self.window.left(now_ns), self.window.budget().count));
        let Why { what, since_ns, step } = why.clone();
        Because { what, since_ns, step, restarts_left: left }
    }

    /// Tells what changed, also to those who wait for it.
    pub(super) fn publish(&mut self, turn: &mut Turn<'_>) {
        let mut changes = vec![];
        for instance in self.instances.values_mut() {
            let state = instance.state();
            if state != instance.told {
                changes.push((Some(instance.number), instance.told, state, instance.why.what.clone()));
                (instance.told, instance.told_ns) = (state, turn.now_ns);
            }
        }
        let state = self.state();
        if state != self.told {
            changes.push((None, self.told, state, self.why()));
            (self.told, self.told_ns) = (state, turn.now_ns);
        }
        for (instance, from, to, why) in changes {
            turn.shared.tell(turn.now_ns, self.subject(instance), What::State { from, to, why });
        }
        self.watch_the_clock(turn);
        self.stand(turn.shared);
    }

    /// Tells if it is down for longer than it may be.
    fn watch_the_clock(&mut self, turn: &mut Turn<'_>) {
        let is_down =
            self.wanted && self.ready() < self.min().max(1) && !self.is_finished() && self.target > 0;
        if !is_down {
            self.down = None;
            return;
        }
        let (since_ns, told) = self.down.get_or_insert((turn.now_ns, false));
        let Some(rto) = self.policy.rto else { return };
        if !*told && turn.now_ns >= since_ns.saturating_add(rto) {
            *told = true;
            let since_ns = *since_ns;
            turn.shared.tell(turn.now_ns, self.subject(None), What::Overdue { since_ns });
        }
    }

    /// Says how far it is.
    pub(super) fn stand(&self, shared: &mut Shared) {
        let standing = Standing {
            name: Arc::clone(&self.name),
            state: self.told,
            reached: self.reached(),
            alive: self.alive() > 0,
            leaving: !self.wanted,
            mode: self.policy.mode,
        };
        if shared.standings.get(&self.slot) != Some(&standing) {
            shared.standings.insert(self.slot, standing);
            shared.poked.extend(&self.needed_by);
            shared.poked.extend(self.needs.iter().map(|(slot, _)| slot));
            shared.poked.extend(shared.roles.peers(self.slot));
        }
    }

    fn is_finished(&self) -> bool {
        !self.instances.is_empty()
            && self.instances.values().all(|instance| instance.phase == Phase::Finished)
    }

    fn reached(&self) -> Option<Condition> {
        if !self.wanted {
            return None;
        }
        let up = |instance: &&Instance| matches!(instance.phase, Phase::Up(_));
        let up = u32::try_from(self.instances.values().filter(up).count()).unwrap_or(u32::MAX);
        match self.told {
            ServiceState::Healthy => Some(Condition::Healthy),
            _ if self.is_finished() => Some(Condition::Healthy),
            _ if self.ready() >= self.min().max(1) => Some(Condition::Ready),
            _ if up >= self.min().max(1) => Some(Condition::Started),
            _ => None,
        }
    }

    /// The state of the service as one.
    pub(super) fn state(&self) -> ServiceState {
        let any = |state: ServiceState| self.instances.values().any(|instance| instance.state() == state);
        if !self.wanted {
            return if self.instances.is_empty() { ServiceState::Stopped } else { ServiceState::Stopping };
        }
        if self.hold.is_some() {
            return ServiceState::Held;
        }
        if self.is_finished() || self.target == 0 && self.instances.is_empty() {
            return ServiceState::Stopped;
        }
        if self.ready() >= self.min().max(1) {
            let well = !any(ServiceState::Degraded) && !self.checks.is_failing();
            return if well { ServiceState::Healthy } else { ServiceState::Degraded };
        }
        let order = [
            ServiceState::Starting,
            ServiceState::Degraded,
            ServiceState::Healthy,
            ServiceState::Stopping,
            ServiceState::BackingOff,
            ServiceState::Waiting,
            ServiceState::Held,
        ];
        match order.into_iter().find(|&state| any(state)) {
            // Some are ready, and more are needed.
            Some(ServiceState::Healthy) => ServiceState::Degraded,
            state => state.unwrap_or(ServiceState::Waiting),
        }
    }

    /// Why it is in its state.
    pub(super) fn why(&self) -> String {
        if let Some((_, why)) = &self.hold {
            return why.what.clone();
        }
        if let Some((name, watch)) = self
            .names
            .iter()
            .zip(&self.checks.watches)
            .find(|(_, watch)| watch.state() == CheckState::Failing)
            && let Some(monitor) = &watch.monitor
        {
            return text::check(&self.policy, name, &monitor.why());
        }
        match (self.target, self.instances.values().next()) {
            (1, Some(instance)) => instance.why.what.clone(),
            _ => format!("{} of {} instances are ready", self.ready(), self.target),
        }
    }
}

/// The names of a policy's checks.
pub(super) fn names(policy: &Service) -> Vec<Arc<str>> {
    policy.checks.iter().map(|check| check.name.as_str().into()).collect()
}

/// How many instances a policy wants at first.
pub(crate) fn first_target(policy: &Service) -> u32 {
    match &policy.origin {
        Origin::Run(run) => run.instances.start.clamp(run.instances.min, run.instances.max),
        Origin::Adopt(adopt) => adopt.min.max(1),
    }
}

const fn far(condition: Condition) -> u8 {
    match condition {
        Condition::Started => 0,
        Condition::Ready => 1,
        Condition::Healthy => 2,
    }
}
