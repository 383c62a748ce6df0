//! The daemon at work: one task, one loop, one owner of all that decides.
//!
//! ```text
//! next()    what came: the end of a main process, records, a deed that is done, an answer, a request, a sample, the time
//! take()    it is told to whom it concerns
//! settle()  events -> Supervisor, Incidents -> effects; what changed and what is intended is put down; then it is done
//! ```

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use guard_core::Input as Told;
use guard_core::event::{ExitStatus, Process};
use guard_core::ids::ProcId;
use guard_core::incident::Incidents;
use guard_core::policy::model::Readiness;
use guard_core::suggest::Sketches;
use guard_core::supervise::{ActionId, Command, Effect, Input, Subject, Supervisor};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::alerts::{self, Alerts};
use super::deeds::Landed;
use super::door::Request;
use super::endings::Endings;
use super::fail;
use super::flags::Flags;
use super::gauges::{self, Gauges};
use super::generations::Generations;
use super::hands::Hands;
use super::hands::exits::{Ended, Exits};
use super::hands::notify::{Notice, Notices};
use super::hands::rooms::Room;
use super::lives::Lives;
use super::probes::{Answered, Probes};
use super::quick::Quick;
use super::settings::Settings;
use super::sketches;
use super::slim;
use super::state::State;
use super::systemd;
use super::tally::Tally;
use super::told::Teller;
use crate::clock;
use crate::exit::Failure;
use crate::feed;
use crate::holder::{self, Holder, Listener};

/// How long the record of an end may come after the process can be waited for: they are microseconds apart, unless it was lost.
const RECORD_WITHIN: Duration = Duration::from_millis(100);

/// Starts after which memory is given back once nothing happens: many at once have needed much of it for a moment.
const MANY_STARTS: u32 = 64;

/// How long nothing must have happened before that is done which can wait: spare rooms, tidying.
const QUIET: Duration = Duration::from_millis(3);

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
    pub(super) endings: Endings,
    pub(super) lives: Lives,
    pub(super) quick: Quick,
    pub(super) probes: Probes,
    pub(super) alerts: Alerts,
    pub(super) state: State,
    /// Deeds that take their time.
    pub(super) deeds: JoinSet<Landed>,
    pub(super) teller: Teller,
    pub(super) tally: Tally,
    pub(super) sketches: Sketches,
    pub(super) sketching: sketches::Due,
    /// Questions under way: whose they are, and for which check.
    pub(super) asked: HashMap<u64, (Subject, Option<Arc<str>>)>,
    /// Our own children as the kernel told their birth or exec, until it is known what they are.
    pub(super) born: HashMap<u32, Arc<Process>>,
    /// Ends without a record yet, and since when.
    pub(super) unseen: Vec<(Instant, ProcId, Option<i32>)>,
    /// What is to be done, in order.
    pub(super) effects: VecDeque<Effect>,
    /// What was done, not put down yet.
    pub(super) outcomes: Vec<(ActionId, Option<String>)>,
    /// Incidents that changed, not put down yet.
    pub(super) changed: Vec<guard_core::incident::Incident>,
    /// How instances ended that were not started since.
    pub(super) last_end: HashMap<Subject, &'static str>,
    /// Rooms of the past, to be removed once nobody is in them.
    pub(super) used_up: Vec<Arc<Room>>,
    /// Ends that are put down with the next batch.
    pub(super) to_forget: Vec<ProcId>,
    /// Ends that are put down: the kernel need not remember them.
    pub(super) forgotten: Vec<ProcId>,
    /// Instances that have no room for their next life yet.
    pub(super) spares: VecDeque<Subject>,
    /// Starts since free memory was given back.
    pub(super) starts: u32,
    pub(super) certain: bool,
    /// Why the last turn was not put down.
    pub(super) unwritten: Option<String>,
    /// When a keeper is tried again, if there is none.
    pub(super) keeper_due: Option<Instant>,
    /// When that is to be done which can wait.
    pub(super) idle: Option<Instant>,
    pub(super) own_pid: u32,
    pub(super) processors: usize,
    pub(super) started_ns: u64,
    pub(super) takeovers: u64,
    pub(super) troubles: Vec<String>,
}

