//! A world in which a supervisor's wishes come true, or not: processes that start, live and die, on a clock that jumps from one
//! moment in which something happens to the next. It knows the rules that a supervisor must never break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use guard_core::event::{Action, Event, Exec, ExitStatus, Process, Program};
use guard_core::ids::ProcId;
use guard_core::policy::PolicySet;
use guard_core::policy::model::{Host, Origin, Service};
use guard_core::supervise::{
    ActionId, Answer, Clock, Command, Deed, Done, Effect, Input, Notice, Plan, Question, Refused,
    ServiceState, Settings, Supervisor, What,
};

use crate::chronicle::Chronicle;
use crate::deaths::{Dead, Doom, Store, exit};
use crate::rules::Rules;
use crate::services::SECOND;

/// How long a start, a hook, an answer takes here.
const SOON_NS: u64 = 5_000_000;

/// Turns of the clock within a millisecond that nobody can want.
const RESTLESS: u32 = 2_000;

pub(crate) struct World {
    pub(crate) now_ns: u64,
    pub(crate) supervisor: Supervisor,
    pub(crate) set: Arc<PolicySet>,
    last_pid: u32,
    /// The living main processes, by service and instance.
    pub(crate) living: BTreeMap<(String, u32), ProcId>,
    /// Processes that somebody else started.
    foreign: BTreeSet<ProcId>,
    /// What is to happen, by time.
    pub(crate) agenda: BTreeMap<u64, Vec<Happening>>,
    /// How the world is disposed towards each service.
    pub(crate) moods: BTreeMap<String, Mood>,
    pub(crate) certain: bool,
    pub(crate) waiting: BTreeSet<ActionId>,
    pub(crate) rules: Rules,
    pub(crate) told: Vec<String>,
    pub(crate) seed: u64,
    /// What the supervisor has saved.
    pub(crate) store: Store,
    /// It is killed before it does what it decides next.
    pub(crate) doomed: Option<Doom>,
    /// It may be killed, so it saves what it decides.
    pub(crate) mortal: bool,
    pub(crate) dead: Option<Dead>,
    /// What is told of incidents.
    pub(crate) chronicle: Chronicle,
}

/// How the world is disposed towards a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mood {
    /// What probes find: true, false, or nothing.
    pub(crate) probe: Option<bool>,
    pub(crate) number: f64,
    pub(crate) can_start: bool,
    /// It ignores what it can.
    pub(crate) deaf: bool,
    pub(crate) hooks_work: bool,
    /// Programs that make another service its successor work.
    pub(crate) can_be_promoted: bool,
}

impl Default for Mood {
    fn default() -> Self {
        Self {
            probe: Some(true),
            number: 50.0,
            can_start: true,
            deaf: false,
            hooks_work: true,
            can_be_promoted: true,
        }
    }
}

