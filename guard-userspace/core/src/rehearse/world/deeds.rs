//! What becomes of what is decided.

use std::sync::Arc;

use super::{AT_ONCE, Due, Fed, World};
use crate::ids::ProcId;
use crate::policy::model::{EndStatus, Run};
use crate::rehearse::scenario::{Delay, End};
use crate::supervise::{Deed, Done, Plan, Refused, Subject};

/// How long programs run of which the scenario says nothing, in nanoseconds.
const HOOK_NS: u64 = 100_000_000;

/// Nanoseconds after which the kernel's records of a start are read: they gather in the ring for so long.
const RECORDS_NS: u64 = 5_000_000;

const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;

impl World<'_> {
    pub(super) fn carry_out(&mut self, now_ns: u64, plan: &Plan) {
        let soon_ns = now_ns.saturating_add(AT_ONCE);
        match &plan.deed {
            Deed::Start { run, .. } => self.start(soon_ns, plan, run),
            Deed::RestartVia { timeout_ns, .. } => self.restart_via(now_ns, plan, *timeout_ns),
            Deed::Signal { target, signal, .. } => self.signal(soon_ns, plan, *target, *signal),
            Deed::Kill { target, .. } => {
                // Nothing left of it is no failure.
                self.enter(
                    soon_ns,
                    Due::Ends(*target, End::Status(EndStatus::Signal(SIGKILL)), Some(SIGKILL)),
                );
                self.carried(soon_ns, plan);
            }
            Deed::Freeze(target) => self.freeze(soon_ns, plan, *target, true),
            Deed::Thaw(target) => self.freeze(soon_ns, plan, *target, false),
            Deed::Renice { target, .. } => match self.place(*target) {
                Some(_) => self.carried(soon_ns, plan),
                None => self.refused(soon_ns, plan, "it has ended"),
            },
            Deed::Run { purpose, timeout_ns, .. } => self.run(now_ns, plan, purpose, *timeout_ns),
            Deed::Alert { .. } => self.carried(soon_ns, plan),
        }
    }

    fn carried(&mut self, time_ns: u64, plan: &Plan) {
        self.tell(time_ns, Fed::Done { id: plan.id, result: Ok(Done::Carried) });
    }

    fn refused(&mut self, time_ns: u64, plan: &Plan, why: &str) {
        let result = Err(Refused { why: why.to_owned() });
        self.tell(time_ns, Fed::Done { id: plan.id, result });
    }

    fn start(&mut self, born_ns: u64, plan: &Plan, run: &Run) {
        if let Some(why) = self.said(&plan.subject, |said| said.start_fails.clone()) {
            return self.refused(born_ns, plan, &why);
        }
        let Some(service) = self.service(&plan.subject.service) else {
            return self.refused(born_ns, plan, "there is no such service");
        };
        let place = (plan.subject.service.clone(), plan.subject.instance.unwrap_or_default());
        if self.lives.contains_key(&place) {
            return self.refused(born_ns, plan, "the one before still lives");
        }
        let process = self.bear(born_ns, service, plan.subject.instance, Some(run));
        let result = Ok(Done::Started(process.clone()));
        self.tell(born_ns, Fed::Done { id: plan.id, result });
        self.birth(born_ns.saturating_add(RECORDS_NS), &process);
    }

    /// Its own manager ends what is there and starts as many anew.
    fn restart_via(&mut self, now_ns: u64, plan: &Plan, timeout_ns: u64) {
        if let Some(why) = self.said(&plan.subject, |said| said.start_fails.clone()) {
            return self.refused(now_ns.saturating_add(AT_ONCE), plan, &why);
        }
        let name = &plan.subject.service;
        let whole = Subject { service: name.clone(), instance: None };
        let stops = self.said(&plan.subject, |said| said.stops_in);
        let places: Vec<(Arc<str>, u32)> =
            self.lives.keys().filter(|(service, _)| service == name).cloned().collect();
        let gone_ns = match stops {
            Some(Delay::After(span)) if span < timeout_ns => now_ns.saturating_add(span),
            _ => {
                return self.refused(now_ns.saturating_add(timeout_ns), plan, "it did not end in time");
            }
        };
        for place in &places {
            self.asked_to_end(now_ns, place, SIGTERM);
        }
        for number in 0..self.exist(&whole.service) {
            self.enter(gone_ns.saturating_add(u64::from(number) + AT_ONCE), Due::Reborn(name.clone()));
        }
        self.carried(gone_ns.saturating_add(2 * AT_ONCE), plan);
    }

    fn signal(&mut self, time_ns: u64, plan: &Plan, target: ProcId, signal: u8) {
        let Some(place) = self.place(target) else { return self.refused(time_ns, plan, "it has ended") };
        let asks = self.service(&place.0).is_some_and(|service| service.stop.signal == signal);
        match signal {
            SIGKILL => {
                self.enter(
                    time_ns,
                    Due::Ends(target, End::Status(EndStatus::Signal(SIGKILL)), Some(SIGKILL)),
                );
            }
            // What is frozen acts on no other signal until it is thawed.
            _ if self.lives.get(&place).is_some_and(|life| life.frozen) => {}
            _ if asks || [SIGINT, SIGQUIT, SIGTERM].contains(&signal) => {
                self.asked_to_end(time_ns, &place, signal);
            }
            // All others have their handler.
            _ => {}
        }
        self.carried(time_ns, plan);
    }

    fn freeze(&mut self, time_ns: u64, plan: &Plan, target: ProcId, frozen: bool) {
        let life = self.place(target).and_then(|place| self.lives.get_mut(&place));
        match life {
            Some(life) => {
                life.frozen = frozen;
                self.carried(time_ns, plan);
            }
            None => self.refused(time_ns, plan, "it has ended"),
        }
    }

    fn run(&mut self, now_ns: u64, plan: &Plan, purpose: &str, timeout_ns: u64) {
        let play = self.said(&plan.subject, |said| said.hooks.get(purpose).cloned());
        let (takes, fails) = play.map_or((Delay::After(HOOK_NS), None), |play| (play.takes, play.fails));
        match (takes, fails) {
            (Delay::After(span), None) if span <= timeout_ns => {
                self.carried(now_ns.saturating_add(span), plan)
            }
            (Delay::After(span), Some(why)) if span <= timeout_ns => {
                self.refused(now_ns.saturating_add(span), plan, &why);
            }
            _ => self.refused(now_ns.saturating_add(timeout_ns), plan, "it did not end in time"),
        }
    }
}
