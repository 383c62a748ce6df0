//! Samples at intervals, for the core.

use std::time::Duration;

use guard_core::resources::Resources;
use guard_core::{Core, Input};
use tokio::time::Instant;

use super::Sampler;
use super::cgroup::Groups;
use crate::clock;
use crate::sensor::Error;

/// What is sampled, and when next.
#[derive(Debug)]
pub(crate) struct Sampling {
    sampler: Sampler,
    groups: Groups,
    interval: Duration,
    next: Instant,
    resources: Vec<Resources>,
    /// Hierarchy and id of each control group that a sampled process is in.
    places: Vec<(u32, u64)>,
}

impl Sampling {
    /// The first sample is due at once: the next ones are compared with it.
    pub(crate) fn new(sampler: Sampler, interval: Duration) -> Result<Self, Error> {
        let (resources, places) = (Vec::new(), Vec::new());
        Ok(Self { sampler, groups: Groups::mounted()?, interval, next: Instant::now(), resources, places })
    }

    /// When the next sample is due.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Tells the core what all observed processes use, and those of the control groups that they are in which are wanted, by
    /// path. Intervals that were slept through are left out.
    pub(crate) fn tell(&mut self, core: &mut Core, is_wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
        self.next = (self.next + self.interval).max(Instant::now());
        self.sampler.sample(&mut self.resources)?;
        let now_ns = clock::boot_ns();
        self.places.clear();
        for used in &self.resources {
            core.handle(now_ns, Input::Sample(used));
            let place = (used.cgroup_hierarchy, used.cgroup_id);
            if self.places.last() != Some(&place) {
                self.places.push(place);
            }
        }
        self.places.sort_unstable();
        self.places.dedup();
        for &(hierarchy, id) in &self.places {
            if let Some(path) = core.cgroup_path(hierarchy, id).filter(|path| is_wanted(path)) {
                let used = self.groups.read(path);
                core.handle(now_ns, Input::GroupSample { hierarchy, id, used });
            }
        }
        Ok(())
    }
}
