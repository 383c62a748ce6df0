//! The daemon at work: one task, one loop, one owner of all that decides.
//!
//! ```text
//! next()    what came: the end of a main process, records, a deed that is done, an answer, a request, a sample, the time
//! take()    it is told to whom it concerns
//! settle()  events -> Supervisor, Incidents -> effects; what changed and what is intended is put down; then it is done
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use guard_core::event::{Action, Event, Process};
use guard_core::ids::ProcId;
use guard_core::incident::{Change, Incidents};
use guard_core::supervise::{Effect, Input, Notice, Plan, Question, Subject, Supervisor, What};
use guard_core::{Input as Told, resources};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::alerts::Alerts;
use super::deeds::Landed;
use super::door::Request;
use super::flags::Flags;
use super::gauges::{self, Gauges};
use super::generations::Generations;
use super::hands::Hands;
use super::hands::exits::{Ended, Exits};
use super::hands::notify::Notices;
use super::hands::rooms::Room;
use super::lives::Lives;
use super::probes::{Answered, Probes};
use super::settings::Settings;
use super::state::State;
use super::tally::{self, Tally};
use super::told::Teller;
use crate::clock;
use crate::exit::Failure;
use crate::feed;
use crate::holder::{self, Holder, Listener};

/// How long the record of an end may come after the process can be waited for: they are microseconds apart, unless it was lost.
const RECORD_WITHIN: Duration = Duration::from_millis(100);

/// How long nothing must have happened before that is done which can wait: spare rooms, tidying.
const QUIET: Duration = Duration::from_millis(50);

/// All that the daemon is.
pub(super) struct Daemon {
    pub(super) settings: Settings,
    pub(super) holder: Holder,
    pub(super) gauges: Gauges,
    pub(super) supervisor: Supervisor,
    pub(super) incidents: Incidents,
    pub(super) generations: Generations,
    pub(super) flags: Flags,
    pub(super) hands: Hands,
    pub(super) exits: Exits,
    pub(super) lives: Lives,
    pub(super) probes: Probes,
    pub(super) alerts: Alerts,
    pub(super) state: State,
    /// Deeds that take their time.
    pub(super) deeds: JoinSet<Landed>,
    pub(super) teller: Teller,
    pub(super) tally: Tally,
    /// Questions under way: whose they are, and for which check.
    pub(super) asked: HashMap<u64, (Subject, Option<Arc<str>>)>,
    /// Our own children as the kernel told their birth or exec, until it is known what they are.
    pub(super) born: HashMap<u32, Arc<Process>>,
    /// Ends without a record yet, and since when.
    unseen: Vec<(Instant, ProcId, Option<i32>)>,
    certain: bool,
    /// When that is to be done which can wait.
    idle: Option<Instant>,
    pub(super) started_ns: u64,
    pub(super) takeovers: u64,
    pub(super) troubles: Vec<String>,
}

/// Where what comes from elsewhere arrives.
pub(super) struct Sources {
    pub(super) sensor: Listener,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) answers: mpsc::UnboundedReceiver<Answered>,
    pub(super) notices: Notifications,
    pub(super) signals: Signals,
}

/// What came.
enum Turn {
    Stop,
    Reload,
    Ended(Vec<Ended>),
    Sensor(holder::Due),
    Landed(Landed),
    Answered(Answered),
    Notified(u32),
    Request(Request),
    Gauge(gauges::Due),
    /// Something is due by the clock.
    Time,
    Idle,
}

impl Daemon {
    /// Keeps services until it is asked to end.
    pub(super) async fn keep(mut self, mut sources: Sources) -> Result<(), Failure> {
        self.settle()?;
        loop {
            let turn = self.next(&mut sources).await?;
            if let Turn::Idle = turn {
                self.idle = None;
                self.tidy();
                continue;
            }
            self.idle = Some(Instant::now() + QUIET);
            if matches!(turn, Turn::Stop) && !self.settings.stop_services_on_exit {
                break;
            }
            self.take(turn)?;
            self.settle()?;
        }
        self.finish().await
    }

