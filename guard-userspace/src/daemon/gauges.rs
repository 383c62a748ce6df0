//! What services use and wait for: a second sensor, for them alone, that ends with the daemon.
//!
//! The pinned sensor sees every process and has no scheduler hooks. This one follows the daemon's descendants and whom it is told,
//! each instance in a watch group of its own, as far as there are groups: then they share the first.

use std::collections::HashMap;
use std::time::Duration;

use guard_common::limits::WATCH_GROUPS;
use guard_common::wire::Kind;
use guard_core::Core;
use guard_core::event::{Action, Event, Process};
use guard_core::ids::ProcId;
use guard_core::latency::{GroupLatency, Latency as Waits};
use guard_core::supervise::{Subject, Supervisor};
use tokio::time::Instant;

use crate::feed;
use crate::sample::Sampling;
use crate::sensor::{Error, Latency, Options, Sensor, Watch};

/// Stalls are rare, and each is 200 bytes.
const RING_BYTES: u32 = 64 * 1024;

/// Stalls read in one turn.
const STALLS: usize = 256;

/// How often it is told what instances waited, and stuck threads are looked for: each sleeping thread costs three system calls.
const WAITS_EVERY: Duration = Duration::from_secs(5);
const STUCK_EVERY: Duration = Duration::from_secs(5);

/// The group of the daemon, of what it runs besides services, and of instances for which there is none left.
const SHARED: u16 = 1;

/// Why something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The next sample.
    Sample,
    /// Stalls lie in the ring.
    Stalls,
    /// Stuck threads are to be looked for.
    Stuck,
    /// What was waited is to be told.
    Waits,
}

/// An instance's group.
#[derive(Debug)]
struct Group {
    number: u16,
    main: ProcId,
    told: GroupLatency,
    told_ns: u64,
}

/// The gauges at work. Dropping them detaches.
pub struct Gauges {
    sensor: Sensor,
    sampling: Option<Sampling>,
    groups: HashMap<Subject, Group>,
    free: Vec<u16>,
    stuck: Instant,
    waits: Instant,
}

impl Gauges {
    /// Attaches; `interval` is that of samples.
    ///
    /// # Errors
    /// If the programs cannot be attached.
    pub fn attach(interval: Duration) -> Result<Self, Error> {
        let options = Options {
            kinds: vec![Kind::STALL],
            watch: Watch::Trees(vec![std::process::id()]),
            samples: true,
            latency: Some(Latency::new(WATCH_GROUPS as u16)),
            ring_bytes: RING_BYTES,
            ..Options::default()
        };
        let mut sensor = Sensor::attach(&options)?;
        let sampling = sensor.sampler().map(|sampler| Sampling::new(sampler, interval)).transpose()?;
        let free = (SHARED + 1..WATCH_GROUPS as u16).rev().collect();
        let now = Instant::now();
        Ok(Self {
            sensor,
            sampling,
            groups: HashMap::new(),
            free,
            stuck: now + STUCK_EVERY,
            waits: now + WAITS_EVERY,
        })
    }

    /// Waits until something is due. Dropping the future is safe.
    ///
    /// # Errors
    /// If the ring cannot be polled.
    pub async fn ready(&mut self) -> Result<Due, Error> {
        Ok(tokio::select! {
            biased;
            () = feed::at(self.sampling.as_ref().map(Sampling::next)) => Due::Sample,
            () = feed::at(Some(self.stuck)) => Due::Stuck,
            () = feed::at(Some(self.waits)) => Due::Waits,
            readable = self.sensor.readable() => readable.map(|()| Due::Stalls)?,
        })
    }

    /// Tells the core what is due; events of waits, which it does not know, are given. `supervisor`: who says which control groups
    /// are to be read.
    ///
    /// # Errors
    /// If the kernel refuses to be read.
    pub fn step(
        &mut self,
        due: Due,
        now_ns: u64,
        core: &mut Core,
        supervisor: &Supervisor,
    ) -> Result<Vec<Event>, Error> {
        match due {
            Due::Sample => {
                if let Some(sampling) = &mut self.sampling {
                    sampling.tell(core, |path| supervisor.measures_group(path))?;
                }
            }
            Due::Stalls => {
                self.sensor.drain(STALLS, core);
            }
            Due::Stuck => {
                self.stuck = Instant::now() + STUCK_EVERY;
                self.sensor.look_for_stuck(core)?;
            }
            Due::Waits => {
                self.waits = Instant::now() + WAITS_EVERY;
                return Ok(self.waits(now_ns));
            }
        }
        Ok(vec![])
    }

    /// Watches an instance: its main process, and what descends from it already.
    pub fn watch(&mut self, now_ns: u64, subject: &Subject, main: ProcId, below: &[u32]) {
        let Some(latencies) = self.sensor.latency() else { return };
        let number = self.groups.get(subject).map(|group| group.number).or_else(|| self.free.pop());
        let number = number.unwrap_or(SHARED);
        latencies.join(main.pid, number);
        below.iter().for_each(|pid| latencies.join(*pid, number));
        if number != SHARED {
            let told = latencies.read(number);
            self.groups.insert(subject.clone(), Group { number, main, told, told_ns: now_ns });
        }
    }

    /// An instance is gone for good: its group is another's from now on.
    pub fn leave(&mut self, subject: &Subject) {
        self.free.extend(self.groups.remove(subject).map(|group| group.number));
    }

    /// What the instances of each service waited for a CPU: number of waits by power of two of microseconds.
    #[must_use]
    pub fn run_queue(&self) -> Vec<(String, Vec<u64>)> {
        let mut services: HashMap<&str, GroupLatency> = HashMap::new();
        let Some(latencies) = self.sensor.latency() else { return vec![] };
        for (subject, group) in &self.groups {
            services.entry(&subject.service).or_default().add(&latencies.read(group.number));
        }
        let of =
            |(service, waits): (&str, GroupLatency)| (service.to_owned(), waits.run_queue.buckets.to_vec());
        services.into_iter().map(of).collect()
    }

    fn waits(&mut self, now_ns: u64) -> Vec<Event> {
        let Some(latencies) = self.sensor.latency() else { return vec![] };
        let events = self.groups.values_mut().filter_map(|group| {
            let all = latencies.read(group.number);
            let waits = all.since(&group.told);
            let interval_ns = now_ns.saturating_sub(group.told_ns);
            (group.told, group.told_ns) = (all, now_ns);
            if waits.is_empty() {
                return None;
            }
            let process = Process { id: group.main, ..Process::default() }.into();
            let latency = Box::new(Waits { group: group.number, interval_ns, waits });
            Some(Event { time_ns: now_ns, cpu: 0, sequence: 0, action: Action::Latency { process, latency } })
        });
        events.collect()
    }
}
