//! The monitor by examples, and against a model that looks at all of the past each time.

use proptest::prelude::*;

use super::*;
use crate::policy::model::{Probe, ProbeCheck, Scope, Signal, TcpProbe};

const SECOND: u64 = 1_000_000_000;
const MIB: f64 = 1_048_576.0;

fn check(kind: CheckKind) -> Check {
    Check { name: "it".to_owned(), scope: Scope::Instance, grace: 0, kind }
}

fn probe(fail: Flap, pass_after: u32) -> Check {
    let tcp = TcpProbe { address: "127.0.0.1:1".to_owned(), send: None, expect: None, timeout: SECOND };
    check(CheckKind::Probe(ProbeCheck { probe: Probe::Tcp(tcp), every: 5 * SECOND, fail, pass_after }))
}

/// `memory.rss` above 400MiB, clear below 300MiB.
fn memory(hold: u64, keep: u64, samples: Option<(u32, u32)>) -> Check {
    check(CheckKind::Threshold(Threshold {
        signal: Signal::MemoryRss,
        every: SECOND,
        bound: Bound::Above(400.0 * MIB),
        clear: 300.0 * MIB,
        hold: hold * SECOND,
        keep: keep * SECOND,
        samples,
    }))
}

/// Feeds a value (in MiB) each second, and writes down what changes and when.
fn measured(check: &Check, values: &[f64]) -> Vec<String> {
    let mut monitor = Monitor::new(check, 0);
    let mut told = vec![];
    for (second, value) in (0..).zip(values) {
        let value = (!value.is_nan()).then_some(value * MIB);
        if let Some(change) = monitor.measure(second * SECOND, value) {
            let since = change.since_ns / SECOND;
            told.push(format!("{second}s {}: {} since {since}s", change.state.name(), change.why));
        }
    }
    told
}

/// Feeds `P`ass, `F`ail and `E`rror each five seconds.
fn answered(check: &Check, answers: &str) -> Vec<String> {
    let mut monitor = Monitor::new(check, 0);
    let mut told = vec![];
    for (turn, answer) in (0..).zip(answers.chars()) {
        let now = 5 * turn;
        let answer = match answer {
            'P' => Answer::Pass,
            'F' => Answer::Fail(format!("status 50{turn}")),
            _ => Answer::Error("no such host".to_owned()),
        };
        if let Some(change) = monitor.answer(now * SECOND, &answer, 0) {
            let since = change.since_ns / SECOND;
            told.push(format!("{now}s {}: {} since {since}s", change.state.name(), change.why));
        }
    }
    told
}

#[test]
fn above_for_and_keep_for() {
    assert_eq!(
        measured(&memory(3, 2, None), &[100.0, 401.0, 410.0, 420.0, 431.0, 350.0, 299.0, 200.0, 250.0]),
        [
            "0s passing: memory.rss is 100MiB since 0s",
            "4s failing: memory.rss was above 400MiB for 3s, now 431MiB since 1s",
            "8s passing: memory.rss was not above 300MiB for 2s, now 250MiB since 6s",
        ]
    );
}

#[test]
fn between_the_bounds_both_stretches_end() {
    assert_eq!(
        measured(&memory(2, 2, None), &[410.0, 410.0, 350.0, 410.0, 410.0, 410.0]),
        [
            "2s passing: memory.rss is 350MiB since 2s",
            "5s failing: memory.rss was above 400MiB for 2s, now 410MiB since 3s",
        ]
    );
    let flaps = [410.0, 410.0, 410.0, 200.0, 200.0, 350.0, 200.0, 200.0, 410.0, 200.0, 200.0, 200.0];
    assert_eq!(
        measured(&memory(2, 2, None), &flaps),
        [
            "2s failing: memory.rss was above 400MiB for 2s, now 410MiB since 0s",
            "11s passing: memory.rss was not above 300MiB for 2s, now 200MiB since 9s",
        ]
    );
}

#[test]
fn without_a_hold_one_look_is_enough() {
    assert_eq!(
        measured(&memory(0, 0, None), &[431.0, 200.0]),
        [
            "0s failing: memory.rss is 431MiB, above 400MiB since 0s",
            "1s passing: memory.rss is 200MiB since 1s"
        ]
    );
}

