//! A world in which a supervisor's wishes come true: processes that start, live and die, on a clock that jumps from one moment
//! in which something happens to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use guard_core::event::{Action, Cause, Event, Exit, ExitStatus, Process};
use guard_core::ids::ProcId;
use guard_core::policy::PolicySet;
use guard_core::policy::model::{
    Backoff, Budget, EndStatus, Impact, Instances, Kill, Limits, Log, LogTarget, Mode, Origin, Readiness,
    Ready, Restart, RestartOn, Run, Service, Stop,
};
use guard_core::supervise::{Command, Deed, Done, Effect, Input, Plan, ServiceState, Settings, Supervisor};

pub(crate) const SECOND: u64 = 1_000_000_000;

/// How long a start takes here.
const START_NS: u64 = 1_000_000;

pub(crate) struct World {
    pub(crate) now_ns: u64,
    supervisor: Supervisor,
    last_pid: u32,
    /// The living main processes, by service and instance.
    living: BTreeMap<(String, u32), ProcId>,
    /// What is to happen, by time.
    agenda: BTreeMap<u64, Vec<Happening>>,
    told: Vec<String>,
}

enum Happening {
    Done(guard_core::supervise::ActionId, Result<Done, guard_core::supervise::Refused>),
    Ends(ProcId, ExitStatus),
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now_ns: SECOND,
            supervisor: Supervisor::new(Settings { seed, ..Settings::default() }),
            last_pid: 100,
            living: BTreeMap::new(),
            agenda: BTreeMap::new(),
            told: vec![],
        }
    }

    pub(crate) fn policies(&mut self, services: Vec<Service>) {
        let set =
            PolicySet { services: services.into_iter().map(Arc::new).collect(), ..PolicySet::default() };
        self.handle(Input::Policies(Arc::new(set)));
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.handle(Input::Command(command));
    }

    pub(crate) fn state(&self, service: &str) -> ServiceState {
        self.supervisor.state(service).expect("it is in the policies")
    }

    pub(crate) fn main(&self, service: &str, instance: u32) -> Option<ProcId> {
        self.living.get(&(service.to_owned(), instance)).copied()
    }

    pub(crate) fn kill(&mut self, service: &str, instance: u32, signal: u8) {
        let id = self.main(service, instance).expect("it lives");
        self.ends(id, ExitStatus::Signal { number: signal, core: false });
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, span: u64) {
        let end_ns = self.now_ns + span;
        loop {
            let due = self.supervisor.poll_timeout();
            let next = self.agenda.keys().next().copied();
            let Some(at) = due.into_iter().chain(next).min().filter(|&at| at <= end_ns) else { break };
            self.now_ns = self.now_ns.max(at);
            if let Some(happenings) = self.agenda.remove(&at) {
                happenings.into_iter().for_each(|happening| self.happen(happening));
            } else {
                self.supervisor.handle_timeout(self.now_ns);
                self.obey();
            }
        }
        self.now_ns = end_ns;
    }

    /// What was told and done, a line each.
    pub(crate) fn story(&self) -> String {
        self.told.join("\n")
    }

    fn handle(&mut self, input: Input<'_>) {
        self.supervisor.handle(self.now_ns, input);
        self.obey();
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Done(id, result) => self.handle(Input::Done { id, result }),
            Happening::Ends(id, status) => self.ends(id, status),
        }
    }

    fn ends(&mut self, id: ProcId, status: ExitStatus) {
        let lived: BTreeSet<ProcId> = self.living.values().copied().collect();
        if !lived.contains(&id) {
            return;
        }
        self.living.retain(|_, living| *living != id);
        let process = Arc::new(Process { id, ..Process::default() });
        let exit = Box::new(Exit {
            status,
            cause: Cause::Own,
            lifetime_ns: 0,
            fork_to_exec_ns: None,
            exec_to_listen_ns: None,
            usage: None,
        });
        let action = Action::Exit { process, exit };
        let event = Event { time_ns: self.now_ns, cpu: 0, sequence: 0, action };
        self.handle(Input::Event(&event));
    }

    fn obey(&mut self) {
        while let Some(effect) = self.supervisor.poll_effect() {
            self.told.push(format!("{:>12} {effect:?}", self.now_ns / 1_000_000));
            if let Effect::Act(plan) = effect
                && plan.act
            {
                self.act(plan);
            }
        }
    }

    fn act(&mut self, plan: Plan) {
        let later = self.now_ns + START_NS;
        let done = match &plan.deed {
            Deed::Start { .. } => {
                self.last_pid += 1;
                let id = ProcId { pid: self.last_pid, start_ns: self.now_ns };
                let instance = plan.subject.instance.expect("an instance");
                let before = self.living.insert((plan.subject.service.to_string(), instance), id);
                assert_eq!(before, None, "two of one instance");
                Done::Started(Arc::new(Process { id, ..Process::default() }))
            }
            Deed::Signal { target, signal, .. } => {
                let status = ExitStatus::Signal { number: *signal, core: false };
                self.agenda.entry(later).or_default().push(Happening::Ends(*target, status));
                Done::Carried
            }
            _ => Done::Carried,
        };
        self.agenda.entry(later).or_default().push(Happening::Done(plan.id, Ok(done)));
    }
}

/// A service of one instance that is ready at once.
pub(crate) fn service(name: &str) -> Service {
    Service {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        owner: None,
        impact: Impact::Medium,
        rto: None,
        runbook: None,
        group: None,
        origin: Origin::Run(Run {
            command: vec!["/usr/bin/true".to_owned()],
            user: None,
            group: None,
            environment: BTreeMap::new(),
            directory: "/".into(),
            first_port: Some(8_000),
            instances: Instances { min: 1, start: 1, max: 4 },
            limits: Limits::default(),
            capabilities: None,
            log: Log { target: LogTarget::Null },
        }),
        ready: Ready { by: Readiness::Started, within: 10 * SECOND },
        depends_on: vec![],
        restart: Restart {
            on: RestartOn::Always,
            budget: Budget { count: 5, within: 600 * SECOND },
            backoff: Backoff {
                initial: SECOND / 10,
                factor: 2.0,
                max: 60 * SECOND,
                jitter: 0.25,
                reset_after: 600 * SECOND,
            },
            success: vec![EndStatus::Code(0)],
            never: vec![],
            slow_retry: 300 * SECOND,
        },
        stop: Stop { signal: 15, timeout: 10 * SECOND, kill: Kill::Cgroup },
        checks: vec![],
        actions: BTreeMap::new(),
        failover: None,
        mode: Mode::Act,
    }
}
