//! The texts of a scenario.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::names;
use crate::policy::model::{EndStatus, Span};
use crate::policy::read::{Duration, MapKey, Pattern, Reader, Value, no_hint};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Node, Scalar, Spot};
use crate::policy::{Code, Diagnostic};
use crate::rehearse::scenario::{Delay, End};
use crate::supervise::Subject;

texts! {
    /// A service, or one of its instances: `checkout` or `checkout/1`.
    WhomText as "subject" = "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?(/[0-9]{1,4})?$",
        "a service or an instance such as `checkout/1`", Name, no_hint;
    /// How a process ends: `exit 1`, `SIGSEGV` or `oom`.
    EndText as "end" = "^(exit [0-9]{1,3}|SIG[A-Z0-9+-]+|oom)$", "an end such as `exit 1`, `SIGSEGV` or `oom`", UnknownWord, no_hint;
    /// A time of the calendar, in UTC: `2026-03-02T12:00:00Z`.
    InstantText as "instant" = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        "a time such as `2026-03-02T12:00:00Z`", Instant, no_hint;
}

/// A service or an instance, and where it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whom {
    pub(super) subject: Subject,
    pub(super) spot: Spot,
}

pub(super) fn subject(text: &str) -> Subject {
    match text.split_once('/') {
        Some((service, instance)) => Subject { service: service.into(), instance: instance.parse().ok() },
        None => Subject { service: text.into(), instance: None },
    }
}

impl Value for Whom {
    fn schema(schema: &mut Schema) -> Json {
        WhomText::schema(schema)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let text = WhomText::read(node, reader)?;
        Some(Self { subject: subject(&text.0), spot: node.spot })
    }
}

impl MapKey for WhomText {
    fn pattern() -> (&'static Pattern, Option<&'static regex::Regex>) {
        const PATTERN: Pattern = WhomText::PATTERN;
        (&PATTERN, WhomText::regex())
    }

    fn of(text: &Arc<str>) -> Self {
        Self(text.clone())
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending(pub(super) End);

impl Value for Ending {
    fn schema(schema: &mut Schema) -> Json {
        EndText::schema(schema)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let text = EndText::read(node, reader)?.0;
        let code = text.strip_prefix("exit ").map(|code| code.parse().map(EndStatus::Code).ok());
        let status = match code {
            Some(code) => code,
            None if &*text == "oom" => return Some(Self(End::Oom)),
            None => names::signal(&text).map(EndStatus::Signal),
        };
        if status.is_none() {
            let message = format!("`{text}` is no way to end");
            let help = "exit codes go from 0 to 255; `kill -l` names the signals";
            reader.say(Diagnostic::new(Code::UnknownWord, node.spot.into(), message).help(help));
        }
        status.map(|status| Self(End::Status(status)))
    }
}

/// A span, or `never`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delaying(pub(super) Delay);

impl Value for Delaying {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "anyOf": [Duration::schema(schema), { "const": "never" }] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        if let Data::Scalar(Scalar { text, .. }) = &node.data
            && &**text == "never"
        {
            return Some(Self(Delay::Never));
        }
        Duration::read(node, reader).map(|span| Self(Delay::After(span.0)))
    }
}

/// Seconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instant(pub(super) u64);

impl Value for Instant {
    fn schema(schema: &mut Schema) -> Json {
        InstantText::schema(schema)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let text = InstantText::read(node, reader)?.0;
        let seconds = seconds(&text);
        if seconds.is_none() {
            let message = format!("`{text}` is no time of the calendar since 1970");
            reader.say(Diagnostic::new(Code::Instant, node.spot.into(), message));
        }
        seconds.map(Self)
    }
}

/// Of a text of that pattern.
fn seconds(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = days.get(..usize::try_from(month).ok()?.checked_sub(1)?)?;
    let length = days.get(before.len())?;
    if year < 1970 || !(1..=*length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years = year - 1970;
    // Leap days before the year: of 1972, 1976 and so on, without most centuries.
    let leaps = (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 - 477;
    let passed = years * 365 + leaps + before.iter().sum::<u64>() + day - 1;
    Some(passed * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// A span in nanoseconds, from its text.
pub(super) fn span(text: &str) -> Result<Span, String> {
    use crate::policy::read::Quantity as _;
    let fits = !text.is_empty() && Duration::regex().is_some_and(|regex| regex.is_match(text));
    let span = fits.then(|| Duration::of(text)).flatten();
    span.map(|span| span.0).ok_or_else(|| format!("`{text}` is not {}", Duration::PATTERN.expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_calendar_are_counted() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-03-01T00:00:00Z"), Some(951_868_800));
        assert_eq!(seconds("2026-11-21T22:36:49Z"), Some(1_795_300_609));
        assert_eq!(seconds("2024-02-29T23:59:59Z"), Some(1_709_251_199));
        for none in
            ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z", "1969-12-31T00:00:00Z"]
        {
            assert_eq!(seconds(none), None, "{none}");
        }
    }
}
