//! The live trace: one thread, one loop; see [`crate::feed`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guard_common::wire::Kind;
use guard_core::event::{Action, Event};
use guard_core::process::Table;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::{Show, Wanted, quiet_if_closed};
use crate::clock::{self, Stamp};
use crate::exit::Failure;
use crate::feed::{Feed, at};
use crate::filter;
use crate::sensor::Options;
use crate::show::json::JsonWriter;
use crate::stop::Stop;
use crate::subscription::Subscription;

/// How long a holder may take to answer that nobody asked for by name.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

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
    /// Where the living are written at the end, if the programs are our own.
    pub table: Option<PathBuf>,
    /// Where the events come from.
    pub source: Source,
}

/// Where the events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Kernel programs of our own.
    Own,
    /// Whoever holds the pinned sensor, by its socket.
    Shared(PathBuf),
    /// The holder, if there is one.
    Auto(PathBuf),
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
    let mut show = show;
    let shared = tokio::select! {
        biased;
        // A holder that is stopped does not keep us.
        _ = stop.readable() => return Ok(()),
        shared = subscribe(&live.source) => shared?,
    };
    let events = if let Some(shared) = shared {
        tracing::info!("subscribed");
        show.begin_with(shared.processes())?;
        Events::Shared(Box::new(shared))
    } else {
        show.filter.trust_kernel();
        let mut feed = Feed::attach(&live.sensor, live.interval)?;
        feed.sample_every(live.sample_interval)?;
        Events::Own(Box::new(feed))
    };
    let mut trace = Trace { events, stamp, show };
    match trace.until_stopped(live, &stop).await {
        // What waited for more evidence is shown before the complaint.
        Err(ended @ Failure::Subscription(_)) => {
            trace.finish(None).await?;
            Err(ended)
        }
        ended => {
            ended?;
            trace.finish(live.table.as_deref()).await
        }
    }
}

/// The subscription that the source asks for, if any.
async fn subscribe(source: &Source) -> Result<Option<Subscription>, Failure> {
    match source {
        Source::Own => Ok(None),
        Source::Shared(socket) => Ok(Some(Subscription::connect(socket).await?)),
        // Whatever is wrong with it: our own programs can do the same.
        Source::Auto(socket) => Ok(tokio::time::timeout(ANSWERS_WITHIN, Subscription::connect(socket))
            .await
            .ok()
            .and_then(Result::ok)),
    }
}

/// A source at work.
enum Events {
    Own(Box<Feed>),
    Shared(Box<Subscription>),
}

impl Events {
    async fn ready(&mut self) -> Result<(), Failure> {
        match self {
            Self::Own(feed) => Ok(feed.ready().await?),
            Self::Shared(subscription) => Ok(subscription.ready().await?),
        }
    }

    fn turn(&mut self) -> Result<(), Failure> {
        match self {
            Self::Own(feed) => feed.turn(),
            Self::Shared(subscription) => subscription.turn()?,
        }
        Ok(())
    }

    /// The next event, and the clocks of its time: `stamp` if it is from now.
    fn poll(&mut self, stamp: &Stamp) -> Option<(Stamp, Event)> {
        match self {
            Self::Own(feed) => feed.poll_event().map(|event| (*stamp, event)),
            Self::Shared(subscription) => subscription.poll_event(),
        }
    }

    /// Ends the stream: detaches, and releases what was held back for a cause.
    async fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::Own(feed) => feed.finish()?,
            Self::Shared(subscription) => subscription.finish().await?,
        }
        Ok(())
    }
}

struct Trace {
    events: Events,
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
                ready = self.events.ready() => ready?,
            }
            self.events.turn()?;
            self.stamp.utc_offset_ns = clock::utc_offset_ns();
            if self.forward()? == Wanted::Enough {
                return Ok(());
            }
        }
    }

    /// Shows all that there is.
    fn forward(&mut self) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::More;
        while let Some((stamp, event)) = self.events.poll(&self.stamp) {
            self.count(&event);
            wanted = self.show.event(&stamp, &event)?;
            if wanted == Wanted::Enough {
                break;
            }
        }
        self.show.flush()?;
        Ok(wanted)
    }

    /// Counts what the account at the end does not.
    fn count(&mut self, event: &Event) {
        match &event.action {
            // A subscription's account is what its gaps say.
            Action::Gap(gap) if matches!(self.events, Events::Shared(_)) => self.show.summary.add_gap(gap),
            action => {
                // These are made here and not by the kernel programs, which count their own.
                let kind = filter::kind(action);
                if matches!(kind, Kind::LATENCY | Kind::RESOURCES) {
                    self.show.summary.kind(kind).seen += 1;
                }
            }
        }
    }

    /// Ends the stream, and shows what is left of it.
    async fn finish(mut self, table: Option<&Path>) -> Result<(), Failure> {
        self.events.finish().await?;
        self.forward()?;
        if let (Some(path), Events::Own(feed)) = (table, &self.events) {
            write_table(path, feed.processes(), self.stamp)?;
        }
        match &self.events {
            Events::Own(feed) => self.show.summary.set_report(&feed.report()),
            Events::Shared(subscription) => self.show.summary.set_played(subscription.player()),
        }
        // Freed before the summary: nothing stays behind if standard error is stuck.
        drop(self.events);
        self.show.finish(&self.stamp, clock::boot_ns())?;
        Ok(())
    }
}

/// Writes a line for each living process.
fn write_table(path: &Path, table: &Table, stamp: Stamp) -> Result<(), Failure> {
    let mut writer = JsonWriter::new(stamp);
    let mut lines = Vec::new();
    let now_ns = clock::boot_ns();
    for process in table.living() {
        writer.living(&mut lines, &stamp, now_ns, process);
    }
    fs::write(path, lines).map_err(|source| Failure::System { action: "write the process table", source })
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
