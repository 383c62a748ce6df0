//! What happened in a window that ends now: answers, moments, and sums or maxima by slices of it.

use std::collections::VecDeque;

use crate::limits::{ANSWERS, MOMENTS, SLICES};
use crate::policy::model::Span;

/// How long the last answers took. Only the newest [`ANSWERS`] are kept, if more come in a window.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    window: Span,
    /// When each came and how long it took, the oldest first.
    answers: VecDeque<(u64, u64)>,
}

impl Answers {
    pub(super) const fn new(window: Span) -> Self {
        Self { window, answers: VecDeque::new() }
    }

    pub(super) fn add(&mut self, now_ns: u64, took_ns: u64) {
        let begin_ns = now_ns.saturating_sub(self.window);
        while self.answers.front().is_some_and(|&(at_ns, _)| at_ns <= begin_ns)
            || self.answers.len() >= ANSWERS
        {
            self.answers.pop_front();
        }
        self.answers.push_back((now_ns, took_ns));
    }

    /// Of the answers in the window, the smallest time that no fewer than this share of them stayed within.
    pub(super) fn quantile(&self, now_ns: u64, share: f64) -> Option<u64> {
        let begin_ns = now_ns.saturating_sub(self.window);
        let inside = self.answers.iter().filter(|&&(at_ns, _)| at_ns > begin_ns);
        let mut took: Vec<u64> = inside.map(|&(_, took_ns)| took_ns).collect();
        let last = took.len().checked_sub(1)?;
        let rank = (took.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
        let (_, &mut found, _) = took.select_nth_unstable(rank.saturating_sub(1).min(last));
        Some(found)
    }
}

/// When something happened. Only the newest [`MOMENTS`] are kept.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    window: Span,
    moments: VecDeque<u64>,
}

impl Moments {
    pub(super) const fn new(window: Span) -> Self {
        Self { window, moments: VecDeque::new() }
    }

    pub(super) fn add(&mut self, now_ns: u64) {
        let begin_ns = now_ns.saturating_sub(self.window);
        while self.moments.front().is_some_and(|&at_ns| at_ns <= begin_ns) || self.moments.len() >= MOMENTS {
            self.moments.pop_front();
        }
        self.moments.push_back(now_ns);
    }

    /// All that are remembered, the oldest first.
    pub(super) fn all(&self) -> Vec<u64> {
        self.moments.iter().copied().collect()
    }

    /// How often in the window.
    pub(super) fn count(&self, now_ns: u64) -> usize {
        let begin_ns = now_ns.saturating_sub(self.window);
        self.moments.iter().filter(|&&at_ns| at_ns > begin_ns).count()
    }
}

/// Something for each slice of a window, on a fixed grid of time. The window covers the slice under way and those before it, so
/// it is up to one slice ([`SLICES`]th of it) longer than asked for, never shorter.
#[derive(Clone, Debug)]
pub(super) struct Slices<T> {
    /// Length of a slice.
    length: Span,
    /// The number of each slice and what it holds, the oldest first.
    slices: VecDeque<(u64, T)>,
    told: bool,
}

impl<T: Default> Slices<T> {
    pub(super) fn new(window: Span) -> Self {
        Self { length: window.div_ceil(SLICES).max(1), slices: VecDeque::new(), told: false }
    }

    /// Whether anything was ever added.
    pub(super) const fn is_told(&self) -> bool {
        self.told
    }

    /// Lets `with` add to the slice of a moment; one before the last slice counts for that.
    pub(super) fn add(&mut self, now_ns: u64, with: impl FnOnce(&mut T)) {
        self.told = true;
        let number = now_ns / self.length;
        if self.slices.back().is_none_or(|&(last, _)| last < number) {
            let begin = number.saturating_sub(SLICES);
            while self.slices.front().is_some_and(|&(first, _)| first < begin) {
                self.slices.pop_front();
            }
            self.slices.push_back((number, T::default()));
        }
        if let Some((_, slice)) = self.slices.back_mut() {
            with(slice);
        }
    }

    /// Adds up the slices of the window.
    pub(super) fn fold<S>(&self, now_ns: u64, start: S, mut add: impl FnMut(&mut S, &T)) -> S {
        let begin = (now_ns / self.length).saturating_sub(SLICES);
        let mut sum = start;
        for (_, slice) in self.slices.iter().filter(|&&(number, _)| number >= begin) {
            add(&mut sum, slice);
        }
        sum
    }
}
