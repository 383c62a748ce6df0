//! The live trace: one thread, one loop, no timer while nothing happens.
//!
//! ```text
//!            readable                    drained something
//!   Armed ------------> drain and show ---------------------> Gathering (one interval)
//!     ^                      |                                     |
//!     +--- drained nothing --+<------------- interval over --------+
//! ```
//! While armed, the first record wakes the loop; the crowd behind it rides along, because while
//! the loop gathers nobody is armed and no program sends an interrupt.
//!
//! Nothing here opens a file once the loop runs.

use std::time::Duration;

use guard_common::wire::Kind;
use guard_core::{Core, Effect, Limits};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::{Show, Wanted, quiet_if_closed};
use crate::clock::{self, Stamp};
use crate::exit::Failure;
use crate::sensor::{Options, Sensor};
use crate::stop::Stop;

/// Records drained at most before their lines are written: about 1 MiB of the ring.
const DRAIN_RECORDS: usize = 4096;

/// Processes that the table keeps: twice the default `pid_max` of small machines.
const PROCESSES: usize = 65_536;

/// Control groups that the table keeps.
const CGROUPS: usize = 16_384;

/// What a live trace needs to know beside what is shown.
#[derive(Clone, Debug)]
pub struct Live {
    /// What the sensor observes.
    pub sensor: Options,
    /// How long a crowd of records gathers.
    pub interval: Duration,
    /// When the trace ends by itself.
    pub duration: Option<Duration>,
}

/// The kinds of records that the sensor must make so that these kinds of events can be shown.
///
/// The table lives on forks, execs and exits; a death is explained by the signals and the OOM
/// victims before it.
#[must_use]
pub fn needed(shown: &[Kind]) -> Vec<Kind> {
    let wanted = |kind: Kind| {
        let shown = |kind: Kind| shown.is_empty() || shown.contains(&kind);
        match kind {
            Kind::FORK | Kind::EXEC | Kind::EXIT | Kind::CGROUP => true,
            Kind::SIGNAL | Kind::OOM => shown(kind) || shown(Kind::EXIT),
            kind => shown(kind),
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
    let stop = Stop::install().map_err(|source| Failure::System { action: "handle signals", source })?;
    // SAFETY: `Stop` owns its descriptor, and keeps it until it is dropped with the `AsyncFd`.
    let stop = unsafe { AsyncFd::register_with_interest(stop, Interest::READABLE) }
        .map_err(|refused| Failure::System { action: "wait for signals", source: refused.into() })?;
    let stamp = Stamp { boot, utc_offset_ns: clock::utc_offset_ns() };
    let core = Core::new(Limits { processes: PROCESSES, cgroups: CGROUPS });
    let mut trace = Trace { sensor: Sensor::attach(&live.sensor)?, core, stamp, show };
    trace.sensor.snapshot(&mut trace.core);
    tracing::info!("attached");
    trace.until_stopped(live, &stop).await?;
    trace.finish()
}

struct Trace {
    sensor: Sensor,
    core: Core,
    stamp: Stamp,
    show: Show,
}

impl Trace {
    async fn until_stopped(&mut self, live: &Live, stop: &AsyncFd<Stop>) -> Result<(), Failure> {
        let end = live.duration.map(|duration| Instant::now() + duration);
        // `None`: armed, waiting for the first record.
        let mut gathered: Option<Instant> = None;
        // The snapshot may have made events, and the ring filled since the programs are attached.
        let mut due = true;
        loop {
            if due {
                let (records, wanted) = self.turn()?;
                if wanted == Wanted::Enough {
                    return Ok(());
                }
                gathered = match records {
                    0 => None,
                    DRAIN_RECORDS.. => Some(Instant::now()),
                    _ => Some(Instant::now() + live.interval),
                };
            }
            let held = self.core.poll_timeout().map(|at_ns| Instant::now() + until(at_ns));
            tokio::select! {
                biased;
                _ = stop.readable() => return Ok(()),
                () = at(end) => return Ok(()),
                () = at(gathered) => due = true,
                readable = self.sensor.readable(), if gathered.is_none() => {
                    readable?;
                    due = true;
                }
                () = at(held) => {
                    self.core.handle_timeout(clock::boot_ns());
                    if self.forward()? == Wanted::Enough {
                        return Ok(());
                    }
                    due = false;
                }
            }
        }
    }

    /// Drains a batch and shows what comes of it. Returns how many records there were.
    fn turn(&mut self) -> Result<(usize, Wanted), Failure> {
        let records = self.sensor.drain(DRAIN_RECORDS, &mut self.core);
        self.stamp.utc_offset_ns = clock::utc_offset_ns();
        Ok((records, self.forward()?))
    }

    /// Shows all that the core has to say.
    fn forward(&mut self) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::More;
        while let Some(effect) = self.core.poll_effect() {
            let Effect::Emit(event) = effect;
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
        self.sensor.finish(&mut self.core)?;
        self.core.handle_timeout(u64::MAX);
        self.forward()?;
        self.show.summary.set_report(&self.sensor.report());
        // Freed before the summary: nothing stays behind if standard error is stuck.
        drop(self.sensor);
        self.show.finish(&self.stamp, clock::boot_ns())?;
        Ok(())
    }
}

/// From now until a time since boot.
fn until(at_ns: u64) -> Duration {
    Duration::from_nanos(at_ns.saturating_sub(clock::boot_ns()))
}

/// Waits until then; for ever without a time.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_need_their_records() {
        assert_eq!(needed(&[]), Kind::ALL);
        let table = [Kind::FORK, Kind::EXEC, Kind::EXIT];
        assert_eq!(needed(&[Kind::EXEC]), [&table[..], &[Kind::CGROUP]].concat());
        assert_eq!(needed(&[Kind::EXIT]), [&table[..], &[Kind::SIGNAL, Kind::OOM, Kind::CGROUP]].concat());
        assert_eq!(needed(&[Kind::LISTEN]), [&table[..], &[Kind::LISTEN, Kind::CGROUP]].concat());
    }
}
