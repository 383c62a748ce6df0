//! A simulated host: processes that live as a scenario says, and carry out what is decided.
//!
//! ```text
//! Effect -> World::take(now)       deeds.rs, answers.rs: what follows, and when
//!           World::due()           the next moment at which something happens
//!           World::turn(now)   ->  Fed: what a supervisor is told (lives.rs, samples.rs)
//! ```

mod answers;
mod deeds;
mod lives;
mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;

use guard_common::wire::Kind;

use super::scenario::{Behaviour, End, Happening, Scenario};
use crate::event::{Action, Drift, Event, Gap, LossCause, Lost, Process, Resync, ResyncReason};
use crate::ids::ProcId;
use crate::policy::model::{Origin, Service};
use crate::policy::set::PolicySet;
use crate::supervise::{ActionId, Answer, Command, Done, Effect, Refused, Subject, What};
use lives::Life;

/// The scenario's beginning, in nanoseconds since boot: hosts do not begin with a policy.
pub(super) const BOOT_NS: u64 = 1_000 * SECOND;

pub(super) const SECOND: u64 = 1_000_000_000;

/// What an executor takes for what it does itself.
pub(super) const AT_ONCE: u64 = 1_000_000;

/// What a supervisor is told.
#[derive(Debug)]
pub(super) enum Fed {
    Found(Arc<Process>),
    Event(Box<Event>),
    Certain(bool),
    Answered {
        question: u64,
        answer: Answer,
        took_ns: u64,
    },
    Done {
        id: ActionId,
        result: Result<Done, Refused>,
    },
    Notified(ProcId),
    Command(Command),
    /// Nothing: for the reader only.
    Note {
        subject: Option<Subject>,
        text: String,
    },
}

/// What happens later.
#[derive(Debug)]
enum Due {
    Sample,
    Moment(usize),
    Tell(Fed),
    Ready(ProcId),
    Ends(ProcId, End, Option<u8>),
    /// The first instance of an adopted service that is missing is born.
    Reborn(Arc<str>),
}

/// The simulated host.
#[derive(Debug)]
pub(super) struct World<'a> {
    set: &'a PolicySet,
    scenario: &'a Scenario,
    /// How the processes of a service or an instance behave from now on.
    behaviours: BTreeMap<Subject, Behaviour>,
    lives: BTreeMap<(Arc<str>, u32), Life>,
    /// By time and order of entry.
    later: BTreeMap<(u64, u64), Due>,
    entered: u64,
    next_pid: u32,
    /// Length of each queue.
    queues: BTreeMap<String, f64>,
    /// Steps that wait for approval, oldest first.
    waiting: Vec<(ActionId, Subject, u64)>,
}

impl<'a> World<'a> {
    pub(super) fn new(set: &'a PolicySet, scenario: &'a Scenario) -> Self {
        let mut world = Self {
            set,
            scenario,
            behaviours: scenario.world.clone(),
            lives: BTreeMap::new(),
            later: BTreeMap::new(),
            entered: 0,
            next_pid: 1_000,
            queues: scenario.queues.keys().map(|name| (name.clone(), 0.0)).collect(),
            waiting: Vec::new(),
        };
        for (index, moment) in scenario.timeline.iter().enumerate() {
            world.enter(BOOT_NS.saturating_add(moment.at), Due::Moment(index));
        }
        world.enter(BOOT_NS.saturating_add(scenario.sample), Due::Sample);
        world
    }

    /// The processes that are there already.
    pub(super) fn begin(&mut self) -> Vec<Fed> {
        let mut found = Vec::new();
        let set = self.set;
        for service in &set.services {
            if !matches!(service.origin, Origin::Adopt(_)) {
                continue;
            }
            let name: Arc<str> = service.name.as_str().into();
            for _ in 0..self.exist(&name) {
                // Before the beginning, one after the other.
                let born_ns = BOOT_NS - SECOND + u64::from(self.next_pid);
                let process = self.bear(born_ns, service, None, None);
                found.push(Fed::Found(process));
            }
        }
        found
    }

