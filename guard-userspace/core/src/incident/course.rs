//! How an incident begins, goes on and ends.

use crate::event::Process;
use crate::health::CheckState;
use crate::ids::ProcId;
use crate::supervise::{HOLDS_ROLE, NOT_READY, OBSERVES, POLICY_GONE, ServiceState, Subject};

use super::machine::{Change, EARLY, ENTRIES, Incidents, LAST_ENTRIES, REOPEN_NS, SIGNALS, SOON_NS};
use super::{Entry, Incident, Moment};

impl Incidents {
    /// Those that something about a subject concerns: its own, or all of a service that is meant as one.
    pub(super) fn concerned(&self, subject: &Subject) -> Vec<Subject> {
        if self.open.contains_key(subject) {
            return vec![subject.clone()];
        }
        let of_service = |other: &&Subject| subject.instance.is_none() && other.service == subject.service;
        self.open.keys().filter(of_service).cloned().collect()
    }

    pub(super) fn say(&mut self, time_ns: u64, subject: &Subject, kind: Moment, text: &str) {
        for subject in self.concerned(subject) {
            self.add(&subject, Entry { time_ns, kind, text: text.to_owned(), process: None });
        }
    }

    /// Something happened in an incident, if one is open.
    pub(super) fn add(&mut self, subject: &Subject, entry: Entry) {
        let Some(incident) = self.open.get_mut(subject) else { return };
        incident.add(entry);
        self.dirty.insert(subject.clone());
    }

    /// An incident begins, or the last one of the subject goes on.
    pub(super) fn begin(&mut self, subject: &Subject, time_ns: u64, cause: &str) {
        if self.open.contains_key(subject) {
            return;
        }
        let before = self.over.remove(subject);
        let again = before.filter(|before| {
            let closed_ns = before.closed_ns.unwrap_or_default();
            before.outcome.as_deref() == Some("recovered") && time_ns < closed_ns.saturating_add(REOPEN_NS)
        });
        if let Some(mut incident) = again {
            (incident.closed_ns, incident.outcome, incident.recovery) = (None, None, None);
            (incident.bad_ns, incident.good_ns) = (time_ns, None);
            self.open.insert(subject.clone(), incident);
            self.dirty.insert(subject.clone());
            return;
        }
        self.last_id += 1;
        let incident = Incident {
            id: self.last_id,
            service: subject.service.to_string(),
            instance: subject.instance,
            cause: cause.to_owned(),
            opened_ns: time_ns,
            closed_ns: None,
            outcome: None,
            timeline: vec![],
            rto_ns: self.rules.rto_ns(&subject.service),
            recovery: None,
            gap: false,
            restarts: 0,
            failing: vec![],
            bad_ns: time_ns,
            good_ns: None,
            left_out: 0,
        };
        self.out.push_back(Change::Opened(incident.clone()));
        self.open.insert(subject.clone(), incident);
    }

    /// An incident is over.
    pub(super) fn close(&mut self, subject: &Subject, time_ns: u64, outcome: &str) {
        let Some(mut incident) = self.open.remove(subject) else { return };
        self.dirty.remove(subject);
        (incident.closed_ns, incident.outcome) = (Some(time_ns), Some(outcome.to_owned()));
        if outcome == "recovered" {
            let good_ns = incident.good_ns.unwrap_or(time_ns).max(incident.bad_ns);
            incident.recovery = Some((incident.bad_ns, good_ns));
            self.over.insert(subject.clone(), incident.clone());
        }
        self.out.push_back(Change::Closed(incident));
    }

    /// Closes an incident if nothing speaks against it.
    pub(super) fn settle(&mut self, subject: &Subject, time_ns: u64) {
        let state = self.states.get(subject).copied();
        let well = match state {
            // A check of the service as one fails while its instances are as they are.
            _ if subject.instance.is_none() => !matches!(state, Some(ServiceState::Held)),
            state => state == Some(ServiceState::Healthy),
        };
        let is_over = self.open.get(subject).is_some_and(|incident| incident.failing.is_empty());
        if well && is_over {
            self.close(subject, time_ns, "recovered");
        }
    }

