//! A scenario played through.

use std::sync::Arc;

use super::scenario::Scenario;
use super::world::{BOOT_NS, Fed, World};
use crate::policy::set::PolicySet;
use crate::supervise::{Effect, Input, Plan, Settings, Subject, Supervisor, What};

/// Effects at one moment. More of them, and policies and world chase each other for ever.
const AT_ONCE: u32 = 100_000;

/// What happened in a rehearsal.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsal {
    /// In order of time.
    pub entries: Vec<Entry>,
    /// When it was given up, in nanoseconds since boot, because it did not come to rest.
    pub restless_ns: Option<u64>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When, in nanoseconds since boot.
    pub time_ns: u64,
    /// To whom.
    pub subject: Option<Subject>,
    /// What.
    pub what: Told,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// In the world: a process is ready, ends, a remark of the scenario.
    World(String),
    /// Something is decided.
    Plan(Box<Plan>),
    /// The supervisor tells something.
    Notice(Box<What>),
}

/// Plays a scenario with policies. Those of users' names that selectors need get numbers of their own.
#[must_use]
pub fn play(set: &PolicySet, scenario: &Scenario) -> Rehearsal {
    play_before(set, scenario, &mut |_effect| {})
}

/// The same; every effect is shown to `watch`, questions included.
pub fn play_before(set: &PolicySet, scenario: &Scenario, watch: &mut dyn FnMut(&Effect)) -> Rehearsal {
    let set = Arc::new(with_users(set));
    let settings = Settings { seed: scenario.seed, clock: scenario.clock() };
    let mut stage = Stage {
        supervisor: Supervisor::new(settings),
        world: World::new(&set, scenario),
        entries: Vec::new(),
        now_ns: BOOT_NS,
        watch,
    };
    let ended = stage.run(&set, BOOT_NS.saturating_add(scenario.lasts));
    Rehearsal { entries: stage.entries, restless_ns: ended.err().map(|Restless(at_ns)| at_ns) }
}

/// It did not come to rest at this time.
struct Restless(u64);

struct Stage<'a> {
    supervisor: Supervisor,
    world: World<'a>,
    entries: Vec<Entry>,
    now_ns: u64,
    watch: &'a mut dyn FnMut(&Effect),
}

impl Stage<'_> {
    fn run(&mut self, set: &Arc<PolicySet>, end_ns: u64) -> Result<(), Restless> {
        let found = self.world.begin();
        self.supervisor.handle(self.now_ns, Input::Policies(set.clone()));
        for fed in found {
            self.feed(fed);
        }
        let mut effects = 0;
        loop {
            while let Some(effect) = self.supervisor.poll_effect() {
                effects += 1;
                if effects > AT_ONCE {
                    return Err(Restless(self.now_ns));
                }
                (self.watch)(&effect);
                self.world.take(self.now_ns, &effect);
                self.tell(effect);
            }
            let timeout = self.supervisor.poll_timeout();
            let Some(next_ns) = [self.world.due(), timeout].into_iter().flatten().min() else {
                return Ok(());
            };
            if next_ns >= end_ns {
                return Ok(());
            }
            if next_ns > self.now_ns {
                (self.now_ns, effects) = (next_ns, 0);
            }
            effects += 1;
            if effects > AT_ONCE {
                return Err(Restless(self.now_ns));
            }
            // What happens is known before time is said to have passed.
            if self.world.due().is_some_and(|due_ns| due_ns <= self.now_ns) {
                for fed in self.world.turn(self.now_ns) {
                    self.feed(fed);
                }
            } else {
                self.supervisor.handle_timeout(self.now_ns);
            }
        }
    }

    fn feed(&mut self, fed: Fed) {
        let now_ns = self.now_ns;
        match fed {
            Fed::Found(process) => self.supervisor.handle(now_ns, Input::Found(&process)),
            Fed::Event(event) => self.supervisor.handle(now_ns, Input::Event(&event)),
            Fed::Certain(certain) => {
                let text =
                    if certain { "the process table is certain again" } else { "kernel records are lost" };
                self.note(None, text.to_owned());
                self.supervisor.handle(now_ns, Input::Certain(certain));
            }
            Fed::Answered { question, answer, took_ns } => {
                self.supervisor.handle(now_ns, Input::Answered { question, answer, took_ns });
            }
            Fed::Done { id, result } => self.supervisor.handle(now_ns, Input::Done { id, result }),
            Fed::Notified(id) => self.supervisor.handle(now_ns, Input::Notified(id)),
            Fed::Command(command) => {
                self.note(None, super::text::command(&command));
                self.supervisor.handle(now_ns, Input::Command(command));
            }
            Fed::Note { subject, text } => self.note(subject, text),
        }
    }

    fn note(&mut self, subject: Option<Subject>, text: String) {
        let entry = Entry { time_ns: self.now_ns, subject, what: Told::World(text) };
        self.entries.push(entry);
    }

    fn tell(&mut self, effect: Effect) {
        self.entries.extend(Entry::of(effect));
    }
}

