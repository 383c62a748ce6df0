//! Thresholds from what was measured: a quantile, with a margin.
//!
//! [`Sketches`] are fed with what the instances of services use and how long their probes take. [`suggest`] makes checks of that, as
//! a patch for the policy: where the policy has such a check already, that one with another bound.

mod quantiles;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::model::{
    Bound, Check, CheckKind, Origin, Scope, Service, Signal, Span, Threshold, Unit, about_span,
};
use crate::policy::outline::{self, Outline};
use crate::supervise::Used;

pub use quantiles::Quantiles;

/// The share of all values that a threshold is taken from.
const SHARE: f64 = 0.99;

/// How much more than that is too much.
const MARGIN: f64 = 1.5;

/// Back below this much of it, all is well again.
const CLEAR: f64 = 1.2;

/// Samples without which a 99th percentile says nothing: of 299 values the largest exceeds it with a probability of 95%.
const NEEDED: u64 = 299;

/// How long a value is too high before the check fails, and how often it is looked at, in nanoseconds.
const HOLD_NS: Span = 60_000_000_000;
const EVERY_NS: Span = 10_000_000_000;

/// Over how long response times are taken together, in nanoseconds.
const WINDOW_NS: Span = 300_000_000_000;

/// What is measured of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// `memory.rss`, in bytes.
    Memory,
    /// `cpu`, in percent of one core.
    Cpu,
    /// `files.open`.
    Files,
    /// `threads`.
    Threads,
    /// `response.time` of this check's probe, in nanoseconds.
    Answer(String),
}

/// How one measure of a service is spread, and over what time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    /// All values.
    pub values: Quantiles,
    /// When the first one came, in nanoseconds since the epoch or since boot: whichever its owner counts in.
    pub first_ns: u64,
    /// When the last one came.
    pub last_ns: u64,
}

/// What was measured of all services. A few hundred bytes for each measure that a service has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketches {
    of: BTreeMap<String, BTreeMap<Measure, Sketch>>,
}

impl Sketches {
    /// What an instance uses, sampled once more.
    pub fn sampled(&mut self, service: &str, now_ns: u64, used: &Used) {
        self.add(service, Measure::Memory, now_ns, used.rss_bytes as f64);
        self.add(service, Measure::Cpu, now_ns, used.cpu_percent);
        self.add(service, Measure::Files, now_ns, f64::from(used.open_files));
        self.add(service, Measure::Threads, now_ns, f64::from(used.threads));
    }

    /// A probe passed, so long after it was asked.
    pub fn answered(&mut self, service: &str, check: &str, now_ns: u64, took_ns: u64) {
        self.add(service, Measure::Answer(check.to_owned()), now_ns, took_ns as f64);
    }

    /// Services that have no policy any more are forgotten.
    pub fn keep(&mut self, is_known: impl Fn(&str) -> bool) {
        self.of.retain(|service, _| is_known(service));
    }

    /// A service runs something else now: what was measured says nothing of it.
    pub fn forget(&mut self, service: &str) {
        self.of.remove(service);
    }

    /// What was measured of a service.
    pub fn of(&self, service: &str) -> impl Iterator<Item = (&Measure, &Sketch)> {
        self.of.get(service).into_iter().flatten()
    }

    /// Takes back what was kept.
    pub fn restore(&mut self, service: &str, measure: Measure, sketch: Sketch) {
        self.of.entry(service.to_owned()).or_default().insert(measure, sketch);
    }

    fn add(&mut self, service: &str, measure: Measure, now_ns: u64, value: f64) {
        if !self.of.contains_key(service) {
            self.of.insert(service.to_owned(), BTreeMap::new());
        }
        let Some(sketches) = self.of.get_mut(service) else { return };
        let new = || Sketch { first_ns: now_ns, ..Sketch::default() };
        let sketch = sketches.entry(measure).or_insert_with(new);
        sketch.values.add(value);
        sketch.last_ns = now_ns;
    }
}

/// What could be checked of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suggestions {
    /// Of which service.
    pub service: String,
    /// Checks, with their reasons.
    pub checks: Vec<Suggestion>,
    /// What was not measured often enough.
    pub insufficient: Vec<Insufficient>,
}

/// A check that could be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// All of it.
    pub check: Check,
    /// What it measures, such as `memory.rss`.
    pub signal: String,
    /// The bound as a policy writes it, such as `318MiB`.
    pub threshold: String,
    /// Why: `p99 over 3d of 259200 samples: 212MiB; margin 1.5`.
    pub because: String,
    /// What the policy's own check of that signal says now, if it has one.
    pub instead_of: Option<String>,
}

/// Something that was not measured often enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insufficient {
    /// What.
    pub signal: String,
    /// How often it was.
    pub samples: u64,
    /// How often it has to be.
    pub needed: u64,
}

/// What the policy of a service could check, from what was measured of it.
#[must_use]
pub fn suggest(policy: &Service, sketches: &Sketches) -> Suggestions {
    let mut suggestions = Suggestions { service: policy.name.clone(), ..Suggestions::default() };
    for (measure, sketch) in sketches.of(&policy.name) {
        let Some(signal) = measure.signal(policy) else { continue };
        let samples = sketch.values.count();
        let high = sketch.values.quantile(SHARE).filter(|_| samples >= NEEDED);
        match high {
            Some(high) => {
                suggestions.checks.push(suggestion(policy, measure, signal, (high, sketch), &suggestions))
            }
            None => suggestions.insufficient.push(Insufficient {
                signal: signal.to_string(),
                samples,
                needed: NEEDED,
            }),
        }
    }
    suggestions
}

