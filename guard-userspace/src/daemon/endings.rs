//! The end of a main process, from the signal that ends it to the start of the next one.
//!
//! The kernel writes the exit record when a process begins to end, and gives its memory back before anybody can wait for it: 0.3 ms
//! later, a third of a recovery. In that time the next life is decided, put down and prepared.
//!
//! ```text
//! signal record  -> follow: the loop stays awake, since to wake it takes 0.15 ms, and longer where the dying one has its processor
//! exit record    -> Start: put down and prepared, then it waits here; Kill of what is left: it waits, and is put down afterwards
//! pidfd readable -> the room is empty, as a rule: started at once; the kill is done already
//! ```

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use guard_common::control::is_deadly;
use guard_core::event::{Action, Event};
use guard_core::ids::ProcId;
use guard_core::supervise::{Deed, Effect, Plan, Subject};
use tokio::time::Instant;

use super::hands::spawn::Prepared;
use super::turn::Daemon;
use crate::exit::Failure;

/// How long after a deadly signal the loop stays awake: an end takes half of it as a rule (measured: 0.8 ms for the 90th percentile).
const FOLLOWED: Duration = Duration::from_millis(2);

/// How long it is not followed after one that it did in vain: a service may handle such signals all the time.
const IN_VAIN: Duration = Duration::from_millis(200);

/// What waits for the ends of main processes.
#[derive(Debug, Default)]
pub(super) struct Endings {
    starts: HashMap<ProcId, (Plan, Prepared)>,
    effects: HashMap<ProcId, Vec<Effect>>,
    /// What else is to be done, and whether that was put down: later, if an end is followed and somebody is to be started then.
    put_off: VecDeque<(Effect, bool)>,
    /// Who was sent a deadly signal.
    doomed: Option<ProcId>,
    /// An end is followed.
    is_following: bool,
    /// When somebody was followed in vain.
    in_vain: Option<Instant>,
}

impl Endings {
    /// Whether somebody is about to be started.
    pub(super) fn hold_starts(&self) -> bool {
        !self.starts.is_empty()
    }

    /// Whether that is to be now, and all else later.
    pub(super) fn are_pressing(&self) -> bool {
        self.is_following && self.hold_starts()
    }

    /// For whose end something of a service is set aside.
    fn who_holds_up(&self, service: &str) -> Option<ProcId> {
        let is_of_it = |effect: &Effect| *subject(effect).service == *service;
        let held = self.effects.iter().find(|(_, effects)| effects.iter().any(is_of_it));
        held.map(|(whom, _)| *whom)
    }

    pub(super) fn put_off(&mut self, effects: Vec<Effect>, is_down: bool) {
        self.put_off.extend(effects.into_iter().map(|effect| (effect, is_down)));
    }

    pub(super) fn has_put_off(&self) -> bool {
        !self.put_off.is_empty()
    }

    /// The next thing that was put off.
    pub(super) fn next_put_off(&mut self) -> Option<(Effect, bool)> {
        self.put_off.pop_front()
    }
}

impl Daemon {
    /// Whether a main process is ending: its exit record has come, and nobody could wait for it yet.
    fn is_ending(&self, id: ProcId) -> bool {
        self.exits.has(id) && self.lives.get(id).is_some_and(|life| life.is_over)
    }

    /// A main process is about to end, as it seems.
    pub(super) fn look_out(&mut self, event: &Event, is_main: bool) {
        if let Action::Signal { process, signal } = &event.action
            && is_main
            && is_deadly(signal.number)
        {
            self.endings.doomed = Some(process.id);
        }
    }

    /// Stays awake until whoever was sent a deadly signal has ended, and the next one is started. Not on a host with one processor,
    /// which the dying one needs.
    pub(super) fn follow_the_doomed(&mut self) -> Result<(), Failure> {
        let Some(doomed) = self.endings.doomed.take() else { return Ok(()) };
        let began = Instant::now();
        let was_in_vain = self.endings.in_vain.is_some_and(|then| began < then + IN_VAIN);
        if was_in_vain || self.processors < 2 {
            return Ok(());
        }
        self.endings.is_following = true;
        // What else is to be done does not wait for that.
        self.take_effects();
        if !self.effects.is_empty() {
            self.settle()?;
        }
        while self.exits.has(doomed) && began.elapsed() < FOLLOWED {
            let has_more = self.holder.has_more();
            if has_more {
                self.holder.look()?;
                self.settle()?;
            }
            if self.exits.is_over(doomed) {
                // Before its status is taken: to let go of what is left of it takes the kernel longer than a look.
                self.start_next(doomed)?;
            }
            let ended = self
                .exits
                .now()
                .map_err(|source| Failure::System { action: "wait for processes", source })?;
            if !ended.is_empty() {
                self.have_ended(ended)?;
                self.settle()?;
            } else if !has_more {
                // It may be waiting for this processor.
                std::thread::yield_now();
            }
        }
        self.endings.is_following = false;
        self.endings.in_vain = self.exits.has(doomed).then_some(began);
        Ok(())
    }

    /// Sets aside what is to be done to those who are ending anyway, and all that follows it for the same service: its rooms are
    /// let go once it is said to be stopped.
    pub(super) fn set_aside(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            let whom = match &effect {
                Effect::Act(Plan { deed: Deed::Kill { target, .. }, .. }) if self.is_ending(*target) => {
                    Some(*target)
                }
                Effect::Act(Plan { deed: Deed::Start { .. }, .. }) => None,
                effect => self.endings.who_holds_up(&subject(effect).service),
            };
            match whom {
                Some(whom) => self.endings.effects.entry(whom).or_default().push(effect),
                None => self.effects.push_back(effect),
            }
        }
    }

    /// Keeps a start until its predecessor has ended, if it is about to; otherwise gives it back.
    pub(super) fn keep_start(
        &mut self,
        after: Option<ProcId>,
        plan: Plan,
        prepared: Prepared,
    ) -> Option<(Plan, Prepared)> {
        let Some(after) = after.filter(|after| self.is_ending(*after)) else { return Some((plan, prepared)) };
        self.endings.starts.insert(after, (plan, prepared));
        None
    }

    /// A main process has ended: what waited for that goes on, the start first.
    pub(super) fn go_on_after(&mut self, id: ProcId) -> Result<(), Failure> {
        self.effects.extend(self.endings.effects.remove(&id).into_iter().flatten());
        self.start_next(id)
    }

    /// Starts who waits for this end.
    fn start_next(&mut self, id: ProcId) -> Result<(), Failure> {
        match self.endings.starts.remove(&id) {
            Some((plan, prepared)) => self.start_prepared(plan, prepared),
            None => Ok(()),
        }
    }
}

/// Whom an effect is about.
const fn subject(effect: &Effect) -> &Subject {
    match effect {
        Effect::Act(plan) => &plan.subject,
        Effect::Ask(question) => &question.subject,
        Effect::Tell(notice) => &notice.subject,
    }
}
