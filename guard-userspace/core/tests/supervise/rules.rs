//! What a supervisor must never do, as seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use guard_core::ids::ProcId;
use guard_core::policy::PolicySet;
use guard_core::policy::model::{Budget, Mode, Origin, Service};
use guard_core::supervise::{Command, Deed, Disturbance, Notice, Plan, ServiceState, What};

use crate::reached::Reached;

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Rules {
    /// What was seen, counted.
    pub(crate) reached: Reached,
    services: BTreeMap<String, std::sync::Arc<Service>>,
    host: Option<Budget>,
    groups: BTreeMap<String, Budget>,
    /// Restarts, by what they count against: a service, `group NAME`, `host`.
    restarts: BTreeMap<String, Vec<u64>>,
    /// Services that an operator stopped.
    stopped: BTreeSet<String>,
    /// Instances that died unasked and were not started since; that start is a restart.
    died: BTreeSet<(String, u32)>,
    /// Main processes that were asked to end.
    asked: BTreeSet<ProcId>,
    /// The waits of instances: since when one waits, the last one, and since when it has been ready.
    waits: BTreeMap<(String, u32), Wait>,
    /// Failovers that began, by service.
    failovers: BTreeMap<String, Vec<u64>>,
    /// Why a service is held, as it was told.
    held: BTreeMap<String, String>,
    /// The world's own idea of who is primary, and who was fenced and not started by an operator since.
    primaries: BTreeSet<String>,
    fenced: BTreeSet<String>,
    token: u64,
    /// What the last start by hand took away, which holds on if it is refused.
    before_start: BeforeStart,
}

#[derive(Default)]
struct BeforeStart {
    fenced: bool,
    stopped: bool,
    restarts: Option<Vec<u64>>,
}

#[derive(Default)]
struct Wait {
    begun_ns: Option<u64>,
    /// It was not wanted for a while since then, so that it waited for other reasons too.
    interrupted: bool,
    last_ns: u64,
    ready_ns: Option<u64>,
}

impl Rules {
    pub(crate) fn policies(&mut self, old: &PolicySet, new: &PolicySet) {
        self.host = new.host.budget;
        self.groups.clone_from(&new.host.groups);
        self.services = new.services.iter().map(|service| (service.name.clone(), service.clone())).collect();
        self.waits.clear();
        for before in &old.services {
            let now = self.services.get(&before.name);
            let goes_on = now.is_some_and(|now| Disturbance::between(before, now) == Disturbance::None);
            if !goes_on {
                // What runs something else has its whole budget.
                self.restarts.remove(&before.name);
                self.died.retain(|(name, _)| *name != before.name);
            }
            // Who takes a service out of the policies and puts it back wants it as they say.
            if now.is_none() {
                self.stopped.remove(&before.name);
            }
        }
        // A service that observed was not started when it died; that it acts now is no restart.
        self.died.clear();
    }

    pub(crate) fn command(&mut self, command: &Command) {
        self.reached.command(command);
        match command {
            Command::Start(name) => {
                self.before_start = BeforeStart {
                    fenced: self.fenced.remove(name),
                    stopped: self.stopped.remove(name),
                    restarts: self.restarts.remove(name),
                };
                self.forget(name);
            }
            Command::Stop(name) => {
                // Whoever stops a primary, and then starts another one, knows what they do.
                self.primaries.remove(name);
                // What has no policy cannot be stopped: that is refused.
                if self.services.contains_key(name) {
                    self.stopped.insert(name.clone());
                }
                self.forget(name);
            }
            Command::Shutdown => self.stopped.extend(self.services.keys().cloned()),
            _ => {}
        }
    }

    /// For a while nobody looked: what waited meanwhile may have waited for longer than it was to.
    pub(crate) fn nobody_looks(&mut self) {
        let waiting = self.waits.values_mut().filter(|wait| wait.begun_ns.is_some());
        waiting.for_each(|wait| wait.interrupted = true);
    }

    fn forget(&mut self, service: &str) {
        self.died.retain(|(name, _)| name != service);
        self.waits.retain(|(name, _), _| name != service);
    }

    pub(crate) fn dies(&mut self, service: &str, instance: u32, id: ProcId) {
        if self.asked.contains(&id) {
            return;
        }
        self.died.insert((service.to_owned(), instance));
    }

