//! Quantities: what they are held in, and how they are written.
//!
//! [`Unit::exact`], [`span`], [`bytes`] and [`Budget`]'s `Display` write what the policy reader reads back as the same value.
//! [`Unit::about`] and [`about_span`] are for measured values: three digits, so that a reader can compare them at a glance.

use std::fmt;

/// A span of time, in nanoseconds.
pub type Span = u64;

/// At most so many in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many.
    pub count: u32,
    /// In how long, in nanoseconds.
    pub within: Span,
}

impl fmt::Display for Budget {
    /// `5/10m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, span(self.within))
    }
}

/// What a signal is measured in, and so what its bounds are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `80%`; held in percent. Of CPU time: of one core.
    Percent,
    /// `400MiB`; held in bytes.
    Bytes,
    /// `10MiB/m`; held in bytes per second.
    BytesPerTime,
    /// `30s`; held in nanoseconds.
    Time,
    /// `200`; a plain number, also from outside.
    Number,
}

/// Units of time, the longest first: name and nanoseconds.
const TIMES: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size, the largest first: name and bytes.
const BINARY: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Their decimal companions.
const DECIMAL: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

/// What a rate can be per: name and seconds.
const PER: [(&str, f64); 4] = [("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];

/// Largest integer that a float holds exactly, with all below it: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Unit {
    /// A bound as a policy writes it; the reader makes the same value of it.
    #[must_use]
    pub fn exact(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{value}%"),
            Self::Bytes => whole(value).map_or_else(|| format!("{value}B"), bytes),
            Self::BytesPerTime => rate(value),
            Self::Time => whole(value).map_or_else(|| format!("{value}ns"), span),
            Self::Number => format!("{value}"),
        }
    }

    /// A measured value in three digits, such as `431MiB`, `12.5%`, `1m30s`.
    #[must_use]
    pub fn about(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{}%", digits(value)),
            Self::Bytes => about_bytes(value),
            Self::BytesPerTime => about_rate(value, value),
            Self::Time => about_span(value.max(0.0) as u64),
            Self::Number => digits(value),
        }
    }

    /// The same beside a bound: a rate per the time that the bound is written with.
    #[must_use]
    pub fn about_beside(self, value: f64, bound: f64) -> String {
        match self {
            Self::BytesPerTime => about_rate(value, bound),
            _ => self.about(value),
        }
    }
}