impl Entry {
    /// What an effect tells a reader; `None`: questions are no news.
    pub(super) fn of(effect: Effect) -> Option<Self> {
        let (time_ns, subject, what) = match effect {
            Effect::Act(plan) => (plan.time_ns, plan.subject.clone(), Told::Plan(Box::new(plan))),
            Effect::Tell(notice) => (notice.time_ns, notice.subject, Told::Notice(Box::new(notice.what))),
            Effect::Ask(_) => return None,
        };
        Some(Self { time_ns, subject: Some(subject), what })
    }
}

/// Numbers for names that have none: from 10,001, in order of service.
fn with_users(set: &PolicySet) -> PolicySet {
    use crate::policy::model::Origin;
    let mut set = set.clone();
    for service in &set.services {
        let user = match &service.origin {
            Origin::Run(run) => run.user.clone(),
            Origin::Adopt(adopt) => adopt.matching.user.clone(),
        };
        if let Some(user) = user.filter(|user| user.parse::<u32>().is_err()) {
            let next = 10_001 + u32::try_from(set.users.len()).unwrap_or_default();
            set.users.entry(user).or_insert(next);
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::model::{
        Backoff, Budget, EndStatus, Impact, Instances, Kill, Limits, Log, LogTarget, Mode, Origin, Readiness,
        Ready, Restart, RestartOn, Run, Service, Stop,
    };
    use crate::rehearse::{End, Happening, Moment, text};

    const SECOND: u64 = 1_000_000_000;

    fn service() -> Service {
        Service {
            name: "web".into(),
            labels: BTreeMap::new(),
            owner: None,
            impact: Impact::Medium,
            rto: None,
            runbook: None,
            group: None,
            origin: Origin::Run(Run {
                command: vec!["/usr/bin/web".into()],
                user: None,
                group: None,
                environment: BTreeMap::new(),
                directory: "/".into(),
                first_port: None,
                instances: Instances { min: 1, start: 1, max: 1 },
                limits: Limits::default(),
                capabilities: None,
                log: Log { target: LogTarget::Null },
            }),
            ready: Ready { by: Readiness::Notify, within: 10 * SECOND },
            depends_on: vec![],
            restart: Restart {
                on: RestartOn::Failure,
                budget: Budget { count: 1, within: 600 * SECOND },
                backoff: Backoff {
                    initial: SECOND,
                    factor: 2.0,
                    max: 60 * SECOND,
                    jitter: 0.0,
                    reset_after: 600 * SECOND,
                },
                success: vec![EndStatus::Code(0)],
                never: vec![],
                slow_retry: 3_600 * SECOND,
            },
            stop: Stop { signal: 15, timeout: 10 * SECOND, kill: Kill::Cgroup },
            checks: vec![],
            actions: BTreeMap::new(),
            failover: None,
            mode: Mode::Act,
        }
    }

    #[test]
    fn a_crash_is_answered_by_a_restart() {
        let set = PolicySet { services: vec![Arc::new(service())], ..PolicySet::default() };
        let subject = Subject { service: "web".into(), instance: Some(0) };
        let scenario = Scenario {
            title: "a crash".to_owned(),
            policies: vec![],
            seed: 1,
            begins_s: 0,
            lasts: 300 * SECOND,
            sample: SECOND,
            world: BTreeMap::new(),
            queues: BTreeMap::new(),
            timeline: vec![Moment {
                at: 60 * SECOND,
                note: Some("it crashes".to_owned()),
                what: Happening::Dies(subject, End::Status(EndStatus::Signal(11))),
            }],
        };
        let rehearsal = play(&set, &scenario);
        let text = text(&scenario, &rehearsal);
        assert_eq!(rehearsal.restless_ns, None, "{text}");
        let starts = text.lines().filter(|line| line.contains(" start /usr/bin/web")).count();
        assert_eq!(starts, 2, "{text}");
        assert_eq!(rehearsal, play(&set, &scenario));
    }
}