#[test]
fn so_many_of_the_last() {
    let values = [500.0, 100.0, 500.0, 100.0, 500.0, 100.0, 100.0, 100.0];
    assert_eq!(
        measured(&memory(99, 0, Some((3, 5))), &values),
        [
            "1s passing: memory.rss is 100MiB since 1s",
            "4s failing: memory.rss was above 400MiB in 3 of 5 looks, now 500MiB since 0s",
            "5s passing: memory.rss is 100MiB since 5s",
        ],
        "at 5 s, two of the last five are bad"
    );
    let values = [500.0, 500.0, 500.0, 500.0, 100.0, 100.0, 100.0];
    assert_eq!(
        measured(&memory(99, 0, Some((3, 5))), &values),
        [
            "2s failing: memory.rss was above 400MiB in 3 of 5 looks, now 500MiB since 0s",
            "6s passing: memory.rss was not above 300MiB for 2s, now 100MiB since 4s",
        ],
        "a good look is not enough while three of the last five are bad"
    );
}

#[test]
fn what_is_not_measured_is_no_evidence() {
    let none = f64::NAN;
    assert_eq!(
        measured(&memory(3, 0, None), &[410.0, none, none, 410.0, none, none, none, 410.0, 410.0]),
        [
            "3s failing: memory.rss was above 400MiB for 3s, now 410MiB since 0s",
            "6s unknown: no answer 3 times in a row: nothing was measured since 6s",
        ],
        "two missing looks neither end nor fail it; three do away with what was counted"
    );
}

#[test]
fn what_became_unknown_while_it_failed_is_not_well_at_the_first_good_look() {
    let none = f64::NAN;
    let values = [410.0, none, none, none, 100.0, 100.0, 100.0];
    assert_eq!(
        measured(&memory(0, 2, None), &values),
        [
            "0s failing: memory.rss is 410MiB, above 400MiB since 0s",
            "3s unknown: no answer 3 times in a row: nothing was measured since 3s",
            "6s passing: memory.rss was not above 300MiB for 2s, now 100MiB since 4s",
        ]
    );
}

#[test]
fn failures_in_a_row() {
    assert_eq!(
        answered(&probe(Flap::Row(3), 2), "PFFPFEFFFPFPP"),
        [
            "0s passing: passed since 0s",
            "35s failing: failed 3 times in a row: status 507 since 20s",
            "60s passing: passed 2 times in a row since 55s",
        ]
    );
    assert_eq!(
        answered(&probe(Flap::Row(1), 1), "FP"),
        ["0s failing: failed: status 500 since 0s", "5s passing: passed since 5s"]
    );
}

#[test]
fn errors_are_not_failures() {
    assert_eq!(
        answered(&probe(Flap::Row(1), 1), "EEEEEEPEEPEEEEF"),
        [
            "30s passing: passed since 30s",
            "60s unknown: no answer 3 times in a row: no such host since 60s",
            "70s failing: failed: status 5014 since 70s",
        ]
    );
}

#[test]
fn so_many_of_the_last_answers() {
    assert_eq!(
        answered(&probe(Flap::Of { bad: 3, last: 5 }, 1), "PFPFFPFPFF"),
        [
            "0s passing: passed since 0s",
            "20s failing: failed 3 of the last 5 times: status 504 since 5s",
            "25s passing: passed since 25s",
            "45s failing: failed 3 of the last 5 times: status 509 since 30s",
        ],
        "after it passed, the bad ones before count no more"
    );
}

#[test]
fn nothing_bad_counts_during_the_grace() {
    let mut check = memory(2, 0, None);
    check.grace = 5 * SECOND;
    assert_eq!(
        measured(&check, &[500.0; 9]),
        ["7s failing: memory.rss was above 400MiB for 2s, now 500MiB since 5s"]
    );
    let mut check = probe(Flap::Row(2), 1);
    check.grace = 12 * SECOND;
    assert_eq!(
        answered(&check, "FPFFF"),
        ["5s passing: passed since 5s", "20s failing: failed 2 times in a row: status 504 since 15s"]
    );
}

#[test]
fn silence_makes_it_unknown() {
    let check = probe(Flap::Row(2), 1);
    let mut monitor = Monitor::new(&check, 0);
    assert!(monitor.look(0) && !monitor.look(1));
    assert_eq!(monitor.timeout(60 * SECOND), None, "it is unknown already");
    let change = monitor.answer(SECOND, &Answer::Pass, 0).unwrap();
    assert_eq!((change.state, monitor.next_ns()), (CheckState::Passing, 5 * SECOND));
    for turn in 1..4 {
        assert!(monitor.look(5 * turn * SECOND));
        assert_eq!(monitor.timeout(5 * turn * SECOND), None);
    }
    assert_eq!(monitor.next_ns(), 17 * SECOND, "three turns and the time that an answer may take");
    let change = monitor.timeout(17 * SECOND).unwrap();
    assert_eq!((change.state, change.why.as_str()), (CheckState::Unknown, "nothing was heard for 16s"));
    assert_eq!(monitor.why(), change.why);
    assert_eq!(monitor.next_ns(), 20 * SECOND);
}

