//! What the guard of a step can ask for.

use crate::policy::guard::Facts;

use super::ladder::Key;
use super::text;
use super::unit::{Turn, Unit};

impl Unit {
    /// What a guard can ask for.
    pub(super) fn facts(&mut self, key: &Key, turn: &Turn<'_>) -> Facts {
        let left = self.window.left(turn.now_ns);
        let checks = self.checks(key.0).map_or(&[][..], |checks| &checks.watches);
        let states = self.names.iter().zip(checks);
        let place = self.names.iter().position(|name| *name == key.1);
        let watch = place.and_then(|place| checks.get(place));
        let since_ns = self.why_of(key).since_ns;
        Facts {
            service: self.name.to_string(),
            instance: key.0,
            labels: self.policy.labels.clone(),
            state: text::state(self.state()).to_owned(),
            check: key.1.to_string(),
            checks: states.map(|(name, watch)| (name.to_string(), watch.state().name().to_owned())).collect(),
            value: watch.and_then(|watch| watch.value),
            failing_for: turn.now_ns.saturating_sub(since_ns) as f64 / 1e9,
            restarts: self.window.used(),
            restarts_left: left,
            instances: self.alive(),
            ready: self.ready(),
            epoch_seconds: turn.shared.clock.epoch_seconds(turn.now_ns),
        }
    }
}
