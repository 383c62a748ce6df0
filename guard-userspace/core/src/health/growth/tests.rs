//! Leaks are found under a sawtooth; a sawtooth, noise, steps and falls are none.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const MIB: f64 = 1_048_576.0;
/// Ten minutes.
const WINDOW: f64 = 600.0;

/// What is said after each sample, in MiB per window: memory (in MiB) at each second, sampled every five.
fn said(seconds: u64, memory: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut growth = Growth::new(WINDOW as u64 * SECOND);
    let mut said = vec![];
    for second in (0..seconds).step_by(5) {
        let now = second * SECOND;
        growth.add(now, (memory(second as f64) * MIB) as u64);
        said.extend(growth.per_second(now).map(|rate| rate * WINDOW / MIB));
    }
    said
}

/// From 0 to 1, by chance.
fn chance(seed: u64, at: f64) -> f64 {
    let mixed = (at as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / f64::from(1 << 24)
}

/// Rises to 1 and falls back to 0.
fn tooth(at: f64, period: f64) -> f64 {
    (at / period).fract()
}

fn between(said: &[f64], least: f64, most: f64) {
    assert!(!said.is_empty());
    for rate in said {
        assert!((least..=most).contains(rate), "{rate} is not between {least} and {most}");
    }
}

fn mean(said: &[f64]) -> f64 {
    said.iter().sum::<f64>() / said.len() as f64
}

#[test]
fn nothing_is_said_before_most_of_the_window_was_seen() {
    let mut growth = Growth::new(WINDOW as u64 * SECOND);
    let mut first = None;
    for second in 0..WINDOW as u64 {
        growth.add(second * SECOND, second * 1_000);
        if first.is_none() && growth.per_second(second * SECOND).is_some() {
            first = Some(second);
        }
    }
    assert_eq!(first, Some(450));
    assert_eq!(growth.per_second(599 * SECOND), Some(1_000.0));
    assert_eq!(growth.per_second(2_000 * SECOND), None, "all of it is too old");
}

#[test]
fn a_leak_is_measured_exactly() {
    between(&said(2_000, |at| 100.0 + at / 6.0), 99.99, 100.01);
}

#[test]
fn one_step_is_an_outlier_for_most_of_its_stay() {
    let rates = said(3_000, |at| if at < 1_500.0 { 100.0 } else { 200.0 });
    let raised = rates.iter().filter(|rate| **rate > 1.0).count();
    assert!(raised * 5 < 600, "{raised} samples, 5 s each, of the 600 s that it is in the window");
}

#[test]
fn what_falls_does_not_leak() {
    between(&said(2_000, |at| 1_000.0 - at / 6.0), 0.0, 0.0);
}

#[test]
fn a_warm_up_is_over_when_it_is() {
    let rates = said(2_000, |at| 100.0 + 300.0 * (1.0 - (-at / 60.0).exp()));
    between(&rates[..1], 0.0, 150.0);
    between(&rates[rates.len() - 100..], 0.0, 0.1);
}

#[test]
fn samples_out_of_order_do_no_harm() {
    let mut growth = Growth::new(24 * SECOND);
    for second in 0..48 {
        growth.add(second * SECOND, second * 100);
        growth.add(second.saturating_sub(3) * SECOND, 1);
    }
    let rate = growth.per_second(47 * SECOND).unwrap();
    assert!((99.0..=101.0).contains(&rate), "{rate}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leaks_under_a_sawtooth_are_found(
        leak in 10.0_f64..500.0,
        height in 0.0_f64..1_000.0,
        period in 10.0_f64..120.0,
    ) {
        let rates = said(1_500, |at| 100.0 + leak * at / WINDOW + height * tooth(at, period));
        // Foot and samples meet by chance: what is seen of a foot can be as much above it as the tooth rises in 5 s.
        let coarse = height * 5.0 / period;
        between(&rates[60..], leak * 0.7 - coarse * 2.0, leak * 1.3 + coarse * 2.0);
        between(&[mean(&rates[60..])], leak * 0.7 - coarse, leak * 1.2 + coarse);
    }

    #[test]
    fn leaks_under_noise_are_found(leak in 50.0_f64..500.0, noise in 0.0_f64..50.0, seed in any::<u64>()) {
        let rates = said(1_500, |at| 100.0 + leak * at / WINDOW + noise * chance(seed, at));
        between(&rates, leak * 0.7 - noise * 0.4, leak * 1.3 + noise * 0.4);
        between(&[mean(&rates)], leak * 0.85, leak * 1.15);
    }

    #[test]
    fn a_sawtooth_is_no_leak(height in 0.0_f64..1_000.0, period in 10.0_f64..400.0, begin in 0.0_f64..600.0) {
        let rates = said(2_500, |at| 100.0 + height * tooth(at + begin, period));
        let coarse = height * 5.0 / period;
        between(&rates[60..], 0.0, 1.0_f64.max(coarse * 2.0));
    }

    #[test]
    fn a_sawtooth_with_uneven_feet_is_none_either(
        height in 0.0_f64..1_000.0,
        uneven in 0.0_f64..50.0,
        period in 10.0_f64..300.0,
        seed in any::<u64>(),
    ) {
        let foot = |at: f64| uneven * chance(seed, (at / period).floor());
        let rates = said(2_500, |at| 100.0 + foot(at) + height * tooth(at, period));
        let coarse = height * 5.0 / period;
        between(&rates[60..], 0.0, 1.0_f64.max((uneven + coarse) * 2.5));
    }

    #[test]
    fn noise_is_no_leak(noise in 0.0_f64..1_000.0, seed in any::<u64>()) {
        let rates = said(2_500, |at| 100.0 + noise * chance(seed, at));
        between(&rates, 0.0, noise * 0.8);
        between(&[mean(&rates)], 0.0, noise * 0.15);
    }

    #[test]
    fn nothing_is_negative_or_not_a_number(values in proptest::collection::vec(any::<u64>(), 0..100)) {
        let mut growth = Growth::new(24 * SECOND);
        for (second, bytes) in (0..).zip(values) {
            growth.add(second * SECOND, bytes);
            if let Some(rate) = growth.per_second(second * SECOND) {
                prop_assert!(rate.is_finite() && rate >= 0.0, "{rate}");
            }
        }
    }
}
