//! Documents as people like to read them.

mod incidents;
mod policies;
mod services;
mod table;
#[cfg(test)]
mod tests;

use anstyle::{AnsiColor, Style};
use guard_core::policy::model::span;
use serde_json::Value;

pub use incidents::{incident, incidents};
pub use policies::{approvals, flags, generation, generations};
pub use services::{inventory, service, status};

use crate::daemon::view::{At, CheckState, Impact, State};
use crate::show::{escape, when};
use crate::timestamp::{self, parse_utc};

/// How documents are shown.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// With colours. They say nothing that words do not.
    pub color: bool,
    /// Now, in nanoseconds since boot.
    pub now_ns: u64,
    /// Now, in nanoseconds since 1970.
    pub now_unix_ns: i64,
    /// Seconds that local time is ahead of UTC; `None`: as the C library says for each moment.
    pub zone_s: Option<i64>,
}

impl Look {
    /// `3m ago`.
    fn ago(&self, at: &At) -> String {
        ago(at.before_ns(self.now_ns))
    }

    /// `in 3s`, `3s ago`.
    fn until(&self, at: &At) -> String {
        match at.boottime_ns.checked_sub(self.now_ns) {
            Some(ahead_ns) if ahead_ns > 0 => format!("in {}", coarse(ahead_ns)),
            _ => self.ago(at),
        }
    }

    /// The same of a time in UTC.
    fn ago_utc(&self, utc: &str) -> String {
        let Some(unix_ns) = parse_utc(utc) else { return escape::display(utc.as_bytes()) };
        match u64::try_from(unix_ns.saturating_sub(self.now_unix_ns)) {
            Ok(ahead_ns) if ahead_ns > 0 => format!("in {}", coarse(ahead_ns)),
            _ => ago(self.now_unix_ns.abs_diff(unix_ns)),
        }
    }

    /// Local date and time: `2026-11-21 23:36:49.123`.
    fn local(&self, utc: &str) -> String {
        let Some(unix_ns) = parse_utc(utc) else { return escape::display(utc.as_bytes()) };
        let zone_s = self.zone_s.unwrap_or_else(|| when::offset_s(unix_ns.div_euclid(1_000_000_000)));
        let text = timestamp::utc(unix_ns.saturating_add(zone_s.saturating_mul(1_000_000_000)));
        text.get(..23).unwrap_or(&text).replace('T', " ")
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn ago(ns: u64) -> String {
    if ns < 1_000_000_000 { "just now".to_owned() } else { format!("{} ago", coarse(ns)) }
}

/// The largest unit alone: what happened days ago need not be known by the second.
fn coarse(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0 => "1s".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A state, in words.
#[must_use]
pub const fn word(state: State) -> &'static str {
    match state {
        State::BackingOff => "backing off",
        other => other.name(),
    }
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const UNSURE: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();

const fn state_style(state: State) -> Style {
    match state {
        State::Healthy => GOOD,
        State::Degraded | State::Starting | State::BackingOff | State::Waiting => UNSURE,
        State::Held => BAD.bold(),
        State::Stopped | State::Stopping => DIM,
    }
}

const fn check_style(state: CheckState) -> Style {
    match state {
        CheckState::Passing => GOOD,
        CheckState::Failing => BAD,
        CheckState::Unknown => DIM,
    }
}

const fn impact_style(impact: Impact) -> Style {
    match impact {
        Impact::Critical | Impact::High => BOLD,
        Impact::Medium | Impact::Low => Style::new(),
    }
}

/// What a process or a person wrote, fit for a terminal.
fn safe(text: &str) -> String {
    escape::message(text)
}

/// An event in one line: when, about whom, what.
#[must_use]
pub fn event(look: &Look, json: &str) -> String {
    let Ok(event) = serde_json::from_str::<Value>(json) else { return safe(json) };
    let field = |path: &str| find(&event, path).and_then(Value::as_str).map(safe);
    let when = field("@timestamp").map(|utc| look.local(&utc)).unwrap_or_default();
    let whom = field("service.name").or_else(|| field("processguard.service.name")).unwrap_or_default();
    let what = field("message").or_else(|| field("event.action")).unwrap_or_else(|| safe(json));
    format!("{}  {}  {what}", look.paint(DIM, &when), look.paint(BOLD, &format!("{whom:<16}")))
}

/// A field of an event, however it is written: `{"a":{"b":1}}`, `{"a.b":1}`.
fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    let (first, rest) = path.split_once('.')?;
    find(value.get(first)?, rest)
}

/// A length of time as a policy writes it, or `-`.
fn length(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), span)
}
