//! What is done for a check, step by step, for as long as it fails.
//!
//! ```text
//!          fails            due, still so, guard holds              all of it done
//!   (none) ------> Next(0) ----------------------------> Doing(0) -----------------> Next(1) ... after the last step:
//!                    | approval needed     approved  ^                                |
//!                    +--------> Asking --------------+                                v
//!                                 | denied, too late: passed over                  Resting --- passes ---> (none): it helped
//!                                                                                     | still fails, `within` later
//!                       Open <--- `tries` times in vain: fallback, hold, alert -------+---> Next(0)
//! ```
//! A run counts as in vain only if it did something to the service: an alert is not meant to help, and a change of scale is bounded
//! by itself. After alerts alone the ladder rests until the check passes; after a change of scale until its cooldown is over.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::health::{CheckState, Monitor};
use crate::policy::model::{Act, Ladder, Step};

use super::effect::{ActionId, What};
use super::instance::{Hold, Why};
use super::steps::{Doing, Taken};
use super::text;
use super::unit::{Turn, Unit};

/// Reasons to withhold steps that are told before something is done again: a cooldown's is another one each time.
const TOLD: usize = 16;

/// Whose check: of an instance or of the service as one, and its name; [`Ladder::HELD`]: that the service is held.
pub(super) type Key = (Option<u32>, Arc<str>);

/// How far a ladder is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Climb {
    stage: Stage,
    /// Runs in vain so far.
    tries: u32,
    /// What the run that is under way did.
    did: Did,
    /// What was told to be withheld since it last did something, so that each is told once.
    told: BTreeSet<String>,
    /// When there is something to do, if nothing else happens.
    #[serde(skip)]
    due_ns: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// A step waits for its time, and perhaps for a word from the check.
    Next { step: usize, from_ns: u64 },
    /// A step waits for somebody's consent.
    Asking { step: usize, id: ActionId, until_ns: u64, verdict: Option<bool> },
    /// A step is being carried out.
    Doing { step: usize, doing: Doing },
    /// All steps are done. What follows waits until then.
    Resting { until_ns: u64 },
    /// Nothing more is done until the check passes.
    Told,
    /// The breaker is open. Since when the check passes.
    Open { passing_ns: Option<u64> },
}

/// What a run did: the weightiest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Did {
    Nothing,
    Told,
    Scaled { cooldown_ns: u64 },
    Treated,
}

impl Unit {
    /// A check fails: its ladder begins.
    pub(super) fn begin_climb(&mut self, key: Key, now_ns: u64) {
        self.climbs.entry(key).or_insert(Climb {
            stage: Stage::Next { step: 0, from_ns: now_ns },
            tries: 0,
            did: Did::Nothing,
            told: BTreeSet::new(),
            due_ns: None,
        });
    }

    /// When a ladder has something to do.
    pub(super) fn climbs_next_ns(&self) -> Option<u64> {
        self.climbs.values().filter_map(|climb| climb.due_ns).min()
    }

    /// Takes every step that is due.
    pub(super) fn climb(&mut self, turn: &mut Turn<'_>) {
        let is_held = self.held().is_some();
        if is_held && self.has_held_ladder() {
            self.begin_climb((None, Ladder::HELD.into()), turn.now_ns);
        }
        let keys: Vec<Key> = self.climbs.keys().cloned().collect();
        for key in keys {
            let Some(mut climb) = self.climbs.remove(&key) else { continue };
            if self.climb_on(&key, &mut climb, turn) {
                self.climbs.insert(key, climb);
            } else if let Some(id) = climb.asked() {
                turn.shared.approvals.remove(&id);
            }
        }
    }

    /// Somebody agreed to a step, or did not.
    pub(super) fn decided(&mut self, key: &Key, id: ActionId, agreed: bool) {
        if let Some(Climb { stage: Stage::Asking { id: asked, verdict, .. }, .. }) = self.climbs.get_mut(key)
            && *asked == id
        {
            *verdict = Some(agreed);
        }
    }

    /// A plan of a step is carried out, or was not.
    pub(super) fn step_done(&mut self, key: &Key, id: ActionId) {
        if let Some(climb) = self.climbs.get_mut(key) {
            climb.landed(id);
        }
    }