fn suggestion(
    policy: &Service,
    measure: &Measure,
    signal: Signal,
    (high, sketch): (f64, &Sketch),
    others: &Suggestions,
) -> Suggestion {
    let unit = signal.unit();
    let mut because = format!(
        "p99 over {} of {} samples: {}; margin {MARGIN}",
        about_span(sketch.last_ns.saturating_sub(sketch.first_ns)),
        sketch.values.count(),
        unit.about(high)
    );
    let mut above = round(unit, high * MARGIN);
    if let (Measure::Memory, Origin::Run(run)) = (measure, &policy.origin)
        && let Some(limit) = run.limits.memory.filter(|_| !run.limits.per_service)
        && above >= limit as f64
    {
        // At the limit it is killed, and nobody is told before.
        above = (limit as f64 * 0.9).floor();
        because = format!("{because}; nine tenths of its limit, {}", Unit::Bytes.exact(limit as f64));
    }
    let clear = round(unit, high * CLEAR).min(above);
    let known = policy.checks.iter().find(|check| {
        matches!(&check.kind, CheckKind::Threshold(known) if known.signal == signal && matches!(known.bound, Bound::Above(_)))
    });
    let instead_of = known.and_then(|check| match &check.kind {
        CheckKind::Threshold(Threshold { bound: Bound::Above(bound), .. }) => Some(unit.exact(*bound)),
        _ => None,
    });
    let name = signal.to_string();
    let check = match known {
        Some(Check { kind: CheckKind::Threshold(threshold), .. }) => {
            let threshold = Threshold { bound: Bound::Above(above), clear, ..threshold.clone() };
            let kind = CheckKind::Threshold(threshold);
            known.cloned().map(|check| Check { kind: kind.clone(), ..check })
        }
        _ => None,
    };
    let check = check.unwrap_or_else(|| Check {
        name: free_name(policy, measure, others),
        scope: Scope::Instance,
        grace: 0,
        kind: CheckKind::Threshold(Threshold {
            signal,
            every: EVERY_NS,
            bound: Bound::Above(above),
            clear,
            hold: HOLD_NS,
            keep: 0,
            samples: None,
        }),
    });
    Suggestion { check, signal: name, threshold: unit.exact(above), because, instead_of }
}

/// A name that no check has.
fn free_name(policy: &Service, measure: &Measure, others: &Suggestions) -> String {
    let base = match measure {
        Measure::Memory => "memory".to_owned(),
        Measure::Cpu => "cpu".to_owned(),
        Measure::Files => "files".to_owned(),
        Measure::Threads => "threads".to_owned(),
        // Names have at most 63 letters.
        Measure::Answer(check) => format!("slow-{}", check.chars().take(50).collect::<String>()),
    };
    let taken = |name: &String| {
        let own = policy.checks.iter().map(|check| &check.name);
        own.chain(others.checks.iter().map(|other| &other.check.name)).any(|known| known == name)
    };
    let numbered = (2_u32..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(base)
}

/// A bound that reads well, and no smaller: whole mebibytes, milliseconds, percents.
fn round(unit: Unit, value: f64) -> f64 {
    let step = match unit {
        Unit::Bytes | Unit::BytesPerTime => f64::from(1 << 20),
        Unit::Time => 1e6,
        Unit::Percent | Unit::Number => 1.0,
    };
    ((value / step).ceil() * step).max(step)
}

impl Measure {
    /// As policies call it; `None`: of a check that the policy does not have any more.
    fn signal(&self, policy: &Service) -> Option<Signal> {
        Some(match self {
            Self::Memory => Signal::MemoryRss,
            Self::Cpu => Signal::Cpu,
            Self::Files => Signal::FilesOpen,
            Self::Threads => Signal::Threads,
            Self::Answer(of) => {
                let asks = |check: &&Check| check.name == *of && matches!(check.kind, CheckKind::Probe(_));
                let check = policy.checks.iter().find(asks).filter(|check| check.scope == Scope::Instance)?;
                Signal::ResponseTime { of: check.name.clone(), quantile: 0.99, window: WINDOW_NS }
            }
        })
    }
}

impl Suggestions {
    /// As a patch: what `checks` of the policy could hold, each with its reason above it, and what is not known well enough yet.
    #[must_use]
    pub fn patch(&self) -> String {
        let mut text = String::new();
        for Insufficient { signal, samples, needed } in &self.insufficient {
            text.push_str(&format!("# {signal}: {samples} samples, {needed} are needed\n"));
        }
        if self.checks.is_empty() {
            return text;
        }
        text.push_str("checks:\n");
        for suggestion in &self.checks {
            let instead = suggestion.instead_of.as_ref().map(|bound| format!(" (now: {bound})"));
            text.push_str(&format!("  # {}{}\n", suggestion.because, instead.unwrap_or_default()));
            let entry = (suggestion.check.name.clone(), outline::check(&suggestion.check));
            for line in Outline::Map(vec![entry]).yaml().lines() {
                text.push_str(&format!("  {line}\n"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
