//! A distribution in little memory.
//!
//! Values are counted in buckets whose bounds grow by the same factor (Masson, Rim, Lee: DDSketch, 2019), so that each quantile is
//! known to within a share of itself. Only the buckets between the smallest and the largest value are kept, and of these only the
//! upper ones, if they are too many: what is suggested lies at the upper end.

use serde::{Deserialize, Serialize};

/// A quantile is within this share of the true one.
const ERROR: f64 = 0.02;

/// Buckets that are kept: values that differ by a factor of 2,150. 4 bytes each, and most services need a tenth of them.
const BUCKETS: usize = 192;

/// How values of one kind are spread. None of them is negative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    count: u64,
    /// Those that are 0, or below what is kept.
    low: u64,
    /// The number of the first bucket.
    first: i32,
    buckets: Vec<u32>,
}

impl Quantiles {
    /// Counts a value. What is no number, or negative, is left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        self.count = self.count.saturating_add(1);
        // Below a billionth is nothing, in every unit that is measured.
        if value < 1e-9 {
            self.low = self.low.saturating_add(1);
            return;
        }
        let number = bucket(value);
        if self.buckets.is_empty() {
            self.first = number;
        }
        if !self.make_room(number) {
            self.low = self.low.saturating_add(1);
            return;
        }
        let place = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket = bucket.saturating_add(1);
        }
    }

    /// How many values were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The value that this share of all values does not exceed, to within 2%; `None` without values.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = self.low;
        if seen >= rank {
            return Some(0.0);
        }
        let mut last = self.first;
        for (number, &bucket) in (self.first..).zip(&self.buckets) {
            seen = seen.saturating_add(u64::from(bucket));
            last = number;
            if seen >= rank {
                break;
            }
        }
        Some(middle(last))
    }

    /// Whether a bucket has its place now. One that is too low has none.
    fn make_room(&mut self, number: i32) -> bool {
        let most = i32::try_from(BUCKETS).unwrap_or(i32::MAX);
        let last = self.first + i32::try_from(self.buckets.len()).unwrap_or(0) - 1;
        if number < self.first {
            if last - number >= most {
                return false;
            }
            let more = usize::try_from(self.first - number).unwrap_or(0);
            self.buckets.splice(0..0, std::iter::repeat_n(0, more));
            self.first = number;
        } else if number > last {
            let too_many = usize::try_from(number - self.first + 1 - most).unwrap_or(0);
            let gone = too_many.min(self.buckets.len());
            self.low += self.buckets.drain(..gone).map(u64::from).sum::<u64>();
            self.first += i32::try_from(too_many).unwrap_or(0);
            let length = usize::try_from(number - self.first + 1).unwrap_or(0);
            self.buckets.resize(length, 0);
        }
        true
    }
}

/// Where a positive value is counted.
fn bucket(value: f64) -> i32 {
    (value.ln() / growth().ln()).ceil() as i32
}

/// What stands for all values of a bucket: equally far, in shares, from both of its bounds.
fn middle(number: i32) -> f64 {
    2.0 * growth().powi(number) / (growth() + 1.0)
}

/// From one bound to the next.
fn growth() -> f64 {
    (1.0 + ERROR) / (1.0 - ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_right_to_two_percent(
            mut values in prop::collection::vec(1.0..1_000.0_f64, 1..400),
            share in 0.0..1.0_f64,
            scale in prop::sample::select(vec![1e-6, 1.0, 1e9]),
        ) {
            let mut sketch = Quantiles::default();
            values.iter_mut().for_each(|value| *value *= scale);
            values.iter().for_each(|&value| sketch.add(value));
            values.sort_by(f64::total_cmp);
            let rank = ((values.len() as f64 * share).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let told = sketch.quantile(share).unwrap();
            prop_assert!((told - exact).abs() <= exact * (ERROR + 1e-9), "{told} for {exact}");
        }

        #[test]
        fn memory_is_bounded_and_the_upper_end_is_kept(
            values in prop::collection::vec((-8..18_i32, 1.0..10.0_f64), 1..400),
        ) {
            let mut sketch = Quantiles::default();
            let values: Vec<f64> = values.iter().map(|(power, digit)| digit * 10_f64.powi(*power)).collect();
            values.iter().for_each(|&value| sketch.add(value));
            prop_assert!(sketch.buckets.len() <= BUCKETS, "{}", sketch.buckets.len());
            prop_assert_eq!(sketch.count(), values.len() as u64);
            let counted: u64 = sketch.buckets.iter().map(|&count| u64::from(count)).sum();
            prop_assert_eq!(counted + sketch.low, sketch.count());
            let most = values.iter().copied().fold(0.0, f64::max);
            let told = sketch.quantile(1.0).unwrap();
            prop_assert!((told - most).abs() <= most * (ERROR + 1e-9), "{told} for {most}");
        }
    }

    #[test]
    fn what_is_nothing_or_no_number_is_counted_as_that() {
        let mut sketch = Quantiles::default();
        assert_eq!(sketch.quantile(0.5), None);
        [f64::NAN, f64::INFINITY, -1.0].into_iter().for_each(|value| sketch.add(value));
        assert_eq!(sketch.count(), 0);
        [0.0, 0.0, 5.0].into_iter().for_each(|value| sketch.add(value));
        assert_eq!(sketch.quantile(0.5), Some(0.0));
        assert!(sketch.quantile(1.0).is_some_and(|five| (five - 5.0).abs() < 0.11));
        let text = serde_json::to_string(&sketch).unwrap();
        assert_eq!(serde_json::from_str::<Quantiles>(&text).unwrap(), sketch);
    }
}
