//! How a supervisor goes on with what another one saved.
//!
//! ```text
//!  saved as            process: lives        ended, or no trace           never started     another boot
//!  Up                  Up, ready as it was   ended, as if seen            -                 Down
//!  Stopping            Stopping              ended: what was to follow    -                 Down
//!  Starting            Up                    ended; no trace: failed      Down, paid for    Down
//!  all else            as it was                                                            as it was; Finished: Down
//! ```
//! A boot is nobody's failure: what lived before is started anew, and that counts against no budget. What is being done to the
//! living of an adopted service cannot be asked for: its processes are looked for once more.

use std::sync::Arc;

use crate::event::{Cause, Exit, ExitStatus};
use crate::ids::ProcId;
use crate::policy::model::{
    Backoff, Budget, Impact, Instances, Limits, Log, LogTarget, Mode, Origin, Readiness, Ready, Restart,
    RestartOn, Run, Service, Stop,
};
use crate::policy::set::PolicySet;

use super::effect::Subject;
use super::instance::{Hold, Instance, Phase, Why};
use super::members::Member;
use super::saved::{Before, Life, Saved, SavedCheck, SavedInstance, SavedUnit, Unreadable};
use super::shared::Slot;
use super::supervisor::Supervisor;
use super::unit::{Turn, Unit};

/// After adopted services are taken up again, their processes are told. What restarted by itself meanwhile is seen before it is
/// restarted once more: nanoseconds that it is given for that.
const LOOK_NS: u64 = 1_000_000_000;

/// A unit that is being restored: its slot, how it was, and the failover that it was about.
type Resumed = (Slot, SavedUnit);

impl Supervisor {
    /// Goes on with what another supervisor saved, on a new one that was told nothing yet but the clock and whether the table is
    /// certain. `set` is what its policies were when it was saved: give others afterwards. `living` tells what became of each
    /// instance of services that we start, and of the main processes of adopted ones; it is asked for those that had a process or
    /// whose start was under way, and not at all in another boot. Tell [`super::Input::Found`] of all that live afterwards.
    ///
    /// # Errors
    /// Another version wrote it; nothing is restored then.
    pub fn restore(
        &mut self,
        now_ns: u64,
        set: &PolicySet,
        before: Before,
        living: &dyn Fn(&Subject) -> Life,
    ) -> Result<(), Unreadable> {
        readable(&before)?;
        self.restore_shared(now_ns, set, &before);
        let mut all: Vec<Resumed> = vec![];
        for (name, mut saved) in before.services {
            self.given.services.insert(Arc::clone(&name), Arc::new(saved.clone()));
            self.touched.insert(Arc::clone(&name));
            if let Some(shift_ns) = before.shift_ns {
                saved.units.iter_mut().for_each(|unit| unit.shift(shift_ns, now_ns));
            }
            self.restore_units(now_ns, set, &name, saved, &mut all);
        }
        if let Some(shared) = &before.shared {
            self.shared.roles.remember(&shared.roles, |name| self.shared.slots.get(name).copied());
        }
        for policy in &set.services {
            if !self.shared.slots.contains_key(policy.name.as_str()) {
                self.place(now_ns, policy);
            }
        }
        self.know(now_ns, set);
        let same_boot = before.shift_ns.is_none();
        for (slot, saved) in &mut all {
            let instances = std::mem::take(&mut saved.instances);
            let failing = std::mem::take(&mut saved.failing);
            self.with(now_ns, *slot, |unit, turn| {
                for instance in instances {
                    unit.resume(instance, same_boot.then_some(living), turn);
                }
                if same_boot {
                    unit.resume_checks(failing, turn.now_ns);
                }
            });
        }
        self.units.values().for_each(|unit| unit.stand(&mut self.shared));
        let slots = self.shared.slots.clone();
        for (slot, saved) in all {
            let Some(handover) = saved.handover else { continue };
            self.with(now_ns, slot, |unit, turn| {
                unit.take_over(handover, |name| slots.get(name).copied(), turn);
            });
        }
        let retired = self.units.values().filter(|unit| unit.retiring).map(|unit| unit.slot);
        for slot in retired.collect::<Vec<_>>() {
            self.retire(now_ns, slot);
        }
        self.shared.poked.extend(self.units.keys());
        self.settle(now_ns);
        Ok(())
    }

