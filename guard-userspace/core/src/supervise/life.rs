//! How an instance is started, becomes ready, is ended, and comes back.

use std::sync::Arc;

use crate::event::{Exit, ExitStatus, Process};
use crate::health::Ending;
use crate::ids::ProcId;
use crate::policy::model::{EndStatus, Kill, Mode, Readiness, RestartOn};

use super::effect::{Deed, ServiceState, What};
use super::input::Refused;
use super::instance::{Hold, Instance, Phase, Stopping, Then, Up, Why};
use super::members::Member;
use super::shared::{Job, Spent};
use super::text;
use super::unit::{Turn, Unit};

/// How long a kill may take before it is tried again, in nanoseconds; twice as long each time, up to 64 times. The exit record
/// comes at 0.2 ms (DESIGN.md, section 4).
const KILL_AGAIN_NS: u64 = 5_000_000_000;

impl Unit {
    /// Does what is due for one instance.
    pub(super) fn tend(&mut self, number: u32, turn: &mut Turn<'_>) {
        let wanted = self.wants(number);
        let Some(instance) = self.instances.get(&number) else { return };
        let now_ns = turn.now_ns;
        match &instance.phase {
            Phase::Down | Phase::Backoff { .. } | Phase::Held { .. } | Phase::Finished if !wanted => {
                self.drop_instance(number, turn);
            }
            Phase::Starting { plan: None, .. } if !wanted => self.drop_instance(number, turn),
            Phase::Down => self.try_start(number, turn),
            Phase::Backoff { until_ns } if now_ns >= *until_ns => {
                self.set(number, Phase::Down);
                self.try_start(number, turn);
            }
            Phase::Held { retry_ns: Some(retry_ns), .. } if now_ns >= *retry_ns => self.retry(number, turn),
            Phase::Starting { until_ns: Some(until_ns), .. } if now_ns >= *until_ns => {
                self.failed(number, None, Why::new("its processes were not found in time", now_ns), turn);
            }
            Phase::Up(_) => self.tend_up(number, wanted, turn),
            Phase::Stopping(stopping) if now_ns >= stopping.next_ns => self.kill(number, turn),
            _ => {}
        }
    }

    /// When there is something to do for an instance.
    pub(super) fn instance_next_ns(&self, instance: &Instance, certain: bool) -> Option<u64> {
        match &instance.phase {
            Phase::Backoff { until_ns } => Some(*until_ns),
            Phase::Held { retry_ns, .. } => *retry_ns,
            Phase::Starting { until_ns, .. } => *until_ns,
            Phase::Up(up) => {
                if let Some(ready_ns) = up.ready_ns {
                    let reset = ready_ns.saturating_add(self.policy.restart.backoff.reset_after);
                    return (!instance.wait.is_fresh() || instance.probation).then_some(reset);
                }
                if !self.wants(instance.number) || self.is_fenced() {
                    return None;
                }
                let late = up.since_ns.saturating_add(self.policy.ready.within);
                let ready = match &self.policy.ready.by {
                    Readiness::Delay(delay) => Some(up.since_ns.saturating_add(*delay)),
                    _ => up.ask_ns,
                };
                ready.into_iter().chain((certain && !instance.told_end).then_some(late)).min()
            }
            Phase::Stopping(stopping) => certain.then_some(stopping.next_ns),
            Phase::Down | Phase::Finished => None,
        }
    }

    pub(super) fn set(&mut self, number: u32, phase: Phase) {
        if let Some(instance) = self.instances.get_mut(&number) {
            instance.phase = phase;
        }
    }

    /// An instance without a process is not wanted any more.
    pub(super) fn drop_instance(&mut self, number: u32, turn: &mut Turn<'_>) {
        let Some(instance) = self.instances.remove(&number) else { return };
        if instance.ticket {
            turn.shared.release(&mut self.window, self.policy.group.as_deref());
        }
        turn.shared.members.disband(self.slot, number);
        if instance.told != ServiceState::Stopped {
            let (from, why) = (instance.told, self.why_gone(number).what);
            let what = What::State { from, to: ServiceState::Stopped, why };
            turn.shared.tell(turn.now_ns, self.subject(Some(number)), what);
        }
        self.part_with(instance);
    }

    /// Why an instance is not wanted.
    fn why_gone(&self, number: u32) -> Why {
        let why = if !self.wanted {
            self.stop_why.clone()
        } else if number >= self.target {
            self.scale_why.clone()
        } else {
            None
        };
        why.unwrap_or_else(|| Why::new("it is not wanted", 0))
    }

