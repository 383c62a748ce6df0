//! Decisions in words.

use std::fmt;

use crate::event::ExitStatus;
use crate::policy::model::Budget;

use super::effect::Because;

/// `1h30m`, `250ms`: exact.
pub(super) fn span(ns: u64) -> String {
    const UNITS: [(&str, u64); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut left = ns;
    let mut text = String::new();
    for (name, unit) in UNITS {
        if left >= unit {
            text.push_str(&format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `5 restarts in 10m`.
pub(super) fn budget(budget: Budget) -> String {
    format!("{} restarts in {}", budget.count, span(budget.within))
}

/// How a process ended.
pub(super) fn end(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("it ended with exit code {code}"),
        ExitStatus::Signal { number, core: true } => {
            format!("it was killed by signal {number} (core dumped)")
        }
        ExitStatus::Signal { number, core: false } => format!("it was killed by signal {number}"),
        ExitStatus::Unknown => "it ended, nobody knows how".to_owned(),
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "because {}", self.what)
    }
}
