//! What was measured of services, from which thresholds are suggested: fed while they live, kept over daemons.

use std::time::Duration;

use guard_core::suggest::{Measure, Sketch, Sketches, suggest};
use tokio::time::Instant;

use super::answers::no_service;
use super::door::Refusal;
use super::state::Durability;
use super::turn::Daemon;
use crate::clock;

/// How often a sample is taken into the sketches: a day gives 8,640, which is enough for a p99.
const EVERY: Duration = Duration::from_secs(10);

/// How often they are put down: what is lost if the daemon is killed is little of much.
const KEPT_EVERY: Duration = Duration::from_secs(600);

/// When which is due.
#[derive(Debug)]
pub(super) struct Due {
    sample: Instant,
    keep: Instant,
}

impl Default for Due {
    fn default() -> Self {
        let now = Instant::now();
        Self { sample: now + EVERY, keep: now + KEPT_EVERY }
    }
}

/// What a daemon before this one has measured.
pub(super) fn restored(kept: &[(String, String, Vec<u8>)]) -> Sketches {
    let mut sketches = Sketches::default();
    for (service, measure, sketch) in kept {
        let read = (serde_json::from_str::<Measure>(measure), serde_json::from_slice::<Sketch>(sketch));
        if let (Ok(measure), Ok(sketch)) = read {
            sketches.restore(service, measure, sketch);
        }
    }
    sketches
}

impl Daemon {
    /// After a sample: takes it into the sketches, if it is time.
    pub(super) fn sketch(&mut self) {
        let now = Instant::now();
        if now < self.sketching.sample {
            return;
        }
        self.sketching.sample = now + EVERY;
        let now_ns = clock::boot_ns();
        for facts in self.supervisor.facts() {
            for used in facts.instances.iter().filter_map(|instance| instance.used.as_ref()) {
                self.sketches.sampled(&facts.policy.name, now_ns, used);
            }
        }
        if now >= self.sketching.keep {
            self.sketching.keep = now + KEPT_EVERY;
            self.keep_sketches();
        }
    }

    /// Puts them down.
    pub(super) fn keep_sketches(&mut self) {
        let mut together = self.state.together();
        for service in self.supervisor.services() {
            for (measure, sketch) in self.sketches.of(service) {
                if let (Ok(measure), Ok(sketch)) =
                    (serde_json::to_string(measure), serde_json::to_vec(sketch))
                {
                    together.put_sketch(service, &measure, &sketch);
                }
            }
        }
        if let Err(error) = self.state.write(&mut together, Durability::Crash) {
            tracing::warn!("{}", error.advice());
        }
    }

    /// Thresholds for a service, as a patch of its policy.
    pub(super) fn suggest(&self, service: &str) -> Result<String, Refusal> {
        let facts = self.supervisor.facts_of(service).ok_or_else(|| no_service(service))?;
        let patch = suggest(&facts.policy, &self.sketches).patch();
        if patch.is_empty() {
            return Ok(format!(
                "# nothing of `{service}` has been measured yet: ask again when it has run for a while\n"
            ));
        }
        Ok(patch)
    }
}