    /// How many main processes an adopted service has.
    fn exist(&self, service: &Arc<str>) -> u32 {
        let subject = Subject { service: service.clone(), instance: None };
        self.behaviours.get(&subject).and_then(|behaviour| behaviour.exist).unwrap_or(1)
    }

    /// When something happens next.
    pub(super) fn due(&self) -> Option<u64> {
        self.later.keys().next().map(|(time_ns, _)| *time_ns)
    }

    /// The next thing that happens until now.
    pub(super) fn turn(&mut self, now_ns: u64) -> Vec<Fed> {
        let first = self.later.first_entry().filter(|entry| entry.key().0 <= now_ns);
        let Some(due) = first.map(std::collections::btree_map::OccupiedEntry::remove) else {
            return Vec::new();
        };
        match due {
            Due::Sample => {
                self.enter(now_ns.saturating_add(self.scenario.sample), Due::Sample);
                self.flow(now_ns);
                self.samples(now_ns)
            }
            Due::Moment(index) => self.moment(now_ns, index),
            Due::Tell(fed) => vec![fed],
            Due::Ready(id) => self.ready(now_ns, id),
            Due::Ends(id, end, signal) => self.ends(now_ns, id, end, signal),
            Due::Reborn(service) => self.reborn(now_ns, &service),
        }
    }

    /// Takes in what a supervisor wants or tells.
    pub(super) fn take(&mut self, now_ns: u64, effect: &Effect) {
        match effect {
            Effect::Act(plan) if plan.act => self.carry_out(now_ns, plan),
            Effect::Act(_) => {}
            Effect::Ask(question) => self.ask(now_ns, question),
            Effect::Tell(notice) => {
                if let What::Waits { id, until_ns, .. } = &notice.what {
                    self.waiting.push((*id, notice.subject.clone(), *until_ns));
                }
            }
        }
    }

    fn enter(&mut self, time_ns: u64, due: Due) {
        self.entered += 1;
        self.later.insert((time_ns, self.entered), due);
    }

    fn tell(&mut self, time_ns: u64, fed: Fed) {
        self.enter(time_ns, Due::Tell(fed));
    }

