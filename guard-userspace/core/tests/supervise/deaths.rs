//! The supervisor's own deaths: it is killed at any moment, lies dead for a while in which the world goes on, and another one goes
//! on with what it saved.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard_core::event::{Action, Cause, Event, Exit, ExitStatus};
use guard_core::ids::ProcId;
use guard_core::policy::model::Mode;
use guard_core::supervise::{Before, Changes, Effect, Input, Life, ServiceFacts, Subject};

use crate::world::{Happening, World, process, supervisor};

/// How and when the supervisor is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doom {
    /// After so many inputs from now on.
    pub(crate) turns: u32,
    /// It saved what it decided last, and did nothing of it.
    pub(crate) undone: bool,
    /// For so long nobody looks.
    pub(crate) down_ms: u64,
    /// Starts that were under way are done by somebody.
    pub(crate) starts_land: bool,
    /// Nobody knows how those ended that end meanwhile.
    pub(crate) no_trace: bool,
    /// Somebody dies meanwhile: a process and its exit code.
    pub(crate) dies: Option<(usize, u8)>,
}

/// What is saved, as bytes.
#[derive(Default)]
pub(crate) struct Store {
    services: BTreeMap<Arc<str>, String>,
    shared: Option<String>,
    pub(crate) writes: u64,
}

impl Store {
    pub(crate) fn write(&mut self, changes: Changes) {
        self.writes += u64::from(!changes.is_empty());
        for (name, saved) in changes.services {
            match saved {
                Some(saved) => {
                    self.services.insert(name, serde_json::to_string(&*saved).expect("it can be written"))
                }
                None => self.services.remove(&name),
            };
        }
        if let Some(shared) = changes.shared {
            self.shared = Some(serde_json::to_string(&shared).expect("it can be written"));
        }
    }

    pub(crate) fn read(&self) -> Before {
        let read = |(name, saved): (&Arc<str>, &String)| {
            (Arc::clone(name), serde_json::from_str(saved).expect("it can be read"))
        };
        let shared = self.shared.as_ref();
        Before {
            services: self.services.iter().map(read).collect(),
            shared: shared.map(|shared| serde_json::from_str(shared).expect("it can be read")),
            shift_ns: None,
        }
    }
}

/// Who ended while nobody looked.
#[derive(Default)]
pub(crate) struct Dead {
    ended: BTreeMap<(String, u32), (ProcId, u64, Exit)>,
    /// What was known of services, if nothing can have changed since.
    facts: Vec<ServiceFacts>,
    doom: Option<Doom>,
}

impl World {
    /// The supervisor is to be killed.
    pub(crate) const fn doom(&mut self, doom: Doom) {
        self.doomed = Some(doom);
    }

    /// Whether this turn is its last one.
    pub(crate) fn is_last_turn(&mut self) -> bool {
        let Some(doom) = &mut self.doomed else { return false };
        doom.turns = doom.turns.saturating_sub(1);
        doom.turns == 0
    }

    /// The supervisor dies, before or after it did what it had decided.
    pub(crate) fn dies_now(&mut self) {
        let doom = self.doomed.take();
        if doom.is_some_and(|doom| doom.undone) {
            while let Some(effect) = self.supervisor.poll_effect() {
                match effect {
                    Effect::Act(plan) => {
                        self.told.push(format!("{:>10} lost: {}", self.now_ns / 1_000_000, plan.deed));
                        self.see(&plan);
                        self.chronicle.incidents.plan(&plan);
                    }
                    Effect::Tell(notice) => self.hear(&notice),
                    Effect::Ask(_) => {}
                }
            }
        } else {
            self.do_all();
        }
        self.told.push(format!("{:>10} the supervisor is killed: {doom:?}", self.now_ns / 1_000_000));
        let nothing = doom.is_some_and(|doom| {
            doom.down_ms == 0 && doom.dies.is_none() && !doom.undone && !doom.starts_land
        });
        let facts = if nothing { self.supervisor.facts() } else { vec![] };
        self.rules.nobody_looks();
        self.dead = Some(Dead { doom, facts, ..Dead::default() });
    }

    /// Nobody hears what happens.
    pub(crate) fn happens_unseen(&mut self, happening: Happening) {
        let Some(doom) = self.dead.as_ref().and_then(|dead| dead.doom) else { return };
        match happening {
            Happening::Started(_, service, instance) => {
                let can_start = self.moods.get(&service).copied().unwrap_or_default().can_start;
                if doom.starts_land && can_start {
                    let main = self.new_id();
                    let before = self.living.insert((service.clone(), instance), main);
                    assert_eq!(before, None, "two of {service}/{instance}\n{}", self.story());
                }
            }
            Happening::Done(..) | Happening::Answered(..) => {}
            Happening::Ends(id, status) => self.ends(id, status),
            Happening::Appears(service) => self.appears(&service),
        }
    }

