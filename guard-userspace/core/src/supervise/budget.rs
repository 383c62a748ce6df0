//! How often something may be done: so many in any window of a length.

use std::collections::VecDeque;

use crate::policy::model::Budget;

/// A sliding window. What is decided and not done yet is reserved, so that what is done never exceeds the budget in any window,
/// however long it takes from the decision to the deed.
#[derive(Clone, Debug)]
pub(super) struct Window {
    budget: Budget,
    /// When it was done, oldest first; only what is still in the window.
    done: VecDeque<u64>,
    reserved: u32,
}

impl Window {
    pub(super) const fn new(budget: Budget) -> Self {
        Self { budget, done: VecDeque::new(), reserved: 0 }
    }

    /// When it was done, oldest first.
    pub(super) fn done(&self) -> Vec<u64> {
        self.done.iter().copied().collect()
    }

    /// It was done at these times, as another supervisor knew. What that had reserved is reserved anew by whoever still waits.
    pub(super) fn remember(&mut self, done: Vec<u64>) {
        self.done = done.into();
    }

    /// Another budget from now on, over the same past.
    pub(super) const fn set(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// What was done is forgotten; what is reserved stays.
    pub(super) fn renew(&mut self) {
        self.done.clear();
    }

    pub(super) const fn budget(&self) -> Budget {
        self.budget
    }

    /// How many more may be decided.
    pub(super) fn left(&mut self, now_ns: u64) -> u32 {
        self.forget(now_ns);
        self.budget.count.saturating_sub(self.used())
    }

    /// The same, for whoever only looks.
    pub(super) fn left_at(&self, now_ns: u64) -> u32 {
        let gone = self.done.iter().take_while(|done| done.saturating_add(self.budget.within) <= now_ns);
        let gone = u32::try_from(gone.count()).unwrap_or(u32::MAX);
        self.budget.count.saturating_sub(self.used().saturating_sub(gone))
    }

    /// How many are in the window or reserved.
    pub(super) fn used(&self) -> u32 {
        u32::try_from(self.done.len()).unwrap_or(u32::MAX).saturating_add(self.reserved)
    }

    /// When one more may be decided, if nothing else happens; `None`: not before something reserved is done or given up.
    pub(super) fn next_ns(&mut self, now_ns: u64) -> Option<u64> {
        if self.left(now_ns) > 0 {
            return Some(now_ns);
        }
        let too_many = self.used().saturating_sub(self.budget.count);
        let last = self.done.get(usize::try_from(too_many).unwrap_or(usize::MAX))?;
        Some(last.saturating_add(self.budget.within))
    }

    /// One more is decided. The caller has looked whether there is room.
    pub(super) const fn reserve(&mut self) {
        self.reserved = self.reserved.saturating_add(1);
    }

    /// What was decided is done.
    pub(super) fn spend(&mut self, now_ns: u64) {
        self.release();
        self.forget(now_ns);
        self.done.push_back(now_ns);
    }

    /// What was decided is not done after all.
    pub(super) const fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    fn forget(&mut self, now_ns: u64) {
        while self.done.front().is_some_and(|done| done.saturating_add(self.budget.within) <= now_ns) {
            self.done.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_counts_until_it_is_done_and_then_for_a_window() {
        let mut window = Window::new(Budget { count: 2, within: 100 });
        assert_eq!((window.left(0), window.next_ns(0)), (2, Some(0)));
        window.reserve();
        window.reserve();
        assert_eq!((window.left(50), window.next_ns(50)), (0, None), "nothing was done yet");
        window.spend(60);
        assert_eq!((window.left(60), window.next_ns(60)), (0, Some(160)));
        window.spend(90);
        assert_eq!((window.left_at(159), window.left_at(160)), (0, 1), "looking changes nothing");
        assert_eq!((window.left(159), window.left(160), window.next_ns(160)), (0, 1, Some(160)));
        window.reserve();
        window.release();
        assert_eq!(window.left(160), 1);
    }

    #[test]
    fn a_smaller_budget_lets_go_when_enough_has_passed() {
        let mut window = Window::new(Budget { count: 3, within: 100 });
        for time in [10, 20, 30] {
            window.reserve();
            window.spend(time);
        }
        window.set(Budget { count: 1, within: 100 });
        assert_eq!(window.next_ns(40), Some(130), "when the last of the three has left the window");
    }
}
