//! How the acts of a policy become plans.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::ProcId;
use crate::policy::model::{Act, Alert, Hook, Impact, Mode, Origin, Scaling, Severity};

use super::effect::{About, ActionId, Deed};
use super::instance::{Hold, Phase, Then, Why};
use super::ladder::Key;
use super::shared::Job;
use super::text;
use super::unit::{Turn, Unit};

/// What became of an act.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is under way.
    Doing(Doing),
    /// It may not be done, and why.
    Withheld(String),
    /// Not before the table is certain.
    Deferred,
}

/// What an act waits for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Doing {
    #[serde(skip)]
    pub(super) plans: BTreeSet<ActionId>,
    /// Instances that are being restarted.
    renewing: Vec<u32>,
    /// All of them, one after the other.
    rolling: bool,
    failover: bool,
}

impl Doing {
    /// Waits for a plan, if there is one.
    pub(super) fn plan(plan: Option<ActionId>) -> Self {
        Self { plans: plan.into_iter().collect(), ..Self::default() }
    }

    /// Waits for all instances to be restarted.
    pub(super) fn rolling() -> Self {
        Self { rolling: true, ..Self::default() }
    }
}

impl Unit {
    /// Whether all of an act is done.
    pub(super) fn is_done(&self, doing: &Doing) -> bool {
        let renewing = |number: &u32| self.instances.get(number).is_some_and(|instance| instance.renewing);
        let waits = doing.renewing.iter().any(renewing)
            || doing.rolling && self.is_rolling()
            || doing.failover && self.is_handing_over();
        doing.plans.is_empty() && !waits
    }

    /// Does what a step says.
    pub(super) fn take(&mut self, key: &Key, act: &Act, why: &Why, turn: &mut Turn<'_>) -> Taken {
        // What somebody is told, and starting more, touches nobody who lives.
        let harmless = matches!(act, Act::Alert(_)) || matches!(act, Act::Scale(Scaling { by: 1.., .. }));
        if !harmless && self.acts() && !turn.shared.certain {
            return Taken::Deferred;
        }
        match act {
            Act::Restart => self.restart(key.0, why, turn),
            Act::Signal(signalled) => {
                let (signal, all) = (signalled.signal, signalled.all);
                self.each(key, why, turn, |target| Deed::Signal { target, signal, all })
            }
            Act::Freeze => {
                let taken = self.each(key, why, turn, Deed::Freeze);
                self.set_frozen(key.0, true);
                taken
            }
            Act::Thaw => {
                let taken = self.each(key, why, turn, Deed::Thaw);
                self.set_frozen(key.0, false);
                taken
            }
            Act::Renice(nice) => self.each(key, why, turn, |target| Deed::Renice { target, nice: *nice }),
            Act::Stop => self.stop(why, turn),
            Act::Scale(scaling) => self.scale_by(*scaling, why, turn),
            Act::Failover => self.begin_failover(why, turn).map_or_else(Taken::Withheld, |()| {
                Taken::Doing(Doing { failover: true, ..Doing::default() })
            }),
            Act::Requeue(hook) => self.hook(key, "requeue", hook, why, turn),
            Act::Exec(hook) => self.hook(key, "exec", hook, why, turn),
            Act::Alert(alert) => self.alert(key, alert, why, turn),
        }
    }

    /// Ends an instance, or all one after the other, and starts it again.
    pub(super) fn restart(&mut self, whose: Option<u32>, why: &Why, turn: &mut Turn<'_>) -> Taken {
        if !self.wanted {
            return Taken::Withheld("it is stopped".to_owned());
        }
        if let Some((_, held)) = &self.hold {
            return Taken::Withheld(format!("it is held: {}", held.what));
        }
        if matches!(self.policy.origin, Origin::Adopt(_)) {
            return self.renew_adopted(why, turn);
        }
        let Some(number) = whose else { return self.roll(why, false, turn) };
        match self.renew(number, why, turn) {
            Ok(()) => Taken::Doing(Doing { renewing: vec![number], ..Doing::default() }),
            Err(why) => Taken::Withheld(why),
        }
    }

