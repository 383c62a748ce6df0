//! New policies on trial: if restarts rise, the ones before were better.
//!
//! Restarts that somebody asked for, and those that the change itself needs, are not counted by whoever feeds this.

use std::collections::VecDeque;

/// Fewer restarts than this within a trial are chance.
const FEWEST: usize = 3;

/// So many times as many as in the same time before are a rise.
const RISE: usize = 2;

/// Restarts of late, and whether the policies that hold are on trial.
#[derive(Clone, Debug)]
pub struct Trial {
    length_ns: u64,
    /// When restarts were, in nanoseconds since boot: of the last two trials' lengths.
    restarts: VecDeque<u64>,
    began_ns: Option<u64>,
}

impl Trial {
    /// Nothing is on trial; a trial takes `length_ns`.
    #[must_use]
    pub const fn new(length_ns: u64) -> Self {
        Self { length_ns, restarts: VecDeque::new(), began_ns: None }
    }

    /// Other policies hold from now on.
    pub const fn begin(&mut self, now_ns: u64) {
        self.began_ns = Some(now_ns);
    }

    /// Whatever holds now is not on trial.
    pub const fn end(&mut self) {
        self.began_ns = None;
    }

    /// Until when the policies are on trial, in nanoseconds since boot; `None`: they are not.
    #[must_use]
    pub fn until_ns(&self, now_ns: u64) -> Option<u64> {
        let until_ns = self.began_ns?.saturating_add(self.length_ns);
        (now_ns < until_ns).then_some(until_ns)
    }

    /// A service was restarted. Gives, in words, why the policies before should hold again, if they should.
    pub fn restarted(&mut self, now_ns: u64) -> Option<String> {
        let oldest_ns = now_ns.saturating_sub(self.length_ns.saturating_mul(2));
        self.restarts.push_back(now_ns);
        while self.restarts.front().is_some_and(|&time_ns| time_ns < oldest_ns) {
            self.restarts.pop_front();
        }
        let began_ns = self.began_ns.filter(|_| self.until_ns(now_ns).is_some())?;
        let within_ns = now_ns.saturating_sub(began_ns);
        let before_ns = began_ns.saturating_sub(within_ns);
        let since = self.restarts.iter().filter(|&&time_ns| time_ns >= began_ns).count();
        let before =
            self.restarts.iter().filter(|&&time_ns| (before_ns..began_ns).contains(&time_ns)).count();
        (since >= FEWEST && since > RISE * before).then(|| {
            let seconds = within_ns / 1_000_000_000;
            format!("{since} restarts in the {seconds} s since it was accepted, {before} in as long before")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_rise_within_the_trial_is_told() {
        let mut trial = Trial::new(300 * SECOND);
        assert_eq!(trial.restarted(10 * SECOND), None, "nothing is on trial");
        trial.begin(100 * SECOND);
        assert_eq!(trial.until_ns(101 * SECOND), Some(400 * SECOND));
        assert_eq!(trial.restarted(110 * SECOND), None);
        assert_eq!(trial.restarted(111 * SECOND), None, "two are chance");
        let why = trial.restarted(120 * SECOND).unwrap();
        assert_eq!(why, "3 restarts in the 20 s since it was accepted, 0 in as long before");
    }

    #[test]
    fn what_was_as_bad_before_is_no_rise() {
        let mut trial = Trial::new(300 * SECOND);
        (0..20).for_each(|n| assert_eq!(trial.restarted((80 + n) * SECOND), None));
        trial.begin(100 * SECOND);
        (0..20).for_each(|n| assert_eq!(trial.restarted((100 + n) * SECOND), None));
    }

    #[test]
    fn after_the_trial_they_stay() {
        let mut trial = Trial::new(300 * SECOND);
        trial.begin(100 * SECOND);
        (0..9).for_each(|n| assert_eq!(trial.restarted((500 + n) * SECOND), None));
        assert_eq!(trial.until_ns(500 * SECOND), None);
    }
}
