//! What others ask, answered within the turn.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use guard_core::event::{Action, Event, Listen};
use guard_core::incident::Incident;
use guard_core::policy::model::{Instances, Origin, Service};
use guard_core::supervise::{Command, Effect, Input, What};

use tokio::sync::oneshot;

use super::door::{Answer, Generation, Peer, Question, Refusal, Request, Unguarded};
use super::policies::{self, Accepted};
use super::state::{Durability, KeptIncident, StateError, View, Wanted};
use super::turn::Daemon;
use super::{generations, listening};
use crate::clock::{self, Stamp};
use crate::show::escape;

/// The counter that says of which generation the files are that hold: after a rollback, an earlier one.
pub(super) const ORIGIN: &str = "origin";

type Reply = oneshot::Sender<Result<Answer, Refusal>>;

impl Daemon {
    /// Answers.
    pub(super) fn request(&mut self, request: Request) {
        let Request { question, peer, reply } = request;
        let answer = match question {
            Question::Services => Ok(Answer::Services(self.supervisor.facts())),
            Question::Incidents { service, open, limit } => {
                let wanted = Wanted { service, open, limit };
                return self.read_incidents(reply, move |view| view.incidents(&wanted));
            }
            Question::Incident(id) => {
                return self.read_incidents(reply, move |view| Ok(view.incident(id)?.into_iter().collect()));
            }
            Question::Daemon => Ok(Answer::Daemon(Box::new(self.facts()))),
            Question::Unguarded => self.unguarded().map(Answer::Unguarded),
            Question::Draft(pid) => super::drafts::of(pid).map(Answer::Text),
            Question::Suggest(service) => self.suggest(&service).map(Answer::Text),
            Question::Command(command) => self.command(command, peer),
            Question::Reload => self.reload().map(Answer::Generation),
            Question::Rollback => self.rollback("an operator rolled back").map(Answer::Generation),
            Question::Generations => self.kept_generations().map(Answer::Generations),
            Question::Flags => Ok(Answer::Flags(self.flags.all())),
            Question::SetFlag(name, on) => self.set_flag(&name, on),
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    /// What an operator wants. What the supervisor does not do for them is the answer.
    fn command(&mut self, command: Command, peer: Peer) -> Result<Answer, Refusal> {
        let service = match &command {
            Command::Start(service) | Command::Stop(service) | Command::Scale { service, .. } => {
                service.clone()
            }
            Command::Restart(subject) => subject.service.to_string(),
            Command::Approve(_) | Command::Deny(_) | Command::Shutdown => String::new(),
        };
        if !service.is_empty() && self.supervisor.facts_of(&service).is_none() {
            return Err(no_service(&service));
        }
        if let Command::Approve(id) | Command::Deny(id) = &command
            && !self
                .supervisor
                .facts()
                .iter()
                .any(|facts| facts.waiting.iter().any(|(waits, _)| *waits == id.0))
        {
            return Err(Refusal::Unknown(format!("no step {} waits for approval", id.0)));
        }
        if let Command::Scale { instances, .. } = &command {
            self.within_bounds(&service, *instances)?;
        }
        self.say("daemon", format!("user {} (process {}) wants: {command:?}", peer.uid, peer.pid));
        self.take_effects();
        let before = self.effects.len();
        self.supervisor.handle(clock::boot_ns(), Input::Command(command));
        self.take_effects();
        let withheld = self.effects.iter().skip(before).find_map(|effect| match effect {
            Effect::Tell(notice) if *notice.subject.service == *service => match &notice.what {
                What::Withheld { why, .. } => Some(why.clone()),
                _ => None,
            },
            _ => None,
        });
        withheld.map_or(Ok(Answer::Done), |why| Err(Refusal::Conflict(format!("{service}: {why}"))))
    }

    /// A service's policy says how many instances there may be.
    fn within_bounds(&self, service: &str, wanted: u32) -> Result<(), Refusal> {
        let facts = self.supervisor.facts_of(service);
        let Some(Origin::Run(run)) = facts.as_ref().map(|facts| &facts.policy.origin) else { return Ok(()) };
        let Instances { min, max, .. } = run.instances;
        if (min..=max).contains(&wanted) {
            return Ok(());
        }
        Err(Refusal::Conflict(format!(
            "{service} may have {min} to {max} instances, and not {wanted}; change `run.instances` in its policy, then `processguard reload`"
        )))
    }

    /// Incidents are read by the state's own thread, which answers by itself.
    fn read_incidents(
        &mut self,
        reply: Reply,
        read: impl FnOnce(&View<'_>) -> Result<Vec<KeptIncident>, StateError> + Send + 'static,
    ) {
        // What changed within this turn is part of the answer.
        self.put_down();
        let stamp = self.teller.stamp();
        let told = self.state.read(move |view| {
            let incidents =
                read(view).map(|kept| kept.into_iter().map(|kept| of_this_boot(kept, stamp)).collect());
            let _ = reply.send(incidents.map(Answer::Incidents).map_err(failed));
        });
        if let Err(error) = told {
            tracing::error!("{}", error.advice());
        }
    }

    /// Reads from the database at once: some milliseconds.
    fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, seen) = std::sync::mpsc::channel();
        self.state.read(move |view| drop(sender.send(read(view)))).map_err(failed)?;
        seen.recv().map_err(|_gone| Refusal::Gone)?.map_err(failed)
    }

    fn set_flag(&mut self, name: &str, on: bool) -> Result<Answer, Refusal> {
        let mut flags = self.flags.clone();
        flags.set(name, on)?;
        let mut together = self.state.together();
        self.state.write(together.put_flag(name, on), Durability::Power).map_err(failed)?;
        self.flags = flags;
        self.say("flag", format!("flag {name} is {}", if on { "on" } else { "off" }));
        Ok(Answer::Flags(self.flags.all()))
    }

    /// The policies' files are read again: all valid, or nothing changes.
    pub(super) fn reload(&mut self) -> Result<Generation, Refusal> {
        let accepted = policies::read(&self.settings.policies)?;
        self.adopt(accepted, "reload".to_owned(), true)
    }

    /// The generation before holds again, as a new one.
    pub(super) fn rollback(&mut self, why: &str) -> Result<Generation, Refusal> {
        let current = self.generations.current().number;
        let kept = self.look(|view| view.generations())?;
        let before = kept.iter().find(|generation| generation.number < self.generations.origin());
        let Some(before) = before.map(|generation| generation.number) else {
            return Err(Refusal::Conflict(format!("there is no generation before {current}")));
        };
        let files = self.look(move |view| view.files(before))?.unwrap_or_default();
        let accepted = policies::again(&files)?;
        let generation = self.adopt(accepted, format!("rollback to {before}: {why}"), false)?;
        let mut together = self.state.together();
        self.state.write(together.put_counter(ORIGIN, before), Durability::Power).map_err(failed)?;
        self.generations.came_from(before);
        Ok(generation)
    }

    /// Other policies hold from now on. They are put down first.
    pub(super) fn adopt(
        &mut self,
        accepted: Accepted,
        why: String,
        on_trial: bool,
    ) -> Result<Generation, Refusal> {
        let now_ns = clock::boot_ns();
        if *accepted.set == **self.generations.set() {
            return Ok(self.shown(self.generations.current().clone(), now_ns));
        }
        let newest = self.generations.newest();
        let unix_ns = self.teller.stamp().unix_ns(now_ns);
        let generation = generations::after(newest, self.generations.set(), &accepted, why, unix_ns);
        super::fail::point("reload.before");
        let mut together = self.state.together();
        together.put_generation(&generation, &accepted.texts).put_counter(ORIGIN, generation.number);
        self.state.write(&mut together, Durability::Power).map_err(failed)?;
        super::fail::point("reload.after");
        let message = format!(
            "generation {} holds ({}): {}",
            generation.number,
            generation.why,
            generation.changes.join("; ")
        );
        let on_trial = on_trial && self.flags.is_on("trial");
        self.generations.adopt(generation.clone(), Arc::clone(&accepted.set), on_trial, now_ns);
        self.holds(now_ns);
        self.say("policies", message);
        Ok(self.shown(generation, now_ns))
    }

    /// The policies that hold are told to whom they concern.
    pub(super) fn holds(&mut self, now_ns: u64) {
        let set = Arc::clone(self.generations.set());
        self.incidents.policies(now_ns, &set);
        let known: HashSet<&str> = set.services.iter().map(|service| service.name.as_str()).collect();
        self.tally.retain(|service| known.contains(service));
        self.sketches.keep(|service| known.contains(service));
        self.supervisor.handle(now_ns, Input::Policies(Arc::clone(&set)));
        self.tell_of_the_living(now_ns);
    }

    /// All processes, parents before their children.
    pub(super) fn tell_of_the_living(&mut self, now_ns: u64) {
        let mut living: Vec<_> = self.holder.core().processes().living().cloned().collect();
        living.sort_unstable_by_key(|process| process.id.start_ns);
        living.iter().for_each(|process| self.supervisor.handle(now_ns, Input::Found(process)));
        self.tell_of_the_listening(now_ns);
    }

    /// Who listens already, if a policy adopts by that: the kernel tells only of those who begin to.
    fn tell_of_the_listening(&mut self, now_ns: u64) {
        let by_port = |service: &Service| match &service.origin {
            Origin::Adopt(adopt) => adopt.matching.listens.is_some(),
            Origin::Run(_) => false,
        };
        if !self.generations.set().services.iter().any(|service| by_port(service)) {
            return;
        }
        let ports = match listening::ports() {
            Ok(ports) => ports,
            Err(error) => {
                return self
                    .say("trouble", format!("who listens already cannot be read from /proc: {error}"));
            }
        };
        for (pid, ports) in ports {
            let Some(process) = self.holder.core().processes().current(pid).cloned() else { continue };
            for port in ports {
                let address = (Ipv4Addr::UNSPECIFIED, port).into();
                let action = Action::Listen { process: Arc::clone(&process), listen: Listen { address } };
                let event = Event { time_ns: now_ns, cpu: 0, sequence: 0, action };
                self.supervisor.handle(now_ns, Input::Event(&event));
            }
        }
    }

    /// A service was restarted unasked: if that rises under new policies, those before hold again.
    pub(super) fn restarted_on_trial(&mut self, now_ns: u64) {
        let Some(why) = self.generations.trial.restarted(now_ns) else { return };
        if !self.flags.is_on("trial") {
            return;
        }
        match self.rollback(&format!("by itself: {why}")) {
            Ok(_) => {}
            Err(refusal) => {
                self.say("trouble", format!("policies should be rolled back ({why}), and cannot: {refusal}"))
            }
        }
    }

    fn kept_generations(&self) -> Result<Vec<Generation>, Refusal> {
        let now_ns = clock::boot_ns();
        let kept = self.look(|view| view.generations())?;
        Ok(kept.into_iter().map(|generation| self.shown(generation, now_ns)).collect())
    }

    fn shown(&self, generation: Generation, now_ns: u64) -> Generation {
        let active = generation.number == self.generations.current().number;
        let until_ns = self.generations.trial.until_ns(now_ns).filter(|_| active);
        let trial_until_unix_ns = until_ns.map(|until_ns| self.teller.stamp().unix_ns(until_ns));
        Generation { active, trial_until_unix_ns, ..generation }
    }

    /// Processes that listen, and that no policy guards.
    fn unguarded(&self) -> Result<Vec<Unguarded>, Refusal> {
        let ports =
            listening::ports().map_err(|error| Refusal::Failed(format!("cannot read /proc: {error}")))?;
        let table = self.holder.core().processes();
        let unguarded = ports.into_iter().filter_map(|(pid, ports)| {
            let process = table.current(pid)?;
            if self.supervisor.whose(process.id).is_some() || pid == std::process::id() {
                return None;
            }
            let program = process.program.as_deref();
            let command =
                program.map(|program| program.arguments().map(escape::display).collect::<Vec<_>>().join(" "));
            Some(Unguarded {
                pid,
                exe: program.map(|program| escape::display(&program.executable)).unwrap_or_default(),
                command: command.unwrap_or_default(),
                ports,
                unit: process.cgroup.unit.as_deref().map(ToOwned::to_owned),
            })
        });
        Ok(unguarded.collect())
    }
}

/// Times of an earlier boot become those of this one, so that they are the same on the calendar.
pub(super) fn of_this_boot(kept: KeptIncident, now: Stamp) -> Incident {
    let KeptIncident { mut incident, stamp } = kept;
    if stamp.boot != now.boot {
        incident.shift(stamp.utc_offset_ns.saturating_sub(now.utc_offset_ns));
    }
    incident
}

pub(super) fn failed(error: StateError) -> Refusal {
    Refusal::Failed(error.advice())
}

pub(super) fn no_service(service: &str) -> Refusal {
    Refusal::Unknown(format!("there is no service `{service}`; `processguard status` lists them"))
}