    /// A main process has ended.
    pub(super) fn died(&mut self, subject: Subject, signals: Vec<Entry>, death: Entry) {
        if let Some(incident) = self.open.get_mut(&subject) {
            incident.bad_ns = incident.bad_ns.max(death.time_ns);
            incident.good_ns = None;
            signals.into_iter().chain([death]).for_each(|entry| self.add(&subject, entry));
        } else if self.states.get(&subject) != Some(&ServiceState::Stopping) {
            self.deaths.insert(subject, signals.into_iter().chain([death]).collect());
        }
    }

    /// A death that was not asked for begins an incident.
    pub(super) fn open_dead(&mut self, service: &str, instance: Option<u32>, now_ns: u64) {
        let is = |subject: &&Subject| {
            &*subject.service == service && (instance.is_none() || subject.instance == instance)
        };
        let dead: Vec<Subject> = self.deaths.keys().filter(is).cloned().collect();
        for subject in dead {
            let entries = self.deaths.remove(&subject).unwrap_or_default();
            let Some(death) = entries.last().filter(|death| death.time_ns.saturating_add(SOON_NS) >= now_ns)
            else {
                continue;
            };
            self.begin(&subject, death.time_ns, &death.text.clone());
            entries.into_iter().for_each(|entry| self.add(&subject, entry));
        }
    }

    /// The out-of-memory killer chose a process, which may have ended already.
    pub(super) fn starved(&mut self, time_ns: u64, process: &Process) {
        let died = |entry: &&Entry| entry.kind == Moment::Death && entry.process == Some(process.id);
        let whose =
            self.open.iter().find(|(_, incident)| incident.timeline.iter().rev().any(|entry| died(&entry)));
        let Some(subject) = whose.map(|(subject, _)| subject.clone()) else { return };
        let text = "chosen by the out-of-memory killer".to_owned();
        let entry = Entry { time_ns, kind: Moment::Other, text, process: Some(process.id) };
        if let Some(incident) = self.open.get_mut(&subject)
            && let Some(death) = incident.timeline.iter_mut().rev().find(|entry| died(&&**entry))
        {
            let verdict = "killed for lack of memory";
            if !death.text.starts_with(verdict) {
                if incident.cause == death.text {
                    verdict.clone_into(&mut incident.cause);
                }
                verdict.clone_into(&mut death.text);
            }
        }
        self.add(&subject, entry);
    }

    /// A signal came to a main process.
    pub(super) fn signalled(&mut self, subject: &Subject, id: ProcId, entry: Entry) {
        if self.open.contains_key(subject) {
            return self.add(subject, entry);
        }
        let signals = self.signals.entry(id).or_default();
        if signals.len() >= SIGNALS {
            signals.remove(0);
        }
        signals.push(entry);
    }

    /// A process runs a program, or listens.
    pub(super) fn began(&mut self, whose: Option<(Subject, bool)>, entry: Entry) {
        let Some(id) = entry.process else { return };
        match whose {
            Some((subject, is_main)) if is_main || entry.kind == Moment::Listen => {
                self.forked(&subject, if is_main { id } else { ProcId::NONE });
                self.add(&subject, entry);
            }
            Some(_) => {}
            None => self.perhaps_of_a_start(entry),
        }
    }

    /// Something happened to a process of which nobody knows whose it is: perhaps a start under way brought it.
    pub(super) fn perhaps_of_a_start(&mut self, entry: Entry) {
        if self.starts.is_empty() {
            return;
        }
        if self.early.len() >= EARLY {
            self.early.pop_front();
        }
        self.early.push_back(entry);
    }

