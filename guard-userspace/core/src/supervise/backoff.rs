//! How long to wait before an instance is started again.

use serde::{Deserialize, Serialize};

use crate::policy::model::{Backoff, Span};

use super::dice::Dice;

/// The waits of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Wait {
    /// The next one, before jitter; `None`: the first.
    nominal: Option<f64>,
    /// The last one that was waited.
    last: Span,
}

impl Wait {
    pub(super) const fn fresh() -> Self {
        Self { nominal: None, last: 0 }
    }

    /// The next wait: never shorter than the one before, whatever the dice say.
    pub(super) fn next(&mut self, backoff: &Backoff, dice: &mut Dice) -> Span {
        let max = backoff.max as f64;
        let nominal = self.nominal.unwrap_or(backoff.initial as f64).min(max);
        self.nominal = Some((nominal * backoff.factor.max(1.0)).min(max));
        let share = backoff.jitter * (2.0 * dice.share() - 1.0);
        let wait = ((nominal * (1.0 + share)) as Span).max(self.last);
        self.last = wait;
        wait
    }

    /// The next wait is the first one again.
    pub(super) const fn reset(&mut self) {
        *self = Self::fresh();
    }

    /// Whether there is anything to reset.
    pub(super) const fn is_fresh(&self) -> bool {
        self.nominal.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: 100, factor: 2.0, max: 1_000, jitter: 0.0, reset_after: 10_000 };

    fn waits(backoff: &Backoff) -> Vec<Span> {
        let (mut wait, mut dice) = (Wait::fresh(), Dice::new(7, "web"));
        (0..6).map(|_| wait.next(backoff, &mut dice)).collect()
    }

    #[test]
    fn waits_grow_to_the_longest_one() {
        assert_eq!(waits(&BACKOFF), [100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn jitter_never_shortens_a_wait_below_the_one_before() {
        for factor in [1.0, 1.1, 2.0] {
            let waits = waits(&Backoff { factor, jitter: 0.5, ..BACKOFF });
            assert!(waits.is_sorted(), "{waits:?}");
            assert!(waits.iter().all(|wait| (50..=1_500).contains(wait)), "{waits:?}");
        }
    }

    #[test]
    fn after_a_reset_it_begins_anew() {
        let (mut wait, mut dice) = (Wait::fresh(), Dice::new(7, "web"));
        let first = wait.next(&BACKOFF, &mut dice);
        wait.next(&BACKOFF, &mut dice);
        wait.reset();
        assert_eq!(wait.next(&BACKOFF, &mut dice), first);
    }
}
