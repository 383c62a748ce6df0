//! Sensor and core together: a stream of events.
//!
//! ```text
//!            readable                    drained something
//!   Armed ------------> drain and give ---------------------> Gathering (one interval)
//!     ^                      |                                     |
//!     +--- drained nothing --+<------------- interval over --------+
//! ```
//! While armed, the first record wakes the reader; the crowd behind it rides along, because while
//! it gathers nobody is armed and no program sends an interrupt. No timer runs while nothing
//! happens, and nothing here opens a file once the sensor is attached, unless records were lost: then
//! the process table is compared with the kernel's own, and programs whose exec was lost are read
//! from procfs.

use std::time::Duration;

use guard_common::wire::Kind;
use guard_core::event::Event;
use guard_core::process::Table;
use guard_core::{Core, Effect, Input, Limits};
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::sample::{Sampler, Sampling};
use crate::sensor::{Error, Latencies, Options, Report, Sensor};

/// How long a crowd of records gathers, unless the user asks otherwise.
pub const INTERVAL: Duration = Duration::from_millis(20);

/// Records drained at most in one turn: about 1 MiB of the ring.
const DRAIN_RECORDS: usize = 4096;

/// What the table keeps: twice the default `pid_max` of small machines, and those who ended within a second of a storm (4,000 a
/// second; 2 MiB).
pub const LIMITS: Limits = Limits { processes: 65_536, ended: 4_096, cgroups: 16_384 };

/// Events from this host's kernel, as they come.
pub struct Feed {
    sensor: Sensor,
    core: Core,
    interval: Duration,
    /// When the crowd has gathered; `None`: armed, waiting for the first record.
    gathered: Option<Instant>,
    /// What to do in the next turn.
    due: Due,
    /// When stuck threads are looked for, if stalls are wanted.
    stuck: Every,
    /// When it is told what watch groups waited, if that is wanted.
    latency: Every,
    sampling: Option<Sampling>,
    /// When the table is compared with the kernel's own list though nothing is known to be lost.
    sweep: Every,
}

/// How often stuck threads are looked for.
const STUCK_INTERVAL: Duration = Duration::from_secs(1);

/// What a turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The ring may hold records.
    Records,
    /// An exit has waited long enough for its cause.
    Verdict,
    /// An interval of the latency is over.
    Latency,
    /// Nothing: the core has been told already.
    Told,
}

impl Feed {
    /// Attaches the sensor and takes in what exists already. The first turn is due at once: the
    /// snapshot may have made events, and the ring filled since the programs are attached.
    ///
    /// # Errors
    /// If the sensor cannot be attached.
    pub fn attach(options: &Options, interval: Duration) -> Result<Self, Error> {
        let mut core = Core::new(LIMITS);
        let mut sensor = Sensor::attach(options)?;
        sensor.snapshot(&mut core);
        tracing::info!("attached");
        let stuck = Every::new(options.kinds.contains(&Kind::STALL).then_some(STUCK_INTERVAL));
        let latency = Every::new(options.latency.and_then(|latency| latency.interval));
        let (gathered, due) = (Some(Instant::now()), Due::Records);
        Ok(Self {
            sensor,
            core,
            interval,
            gathered,
            due,
            stuck,
            latency,
            sampling: None,
            sweep: Every::new(None),
        })
    }

