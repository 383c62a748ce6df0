//! How fast memory grows, of what is not given back.
//!
//! A garbage collector lets memory rise and fall like a saw; a leak is what stays after each fall. So only the lowest point of
//! each slice of the window counts, and of these only what no later point undercuts: the floor. Memory that rose since the last
//! fall may be given back by the next one, if falls of that size were seen; it counts only as far as it exceeds that. The rate
//! is the median of the slopes between all pairs of floor points (Theil and Sen's estimator), which single outliers don't move.
//!
//! ```text
//!   memory    /|  /|   /|      floor            ____
//!            / | / |  / | /                ____|
//!           /  |/  | /  |/            ____|
//! ```
//! The floor never falls, so the rate is never negative: memory that shrinks does not leak.

use std::collections::VecDeque;

use crate::limits::GROWTH_SLICES;
use crate::policy::model::Span;

/// Slices of the window that must have been seen before anything is said: half of them.
const ENOUGH: usize = GROWTH_SLICES as usize / 2;

/// The lowest points of memory in a window, by slices.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    /// Length of a slice, in nanoseconds.
    slice: Span,
    /// Number of the slice and its lowest point: time since boot and bytes. The oldest first.
    lows: VecDeque<(u64, u64, u64)>,
}

impl Growth {
    pub(super) fn new(window: Span) -> Self {
        Self { slice: window.div_ceil(GROWTH_SLICES).max(1), lows: VecDeque::new() }
    }

    /// Takes in how much memory is used. Samples from before the last slice are left out.
    pub(super) fn add(&mut self, time_ns: u64, bytes: u64) {
        let number = time_ns / self.slice;
        match self.lows.back_mut() {
            Some((last, ..)) if *last > number => {}
            Some((last, at_ns, low)) if *last == number => {
                if bytes < *low {
                    (*at_ns, *low) = (time_ns, bytes);
                }
            }
            _ => {
                let begin = (number + 1).saturating_sub(GROWTH_SLICES);
                while self.lows.front().is_some_and(|&(first, ..)| first < begin) {
                    self.lows.pop_front();
                }
                self.lows.push_back((number, time_ns, bytes));
            }
        }
    }

    /// Bytes per second; `None` before half of the window was seen.
    pub(super) fn per_second(&self, now_ns: u64) -> Option<f64> {
        let begin = (now_ns / self.slice + 1).saturating_sub(GROWTH_SLICES);
        let lows = self.lows.iter().filter(|&&(number, ..)| number >= begin);
        let mut points: Vec<(u64, u64)> = lows.map(|&(_, at_ns, low)| (at_ns, low)).collect();
        if points.len() < ENOUGH {
            return None;
        }
        floor(&mut points);
        median_slope(&points)
    }
}

/// Lowers each point to what no later one undercuts.
fn floor(points: &mut [(u64, u64)]) {
    let mut lowest = may_fall_to(points);
    for (_, low) in points.iter_mut().rev() {
        lowest = lowest.min(*low);
        *low = lowest;
    }
}

/// Where memory may be after the next fall, to judge by those seen: as low as after the last large one, but not lower than the
/// largest would bring it.
fn may_fall_to(points: &[(u64, u64)]) -> u64 {
    let mut peak = 0;
    let mut largest = 0;
    for &(_, low) in points {
        peak = low.max(peak);
        largest = largest.max(peak - low);
    }
    let (mut peak, mut trough) = (0, None);
    for &(_, low) in points {
        peak = low.max(peak);
        if largest > 0 && peak - low >= largest.div_ceil(2) {
            // From here on another fall is counted from the rise to come.
            (peak, trough) = (low, Some(low));
        } else if trough.is_some_and(|trough| low < trough) {
            trough = Some(low);
        }
    }
    let last = points.last().map_or(0, |&(_, low)| low);
    trough.map_or(last, |trough| last.saturating_sub(largest).max(trough))
}

/// The median of the slopes between all pairs, in units per second.
fn median_slope(points: &[(u64, u64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (at, &(from_ns, low)) in points.iter().enumerate() {
        for &(to_ns, later) in points.iter().skip(at + 1).filter(|&&(to_ns, _)| to_ns > from_ns) {
            slopes.push((later as f64 - low as f64) * 1e9 / (to_ns - from_ns) as f64);
        }
    }
    let middle = slopes.len().checked_sub(1)? / 2;
    let (_, &mut median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
    Some(median)
}
