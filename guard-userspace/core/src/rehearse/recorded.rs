//! A recorded stream, shown to policies that only watch.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::play::Entry;
use crate::event::{Action, Event, Process};
use crate::ids::ProcId;
use crate::policy::model::{Adopt, Mode, Origin, Readiness, RestartVia, Selector, Service};
use crate::policy::set::PolicySet;
use crate::supervise::{Answer, Effect, Input, Settings, Supervisor};

/// Policies as they watch a recording: nothing is carried out, and what they would have started is found by its program.
#[must_use]
pub fn observed(set: &PolicySet) -> PolicySet {
    let observe = |service: &Arc<Service>| {
        let mut service = Service { mode: Mode::Observe, ..(**service).clone() };
        if let Origin::Run(run) = &service.origin {
            let matching =
                Selector { exe: run.command.first().cloned(), user: run.user.clone(), ..Selector::default() };
            service.origin = Origin::Adopt(Adopt {
                matching,
                restart_via: Some(RestartVia::Command(run.command.clone())),
                timeout: service.ready.within,
                min: run.instances.min,
            });
            // Which instance a process was is not known, and probes are not answered.
            service.ready.by = Readiness::Started;
        }
        Arc::new(service)
    };
    PolicySet { services: set.services.iter().map(observe).collect(), ..set.clone() }
}

/// A supervisor that watches a recording.
#[derive(Debug)]
pub struct Recorded {
    supervisor: Supervisor,
    known: FxHashSet<ProcId>,
    now_ns: u64,
    entries: Vec<Entry>,
}

impl Recorded {
    /// Begins at a time, with the processes that were there; `set` comes from [`observed`].
    #[must_use]
    pub fn new(set: Arc<PolicySet>, settings: Settings, began_ns: u64, processes: &[Arc<Process>]) -> Self {
        let supervisor = Supervisor::new(settings);
        let known = FxHashSet::default();
        let mut recorded = Self { supervisor, known, now_ns: began_ns, entries: Vec::new() };
        recorded.supervisor.handle(began_ns, Input::Policies(set));
        for process in processes {
            recorded.known.insert(process.id);
            recorded.supervisor.handle(began_ns, Input::Found(process));
        }
        recorded.effects();
        recorded
    }

    /// The next event. One that comes late is taken as of now.
    pub fn event(&mut self, event: &Event) {
        self.pass(event.time_ns);
        if let Some(process) = event.action.process()
            && self.known.insert(process.id)
            && !matches!(event.action, Action::Fork { .. } | Action::Exec { .. })
        {
            self.supervisor.handle(self.now_ns, Input::Found(process));
        }
        match &event.action {
            Action::Gap(_) => {
                self.supervisor.handle(self.now_ns, Input::Event(event));
                self.supervisor.handle(self.now_ns, Input::Certain(false));
            }
            Action::Resync(_) => {
                self.supervisor.handle(self.now_ns, Input::Event(event));
                self.supervisor.handle(self.now_ns, Input::Certain(true));
            }
            Action::Exit { process, .. } => {
                self.known.remove(&process.id);
                self.supervisor.handle(self.now_ns, Input::Event(event));
            }
            _ => self.supervisor.handle(self.now_ns, Input::Event(event)),
        }
        self.effects();
    }

    /// What would have been done, so far not taken.
    pub fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Lets time pass.
    pub fn pass(&mut self, until_ns: u64) {
        while let Some(due_ns) = self.supervisor.poll_timeout().filter(|due_ns| *due_ns < until_ns) {
            self.now_ns = self.now_ns.max(due_ns);
            self.supervisor.handle_timeout(self.now_ns);
            self.effects();
        }
        self.now_ns = self.now_ns.max(until_ns);
    }

    fn effects(&mut self) {
        while let Some(effect) = self.supervisor.poll_effect() {
            if let Effect::Ask(question) = &effect {
                let answer = Answer::Error("a recording does not answer".to_owned());
                let input = Input::Answered { question: question.id, answer, took_ns: 0 };
                self.supervisor.handle(self.now_ns, input);
            }
            self.entries.extend(Entry::of(effect));
        }
    }
}
