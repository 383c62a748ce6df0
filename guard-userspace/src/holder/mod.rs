//! The one process that reads a pinned sensor's ring, puts the records down and serves them to others.
//!
//! ```text
//!   ring -> batch of frames -> file (written) -> room in the ring given back -> subscribers
//!             |                                                                   full: dropped, counted
//!             +-> core: the table that a new file or a new subscriber begins with
//! ```
//! Killed between "written" and "given back", the next holder finds in the file up to where it is whole, and
//! goes on in the ring from there: no record twice, none missing.

mod handover;
mod socket;
mod stream;
mod subscribers;
mod table;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use guard_common::wire::{self, Kind, ProcKey};
use guard_core::event::{Event, ExitStatus, Gap, Lost, Process};
use guard_core::ids::ProcId;
use guard_core::{Core, Input};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::clock;
use crate::exit::Failure;
use crate::feed;
use crate::recording::frame::{Frame, Start};
use crate::recording::writer::{self, Rotation, Writer};
use crate::redact::Redactor;
use crate::sensor::pinned::Pinned;
use crate::sensor::pins::Pins;
use crate::sensor::{self, Options};
use handover::Doubles;
pub(crate) use socket::listen;
pub use socket::{Listener, SOCKET};
use stream::Unwritten;
use subscribers::Subscribers;

/// Bytes of frames put down at once, at most, besides the last record.
const BATCH_BYTES: usize = 1024 * 1024;

/// How the holder works.
#[derive(Debug)]
pub struct Settings {
    /// Where the sensor is pinned.
    pub pins: PathBuf,
    /// Where others subscribe.
    pub socket: PathBuf,
    /// Where records are put down.
    pub directory: PathBuf,
    /// How large files become, and how many there are.
    pub rotation: Rotation,
    /// How a sensor is attached, if there is none yet.
    pub sensor: Options,
    /// Whether the ring's size was asked for: then a pinned ring of another size is an error.
    pub ring_size_matters: bool,
    /// Processes whose descendants are watched: how they end is remembered by the kernel.
    pub watched: Vec<u32>,
    /// What is taken out of arguments.
    pub redactor: Redactor,
    /// How long a crowd of records gathers.
    pub interval: Duration,
    /// How often the table is compared with the kernel's own list though nothing is known to be lost.
    pub sweep: Duration,
    /// Who else wants the events.
    pub audience: Audience,
}

/// Who wants the events besides the recording and the subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody.
    None,
    /// Whoever runs the holder, by [`Holder::poll_event`], and who says of which ends the kernel need not remember the status any more.
    Owner,
}

/// Why a turn is due.
#[derive(Debug)]
pub enum Due {
    /// The ring may hold records, or what was held back is to be told.
    Records,
    /// The table is to be compared.
    Sweep,
    /// Somebody subscribes.
    Subscriber(UnixStream),
    /// A subscriber wants no more than what happened until now.
    Leaving(u64),
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Records put down.
    pub records: u64,
    /// Records lost since the sensor was attached, by kind, cause and CPU.
    pub losses: Vec<Lost>,
}

/// The holder at work.
pub struct Holder {
    sensor: Pinned,
    core: Core,
    writer: Writer,
    subscribers: Subscribers,
    redactor: Redactor,
    start: Start,
    watching: bool,
    /// Losses that the stream tells.
    told: Vec<Lost>,
    /// When the kernel was last asked for runs that it skipped; `None`: it is to be asked.
    asked_for_recursion: Option<Instant>,
    /// The turn's time.
    now_ns: u64,
    batch: Vec<u8>,
    /// The batch is not put down yet.
    is_open: bool,
    counts: [u64; Kind::COUNT],
    /// Ends of processes in the batch, whose status need not be remembered once it is put down.
    ended: Vec<ProcKey>,
    /// The kernel's list was read when the ring was filled up to here; not all of that is taken in yet.
    unsettled: Option<u64>,
    records: u64,
    /// Sensors of other versions that this one is taking over from.
    doubles: Vec<Doubles>,
    audience: Audience,
    /// For the owner.
    events: VecDeque<Event>,
    interval: Duration,
    sweep: Duration,
    /// When the crowd has gathered; `None`: the first record is waited for.
    gathered: Option<Instant>,
    /// Nothing is recorded: that failed.
    unwritten: Option<Unwritten>,
    next_sweep: Instant,
    /// Last: nobody may take the sensor before all else is closed.
    _pins: Pins,
}