    fn restore_shared(&mut self, now_ns: u64, set: &PolicySet, before: &Before) {
        self.shared.set_host(&set.host);
        let Some(mut shared) = before.shared.clone() else { return };
        self.given.shared = Some(shared.clone());
        if let Some(shift_ns) = before.shift_ns {
            shared.shift(shift_ns, now_ns);
        }
        (self.shared.last_action, self.shared.last_question) = (shared.actions, shared.questions);
        self.shared.host.iter_mut().for_each(|window| window.remember(std::mem::take(&mut shared.host)));
        for (name, done) in shared.groups {
            self.shared.groups.get_mut(&name).into_iter().for_each(|window| window.remember(done.clone()));
        }
    }

    /// All units of a name. One whose policy is not in the set is ended if we started it, else let go.
    fn restore_units(
        &mut self,
        now_ns: u64,
        set: &PolicySet,
        name: &Arc<str>,
        saved: Saved,
        all: &mut Vec<Resumed>,
    ) {
        let known = set.services.iter().find(|service| service.name == **name);
        let mut slots: Vec<Option<Slot>> = vec![];
        for saved in saved.units {
            let is_run = saved.run.is_some();
            let own =
                known.filter(|policy| !saved.retiring && matches!(policy.origin, Origin::Run(_)) == is_run);
            let policy = own.cloned().or_else(|| Some(Arc::new(gone(name, saved.run?))));
            let Some(policy) = policy else {
                slots.push(None);
                continue;
            };
            self.last_slot += 1;
            let slot = self.last_slot;
            let mut unit = Unit::new(slot, policy, self.shared.seed, now_ns);
            unit.follows = saved.follows.and_then(|place| slots.get(place).copied().flatten());
            unit.retiring = own.is_none();
            unit.take_back_saved(&saved);
            slots.push(Some(slot));
            if own.is_some() {
                self.shared.slots.insert(Arc::clone(&unit.name), slot);
            }
            self.units.insert(slot, unit);
            for (key, id) in self.units.get(&slot).into_iter().flat_map(Unit::asking) {
                self.shared.approvals.insert(id, (slot, key));
            }
            all.push((slot, saved));
        }
    }
}

impl Unit {
    /// All that is its own, but its instances and a failover.
    fn take_back_saved(&mut self, saved: &SavedUnit) {
        let saved = saved.clone();
        self.wanted = saved.wanted;
        self.target = match &self.policy.origin {
            Origin::Run(run) => saved.target.clamp(run.instances.min, run.instances.max),
            Origin::Adopt(_) => self.target,
        };
        self.hold = saved.hold.filter(|(hold, _)| match hold {
            // Without its ladder nothing would ever close it.
            Hold::Breaker(check) => self.policy.actions.contains_key(check),
            _ => true,
        });
        self.parted = saved.parted;
        self.window.remember(saved.restarts);
        self.dice.go_on(saved.thrown);
        self.leftovers = saved.leftovers;
        let climbs = saved.climbs.into_iter();
        self.climbs = climbs.map(|(whose, name, climb)| ((whose, name.into()), climb)).collect();
        self.rolling = saved.rolling;
        self.scaled_ns = saved.scaled_ns;
        self.failovers = self.policy.failover.as_ref().map(|failover| {
            let mut window = super::budget::Window::new(failover.budget);
            window.remember(saved.failovers);
            window
        });
        (self.start_why, self.scale_why, self.stop_why) = (saved.start_why, saved.scale_why, saved.stop_why);
        (self.told, self.told_ns, self.down) = (saved.told, saved.told_ns, saved.down);
    }