    /// Restarts an instance that is up.
    pub(super) fn renew(&mut self, number: u32, why: &Why, turn: &mut Turn<'_>) -> Result<(), String> {
        let up = |phase: &Phase| matches!(phase, Phase::Up(_));
        if !self.instances.get(&number).is_some_and(|instance| up(&instance.phase)) {
            return Err("it is not up".to_owned());
        }
        self.reserve(turn)?;
        if let Some(instance) = self.instances.get_mut(&number) {
            (instance.ticket, instance.renewing) = (true, true);
        }
        self.end(number, Then::Again, why, turn);
        if !self.acts() {
            // Nobody will end or start it, but it would have counted.
            self.spend(number, turn);
        }
        Ok(())
    }

    /// Reserves a restart.
    pub(super) fn reserve(&mut self, turn: &mut Turn<'_>) -> Result<(), String> {
        let group = self.policy.group.as_deref();
        let reserved = turn.shared.reserve(turn.now_ns, &mut self.window, group);
        reserved.map_err(|spent| format!("{} are spent", spent.what))
    }

    /// Whether a restart that was reserved fits in its budgets still: they may be others by now. If not, the instance is held.
    pub(super) fn may_spend(&mut self, number: u32, why: &Why, turn: &mut Turn<'_>) -> bool {
        let group = self.policy.group.as_deref();
        turn.shared.release(&mut self.window, group);
        let Err(spent) = turn.shared.reserve(turn.now_ns, &mut self.window, group) else { return true };
        if let Some(instance) = self.instances.get_mut(&number) {
            instance.ticket = false;
        }
        self.hold_spent(number, &spent, why.clone(), turn);
        false
    }

    /// What was reserved for an instance is done.
    pub(super) fn spend(&mut self, number: u32, turn: &mut Turn<'_>) {
        turn.shared.spend(turn.now_ns, &mut self.window, self.policy.group.as_deref());
        if let Some(instance) = self.instances.get_mut(&number) {
            instance.ticket = false;
            instance.renewing &= self.policy.mode == Mode::Act;
            instance.checks.gauges.restarted(turn.now_ns);
        }
    }

    /// Ends the service; it stays stopped.
    fn stop(&mut self, why: &Why, turn: &mut Turn<'_>) -> Taken {
        if self.acts() {
            (self.wanted, self.stop_why) = (false, Some(why.clone()));
        } else {
            let numbers: Vec<u32> = self.instances.keys().copied().collect();
            numbers.into_iter().for_each(|number| self.end(number, Then::Gone, why, turn));
        }
        Taken::Doing(Doing::default())
    }

    /// The living main processes that a subject stands for.
    fn mains(&self, whose: Option<u32>) -> Vec<(u32, ProcId)> {
        let chosen =
            self.instances.values().filter(|instance| whose.is_none_or(|whose| whose == instance.number));
        chosen
            .filter_map(|instance| match &instance.phase {
                Phase::Up(up) => Some((instance.number, up.main)),
                _ => None,
            })
            .collect()
    }

    fn each(&mut self, key: &Key, why: &Why, turn: &mut Turn<'_>, deed: impl Fn(ProcId) -> Deed) -> Taken {
        let mains = self.mains(key.0);
        if mains.is_empty() {
            return Taken::Withheld("it is not up".to_owned());
        }
        let mut doing = Doing::default();
        for (number, main) in mains {
            let because = self.because(why, false, turn.now_ns);
            let id = self.plan(Some(number), deed(main), because, Job::Step(key.clone()), turn);
            doing.plans.extend(self.acts().then_some(id));
        }
        Taken::Doing(doing)
    }

    fn set_frozen(&mut self, whose: Option<u32>, frozen: bool) {
        if !self.acts() {
            return;
        }
        for instance in self.instances.values_mut() {
            if let Phase::Up(up) = &mut instance.phase
                && whose.is_none_or(|whose| whose == instance.number)
            {
                up.frozen = frozen;
            }
        }
    }

