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
//! The floor never falls, so the rate is never negative: memory that shrinks does not leak. The window should hold two rises and
//! falls; one rise that takes all of it is a leak as far as anybody can tell.

use std::collections::VecDeque;

use crate::limits::GROWTH_SLICES;
use crate::policy::model::Span;

/// Slices of the window that must have samples before anything is said, and how many slices ago the first of them must be: what
/// begins takes memory that it keeps, and that is no leak.
const ENOUGH: usize = GROWTH_SLICES as usize / 2;
const SINCE: u64 = GROWTH_SLICES * 3 / 4;

/// Memory in a window, by slices.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    /// Length of a slice, in nanoseconds.
    length: Span,
    /// The oldest first.
    slices: VecDeque<Slice>,
}

/// What was seen in one slice of the window, in bytes.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// Counted from boot.
    number: u64,
    /// When it was lowest, in nanoseconds since boot.
    at_ns: u64,
    low: u64,
    high: u64,
    /// The highest after the lowest.
    after: u64,
}

impl Growth {
    pub(super) fn new(window: Span) -> Self {
        Self { length: window.div_ceil(GROWTH_SLICES).max(1), slices: VecDeque::new() }
    }

    /// Takes in how much memory is used. Samples from before the last slice are left out.
    pub(super) fn add(&mut self, time_ns: u64, bytes: u64) {
        let number = time_ns / self.length;
        match self.slices.back_mut() {
            Some(slice) if slice.number > number => {}
            Some(slice) if slice.number == number => slice.add(time_ns, bytes),
            _ => {
                let begin = (number + 1).saturating_sub(GROWTH_SLICES);
                while self.slices.front().is_some_and(|slice| slice.number < begin) {
                    self.slices.pop_front();
                }
                self.slices.push_back(Slice {
                    number,
                    at_ns: time_ns,
                    low: bytes,
                    high: bytes,
                    after: bytes,
                });
            }
        }
    }

    /// Bytes per second; `None` before three quarters of the window were seen.
    pub(super) fn per_second(&self, now_ns: u64) -> Option<f64> {
        let now = now_ns / self.length;
        let begin = (now + 1).saturating_sub(GROWTH_SLICES);
        // The lowest point of the slice under way may be to come.
        let slices: Vec<Slice> =
            self.slices.iter().filter(|slice| (begin..now).contains(&slice.number)).copied().collect();
        let first = slices.first()?.number;
        if now.saturating_sub(first) < SINCE || slices.len() < ENOUGH {
            return None;
        }
        median_slope(&floor(&slices))
    }
}

impl Slice {
    const fn add(&mut self, time_ns: u64, bytes: u64) {
        if bytes < self.low {
            (self.at_ns, self.low, self.after) = (time_ns, bytes, bytes);
        }
        if bytes > self.high {
            self.high = bytes;
        }
        if bytes > self.after {
            self.after = bytes;
        }
    }
}

/// The lowest point of each slice, lowered to what no later one undercuts: when, and how much.
fn floor(slices: &[Slice]) -> Vec<(u64, u64)> {
    let mut lowest = may_fall_to(slices);
    let mut floor: Vec<(u64, u64)> = Vec::with_capacity(slices.len());
    for slice in slices.iter().rev() {
        lowest = lowest.min(slice.low);
        floor.push((slice.at_ns, lowest));
    }
    floor.reverse();
    floor
}

/// Where memory may be after the next fall, to judge by those seen: as low as after the last large one, but not lower than the
/// largest would bring it.
fn may_fall_to(slices: &[Slice]) -> u64 {
    let (mut peak, mut largest) = (0_u64, 0_u64);
    for slice in slices {
        largest = largest.max(peak.saturating_sub(slice.low));
        peak = peak.max(slice.high);
    }
    let last = slices.last().map_or(0, |slice| slice.low);
    let (mut peak, mut trough) = (0_u64, last);
    for slice in slices {
        if largest > 0 && peak.saturating_sub(slice.low) >= largest.div_ceil(2) {
            // From here on another fall is counted from the rise to come.
            (peak, trough) = (slice.after, slice.low);
        } else {
            peak = peak.max(slice.high);
            trough = trough.min(slice.low);
        }
    }
    if largest == 0 { last } else { last.saturating_sub(largest).max(trough) }
}

/// The median of the slopes between all pairs, in bytes per second.
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

#[cfg(test)]
mod tests;
