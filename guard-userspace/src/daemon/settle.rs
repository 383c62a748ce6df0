//! From what happened to what is done: the second half of a turn.

use std::sync::Arc;

use guard_core::event::{Action, Event};
use guard_core::incident::Change;
use guard_core::supervise::{
    Answer, Ask, Deed, Effect, Input, Notice, Plan, Question, Saved, ServiceState, Subject, What,
};

use super::fail;
use super::open::Keeping;
use super::probes::Answered;
use super::resume::Main;
use super::state::{Durability, Intent};
use super::tally;
use super::told::Line;
use super::turn::Daemon;
use crate::clock;
use crate::exit::Failure;

impl Daemon {
    /// Takes in all events, and does what follows from them, until nothing follows any more.
    pub(super) fn settle(&mut self) -> Result<(), Failure> {
        self.teller.set_utc_offset(clock::utc_offset_ns());
        loop {
            self.take_in_events();
            let now_ns = clock::boot_ns();
            if self.supervisor.poll_timeout().is_some_and(|due_ns| due_ns <= now_ns) {
                self.supervisor.handle_timeout(now_ns);
            }
            self.take_effects();
            self.set_aside();
            let is_down = self.put_down();
            let effects = std::mem::take(&mut self.effects);
            let is_quiet = effects.is_empty();
            // What is dead is started first: all else can wait for as long as that takes.
            let (starts, others): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_start);
            for effect in starts {
                self.carry_out(effect, is_down)?;
            }
            self.endings.put_off(others, is_down);
            if self.endings.are_pressing() {
                return Ok(());
            }
            self.holder.put_down()?;
            self.state.stir();
            self.forgotten.drain(..).for_each(|id| self.holder.forget(id));
            if is_quiet && !self.endings.has_put_off() && !self.holder.has_event() {
                self.teller.tell();
                return Ok(());
            }
            while let Some((effect, is_down)) = self.endings.next_put_off() {
                self.carry_out(effect, is_down)?;
            }
        }
    }

    /// Does what was decided. `is_down`: that was written down.
    fn carry_out(&mut self, effect: Effect, is_down: bool) -> Result<(), Failure> {
        match effect {
            Effect::Act(plan) if !is_down && plan.act && !is_harmless(&plan.deed) => {
                let why = "what is done to the living must be written down first, and cannot be";
                self.carried(plan, Err(why.to_owned()));
            }
            Effect::Act(plan) => self.act(plan)?,
            Effect::Ask(question) => self.ask(question),
            Effect::Tell(notice) => self.notice(&notice),
        }
        Ok(())
    }

    /// Takes over what the supervisor wants done; incidents see it first.
    pub(super) fn take_effects(&mut self) {
        while let Some(effect) = self.supervisor.poll_effect() {
            match &effect {
                Effect::Act(plan) => self.incidents.plan(plan),
                Effect::Tell(notice) => self.incidents.notice(notice),
                Effect::Ask(_) => {}
            }
            self.effects.push_back(effect);
        }
    }

    /// Tells the supervisor what the kernel told.
    pub(super) fn take_in_events(&mut self) {
        let certain = self.holder.core().is_certain();
        if std::mem::replace(&mut self.certain, certain) != certain {
            self.supervisor.handle(clock::boot_ns(), Input::Certain(certain));
        }
        while let Some(event) = self.holder.poll_event() {
            self.tally.event(&event);
            self.note_own_child(&event);
            let id = event.action.process().map(|process| process.id);
            // Whoever ends belongs to nobody afterwards; whoever begins, not before.
            let ends = matches!(event.action, Action::Exit { .. });
            let before = id.filter(|_| ends).and_then(|id| self.supervisor.whose(id));
            if let (Some((subject, true)), Action::Exit { exit, .. }) = (&before, &event.action) {
                self.last_end.insert(subject.clone(), tally::cause(exit));
            }
            self.supervisor.handle(clock::boot_ns(), Input::Event(&event));
            let whose = before.or_else(|| self.supervisor.whose(id.filter(|_| !ends)?));
            self.incidents.event(&event, whose.clone());
            if let Action::Exit { process, .. } = &event.action {
                self.has_ended(process.id);
            }
            self.look_out(&event, whose.as_ref().is_some_and(|(_, is_main)| *is_main));
            match whose {
                Some((subject, is_main)) if is_news(&event, is_main) => {
                    self.teller.event(event, Some(subject));
                }
                None if matches!(event.action, Action::Gap(_) | Action::Resync(_)) => {
                    self.teller.event(event, None);
                }
                _ => {}
            }
        }
    }

    /// Remembers the birth and the program of our own children: whoever started them asks for it.
    fn note_own_child(&mut self, event: &Event) {
        if let Action::Fork { process } | Action::Exec { process, .. } = &event.action
            && process.parent.pid == self.own_pid
        {
            self.born.insert(process.id.pid, Arc::clone(process));
        }
    }

    /// What became of incidents is told, and owed to the state.
    fn follow_incidents(&mut self) {
        let now_ns = clock::boot_ns();
        loop {
            // What goes on is put down once all is done: a crash loop's timeline is long, and what is dead is started first.
            let is_done = self.effects.is_empty() && !self.endings.hold_starts();
            let next = if is_done { self.incidents.poll() } else { self.incidents.poll_news() };
            let Some(change) = next else { return };
            let incident = match change {
                Change::Opened(incident) => {
                    self.teller.incident("incident-opened", now_ns, incident.clone());
                    incident
                }
                Change::Updated(incident) => incident,
                Change::Closed(incident) => {
                    self.tally.closed(&incident);
                    self.teller.incident("incident-closed", now_ns, incident.clone());
                    incident
                }
            };
            self.changed.retain(|changed| changed.id != incident.id);
            self.changed.push(incident);
        }
    }

    /// Asks a service something, or answers what we know ourselves.
    fn ask(&mut self, question: Question) {
        self.asked.insert(question.id, (question.subject.clone(), question.check.clone()));
        let now_ns = clock::boot_ns();
        let known = match &question.ask {
            Ask::Logged(main) => return self.ask_for_log(question.id, *main),
            _ if !self.flags.is_on("probes") => {
                Some(Answer::Error("probes are switched off on this host".to_owned()))
            }
            _ => None,
        };
        match known {
            Some(answer) => {
                self.answered(Answered { question: question.id, answer, asked_ns: now_ns, took_ns: 0 })
            }
            None => self.probes.ask(question),
        }
    }

    /// A question has its answer.
    pub(super) fn answered(&mut self, answered: Answered) {
        let Answered { question, answer, asked_ns, took_ns } = answered;
        if let Some((subject, check)) = self.asked.remove(&question) {
            let (good, reason) = match &answer {
                Answer::Pass => (Some(true), ""),
                Answer::Fail(why) => (Some(false), why.as_str()),
                Answer::Error(why) => (None, why.as_str()),
                Answer::Number(_) => (None, ""),
            };
            if let Some(good) = good {
                let to_ns = asked_ns.saturating_add(took_ns);
                self.incidents.answered(&subject, check.as_deref(), good, (asked_ns, to_ns), reason);
            }
            if let Some(check) = &check {
                let result = match answer {
                    Answer::Pass | Answer::Number(_) => "pass",
                    Answer::Fail(_) => "fail",
                    Answer::Error(_) => "error",
                };
                self.tally.answer(&subject.service, check, result);
                if answer == Answer::Pass {
                    self.sketches.answered(&subject.service, check, asked_ns, took_ns);
                }
            }
        }
        self.supervisor.handle(clock::boot_ns(), Input::Answered { question, answer, took_ns });
    }

    /// Something is to be told.
    fn notice(&mut self, notice: &Notice) {
        if let What::Withheld { deed: _, .. } = &notice.what {
            self.tally.action("step", "withheld");
        }
        if let What::State { to: ServiceState::Stopped, .. } = &notice.what
            && notice.subject.instance.is_some()
        {
            self.instance_is_gone(&notice.subject);
        }
        self.teller.notice(notice);
    }

    /// What the daemon does by itself.
    pub(super) fn say(&mut self, action: &'static str, message: String) {
        tracing::info!("{message}");
        let (time_ns, detail) = (clock::boot_ns(), serde_json::Value::Null);
        self.teller.line(Line { time_ns, action, subject: None, message, detail });
    }

    /// What changed and what is intended is put down, before any of it is done: durable for our own death if it only starts what is
    /// dead, for the host's if it touches who lives. Gives whether that worked.
    pub(super) fn put_down(&mut self) -> bool {
        self.follow_incidents();
        // The disk was full for so long that what waited to be written was given up.
        let anew = self.state.wants_everything();
        if anew {
            self.supervisor.give_all_anew();
            self.changed.extend(self.incidents.open().cloned());
        }
        let changes = self.supervisor.take_changes();
        let mut together = if anew { self.state.everything() } else { self.state.together() };
        for (name, saved) in changes.services {
            let text = saved.and_then(|saved| self.kept(&name, &saved));
            together.put_service(&name, text.as_deref());
        }
        if let Some(shared) = changes.shared.and_then(|shared| serde_json::to_string(&shared).ok()) {
            together.put_shared(&shared);
        }
        for incident in self.changed.drain(..) {
            together.put_incident(&incident);
        }
        let now_ns = clock::boot_ns();
        for (id, failed) in self.outcomes.drain(..) {
            together.outcome(id, now_ns, failed.as_deref());
        }
        let mut durability = Durability::Crash;
        for effect in &self.effects {
            let Effect::Act(plan) = effect else { continue };
            if !plan.act || self.is_done_already(&plan.deed) {
                continue;
            }
            if !is_harmless(&plan.deed) {
                durability = Durability::Power;
            }
            together.intend(&Intent {
                id: plan.id,
                time_ns: plan.time_ns,
                boot: self.teller.stamp().boot,
                kind: tally::deed(&plan.deed).to_owned(),
                service: plan.subject.service.to_string(),
                instance: plan.subject.instance,
                detail: format!("{} {}", plan.deed, plan.because),
            });
        }
        let starts = self.effects.iter().any(is_start);
        if starts {
            fail::point("start.decided");
        }
        match self.state.put(&mut together, durability) {
            Ok(()) => {
                // Nothing to write is written well.
                self.unwritten.take_if(|_| self.state.trouble().is_none());
                if starts {
                    fail::point("start.written");
                }
                self.forgotten.append(&mut self.to_forget);
                true
            }
            Err(error) => {
                let advice = error.advice();
                // Each turn would say it again.
                if self.unwritten.replace(advice.clone()).as_ref() != Some(&advice) {
                    tracing::error!("{advice}");
                }
                false
            }
        }
    }

    /// A service as it is put down.
    fn kept(&mut self, name: &Arc<str>, saved: &Saved) -> Option<String> {
        let mut mains = vec![];
        for (instance, process) in self.supervisor.mains_of(name) {
            let subject = Subject { service: Arc::clone(name), instance: Some(instance) };
            let room = self.lives.room(process).map(|room| room.name().to_string());
            if room.is_none() {
                self.follow(&subject, process);
            }
            mains.push(Main { instance, process, room });
        }
        serde_json::to_string(&Keeping { saved, mains }).ok()
    }

    /// Whether nothing is left to do: to clear a room that is empty.
    pub(super) fn is_done_already(&self, deed: &Deed) -> bool {
        let Deed::Kill { target, .. } = deed else { return false };
        self.lives
            .get(*target)
            .is_some_and(|life| life.is_over && life.room.as_ref().is_some_and(|room| room.is_empty()))
    }

    /// An instance is gone for good: its room, its log and its gauges are let go.
    fn instance_is_gone(&mut self, subject: &Subject) {
        let rooms = self.lives.drop_instance(subject);
        self.used_up.extend(rooms);
        self.spares.retain(|spare| spare != subject);
        self.hands.forget(subject);
        self.gauges.leave(subject);
        self.quick.forget(subject);
        self.last_end.remove(subject);
    }
}

/// Whether it touches nobody who lives.
const fn is_harmless(deed: &Deed) -> bool {
    matches!(deed, Deed::Start { .. } | Deed::Alert { .. })
}

const fn is_start(effect: &Effect) -> bool {
    matches!(effect, Effect::Act(Plan { deed: Deed::Start { .. }, .. }))
}

/// Whether a follower of services wants to see it: all of main processes, of others what ends or kills.
const fn is_news(event: &Event, is_main: bool) -> bool {
    match event.action {
        Action::Exit { .. } | Action::Oom { .. } | Action::Stall { .. } => true,
        Action::Signal { .. } | Action::Exec { .. } | Action::Listen { .. } => is_main,
        _ => false,
    }
}
