//! The live trace: one thread, one loop; see [`crate::feed`].

use std::time::Duration;

use guard_common::wire::Kind;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::{Show, Wanted, quiet_if_closed};
use crate::clock::{self, Stamp};
use crate::exit::Failure;
use crate::feed::{Feed, at};
use crate::filter;
use crate::sensor::Options;
use crate::stop::Stop;

/// What a live trace needs to know beside what is shown.
#[derive(Clone, Debug)]
pub struct Live {
    /// What the sensor observes.
    pub sensor: Options,
    /// How long a crowd of records gathers.
    pub interval: Duration,
    /// When the trace ends by itself.
    pub duration: Option<Duration>,
    /// How often resources are sampled, if the sensor's options ask for samples.
    pub sample_interval: Duration,
}

/// The kinds of records that the sensor must make so that these kinds of events can be shown.
///
/// The table lives on forks, execs and exits; a death is explained by the signals and the OOM
/// victims before it, and tells how long the first listening socket took.
#[must_use]
pub fn needed(kinds: &[Kind]) -> Vec<Kind> {
    let wanted = |kind: Kind| {
        let shown = |kind: Kind| kinds.is_empty() || kinds.contains(&kind);
        match kind {
            Kind::FORK | Kind::EXEC | Kind::EXIT | Kind::CGROUP => true,
            Kind::SIGNAL | Kind::OOM | Kind::LISTEN => shown(kind) || shown(Kind::EXIT),
            // Only by name: programs on the scheduler's hooks cost something on every switch.
            kind => kinds.contains(&kind),
        }
    };
    Kind::ALL.into_iter().filter(|kind| wanted(*kind)).collect()
}

/// Traces until a signal, the end of the duration or of the count, or a closed output.
///
/// # Errors
/// If the sensor cannot be attached or read, or the output cannot be written.
pub fn run(live: &Live, show: Show) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| Failure::System { action: "start the event loop", source })?;
    quiet_if_closed(runtime.block_on(trace(live, show)))
}

async fn trace(live: &Live, show: Show) -> Result<(), Failure> {
    let boot = clock::boot_id().map_err(|source| Failure::System { action: "read the boot id", source })?;
    let stop = Stop::listen().map_err(|source| Failure::System { action: "handle signals", source })?;
    let stamp = Stamp { boot, utc_offset_ns: clock::utc_offset_ns() };
    let mut feed = Feed::attach(&live.sensor, live.interval)?;
    feed.sample_every(live.sample_interval)?;
    let mut trace = Trace { feed, stamp, show };
    trace.until_stopped(live, &stop).await?;
    trace.finish()
}

struct Trace {
    feed: Feed,
    stamp: Stamp,
    show: Show,
}

impl Trace {
    async fn until_stopped(&mut self, live: &Live, stop: &AsyncFd<Stop>) -> Result<(), Failure> {
        let end = live.duration.map(|duration| Instant::now() + duration);
        loop {
            tokio::select! {
                biased;
                _ = stop.readable() => return Ok(()),
                () = at(end) => return Ok(()),
                ready = self.feed.ready() => ready?,
            }
            self.feed.turn();
            self.stamp.utc_offset_ns = clock::utc_offset_ns();
            if self.forward()? == Wanted::Enough {
                return Ok(());
            }
        }
    }

    /// Shows all that there is.
    fn forward(&mut self) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::More;
        while let Some(event) = self.feed.poll_event() {
            // These are made here and not by the kernel programs, which count their own.
            let kind = filter::kind(&event.action);
            if matches!(kind, Kind::LATENCY | Kind::RESOURCES) {
                self.show.summary.kind(kind).seen += 1;
            }
            wanted = self.show.event(&self.stamp, &event)?;
            if wanted == Wanted::Enough {
                break;
            }
        }
        self.show.flush()?;
        Ok(wanted)
    }

    /// Detaches, shows what the ring still holds and what the core held back for a cause.
    fn finish(mut self) -> Result<(), Failure> {
        self.feed.finish()?;
        self.forward()?;
        self.show.summary.set_report(&self.feed.report());
        // Freed before the summary: nothing stays behind if standard error is stuck.
        drop(self.feed);
        self.show.finish(&self.stamp, clock::boot_ns())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_need_their_records() {
        let by_default: Vec<_> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::STALL).collect();
        assert_eq!(needed(&[]), by_default);
        let table = [Kind::FORK, Kind::EXEC, Kind::EXIT];
        assert_eq!(needed(&[Kind::EXEC]), [&table[..], &[Kind::CGROUP]].concat());
        assert_eq!(
            needed(&[Kind::EXIT]),
            [&table[..], &[Kind::SIGNAL, Kind::OOM, Kind::LISTEN, Kind::CGROUP]].concat()
        );
        assert_eq!(needed(&[Kind::LISTEN]), [&table[..], &[Kind::LISTEN, Kind::CGROUP]].concat());
        assert_eq!(needed(&[Kind::STALL]), [&table[..], &[Kind::CGROUP, Kind::STALL]].concat());
        assert_eq!(needed(&[Kind::LATENCY]), [&table[..], &[Kind::CGROUP]].concat());
    }
}