/// Where what comes from elsewhere arrives.
pub(super) struct Sources {
    pub(super) sensor: Listener,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) answers: mpsc::UnboundedReceiver<Answered>,
    pub(super) alerted: mpsc::UnboundedReceiver<alerts::Outcome>,
    pub(super) notices: Notices,
    pub(super) signals: Signals,
}

/// What an operator's shell, or the service manager, can say.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|source| Failure::System { action: "handle signals", source });
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Turn {
        tokio::select! {
            _ = self.terminate.recv() => Turn::Stop,
            _ = self.interrupt.recv() => Turn::Stop,
            _ = self.hangup.recv() => Turn::Reload,
        }
    }
}

/// What came.
enum Turn {
    Stop,
    Reload,
    Ended(Vec<Ended>),
    Sensor(holder::Due),
    Landed(Box<Landed>),
    Answered(Answered),
    Alerted(alerts::Outcome),
    Notified(Notice),
    Request(Request),
    Gauge(gauges::Due),
    /// The keeper of the logs is gone.
    Keeper,
    /// Something is due by the clock.
    Time,
    /// Nothing has come for a while.
    Quiet,
}

impl Daemon {
    /// Keeps services until it is asked to end.
    pub(super) async fn keep(mut self, mut sources: Sources) -> Result<(), Failure> {
        self.settle()?;
        systemd::ready(&self.summary());
        slim::slim();
        let mut stopping = false;
        loop {
            let turn = self.next(&mut sources).await?;
            match turn {
                Turn::Quiet => {
                    self.idle = self.tidy().then(|| Instant::now() + QUIET);
                    continue;
                }
                Turn::Keeper => {
                    self.seek_keeper();
                    continue;
                }
                Turn::Stop if !self.settings.stop_services_on_exit || stopping => break,
                Turn::Stop => {
                    stopping = true;
                    self.supervisor.handle(clock::boot_ns(), Input::Command(Command::Shutdown));
                }
                turn => self.take(turn)?,
            }
            self.take_in_events();
            self.follow_the_doomed()?;
            self.settle()?;
            self.idle = Some(Instant::now() + QUIET);
            if stopping && self.supervisor.facts().iter().all(|facts| facts.instances.is_empty()) {
                break;
            }
        }
        self.finish().await
    }

    /// Waits for what comes next.
    async fn next(&mut self, sources: &mut Sources) -> Result<Turn, Failure> {
        let due = self.supervisor.poll_timeout().map(feed::instant);
        let unseen = self.unseen.first().map(|(since, ..)| *since + RECORD_WITHIN);
        let failed = |action| move |source: io::Error| Failure::System { action, source };
        Ok(tokio::select! {
            biased;
            ended = self.exits.next() => Turn::Ended(ended.map_err(failed("wait for processes"))?),
            Some(landed) = self.deeds.join_next() => match landed {
                Ok(landed) => Turn::Landed(Box::new(landed)),
                // A task that panicked: its plan has no outcome, and the state says so.
                Err(error) => {
                    tracing::error!("a deed broke off: {error}");
                    Turn::Time
                }
            },
            due = self.holder.ready(&sources.sensor) => Turn::Sensor(due?),
            turn = sources.signals.next() => turn,
            Some(answered) = sources.answers.recv() => Turn::Answered(answered),
            notice = sources.notices.next() => Turn::Notified(notice.map_err(failed("read notifications"))?),
            Some(request) = sources.requests.recv() => Turn::Request(request),
            Some(outcome) = sources.alerted.recv() => Turn::Alerted(outcome),
            () = feed::at(due) => Turn::Time,
            () = feed::at(unseen) => Turn::Time,
            due = self.gauges.ready() => Turn::Gauge(due?),
            () = self.hands.keeper_gone() => Turn::Keeper,
            () = feed::at(self.keeper_due) => Turn::Keeper,
            () = feed::at(self.idle) => Turn::Quiet,
        })
    }