    /// A start brought a process, to which things may have happened already.
    pub(super) fn started(&mut self, subject: &Subject, process: &Process) {
        self.forked(subject, process.id);
        let is_its_own = |entry: &Entry| entry.process == Some(process.id);
        let (its_own, others) = std::mem::take(&mut self.early).into_iter().partition(is_its_own);
        self.early = others;
        for entry in Vec::from(its_own) {
            match entry.kind {
                Moment::Signal => self.signalled(subject, process.id, entry),
                Moment::Death => {
                    let signals = self.signals.remove(&process.id).unwrap_or_default();
                    self.died(subject.clone(), signals, entry);
                }
                _ => self.add(subject, entry),
            }
        }
    }

    /// A main process's identity tells when it was made.
    fn forked(&mut self, subject: &Subject, main: ProcId) {
        if main.start_ns == 0 {
            return;
        }
        let known = |entry: &Entry| entry.kind == Moment::Fork && entry.process == Some(main);
        let is_new = self.open.get(subject).is_some_and(|incident| {
            main.start_ns >= incident.opened_ns && !incident.timeline.iter().any(known)
        });
        if is_new {
            let text = format!("pid {}", main.pid);
            let entry = Entry { time_ns: main.start_ns, kind: Moment::Fork, text, process: Some(main) };
            self.add(subject, entry);
        }
    }

    /// A service or an instance is in another state.
    pub(super) fn state(
        &mut self,
        time_ns: u64,
        subject: &Subject,
        (from, to): (ServiceState, ServiceState),
        why: &str,
    ) {
        self.states.insert(subject.clone(), to);
        if subject.instance.is_none() {
            return self.state_of_service(time_ns, subject, to, why);
        }
        // Who only observes starts nothing, and whose role another one holds is where it belongs.
        let on_purpose = why.contains(OBSERVES) || why.contains(HOLDS_ROLE);
        match to {
            ServiceState::Stopped => {
                self.deaths.remove(subject);
                let outcome = if why == POLICY_GONE { "policy removed" } else { "stopped" };
                self.close(subject, time_ns, outcome);
                self.states.remove(subject);
                self.bad.retain(|(whose, _), _| whose != subject);
            }
            ServiceState::Held if on_purpose => {
                self.deaths.remove(subject);
                self.close(subject, time_ns, "handed over");
            }
            ServiceState::Healthy => {
                self.deaths.remove(subject);
                if !self.open.contains_key(subject) {
                    return;
                }
                if from != ServiceState::Degraded {
                    self.ready(time_ns, subject, why);
                }
                self.settle(subject, time_ns);
            }
            ServiceState::Stopping => {
                if why.starts_with(NOT_READY) {
                    self.begin(subject, time_ns, why);
                }
                self.say(time_ns, subject, Moment::Other, why);
            }
            ServiceState::Starting | ServiceState::Waiting if from == ServiceState::Stopping => {}
            ServiceState::BackingOff | ServiceState::Held => {
                self.open_dead(&subject.service, subject.instance, time_ns);
                self.begin(subject, time_ns, why);
                let kind = if to == ServiceState::Held { Moment::Held } else { Moment::Wait };
                self.say(time_ns, subject, kind, why);
            }
            ServiceState::Starting | ServiceState::Waiting => {
                if matches!(from, ServiceState::Healthy | ServiceState::Degraded) {
                    self.open_dead(&subject.service, subject.instance, time_ns);
                }
            }
            ServiceState::Degraded => {
                self.deaths.remove(subject);
                if self.open.contains_key(subject) && from != ServiceState::Healthy {
                    self.ready(time_ns, subject, why);
                }
            }
        }
    }