    /// All ladders begin anew.
    pub(super) fn reset_climbs(&mut self, turn: &mut Turn<'_>) {
        for (_, climb) in std::mem::take(&mut self.climbs) {
            if let Some(id) = climb.asked() {
                turn.shared.approvals.remove(&id);
            }
        }
        self.begin_failing_climbs(turn.now_ns);
    }

    /// Whatever fails and has a ladder climbs it.
    pub(super) fn begin_failing_climbs(&mut self, now_ns: u64) {
        let failing: Vec<Key> =
            self.failing().filter(|(_, name)| self.policy.actions.contains_key(&**name)).collect();
        failing.into_iter().for_each(|key| self.begin_climb(key, now_ns));
    }

    /// All checks that fail.
    fn failing(&self) -> impl Iterator<Item = Key> {
        let subjects = self.instances.keys().copied().map(Some).chain([None]);
        subjects.flat_map(|whose| {
            let watches = self.checks(whose).map_or(&[][..], |checks| &checks.watches);
            let failing =
                watches.iter().zip(&self.names).filter(|(watch, _)| watch.state() == CheckState::Failing);
            failing.map(move |(_, name)| (whose, Arc::clone(name)))
        })
    }

    /// Goes on with one ladder; whether it goes on after that.
    fn climb_on(&mut self, key: &Key, climb: &mut Climb, turn: &mut Turn<'_>) -> bool {
        let policy = Arc::clone(&self.policy);
        let Some(ladder) = policy.actions.get(&*key.1) else { return false };
        if key.0.is_some_and(|number| !self.instances.contains_key(&number)) {
            return false;
        }
        climb.due_ns = None;
        loop {
            let state = self.state_of(key);
            let passing = state == CheckState::Passing;
            match &mut climb.stage {
                Stage::Next { .. } | Stage::Resting { .. } | Stage::Told if passing => return false,
                Stage::Next { step, from_ns } => {
                    let (step, from_ns) = (*step, *from_ns);
                    let Some(next) = ladder.steps.get(step) else {
                        climb.finish(ladder, turn.now_ns);
                        continue;
                    };
                    let due_ns = from_ns.saturating_add(next.after.max(next.if_still.unwrap_or(0)));
                    if turn.now_ns < due_ns {
                        climb.due_ns = Some(due_ns);
                        return true;
                    }
                    let must_fail = step == 0 || next.if_still.is_some();
                    if must_fail && state != CheckState::Failing {
                        return true;
                    }
                    if !self.begin_step(key, climb, step, next, turn) {
                        return true;
                    }
                }
                Stage::Asking { step, id, until_ns, verdict } => {
                    let (step, id, until_ns) = (*step, *id, *until_ns);
                    let why_not = match *verdict {
                        Some(true) => None,
                        Some(false) => Some("it was denied"),
                        None if passing => Some("it is not needed any more: the check passes"),
                        None if turn.now_ns >= until_ns => Some("nobody approved it in time"),
                        None => {
                            climb.due_ns = Some(until_ns);
                            return true;
                        }
                    };
                    let Some(next) = ladder.steps.get(step) else { return false };
                    match why_not {
                        Some(why) => {
                            turn.shared.approvals.remove(&id);
                            self.pass_over(key, climb, step, next, why, turn);
                            if passing {
                                return false;
                            }
                        }
                        None if !self.take_step(key, climb, step, next, Some(id), turn) => return true,
                        None => {}
                    }
                }
                Stage::Doing { step, doing } => {
                    if !self.is_done(doing) {
                        return true;
                    }
                    climb.stage = Stage::Next { step: *step + 1, from_ns: turn.now_ns };
                }
                Stage::Resting { until_ns } => {
                    if turn.now_ns < *until_ns {
                        climb.due_ns = Some(*until_ns);
                        return true;
                    }
                    if state != CheckState::Failing {
                        return true;
                    }
                    let in_vain = climb.did == Did::Treated;
                    climb.tries = climb.tries.saturating_add(u32::from(in_vain));
                    if std::mem::replace(&mut climb.did, Did::Nothing) != Did::Nothing {
                        climb.told.clear();
                    }
                    if in_vain && climb.tries >= ladder.breaker.tries {
                        self.open(key, ladder, climb.tries, turn);
                        climb.stage = Stage::Open { passing_ns: None };
                    } else {
                        climb.stage = Stage::Next { step: 0, from_ns: turn.now_ns };
                    }
                }
                Stage::Told => return true,
                Stage::Open { passing_ns } => {
                    *passing_ns = passing.then(|| passing_ns.unwrap_or(turn.now_ns));
                    let Some(since_ns) = *passing_ns else { return true };
                    let due_ns = since_ns.saturating_add(ladder.breaker.within);
                    if turn.now_ns < due_ns {
                        climb.due_ns = Some(due_ns);
                        return true;
                    }
                    self.unhold_breaker(key, turn);
                    return false;
                }
            }
        }
    }

