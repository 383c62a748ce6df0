//! What time it is, for people.

use std::fmt;

const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;

/// The wall clock, in UTC: nanoseconds since the epoch at which the host's boot clock was 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds since the epoch.
    pub boot_ns: i64,
}

impl Clock {
    /// Seconds since the epoch, at a time in nanoseconds since boot.
    #[must_use]
    pub fn epoch_seconds(self, time_ns: u64) -> i64 {
        self.boot_ns.saturating_add_unsigned(time_ns).div_euclid(SECOND_NS)
    }

    /// The time of day, such as `12:04:31`.
    #[must_use]
    pub fn time_of_day(self, time_ns: u64) -> impl fmt::Display {
        let seconds = self.epoch_seconds(time_ns).rem_euclid(DAY_S);
        fmt::from_fn(move |f| write!(f, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_told_in_utc() {
        // Booted at 2026-11-22 05:24:43 UTC.
        let clock = Clock { boot_ns: 1_795_325_083 * SECOND_NS };
        assert_eq!(clock.time_of_day(0).to_string(), "05:24:43");
        assert_eq!(clock.time_of_day(24_000_000_000_000).to_string(), "12:04:43");
        assert_eq!(clock.epoch_seconds(1_999_999_999), 1_795_325_084);
        assert_eq!(Clock { boot_ns: -1 }.time_of_day(0).to_string(), "23:59:59");
    }
}