    /// An instance goes on. `living`: not in another boot.
    fn resume(
        &mut self,
        saved: SavedInstance,
        living: Option<&dyn Fn(&Subject) -> Life>,
        turn: &mut Turn<'_>,
    ) {
        let number = saved.number;
        let mut instance = Instance::new(number, saved.why, &self.policy, turn.now_ns);
        instance.phase = saved.phase;
        (instance.wait, instance.ticket) = (saved.wait, saved.ticket);
        (instance.renewing, instance.probation) = (saved.renewing, saved.probation);
        (instance.outdated, instance.after) = (saved.outdated, saved.after);
        (instance.told_end, instance.told, instance.told_ns) = (saved.told_end, saved.told, saved.told_ns);
        instance.checks.gauges.remember(&saved.moments);
        if instance.ticket {
            turn.shared.reserve_again(&mut self.window, self.policy.group.as_deref());
        }
        let (phase, is_run) = (instance.phase.clone(), self.run().is_some());
        self.instances.insert(number, instance);
        let failing = saved.failing;
        let Some(living) = living else { return self.boots(number, &phase, turn) };
        match &phase {
            Phase::Up(_) | Phase::Stopping(_) => self.met(number, living(&self.subject(Some(number))), turn),
            Phase::Starting { .. } if !is_run => self.look_for(number, turn),
            Phase::Starting { .. } => self.arrived(number, living(&self.subject(Some(number))), turn),
            _ => {}
        }
        if let Some(instance) = self.instances.get_mut(&number) {
            instance.checks.go_on_failing(&self.policy, failing);
        }
    }

    /// The checks of the service as one go on, if it is up.
    fn resume_checks(&mut self, failing: Vec<SavedCheck>, now_ns: u64) {
        let policy = Arc::clone(&self.policy);
        self.is_up = self.wanted && self.ready() >= self.min().max(1);
        if self.is_up {
            self.checks.begin(&policy, None, &self.dice, now_ns);
            self.checks.go_on_failing(&policy, failing);
        }
    }

    /// The host was started anew: nothing of it lives.
    fn boots(&mut self, number: u32, phase: &Phase, turn: &mut Turn<'_>) {
        self.leftovers.clear();
        self.rolling = None;
        let is_run = self.run().is_some();
        let Some(instance) = self.instances.get_mut(&number) else { return };
        (instance.after, instance.renewing, instance.outdated) = (None, false, false);
        let lived =
            matches!(phase, Phase::Up(_) | Phase::Stopping(_) | Phase::Starting { .. } | Phase::Finished);
        if !lived {
            return;
        }
        let owed = std::mem::take(&mut instance.ticket);
        instance.phase = Phase::Down;
        instance.why = Why::new("the host was started anew", turn.now_ns);
        if owed {
            turn.shared.release(&mut self.window, self.policy.group.as_deref());
        }
        if !is_run {
            self.look_for(number, turn);
        }
    }

    /// Somebody else starts it, perhaps just now.
    fn look_for(&mut self, number: u32, turn: &Turn<'_>) {
        let until_ns = Some(turn.now_ns.saturating_add(self.patience_ns()));
        self.set(number, Phase::Starting { plan: None, until_ns });
    }

    /// What became of an instance that had a process.
    fn met(&mut self, number: u32, life: Life, turn: &mut Turn<'_>) {
        match life {
            Life::Alive(process) => self.goes_on(number, process.id, turn),
            Life::Ended { time_ns, exit, .. } => self.has_ended(number, time_ns, &exit, turn),
            Life::Gone | Life::NeverStarted => {
                self.has_ended(number, turn.now_ns, &unknown(), turn);
            }
        }
    }

    /// Its process lives.
    fn goes_on(&mut self, number: u32, main: ProcId, turn: &mut Turn<'_>) {
        let (policy, now_ns) = (Arc::clone(&self.policy), turn.now_ns);
        // What ended before this one lives was cleared away before it was started.
        self.leftovers.retain(|(whose, _)| *whose != number);
        turn.shared.members.add(main, Member { slot: self.slot, instance: number });
        let Some(instance) = self.instances.get_mut(&number) else { return };
        match &mut instance.phase {
            Phase::Stopping(stopping) => stopping.main = main,
            Phase::Up(up) => {
                up.main = main;
                instance.checks.gauges.begin(up.since_ns);
                if let Some(ready_ns) = up.ready_ns {
                    instance.checks.begin(&policy, Some(number), &self.dice, now_ns);
                    instance.checks.began(&policy, ready_ns);
                } else if !matches!(policy.ready.by, Readiness::Delay(_)) {
                    // Nobody saw whether it became ready meanwhile: it is asked, and has all of its time once more.
                    (up.since_ns, up.ask_ns) = (now_ns, Some(now_ns));
                    if policy.ready.by == Readiness::Started {
                        self.is_ready(number, "its program runs", turn);
                    }
                }
            }
            _ => {}
        }
    }