    /// A hook does its work, or not. What fails may have done it nevertheless, if it promotes.
    pub(crate) fn hook(
        &mut self,
        service: &str,
        purpose: &str,
        works: bool,
        deed: &Deed,
    ) -> Result<(), String> {
        let Deed::Run { environment, .. } = deed else { return Ok(()) };
        self.reached.hook(purpose, works);
        match purpose {
            "fence" if works => {
                self.primaries.remove(service);
                self.fenced.insert(service.to_owned());
            }
            "promote" => {
                let new = &environment["PROCESSGUARD_NEW_PRIMARY"];
                self.primaries.insert(new.clone());
                self.fenced.remove(new);
            }
            _ => {}
        }
        self.one_primary()
    }

    fn one_primary(&self) -> Result<(), String> {
        let one = self.primaries.len() <= 1;
        one.then_some(()).ok_or_else(|| format!("two primaries: {:?}", self.primaries))
    }

    pub(crate) fn plan(
        &mut self,
        plan: &Plan,
        certain: bool,
        alive: usize,
        mains: &[ProcId],
    ) -> Result<(), String> {
        self.reached.plan(plan);
        let name = plan.subject.service.to_string();
        let service = self.services.get(&name).cloned();
        let observes = service.as_ref().is_some_and(|service| service.mode == Mode::Observe);
        if observes && plan.act {
            return Err(format!("{name} only observes"));
        }
        let to_the_living = match &plan.deed {
            Deed::Start { .. } | Deed::Alert { .. } => false,
            Deed::RestartVia { .. } => alive > 0,
            _ => true,
        };
        if to_the_living && !certain && plan.act {
            return Err(format!("{name}: {} while records are lost", plan.deed));
        }
        if let Deed::Signal { target, .. } = &plan.deed
            && plan.act
            && !mains.contains(target)
        {
            return Err(format!("{name}: a signal to pid {}, which is nobody's", target.pid));
        }
        if let (Deed::Signal { target, .. }, true) = (&plan.deed, plan.act) {
            self.asked.insert(*target);
        }
        self.restart(plan, &name, service.as_deref())?;
        self.failover(plan, &name, service.as_deref())?;
        if matches!(plan.deed, Deed::RestartVia { .. }) && plan.act && self.stopped.contains(&name) {
            return Err(format!("{name} was stopped, and is restarted"));
        }
        if let (Deed::Start { .. }, true, Some(instance)) = (&plan.deed, plan.act, plan.subject.instance) {
            self.start(plan, (name, instance), service.as_deref())?;
        }
        Ok(())
    }

    /// A failover begins with its first step, and counts whatever becomes of it.
    fn failover(&mut self, plan: &Plan, name: &str, service: Option<&Service>) -> Result<(), String> {
        let is_first = matches!(plan.deed, Deed::Run { purpose: "demote", .. });
        let Some(budget) = service.and_then(|service| Some(service.failover.as_ref()?.budget)) else {
            return Ok(());
        };
        if is_first && plan.act {
            let times = self.failovers.entry(name.to_owned()).or_default();
            times.push(plan.time_ns);
            within(times, budget, plan.time_ns)
                .map_err(|count| format!("{count} failovers of {name}, the budget is {budget}"))?;
        }
        Ok(())
    }

    /// Whatever the cause of a restart, it counts.
    fn restart(&mut self, plan: &Plan, name: &str, service: Option<&Service>) -> Result<(), String> {
        let is_restart = matches!(plan.deed, Deed::Start { .. } | Deed::RestartVia { .. })
            && plan.because.restarts_left.is_some();
        let Some(service) = service.filter(|_| is_restart) else { return Ok(()) };
        let mut budgets = vec![(name.to_owned(), service.restart.budget)];
        let group = service.group.as_ref();
        budgets.extend(group.and_then(|group| Some((format!("group {group}"), *self.groups.get(group)?))));
        budgets.extend(self.host.map(|host| ("host".to_owned(), host)));
        for (whose, budget) in budgets {
            let times = self.restarts.entry(whose.clone()).or_default();
            times.push(plan.time_ns);
            within(times, budget, plan.time_ns)
                .map_err(|count| format!("{count} restarts of {whose}, the budget is {budget}"))?;
        }
        Ok(())
    }

