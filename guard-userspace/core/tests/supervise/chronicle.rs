//! Incidents, as they are told while a world goes on.

use std::collections::BTreeMap;

use guard_core::incident::{Change, Incident, IncidentId, Incidents};
use guard_core::policy::PolicySet;
use guard_core::supervise::{Answer, Input, Question, ServiceFacts, Subject, Supervisor};

/// Whoever writes incidents down.
#[derive(Default)]
pub(crate) struct Chronicle {
    pub(crate) incidents: Incidents,
    /// As they are known from what was told.
    pub(crate) all: BTreeMap<IncidentId, Incident>,
    questions: BTreeMap<u64, (Subject, Option<String>, u64)>,
    wrong: Option<String>,
}

impl Chronicle {
    /// Something is told to the supervisor.
    pub(crate) fn before(&mut self, now_ns: u64, input: &Input<'_>, supervisor: &Supervisor) {
        match input {
            Input::Event(event) => {
                let whose = event.action.process().and_then(|process| supervisor.whose(process.id));
                self.incidents.event(event, whose);
            }
            Input::Done { id, result } => self.incidents.done(now_ns, *id, result),
            Input::Answered { question, answer, .. } => {
                let Some((subject, check, asked_ns)) = self.questions.remove(question) else { return };
                let (good, reason) = match answer {
                    Answer::Pass => (true, "passed"),
                    Answer::Fail(why) => (false, why.as_str()),
                    Answer::Error(_) | Answer::Number(_) => return,
                };
                self.incidents.answered(&subject, check.as_deref(), good, (asked_ns, now_ns), reason);
            }
            _ => {}
        }
        self.write();
    }

    pub(crate) fn ask(&mut self, question: &Question, now_ns: u64) {
        let check = question.check.as_ref().map(ToString::to_string);
        self.questions.insert(question.id, (question.subject.clone(), check, now_ns));
    }

    /// The supervisor was killed, and this with it.
    pub(crate) fn reborn(&mut self, now_ns: u64, set: &PolicySet, facts: &[ServiceFacts]) {
        self.write();
        let next_id = self.all.keys().next_back().map_or(1, |last| last + 1);
        let open: Vec<Incident> = self.incidents.open().cloned().collect();
        let text = serde_json::to_string(&open).expect("they can be written");
        self.incidents = Incidents::new(next_id);
        self.incidents.policies(now_ns, set);
        self.incidents.restore(serde_json::from_str::<Vec<Incident>>(&text).expect("they can be read"));
        self.incidents.reconcile(now_ns, facts);
        self.questions.clear();
    }

    /// Writes down what is told.
    pub(crate) fn write(&mut self) {
        while let Some(change) = self.incidents.poll() {
            let wrong = match &change {
                Change::Opened(one) if self.all.contains_key(&one.id) => Some("opened twice"),
                Change::Opened(one) if one.closed_ns.is_some() => Some("opened and closed"),
                Change::Updated(one) if !self.all.contains_key(&one.id) => Some("unknown"),
                Change::Closed(one) if one.closed_ns.is_none() => Some("closed and open"),
                Change::Closed(one) if one.closed_ns < Some(one.opened_ns) => Some("over before it began"),
                Change::Closed(one)
                    if !one.failing.is_empty() && one.outcome.as_deref() == Some("recovered") =>
                {
                    Some("recovered, and a check fails")
                }
                _ => None,
            };
            let (Change::Opened(one) | Change::Updated(one) | Change::Closed(one)) = change;
            let in_order = one.timeline.is_sorted_by_key(|entry| entry.time_ns);
            let recovery = one.recovery.is_none_or(|(bad_ns, good_ns)| bad_ns <= good_ns);
            let wrong =
                wrong.or((!in_order).then_some("not in order")).or((!recovery).then_some("no interval"));
            if let Some(wrong) = wrong.filter(|_| self.wrong.is_none()) {
                self.wrong = Some(format!("{wrong}: {one:#?}"));
            }
            self.all.insert(one.id, one);
        }
    }

    /// Whether all that was told fits together.
    pub(crate) fn is_sound(&mut self) -> Result<(), String> {
        self.write();
        self.wrong.clone().map_or(Ok(()), Err)
    }

    /// All incidents of a service, the first one first.
    pub(crate) fn of(&mut self, service: &str) -> Vec<Incident> {
        self.write();
        self.all.values().filter(|one| one.service == service).cloned().collect()
    }
}
