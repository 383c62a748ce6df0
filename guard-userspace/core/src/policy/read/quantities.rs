//! Numbers with units.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value as Json, json};

use super::texts::{Hint, Pattern, no_hint, read_text};
use super::{Reader, Value};
use crate::policy::model::{Budget, Span};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Kind, Node};
use crate::policy::{Code, Diagnostic};

/// A text with a value.
pub(crate) trait Quantity: Sized {
    const PATTERN: Pattern;

    fn regex() -> Option<&'static Regex>;

    /// Of a text that fits the pattern. `None`: it is too large to be held.
    fn of(text: &str) -> Option<Self>;
}

macro_rules! quantities {
    ($($name:ident($inner:ty) as $title:literal = $pattern:literal, $doc:literal, $expected:literal, $code:ident, $hint:expr, $of:expr;)+) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Copy, Debug, PartialEq)]
            pub(crate) struct $name(pub(crate) $inner);

            impl Quantity for $name {
                const PATTERN: Pattern = Pattern {
                    doc: $doc,
                    pattern: $pattern,
                    expected: $expected,
                    code: Code::$code,
                    hint: $hint,
                };

                fn regex() -> Option<&'static Regex> {
                    static REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| $name::PATTERN.compile());
                    REGEX.as_ref()
                }

                fn of(text: &str) -> Option<Self> {
                    let of: fn(&str) -> Option<$inner> = $of;
                    of(text).map(Self)
                }
            }

            impl Value for $name {
                fn schema(schema: &mut Schema) -> Json {
                    schema.define_once($title, || {
                        let mut schema = Self::PATTERN.schema();
                        if let Json::Object(schema) = &mut schema {
                            schema.insert("minLength".to_owned(), json!(1));
                        }
                        schema
                    })
                }

                fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
                    read_quantity(node, reader)
                }
            }
        )+
    };
}

quantities! {
    Duration(Span) as "duration"
        = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?([0-9]+ns)?$",
        "A span of time, such as `500ms`, `30s`, `5m`, `1h30m` or `2d`.",
        "a duration such as `30s` or `1h30m`", Duration, duration_hint, duration;
    Size(u64) as "size"
        = "^[0-9]+(\\.[0-9]+)?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$",
        "A number of bytes, such as `64KiB` or `1.5GiB` (powers of 1024), `10MB` (powers of 1000) or `512B`.",
        "a size such as `512MiB`", Size, size_hint, size;
    Rate(f64) as "rate"
        = "^-?[0-9]+(\\.[0-9]+)?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)/[0-9]*(ms|s|m|h|d)$",
        "A size in a span of time, such as `10MiB/m` or `1GB/12h`.",
        "a rate such as `10MiB/m`", Rate, rate_hint, rate;
    Percent(f64) as "percent"
        = "^[0-9]+(\\.[0-9]+)?%$",
        "A percentage, such as `25%` or `99.5%`.",
        "a percentage such as `25%`", Percent, percent_hint, percent;
    BudgetOf(Budget) as "budget"
        = "^[1-9][0-9]*/([0-9]*(ms|s|m|h|d)|([0-9]+d)?([0-9]+h)?([0-9]+m)?[0-9]+s|([0-9]+d)?([0-9]+h)?[0-9]+m|([0-9]+d)?[0-9]+h)$",
        "So many in any window of this length: `5/10m` is at most five in ten minutes.",
        "a budget such as `5/10m`", Budget, budget_hint, budget;
    MOfN((u32, u32)) as "m-of-n"
        = "^[1-9][0-9]* of [1-9][0-9]*$",
        "So many of the last so many: `3 of 5`.",
        "so many of so many, such as `3 of 5`", MOfN, no_hint, m_of_n;
}

fn read_quantity<Q: Quantity>(node: &Node, reader: &mut Reader) -> Option<Q> {
    // Without its unit, a number is a number to YAML. What is said of it depends on what it should be.
    if let Data::Scalar(scalar) = &node.data
        && matches!(scalar.kind, Kind::Int(_) | Kind::Float)
        && let Some(hint) = (Q::PATTERN.hint)(&scalar.text)
    {
        let message = format!("`{}` has no unit: {} is expected here", scalar.text, Q::PATTERN.expected);
        let mut diagnostic = Diagnostic::new(Code::UnitMissing, node.spot.into(), message).help(hint.help);
        diagnostic.replacement = hint.replacement;
        reader.say(diagnostic);
        return None;
    }
    let scalar = read_text(node, &Q::PATTERN, Q::regex(), reader)?;
    let value = if scalar.text.is_empty() { None } else { Q::of(&scalar.text) };
    if value.is_none() {
        let (code, message) = if scalar.text.is_empty() {
            (Q::PATTERN.code, format!("{} is expected here, not an empty text", Q::PATTERN.expected))
        } else {
            (Code::TooLarge, format!("`{}` is more than can be counted", scalar.text))
        };
        reader.say(Diagnostic::new(code, node.spot.into(), message));
    }
    value
}

