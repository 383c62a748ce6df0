//! Points in time as text, written fast: the text of a second is made once and kept.

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// The date and time of one second, kept because neighbouring events share it.
#[derive(Clone, Debug)]
pub struct SecondText {
    second: i64,
    /// `2026-11-21T22:36:49`
    text: [u8; 19],
}

impl Default for SecondText {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00" }
    }
}

impl SecondText {
    /// `2026-11-21T22:36:49` for nanoseconds since 1970.
    pub fn date_time(&mut self, unix_ns: i64) -> &[u8; 19] {
        let second = unix_ns.div_euclid(SECOND);
        if second != self.second {
            self.second = second;
            self.text = civil(second);
        }
        &self.text
    }

    /// Appends `2026-11-21T22:36:49.123456789Z`.
    pub fn write_utc(&mut self, out: &mut Vec<u8>, unix_ns: i64) {
        out.extend_from_slice(self.date_time(unix_ns));
        out.push(b'.');
        write_fraction(out, fraction_ns(unix_ns), 9);
        out.push(b'Z');
    }
}

/// `2026-11-21T22:36:49.123456789Z` for nanoseconds since 1970.
#[must_use]
pub fn utc(unix_ns: i64) -> String {
    let mut out = Vec::new();
    SecondText::default().write_utc(&mut out, unix_ns);
    String::from_utf8_lossy(&out).into_owned()
}

/// The nanoseconds within the second.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "0 to 10^9 - 1")]
pub const fn fraction_ns(unix_ns: i64) -> u32 {
    unix_ns.rem_euclid(SECOND) as u32
}

/// Appends the first `digits` (at most 9) digits of a fraction of a second.
pub fn write_fraction(out: &mut Vec<u8>, nanoseconds: u32, digits: usize) {
    let mut text = [b'0'; 9];
    let mut rest = nanoseconds;
    for place in text.iter_mut().rev() {
        *place = b'0' + digit(rest % 10);
        rest /= 10;
    }
    out.extend_from_slice(text.get(..digits).unwrap_or(&text));
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass a remainder of ten")]
const fn digit(value: u32) -> u8 {
    value as u8
}

/// The proleptic Gregorian date and the time of day of a second since 1970 (after Howard Hinnant's
/// `civil_from_days`). Years outside 0..=9999 show their last four digits.
fn civil(second: i64) -> [u8; 19] {
    let (days, time) = (second.div_euclid(86_400), second.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = (year_of_era + era * 400 + i64::from(month <= 2)).rem_euclid(10_000);

    let mut text = *b"0000-00-00T00:00:00";
    let fields = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, time / 3_600),
        (14, time / 60 % 60),
        (17, time % 60),
    ];
    for (at, value) in fields {
        let two = u32::try_from(value).unwrap_or_default();
        for (place, value) in text.iter_mut().skip(at).zip([two / 10 % 10, two % 10]) {
            *place = b'0' + digit(value);
        }
    }
    text
}

/// Reads `2026-11-21T22:36:49.123456789Z` (up to nine decimals, or none) into nanoseconds since 1970.
#[must_use]
pub fn parse_utc(text: &str) -> Option<i64> {
    let body = text.strip_suffix('Z')?;
    let (date_time, fraction) = body.split_once('.').unwrap_or((body, ""));
    let shape = date_time.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    if !shape.eq(*b"0000-00-00T00:00:00") || fraction.len() > 9 || body.ends_with('.') {
        return None;
    }
    let number = |from: usize, to: usize| date_time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let mut nanoseconds = 0;
    for place in 0..9 {
        let digit = fraction.as_bytes().get(place).map_or(Some(0), |byte| char::from(*byte).to_digit(10))?;
        nanoseconds = nanoseconds * 10 + i64::from(digit);
    }
    seconds.checked_mul(SECOND)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(unix_ns: i64) -> String {
        let mut out = Vec::new();
        SecondText::default().write_utc(&mut out, unix_ns);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_instants() {
        let known = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (1_763_764_609_123_456_789, "2025-11-21T22:36:49.123456789Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (4_102_444_799_000_000_001, "2099-12-31T23:59:59.000000001Z"),
        ];
        for (unix_ns, text) in known {
            assert_eq!(utc(unix_ns), text);
            assert_eq!(parse_utc(text), Some(unix_ns), "{text}");
        }
        assert_eq!(parse_utc("2025-11-21T22:36:49.5Z"), Some(1_763_764_609_500_000_000));
        assert_eq!(parse_utc("2025-11-21T22:36:49Z"), Some(1_763_764_609_000_000_000));
    }

    #[test]
    fn every_day_returns() {
        // i64 nanoseconds end in the year 2262.
        for day in 0..i64::MAX / SECOND / 86_400 {
            let unix_ns = (day * 86_400 + 12_345) * SECOND + 678;
            assert_eq!(parse_utc(&utc(unix_ns)), Some(unix_ns), "day {day}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "Z",
            "2025-11-21T22:36:49",
            "2025-11-21 22:36:49Z",
            "2025-13-21T22:36:49Z",
            "2025-11-21T24:00:00Z",
            "2025-11-21T22:36:49.Z",
            "2025-11-21T22:36:49.1234567890Z",
            "2025-11-21T22:36:49.x23Z",
            "٢025-11-21T22:36:4Z",
        ] {
            assert_eq!(parse_utc(text), None, "{text}");
        }
    }
}