    fn hook(
        &mut self,
        key: &Key,
        purpose: &'static str,
        hook: &Hook,
        why: &Why,
        turn: &mut Turn<'_>,
    ) -> Taken {
        let mut environment = self.environment(purpose, key.0);
        environment.insert("PROCESSGUARD_CHECK".to_owned(), key.1.to_string());
        environment.insert("PROCESSGUARD_BECAUSE".to_owned(), why.what.clone());
        let deed = self.run_hook(purpose, hook, key.0, environment);
        let because = self.because(why, false, turn.now_ns);
        let id = self.plan(key.0, deed, because, Job::Step(key.clone()), turn);
        Taken::Doing(Doing::plan(self.acts().then_some(id)))
    }

    /// What every program is told that is run for this service.
    pub(super) fn environment(&self, purpose: &str, whose: Option<u32>) -> BTreeMap<String, String> {
        let mut all = vec![("SERVICE", self.name.to_string()), ("PURPOSE", purpose.to_owned())];
        if let Some(number) = whose {
            all.push(("INSTANCE", number.to_string()));
            all.extend(self.run().and_then(|run| run.port(number)).map(|port| ("PORT", port.to_string())));
            let instance = self.instances.get(&number);
            all.extend(
                instance.and_then(super::instance::Instance::main).map(|main| ("PID", main.pid.to_string())),
            );
        }
        all.into_iter().map(|(name, value)| (format!("PROCESSGUARD_{name}"), value)).collect()
    }

    pub(super) fn run_hook(
        &self,
        purpose: &'static str,
        hook: &Hook,
        whose: Option<u32>,
        environment: BTreeMap<String, String>,
    ) -> Deed {
        let command = self.fill(whose.unwrap_or(0)).command(&hook.command);
        Deed::Run { purpose, command, environment, timeout_ns: hook.timeout }
    }

    fn alert(&mut self, key: &Key, alert: &Alert, why: &Why, turn: &mut Turn<'_>) -> Taken {
        let message = match &alert.message {
            Some(message) => format!("{}: {}: {message}", text::subject(&self.subject(key.0)), why.what),
            None => format!("{}: {}", text::subject(&self.subject(key.0)), why.what),
        };
        let deed = Deed::Alert { severity: alert.severity, message, about: Box::new(self.about()) };
        let because = self.because(why, false, turn.now_ns);
        let id = self.plan(key.0, deed, because, Job::Step(key.clone()), turn);
        Taken::Doing(Doing::plan(self.acts().then_some(id)))
    }

    /// Tells somebody, whatever the policy says: nothing is held in silence.
    pub(super) fn cry(&mut self, whose: Option<u32>, why: &Why, turn: &mut Turn<'_>) {
        let severity = match self.policy.impact {
            Impact::High | Impact::Critical => Severity::Critical,
            Impact::Low | Impact::Medium => Severity::Warning,
        };
        let message = format!("{} is held: {}", text::subject(&self.subject(whose)), why.what);
        let deed = Deed::Alert { severity, message, about: Box::new(self.about()) };
        let because = self.because(why, false, turn.now_ns);
        self.plan(whose, deed, because, Job::Plain, turn);
    }

    fn about(&self) -> About {
        let policy = &self.policy;
        About {
            owner: policy.owner.clone(),
            labels: policy.labels.clone(),
            impact: policy.impact,
            rto_ns: policy.rto,
            runbook: policy.runbook.clone(),
        }
    }

    /// Why the service, or an instance of it, is held. That another holds its role now is what was wanted.
    pub(super) fn held(&self) -> Option<&Why> {
        match &self.hold {
            Some((Hold::Fenced, _)) if self.handover.is_none() => return None,
            Some((_, why)) => return Some(why),
            None => {}
        }
        self.instances.values().find_map(|instance| match &instance.phase {
            Phase::Held { hold: Hold::Observed | Hold::Fenced, .. } => None,
            Phase::Held { .. } => Some(&instance.why),
            _ => None,
        })
    }
}