/// Nanoseconds of a unit of time.
fn nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "d" => 86_400 * 1_000_000_000,
        _ => return None,
    })
}

/// Digits, then letters; and what comes behind.
fn part(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(letters)?;
    Some((number, unit, rest))
}

fn duration(text: &str) -> Option<u64> {
    let (mut sum, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let (number, unit, behind) = part(rest)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(nanoseconds(unit)?)?)?;
        rest = behind;
    }
    // Times are sums of spans and clocks: half of the range is left for those.
    (sum <= u64::MAX / 4).then_some(sum)
}

/// Bytes of a unit of size.
fn bytes(unit: &str) -> Option<u64> {
    Some(match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    })
}

fn size(text: &str) -> Option<u64> {
    let letters = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(letters)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unit = u128::from(bytes(unit)?);
    // Exact: as many decimals as there are, rounded down to a whole byte.
    let fraction = fraction.get(..fraction.len().min(18)).unwrap_or(fraction);
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
    let whole = u128::from(whole.parse::<u64>().ok()?);
    let sum = whole.checked_mul(unit)?.checked_add(part.checked_mul(unit)? / scale)?;
    // What is measured is compared with it as a floating-point number.
    u64::try_from(sum).ok().filter(|sum| *sum <= 1 << 60)
}

#[expect(clippy::cast_precision_loss, reason = "a bound for what is measured: 53 bits are plenty")]
fn rate(text: &str) -> Option<f64> {
    let (amount, window) = text.split_once('/')?;
    let (sign, amount) = amount.strip_prefix('-').map_or((1.0, amount), |amount| (-1.0, amount));
    let seconds = window_ns(window)? as f64 / 1e9;
    (seconds > 0.0).then_some(sign * size(amount)? as f64 / seconds)
}

/// `5m`, or `m` for one of them.
fn window_ns(text: &str) -> Option<u64> {
    nanoseconds(text).or_else(|| duration(text))
}

fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.parse::<f64>().ok()?;
    (number <= 1e9).then_some(number)
}

fn budget(text: &str) -> Option<Budget> {
    let (count, window) = text.split_once('/')?;
    Some(Budget { count: count.parse().ok()?, within: window_ns(window)? })
}

fn m_of_n(text: &str) -> Option<(u32, u32)> {
    let (bad, last) = text.split_once(" of ")?;
    Some((bad.parse().ok()?, last.parse().ok()?))
}

/// A number, and what stands behind it.
fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    (!number.is_empty()).then_some((number, unit.trim()))
}

fn duration_hint(text: &str) -> Option<Hint> {
    let (number, unit) = number_and_unit(text)?;
    if unit.is_empty() {
        let help =
            format!("write `{number}s` for seconds, `{number}ms` for milliseconds, `{number}m` for minutes");
        return Some(Hint::new(help).replacement(format!("{number}s")).code(Code::UnitMissing));
    }
    let unit = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "us" | "µs" | "usec" | "microseconds" => "us",
        "w" | "week" | "weeks" if number.parse::<u64>().is_ok_and(|weeks| weeks < 1_000_000) => {
            let days = number.parse::<u64>().unwrap_or_default() * 7;
            return Some(Hint::write(format!("{days}d")));
        }
        _ => return None,
    };
    let Some((whole, fraction)) = number.split_once('.') else {
        return Some(Hint::write(format!("{number}{unit}")));
    };
    // `1.5h` is `1h30m`.
    let (smaller, each) = match unit {
        "d" => ("h", 24.0),
        "h" => ("m", 60.0),
        "m" => ("s", 60.0),
        _ => ("ms", 1000.0),
    };
    let rest = format!("0.{fraction}").parse::<f64>().ok()? * each;
    if matches!(unit, "ms" | "us") || rest.fract() != 0.0 {
        return Some(Hint::new("write it without a decimal point, in a smaller unit"));
    }
    let whole = if whole.is_empty() || whole == "0" { String::new() } else { format!("{whole}{unit}") };
    Some(Hint::write(format!("{whole}{rest}{smaller}")))
}

