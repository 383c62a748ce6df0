//! Which tests run on which kernel.

use super::kernels;

/// Tests that are for virtual machines: this one runs none of them, whatever its kernel.
const VIRTUAL: &str = "vm::";

/// Tests of which nothing depends on the kernel.
pub(super) const INTERFACE: &str = "host::interface::";

/// Tests of the daemon, of which most depend on the kernel as little, and each starts daemons for seconds.
pub(super) const DAEMON: &str = "host::daemon::";

/// Those that do depend on it: control groups, clone3, pidfds, tombstones.
const DAEMON_OF_THE_KERNEL: [&str; 3] = [
    "host::daemon::essentials::who_is_killed_is_back_and_the_incident_tells_it",
    "host::daemon::faults::a_stop_ends_all_descendants",
    "host::daemon::survives::a_death_without_a_daemon_is_taken_up_with_its_cause",
];

/// Tests that are about what we make of the kernel's records: what differs between kernels is behind the records, and what could differ
/// all the same is seen on the oldest and the newest.
const OF_RECORDS: [&str; 8] = [
    DAEMON,
    "host::filters::",
    "host::recorder::",
    "host::refusals::",
    "host::restarts::",
    "host::start::",
    "vm::clock::",
    "vm::systemd::",
];

/// What a run of the matrix is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Each test that is wanted on each kernel.
    Whole,
    /// What every change must pass: this machine's own kernel is left out, if it is one of them, since the same command runs the same
    /// tests on it; and tests of records run on two kernels.
    Quick { here: Option<&'static str> },
}

impl Choice {
    /// That of the test command at small counts, on this machine.
    pub(super) fn quick() -> Self {
        Self::Quick { here: own_kernel() }
    }

    /// Why a test is not run in a machine with this kernel, in a word for the table; `None`: it is.
    pub(super) fn left_out(self, version: &str, name: &str) -> Option<&'static str> {
        let Self::Quick { here } = self else { return None };
        let is_an_end = [kernels::TABLE.first(), kernels::TABLE.last()]
            .into_iter()
            .flatten()
            .any(|kernel| kernel.version == version);
        if here == Some(version) && !name.starts_with(VIRTUAL) {
            Some("here")
        } else if !is_an_end && OF_RECORDS.iter().any(|part| name.starts_with(part)) {
            Some("ends")
        } else {
            None
        }
    }

    /// What the words mean.
    pub(super) fn legend(self) -> Vec<String> {
        let Self::Quick { here } = self else { return vec![] };
        let here = here.map(|here| {
            format!("{here} is this machine's kernel: what says `here` runs on it, not in emulation")
        });
        let ends = "what says `ends` runs on the oldest and the newest kernel; `cargo xtask campaign` runs it on all";
        here.into_iter().chain([ends.to_owned()]).collect()
    }
}

/// Whether a test is wanted where those are left out of which nothing depends on the kernel.
pub(super) fn depends_on_the_kernel(name: &str) -> bool {
    !name.starts_with(INTERFACE) && (!name.starts_with(DAEMON) || DAEMON_OF_THE_KERNEL.contains(&name))
}

/// The kernel of the matrix that this machine runs, if it is one.
fn own_kernel() -> Option<&'static str> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split('.');
    let own = format!("{}.{}", numbers.next()?, numbers.next()?);
    kernels::TABLE.iter().map(|kernel| kernel.version).find(|version| *version == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_runs_somewhere() {
        let quick = Choice::Quick { here: Some("6.18") };
        let left_out = |name| {
            kernels::TABLE.iter().map(move |kernel| quick.left_out(kernel.version, name).unwrap_or("runs"))
        };
        let of = |name| left_out(name).collect::<Vec<_>>();
        assert_eq!(of("host::exec::x"), ["runs", "runs", "runs", "here", "runs"]);
        assert_eq!(of("host::recorder::x"), ["runs", "ends", "ends", "here", "runs"]);
        assert_eq!(of("vm::clock::x"), ["runs", "ends", "ends", "ends", "runs"]);
        assert_eq!(of("vm::cpus::x"), ["runs"; 5]);
        let all =
            |name| kernels::TABLE.iter().all(|kernel| Choice::Whole.left_out(kernel.version, name).is_none());
        assert!(all("host::recorder::x") && all("vm::clock::x"));
    }

    #[test]
    fn what_depends_on_the_kernel() {
        assert!(depends_on_the_kernel("host::exec::x") && depends_on_the_kernel(DAEMON_OF_THE_KERNEL[0]));
        assert!(
            !depends_on_the_kernel("host::interface::x") && !depends_on_the_kernel("host::daemon::verbs::x")
        );
    }
}
