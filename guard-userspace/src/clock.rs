//! The clocks: time since boot, and how far UTC is from it.

use std::{fs, io};

use guard_core::ids::BootId;
use rustix::time::{ClockId, clock_gettime};

/// What turns times since boot into times of day, and pids into identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The boot.
    pub boot: BootId,
    /// UTC since 1970 minus time since boot, in nanoseconds.
    pub utc_offset_ns: i64,
}

impl Stamp {
    /// Nanoseconds since 1970 of a time since boot.
    #[must_use]
    pub fn unix_ns(&self, boot_ns: u64) -> i64 {
        i64::try_from(boot_ns).unwrap_or(i64::MAX).saturating_add(self.utc_offset_ns)
    }
}

/// Nanoseconds since boot, suspended time included: the clock of all kernel records.
#[must_use]
pub fn boot_ns() -> u64 {
    u64::try_from(nanoseconds(ClockId::Boottime)).unwrap_or(0)
}

/// How far UTC is ahead of the boot clock now. Measured again for every batch, because an
/// operator or NTP may step the one and not the other.
#[must_use]
pub fn utc_offset_ns() -> i64 {
    // The boot clock is read on both sides, so that a preemption in between halves its error.
    let before = nanoseconds(ClockId::Boottime);
    let utc = nanoseconds(ClockId::Realtime);
    let after = nanoseconds(ClockId::Boottime);
    utc - (before + (after - before) / 2)
}

/// The running kernel's boot id. Read once, at start.
///
/// # Errors
/// If /proc is not mounted or the file holds no UUID.
pub fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    BootId::parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn nanoseconds(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree() {
        let stamp = Stamp { boot: boot_id().unwrap(), utc_offset_ns: utc_offset_ns() };
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let difference = stamp.unix_ns(boot_ns()) - i64::try_from(unix.as_nanos()).unwrap();
        assert!(difference.abs() < 1_000_000_000, "{difference} ns");
    }
}
