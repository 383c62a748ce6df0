//! What a decision costs as hosts and policies grow: the core's own example, which makes up its stream.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{envelope::Verdict, stats::median};
use crate::{
    build::{self, Profile},
    sh,
};

/// For `--only`.
pub(super) const NAME: &str = "policies";

/// Row 8 of the envelope: how much dearer a record may be where there is more of something.
const GROWTH: f64 = 1.2;

/// Row 7 of the envelope, with a supervisor behind the core.
const RECORDS_PER_SECOND: f64 = 2e6;

/// Spawns in a round: twice as many as make the table full.
const SPAWNS: u32 = 35_000;

/// What was measured.
pub(super) struct Flat {
    cases: Vec<Case>,
    bytes_per_process: u64,
    bytes_per_service: u64,
}

/// A host: its processes, how many of them spawn, its policies; and nanoseconds a record, by round.
struct Case {
    host: (u64, u64, Option<u64>),
    ns: Vec<f64>,
}

pub(super) fn measure(rounds: usize) -> Result<Flat> {
    let replay = build::example(Profile::Release, "guard-core", "replay")?;
    let mut command = Command::new(replay);
    command.arg(SPAWNS.to_string()).arg(rounds.to_string()).arg("--json");
    let said: Value = serde_json::from_str(&sh::output(&mut command)?).context("what the replay said")?;
    let number = |value: &Value, key| value.get(key).and_then(Value::as_u64);
    let cases = said.get("cases").and_then(Value::as_array).context("no cases")?.iter().map(|case| {
        let ns = case.get("ns").and_then(Value::as_array)?;
        let host = (number(case, "processes")?, number(case, "spawners")?, number(case, "policies"));
        Some(Case { host, ns: ns.iter().filter_map(Value::as_f64).collect() })
    });
    Ok(Flat {
        cases: cases.collect::<Option<_>>().context("a case without its host")?,
        bytes_per_process: number(&said, "bytes_per_process").context("no memory of processes")?,
        bytes_per_service: number(&said, "bytes_per_service").context("no memory of services")?,
    })
}

impl Flat {
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = vec![
            self.grows("policies 10 -> 10,000", (1_000, 100, Some(10)), (1_000, 100, Some(10_000)), true),
            self.grows("processes 100 -> 100,000", (100, 100, None), (100_000, 100, None), true),
            self.grows(
                "processes 100 -> 100,000, with 100 policies",
                (100, 100, Some(100)),
                (100_000, 100, Some(100)),
                true,
            ),
            // Whoever spawns is out of every cache.
            self.grows(
                "processes 100 -> 100,000, all of which spawn in turn",
                (100, 100, None),
                (100_000, 100_000, None),
                true,
            ),
        ];
        let rate = 1e9 / self.ns((1_000, 100, Some(100)));
        verdicts.push(Verdict {
            rule: format!(
                "decode + core + supervisor of 100 policies, one thread: at least {:.0} million records a second",
                RECORDS_PER_SECOND / 1e6
            ),
            measured: format!("{:.2} million", rate / 1e6),
            holds: rate >= RECORDS_PER_SECOND,
            gates: false,
        });
        let [process, service] =
            [("process", self.bytes_per_process, 1_024), ("service", self.bytes_per_service, 8_192)].map(
                |(what, bytes, most)| Verdict {
                    rule: format!("memory of the core for a {what}: at most {most} bytes"),
                    measured: format!("{bytes} bytes"),
                    holds: bytes <= most,
                    gates: false,
                },
            );
        verdicts.extend([process, service]);
        verdicts
    }

    fn ns(&self, host: (u64, u64, Option<u64>)) -> f64 {
        self.cases.iter().find(|case| case.host == host).map_or(f64::NAN, |case| median(&case.ns))
    }

    /// The rounds are compared one by one: both saw the same machine.
    fn grows(
        &self,
        what: &str,
        small: (u64, u64, Option<u64>),
        large: (u64, u64, Option<u64>),
        gates: bool,
    ) -> Verdict {
        let ns = |host| self.cases.iter().find(|case| case.host == host).map(|case| case.ns.as_slice());
        let pairs = ns(small).unwrap_or_default().iter().zip(ns(large).unwrap_or_default());
        let ratios: Vec<f64> = pairs.map(|(small, large)| large / small).collect();
        let ratio = median(&ratios);
        Verdict {
            rule: format!("a record, {what}: at most {GROWTH} x"),
            measured: format!("{ratio:.2} x ({:.0} -> {:.0} ns)", self.ns(small), self.ns(large)),
            holds: ratio <= GROWTH,
            gates,
        }
    }
}
