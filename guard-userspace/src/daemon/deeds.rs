//! Plans carried out: at once where that takes microseconds, else by a task that answers.

use std::sync::Arc;
use std::time::Duration;

use guard_core::event::Process;
use guard_core::ids::ProcId;
use guard_core::incident::Incident;
use guard_core::policy::model::Kill;
use guard_core::supervise::{Answer, Deed, Done, Input, Plan, Refused, Subject};
use tokio::time::Instant;

use super::alerts::Alert;
use super::fail;
use super::hands::Hook;
use super::hands::spawn::{Prepared, Started};
use super::keeper::{Count, Sought};
use super::others::{self, in_words};
use super::probes::Answered;
use super::tally;
use super::turn::Daemon;
use crate::clock;
use crate::exit::Failure;

/// How long after a keeper could not be had the next one is tried.
const KEEPER_AGAIN: Duration = Duration::from_secs(1);

/// A deed that took its time.
#[derive(Debug)]
pub(super) enum Landed {
    /// A process was started, or not, and why not.
    Started(Plan, Result<Started, String>),
    /// Anything else that was planned.
    Done(Plan, Result<(), String>),
    /// Another keeper was sought.
    Keeper(Sought),
    /// What the keeper counted, for a question about an instance's log.
    Logged(u64, Option<Subject>, Result<Vec<Count>, String>),
}

impl Daemon {
    /// Carries out a plan. That it is intended is put down already.
    pub(super) fn act(&mut self, plan: Plan) -> Result<(), Failure> {
        if plan.act && matches!(plan.deed, Deed::Start { .. }) && self.flags.is_on("act") {
            return self.start(plan);
        }
        self.teller.plan(&plan);
        if !plan.act {
            self.tally.action(tally::deed(&plan.deed), "observed");
            return Ok(());
        }
        let is_alert = matches!(plan.deed, Deed::Alert { .. });
        if !is_alert && !self.flags.is_on("act") {
            let why = "acting is switched off on this host: `processguard flags act on` switches it on";
            self.carried(plan, Err(why.to_owned()));
            return Ok(());
        }
        let result = match &plan.deed {
            Deed::Start { .. } => return self.start(plan),
            Deed::RestartVia { via, timeout_ns } => {
                let (via, timeout) = (via.clone(), Duration::from_nanos(*timeout_ns));
                self.deeds.spawn(async move {
                    let result = others::restart(&via, timeout).await;
                    Landed::Done(plan, result)
                });
                return Ok(());
            }
            Deed::Run { command, environment, timeout_ns, .. } => {
                let hook = Hook {
                    command: command.clone(),
                    environment: environment.clone(),
                    user: None,
                    timeout: Duration::from_nanos(*timeout_ns),
                };
                let hook = self.hands.run_hook(hook);
                self.deeds.spawn(async move { Landed::Done(plan, hook.await) });
                return Ok(());
            }
            Deed::Signal { target, signal, all } => {
                fail::point("signal.before");
                let sent = self.hands.signal(*target, self.lives.room(*target), (*signal, *all), plan.id);
                fail::point("signal.after");
                sent
            }
            deed if self.is_done_already(deed) => Ok(()),
            Deed::Kill { target, kill } => {
                fail::point("kill.before");
                let killed = self.hands.kill(*target, self.lives.room(*target), *kill, plan.id);
                fail::point("kill.after");
                killed
            }
            Deed::Freeze(target) => self.hands.freeze(*target, self.lives.room(*target)),
            Deed::Thaw(target) => self.hands.thaw(*target, self.lives.room(*target)),
            Deed::Renice { target, nice } => self.hands.renice(*target, self.lives.room(*target), *nice),
            Deed::Alert { .. } => {
                self.alert(&plan);
                Ok(())
            }
        };
        self.carried(plan, result.map_err(in_words));
        Ok(())
    }
}