    fn start(&mut self, plan: &Plan, key: (String, u32), service: Option<&Service>) -> Result<(), String> {
        let (name, instance) = &key;
        if self.fenced.contains(name) {
            return Err(format!("{name} is fenced, nobody wants it started, and it is"));
        }
        if self.stopped.contains(name) {
            return Err(format!("{name} was stopped, and is started"));
        }
        if self.died.remove(&key) && plan.because.restarts_left.is_none() {
            return Err(format!("{name}/{instance} is started again, and that counts against no budget"));
        }
        let Some(service) = service else { return Err(format!("{name} has no policy")) };
        if let Origin::Run(run) = &service.origin
            && *instance >= run.instances.max
        {
            return Err(format!("{name}/{instance} of {} at most is started", run.instances.max));
        }
        let wait = self.waits.entry(key.clone()).or_default();
        if let Some(begun_ns) = wait.begun_ns.take()
            && service.depends_on.is_empty()
        {
            let waited_ns = plan.time_ns - begun_ns;
            if waited_ns < wait.last_ns {
                return Err(format!("a backoff of {waited_ns} ns after one of {}", wait.last_ns));
            }
            if std::mem::take(&mut wait.interrupted) {
                return Ok(());
            }
            if wait.last_ns > 0 {
                self.reached.count("a second backoff, which may not be shorter");
            }
            wait.last_ns = waited_ns;
        }
        Ok(())
    }

    pub(crate) fn notice(&mut self, notice: &Notice) -> Result<(), String> {
        self.reached.notice(notice);
        let (now_ns, subject, what) = (notice.time_ns, &notice.subject, &notice.what);
        let name = subject.service.to_string();
        match what {
            What::State { from, to, why } => {
                let service = self.services.get(&name);
                let adopted = service.is_some_and(|service| matches!(service.origin, Origin::Adopt(_)));
                if adopted && *to == ServiceState::Healthy {
                    self.reached.count("adoption");
                }
                let Some(instance) = subject.instance else {
                    self.held.insert(name, why.clone());
                    return Ok(());
                };
                let reset_ns =
                    self.services.get(&name).map_or(0, |service| service.restart.backoff.reset_after);
                let wait = self.waits.entry((name, instance)).or_default();
                let ready =
                    |state: &ServiceState| matches!(state, ServiceState::Healthy | ServiceState::Degraded);
                match (ready(from), ready(to)) {
                    (false, true) => wait.ready_ns = Some(now_ns),
                    (true, false) => {
                        let up = wait.ready_ns.take().map_or(0, |since_ns| now_ns - since_ns);
                        if up >= reset_ns && wait.last_ns > 0 {
                            wait.last_ns = 0;
                            self.reached.count("backoff reset");
                        }
                    }
                    _ => {}
                }
                match (from, to) {
                    (ServiceState::BackingOff, ServiceState::Stopped) => wait.interrupted = true,
                    (ServiceState::Stopped, ServiceState::BackingOff) if wait.begun_ns.is_some() => {}
                    (_, ServiceState::BackingOff) => {
                        (wait.begun_ns, wait.interrupted) = (Some(now_ns), false)
                    }
                    // It is told after the start that it says: that has looked at the wait already.
                    _ => (wait.begun_ns, wait.interrupted) = (None, false),
                }
            }
            What::Withheld { deed, .. } if deed == "start" => {
                let before = std::mem::take(&mut self.before_start);
                self.fenced.extend(before.fenced.then(|| name.clone()));
                self.stopped.extend(before.stopped.then(|| name.clone()));
                self.restarts.extend(before.restarts.map(|times| (name, times)));
            }
            What::Role { token } => {
                if *token <= self.token {
                    return Err(format!("the token {token} after {}", self.token));
                }
                self.token = *token;
                // A role is given at the beginning, after a promotion, or taken back when nobody else can have it.
                self.primaries.insert(name.clone());
                self.fenced.remove(&name);
            }
            _ => {}
        }
        self.one_primary()
    }

    /// Whether a service may be held for good, although all is well again: if only a person can take away why. A spent budget is
    /// no such reason.
    pub(crate) fn may_be_held(&self, name: &str) -> bool {
        let reasons = ["did not help", "must not be restarted", "primary role"];
        let said = self.held.get(name).is_some_and(|why| reasons.iter().any(|reason| why.contains(reason)));
        said || self.fenced.contains(name)
    }

    pub(crate) fn is_stopped(&self, name: &str) -> bool {
        self.stopped.contains(name)
    }
}

/// That no more of these times lie in the window that ends now.
fn within(times: &[u64], budget: Budget, now_ns: u64) -> Result<(), usize> {
    let count = times.iter().filter(|&&time| time + budget.within > now_ns).count();
    if count > budget.count as usize { Err(count) } else { Ok(()) }
}