    /// Starts an instance, if it may be.
    fn try_start(&mut self, number: u32, turn: &mut Turn<'_>) {
        if let Some((hold, why)) = self.hold.clone() {
            return self.hold_instance(number, hold, None, why, turn);
        }
        let Some(run) = self.run() else { return self.try_renew(number, turn) };
        if !self.may_start(turn.shared) {
            return;
        }
        let run = Box::new(self.fill(number).run(run));
        let Some(instance) = self.instances.get(&number) else { return };
        let (why, after, restart) = (instance.why.clone(), instance.after, instance.ticket);
        if restart {
            if !self.may_spend(number, &why, turn) {
                return;
            }
            self.spend(number, turn);
        }
        let because = self.because(&why, restart, turn.now_ns);
        let deed = Deed::Start { run, notify: self.notifies(), after };
        let plan = self.plan(Some(number), deed, because, Job::Start(number), turn);
        if self.acts() {
            turn.shared.members.starting(true);
            self.set(number, Phase::Starting { plan: Some(plan), until_ns: None });
        } else {
            let why = Why::new(text::OBSERVES, turn.now_ns);
            self.hold_instance(number, Hold::Observed, None, why, turn);
        }
    }

    pub(super) fn notifies(&self) -> bool {
        self.policy.ready.by == Readiness::Notify
    }

    /// The start of an instance is done, or failed.
    pub(super) fn started(
        &mut self,
        number: u32,
        result: Result<Option<Arc<Process>>, Refused>,
        turn: &mut Turn<'_>,
    ) {
        let why = match result {
            Ok(Some(process)) => {
                self.up(number, process.id, turn.now_ns, turn);
                return turn.shared.members.starting(false);
            }
            Ok(None) => "no process came of its start".to_owned(),
            Err(refused) => format!("it could not be started: {}", refused.why),
        };
        turn.shared.members.starting(false);
        self.failed(number, None, Why::new(why, turn.now_ns), turn);
    }

    /// An instance has a process.
    pub(super) fn up(&mut self, number: u32, main: ProcId, since_ns: u64, turn: &mut Turn<'_>) {
        let now_ns = turn.now_ns;
        let ask_ns = matches!(self.policy.ready.by, Readiness::Probe(_)).then_some(now_ns);
        let Some(instance) = self.instances.get_mut(&number) else { return };
        instance.phase = Phase::Up(Up { main, since_ns, ready_ns: None, ask_ns, asked: None, frozen: false });
        (instance.renewing, instance.told_end) = (false, false);
        instance.checks.gauges.begin(since_ns);
        let caught = turn.shared.members.catch_up(main, Member { slot: self.slot, instance: number });
        if self.policy.ready.by == Readiness::Started {
            self.is_ready(number, "its program runs", turn);
        }
        for port in caught.ports {
            self.listens(number, port, turn);
        }
        if caught.notified {
            self.notified(number, turn);
        }
        if let Some((time_ns, exit)) = caught.end {
            return self.ended(number, time_ns, &exit, turn);
        }
        if let Some(instance) = self.instances.get_mut(&number)
            && std::mem::take(&mut instance.outdated)
        {
            let why = Why::new("its policy runs something else now", now_ns);
            self.end(number, Then::Anew, &why, turn);
        }
    }

    fn tend_up(&mut self, number: u32, wanted: bool, turn: &mut Turn<'_>) {
        let fenced = self.is_fenced();
        let Some(instance) = self.instances.get_mut(&number) else { return };
        let Phase::Up(up) = &mut instance.phase else { return };
        let now_ns = turn.now_ns;
        let reset_after = self.policy.restart.backoff.reset_after;
        if up.ready_ns.is_some_and(|ready_ns| now_ns >= ready_ns.saturating_add(reset_after)) {
            instance.wait.reset();
            instance.probation = false;
        }
        if !wanted || fenced {
            let why = self.hold.as_ref().filter(|_| wanted).map(|(_, why)| why.clone());
            let why = why.unwrap_or_else(|| self.why_gone(number));
            return self.end_once(number, Then::Gone, &why, turn);
        }
        if up.ready_ns.is_some() {
            return;
        }
        let since_ns = up.since_ns;
        if let Readiness::Delay(delay) = self.policy.ready.by
            && now_ns >= since_ns.saturating_add(delay)
        {
            let what = format!("it has lived for {}", text::span(delay));
            return self.is_ready(number, &what, turn);
        }
        if up.ask_ns.is_some_and(|ask_ns| now_ns >= ask_ns) {
            self.ask_whether_ready(number, turn);
        }
        let within = self.policy.ready.within;
        if now_ns >= since_ns.saturating_add(within) {
            let what = format!("{} {}", text::NOT_READY, text::span(within));
            let why = Why::new(what.clone(), since_ns);
            self.end_once(number, Then::Failed(what), &why, turn);
        }
    }

