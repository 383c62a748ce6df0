//! The checks of a service and its instances: when they are asked, and what they say.

use std::sync::Arc;

use crate::health::{Change, CheckState, Gauges, Monitor, together};
use crate::policy::model::{Act, Check, CheckKind, Ladder, Marker, Scope, Service, Signal};

use super::dice::Dice;
use super::effect::{Ask, What};
use super::fill::Fill;
use super::input::Answer;
use super::instance::{Instance, Phase, Why};
use super::saved::SavedCheck;
use super::shared::Shared;
use super::unit::{Turn, Unit};

/// Probes and numbers from outside are first asked for within this share of their `every`, each at a moment of its own: a thousand
/// checks that begin at once must not ask at once, now or ever after.
const PHASE: f64 = 0.1;

/// What is measured of one subject, and what its checks say. A check has no monitor while its subject is not up: it is unknown
/// then, and nobody is told so.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) gauges: Gauges,
    /// In the order of the policy's.
    pub(super) watches: Vec<Watch>,
    /// Which of them say whether the subject is well. One that does nothing but change the number of instances says how much there
    /// is to do: an idle service is not ill.
    of_health: Vec<bool>,
}

/// One check.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) monitor: Option<Monitor>,
    /// The question that waits for its answer.
    question: Option<u64>,
    /// What was measured last.
    pub(super) value: Option<f64>,
}

impl Checks {
    pub(super) fn new(policy: &Service, now_ns: u64) -> Self {
        let watches = policy.checks.iter().map(|_| Watch::default()).collect();
        let only_scales = |ladder: &Ladder| ladder.steps.iter().all(|step| matches!(step.act, Act::Scale(_)));
        let of_health = |check: &Check| !policy.actions.get(&check.name).is_some_and(only_scales);
        let of_health = policy.checks.iter().map(of_health).collect();
        Self { gauges: Gauges::new(&policy.checks, now_ns), watches, of_health }
    }

    /// Its subject (an instance, or the service as one) is up: its checks begin.
    pub(super) fn begin(&mut self, policy: &Service, whose: Option<u32>, dice: &Dice, now_ns: u64) {
        let scope = if whose.is_some() { Scope::Instance } else { Scope::Service };
        let fill = Fill::of(policy, whose.unwrap_or(0));
        for (watch, check) in self.watches.iter_mut().zip(&policy.checks) {
            if check.scope == scope && watch.monitor.is_none() {
                let mut monitor = Monitor::new(check, now_ns).called(|name| fill.text(name));
                if check.kind.goes_out() {
                    monitor = monitor.shifted(dice.phase(&check.name, whose) * PHASE);
                }
                *watch = Watch { monitor: Some(monitor), ..Watch::default() };
            }
        }
    }

    /// Its checks began before this supervisor did: so did their grace.
    pub(super) fn began(&mut self, policy: &Service, begun_ns: u64) {
        for (watch, check) in self.watches.iter_mut().zip(&policy.checks) {
            if let Some(monitor) = &mut watch.monitor {
                monitor.graced_since(check, begun_ns);
            }
        }
    }

    /// Which of them fail, as it is saved.
    pub(super) fn failing(&self, policy: &Service) -> Vec<SavedCheck> {
        let all = self.watches.iter().zip(&policy.checks);
        let failing = all.filter_map(|(watch, check)| Some((watch.monitor.as_ref()?, check)));
        let failing = failing.filter(|(monitor, _)| monitor.state() == CheckState::Failing);
        let saved = failing.map(|(monitor, check)| SavedCheck {
            name: check.name.clone(),
            since_ns: monitor.since_ns(),
            why: monitor.why(),
        });
        saved.collect()
    }

    /// These failed when somebody looked last.
    pub(super) fn go_on_failing(&mut self, policy: &Service, failing: Vec<SavedCheck>) {
        for SavedCheck { name, since_ns, why } in failing {
            let mut all = self.watches.iter_mut().zip(&policy.checks);
            let watch = all.find(|(_, check)| check.name == name).map(|(watch, _)| watch);
            if let Some(monitor) = watch.and_then(|watch| watch.monitor.as_mut()) {
                monitor.goes_on_failing(since_ns, why);
            }
        }
    }