    /// Waits until a turn is due. Costs nothing while nothing happens; dropping the future is safe.
    ///
    /// # Errors
    /// If the ring cannot be polled, or the kernel refuses to let threads be looked through.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let held = self.core.poll_timeout().map(instant);
        self.due = tokio::select! {
            biased;
            () = at(self.gathered) => Due::Records,
            readable = self.sensor.readable(), if self.gathered.is_none() => {
                readable?;
                Due::Records
            }
            () = at(held) => Due::Verdict,
            () = at(self.sampling.as_ref().map(Sampling::next)) => {
                if let Some(sampling) = &mut self.sampling {
                    sampling.tell(&mut self.core, |_| true)?;
                }
                Due::Told
            }
            () = at(self.sweep.next) => {
                self.sweep.is_over();
                self.core.handle(clock::boot_ns(), Input::Sweep);
                Due::Told
            }
            () = at(self.latency.next) => Due::Latency,
            () = at(self.stuck.next) => {
                self.stuck.is_over();
                self.sensor.look_for_stuck(&mut self.core)?;
                Due::Told
            }
        };
        Ok(())
    }

    /// Takes in what [`Feed::ready`] found; [`Feed::poll_event`] then gives the events.
    pub fn turn(&mut self) {
        match self.due {
            Due::Records => {}
            Due::Verdict => return self.core.handle_timeout(clock::boot_ns()),
            Due::Latency => {
                self.latency.is_over();
                return self.sensor.tell_latency(&mut self.core);
            }
            Due::Told => return,
        }
        self.gathered = match self.sensor.drain(DRAIN_RECORDS, &mut self.core) {
            // Behind an unfinished record.
            0 if self.sensor.is_unsettled() => Some(Instant::now() + self.interval),
            0 => None,
            DRAIN_RECORDS.. => Some(Instant::now()),
            _ => Some(Instant::now() + self.interval),
        };
    }

    /// The next event, oldest first; `None` until the next turn.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            match self.core.poll_effect()? {
                Effect::Emit(event) => return Some(event),
                Effect::Resync { cgroups } => {
                    self.sensor.resync(cgroups, &mut self.core);
                    if self.sensor.is_unsettled() {
                        self.gathered = self.gathered.or(Some(Instant::now()));
                    }
                }
                Effect::ReadProgram { id, exec_count } => {
                    self.sensor.read_program(id, exec_count, &mut self.core);
                }
            }
        }
    }

    /// Detaches, and takes in what the ring still holds and what the core held back for a cause.
    ///
    /// # Errors
    /// If a program cannot be detached.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.sensor.finish(&mut self.core)?;
        if self.latency.interval.is_some() {
            self.sensor.tell_latency(&mut self.core);
        }
        self.core.handle_timeout(u64::MAX);
        Ok(())
    }

    /// From now on, the table is compared at this interval with the kernel's own list, though nothing is known to be
    /// lost; what differed is an event.
    pub fn sweep_every(&mut self, interval: Duration) {
        self.sweep = Every::new(Some(interval));
    }

    /// From now on, events tell at this interval what each observed process uses, and each control group that one of
    /// them is in. Needs [`Options::samples`]; without, there are none.
    ///
    /// # Errors
    /// If the mounted control group hierarchies cannot be read.
    pub fn sample_every(&mut self, interval: Duration) -> Result<(), Error> {
        if let Some(sampler) = self.sensor.sampler() {
            self.sampling = Some(Sampling::new(sampler, interval)?);
        }
        Ok(())
    }

    /// What reads the resources of the observed processes: see [`Sensor::sampler`].
    pub fn sampler(&mut self) -> Option<Sampler> {
        self.sensor.sampler()
    }

    /// The sensor's counters so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.sensor.report()
    }

    /// What watched processes wait; `None` if the options did not ask for it.
    #[must_use]
    pub fn latency(&self) -> Option<&Latencies> {
        self.sensor.latency()
    }

    /// The same, to let processes leave their groups.
    pub fn latency_mut(&mut self) -> Option<&mut Latencies> {
        self.sensor.latency_mut()
    }

    /// The process table as of the last turn.
    #[must_use]
    pub fn processes(&self) -> &Table {
        self.core.processes()
    }
}

/// Something to do at intervals, or never.
#[derive(Clone, Copy, Debug)]
struct Every {
    interval: Option<Duration>,
    next: Option<Instant>,
}

impl Every {
    fn new(interval: Option<Duration>) -> Self {
        Self { interval, next: interval.map(|interval| Instant::now() + interval) }
    }

    /// An interval is over. Those that were slept through are left out.
    fn is_over(&mut self) {
        let next = self.next.zip(self.interval).map(|(next, interval)| next + interval);
        self.next = next.map(|next| next.max(Instant::now()));
    }
}

/// The runtime's instant of a time since boot.
#[must_use]
pub fn instant(at_ns: u64) -> Instant {
    Instant::now() + Duration::from_nanos(at_ns.saturating_sub(clock::boot_ns()))
}

/// Waits until then; for ever without a time.
pub async fn at(instant: Option<Instant>) {
    match instant {
        // The runtime's timers go by the millisecond: they would wait for the next one.
        Some(instant) if instant <= Instant::now() => {}
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