impl Daemon {
    /// Has a process started. What it follows must be gone first, with all that its control group held.
    fn start(&mut self, plan: Plan) -> Result<(), Failure> {
        let Deed::Start { run, notify, after } = &plan.deed else { return Ok(()) };
        let prepared = match self.hands.prepare(&plan.subject, run, *notify) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.teller.plan(&plan);
                self.carried(plan, Err(in_words(error)));
                return Ok(());
            }
        };
        fail::point("start.prepared");
        let after = *after;
        match self.keep_start(after, plan, prepared) {
            Some((plan, prepared)) => self.start_prepared(plan, prepared),
            None => Ok(()),
        }
    }

    /// An exec can wait for a dead file server, and others must not: so a start is done by a thread of its own, unless it was quick the
    /// last time, on a local disk.
    pub(super) fn start_prepared(&mut self, plan: Plan, prepared: Prepared) -> Result<(), Failure> {
        let Deed::Start { run, after, .. } = &plan.deed else { return Ok(()) };
        let before = after.and_then(|after| self.lives.get(after)).and_then(|life| life.room.clone());
        let before = before.filter(|room| !room.is_empty() && self.is_cleared(&plan.subject));
        if before.is_none() && self.quick.is_quick(&plan.subject, run) {
            let result = prepared.start().map_err(in_words);
            fail::point("start.done");
            self.teller.plan(&plan);
            return self.landed(Landed::Started(plan, result));
        }
        self.teller.plan(&plan);
        self.deeds.spawn(async move {
            if let Some(room) = before
                && let Err(error) = room.wait_empty().await
            {
                return Landed::Started(plan, Err(in_words(error)));
            }
            let started = tokio::task::spawn_blocking(move || prepared.start()).await;
            fail::point("start.done");
            let result = match started {
                Ok(started) => started.map_err(in_words),
                Err(error) => Err(format!("its start broke off: {error}")),
            };
            Landed::Started(plan, result)
        });
        Ok(())
    }

    /// Whether what a main process leaves in its room is killed.
    fn is_cleared(&self, subject: &Subject) -> bool {
        let policy = self.supervisor.policy_of(&subject.service);
        policy.is_none_or(|policy| policy.stop.kill != Kill::Process)
    }

    /// A deed that took its time is done.
    pub(super) fn landed(&mut self, landed: Landed) -> Result<(), Failure> {
        match landed {
            Landed::Done(plan, result) => self.carried(plan, result),
            Landed::Logged(question, subject, counts) => {
                let answer = bytes_logged(subject.as_ref(), counts);
                self.answered(Answered { question, answer, asked_ns: clock::boot_ns(), took_ns: 0 });
            }
            Landed::Keeper(sought) => {
                if let Err(error) = self.hands.keeper_sought(sought) {
                    self.say("trouble", format!("there is no keeper: {error}"));
                    self.keeper_due = Some(Instant::now() + KEEPER_AGAIN);
                }
            }
            Landed::Started(plan, Err(why)) => self.carried(plan, Err(why)),
            Landed::Started(plan, Ok(started)) => self.has_started(plan, started)?,
        }
        Ok(())
    }

    /// A process runs: it is found in the table by the pid that only it can have, since nobody has waited for it yet.
    fn has_started(&mut self, plan: Plan, started: Started) -> Result<(), Failure> {
        self.holder.look()?;
        self.take_in_events();
        let now_ns = clock::boot_ns();
        let born = self.born.remove(&started.pid).filter(|process| process.id.start_ns >= started.clone_ns);
        let process = match born.or_else(|| self.known(&started)) {
            Some(process) => Ok(process),
            // The record of its birth is lost, or it has ended: the kernel's own list tells which.
            None => self.listed(&started),
        };
        let process = match process {
            Ok(process) => process,
            Err(why) => {
                // Whoever is in there nobody would ever know of again.
                let why = started.room.kill().err().map_or(why, in_words);
                self.carried(plan, Err(why));
                return Ok(());
            }
        };
        let id = process.id;
        if let Deed::Start { run, .. } = &plan.deed {
            self.quick.note(&plan.subject, run, started.exec_ns.saturating_sub(started.clone_ns));
        }
        if let Err(error) = self.exits.add(id, started.pidfd) {
            tracing::warn!("process {} is not watched by a descriptor: {error}", id.pid);
        }
        let past = self.lives.begin(plan.subject.clone(), id, Some(started.room));
        self.used_up.extend(past);
        self.gauges.watch(now_ns, &plan.subject, id, &[]);
        self.tally.action("start", "done");
        if let Some(cause) = self.last_end.remove(&plan.subject) {
            self.tally.restart(&plan.subject.service, cause);
            // What was asked for, and what new policies themselves need, takes nothing from the budget: it says nothing against them.
            if plan.because.restarts_left.is_some() {
                self.restarted_on_trial(now_ns);
            }
        }
        self.spares.push_back(plan.subject.clone());
        self.starts = self.starts.saturating_add(1);
        self.answer(&plan, Ok(Done::Started(process)));
        Ok(())
    }

    /// A deed is done, or was not.
    pub(super) fn carried(&mut self, plan: Plan, result: Result<(), String>) {
        let outcome = if result.is_ok() { "done" } else { "failed" };
        self.tally.action(tally::deed(&plan.deed), outcome);
        self.answer(&plan, result.map(|()| Done::Carried).map_err(|why| Refused { why }));
    }

    /// Tells whom it concerns what became of a plan.
    fn answer(&mut self, plan: &Plan, result: Result<Done, Refused>) {
        let now_ns = clock::boot_ns();
        self.outcomes.push((plan.id, result.as_ref().err().map(|refused| refused.why.clone())));
        self.incidents.done(now_ns, plan.id, &result);
        self.supervisor.handle(now_ns, Input::Done { id: plan.id, result });
    }

    /// Who was started, as far as records tell: not somebody before it whose end was lost.
    fn known(&self, started: &Started) -> Option<Arc<Process>> {
        let known = self.holder.core().processes().current(started.pid);
        known.filter(|process| process.id.start_ns >= started.clone_ns).cloned()
    }

    /// Who was started, as the kernel's own list tells; or why it is not in there.
    fn listed(&self, started: &Started) -> Result<Arc<Process>, String> {
        let listed = self.holder.listed(started.pid).map_err(in_words)?;
        let listed = listed.filter(|process| process.id.start_ns >= started.clone_ns);
        listed.ok_or_else(|| "it ended at once: nobody saw how".to_owned())
    }

    /// Tells people.
    fn alert(&mut self, plan: &Plan) {
        let Deed::Alert { severity, message, about } = &plan.deed else { return };
        let unix_ns = self.teller.stamp().unix_ns(plan.time_ns);
        let alert = Alert {
            id: plan.id.0,
            time_ns: plan.time_ns,
            unix_ns,
            service: Arc::clone(&plan.subject.service),
            instance: plan.subject.instance,
            severity: *severity,
            message: message.clone(),
            about: (**about).clone(),
            incident: self.open_incident(&plan.subject),
            because: plan.because.clone(),
        };
        self.teller.alert(&alert, &plan.subject);
        if self.flags.is_on("alerts") {
            self.alerts.alert(&alert);
        }
    }
}