pub(crate) enum Happening {
    Started(ActionId, String, u32),
    Done(ActionId, Result<Done, Refused>),
    Answered(u64, String, Option<String>),
    Ends(ProcId, ExitStatus),
    /// Somebody else starts it.
    Appears(String),
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now_ns: SECOND,
            supervisor: supervisor(seed),
            set: Arc::default(),
            last_pid: 100,
            living: BTreeMap::new(),
            foreign: BTreeSet::new(),
            agenda: BTreeMap::new(),
            moods: BTreeMap::new(),
            certain: true,
            waiting: BTreeSet::new(),
            rules: Rules::default(),
            told: vec![],
            seed,
            store: Store::default(),
            doomed: None,
            mortal: true,
            dead: None,
            chronicle: Chronicle::default(),
        }
    }

    pub(crate) const fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub(crate) fn policies(&mut self, services: Vec<Service>) {
        self.policies_on(services, Host::default());
    }

    pub(crate) fn policies_on(&mut self, mut services: Vec<Service>, host: Host) {
        self.rise();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        for service in services.iter().filter(|service| !is_adopted(service)) {
            // Who started it ends it before others are to.
            if self.main(&service.name, 0).is_some_and(|main| self.foreign.contains(&main)) {
                self.dies(&service.name, 0, ExitStatus::Code(0));
            }
        }
        self.rise();
        let services = services.into_iter().map(Arc::new).collect();
        let set = Arc::new(PolicySet { services, host, ..PolicySet::default() });
        self.rules.policies(&self.set, &set);
        self.set = Arc::clone(&set);
        self.chronicle.incidents.policies(self.now_ns, &set);
        self.handle(Input::Policies(set));
        for ((name, _), id) in self.living.clone() {
            self.handle(Input::Found(&process(id, &name)));
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.rise();
        self.rules.command(&command);
        self.told.push(format!("{:>10} {command:?}", self.now_ns / 1_000_000));
        self.handle(Input::Command(command));
    }

    pub(crate) fn certain(&mut self, certain: bool) {
        self.rise();
        self.certain = certain;
        self.handle(Input::Certain(certain));
    }

    pub(crate) fn mood(&mut self, service: &str) -> &mut Mood {
        self.moods.entry(service.to_owned()).or_default()
    }

    /// From now on all is well.
    pub(crate) fn cheer_up(&mut self) {
        self.moods.clear();
        self.certain(true);
    }

    pub(crate) fn state(&self, service: &str) -> ServiceState {
        self.supervisor.state(service).expect("it is in the policies")
    }

    pub(crate) fn services(&self) -> Vec<Arc<Service>> {
        self.set.services.clone()
    }

    pub(crate) fn main(&self, service: &str, instance: u32) -> Option<ProcId> {
        self.living.get(&(service.to_owned(), instance)).copied()
    }

    pub(crate) fn alive(&self, service: &str) -> usize {
        self.living.keys().filter(|(name, _)| name == service).count()
    }

    pub(crate) fn kill(&mut self, service: &str, instance: u32, signal: u8) {
        self.dies(service, instance, ExitStatus::Signal { number: signal, core: false });
    }

    /// An instance ends on its own account, if it lives.
    pub(crate) fn dies(&mut self, service: &str, instance: u32, status: ExitStatus) {
        if let Some(id) = self.main(service, instance) {
            self.rules.dies(service, instance, id);
            self.ends(id, status);
        }
    }

    /// Somebody else starts an adopted service.
    pub(crate) fn appears(&mut self, service: &str) {
        let by_others = self.set.services.iter().any(|known| known.name == service && is_adopted(known));
        let is_ours =
            |one: &Happening| matches!(one, Happening::Started(_, starting, _) if starting == service);
        let is_coming = self.agenda.values().flatten().any(is_ours);
        if !by_others || is_coming || self.alive(service) > 0 {
            return;
        }
        let id = self.new_id();
        self.foreign.insert(id);
        self.living.insert((service.to_owned(), 0), id);
        let action = Action::Exec { process: process(id, service), exec: Exec::default() };
        self.event(action);
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, span: u64) {
        let end_ns = self.now_ns + span;
        let (mut turns, mut since_ns) = (0, self.now_ns);
        loop {
            self.rise();
            let due = self.supervisor.poll_timeout();
            let next = self.agenda.keys().next().copied();
            let Some(at) = due.into_iter().chain(next).min().filter(|&at| at <= end_ns) else { break };
            self.now_ns = self.now_ns.max(at);
            if self.now_ns > since_ns + 1_000_000 {
                (turns, since_ns) = (0, self.now_ns);
            }
            turns += 1;
            assert!(turns < RESTLESS, "it does not come to rest\n{}", self.story());
            if let Some(happenings) = self.agenda.remove(&at) {
                happenings.into_iter().for_each(|happening| self.happen(happening));
            } else {
                self.supervisor.handle_timeout(self.now_ns);
                self.obey();
            }
        }
        self.now_ns = end_ns.max(self.now_ns);
    }

    /// What was told and done, a line each.
    pub(crate) fn story(&self) -> String {
        self.told.join("\n")
    }

    pub(crate) fn forget_story(&mut self) {
        self.told.clear();
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        if self.dead.is_some() {
            return;
        }
        self.chronicle.before(self.now_ns, &input, &self.supervisor);
        self.supervisor.handle(self.now_ns, input);
        self.obey();
    }

    pub(crate) fn new_id(&mut self) -> ProcId {
        self.last_pid += 1;
        ProcId { pid: self.last_pid, start_ns: self.now_ns }
    }

    pub(crate) fn event(&mut self, action: Action) {
        let event = Event { time_ns: self.now_ns, cpu: 0, sequence: 0, action };
        self.handle(Input::Event(&event));
    }

    fn happen(&mut self, happening: Happening) {
        if self.dead.is_some() {
            return self.happens_unseen(happening);
        }
        match happening {
            Happening::Started(id, service, instance) => {
                if !self.moods.get(&service).copied().unwrap_or_default().can_start {
                    let refused = Refused { why: "no such file".to_owned() };
                    return self.handle(Input::Done { id, result: Err(refused) });
                }
                let main = self.new_id();
                let before = self.living.insert((service.clone(), instance), main);
                assert_eq!(before, None, "two of {service}/{instance}\n{}", self.story());
                self.handle(Input::Done { id, result: Ok(Done::Started(process(main, &service))) });
            }
            Happening::Done(id, result) => self.handle(Input::Done { id, result }),
            Happening::Answered(question, service, number) => {
                let mood = self.moods.get(&service).copied().unwrap_or_default();
                let answer = match (number, mood.probe) {
                    (Some(_), _) => Answer::Number(mood.number),
                    (None, Some(true)) => Answer::Pass,
                    (None, Some(false)) => Answer::Fail("connection refused".to_owned()),
                    (None, None) => Answer::Error("no more descriptors".to_owned()),
                };
                self.handle(Input::Answered { question, answer, took_ns: SOON_NS });
            }
            Happening::Ends(id, status) => self.ends(id, status),
            Happening::Appears(service) => self.appears(&service),
        }
    }

    pub(crate) fn ends(&mut self, id: ProcId, status: ExitStatus) {
        let Some(name) = self.living.iter().find(|(_, living)| **living == id).map(|(name, _)| name.clone())
        else {
            return;
        };
        self.living.remove(&name);
        let action = Action::Exit { process: process(id, &name.0), exit: Box::new(exit(status)) };
        let event = Event { time_ns: self.now_ns, cpu: 0, sequence: 0, action };
        self.ended_unseen(&event, &name);
        self.handle(Input::Event(&event));
    }

    pub(crate) fn obey(&mut self) {
        if self.mortal {
            self.store.write(self.supervisor.take_changes());
        }
        if self.is_last_turn() {
            return self.dies_now();
        }
        self.do_all();
    }

    pub(crate) fn do_all(&mut self) {
        while let Some(effect) = self.supervisor.poll_effect() {
            let ms = self.now_ns / 1_000_000;
            match effect {
                Effect::Act(plan) => {
                    let would = if plan.act { "" } else { "would " };
                    let Plan { id, subject, deed, because, .. } = &plan;
                    self.told.push(format!("{ms:>10} {subject} #{} {would}{deed} {because}", id.0));
                    self.see(&plan);
                    self.chronicle.incidents.plan(&plan);
                    if plan.act {
                        self.act(plan);
                    }
                }
                Effect::Ask(question) => {
                    self.chronicle.ask(&question, self.now_ns);
                    self.ask(question);
                }
                Effect::Tell(notice) => {
                    self.told.push(format!("{ms:>10} {} {:?}", notice.subject, notice.what));
                    self.hear(&notice);
                }
            }
        }
    }

    /// A plan is within the rules.
    pub(crate) fn see(&mut self, plan: &Plan) {
        let alive = self.alive(&plan.subject.service);
        let mains: Vec<ProcId> = self.living.values().copied().collect();
        if let Err(broken) = self.rules.plan(plan, self.certain, alive, &mains) {
            panic!("{broken}\n{}", self.story());
        }
    }

    pub(crate) fn hear(&mut self, notice: &Notice) {
        self.chronicle.incidents.notice(notice);
        if let Err(broken) = self.rules.notice(notice) {
            panic!("{broken}\n{}", self.story());
        }
        if let What::Waits { id, .. } = &notice.what {
            self.waiting.insert(*id);
        }
    }

    fn ask(&mut self, question: Question) {
        let number = matches!(question.ask, guard_core::supervise::Ask::Number(_)).then(String::new);
        let service = question.subject.service.to_string();
        self.later(SOON_NS, Happening::Answered(question.id, service, number));
    }

    fn later(&mut self, span: u64, happening: Happening) {
        self.agenda.entry(self.now_ns + span).or_default().push(happening);
    }

    fn act(&mut self, plan: Plan) {
        let service = plan.subject.service.to_string();
        let mood = self.moods.get(&service).copied().unwrap_or_default();
        let done = match plan.deed {
            Deed::Start { .. } => {
                let instance = plan.subject.instance.expect("an instance");
                return self.later(SOON_NS, Happening::Started(plan.id, service, instance));
            }
            Deed::Signal { target, signal, .. } => {
                if !mood.deaf || signal == 9 {
                    let status = ExitStatus::Signal { number: signal, core: false };
                    self.later(SOON_NS / 2, Happening::Ends(target, status));
                }
                Ok(Done::Carried)
            }
            Deed::Kill { target, .. } => {
                let status = ExitStatus::Signal { number: 9, core: false };
                self.later(SOON_NS / 2, Happening::Ends(target, status));
                Ok(Done::Carried)
            }
            Deed::RestartVia { .. } if mood.can_start => {
                if let Some(main) = self.main(&service, 0) {
                    let status = ExitStatus::Signal { number: 15, core: false };
                    self.later(SOON_NS / 2, Happening::Ends(main, status));
                }
                self.later(SOON_NS * 2, Happening::Appears(service.clone()));
                Ok(Done::Carried)
            }
            Deed::RestartVia { .. } => Err(Refused { why: "the unit failed".to_owned() }),
            Deed::Run { purpose, .. } => {
                let works = if purpose == "promote" { mood.can_be_promoted } else { mood.hooks_work };
                let done = self.rules.hook(&plan.subject.service, purpose, works, &plan.deed);
                if let Err(broken) = done {
                    panic!("{broken}\n{}", self.story());
                }
                works.then_some(Done::Carried).ok_or_else(|| Refused { why: "exit code 1".to_owned() })
            }
            _ => Ok(Done::Carried),
        };
        self.later(SOON_NS, Happening::Done(plan.id, done));
    }
}

pub(crate) fn supervisor(seed: u64) -> Supervisor {
    let clock = Clock { boot_ns: 1_800_000_000 * 1_000_000_000 };
    Supervisor::new(Settings { seed, clock })
}

/// A process of a service, as the core tells it.
pub(crate) fn process(id: ProcId, service: &str) -> Arc<Process> {
    let executable = format!("/usr/sbin/{service}").into_bytes();
    let program = Program { args: executable.clone(), executable, ..Program::default() };
    Arc::new(Process { id, program: Some(Arc::new(program)), ..Process::default() })
}

/// Whether somebody else starts a service.
pub(crate) fn is_adopted(service: &Service) -> bool {
    matches!(service.origin, Origin::Adopt(_))
}
