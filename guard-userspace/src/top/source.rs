//! Where the model's facts come from.

use std::time::Duration;

use guard_core::resources::Resources;

use super::model::Model;
use crate::clock;
use crate::exit::Failure;
use crate::feed::Feed;
use crate::sample::{Sampler, cgroup};
use crate::sensor::Options;

/// How long records gather. A screen that changes once a second is in no hurry, and each turn costs a
/// wake-up; the ring holds four times as much of the highest storm (`RING_BYTES`).
const GATHERING: Duration = Duration::from_millis(100);

/// How often the table is compared with the kernel's own.
const SWEEP: Duration = Duration::from_secs(60);

/// A source of facts. Today the kernel itself; one who subscribes to another's stream is to have the
/// same shape.
pub(super) trait Source {
    /// Waits until there are events. Dropping the future is safe.
    async fn ready(&mut self) -> Result<(), Failure>;

    /// Gives the model the events that there are.
    fn events(&mut self, model: &mut Model);

    /// Gives the model everything that is measured now and then, and the list of the living. What the
    /// control group at the path uses is asked for only if somebody looks at it.
    fn sample(&mut self, model: &mut Model, looked_at: Option<&str>) -> Result<(), Failure>;
}

/// The kernel of this host.
pub(super) struct Live {
    feed: Feed,
    sampler: Option<Sampler>,
    samples: Vec<Resources>,
    control_groups: cgroup::Groups,
}

impl Live {
    /// Attaches the sensor, and gives the model what exists.
    ///
    /// # Errors
    /// If the sensor cannot be attached.
    pub(super) fn attach(options: &Options, model: &mut Model) -> Result<Self, Failure> {
        let mut feed = Feed::attach(options, GATHERING)?;
        feed.sweep_every(SWEEP);
        model.reconcile(feed.processes().living());
        let sampler = feed.sampler();
        let control_groups = cgroup::Groups::mounted()?;
        let live = Self { feed, sampler, samples: Vec::new(), control_groups };
        live.join_groups(model);
        Ok(live)
    }

    /// Tells the kernel under which groups to count the waits of processes.
    fn join_groups(&self, model: &mut Model) {
        if let Some(latencies) = self.feed.latency() {
            model.take_joins().for_each(|join| latencies.join(join.pid, join.group));
        }
    }
}

impl Source for Live {
    async fn ready(&mut self) -> Result<(), Failure> {
        Ok(self.feed.ready().await?)
    }

    fn events(&mut self, model: &mut Model) {
        self.feed.turn();
        while let Some(event) = self.feed.poll_event() {
            model.event(&event);
        }
        self.join_groups(model);
    }

    fn sample(&mut self, model: &mut Model, looked_at: Option<&str>) -> Result<(), Failure> {
        model.reconcile(self.feed.processes().living());
        model.tick(clock::boot_ns());
        self.join_groups(model);
        if let Some(latencies) = self.feed.latency() {
            model.waited(&|group| latencies.read(group));
        }
        if let Some(sampler) = &mut self.sampler {
            sampler.sample(&mut self.samples)?;
            for resources in &self.samples {
                model.sample(*resources);
            }
        }
        if let Some(path) = looked_at {
            model.group_used(path, self.control_groups.read(path));
        }
        Ok(())
    }
}