/// Which unit of size was probably meant.
fn size_unit(unit: &str) -> Option<&'static str> {
    let lower = unit.to_ascii_lowercase();
    let known = ["B", "kB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"];
    known.into_iter().find(|known| {
        let known = known.to_ascii_lowercase();
        known == lower || (known.ends_with("ib") && known.strip_suffix('b') == Some(&lower))
    })
}

fn size_hint(text: &str) -> Option<Hint> {
    let (number, unit) = number_and_unit(text)?;
    if unit.is_empty() {
        let help =
            format!("write `{number}MiB` for mebibytes, `{number}MB` for megabytes, `{number}B` for bytes");
        return Some(Hint::new(help).replacement(format!("{number}MiB")).code(Code::UnitMissing));
    }
    if let Some(unit) = size_unit(unit) {
        return Some(Hint::write(format!("{number}{unit}")));
    }
    let letter = match unit {
        "k" | "K" => "K",
        "m" | "M" => "M",
        "g" | "G" => "G",
        "t" | "T" => "T",
        _ => return None,
    };
    let decimal = if letter == "K" { "k" } else { letter };
    let help = format!(
        "{letter}iB or {decimal}B? Write `{number}{letter}iB` (powers of 1024) or `{number}{decimal}B` (powers of 1000)"
    );
    Some(Hint::new(help).replacement(format!("{number}{letter}iB")))
}

fn rate_hint(text: &str) -> Option<Hint> {
    let Some((amount, window)) = text.split_once('/') else {
        let (number, unit) = number_and_unit(text)?;
        let unit = if unit.is_empty() { "MiB" } else { size_unit(unit).unwrap_or("MiB") };
        let hint = Hint::new(format!("in which time? Write `{number}{unit}/m` for each minute"));
        let hint = hint.replacement(format!("{number}{unit}/m"));
        return Some(if text == number { hint.code(Code::UnitMissing) } else { hint });
    };
    let window = window.trim();
    let known = window_ns(window).map(|_| window.to_owned());
    let window = known.or_else(|| {
        duration_hint(&format!("1{window}"))?.replacement?.strip_prefix('1').map(str::to_owned)
    })?;
    let hint = if size(amount.trim()).is_some() {
        Hint::write(format!("{}/{window}", amount.trim()))
    } else {
        let amount = size_hint(amount.trim())?;
        Hint { replacement: amount.replacement.map(|amount| format!("{amount}/{window}")), ..amount }
    };
    Some(Hint { code: None, ..hint })
}

fn percent_hint(text: &str) -> Option<Hint> {
    let (number, unit) = number_and_unit(text)?;
    match unit {
        "" if number.contains('.') && number.parse::<f64>().is_ok_and(|share| share <= 1.0) => {
            let percent = number.parse::<f64>().ok()? * 100.0;
            let hint = Hint::new(format!("write `{percent}%`")).replacement(format!("{percent}%"));
            Some(hint.code(Code::UnitMissing))
        }
        "" => {
            let hint = Hint::new(format!("write `{number}%`")).replacement(format!("{number}%"));
            Some(hint.code(Code::UnitMissing))
        }
        "percent" | "pct" | "%" => Some(Hint::write(format!("{number}%"))),
        _ => None,
    }
}

fn budget_hint(text: &str) -> Option<Hint> {
    let Some((count, window)) = text.split_once('/') else {
        let (number, unit) = number_and_unit(text)?;
        let hint =
            Hint::new(format!("in which time? Write `{number}/10m` for at most so many in any ten minutes"));
        let hint = hint.replacement(format!("{number}/10m"));
        return Some(if unit.is_empty() { hint.code(Code::UnitMissing) } else { hint });
    };
    let (count, window) = (count.trim(), window.trim());
    if count.parse() == Ok(0) {
        return Some(Hint::new("none at all is said otherwise: `restart: never`, or no such step"));
    }
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if window_ns(window).is_some() && !window.is_empty() {
        return Some(Hint::write(format!("{count}/{window}")));
    }
    let window = duration_hint(window).or_else(|| duration_hint(&format!("1{window}")))?;
    let replacement = window.replacement.map(|window| format!("{count}/{window}"));
    let help = replacement.as_ref().map_or(window.help, |text| format!("write `{text}`"));
    Some(Hint { help, replacement, code: None })
}

#[cfg(test)]
mod roundtrip;

#[cfg(test)]
#[path = "quantities_tests.rs"]
mod tests;