    fn state_of_service(&mut self, time_ns: u64, subject: &Subject, to: ServiceState, why: &str) {
        match to {
            ServiceState::Stopped => self.close(subject, time_ns, "stopped"),
            ServiceState::Held if why.contains(HOLDS_ROLE) => self.close(subject, time_ns, "handed over"),
            ServiceState::Held if self.concerned(subject).is_empty() => {
                // Instances that are held by themselves say so.
                let by_itself = |(other, state): (&Subject, &ServiceState)| {
                    other.service == subject.service
                        && other.instance.is_some()
                        && *state == ServiceState::Held
                };
                if !self.states.iter().any(by_itself) {
                    self.begin(subject, time_ns, why);
                    self.say(time_ns, subject, Moment::Held, why);
                }
            }
            ServiceState::Held => self.say(time_ns, subject, Moment::Held, why),
            _ => self.settle(subject, time_ns),
        }
    }

    /// An instance is ready once more.
    fn ready(&mut self, time_ns: u64, subject: &Subject, why: &str) {
        let Some(incident) = self.open.get_mut(subject) else { return };
        // What the kernel saw is more exact than when that was understood.
        let is_new = |entry: &&Entry| entry.time_ns >= incident.bad_ns;
        let last = |kind: Moment| incident.timeline.iter().rev().find(|entry| entry.kind == kind);
        let seen = match why {
            why if why.starts_with("it listens on") => last(Moment::Listen).filter(is_new),
            "its program runs" => last(Moment::Exec).filter(is_new),
            _ => None,
        };
        let good_ns = incident.good_ns.or_else(|| seen.map(|entry| entry.time_ns)).unwrap_or(time_ns);
        if incident.failing.is_empty() {
            incident.good_ns = Some(good_ns);
        }
        self.add(
            subject,
            Entry { time_ns: good_ns, kind: Moment::Ready, text: why.to_owned(), process: None },
        );
    }

    /// A check has another result.
    pub(super) fn check(
        &mut self,
        time_ns: u64,
        subject: &Subject,
        check: &str,
        state: CheckState,
        why: &str,
    ) {
        let text = format!("{check}: {why}");
        match state {
            CheckState::Failing if self.rules.is_of_health(&subject.service, check) => {
                let bad = self.bad.get(&(subject.clone(), check.to_owned())).copied();
                let (first_ns, last_ns) = bad.unwrap_or((time_ns, time_ns));
                self.begin(subject, first_ns, &text);
                let Some(incident) = self.open.get_mut(subject) else { return };
                (incident.bad_ns, incident.good_ns) = (incident.bad_ns.max(last_ns), None);
                if !incident.failing.iter().any(|failing| failing == check) {
                    incident.failing.push(check.to_owned());
                }
                self.add(subject, Entry { time_ns: first_ns, kind: Moment::BadAnswer, text, process: None });
            }
            CheckState::Passing => {
                let Some(incident) = self.open.get_mut(subject) else { return };
                let before = incident.failing.len();
                incident.failing.retain(|failing| failing != check);
                if incident.failing.len() == before {
                    return;
                }
                if incident.good_ns.is_none() {
                    incident.good_ns = Some(time_ns);
                    self.add(subject, Entry { time_ns, kind: Moment::GoodAnswer, text, process: None });
                }
                self.dirty.insert(subject.clone());
                self.settle(subject, time_ns);
            }
            CheckState::Failing | CheckState::Unknown => {}
        }
    }
}

impl Incident {
    /// Puts an entry in its place, if there is room. The end of a timeline is for how it ends.
    pub(super) fn add(&mut self, entry: Entry) {
        let is_end = matches!(entry.kind, Moment::Held | Moment::Ready | Moment::GoodAnswer | Moment::Death);
        let room = if is_end { ENTRIES } else { ENTRIES - LAST_ENTRIES };
        if self.timeline.len() >= room {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let place = self.timeline.partition_point(|before| before.time_ns <= entry.time_ns);
        self.timeline.insert(place, entry);
    }
}

/// Something that happened to a process.
pub(super) const fn entry(time_ns: u64, kind: Moment, text: String, process: ProcId) -> Entry {
    Entry { time_ns, kind, text, process: Some(process) }
}