/// A span as a policy writes it, such as `1h30m`, `500ms`, `0s`.
#[must_use]
pub fn span(span: Span) -> String {
    let mut rest = span;
    let mut text = String::new();
    for (name, length) in TIMES {
        let count = rest / length;
        if count > 0 {
            text.push_str(&format!("{count}{name}"));
        }
        rest %= length;
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A span that was measured: its two largest units, such as `1m30s`; below 10 s three digits, such as `1.25s`.
#[must_use]
pub fn about_span(span: Span) -> String {
    let unit = TIMES.iter().position(|&(_, length)| span >= length).unwrap_or(TIMES.len());
    let Some(&(name, length)) = TIMES.get(unit) else { return "0s".to_owned() };
    let Some(&(next, shorter)) = TIMES.get(unit + 1).filter(|_| name.len() == 1 && name != "s") else {
        return format!("{}{name}", digits(span as f64 / length as f64));
    };
    let parts = span.saturating_add(shorter / 2) / shorter;
    let in_one = length / shorter;
    match parts % in_one {
        0 => format!("{}{name}", parts / in_one),
        rest => format!("{}{name}{rest}{next}", parts / in_one),
    }
}

/// A size as a policy writes it, such as `400MiB`, `64kB`, `1500B`: in the unit that needs the fewest digits.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let fits = |&&(_, size): &&(&str, u64)| bytes >= size && bytes.is_multiple_of(size);
    let found = [BINARY.iter().find(fits), DECIMAL.iter().find(fits)];
    let shortest = found.into_iter().flatten().min_by_key(|&&(_, size)| bytes / size);
    shortest.map_or_else(|| "0B".to_owned(), |(name, size)| format!("{}{name}", bytes / size))
}

/// A rate as a policy writes it, such as `10MiB/m`; in whole bytes, if there is a time in which it is that.
fn rate(value: f64) -> String {
    let (sign, value) = if value < 0.0 { ("-", -value) } else { ("", value) };
    if let Some((per, seconds)) = per(value) {
        return format!("{sign}{}/{per}", bytes((value * seconds).round() as u64));
    }
    let times = (2..=MOST_SECONDS).map(|seconds| (seconds, seconds as f64));
    let whole = times.filter_map(|(seconds, length)| Some((seconds, exactly(value, length)?))).next();
    match whole {
        Some((seconds, amount)) => format!("{sign}{}/{}", bytes(amount), span(seconds * 1_000_000_000)),
        None => format!("{sign}{value}B/s"),
    }
}

/// Seconds in which a rate is looked for that has no whole number of bytes in one of the usual times.
const MOST_SECONDS: u64 = 86_400;

/// What a rate is written per: that which needs the fewest digits. `None` if none gives whole bytes.
fn per(value: f64) -> Option<(&'static str, f64)> {
    let exact = PER.iter().filter_map(|&(name, seconds)| {
        let count = exactly(value.abs(), seconds)?;
        Some((bytes(count).len(), (name, seconds)))
    });
    exact.min_by_key(|&(length, _)| length).map(|(_, per)| per)
}

/// The whole bytes that a rate is in so many seconds, if reading them gives that rate again.
fn exactly(value: f64, seconds: f64) -> Option<u64> {
    let amount = (value * seconds).round();
    whole(amount).filter(|_| amount / seconds == value)
}

fn about_bytes(value: f64) -> String {
    let size = value.abs();
    let &(name, unit) = BINARY.iter().find(|&&(_, unit)| size >= unit as f64).unwrap_or(&("B", 1));
    format!("{}{name}", digits(value / unit as f64))
}

/// Per the same time as another rate; if that has none, per the shortest that makes a kibibyte of it.
fn about_rate(value: f64, like: f64) -> String {
    let large = |&(_, seconds): &(&str, f64)| (value * seconds).abs() >= 1024.0;
    let (name, seconds) = per(like).or_else(|| PER.into_iter().find(large)).unwrap_or(("s", 1.0));
    format!("{}/{name}", about_bytes(value * seconds))
}

/// Three digits, more if there are more before the point; no zeros at the end.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.places$}");
    let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// The integer that a float is.
fn whole(value: f64) -> Option<u64> {
    ((0.0..=EXACT).contains(&value) && value.fract() == 0.0).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn spans_as_policies_write_them() {
        for (ns, text) in [
            (0, "0s"),
            (500_000_000, "500ms"),
            (30 * SECOND, "30s"),
            (5_400 * SECOND, "1h30m"),
            (90 * SECOND, "1m30s"),
            (60 * SECOND + 1, "1m1ns"),
            (7 * 86_400 * SECOND, "7d"),
        ] {
            assert_eq!(span(ns), text);
        }
    }

    #[test]
    fn measured_spans_show_what_matters() {
        for (ns, text) in [
            (0, "0s"),
            (999, "999ns"),
            (1_250_000, "1.25ms"),
            (1_254_000_000, "1.25s"),
            (30 * SECOND + 123_456, "30s"),
            (90 * SECOND + 1, "1m30s"),
            (120 * SECOND - 1, "2m"),
            (3_700 * SECOND, "1h2m"),
            (86_400 * SECOND * 3, "3d"),
        ] {
            assert_eq!(about_span(ns), text);
        }
    }

    #[test]
    fn sizes_in_the_unit_that_says_them_shortest() {
        for (size, text) in [
            (0, "0B"),
            (1, "1B"),
            (1500, "1500B"),
            (64_000, "64kB"),
            (64 << 10, "64KiB"),
            (400 << 20, "400MiB"),
            (500_000_000, "500MB"),
            (1 << 40, "1TiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(Unit::Bytes.about(431.4 * 1024.0 * 1024.0), "431MiB");
        assert_eq!(Unit::Bytes.about(1.5 * 1024.0 * 1024.0 * 1024.0), "1.5GiB");
        assert_eq!(Unit::Bytes.about(12.0), "12B");
    }

    #[test]
    fn rates_per_the_time_that_says_them_shortest() {
        let per_minute = 10.0 * 1024.0 * 1024.0 / 60.0;
        assert_eq!(Unit::BytesPerTime.exact(per_minute), "10MiB/m");
        assert_eq!(Unit::BytesPerTime.exact(1024.0), "1KiB/s");
        let beside = |value| Unit::BytesPerTime.about_beside(value, per_minute);
        assert_eq!(beside(per_minute * 1.2345), "12.3MiB/m");
        assert_eq!(beside(-per_minute), "-10MiB/m");
        assert_eq!(beside(0.0), "0B/m");
        assert_eq!(Unit::BytesPerTime.about(0.37), "1.3KiB/h");
        assert_eq!(Unit::BytesPerTime.exact(-per_minute), "-10MiB/m");
        assert_eq!(Unit::BytesPerTime.exact(1_048_576.0 / 7.0), "1MiB/7s");
    }

    #[test]
    fn shares_numbers_and_budgets() {
        assert_eq!(Unit::Percent.exact(12.5), "12.5%");
        assert_eq!(Unit::Percent.about(12.345), "12.3%");
        assert_eq!(Unit::Number.about(1234.5), "1234");
        assert_eq!(Unit::Number.about(0.0), "0");
        assert_eq!(Budget { count: 5, within: 600 * SECOND }.to_string(), "5/10m");
    }
}