    /// Waits for what comes next.
    async fn next(&mut self, sources: &mut Sources) -> Result<Turn, Failure> {
        let due = self.supervisor.poll_timeout().map(feed::instant);
        let unseen = self.unseen.first().map(|(since, ..)| *since + RECORD_WITHIN);
        Ok(tokio::select! {
            biased;
            ended = self.exits.next() => Turn::Ended(ended),
            Some(landed) = self.deeds.join_next() => match landed {
                Ok(landed) => Turn::Landed(landed),
                Err(error) => { tracing::error!(%error, "a deed broke off"); Turn::Time }
            },
            due = self.holder.ready(&sources.sensor) => Turn::Sensor(due?),
            signal = sources.signals.next() => signal,
            Some(answered) = sources.answers.recv() => Turn::Answered(answered),
            pid = sources.notices.next() => Turn::Notified(pid),
            Some(request) = sources.requests.recv() => Turn::Request(request),
            () = feed::at(due) => Turn::Time,
            () = feed::at(unseen) => Turn::Time,
            due = self.gauges.ready() => Turn::Gauge(due?),
            () = feed::at(self.idle) => Turn::Idle,
        })
    }

    /// Tells what came to whom it concerns.
    fn take(&mut self, turn: Turn) -> Result<(), Failure> {
        match turn {
            Turn::Ended(ended) => {
                self.holder.take_in()?;
                self.unseen.extend(ended.into_iter().map(|end| (Instant::now(), end.id, end.status)));
            }
            Turn::Sensor(due) => self.holder.step(due)?,
            Turn::Gauge(due) => {
                let (gauges, now_ns) = (&mut self.gauges, clock::boot_ns());
                let waits = self.holder.tell(|core| gauges.step(due, now_ns, core))??;
                waits.iter().for_each(|event| self.supervisor.handle(now_ns, Input::Event(event)));
            }
            Turn::Landed(landed) => self.landed(landed)?,
            Turn::Answered(answered) => self.answered(answered),
            Turn::Notified(pid) => {
                if let Some(id) = self.holder.core().processes().current(pid).map(|process| process.id) {
                    self.supervisor.handle(clock::boot_ns(), Input::Notified(id));
                }
            }
            Turn::Request(request) => self.request(request),
            Turn::Stop => self.stop_all(),
            Turn::Reload => self.reload_on_signal(),
            Turn::Time => self.look_for_unseen()?,
            Turn::Idle => {}
        }
        Ok(())
    }
}

impl Daemon {
    /// Ends without a record: after a while the core is told what `waitid` said, and the table is compared with the kernel's.
    fn look_for_unseen(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let table = self.holder.core().processes();
        self.unseen.retain(|(_, id, _)| table.is_alive(*id));
        let late: Vec<_> = self.unseen.extract_if(.., |(since, ..)| *since + RECORD_WITHIN <= now).collect();
        if late.is_empty() {
            return Ok(());
        }
        let time_ns = clock::boot_ns();
        self.holder.tell(|core| {
            for (_, id, status) in late {
                if let Some(status) = status {
                    let status = ExitStatus::from_wait(status.cast_unsigned());
                    core.handle(time_ns, Told::Tombstone { id, status, time_ns });
                }
            }
        })?;
        self.holder.compare()
    }

    /// A process has ended: what is known of it by its id is not needed any more.
    pub(super) fn has_ended(&mut self, id: ProcId) {
        self.unseen.retain(|(_, unseen, _)| *unseen != id);
        self.lives.end(id);
        if self.born.get(&id.pid).is_some_and(|process| process.id != id) {
            self.born.remove(&id.pid);
        }
        self.to_forget.push(id);
    }

    /// What can wait until nothing else is to be done: spare rooms, rooms that are empty, births that nobody asked for.
    fn tidy(&mut self) {
        let table = self.holder.core().processes();
        self.born.retain(|_, process| table.is_alive(process.id));
        self.used_up.retain(|room| !room.is_empty() || room.remove().is_err());
        for facts in self.supervisor.facts() {
            self.hands.make_spares(&facts);
        }
    }

    /// Everything is put down; services go on.
    async fn finish(mut self) -> Result<(), Failure> {
        systemd::stopping();
        self.settle()?;
        self.holder.finish().await.map(|_| ())
    }
}