    /// Tells what came to whom it concerns.
    fn take(&mut self, turn: Turn) -> Result<(), Failure> {
        match turn {
            Turn::Ended(ended) => self.have_ended(ended)?,
            Turn::Sensor(due) => self.holder.step(due)?,
            Turn::Gauge(due) => {
                let (gauges, supervisor, now_ns) = (&mut self.gauges, &self.supervisor, clock::boot_ns());
                let waits = self.holder.tell(|core| gauges.step(due, now_ns, core, supervisor))??;
                waits.iter().for_each(|event| self.supervisor.handle(now_ns, Input::Event(event)));
                self.sketch();
                self.state.retry();
                self.incidents.forget_old(now_ns);
            }
            Turn::Landed(landed) => self.landed(*landed)?,
            Turn::Answered(answered) => self.answered(answered),
            Turn::Alerted(outcome) => self.alerted(&outcome),
            Turn::Notified(notice) => self.notified(&notice)?,
            Turn::Request(request) => self.request(request),
            Turn::Reload => {
                systemd::reloading();
                if let Err(refusal) = self.reload() {
                    self.say(
                        "trouble",
                        format!("the policies were not read again: {}", refusal_text(&refusal)),
                    );
                }
                systemd::ready(&self.summary());
            }
            Turn::Time => self.look_for_unseen()?,
            Turn::Stop | Turn::Keeper | Turn::Quiet => {}
        }
        Ok(())
    }

    /// A process said something to its notification socket.
    fn notified(&mut self, notice: &Notice) -> Result<(), Failure> {
        let known = |holder: &Holder| holder.core().processes().current(notice.pid).map(|process| process.id);
        if known(&self.holder).is_none() {
            // The record of its birth lies in the ring.
            self.holder.look()?;
            self.take_in_events();
        }
        let id = known(&self.holder);
        if let Some(id) = id.filter(|_| notice.ready) {
            self.supervisor.handle(clock::boot_ns(), Input::Notified(id));
        }
        Ok(())
    }

    /// Another keeper, with the same pipes.
    fn seek_keeper(&mut self) {
        self.keeper_due = None;
        if let Some(sought) = self.hands.seek_keeper() {
            self.say("trouble", "the keeper of the logs is gone; another one is started".to_owned());
            self.deeds.spawn(async move { Landed::Keeper(sought.await) });
        }
    }

    /// For `systemctl status`.
    fn summary(&self) -> String {
        let generation = self.generations.current();
        format!("keeps {} services, generation {}", generation.services, generation.number)
    }
}

/// A refusal with all that is to be said.
pub(super) fn refusal_text(refusal: &super::door::Refusal) -> String {
    match refusal {
        super::door::Refusal::Policies(text) => format!("they have errors:\n{text}"),
        other => other.to_string(),
    }
}

impl Daemon {
    /// Main processes have ended; their records are there, or come within [`RECORD_WITHIN`].
    pub(super) fn have_ended(&mut self, ended: Vec<Ended>) -> Result<(), Failure> {
        fail::point("end.seen");
        for end in &ended {
            self.go_on_after(end.id)?;
        }
        self.holder.look()?;
        fail::point("end.taken-in");
        let table = self.holder.core().processes();
        let unseen = ended.into_iter().filter(|end| table.is_alive(end.id));
        self.unseen.extend(unseen.map(|end| (Instant::now(), end.id, end.status)));
        Ok(())
    }

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

    /// What can wait until nothing else is to be done: rooms for next lives, rooms that are empty, births that nobody asked for. One
    /// thing at a time; gives whether there is more.
    fn tidy(&mut self) -> bool {
        if let Some(subject) = self.spares.pop_front() {
            self.make_spare(&subject);
            return true;
        }
        let table = self.holder.core().processes();
        self.born.retain(|_, process| table.is_alive(process.id));
        self.used_up.retain(|room| !room.is_empty() || room.remove().is_err());
        if self.starts >= MANY_STARTS {
            self.starts = 0;
            slim::slim();
        }
        false
    }

    /// A room for the next life of an instance, if it lives.
    fn make_spare(&mut self, subject: &Subject) {
        let Some(run) = self.supervisor.run_of(subject) else { return };
        let policy = self.supervisor.policy_of(&subject.service);
        let notify = policy.is_some_and(|policy| policy.ready.by == Readiness::Notify);
        if let Err(error) = self.hands.make_spare(subject, run, notify) {
            tracing::debug!("{subject} has no room for its next life yet: {error}");
        }
    }

    /// Everything is put down; services go on.
    async fn finish(mut self) -> Result<(), Failure> {
        systemd::stopping();
        self.settle()?;
        self.keep_sketches();
        if let Err(error) = self.state.close() {
            tracing::warn!("{}", error.advice());
        }
        self.holder.finish().await.map(|_| ())
    }
}
