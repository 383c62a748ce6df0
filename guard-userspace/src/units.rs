//! Durations and sizes as people write them. A number without a unit is refused.

use std::time::Duration;

/// Why a duration or a size cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// The number has no unit.
    #[error("`{number}` has no unit: write {number}{suggestion}")]
    NoUnit {
        /// What was given.
        number: String,
        /// The likeliest unit.
        suggestion: &'static str,
    },
    /// There is no number in front of the unit.
    #[error("`{0}` should begin with a whole number")]
    NoNumber(String),
    /// The unit is not known.
    #[error("`{unit}` is not a unit: use one of {known}")]
    UnknownUnit {
        /// What was given.
        unit: String,
        /// All that are known.
        known: &'static str,
    },
    /// The unit could mean powers of 1000 or of 1024.
    #[error(
        "`{unit}` is ambiguous: write {number}{unit}iB (powers of 1024) or {number}{unit}B (powers of 1000)"
    )]
    Ambiguous {
        /// The number before it.
        number: String,
        /// What was given.
        unit: String,
    },
    /// A unit stands behind a smaller or an equal one.
    #[error("`{0}` should stand before the smaller units")]
    Order(String),
    /// Too large to count.
    #[error("it is too large")]
    TooLarge,
}

const DURATION_UNITS: &str = "ns us ms s m h d";
const SIZE_UNITS: &str = "B KiB MiB GiB TiB kB MB GB TB";

/// Reads `500ms`, `30s`, `5m`, `1h30m`: whole numbers with units, the largest unit first.
///
/// # Errors
/// If it is anything else, or longer than 2^64 nanoseconds.
pub fn duration(text: &str) -> Result<Duration, Error> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(Error::Empty);
    }
    let (mut total, mut smallest) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, unit, after) = split(rest)?;
        let nanoseconds = match unit {
            "" => return Err(Error::NoUnit { number: number.into(), suggestion: "s" }),
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            "d" => 86_400 * 1_000_000_000,
            _ => return Err(Error::UnknownUnit { unit: unit.into(), known: DURATION_UNITS }),
        };
        if nanoseconds >= smallest {
            return Err(Error::Order(format!("{number}{unit}")));
        }
        smallest = nanoseconds;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(nanoseconds));
        total = part.and_then(|part| total.checked_add(part)).ok_or(Error::TooLarge)?;
        rest = after;
    }
    Ok(Duration::from_nanos(total))
}

/// Reads `64KiB`, `256MiB`, `10MB` (decimal) or `4096B`.
///
/// # Errors
/// If it is anything else, or 2^64 bytes and more.
pub fn size(text: &str) -> Result<u64, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::Empty);
    }
    let (number, unit, after) = split(text)?;
    let unit = if after.is_empty() { unit } else { text.get(number.len()..).unwrap_or_default() };
    let bytes: u64 = match unit {
        "" => return Err(Error::NoUnit { number: number.into(), suggestion: "MiB" }),
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "K" | "k" | "M" | "G" | "T" => {
            return Err(Error::Ambiguous { number: number.into(), unit: unit.to_uppercase() });
        }
        _ => return Err(Error::UnknownUnit { unit: unit.into(), known: SIZE_UNITS }),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(bytes)).ok_or(Error::TooLarge)
}

/// Splits `1h30m` into `1`, `h` and `30m`.
fn split(text: &str) -> Result<(&str, &str, &str), Error> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(Error::NoNumber(text.into()));
    }
    let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    Ok((number, unit, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let good = [
            ("500ms", 500_000_000),
            ("30s", 30_000_000_000),
            ("5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1d1ns", 86_400_000_000_001),
            ("0s", 0),
        ];
        for (text, nanoseconds) in good {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
        let bad = [
            ("", "it is empty"),
            ("5", "`5` has no unit: write 5s"),
            ("1h30", "`30` has no unit: write 30s"),
            ("s", "`s` should begin with a whole number"),
            ("-5s", "`-5s` should begin with a whole number"),
            ("5 s", "` s` is not a unit: use one of ns us ms s m h d"),
            ("1.5s", "`.` is not a unit: use one of ns us ms s m h d"),
            ("30m1h", "`1h` should stand before the smaller units"),
            ("1s1s", "`1s` should stand before the smaller units"),
            ("99999999999999999999s", "it is too large"),
            ("999999999d", "it is too large"),
        ];
        for (text, message) in bad {
            assert_eq!(duration(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let good = [("64KiB", 65_536), ("256MiB", 268_435_456), ("10MB", 10_000_000), ("4096B", 4096)];
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        let bad = [
            ("64", "`64` has no unit: write 64MiB"),
            ("64M", "`M` is ambiguous: write 64MiB (powers of 1024) or 64MB (powers of 1000)"),
            ("64k", "`K` is ambiguous: write 64KiB (powers of 1024) or 64KB (powers of 1000)"),
            ("64Mb", "`Mb` is not a unit: use one of B KiB MiB GiB TiB kB MB GB TB"),
            ("1MiB5", "`MiB5` is not a unit: use one of B KiB MiB GiB TiB kB MB GB TB"),
            ("20000000TiB", "it is too large"),
        ];
        for (text, message) in bad {
            assert_eq!(size(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
