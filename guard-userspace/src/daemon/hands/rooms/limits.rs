//! Limits: which hierarchy has the controller, and how its files say a limit.

use std::fs;
use std::path::{Path, PathBuf};

use guard_core::policy::model::Limits;

use super::RoomError;

/// A controller that a policy's limits need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Cpu,
    Pids,
}

/// The period in which a share of CPU time is counted: the kernel's default, in microseconds.
const PERIOD_US: u64 = 100_000;
/// The longest period, for the smallest shares.
const LONGEST_PERIOD_US: u64 = 1_000_000;
/// The kernel refuses a smaller share of a period.
const LEAST_QUOTA_US: u64 = 1_000;

impl Controller {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// As the kernel calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// Whether these limits need it.
    pub(super) const fn is_needed(self, limits: &Limits) -> bool {
        match self {
            Self::Memory => limits.memory.is_some(),
            Self::Cpu => limits.cpu.is_some(),
            Self::Pids => limits.processes.is_some(),
        }
    }

    /// Files and what is written to them, in order.
    fn texts(self, limits: &Limits, first_version: bool) -> Vec<(&'static str, String)> {
        match self {
            Self::Memory => {
                let file = if first_version { "memory.limit_in_bytes" } else { "memory.max" };
                limits.memory.map(|bytes| (file, bytes.to_string())).into_iter().collect()
            }
            Self::Pids => {
                limits.processes.map(|number| ("pids.max", number.to_string())).into_iter().collect()
            }
            Self::Cpu => {
                let Some(hundredths) = limits.cpu else { return Vec::new() };
                let (quota, period) = quota(hundredths);
                if first_version {
                    vec![("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", quota.to_string())]
                } else {
                    vec![("cpu.max", format!("{quota} {period}"))]
                }
            }
        }
    }

    /// Sets the limits in a group that has this controller.
    pub(super) fn set(self, group: &Path, limits: &Limits, first_version: bool) -> Result<(), RoomError> {
        for (file, text) in self.texts(limits, first_version) {
            let path = group.join(file);
            fs::write(&path, text).map_err(|source| RoomError::Limit { what: self.name(), path, source })?;
        }
        Ok(())
    }
}

/// Microseconds of CPU time, and of the period for which they are.
fn quota(hundredths: u64) -> (u64, u64) {
    let share = |period: u64| hundredths.saturating_mul(period / 10_000);
    if share(PERIOD_US) >= LEAST_QUOTA_US {
        (share(PERIOD_US), PERIOD_US)
    } else {
        (share(LONGEST_PERIOD_US).max(LEAST_QUOTA_US), LONGEST_PERIOD_US)
    }
}

/// Hands the controller down from the mount to a group's children. The groups on the way must hold no processes, but
/// for the first.
pub(super) fn hand_down(mount: &Path, group: &Path, controller: Controller) -> Result<(), RoomError> {
    let mut path = PathBuf::from(mount);
    let below = group.strip_prefix(mount).unwrap_or(Path::new(""));
    for part in std::iter::once(None).chain(below.components().map(Some)) {
        path.extend(part);
        let file = path.join("cgroup.subtree_control");
        let has = fs::read_to_string(&file)
            .is_ok_and(|text| text.split_whitespace().any(|name| name == controller.name()));
        if !has {
            fs::write(&file, format!("+{}", controller.name())).map_err(|source| RoomError::Delegation {
                controller: controller.name(),
                path: path.clone(),
                source,
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_cpu_time() {
        assert_eq!(quota(10_000), (100_000, 100_000), "one core");
        assert_eq!(quota(25_050), (250_500, 100_000));
        assert_eq!(quota(100), (1_000, 100_000), "1%");
        assert_eq!(quota(50), (5_000, 1_000_000), "0.5%");
        assert_eq!(quota(1), (1_000, 1_000_000), "as little as there is");
        let limits =
            Limits { cpu: Some(5_000), memory: Some(1 << 20), processes: Some(9), ..Limits::default() };
        assert_eq!(Controller::Cpu.texts(&limits, false), [("cpu.max", "50000 100000".into())]);
        assert_eq!(Controller::Memory.texts(&limits, true), [("memory.limit_in_bytes", "1048576".into())]);
        assert!(
            Controller::ALL.iter().all(|one| one.is_needed(&limits) && !one.is_needed(&Limits::default()))
        );
    }
}