    /// A step's time has come; whether the ladder can go on at once.
    fn begin_step(
        &mut self,
        key: &Key,
        climb: &mut Climb,
        step: usize,
        next: &Step,
        turn: &mut Turn<'_>,
    ) -> bool {
        if let Some(guard) = &next.when {
            let why_not = match guard.holds(&self.facts(key, turn)) {
                Ok(true) => None,
                Ok(false) => Some(format!("its condition does not hold: {}", guard.source())),
                Err(why) => Some(format!("its condition cannot be told: {}: {why}", guard.source())),
            };
            if let Some(why) = why_not {
                self.pass_over(key, climb, step, next, &why, turn);
                return true;
            }
        }
        let Some(approval) = next.approval else {
            return self.take_step(key, climb, step, next, None, turn);
        };
        let id = turn.shared.next_action();
        let until_ns = turn.now_ns.saturating_add(approval.within);
        turn.shared.approvals.insert(id, (self.slot, key.clone()));
        let what = What::Waits { id, deed: text::act(&next.act), until_ns };
        turn.shared.tell(turn.now_ns, self.subject(key.0), what);
        climb.stage = Stage::Asking { step, id, until_ns, verdict: None };
        true
    }

    /// Takes a step; whether the ladder can go on at once.
    fn take_step(
        &mut self,
        key: &Key,
        climb: &mut Climb,
        step: usize,
        next: &Step,
        id: Option<ActionId>,
        turn: &mut Turn<'_>,
    ) -> bool {
        let why = self.why_step(key, step);
        turn.shared.agreed = id;
        let taken = self.take(key, &next.act, &why, turn);
        turn.shared.agreed = None;
        match taken {
            Taken::Doing(doing) => {
                climb.did = climb.did.max(Did::by(&next.act));
                climb.stage = Stage::Doing { step, doing };
                true
            }
            Taken::Withheld(why) => {
                self.pass_over(key, climb, step, next, &why, turn);
                true
            }
            Taken::Deferred => {
                turn.shared.deferred.insert(self.slot);
                self.withheld(key, climb, next, "records were lost: who lives is not certain", turn);
                false
            }
        }
    }

    /// A step is not taken; the next one is.
    fn pass_over(
        &mut self,
        key: &Key,
        climb: &mut Climb,
        step: usize,
        next: &Step,
        why: &str,
        turn: &mut Turn<'_>,
    ) {
        self.withheld(key, climb, next, why, turn);
        climb.stage = Stage::Next { step: step + 1, from_ns: turn.now_ns };
    }

    fn withheld(&mut self, key: &Key, climb: &mut Climb, next: &Step, why: &str, turn: &mut Turn<'_>) {
        let deed = text::act(&next.act);
        if climb.told.len() < TOLD && climb.told.insert(format!("{deed}: {why}")) {
            let what = What::Withheld { deed, why: why.to_owned() };
            turn.shared.tell(turn.now_ns, self.subject(key.0), what);
        }
    }

    /// The breaker of a ladder opens: its fallback is done once, the service is held, somebody is told.
    fn open(&mut self, key: &Key, ladder: &Ladder, tries: u32, turn: &mut Turn<'_>) {
        let why = self.why_of(key);
        let what = format!("{}, and {tries} tries did not help", why.what);
        let why = Why { what, ..why };
        if let Some(fallback) = &ladder.breaker.fallback
            && let Taken::Withheld(why) = self.take(key, fallback, &why, turn)
        {
            let what = What::Withheld { deed: text::act(fallback), why };
            turn.shared.tell(turn.now_ns, self.subject(key.0), what);
        }
        if self.hold.is_none() && &*key.1 != Ladder::HELD {
            self.hold = Some((Hold::Breaker(key.1.to_string()), why.clone()));
            if !self.has_held_ladder() {
                self.cry(key.0, &why, turn);
            }
        }
    }