    fn service(&self, name: &str) -> Option<&'a Service> {
        let at = self.set.services.binary_search_by(|service| service.name.as_str().cmp(name)).ok()?;
        self.set.services.get(at).map(Arc::as_ref)
    }

    /// What is said of an instance, or of its service, or of no one.
    fn said<T>(&self, subject: &Subject, say: impl Fn(&Behaviour) -> Option<T>) -> Option<T> {
        let life = subject.instance.and_then(|instance| self.lives.get(&(subject.service.clone(), instance)));
        let whole = Subject { service: subject.service.clone(), instance: None };
        life.and_then(|life| say(&life.now))
            .or_else(|| self.behaviours.get(subject).and_then(&say))
            .or_else(|| self.behaviours.get(&whole).and_then(&say))
            .or_else(|| say(&Behaviour::usual()))
    }

    fn moment(&mut self, now_ns: u64, index: usize) -> Vec<Fed> {
        let scenario = self.scenario;
        let Some(moment) = scenario.timeline.get(index) else { return Vec::new() };
        let about = match &moment.what {
            Happening::Becomes(subject, _)
            | Happening::FromNowOn(subject, _)
            | Happening::Dies(subject, _) => Some(subject.clone()),
            _ => None,
        };
        let note = moment.note.clone().map(|text| Fed::Note { subject: about, text });
        note.into_iter().chain(self.happen(now_ns, &moment.what)).collect()
    }

    fn happen(&mut self, now_ns: u64, what: &Happening) -> Vec<Fed> {
        match what {
            Happening::Nothing => Vec::new(),
            Happening::Becomes(subject, behaviour) => {
                for life in self.lives_of(subject) {
                    life.now.merge(behaviour, Some(now_ns));
                    life.turned(now_ns, behaviour.progress);
                }
                Vec::new()
            }
            Happening::FromNowOn(subject, behaviour) => {
                self.change(now_ns, subject, behaviour);
                Vec::new()
            }
            Happening::Dies(subject, end) => {
                let ids: Vec<ProcId> = self.lives_of(subject).map(|life| life.process.id).collect();
                ids.into_iter().flat_map(|id| self.ends(now_ns, id, *end, None)).collect()
            }
            Happening::Start(service) => vec![Fed::Command(Command::Start(service.clone()))],
            Happening::Stop(service) => vec![Fed::Command(Command::Stop(service.clone()))],
            Happening::Restart(subject) => vec![Fed::Command(Command::Restart(subject.clone()))],
            Happening::Scale(service, instances) => {
                vec![Fed::Command(Command::Scale { service: service.clone(), instances: *instances })]
            }
            Happening::Approve(service) => self.decided(now_ns, service, Command::Approve),
            Happening::Deny(service) => self.decided(now_ns, service, Command::Deny),
            Happening::Lost(span) => self.lose(now_ns, *span),
        }
    }

    /// What was said of single instances before is over, where the service as a whole behaves otherwise.
    fn change(&mut self, now_ns: u64, subject: &Subject, behaviour: &Behaviour) {
        let single = self.behaviours.iter_mut().filter(|(other, _)| {
            *other == subject || (other.service == subject.service && subject.instance.is_none())
        });
        single.for_each(|(_, said)| said.merge(behaviour, Some(now_ns)));
        let said = self.behaviours.entry(subject.clone()).or_default();
        said.merge(behaviour, Some(now_ns));
        for life in self.lives_of(subject) {
            life.turned(now_ns, behaviour.progress);
        }
    }

    fn decided(&mut self, now_ns: u64, service: &str, decide: fn(ActionId) -> Command) -> Vec<Fed> {
        self.waiting.retain(|(_, _, until_ns)| *until_ns > now_ns);
        let at = self.waiting.iter().position(|(_, subject, _)| &*subject.service == service);
        match at.map(|at| self.waiting.remove(at)) {
            Some((id, ..)) => vec![Fed::Command(decide(id))],
            None => {
                let subject = Some(Subject { service: service.into(), instance: None });
                vec![Fed::Note { subject, text: "no step waits for approval".to_owned() }]
            }
        }
    }

    fn lose(&mut self, now_ns: u64, span: u64) -> Vec<Fed> {
        let lost = Lost { kind: Kind::EXIT, cause: LossCause::RingFull, cpu: Some(0), count: 12 };
        let gap = event(now_ns, Action::Gap(Gap { lost: vec![lost] }));
        let resync = Resync {
            reason: ResyncReason::Gap,
            duration_ns: span,
            found: self.lives.len() as u64,
            drift: Drift::default(),
        };
        let back_ns = now_ns.saturating_add(span);
        self.tell(back_ns, Fed::Event(Box::new(event(back_ns, Action::Resync(resync)))));
        self.tell(back_ns, Fed::Certain(true));
        vec![Fed::Event(Box::new(gap)), Fed::Certain(false)]
    }

    /// What came into the queues since the last sample, and what was done of it.
    fn flow(&mut self, now_ns: u64) {
        let seconds = self.scenario.sample as f64 / SECOND as f64;
        for (name, queue) in &self.scenario.queues {
            let working = self.lives.iter().filter(|((service, _), life)| {
                **service == *queue.service && life.ready && !life.frozen && life.stuck_ns.is_none()
            });
            let more = (queue.arrives.at(now_ns - BOOT_NS) - queue.each * working.count() as f64) * seconds;
            if let Some(length) = self.queues.get_mut(name) {
                *length = (*length + more).max(0.0).round();
            }
        }
    }
}

/// An event that no record of the kernel tells.
fn event(time_ns: u64, action: Action) -> Event {
    Event { time_ns, cpu: 0, sequence: 0, action }
}