#[test]
fn a_failing_one_says_for_how_long_by_now() {
    let check = memory(1, 1, None);
    let mut monitor = Monitor::new(&check, 0);
    for second in 0..=90 {
        monitor.measure(second * SECOND, Some(431.4 * MIB));
    }
    assert_eq!(monitor.why(), "memory.rss was above 400MiB for 1m30s, now 431MiB");
    monitor.measure(91 * SECOND, Some(100.0 * MIB));
    assert_eq!(monitor.why(), "memory.rss was above 400MiB for 1m30s, now 100MiB", "not well yet");
    assert_eq!((monitor.state(), monitor.since_ns()), (CheckState::Failing, 0));
}

#[test]
fn looks_stay_on_their_grid() {
    let mut monitor = Monitor::new(&memory(0, 0, None), 500);
    assert!(monitor.look(500) && monitor.look(SECOND + 900));
    assert_eq!(monitor.next_ns(), 2 * SECOND + 500, "late by a little");
    assert!(monitor.look(9 * SECOND));
    assert_eq!(monitor.next_ns(), 10 * SECOND, "late by much: what was missed is not made up for");
}

#[test]
fn what_should_be_below_is_turned_round() {
    let check = check(CheckKind::Threshold(Threshold {
        signal: Signal::Progress { of: crate::policy::model::Marker::Cpu },
        every: SECOND,
        bound: Bound::Below(10.0 * SECOND as f64),
        clear: 20.0 * SECOND as f64,
        hold: 0,
        keep: 0,
        samples: None,
    }));
    let mut monitor = Monitor::new(&check, 0);
    let mut at = |now, value: f64| {
        let change = monitor.measure(now, Some(value * SECOND as f64));
        change.map(|change| change.why)
    };
    assert_eq!(at(1, 9.0).as_deref(), Some("time without progress of cpu is 9s, below 10s"));
    assert_eq!(at(2, 15.0), None);
    assert_eq!(at(3, 20.0).as_deref(), Some("time without progress of cpu is 20s"));
}

/// A look of the model: bad, between, good, or none.
type Look = Option<Level>;

fn level() -> impl Strategy<Value = Look> {
    prop_oneof![
        4 => Just(Some(Level::Bad)),
        1 => Just(Some(Level::Between)),
        4 => Just(Some(Level::Good)),
        2 => Just(None),
    ]
}

/// Levels that come in stretches, as they do.
fn looks() -> impl Strategy<Value = Vec<Look>> {
    let stretch = (level(), 1_usize..7).prop_map(|(level, count)| vec![level; count]);
    proptest::collection::vec(stretch, 0..15).prop_map(|stretches| stretches.concat())
}

/// What of the past still counts at its end: what was seen since the last three errors in a row, without what was bad in the
/// grace (which ends a stretch all the same).
fn evidence(past: &[Look], grace: usize) -> Vec<(usize, Level, bool)> {
    let mut begin = 0;
    for (at, window) in past.windows(3).enumerate() {
        if window.iter().all(Option::is_none) {
            begin = at + 3;
        }
    }
    let counted = past.iter().enumerate().skip(begin);
    counted.filter_map(|(at, look)| Some((at, (*look)?, (*look)? == Level::Bad && at < grace))).collect()
}

/// Seconds from the first to the last look of the stretch of one level at the end, and how many looks it has.
fn stretch(evidence: &[(usize, Level, bool)], wanted: Level) -> Option<(usize, usize)> {
    let same = evidence.iter().rev().take_while(|(_, level, excused)| *level == wanted && !excused);
    let times: Vec<usize> = same.map(|&(at, ..)| at).collect();
    Some((times.first()? - times.last()?, times.len()))
}