    /// Its subject is not up any more: nothing is known of it.
    pub(super) fn end(&mut self) {
        self.watches.iter_mut().for_each(|watch| *watch = Watch::default());
    }

    pub(super) fn is_failing(&self) -> bool {
        let mut watches = self.watches.iter().zip(&self.of_health);
        watches.any(|(watch, of_health)| *of_health && watch.state() == CheckState::Failing)
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        self.watches.iter().filter_map(|watch| watch.monitor.as_ref()).map(Monitor::next_ns).min()
    }
}

impl Watch {
    pub(super) fn state(&self) -> CheckState {
        self.monitor.as_ref().map_or(CheckState::Unknown, Monitor::state)
    }
}

impl Unit {
    pub(super) fn checks(&self, whose: Option<u32>) -> Option<&Checks> {
        match whose {
            Some(number) => self.instances.get(&number).map(|instance| &instance.checks),
            None => Some(&self.checks),
        }
    }

    pub(super) fn checks_mut(&mut self, whose: Option<u32>) -> Option<&mut Checks> {
        match whose {
            Some(number) => self.instances.get_mut(&number).map(|instance| &mut instance.checks),
            None => Some(&mut self.checks),
        }
    }

    /// Begins or ends the checks of the service as one, and looks where it is time to.
    pub(super) fn look(&mut self, turn: &mut Turn<'_>) {
        let is_up = self.wanted && self.ready() >= self.min().max(1);
        match (is_up, self.is_up) {
            (true, false) => self.checks.begin(&Arc::clone(&self.policy), None, &self.dice, turn.now_ns),
            (false, true) => self.checks.end(),
            _ => {}
        }
        self.is_up = is_up;
        let due = |checks: &Checks| checks.next_ns().is_some_and(|next_ns| next_ns <= turn.now_ns);
        let numbers = self.instances.values().filter(|instance| due(&instance.checks));
        let mut subjects: Vec<Option<u32>> = numbers.map(|instance| Some(instance.number)).collect();
        if due(&self.checks) {
            subjects.push(None);
        }
        for whose in subjects {
            self.look_at(whose, turn);
        }
    }

    fn look_at(&mut self, whose: Option<u32>, turn: &mut Turn<'_>) {
        let policy = Arc::clone(&self.policy);
        for (place, check) in policy.checks.iter().enumerate() {
            let now_ns = turn.now_ns;
            let Some(watch) = self.watch(whose, place) else { return };
            let Some(monitor) = &mut watch.monitor else { continue };
            let silent = monitor.timeout(now_ns);
            let is_time = monitor.look(now_ns);
            let is_open = watch.question.is_some();
            if let Some(change) = silent {
                // Whoever was asked will not answer any more.
                watch.question = None;
                self.changed(whose, place, change, turn);
            }
            if !is_time {
                continue;
            }
            match self.ask_for(whose, check, turn.shared) {
                Some(_) if is_open => {}
                Some(ask) => {
                    let name = self.names.get(place).cloned();
                    let question = turn.shared.ask(self.slot, self.subject(whose), name, ask);
                    if let Some(watch) = self.watch(whose, place) {
                        watch.question = Some(question);
                    }
                }
                None => self.measure(whose, place, check, turn),
            }
        }
    }

    /// What a check has to ask for; `None`: it is measured from what the core tells.
    fn ask_for(&self, whose: Option<u32>, check: &Check, shared: &Shared) -> Option<Ask> {
        let fill = self.fill(whose.unwrap_or(0));
        let threshold = match &check.kind {
            CheckKind::Probe(probe) => return Some(Ask::Probe(Box::new(fill.probe(&probe.probe)))),
            CheckKind::Threshold(threshold) => threshold,
        };
        let chosen = |number: u32| whose.is_none_or(|whose| whose == number);
        let mains = self.instances.values().filter(|instance| chosen(instance.number));
        match &threshold.signal {
            Signal::Number(source) | Signal::Progress { of: Marker::Number(source) } => {
                Some(Ask::Number(Box::new(fill.number(source))))
            }
            Signal::Progress { of: Marker::File(path) } => Some(Ask::Changed(fill.path(path))),
            Signal::Progress { of: Marker::Log } => mains.filter_map(Instance::main).next().map(Ask::Logged),
            Signal::MemoryPss => {
                let members = mains.flat_map(|instance| shared.members.of(self.slot, instance.number));
                Some(Ask::Pss(members.collect()))
            }
            _ => None,
        }
    }