    /// Its process has ended.
    fn has_ended(&mut self, number: u32, time_ns: u64, exit: &Exit, turn: &mut Turn<'_>) {
        self.ended(number, time_ns, exit, turn);
        let is_run = self.run().is_some();
        let soon_ns = turn.now_ns.saturating_add(LOOK_NS);
        if let Some(Instance { phase: Phase::Backoff { until_ns }, .. }) = self.instances.get_mut(&number)
            && !is_run
        {
            *until_ns = soon_ns.max(*until_ns);
        }
    }

    /// What became of an instance whose start was under way.
    fn arrived(&mut self, number: u32, life: Life, turn: &mut Turn<'_>) {
        match life {
            Life::Alive(process) => {
                self.leftovers.retain(|(whose, _)| *whose != number);
                self.up(number, process.id, turn.now_ns, turn);
                if let Some(Instance { phase: Phase::Up(up), .. }) = self.instances.get_mut(&number) {
                    up.ask_ns = up.ready_ns.is_none().then_some(turn.now_ns);
                }
            }
            Life::Ended { id, time_ns, exit } => {
                self.up(number, id, id.start_ns.min(turn.now_ns), turn);
                self.ended(number, time_ns, &exit, turn);
            }
            // It is in the budgets already.
            Life::NeverStarted => self.set(number, Phase::Down),
            Life::Gone => {
                let why = Why::new("nobody knows what became of its start", turn.now_ns);
                self.failed(number, None, why, turn);
            }
        }
    }

    /// The steps that wait for somebody's consent.
    fn asking(&self) -> impl Iterator<Item = (super::ladder::Key, super::ActionId)> {
        self.climbs.iter().filter_map(|(key, climb)| Some((key.clone(), climb.asked()?)))
    }
}

fn readable(before: &Before) -> Result<(), Unreadable> {
    let services = before.services.iter().map(|(name, saved)| (name.to_string(), saved.version));
    let shared = before.shared.iter().map(|shared| ("what the services share".to_owned(), shared.version));
    match services.chain(shared).find(|(_, version)| *version != Saved::VERSION) {
        Some((what, found)) => Err(Unreadable { what, found }),
        None => Ok(()),
    }
}

/// Nobody saw how it ended.
fn unknown() -> Exit {
    Exit {
        status: ExitStatus::Unknown,
        cause: Cause::RecordLost,
        lifetime_ns: 0,
        fork_to_exec_ns: None,
        exec_to_listen_ns: None,
        usage: None,
    }
}

/// A policy that is gone, as far as it takes to end what was started under it. It runs nothing that any other policy runs.
fn gone(name: &str, stop: Stop) -> Service {
    let run = Run {
        command: vec![],
        user: None,
        group: None,
        environment: std::collections::BTreeMap::new(),
        directory: "/".into(),
        first_port: None,
        instances: Instances { min: 0, start: 0, max: u32::MAX },
        limits: Limits::default(),
        capabilities: None,
        log: Log { target: LogTarget::Null },
    };
    Service {
        name: name.to_owned(),
        labels: std::collections::BTreeMap::new(),
        owner: None,
        impact: Impact::default(),
        rto: None,
        runbook: None,
        group: None,
        origin: Origin::Run(run),
        ready: Ready { by: Readiness::Started, within: 0 },
        depends_on: vec![],
        restart: Restart {
            on: RestartOn::Never,
            budget: Budget { count: 0, within: 0 },
            backoff: Backoff { initial: 0, factor: 1.0, max: 0, jitter: 0.0, reset_after: 0 },
            success: vec![],
            never: vec![],
            slow_retry: 0,
        },
        stop,
        checks: vec![],
        actions: std::collections::BTreeMap::new(),
        failover: None,
        mode: Mode::Act,
    }
}
