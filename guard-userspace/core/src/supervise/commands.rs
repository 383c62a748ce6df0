//! What operators want.

use crate::policy::model::Instances;

use super::effect::{Subject, What};
use super::input::Command;
use super::instance::{Hold, Phase, Then, Why};
use super::steps::Taken;
use super::supervisor::Supervisor;
use super::unit::{Turn, Unit};

impl Supervisor {
    pub(super) fn command(&mut self, now_ns: u64, command: Command) {
        match command {
            Command::Start(name) => self.named(now_ns, &name, "start", Unit::start_by_hand),
            Command::Stop(name) => self.named(now_ns, &name, "stop", |unit, turn| {
                unit.leave("an operator stopped it", turn.now_ns);
            }),
            Command::Shutdown => {
                for unit in self.units.values_mut() {
                    unit.leave("everything is being stopped", now_ns);
                    // All know of all before the first one ends: who is needed waits for those that need it.
                    unit.stand(&mut self.shared);
                    self.shared.poked.insert(unit.slot);
                }
            }
            Command::Restart(Subject { service, instance }) => {
                self.named(now_ns, &service, "restart", |unit, turn| unit.restart_by_hand(instance, turn));
            }
            Command::Scale { service, instances } => {
                let deed = format!("scale to {instances}");
                self.named(now_ns, &service, &deed, |unit, turn| unit.scale_by_hand(instances, turn));
            }
            Command::Approve(id) => self.decide(now_ns, id, true),
            Command::Deny(id) => self.decide(now_ns, id, false),
        }
    }

    fn decide(&mut self, now_ns: u64, id: super::ActionId, agreed: bool) {
        if let Some((slot, key)) = self.shared.approvals.remove(&id) {
            self.with(now_ns, slot, |unit, _| unit.decided(&key, id, agreed));
        }
    }

    /// Does something to a service that has a policy. A command for another one is refused, and that is told: it cannot be
    /// remembered for a policy that may never come.
    fn named(&mut self, now_ns: u64, name: &str, deed: &str, what: impl FnOnce(&mut Unit, &mut Turn<'_>)) {
        if let Some(slot) = self.shared.slots.get(name).copied() {
            return self.with(now_ns, slot, what);
        }
        let why = if self.units.values().any(|unit| *unit.name == *name) {
            "its policy is gone, and it is being ended"
        } else {
            "no policy is named so"
        };
        let subject = Subject { service: name.into(), instance: None };
        let what = What::Withheld { deed: deed.to_owned(), why: why.to_owned() };
        self.shared.tell(now_ns, subject, what);
    }
}

impl Unit {
    /// It is to end, and stays stopped.
    pub(super) fn leave(&mut self, what: &str, now_ns: u64) {
        if self.wanted {
            (self.wanted, self.stop_why) = (false, Some(Why::new(what, now_ns)));
        }
    }

    /// It is to run, whatever held it; its budget begins anew.
    fn start_by_hand(&mut self, turn: &mut Turn<'_>) {
        if let Err(why) = self.take_back(turn) {
            return self.refuse(None, "start", why, turn);
        }
        (self.wanted, self.hold, self.stop_why) = (true, None, None);
        self.window.renew();
        self.parted.clear();
        let why = Why::new("an operator started it", turn.now_ns);
        for instance in self.instances.values_mut() {
            instance.probation = false;
            if matches!(instance.phase, Phase::Held { .. } | Phase::Backoff { .. } | Phase::Finished) {
                (instance.phase, instance.why) = (Phase::Down, why.clone());
                instance.wait.reset();
            }
        }
        self.start_why = why;
        self.reset_climbs(turn);
    }

    fn restart_by_hand(&mut self, instance: Option<u32>, turn: &mut Turn<'_>) {
        let why = Why::new("an operator wants it restarted", turn.now_ns);
        if self.acts() && !turn.shared.certain {
            let why = "records were lost: who lives is not certain".to_owned();
            return self.refuse(instance, "restart", why, turn);
        }
        if let Taken::Withheld(why) = self.restart(instance, &why, turn) {
            self.refuse(instance, "restart", why, turn);
        }
    }

    fn scale_by_hand(&mut self, instances: u32, turn: &mut Turn<'_>) {
        let Some(Instances { min, max, .. }) = self.run().map(|run| run.instances) else {
            let why = "somebody else starts its instances".to_owned();
            return self.refuse(None, "scale", why, turn);
        };
        let target = instances.clamp(min, max);
        if target != instances {
            let why = format!("its policy allows from {min} to {max} instances, so it gets {target}");
            self.refuse(None, &format!("scale to {instances}"), why, turn);
        }
        self.scale_to(target, &Why::new("an operator scaled it", turn.now_ns), turn);
    }

    fn refuse(&self, whose: Option<u32>, deed: &str, why: String, turn: &mut Turn<'_>) {
        let what = What::Withheld { deed: deed.to_owned(), why };
        turn.shared.tell(turn.now_ns, self.subject(whose), what);
    }

    /// What was held for such a reason is not any more; starting it again is a restart like others.
    pub(super) fn unhold(&mut self, which: impl Fn(&Hold) -> bool, turn: &mut Turn<'_>) {
        let held = self
            .instances
            .values()
            .filter(|instance| matches!(&instance.phase, Phase::Held { hold, .. } if which(hold)));
        let numbers: Vec<u32> = held.map(|instance| instance.number).collect();
        for number in numbers {
            let Some(instance) = self.instances.get_mut(&number) else { continue };
            instance.phase = Phase::Down;
            if instance.after.is_none() {
                continue;
            }
            let why = instance.why.clone();
            match turn.shared.reserve(turn.now_ns, &mut self.window, self.policy.group.as_deref()) {
                Ok(()) => instance.ticket = true,
                Err(spent) => self.hold_spent(number, &spent, why, turn),
            }
        }
    }

    /// Its processes are ended and started anew, because they run what its policy does not say any more.
    pub(super) fn replace(&mut self, turn: &mut Turn<'_>) {
        let why = Why::new("its policy runs something else now", turn.now_ns);
        self.hold = self.hold.take().filter(|(hold, _)| *hold == Hold::Fenced);
        self.window.renew();
        self.parted.clear();
        for instance in self.instances.values_mut() {
            match &mut instance.phase {
                Phase::Held { .. } | Phase::Backoff { .. } | Phase::Finished => {
                    (instance.phase, instance.why) = (Phase::Down, why.clone());
                    instance.wait.reset();
                }
                // What is being started was asked for with what held before.
                Phase::Starting { .. } => instance.outdated = true,
                Phase::Stopping(stopping) if stopping.then == Then::Again => stopping.then = Then::Anew,
                _ => {}
            }
            instance.probation = false;
        }
        if let Taken::Withheld(why) = self.roll(&why, true, turn)
            && self.instances.values().any(|instance| instance.main().is_some())
        {
            self.refuse(None, "restart", why, turn);
        }
    }
}