    /// Asks a living instance to end, or says once that it would.
    fn end_once(&mut self, number: u32, then: Then, why: &Why, turn: &mut Turn<'_>) {
        let Some(instance) = self.instances.get_mut(&number) else { return };
        let acts = self.policy.mode == Mode::Act;
        if !std::mem::replace(&mut instance.told_end, !acts) {
            self.end(number, then, why, turn);
        }
    }

    /// Asks a living instance to end. If its policy only observes, this is recorded, and nothing is assumed.
    pub(super) fn end(&mut self, number: u32, then: Then, why: &Why, turn: &mut Turn<'_>) {
        if then == Then::Gone && !self.wanted && !self.may_end(turn.shared) {
            return;
        }
        if self.acts() && !turn.shared.certain {
            turn.shared.deferred.insert(self.slot);
            return;
        }
        let acts = self.acts();
        let Some(instance) = self.instances.get_mut(&number) else { return };
        let Phase::Up(up) = &instance.phase else { return };
        let (main, frozen) = (up.main, up.frozen);
        let stop = self.policy.stop;
        let restart = then == Then::Again;
        let next_ns = turn.now_ns.saturating_add(stop.timeout);
        if acts {
            instance.why = why.clone();
            instance.renewing |= matches!(then, Then::Again | Then::Anew);
            instance.checks.end();
            instance.phase = Phase::Stopping(Stopping { main, then, next_ns, kills: 0 });
        }
        let because = self.because(why, restart, turn.now_ns);
        if frozen {
            self.plan(Some(number), Deed::Thaw(main), because.clone(), Job::Plain, turn);
        }
        let deed = Deed::Signal { target: main, signal: stop.signal, all: false };
        self.plan(Some(number), deed, because, Job::Plain, turn);
    }

    /// An instance did not end when it was asked to.
    fn kill(&mut self, number: u32, turn: &mut Turn<'_>) {
        if !turn.shared.certain {
            turn.shared.deferred.insert(self.slot);
            return;
        }
        let Some(instance) = self.instances.get_mut(&number) else { return };
        let Phase::Stopping(stopping) = &mut instance.phase else { return };
        let target = stopping.main;
        stopping.next_ns = turn.now_ns.saturating_add(KILL_AGAIN_NS << stopping.kills.min(6));
        stopping.kills = stopping.kills.saturating_add(1);
        let what =
            format!("it did not end within {} of being asked to", text::span(self.policy.stop.timeout));
        let because = self.because(&Why::new(what, turn.now_ns), false, turn.now_ns);
        let kill = self.policy.stop.kill;
        self.plan(Some(number), Deed::Kill { target, kill }, because, Job::Plain, turn);
    }

    /// Kills what main processes that ended have left.
    pub(super) fn clear_away(&mut self, turn: &mut Turn<'_>) {
        if self.leftovers.is_empty() {
            return;
        }
        if !turn.shared.certain {
            turn.shared.deferred.insert(self.slot);
            return;
        }
        for (number, target) in std::mem::take(&mut self.leftovers) {
            let why = Why::new("its main process has ended, and what it left must not live on", turn.now_ns);
            let because = self.because(&why, false, turn.now_ns);
            let kill = self.policy.stop.kill;
            let id = self.plan(Some(number), Deed::Kill { target, kill }, because, Job::Clear, turn);
            self.clearing.insert(id, (number, target));
        }
    }

    /// A main process has ended.
    pub(super) fn ended(&mut self, number: u32, time_ns: u64, exit: &Exit, turn: &mut Turn<'_>) {
        let policy = Arc::clone(&self.policy);
        let Some(instance) = self.instances.get_mut(&number) else { return };
        let Some(main) = instance.main() else { return };
        turn.shared.members.disband(self.slot, number);
        instance.after = Some(main);
        instance.checks.end();
        let then = match &instance.phase {
            Phase::Stopping(stopping) => Some(stopping.then.clone()),
            _ => {
                if let Some(ending) = Ending::of(exit, &policy.restart.success) {
                    instance.checks.gauges.ended(time_ns, ending);
                }
                None
            }
        };
        instance.phase = Phase::Down;
        if policy.stop.kill != Kill::Process && self.run().is_some() && self.acts() {
            self.leftovers.push((number, main));
            self.clear_away(turn);
        }
        let why = Why::new(text::end(exit), time_ns);
        match then {
            Some(Then::Gone | Then::Again | Then::Anew) => {}
            Some(Then::Failed(what)) => self.failed(number, None, Why::new(what, time_ns), turn),
            None if self.is_being_renewed(number, turn) => {}
            None => self.failed(number, Some(exit.status), why, turn),
        }
    }

