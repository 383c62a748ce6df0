//! What a process used, as `wait4` says it.

use guard_common::wire::{self, UNKNOWN};

use crate::event::Usage;

/// The exit record's counters. CPU time is that of the process itself; `wait4` adds what its
/// waited-for children used.
pub(crate) fn of(exit: &wire::Exit) -> Usage {
    let (user_ns, system_ns) = split(exit.user_ns, exit.system_ns, exit.runtime_ns);
    Usage {
        user_ns,
        system_ns,
        peak_rss_bytes: exit.peak_rss_bytes,
        minor_faults: exit.minor_faults,
        major_faults: exit.major_faults,
        voluntary_switches: exit.voluntary_switches,
        involuntary_switches: exit.involuntary_switches,
        read_bytes: known(exit.read_bytes),
        write_bytes: known(exit.write_bytes),
    }
}

fn known(value: u64) -> Option<u64> {
    (value != UNKNOWN).then_some(value)
}

/// Splits the exact run time in the ratio that the tick saw, like `cputime_adjust` in the
/// kernel's `sched/cputime.c`: whoever never met a tick in the kernel spent all in user mode, then
/// whoever never met one in user mode spent all in the kernel. The kernel also keeps what it once
/// reported from shrinking; that history is not in the record, and moves nanoseconds at most.
fn split(user_ticks: u64, system_ticks: u64, runtime: u64) -> (u64, u64) {
    if system_ticks == 0 {
        return (runtime, 0);
    }
    if user_ticks == 0 {
        return (0, runtime);
    }
    let total = u128::from(user_ticks) + u128::from(system_ticks);
    let scaled = u128::from(system_ticks) * u128::from(runtime) / total;
    // Below `runtime`, because `system_ticks` is below `total`.
    let system = u64::try_from(scaled).unwrap_or(runtime).min(runtime);
    (runtime - system, system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_the_kernel_does() {
        for (user, system, runtime, expected) in [
            (0, 0, 777, (777, 0)),
            (4_000_000, 0, 3_999_999, (3_999_999, 0)),
            (0, 4_000_000, 1_234_567, (0, 1_234_567)),
            (4_000_000, 4_000_000, 9_000_001, (4_500_001, 4_500_000)),
            (12_000_000, 4_000_000, 15_000_000, (11_250_000, 3_750_000)),
            // From a kernel bug report: 64-bit products overflow here, the result must not.
            (1_416_780_000, 175_136_586_720_000, 135_989_749_728_000, (1_100_089_951, 135_988_649_638_049)),
            (u64::MAX, u64::MAX, u64::MAX, (u64::MAX / 2 + 1, u64::MAX / 2)),
        ] {
            let got = split(user, system, runtime);
            assert_eq!(got, expected, "user {user}, system {system}, runtime {runtime}");
            assert_eq!(got.0 + got.1, runtime);
        }
    }

    #[test]
    fn unknown_io_is_absent() {
        assert_eq!(known(UNKNOWN), None);
        assert_eq!(known(0), Some(0));
    }
}