    /// A process ends, and nobody is told.
    pub(crate) fn ended_unseen(&mut self, event: &Event, service: &(String, u32)) {
        if let (Some(dead), Action::Exit { process, exit }) = (&mut self.dead, &event.action) {
            dead.ended.insert(service.clone(), (process.id, event.time_ns, (**exit).clone()));
            dead.facts.clear();
        }
    }

    /// Another supervisor goes on, if this one is dead.
    pub(crate) fn rise(&mut self) {
        let Some(doom) = self.dead.as_ref().map(|dead| dead.doom.expect("it was killed")) else { return };
        let end_ns = self.now_ns + doom.down_ms * 1_000_000;
        if let Some((who, code)) = doom.dies
            && let Some(((name, instance), _)) = self.living.iter().nth(who)
        {
            let (name, instance) = (name.clone(), *instance);
            self.dies(&name, instance, ExitStatus::Code(code));
        }
        while let Some(at) = self.agenda.keys().next().copied().filter(|&at| at <= end_ns) {
            self.now_ns = self.now_ns.max(at);
            let happenings = self.agenda.remove(&at).unwrap_or_default();
            happenings.into_iter().for_each(|happening| self.happens_unseen(happening));
        }
        self.now_ns = end_ns;
        // Whoever carried these out, or asked, is gone.
        let late: Vec<u64> = self.agenda.keys().copied().collect();
        for at in late {
            let happenings = self.agenda.remove(&at).unwrap_or_default();
            let (own, others): (Vec<_>, Vec<_>) = happenings.into_iter().partition(|one| {
                matches!(one, Happening::Started(..) | Happening::Done(..) | Happening::Answered(..))
            });
            own.into_iter().for_each(|happening| self.happens_unseen(happening));
            if !others.is_empty() {
                self.agenda.insert(at, others);
            }
        }
        let dead = self.dead.take().unwrap_or_default();
        self.supervisor = supervisor(self.seed);
        self.supervisor.handle(self.now_ns, Input::Certain(self.certain));
        let living = |subject: &Subject| {
            let key = (subject.service.to_string(), subject.instance.expect("an instance"));
            match (dead.ended.get(&key), self.living.get(&key)) {
                (Some(_), _) if doom.no_trace => Life::Gone,
                (Some((id, time_ns, exit)), _) => {
                    Life::Ended { id: *id, time_ns: *time_ns, exit: Box::new(exit.clone()) }
                }
                (None, Some(id)) => Life::Alive(process(*id, &key.0)),
                (None, None) => Life::NeverStarted,
            }
        };
        let set = Arc::clone(&self.set);
        let read = self.store.read();
        self.supervisor.restore(self.now_ns, &set, read, &living).expect("this version wrote it");
        self.told.push(format!("{:>10} another supervisor goes on", self.now_ns / 1_000_000));
        self.chronicle.reborn(self.now_ns, &self.set, &self.supervisor.facts());
        self.compare(&dead.facts);
        self.obey();
        for ((name, _), id) in self.living.clone() {
            self.handle(Input::Found(&process(id, &name)));
        }
    }

    /// Where nothing happened meanwhile, all is as it was.
    fn compare(&self, before: &[ServiceFacts]) {
        for was in before {
            let name = &was.policy.name;
            let is = self.supervisor.facts_of(name).expect("it has a policy still");
            let story = || format!("{name}: {was:#?}\n{is:#?}\n{}", self.story());
            assert_eq!((is.wanted, is.target, is.role), (was.wanted, was.target, was.role), "{}", story());
            assert_eq!(is.down_since_ns, was.down_since_ns, "{}", story());
            assert!(is.budget.0 <= was.budget.0, "{}", story());
            let in_motion = was.why.contains("primary role") || is.why.contains("primary role");
            if in_motion || is.policy.mode == Mode::Observe {
                // A failover goes on where that can be; who observes by now does not start anew what had been begun.
                continue;
            }
            assert_eq!(is.budget, was.budget, "{}", story());
            assert_eq!(is.waiting, was.waiting, "{}", story());
            assert_eq!(is.state, was.state, "{}", story());
            for (was, is) in was.instances.iter().zip(&is.instances) {
                assert_eq!(
                    (is.number, is.main, is.ready_ns),
                    (was.number, was.main, was.ready_ns),
                    "{}",
                    story()
                );
                assert_eq!((is.state, is.next_ns), (was.state, was.next_ns), "{}", story());
            }
        }
    }
}

/// A death of the supervisor in which nothing else happens.
pub(crate) const fn at_once() -> Doom {
    Doom { turns: 1, undone: false, down_ms: 0, starts_land: false, no_trace: false, dies: None }
}

/// How somebody unrelated ends.
pub(crate) const fn exit(status: ExitStatus) -> Exit {
    Exit {
        status,
        cause: Cause::Own,
        lifetime_ns: 0,
        fork_to_exec_ns: None,
        exec_to_listen_ns: None,
        usage: None,
    }
}