    fn measure(&mut self, whose: Option<u32>, place: usize, check: &Check, turn: &mut Turn<'_>) {
        let CheckKind::Threshold(threshold) = &check.kind else { return };
        let value = self.value(whose, &threshold.signal, turn.now_ns);
        let Some(watch) = self.watch(whose, place) else { return };
        watch.value = value;
        let change = watch.monitor.as_mut().and_then(|monitor| monitor.measure(turn.now_ns, value));
        if let Some(change) = change {
            self.changed(whose, place, change, turn);
        }
    }

    /// What a signal says of an instance, or of the service as one.
    fn value(&self, whose: Option<u32>, signal: &Signal, now_ns: u64) -> Option<f64> {
        if whose.is_some() {
            return self.checks(whose)?.gauges.value(signal, now_ns);
        }
        let up = self.instances.values().filter(|instance| {
            matches!(instance.phase, Phase::Up(_))
                || matches!(signal, Signal::Restarts { .. } | Signal::Exits { .. })
        });
        let of_instances = up.map(|instance| instance.checks.gauges.value(signal, now_ns));
        // What the answers to the service's own questions say.
        let own = matches!(signal, Signal::ResponseTime { .. } | Signal::Progress { .. });
        let own = own.then(|| self.checks.gauges.value(signal, now_ns));
        together(signal, of_instances.chain(own))
    }

    /// The answer to a question of a check.
    pub(super) fn answered(
        &mut self,
        whose: Option<u32>,
        check: &str,
        (question, answer, took_ns): (u64, &Answer, u64),
        turn: &mut Turn<'_>,
    ) {
        let policy = Arc::clone(&self.policy);
        let Some(place) = policy.checks.iter().position(|known| known.name == check) else { return };
        let (now_ns, Some(known)) = (turn.now_ns, policy.checks.get(place)) else { return };
        let Some(checks) = self.checks_mut(whose) else { return };
        let Some(watch) = checks.watches.get_mut(place).filter(|watch| watch.question == Some(question))
        else {
            return;
        };
        watch.question = None;
        let change = match (&known.kind, answer) {
            (CheckKind::Threshold(threshold), Answer::Number(number))
                if matches!(threshold.signal, Signal::Progress { .. }) =>
            {
                if let Signal::Progress { of } = &threshold.signal {
                    checks.gauges.marked(now_ns, of, *number);
                }
                watch.value = checks.gauges.value(&threshold.signal, now_ns);
                watch.monitor.as_mut().and_then(|monitor| monitor.measure(now_ns, watch.value))
            }
            (kind, answer) => {
                if let CheckKind::Probe(probe) = kind {
                    checks.gauges.answered(now_ns, check, answer, took_ns, probe.probe.timeout());
                }
                watch.value = match answer {
                    Answer::Number(number) => Some(*number),
                    _ => watch.value,
                };
                watch.monitor.as_mut().and_then(|monitor| monitor.answer(now_ns, answer, took_ns))
            }
        };
        if let Some(change) = change {
            self.changed(whose, place, change, turn);
        }
    }

    /// A check has another state.
    fn changed(&mut self, whose: Option<u32>, place: usize, change: Change, turn: &mut Turn<'_>) {
        let Some(name) = self.names.get(place).map(Arc::clone) else { return };
        let Change { state, why, since_ns } = change;
        if let Some(instance) = whose.and_then(|number| self.instances.get_mut(&number)) {
            instance.why = Why::new(why.clone(), since_ns);
        }
        let what = What::Check { check: Arc::clone(&name), state, why };
        turn.shared.tell(turn.now_ns, self.subject(whose), what);
        if state == CheckState::Failing && self.policy.actions.contains_key(&*name) {
            self.begin_climb((whose, name), turn.now_ns);
        }
    }

    fn watch(&mut self, whose: Option<u32>, place: usize) -> Option<&mut Watch> {
        self.checks_mut(whose)?.watches.get_mut(place)
    }
}