impl Holder {
    /// Takes the sensor up where it is, or attaches it; opens the recording, and goes on behind what it
    /// holds.
    ///
    /// # Errors
    /// If somebody else holds the sensor, it cannot be attached, or the directory cannot be written.
    pub fn open(settings: Settings) -> Result<(Self, Listener), Failure> {
        let boot =
            clock::boot_id().map_err(|source| Failure::System { action: "read the boot id", source })?;
        sensor::probe::require_privileges()?;
        sensor::probe::require_host_pids()?;
        let pins = Pins::lock(&settings.pins).map_err(sensor::Error::from)?;
        // Before anything is attached: whoever is refused here leaves nothing behind.
        let listener = Listener::bind(&settings.socket)?;
        let goes_on = |resume: &writer::Resume| resume.start.boot == boot;
        let (mut writer, resume) = Writer::open(&settings.directory, settings.rotation, goes_on)?;
        for pid in &settings.watched {
            if !Path::new("/proc").join(pid.to_string()).exists() {
                return Err(sensor::Error::NoProcess(*pid).into());
            }
        }
        let mut sensor = Pinned::open_or_create(&pins, &settings.sensor)?;
        if settings.ring_size_matters && sensor.ring_bytes() != settings.sensor.ring_bytes {
            return Err(Failure::Usage(format!(
                "the pinned sensor has a ring of {} bytes; leave --ring-size out, or run `processguard sensor detach` first",
                sensor.ring_bytes()
            )));
        }
        let start = Start {
            boot,
            instance: sensor.instance(),
            wire: wire::VERSION,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            processguard: env!("CARGO_PKG_VERSION").to_owned(),
            continues: None,
        };
        let others = handover::others(&pins, &sensor)?;
        let resume = resume.filter(|resume| resume.start.boot == boot);
        let at = resume.as_ref().map(|resume| resume.start.instance);
        let mut told = Vec::new();
        let mut misses = false;
        match &resume {
            Some(resume) if at == Some(start.instance) => {
                // A recording elsewhere went on with it meanwhile.
                misses = resume.position < sensor.position();
                sensor.skip_to(resume.position);
                // Until an older sensor is removed its doubles must be found again.
                if others.is_empty() {
                    sensor.release();
                }
                told.clone_from(&resume.losses);
            }
            _ if others.iter().any(|other| at == Some(other.instance())) => {}
            _ => writer.finish_file(),
        }
        if settings.audience == Audience::None {
            for key in resume.iter().flat_map(|resume| &resume.ended) {
                sensor.forget(*key);
            }
        }
        let found = sensor.processes()?;
        sensor.follow(&settings.watched, &found)?;
        let core = table::existing(&sensor, &found, &settings.redactor)?;
        let mut holder = Self {
            watching: false,
            sensor,
            core,
            writer,
            subscribers: Subscribers::default(),
            redactor: settings.redactor,
            start,
            told,
            asked_for_recursion: None,
            now_ns: clock::boot_ns(),
            batch: Vec::with_capacity(BATCH_BYTES),
            is_open: false,
            counts: [0; Kind::COUNT],
            ended: Vec::new(),
            unsettled: None,
            records: 0,
            doubles: Vec::new(),
            audience: settings.audience,
            events: VecDeque::new(),
            interval: settings.interval,
            sweep: settings.sweep,
            gathered: Some(Instant::now()),
            unwritten: None,
            next_sweep: Instant::now() + settings.sweep,
            _pins: pins,
        };
        let chain: Vec<_> = others.iter().chain([&holder.sensor]).map(Pinned::instance).collect();
        for other in others {
            holder.sensor.inherit(&other, &found);
            holder.take_over(other, &chain, resume.as_ref())?;
        }
        holder.watching = holder.sensor.watches(&found);
        if misses {
            holder.begin_turn()?;
            // Nobody counted what.
            let lost = Vec::new();
            holder.put(&Frame::Dropped(lost.clone()), Input::Gap(Gap { lost }));
            holder.end_turn()?;
        }
        Ok((holder, listener))
    }

    /// What it holds.
    #[must_use]
    pub const fn sensor(&self) -> &Pinned {
        &self.sensor
    }

    /// Holds until `stop` is ready.
    ///
    /// # Errors
    /// If records cannot be read or put down.
    pub async fn run(
        mut self,
        listener: Listener,
        stop: impl Future<Output = ()>,
    ) -> Result<Account, Failure> {
        tokio::pin!(stop);
        loop {
            let due = tokio::select! {
                biased;
                () = &mut stop => break,
                due = self.ready(&listener) => due?,
            };
            self.step(due)?;
            self.put_down()?;
        }
        self.finish().await
    }

    /// Waits until there is something to do. Costs nothing while nothing happens; dropping the future is safe.
    ///
    /// # Errors
    /// If the ring cannot be polled.
    pub async fn ready(&mut self, listener: &Listener) -> Result<Due, Failure> {
        let held = self.core.poll_timeout().map(feed::instant);
        Ok(tokio::select! {
            biased;
            () = feed::at(self.gathered) => Due::Records,
            () = feed::at(held) => Due::Records,
            () = feed::at(Some(self.next_sweep)) => Due::Sweep,
            subscriber = listener.accept() => Due::Subscriber(subscriber),
            number = self.subscribers.leaving() => Due::Leaving(number),
            readable = self.sensor.readable(self.gathered.is_some()) => {
                readable?;
                Due::Records
            }
        })
    }