fn model(
    past: &[Look],
    hold: usize,
    keep: usize,
    samples: Option<(u32, u32)>,
    grace: usize,
) -> Vec<CheckState> {
    let (mut state, mut ill) = (CheckState::Unknown, false);
    let mut states = vec![];
    for end in 1..=past.len() {
        let past = &past[..end];
        let seen = evidence(past, grace);
        let bad_of = |last: u32| {
            let counted = seen.iter().rev().filter(|(.., excused)| !excused).take(last as usize);
            counted.filter(|(_, level, _)| *level == Level::Bad).count()
        };
        let few = |(bad, last)| bad_of(last) < bad as usize;
        let last = past.last().unwrap();
        let errors = past.iter().rev().take_while(|look| look.is_none()).count();
        let fails = *last == Some(Level::Bad)
            && match samples {
                Some(of) => !seen.last().unwrap().2 && !few(of),
                None => stretch(&seen, Level::Bad).is_some_and(|(length, _)| length >= hold),
            };
        let well = *last == Some(Level::Good)
            && samples.is_none_or(few)
            && stretch(&seen, Level::Good).is_some_and(|(length, _)| length >= keep);
        if errors >= 3 {
            state = CheckState::Unknown;
        } else if fails {
            (state, ill) = (CheckState::Failing, true);
        } else if well
            || state == CheckState::Unknown && !ill && matches!(last, Some(Level::Good | Level::Between))
        {
            (state, ill) = (CheckState::Passing, false);
        }
        states.push(state);
    }
    states
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn thresholds_do_what_the_whole_past_says(
        looks in looks(),
        (hold, keep, grace) in (0_usize..6, 0_usize..6, 0_usize..8),
        samples in proptest::option::of((1_u32..5, 0_u32..5)),
    ) {
        let samples = samples.map(|(bad, more)| (bad, bad + more));
        let mut check = memory(hold as u64, keep as u64, samples);
        check.grace = grace as u64 * SECOND;
        let mut monitor = Monitor::new(&check, 0);
        let mut states = vec![];
        let mut failed_at = None;
        for (second, look) in (0..).zip(&looks) {
            let now = second * SECOND;
            let value = look.map(|level| match level {
                Level::Bad => 500.0 * MIB,
                Level::Between => 350.0 * MIB,
                Level::Good => 200.0 * MIB,
            });
            let before = monitor.state();
            let change = monitor.measure(now, value);
            prop_assert_eq!(change.is_some(), monitor.state() != before, "changes are told, and nothing else is");
            if let Some(change) = change {
                prop_assert_eq!((change.state, change.since_ns), (monitor.state(), monitor.since_ns()));
                prop_assert!(change.since_ns <= now);
                if change.state == CheckState::Failing {
                    prop_assert_eq!(*look, Some(Level::Bad));
                    prop_assert!(now >= grace as u64 * SECOND);
                    if let (Some(failed), None) = (failed_at, samples) {
                        prop_assert!(now - failed >= (hold + keep) as u64 * SECOND, "it flaps");
                    }
                    failed_at = Some(now);
                }
                if change.state == CheckState::Unknown {
                    // What it knew is lost: the distance to the last failure says nothing any more.
                    failed_at = None;
                }
            }
            states.push(monitor.state());
        }
        prop_assert_eq!(states, model(&looks, hold, keep, samples, grace));
    }

    #[test]
    fn probes_fail_after_so_many_in_a_row_and_pass_after_so_many(
        looks in looks(),
        (row, pass_after) in (1_u32..5, 1_u32..5),
    ) {
        let looks: Vec<Look> = looks.into_iter().map(|look| look.filter(|level| *level != Level::Between)).collect();
        let check = probe(Flap::Row(row), pass_after);
        let mut monitor = Monitor::new(&check, 0);
        let (mut state, mut ill) = (CheckState::Unknown, false);
        for (turn, look) in (0..).zip(&looks) {
            let answer = match look {
                Some(Level::Good) => Answer::Pass,
                Some(_) => Answer::Fail("no".to_owned()),
                None => Answer::Error("what".to_owned()),
            };
            monitor.answer(turn * 5 * SECOND, &answer, 0);
            let seen = evidence(&looks[..=turn as usize], 0);
            let errors = looks[..=turn as usize].iter().rev().take_while(|look| look.is_none()).count();
            let count = |level| stretch(&seen, level).map_or(0, |(_, count)| count);
            if errors >= 3 {
                state = CheckState::Unknown;
            } else if *look == Some(Level::Bad) && count(Level::Bad) >= row as usize {
                (state, ill) = (CheckState::Failing, true);
            } else if *look == Some(Level::Good)
                && (count(Level::Good) >= pass_after as usize || state == CheckState::Unknown && !ill)
            {
                (state, ill) = (CheckState::Passing, false);
            }
            prop_assert_eq!(monitor.state(), state);
        }
    }
}
