//! What waits for the end of a main process: its exit record is written when it begins to end, and its memory is given back before
//! anybody can wait for it. In that time, a fifth of a recovery, the next life is decided, put down and prepared.
//!
//! ```text
//! signal record  -> press: the exit record is taken in as it comes
//! exit record    -> Start: put down and prepared, then it waits here; Kill of what is left: it waits, and is put down afterwards
//! pidfd readable -> the room is empty, as a rule: started at once; the kill is done already
//! ```

use std::collections::HashMap;
use std::time::Duration;

use guard_core::event::{Action, Event};
use guard_core::ids::ProcId;
use guard_core::supervise::{Deed, Effect, Plan};
use tokio::time::Instant;

use super::hands::spawn::Prepared;
use super::turn::Daemon;
use crate::exit::Failure;

/// How long after a deadly signal the exit record is awaited: tens of microseconds as a rule, and longer on a busy processor.
const SOON: Duration = Duration::from_millis(5);

/// Signals by which processes are ended, and that few of them live on after: SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGBUS, SIGFPE,
/// SIGKILL, SIGSEGV, SIGTERM.
const DEADLY: [u32; 9] = [2, 3, 4, 6, 7, 8, 9, 11, 15];

/// What waits for the ends of main processes.
#[derive(Debug, Default)]
pub(super) struct Endings {
    starts: HashMap<ProcId, (Plan, Prepared)>,
    effects: HashMap<ProcId, Vec<Effect>>,
}

impl Daemon {
    /// Whether a main process is ending: its exit record has come, and nobody could wait for it yet.
    fn is_ending(&self, id: ProcId) -> bool {
        self.exits.has(id) && self.lives.get(id).is_some_and(|life| life.is_over)
    }

    /// A main process is about to end, as it seems.
    pub(super) fn look_out(&mut self, event: &Event, is_main: bool) {
        if let Action::Signal { signal, .. } = &event.action
            && is_main
            && DEADLY.contains(&signal.number)
        {
            self.holder.press(Instant::now() + SOON);
        }
    }

    /// Sets aside what is to be done to those who are ending anyway.
    pub(super) fn set_aside(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match &effect {
                Effect::Act(Plan { deed: Deed::Kill { target, .. }, .. }) if self.is_ending(*target) => {
                    self.endings.effects.entry(*target).or_default().push(effect);
                }
                _ => self.effects.push_back(effect),
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
        match self.endings.starts.remove(&id) {
            Some((plan, prepared)) => self.start_prepared(plan, prepared),
            None => Ok(()),
        }
    }
}
