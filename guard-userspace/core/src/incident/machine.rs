//! What opens incidents, changes and closes them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::{Action, Event};
use crate::ids::ProcId;
use crate::policy::PolicySet;
use crate::supervise::{
    ActionId, Deed, Done, Notice, Plan, Refused, ServiceFacts, ServiceState, Subject, What,
};

use super::course::entry;
use super::rules::Rules;
use super::{Entry, Incident, IncidentId, Moment, words};

/// Entries of a timeline. A crash loop of five restarts has about 60.
pub(super) const ENTRIES: usize = 256;

/// Entries of these that are kept free for how it ends.
pub(super) const LAST_ENTRIES: usize = 16;

/// Nanoseconds after its end within which a death continues an incident: who is ready at once and dies a moment later, again and
/// again, has one trouble and not fifty.
pub(super) const REOPEN_NS: u64 = 10_000_000_000;

/// Nanoseconds within which a death is followed by what the supervisor makes of it.
pub(super) const SOON_NS: u64 = 5_000_000_000;

/// Signals that are remembered of a main process.
pub(super) const SIGNALS: usize = 4;

/// What is remembered of processes while a start is under way: what they ran, where they listened, which signals came and how they
/// ended before anybody knew whose they are.
pub(super) const EARLY: usize = 1_024;

/// SIGCHLD, SIGCONT, SIGURG, SIGWINCH: what happens all the time and harms nobody.
const CHATTER: [u32; 4] = [17, 18, 23, 28];

/// What became of an incident. Each is whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It began.
    Opened(Incident),
    /// It goes on, or again: one that was closed is open once more if it has no `closed_ns`.
    Updated(Incident),
    /// It is over.
    Closed(Incident),
}

/// All incidents of a host that are open, and how they come to be.
#[derive(Debug, Default)]
pub struct Incidents {
    pub(super) last_id: IncidentId,
    pub(super) open: BTreeMap<Subject, Incident>,
    /// The last one of each subject, for as long as it may be continued.
    pub(super) over: BTreeMap<Subject, Incident>,
    pub(super) rules: Rules,
    pub(super) out: VecDeque<Change>,
    /// Open ones that changed and were not told of.
    pub(super) dirty: BTreeSet<Subject>,
    /// The states that were told.
    pub(super) states: BTreeMap<Subject, ServiceState>,
    /// Deaths of which nobody knows yet whether they were asked for.
    pub(super) deaths: BTreeMap<Subject, Vec<Entry>>,
    /// The last signals of main processes.
    pub(super) signals: BTreeMap<ProcId, Vec<Entry>>,
    /// Since when a check answers badly, or a start is not ready, and when it did last; by the check's name or nothing.
    pub(super) bad: BTreeMap<(Subject, String), (u64, u64)>,
    /// Starts under way.
    pub(super) starts: BTreeMap<ActionId, Subject>,
    pub(super) early: VecDeque<Entry>,
}

impl Incidents {
    /// The first incident gets this number; the first one of a host gets 1.
    #[must_use]
    pub fn new(next_id: IncidentId) -> Self {
        Self { last_id: next_id.saturating_sub(1), ..Self::default() }
    }

    /// The number of the next one.
    #[must_use]
    pub const fn next_id(&self) -> IncidentId {
        self.last_id.saturating_add(1)
    }

