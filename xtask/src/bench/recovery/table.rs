//! The table of recoveries: quantiles over all kills, ratios to the bare loop with their intervals.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::contender::{Contender, LOOP, OURS};
use crate::bench::{
    envelope::Verdict,
    stats::{Estimate, Random, quantile},
};

/// Row 4 of the envelope: against the bare loop of the same run.
const P50_RATIO: f64 = 1.3;
const P99_RATIO: f64 = 3.0;

/// Resamples of the rounds, per interval: the 2.5% tail then has 50 of them.
const RESAMPLES: usize = 2_000;

/// Milliseconds from the kill to the first instruction of the next main, by round.
pub(super) type Rounds = Vec<Vec<f64>>;

/// One contender's figures.
pub(super) struct Row {
    id: &'static str,
    title: &'static str,
    kills: usize,
    /// Milliseconds.
    min: f64,
    p50: f64,
    p99: f64,
    worst: f64,
    /// Against the bare loop.
    p50_ratio: Estimate,
    p99_ratio: Estimate,
}

/// What was measured.
pub(in crate::bench) struct Table {
    rows: Vec<Row>,
    rounds: usize,
    /// Adopted services: milliseconds from death to decision.
    decided: Vec<f64>,
}

impl Table {
    pub(super) fn new(measured: &[(&Contender, Rounds)], decided: Vec<f64>, random: &mut Random) -> Self {
        let none = Rounds::new();
        let bare = measured.iter().find(|(one, _)| one.id == LOOP).map_or(&none, |(_, rounds)| rounds);
        let rows = measured.iter().map(|(contender, rounds)| Row::new(contender, rounds, bare, random));
        Self { rows: rows.collect(), rounds: bare.len(), decided }
    }

    /// Ready for the README.
    pub(in crate::bench) fn markdown(&self) -> String {
        let mut text = format!(
            "SIGKILL of a supervised process to the first instruction of its replacement's main, in milliseconds, of {} \
             interleaved rounds. Ratios: to the C loop of the same rounds, with their 95% bootstrap intervals.\n\n\
             | supervisor | p50 ms | p99 ms | best ms | p50 to the loop's | p99 to the loop's | kills |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
            self.rounds
        );
        for row in &self.rows {
            // Writing to a String cannot fail.
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.title,
                shown(row.p50),
                shown(row.p99),
                shown(row.min),
                ratio(row.p50_ratio),
                ratio(row.p99_ratio),
                row.kills
            );
        }
        text.push('\n');
        text
    }

    pub(in crate::bench) fn json(&self) -> Value {
        let estimate = |of: Estimate| json!({ "ratio": of.median, "low": of.low, "high": of.high });
        let rows = self.rows.iter().map(|row| {
            json!({
                "id": row.id,
                "kills": row.kills,
                "ms": { "min": row.min, "p50": row.p50, "p99": row.p99, "max": row.worst },
                "p50_to_loop": estimate(row.p50_ratio),
                "p99_to_loop": estimate(row.p99_ratio),
            })
        });
        json!({ "rows": rows.collect::<Vec<_>>(), "death_to_decision_ms": self.decided })
    }

    pub(in crate::bench) fn verdicts(&self) -> Vec<Verdict> {
        let ours = self.rows.iter().find(|row| row.id == OURS);
        let mut verdicts: Vec<_> = ours.into_iter().flat_map(Row::verdicts).collect();
        if !self.decided.is_empty() {
            verdicts.push(super::adopted::verdict(&self.decided));
        }
        verdicts
    }
}

impl Row {
    fn new(contender: &Contender, rounds: &Rounds, bare: &Rounds, random: &mut Random) -> Self {
        let all = rounds.concat();
        let [p50_ratio, p99_ratio] = ratios(rounds, bare, random);
        Self {
            id: contender.id,
            title: contender.title,
            kills: all.len(),
            min: quantile(&all, 0.0),
            p50: quantile(&all, 0.5),
            p99: quantile(&all, 0.99),
            worst: quantile(&all, 1.0),
            p50_ratio,
            p99_ratio,
        }
    }

    fn verdicts(&self) -> [Verdict; 2] {
        [
            Verdict {
                rule: format!(
                    "SIGKILL to the replacement's main, p50 at most {P50_RATIO} x that of the bare C loop"
                ),
                measured: format!("{}, {:.3} ms", ratio(self.p50_ratio), self.p50),
                holds: self.p50_ratio.median <= P50_RATIO,
                gates: true,
            },
            // A tail of a percent is decided by what else the machine does: the interval must lie above.
            Verdict {
                rule: format!("the same, p99 at most {P99_RATIO} x (the lower end of its interval)"),
                measured: format!("{}, {:.3} ms", ratio(self.p99_ratio), self.p99),
                holds: self.p99_ratio.low <= P99_RATIO,
                gates: true,
            },
        ]
    }
}

/// Of p50 and p99. Rounds are drawn whole, for both alike: what slowed one of them down slowed the other too.
fn ratios(ours: &Rounds, bare: &Rounds, random: &mut Random) -> [Estimate; 2] {
    let drawn: Vec<[f64; 2]> = (0..RESAMPLES)
        .map(|_| {
            let picked: Vec<usize> = bare.iter().map(|_| random.below(bare.len())).collect();
            let pool = |rounds: &Rounds| -> Vec<f64> {
                picked.iter().filter_map(|&round| rounds.get(round)).flatten().copied().collect()
            };
            let (ours, bare) = (pool(ours), pool(bare));
            [0.5, 0.99].map(|share| quantile(&ours, share) / quantile(&bare, share))
        })
        .collect();
    let whole = |share| quantile(&ours.concat(), share) / quantile(&bare.concat(), share);
    let estimate = |of: fn(&[f64; 2]) -> f64, share| {
        let drawn: Vec<f64> = drawn.iter().map(of).collect();
        Estimate { median: whole(share), low: quantile(&drawn, 0.025), high: quantile(&drawn, 0.975) }
    };
    [estimate(|[p50, _]| *p50, 0.5), estimate(|[_, p99]| *p99, 0.99)]
}

/// Three digits are all that such times mean.
fn shown(value: f64) -> String {
    match value {
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn ratio(Estimate { median, low, high }: Estimate) -> String {
    format!("{} ({} to {})", shown(median), shown(low), shown(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_lies_in_its_interval_and_is_one_to_itself() {
        let random = &mut Random::new(3);
        let bare: Rounds =
            (0..9).map(|round| (0..50).map(|kill| 1.0 + f64::from(round + kill) / 100.0).collect()).collect();
        let twice: Rounds = bare.iter().map(|round| round.iter().map(|ms| ms * 2.0).collect()).collect();
        let [p50, p99] = ratios(&bare, &bare, random);
        assert_eq!((p50.median, p50.low, p50.high), (1.0, 1.0, 1.0));
        assert_eq!(p99.median, 1.0);
        let [p50, _] = ratios(&twice, &bare, random);
        assert!(
            (p50.median - 2.0).abs() < 1e-9 && p50.low <= p50.median && p50.median <= p50.high,
            "{p50:?}"
        );
    }
}