impl Daemon {
    /// The incident that is open of an instance, or of its service.
    fn open_incident(&self, subject: &Subject) -> Option<Incident> {
        let of_it = |incident: &&Incident| {
            *incident.service == *subject.service
                && (subject.instance.is_none()
                    || incident.instance.is_none()
                    || incident.instance == subject.instance)
        };
        self.incidents.open().find(of_it).cloned()
    }

    /// What became of an alert in one channel.
    pub(super) fn alerted(&mut self, outcome: &super::alerts::Outcome) {
        let failed = outcome.result.as_ref().err();
        self.tally.action("alert", if failed.is_some() { "failed" } else { "done" });
        self.teller.alerted(outcome);
        if let Some(why) = failed {
            tracing::warn!("alert {} was not told by {}: {why}", outcome.alert, outcome.channel);
        }
    }

    /// Asks the keeper how much an instance has written to its log.
    pub(super) fn ask_for_log(&mut self, question: u64, main: ProcId) {
        let subject = self.lives.get(main).map(|life| life.subject.clone());
        let counts = self.hands.logged();
        self.deeds.spawn(async move {
            let counts = counts.await.map(|(counts, _)| counts).map_err(in_words);
            Landed::Logged(question, subject, counts)
        });
    }
}

fn bytes_logged(subject: Option<&Subject>, counts: Result<Vec<Count>, String>) -> Answer {
    let counts = match counts {
        Ok(counts) => counts,
        Err(why) => return Answer::Error(why),
    };
    let is_its = |count: &&Count| {
        subject.is_some_and(|subject| {
            *count.service == *subject.service && Some(count.instance) == subject.instance
        })
    };
    #[expect(clippy::cast_precision_loss, reason = "compared for change alone")]
    counts.iter().find(is_its).map_or_else(
        || Answer::Error("it has no log that is kept".to_owned()),
        |count| Answer::Number(count.bytes as f64),
    )
}
