//! The first column of a compact line: when.

use crate::clock::Stamp;
use crate::timestamp::{SecondText, fraction_ns, write_fraction};

/// How the time of an event is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Timestamps {
    /// Local time of day: 22:36:49.123.
    #[default]
    Time,
    /// Date and time in UTC: 2025-11-21T22:36:49.123456Z.
    Utc,
    /// Local date and time with its distance from UTC: 2025-11-21T23:36:49.123456+01:00.
    Local,
    /// Seconds since boot: 5021.123456.
    Boot,
    /// Seconds since the first event shown: +0.000123.
    Relative,
    /// None.
    None,
}

/// Writes the column.
#[derive(Debug)]
pub struct When {
    form: Timestamps,
    second: SecondText,
    zone: Zone,
    first_ns: Option<u64>,
}

impl When {
    /// In this form.
    #[must_use]
    pub fn new(form: Timestamps) -> Self {
        // The C library reads the zone's file at the first question: better now than in the loop.
        let _ = offset_s(0);
        Self { form, second: SecondText::default(), zone: Zone::default(), first_ns: None }
    }

    /// Appends the time and two spaces; nothing at all for [`Timestamps::None`].
    pub(super) fn write(&mut self, out: &mut Vec<u8>, stamp: &Stamp, time_ns: u64) {
        let unix_ns = stamp.unix_ns(time_ns);
        match self.form {
            Timestamps::None => return,
            Timestamps::Time => {
                let local_ns = self.zone.local_ns(unix_ns);
                out.extend_from_slice(&self.second.date_time(local_ns)[11..]);
                out.push(b'.');
                write_fraction(out, fraction_ns(local_ns), 3);
            }
            Timestamps::Utc => {
                out.extend_from_slice(self.second.date_time(unix_ns));
                out.push(b'.');
                write_fraction(out, fraction_ns(unix_ns), 6);
                out.push(b'Z');
            }
            Timestamps::Local => {
                let local_ns = self.zone.local_ns(unix_ns);
                out.extend_from_slice(self.second.date_time(local_ns));
                out.push(b'.');
                write_fraction(out, fraction_ns(local_ns), 6);
                let minutes = self.zone.offset_s / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                let minutes = minutes.abs();
                out.extend_from_slice(format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60).as_bytes());
            }
            Timestamps::Boot => seconds(out, time_ns, "", 12),
            Timestamps::Relative => {
                // Order across processes is not promised: an event may be older than the first.
                let first_ns = *self.first_ns.get_or_insert(time_ns);
                let sign = if time_ns < first_ns { "-" } else { "+" };
                seconds(out, time_ns.abs_diff(first_ns), sign, 11);
            }
        }
        out.extend_from_slice(b"  ");
    }
}

/// Appends seconds with six decimals, right-aligned.
fn seconds(out: &mut Vec<u8>, nanoseconds: u64, sign: &str, width: usize) {
    let (whole, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1_000);
    let text = format!("{sign}{whole}.{rest:06}");
    out.extend_from_slice(format!("{text:>width$}").as_bytes());
}

/// The local time zone's distance from UTC, looked up once per quarter of an hour: all changes of
/// all zones in use fall on quarters.
#[derive(Debug, Default)]
struct Zone {
    quarter: i64,
    offset_s: i64,
}

impl Zone {
    const QUARTER: i64 = 900;

    fn local_ns(&mut self, unix_ns: i64) -> i64 {
        let unix_s = unix_ns.div_euclid(1_000_000_000);
        let quarter = unix_s.div_euclid(Self::QUARTER) + 1;
        if quarter != self.quarter {
            self.quarter = quarter;
            self.offset_s = offset_s(unix_s);
        }
        unix_ns.saturating_add(self.offset_s * 1_000_000_000)
    }
}

/// Seconds that local time is ahead of UTC at an instant (in seconds since 1970); 0 if the C library
/// cannot tell.
#[must_use]
pub fn offset_s(unix_s: i64) -> i64 {
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; `localtime_r` writes only to the second. It
    // reads the environment, which this program never changes after its start.
    let filled = unsafe { libc::localtime_r(&raw const unix_s, parts.as_mut_ptr()) };
    if filled.is_null() {
        return 0;
    }
    // SAFETY: zeroed is a value of `tm` (integers and a pointer), and it was filled since.
    unsafe { parts.assume_init() }.tm_gmtoff
}

#[cfg(test)]
mod tests {
    use guard_core::ids::BootId;

    use super::*;

    fn column(form: Timestamps, times_ns: &[u64]) -> Vec<String> {
        let stamp = Stamp { boot: BootId(1), utc_offset_ns: 1_763_764_600_000_000_000 };
        let mut when = When::new(form);
        let write = |&time_ns: &u64| {
            let mut out = Vec::new();
            when.write(&mut out, &stamp, time_ns);
            String::from_utf8(out).unwrap()
        };
        times_ns.iter().map(write).collect()
    }

    #[test]
    fn forms() {
        assert_eq!(column(Timestamps::Utc, &[9_123_456_789]), ["2025-11-21T22:36:49.123456Z  "]);
        assert_eq!(column(Timestamps::Boot, &[9_123_456_789]), ["    9.123456  "]);
        assert_eq!(
            column(Timestamps::Relative, &[5_000_000_000, 5_000_123_000, 4_999_999_000]),
            ["  +0.000000  ", "  +0.000123  ", "  -0.000001  "]
        );
        assert_eq!(column(Timestamps::None, &[1]), [""]);
        // The zone of the machine is not ours to choose; the shape is.
        let time = &column(Timestamps::Time, &[9_123_456_789])[0];
        assert!(time.ends_with(".123  ") && time.len() == 14, "{time}");
        let local = &column(Timestamps::Local, &[9_123_456_789])[0];
        assert!(local.starts_with("2025-11-2") && local.contains(".123456"), "{local}");
    }
}