    /// The check of an open breaker passes again, for long enough, or its ladder is gone.
    pub(super) fn unhold_breaker(&mut self, key: &Key, turn: &mut Turn<'_>) {
        if matches!(&self.hold, Some((Hold::Breaker(check), _)) if **check == *key.1) {
            self.hold = None;
            self.unhold(|hold| matches!(hold, Hold::Breaker(_)), turn);
        }
    }

    /// Whether its policy says what is done when it is held.
    pub(super) fn has_held_ladder(&self) -> bool {
        self.policy.actions.contains_key(Ladder::HELD)
    }

    fn monitor(&self, key: &Key) -> Option<&Monitor> {
        let place = self.names.iter().position(|name| *name == key.1)?;
        self.checks(key.0)?.watches.get(place)?.monitor.as_ref()
    }

    fn state_of(&self, key: &Key) -> CheckState {
        if &*key.1 == Ladder::HELD {
            return if self.held().is_some() { CheckState::Failing } else { CheckState::Passing };
        }
        self.monitor(key).map_or(CheckState::Unknown, Monitor::state)
    }

    /// What a check says, and since when.
    pub(super) fn why_of(&self, key: &Key) -> Why {
        if &*key.1 == Ladder::HELD {
            return self.held().cloned().unwrap_or_else(|| Why::new("it is held", 0));
        }
        let Some(monitor) = self.monitor(key) else {
            return Why::new(format!("{} failed", key.1), self.since_ns(key));
        };
        let why = if monitor.state() == CheckState::Failing { monitor.why() } else { "failed".to_owned() };
        Why::new(text::check(&self.policy, &key.1, &why), monitor.since_ns())
    }

    fn since_ns(&self, key: &Key) -> u64 {
        key.0.and_then(|number| self.instances.get(&number)).map_or(0, |instance| instance.why.since_ns)
    }

    fn why_step(&self, key: &Key, step: usize) -> Why {
        let steps = self.policy.actions.get(&*key.1).map_or(0, |ladder| ladder.steps.len());
        let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let step = (key.1.to_string(), number(step + 1), number(steps));
        Why { step: Some(step), ..self.why_of(key) }
    }
}

impl Climb {
    /// The step that waits for consent.
    pub(super) const fn asked(&self) -> Option<ActionId> {
        match self.stage {
            Stage::Asking { id, .. } => Some(id),
            _ => None,
        }
    }

    /// That step's place in its ladder, and its number.
    pub(super) const fn asks(&self) -> Option<(usize, ActionId)> {
        match self.stage {
            Stage::Asking { step, id, .. } => Some((step, id)),
            _ => None,
        }
    }

    /// As it is saved: what it waits to hear is not heard after that. A deed whose outcome nobody knows may have been done,
    /// and is not done again.
    pub(super) fn saved(&self) -> Self {
        let mut saved = self.clone();
        saved.due_ns = None;
        if let Stage::Doing { doing, .. } = &mut saved.stage {
            doing.plans.clear();
        }
        saved
    }

    /// Each moment in it.
    pub(super) fn times(&mut self) -> impl Iterator<Item = &mut u64> {
        let time = match &mut self.stage {
            Stage::Next { from_ns: time, .. }
            | Stage::Asking { until_ns: time, .. }
            | Stage::Resting { until_ns: time }
            | Stage::Open { passing_ns: Some(time) } => Some(time),
            Stage::Doing { .. } | Stage::Told | Stage::Open { passing_ns: None } => None,
        };
        time.into_iter()
    }

    /// A plan that it may wait for is carried out.
    pub(super) fn landed(&mut self, id: ActionId) {
        if let Stage::Doing { doing, .. } = &mut self.stage {
            doing.plans.remove(&id);
        }
    }

    /// The last step is done.
    fn finish(&mut self, ladder: &Ladder, now_ns: u64) {
        let within = ladder.breaker.within.max(1);
        self.stage = match self.did {
            Did::Told => Stage::Told,
            Did::Scaled { cooldown_ns } => {
                Stage::Resting { until_ns: now_ns.saturating_add(cooldown_ns.max(1)) }
            }
            Did::Nothing | Did::Treated => Stage::Resting { until_ns: now_ns.saturating_add(within) },
        };
    }
}

impl Did {
    const fn by(act: &Act) -> Self {
        match act {
            Act::Alert(_) => Self::Told,
            Act::Scale(scaling) => Self::Scaled { cooldown_ns: scaling.cooldown },
            _ => Self::Treated,
        }
    }
}
