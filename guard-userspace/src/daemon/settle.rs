//! From what happened to what is done: the second half of a turn.

use std::sync::Arc;

use guard_core::event::{Action, Event};
use guard_core::incident::Change;
use guard_core::supervise::{Answer, Ask, Deed, Effect, Input, Notice, Question, ServiceState, What};

use super::probes::Answered;
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
            let effects: Vec<Effect> = std::iter::from_fn(|| self.supervisor.poll_effect()).collect();
            for effect in &effects {
                match effect {
                    Effect::Act(plan) => self.incidents.plan(plan),
                    Effect::Tell(notice) => self.incidents.notice(notice),
                    Effect::Ask(_) => {}
                }
            }
            self.put_down(&effects);
            self.follow_incidents(now_ns);
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                match effect {
                    Effect::Act(plan) => self.act(plan)?,
                    Effect::Ask(question) => self.ask(question),
                    Effect::Tell(notice) => self.notice(&notice),
                }
            }
        }
    }

    /// Tells the supervisor what the kernel told.
    fn take_in_events(&mut self) {
        let certain = self.holder.core().is_certain();
        if std::mem::replace(&mut self.certain, certain) != certain {
            self.supervisor.handle(clock::boot_ns(), Input::Certain(certain));
        }
        while let Some(event) = self.holder.poll_event() {
            self.tally.event(&event);
            let process = event.action.process();
            let whose = process.and_then(|process| self.supervisor.whose(process.id));
            self.note_own_child(&event);
            self.incidents.event(&event, whose.as_ref().map(|(subject, main)| (subject, *main)));
            match &whose {
                Some((subject, is_main)) if is_news(&event, *is_main) => self.teller.event(&event, Some(subject)),
                None if matches!(event.action, Action::Gap(_) | Action::Resync(_)) => self.teller.event(&event, None),
                _ => {}
            }
            if let (Some((subject, true)), Action::Exit { exit, .. }) = (&whose, &event.action) {
                self.last_end.insert(subject.clone(), tally::cause(exit));
            }
            self.supervisor.handle(clock::boot_ns(), Input::Event(&event));
            if let Action::Exit { process, .. } = &event.action {
                self.has_ended(process.id);
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

    /// What became of incidents is put down and told.
    fn follow_incidents(&mut self, now_ns: u64) {
        while let Some(change) = self.incidents.poll() {
            let (action, incident) = match &change {
                Change::Opened(incident) => (Some("incident-opened"), incident),
                Change::Updated(incident) => (None, incident),
                Change::Closed(incident) => (Some("incident-closed"), incident),
            };
            self.state.put_incident(incident);
            if let Change::Closed(incident) = &change {
                self.tally.closed(incident);
            }
            if let Some(action) = action {
                self.teller.incident(action, now_ns, incident);
            }
        }
    }

    /// Asks a service something, or answers what we know ourselves.
    fn ask(&mut self, question: Question) {
        self.asked.insert(question.id, (question.subject.clone(), question.check.clone()));
        let now_ns = clock::boot_ns();
        let known = match &question.ask {
            Ask::Logged(main) => Some(self.logged(*main)),
            _ if !self.flags.is_on("probes") => {
                Some(Answer::Error("probes are switched off on this host".to_owned()))
            }
            _ => None,
        };
        match known {
            Some(answer) => self.answered(Answered { question: question.id, answer, asked_ns: now_ns, took_ns: 0 }),
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
                self.incidents.answered(&subject, check.as_deref(), good, asked_ns, to_ns, reason);
            }
            if let Some(check) = &check {
                let result = match answer {
                    Answer::Pass | Answer::Number(_) => "pass",
                    Answer::Fail(_) => "fail",
                    Answer::Error(_) => "error",
                };
                self.tally.answer(&subject.service, check, result);
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

    /// What changed and what is intended is put down, before any of it is done.
    fn put_down(&mut self, effects: &[Effect]) {
        let _ = effects;
        let _: Option<Deed> = None;
    }
}

/// Whether a follower of services wants to see it: all of main processes, of others what ends or kills.
const fn is_news(event: &Event, is_main: bool) -> bool {
    match event.action {
        Action::Exit { .. } | Action::Oom { .. } | Action::Stall { .. } => true,
        Action::Signal { .. } | Action::Exec { .. } | Action::Listen { .. } => is_main,
        _ => false,
    }
}
