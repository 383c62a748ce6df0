//! A supervisor's state, given away as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::policy::model::Service;

use super::budget::Window;
use super::instance::Instance;
use super::saved::{Changes, Saved, SavedInstance, SavedShared, SavedUnit};
use super::shared::{Shared, Slot};
use super::supervisor::Supervisor;
use super::unit::Unit;

/// So many numbers of actions and of questions are saved as used before they are, so that not each one is a reason to write.
const NUMBERS: u64 = 1_024;

/// What was given away last.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) services: BTreeMap<Arc<str>, Arc<Saved>>,
    pub(super) shared: Option<SavedShared>,
}

impl Supervisor {
    /// What has changed since this was asked last: whole services, and what they share. Only those to which something happened
    /// are looked at. Write it before anything is done that [`Supervisor::poll_effect`] gives from now on: so whatever is done
    /// was decided, as far as anybody knows afterwards.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        for name in std::mem::take(&mut self.touched) {
            let saved = self.saved(&name).map(Arc::new);
            if self.given.services.get(&name) == saved.as_ref() {
                continue;
            }
            match &saved {
                Some(saved) => self.given.services.insert(Arc::clone(&name), Arc::clone(saved)),
                None => self.given.services.remove(&name),
            };
            changes.services.push((name, saved));
        }
        if !std::mem::take(&mut self.turned) {
            return changes;
        }
        let (units, before) = (&self.units, self.given.shared.as_ref());
        let shared = self.shared.saved(before, |slot| units.get(&slot).map(|unit| unit.name.to_string()));
        if before != Some(&shared) {
            self.given.shared = Some(shared.clone());
            changes.shared = Some(shared);
        }
        changes
    }

    /// Whoever keeps the state has lost it: all of it is given away once more.
    pub fn give_all_anew(&mut self) {
        self.given = Given::default();
        self.touched.extend(self.units.values().map(|unit| Arc::clone(&unit.name)));
        self.turned = true;
    }

    /// All that has this name.
    fn saved(&self, name: &str) -> Option<Saved> {
        let units: Vec<&Unit> = self.units.values().filter(|unit| &*unit.name == name).collect();
        let place = |slot: Slot| units.iter().position(|unit| unit.slot == slot);
        let units: Vec<SavedUnit> =
            units.iter().map(|unit| unit.saved(unit.follows.and_then(place), &self.shared)).collect();
        (!units.is_empty()).then_some(Saved { version: Saved::VERSION, units })
    }
}

impl Shared {
    fn saved(
        &self,
        before: Option<&SavedShared>,
        name: impl Fn(Slot) -> Option<String> + Copy,
    ) -> SavedShared {
        // Numbers are used within one turn: half of what was saved is far more than one needs.
        let room = |last: u64, saved: u64| {
            if saved < last.saturating_add(NUMBERS / 2) { last.saturating_add(NUMBERS) } else { saved }
        };
        SavedShared {
            version: Saved::VERSION,
            actions: room(self.last_action, before.map_or(0, |before| before.actions)),
            questions: room(self.last_question, before.map_or(0, |before| before.questions)),
            host: self.host.as_ref().map(Window::done).unwrap_or_default(),
            groups: self.groups.iter().map(|(name, window)| (name.clone(), window.done())).collect(),
            roles: self.roles.saved(name),
        }
    }
}

impl Unit {
    fn saved(&self, follows: Option<usize>, shared: &Shared) -> SavedUnit {
        let leftovers = self.leftovers.iter().chain(self.clearing.values());
        let climbs = self.climbs.iter();
        SavedUnit {
            wanted: self.wanted,
            retiring: self.retiring,
            follows,
            run: self.run().is_some().then_some(self.policy.stop),
            target: self.target,
            hold: self.hold.clone(),
            instances: self.instances.values().map(|instance| instance.saved(&self.policy)).collect(),
            parted: self.parted.clone(),
            restarts: self.window.done(),
            thrown: self.dice.thrown(),
            leftovers: leftovers.copied().collect(),
            climbs: climbs.map(|((whose, name), climb)| (*whose, name.to_string(), climb.saved())).collect(),
            rolling: self.rolling.clone(),
            scaled_ns: self.scaled_ns,
            handover: self.handover.as_ref().map(|handover| handover.saved(|slot| shared.name(slot))),
            failovers: self.failovers.as_ref().map(Window::done).unwrap_or_default(),
            start_why: self.start_why.clone(),
            scale_why: self.scale_why.clone(),
            stop_why: self.stop_why.clone(),
            told: self.told,
            told_ns: self.told_ns,
            down: self.down,
            failing: self.checks.failing(&self.policy),
        }
    }
}

impl Instance {
    fn saved(&self, policy: &Service) -> SavedInstance {
        let mut phase = self.phase.clone();
        if let super::instance::Phase::Up(up) = &mut phase {
            // Questions die with whoever asked them.
            (up.ask_ns, up.asked) = (None, None);
        }
        SavedInstance {
            number: self.number,
            phase,
            why: self.why.clone(),
            wait: self.wait,
            ticket: self.ticket,
            renewing: self.renewing,
            probation: self.probation,
            outdated: self.outdated,
            after: self.after,
            told_end: self.told_end,
            told: self.told,
            told_ns: self.told_ns,
            moments: self.checks.gauges.moments(),
            failing: self.checks.failing(policy),
        }
    }
}