    /// Those that are open, in order of subject.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values()
    }

    /// Goes on with incidents that were open when another supervisor ended. Say [`Incidents::policies`] before, and
    /// [`Incidents::reconcile`] once the supervisor is restored.
    pub fn restore(&mut self, open: impl IntoIterator<Item = Incident>) {
        for incident in open {
            self.last_id = self.last_id.max(incident.id);
            let subject = Subject { service: incident.service.as_str().into(), instance: incident.instance };
            self.open.insert(subject, incident);
        }
    }

    /// These policies hold from now on. Incidents of services that are not among them are over, and what is not checked any more
    /// keeps none open.
    pub fn policies(&mut self, now_ns: u64, set: &PolicySet) {
        self.rules = Rules::new(set);
        let open: Vec<Subject> = self.open.keys().cloned().collect();
        for subject in open {
            if !self.rules.knows(&subject.service) {
                self.close(&subject, now_ns, "policy removed");
                continue;
            }
            if let Some(incident) = self.open.get_mut(&subject) {
                incident.rto_ns = self.rules.rto_ns(&subject.service);
                incident.failing.retain(|check| self.rules.is_of_health(&subject.service, check));
            }
            self.settle(&subject, now_ns);
        }
        self.over.retain(|subject, _| self.rules.knows(&subject.service));
        self.states.retain(|subject, _| self.rules.knows(&subject.service));
        self.bad.retain(|(subject, _), _| self.rules.knows(&subject.service));
    }

    /// Compares with what is: the states that are known, and incidents that are over without anybody having said so.
    pub fn reconcile(&mut self, now_ns: u64, facts: &[ServiceFacts]) {
        self.states.clear();
        for facts in facts {
            let subject = |instance| Subject { service: facts.policy.name.as_str().into(), instance };
            self.states.insert(subject(None), facts.state);
            for instance in &facts.instances {
                self.states.insert(subject(Some(instance.number)), instance.state);
            }
        }
        let open: Vec<Subject> = self.open.keys().cloned().collect();
        for subject in open {
            match self.states.get(&subject) {
                None if !self.rules.knows(&subject.service) => {
                    self.close(&subject, now_ns, "policy removed");
                }
                None | Some(ServiceState::Stopped) => self.close(&subject, now_ns, "stopped"),
                Some(_) => self.settle(&subject, now_ns),
            }
        }
    }

    /// What the kernel told. `whose`: [`crate::supervise::Supervisor::whose`] of its process, asked before the supervisor is given an
    /// exit, and after it was given anything else.
    pub fn event(&mut self, event: &Event, whose: Option<(Subject, bool)>) {
        let time_ns = event.time_ns;
        match &event.action {
            Action::Exit { process, exit } => {
                let signals = self.signals.remove(&process.id).unwrap_or_default();
                let death = entry(time_ns, Moment::Death, words::death(exit), process.id);
                match whose {
                    Some((subject, true)) => self.died(subject, signals, death),
                    Some(_) => {}
                    None => self.perhaps_of_a_start(death),
                }
            }
            Action::Signal { process, signal } if !CHATTER.contains(&signal.number) => {
                let entry = entry(time_ns, Moment::Signal, words::signal(signal), process.id);
                match whose {
                    Some((subject, true)) => self.signalled(&subject, process.id, entry),
                    Some(_) => {}
                    None => self.perhaps_of_a_start(entry),
                }
            }
            Action::Oom { process, .. } => self.starved(time_ns, process),
            Action::Exec { process, .. } => {
                let program = process.program.as_ref().map(|program| program.executable.as_slice());
                let text = format!("runs {}", program.unwrap_or_default().escape_ascii());
                self.began(whose, entry(time_ns, Moment::Exec, text, process.id));
            }
            Action::Listen { process, listen } => {
                let text = format!("listens on {}", listen.address);
                self.began(whose, entry(time_ns, Moment::Listen, text, process.id));
            }
            Action::Gap(_) => {
                let open: Vec<Subject> = self.open.keys().cloned().collect();
                for incident in self.open.values_mut() {
                    incident.gap = true;
                }
                self.dirty.extend(open);
            }
            _ => {}
        }
    }

    /// What the supervisor decided.
    pub fn plan(&mut self, plan: &Plan) {
        let (time_ns, subject) = (plan.time_ns, &plan.subject);
        let starts = matches!(plan.deed, Deed::Start { .. } | Deed::RestartVia { .. });
        let counts = starts && plan.because.restarts_left.is_some();
        // Nobody is told of a hold before it is one: what an alert of a dead instance is about was not asked for.
        if counts || matches!(plan.deed, Deed::Alert { .. }) {
            self.open_dead(&subject.service, subject.instance, time_ns);
        }
        if starts && plan.act {
            self.starts.insert(plan.id, subject.clone());
        }
        let kind = match plan.deed {
            Deed::Alert { .. } => Moment::Alert,
            Deed::Kill { .. } => Moment::Other,
            _ => Moment::Decision,
        };
        let would = if plan.act { "" } else { "would " };
        let text = format!("{would}{} {}", plan.deed, plan.because);
        for subject in self.concerned(subject) {
            if let Some(incident) = self.open.get_mut(&subject) {
                incident.restarts += u32::from(counts && plan.act);
            }
            self.add(&subject, Entry { time_ns, kind, text: text.clone(), process: None });
        }
    }

    /// A plan was carried out, or was not.
    pub fn done(&mut self, time_ns: u64, id: ActionId, result: &Result<Done, Refused>) {
        let subject = self.starts.remove(&id);
        if let (Some(subject), Ok(Done::Started(process))) = (&subject, result) {
            self.started(subject, process);
        }
        if let (Some(subject), Err(refused)) = (&subject, result) {
            let text = format!("failed: {}", refused.why);
            for subject in self.concerned(subject) {
                let text = text.clone();
                self.add(&subject, Entry { time_ns, kind: Moment::Other, text, process: None });
            }
        }
        if self.starts.is_empty() {
            self.early.clear();
        }
    }

    /// What the supervisor told.
    pub fn notice(&mut self, notice: &Notice) {
        let (time_ns, subject) = (notice.time_ns, &notice.subject);
        match &notice.what {
            What::State { from, to, why } => self.state(time_ns, subject, (*from, *to), why),
            What::Check { check, state, why } => self.check(time_ns, subject, check, *state, why),
            What::Waits { deed, .. } => {
                self.say(time_ns, subject, Moment::Other, &format!("{deed} waits for consent"))
            }
            What::Withheld { deed, why } => {
                self.say(time_ns, subject, Moment::Withheld, &format!("{deed} was withheld: {why}"));
            }
            What::Overdue { since_ns } => {
                if self.concerned(subject).is_empty() {
                    self.begin(subject, *since_ns, "down for longer than it may be");
                }
                self.say(time_ns, subject, Moment::Other, "down for longer than it may be");
            }
            What::Role { token } => {
                self.say(
                    time_ns,
                    subject,
                    Moment::Other,
                    &format!("holds the primary role with the token {token}"),
                );
            }
            What::Outcome { .. } => {}
        }
    }

    /// A question was answered: of a check, or (`None`) whether an instance is ready. `good`: as it should be; questions that could
    /// not be asked are not told.
    pub fn answered(
        &mut self,
        subject: &Subject,
        check: Option<&str>,
        good: bool,
        (asked_ns, answered_ns): (u64, u64),
        reason: &str,
    ) {
        let key = (subject.clone(), check.unwrap_or_default().to_owned());
        if good {
            self.bad.remove(&key);
        } else {
            self.bad.entry(key).or_insert((asked_ns, asked_ns)).1 = asked_ns;
        }
        let Some(incident) = self.open.get_mut(subject) else { return };
        let matters = check.is_none_or(|check| incident.failing.iter().any(|failing| failing == check));
        if !matters {
            return;
        }
        if !good {
            // Each is a bad moment; only the first one is a line.
            incident.bad_ns = incident.bad_ns.max(asked_ns);
            incident.good_ns = None;
            return;
        }
        if incident.good_ns.is_none() {
            incident.good_ns = Some(answered_ns);
            let text = format!("{}{reason}", check.map(|check| format!("{check} ")).unwrap_or_default());
            self.add(subject, Entry { time_ns: answered_ns, kind: Moment::GoodAnswer, text, process: None });
        }
    }

    /// Lets go of what is over for so long that nothing continues it. To be called now and then.
    pub fn forget_old(&mut self, now_ns: u64) {
        let may_go_on = |one: &Incident| {
            one.closed_ns.is_some_and(|closed_ns| now_ns < closed_ns.saturating_add(REOPEN_NS))
        };
        self.over.retain(|_, one| may_go_on(one));
    }

    /// The next incident that began or is over, oldest first. Those that go on can wait: a crash loop's timeline is long.
    pub fn poll_news(&mut self) -> Option<Change> {
        self.out.pop_front()
    }

    /// The next change, oldest first; those that go on are told once, as they are by now.
    pub fn poll(&mut self) -> Option<Change> {
        if let Some(change) = self.out.pop_front() {
            return Some(change);
        }
        while let Some(subject) = self.dirty.pop_first() {
            if let Some(incident) = self.open.get(&subject) {
                return Some(Change::Updated(incident.clone()));
            }
        }
        None
    }
}