    /// Does what [`Holder::ready`] found; what it brought is put down by [`Holder::put_down`].
    ///
    /// # Errors
    /// If records cannot be read or put down.
    pub fn step(&mut self, due: Due) -> Result<(), Failure> {
        match due {
            Due::Records => self.look()?,
            Due::Sweep => {
                self.next_sweep += self.sweep;
                self.compare()?;
            }
            Due::Subscriber(subscriber) => {
                // The table that it begins with knows whoever was there when it knocked.
                self.take_in()?;
                let head = self.head();
                self.subscribers.add(subscriber, head);
                self.gathered = Some(Instant::now() + self.interval);
            }
            Due::Leaving(number) => {
                self.take_in()?;
                self.subscribers.remove(number);
                self.gathered = Some(Instant::now() + self.interval);
            }
        }
        Ok(())
    }

    /// Takes in what the ring holds, without waiting for the crowd to gather.
    ///
    /// # Errors
    /// If records cannot be read or put down.
    pub fn take_in(&mut self) -> Result<(), Failure> {
        self.look()?;
        self.put_down()
    }

    /// The same, and what it brought is put down later: by [`Holder::put_down`], or with what comes next. Until then the ring keeps it.
    ///
    /// # Errors
    /// If records cannot be read, or those before them cannot be put down.
    pub fn look(&mut self) -> Result<(), Failure> {
        self.gathered = self.turn()?.then(|| Instant::now() + self.interval);
        Ok(())
    }

    /// Puts down what a look has brought, and hands it on.
    ///
    /// # Errors
    /// If it cannot be put down.
    pub fn put_down(&mut self) -> Result<(), Failure> {
        if self.is_open { self.end_turn() } else { Ok(()) }
    }

    /// Whether there is more to take in. Looks into memory that is shared with the kernel, without a system call.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.sensor.taken() > self.sensor.position()
    }

    /// Has the table compared with the kernel's own list.
    ///
    /// # Errors
    /// If records cannot be put down.
    pub fn compare(&mut self) -> Result<(), Failure> {
        self.begin_turn()?;
        self.put(&Frame::Sweep, Input::Sweep);
        self.end_turn()?;
        self.gathered = Some(Instant::now());
        Ok(())
    }

    /// Tells the core what is in no record: samples. What follows from it is among the events.
    ///
    /// # Errors
    /// If records cannot be put down.
    pub fn tell<T>(&mut self, what: impl FnOnce(&mut Core) -> T) -> Result<T, Failure> {
        self.begin_turn()?;
        let told = what(&mut self.core);
        self.end_turn()?;
        Ok(told)
    }

    /// The next event, oldest first, if the owner is the audience; `None` until the next step.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether [`Holder::poll_event`] has one.
    #[must_use]
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// What is known of the host.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// Who has a pid now, by the kernel's own list: of whom no record tells. All of that list is read.
    ///
    /// # Errors
    /// If the kernel's list cannot be read.
    pub fn listed(&self, pid: u32) -> Result<Option<Arc<Process>>, sensor::Error> {
        let mut found = self.sensor.processes()?;
        found.retain(|snapshot| snapshot.task.key.tgid == pid);
        let core = table::existing(&self.sensor, &found, &self.redactor)?;
        Ok(core.processes().current(pid).cloned())
    }

    /// Whose end the kernel need not remember any more: its owner has put it down.
    pub fn forget(&mut self, id: ProcId) {
        self.sensor.forget(ProcKey { start_ns: id.start_ns, tgid: id.pid, tid: 0 });
    }

    /// How a watched process ended, if the kernel remembers it: when, and its status.
    #[must_use]
    pub fn tombstone(&self, id: ProcId) -> Option<(u64, ExitStatus)> {
        self.sensor.tombstone(id).map(|tomb| (tomb.time_ns, ExitStatus::from_wait(tomb.status as u32)))
    }

    /// Records read so far, by kind, are told to the owner by the events; these are the losses since the sensor was attached.
    #[must_use]
    pub fn losses(&self) -> &[Lost] {
        &self.told
    }

    /// Puts down what is there; what comes later stays in the ring for the next holder.
    ///
    /// # Errors
    /// If records cannot be read or put down.
    pub async fn finish(mut self) -> Result<Account, Failure> {
        self.asked_for_recursion = None;
        self.take_in()?;
        self.subscribers.close().await;
        Ok(Account { records: self.records, losses: self.sensor.losses() })
    }
}