    /// An instance ended unasked, or could not be started.
    pub(super) fn failed(&mut self, number: u32, status: Option<ExitStatus>, why: Why, turn: &mut Turn<'_>) {
        let restart = &self.policy.restart;
        let is =
            |list: &[EndStatus]| status.is_some_and(|status| list.iter().any(|&end| matches(end, status)));
        let (success, never) = (is(&restart.success), is(&restart.never));
        let (on, slow) = (restart.on, restart.slow_retry);
        let Some(instance) = self.instances.get_mut(&number) else { return };
        (instance.phase, instance.why, instance.renewing) = (Phase::Down, why.clone(), false);
        if instance.ticket {
            instance.ticket = false;
            turn.shared.release(&mut self.window, self.policy.group.as_deref());
        }
        if never || on == RestartOn::Never && !success {
            let what = format!("{}; after that it must not be restarted", why.what);
            return self.hold_instance(number, Hold::Never, None, Why { what, ..why }, turn);
        }
        if success && on != RestartOn::Always {
            return self.set(number, Phase::Finished);
        }
        if instance.probation {
            let retry_ns = turn.now_ns.saturating_add(slow);
            let what = format!("{}; one try every {}", why.what, text::span(slow));
            return self.hold_instance(number, Hold::Spent, Some(retry_ns), Why { what, ..why }, turn);
        }
        match turn.shared.reserve(turn.now_ns, &mut self.window, self.policy.group.as_deref()) {
            Ok(()) => {
                instance.ticket = true;
                let wait = instance.wait.next(&self.policy.restart.backoff, &mut self.dice);
                instance.phase = Phase::Backoff { until_ns: turn.now_ns.saturating_add(wait) };
            }
            Err(spent) => self.hold_spent(number, &spent, why, turn),
        }
    }

    /// No budget is left for an instance that ended.
    pub(super) fn hold_spent(&mut self, number: u32, spent: &Spent, why: Why, turn: &mut Turn<'_>) {
        let slow = self.policy.restart.slow_retry;
        let retry_ns = turn.now_ns.saturating_add(slow).max(spent.next_ns.unwrap_or_default());
        let what = format!("{}; {} are spent; one try every {}", why.what, spent.what, text::span(slow));
        self.hold_instance(number, Hold::Spent, Some(retry_ns), Why { what, ..why }, turn);
    }

    /// An instance is not started any more; nobody is left in the dark about that.
    pub(super) fn hold_instance(
        &mut self,
        number: u32,
        hold: Hold,
        retry_ns: Option<u64>,
        why: Why,
        turn: &mut Turn<'_>,
    ) {
        let Some(instance) = self.instances.get_mut(&number) else { return };
        if instance.ticket {
            instance.ticket = false;
            turn.shared.release(&mut self.window, self.policy.group.as_deref());
        }
        instance.renewing = false;
        // What holds the whole service is told by what holds it, and a slow try that failed was expected to.
        let news = matches!(hold, Hold::Never | Hold::NoWay) || hold == Hold::Spent && !instance.probation;
        instance.phase = Phase::Held { hold, retry_ns };
        instance.why = why.clone();
        if news && !self.has_held_ladder() {
            self.cry(Some(number), &why, turn);
        }
    }

    /// One slow try of an instance whose budget is spent.
    fn retry(&mut self, number: u32, turn: &mut Turn<'_>) {
        let slow = self.policy.restart.slow_retry.max(1);
        match turn.shared.reserve(turn.now_ns, &mut self.window, self.policy.group.as_deref()) {
            Ok(()) => {
                let Some(instance) = self.instances.get_mut(&number) else { return };
                (instance.ticket, instance.probation, instance.phase) = (true, true, Phase::Down);
                let what = format!("{}: one try every {}", short(&instance.why.what), text::span(slow));
                instance.why.what = what;
                self.try_start(number, turn);
            }
            Err(spent) => {
                let later = turn.now_ns.saturating_add(slow);
                let retry_ns = spent.next_ns.filter(|&next_ns| next_ns > turn.now_ns).unwrap_or(later);
                self.set(number, Phase::Held { hold: Hold::Spent, retry_ns: Some(retry_ns) });
            }
        }
    }
}

/// What comes before the first semicolon: how it ended.
fn short(what: &str) -> &str {
    what.split_once(';').map_or(what, |(first, _)| first)
}

fn matches(end: EndStatus, status: ExitStatus) -> bool {
    match (end, status) {
        (EndStatus::Code(code), ExitStatus::Code(ended)) => code == ended,
        (EndStatus::Signal(signal), ExitStatus::Signal { number, .. }) => signal == number,
        _ => false,
    }
}
