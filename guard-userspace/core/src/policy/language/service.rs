//! A service: all that its document says.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::actions::{FailoverKeys, LadderKeys};
use super::adopt::AdoptKeys;
use super::checks::CheckKeys;
use super::probes::{self, AuthKeys, ExecKeys, HttpKeys, TcpKeys, TlsKeys};
use super::run::RunKeys;
use super::texts::{Argument, LabelName, Name, SignalName, Url};
use crate::policy::model::{
    Backoff, Budget, Condition, Dependency, EndStatus, Impact, Kill, Mode, Origin, Port, Readiness, Ready,
    Restart, RestartOn, Service, Stop,
};
use crate::policy::read::{
    At, BudgetOf, Duration, List, Map, Nothing, Number, OneOrMany, Percent, Reader, Text, Value,
};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Node, Spot};
use crate::policy::{Code, Diagnostic};

keys! {
    /// A service: a named set of processes, how they run, what healthy means, and what is done when they are not.
    struct ServiceKeys as "service", one ["run", "adopt"] {
        /// The language that this is written in.
        _version("version"): Version,
        /// The service's name, unique on a host.
        service: At<Name>,
        /// For selection and display.
        labels: Map<LabelName, Argument> = "{}",
        /// Whom to ask.
        owner: Option<Text>,
        /// How bad it is when it is down.
        impact: At<Impact> = "medium",
        /// How long it may be down; an incident that lasts longer says so.
        rto: Option<At<Duration>>,
        /// What to read at three in the morning.
        runbook: Option<Url>,
        /// Services of a group share a restart budget of the `host:` document.
        group: Option<At<Name>>,
        /// How its processes are started.
        run: Option<RunKeys>,
        /// Which processes it is, if somebody else starts them.
        adopt: Option<AdoptKeys>,
        /// When an instance counts as up.
        ready: ReadyKeys = "started",
        /// What must be up before it is started: names, or names with how far they must be.
        depends_on: Dependencies = "[]",
        /// How it comes back. A word alone is `on`.
        restart: RestartKeys = "{}",
        /// How it is ended.
        stop: StopKeys = "{}",
        /// What healthy means, each check under its name.
        checks: Map<Name, CheckKeys> = "{}",
        /// What is done while a check fails, under the check's name; under `held`, when the service is held.
        actions: Map<Name, LadderKeys> = "{}",
        /// Who takes over, and how.
        failover: Option<FailoverKeys>,
        /// Whether decisions are carried out.
        mode: Mode = "act",
    }
}

keys! {
    /// When an instance counts as up.
    struct ReadyKeys as "ready", words ["started", "notify"],
        one ["started", "listen", "notify", "delay", "http", "tcp", "exec", "tls", "auth"] {
        /// As soon as its program runs.
        started: Option<Nothing>,
        /// When it, or a descendant, listens on this TCP port: a number, or `{port}`.
        listen: Option<At<Port>>,
        /// When it says `READY=1` to the socket that `NOTIFY_SOCKET` names.
        notify: Option<Nothing>,
        /// When it has lived this long.
        delay: Option<At<Duration>>,
        /// When this request is answered well.
        http: Option<HttpKeys>,
        /// When this connection succeeds.
        tcp: Option<TcpKeys>,
        /// When this program says so.
        exec: Option<ExecKeys>,
        /// When this certificate is shown.
        tls: Option<TlsKeys>,
        /// When this request is refused.
        auth: Option<AuthKeys>,
        /// How long that may take before the start counts as failed.
        within: At<Duration> = "1m",
    }
}

keys! {
    /// How a service comes back. A word alone is `on`.
    struct RestartKeys as "restart", short "on" {
        /// After which ends.
        on: RestartOn = "failure",
        /// How often, before it is held.
        budget: At<BudgetOf> = "5/10m",
        /// How long to wait before each.
        backoff: BackoffKeys = "{}",
        /// Ends that count as success: exit codes and signals.
        success: OneOrMany<EndStatus> = "0",
        /// Ends after which it is not restarted, but held.
        never: Statuses = "[]",
        /// While it is held because its budget is spent, one try this often.
        slow_retry: At<Duration> = "10m",
    }
}

keys! {
    /// Waits that grow: `initial` times `factor` for each restart, `max` at most.
    struct BackoffKeys as "backoff" {
        /// The first wait.
        initial: At<Duration> = "100ms",
        /// By how much each wait is longer than the one before.
        factor: At<Number> = "2",
        /// The longest wait.
        max: At<Duration> = "1m",
        /// Each wait is up to so much shorter or longer, at random.
        jitter: At<Percent> = "25%",
        /// Up for so long, the next wait is the first one again.
        reset_after: At<Duration> = "10m",
    }
}

keys! {
    /// How a service is ended.
    struct StopKeys as "stop" {
        /// The signal that asks for it.
        signal: SignalName = "SIGTERM",
        /// How long it may take before it is killed.
        timeout: At<Duration> = "10s",
        /// Who is killed then, and after the main process has ended.
        kill: Kill = "cgroup",
    }
}

/// The language's version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version;

words! {
    Version {
        /// The first one.
        "processguard/v1" = Self,
    }
}

words! {
    Impact {
        /// Nobody notices.
        "low" = Self::Low,
        /// Somebody notices.
        "medium" = Self::Medium,
        /// Many notice.
        "high" = Self::High,
        /// Everything waits for it.
        "critical" = Self::Critical,
    }
}

words! {
    Mode {
        /// Decide and record; touch nothing.
        "observe" = Self::Observe,
        /// Decide, record and act.
        "act" = Self::Act,
    }
}

words! {
    RestartOn {
        /// After every end.
        "always" = Self::Always,
        /// After an end that is no success.
        "failure" = Self::Failure,
        /// After none.
        "never" = Self::Never,
    }
}

words! {
    Kill {
        /// All of its control group.
        "cgroup" = Self::Cgroup,
        /// All of its process group.
        "group" = Self::Group,
        /// Nobody else.
        "process" = Self::Process,
    }
}

words! {
    Condition {
        /// `min` instances run.
        "started" = Self::Started,
        /// `min` instances are ready.
        "ready" = Self::Ready,
        /// `min` instances are ready, and no check fails.
        "healthy" = Self::Healthy,
    }
}

/// Ends of processes: none, one or many.
type Statuses = List<EndStatus>;

/// Other services, and how far each must be.
#[derive(Clone, Debug)]
pub(crate) struct Dependencies(pub(crate) BTreeMap<Name, (Condition, Spot)>);

impl Value for Dependencies {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "anyOf": [List::<Name>::schema(schema), Map::<Name, Condition>::schema(schema)] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.data {
            Data::Map(_) => {
                let map = Map::<Name, At<Condition>>::read(node, reader)?;
                Some(Self(map.0.into_iter().map(|(name, at)| (name, (at.value, at.name))).collect()))
            }
            Data::List(_) => {
                let names = List::<At<Name>>::read(node, reader)?;
                Some(Self(
                    names.0.into_iter().map(|name| (name.value, (Condition::Ready, name.spot))).collect(),
                ))
            }
            Data::Scalar(_) => {
                reader.wrong_type(node, "a list of services, or a map such as `{ db: ready }`,");
                None
            }
        }
    }
}

/// As the model has it: what each part says, and what must hold between its parts.
pub(crate) fn build(keys: &ServiceKeys, reader: &mut Reader) -> Option<Service> {
    let origin = match (&keys.run, &keys.adopt) {
        (Some(run), _) => run.build(reader).map(Origin::Run),
        (None, Some(adopt)) => adopt.build(reader).map(Origin::Adopt),
        (None, None) => None,
    };
    let ready = keys.ready.build(reader);
    let restart = keys.restart.build(reader);
    let checks: Vec<_> = keys.checks.0.iter().map(|(name, check)| check.build(name, reader)).collect();
    let ladders: Vec<_> = keys
        .actions
        .0
        .iter()
        .map(|(name, ladder)| Some((name.0.to_string(), ladder.build(reader)?)))
        .collect();
    let failover = keys.failover.as_ref().map(|failover| failover.build(reader));
    let service = Service {
        name: keys.service.value.0.to_string(),
        labels: keys.labels.0.iter().map(|(name, value)| (name.0.to_string(), value.0.to_string())).collect(),
        owner: keys.owner.as_ref().map(|text| text.0.to_string()),
        impact: keys.impact.value,
        rto: keys.rto.map(|span| span.value.0),
        runbook: keys.runbook.as_ref().map(|url| url.0.to_string()),
        group: keys.group.as_ref().map(|name| name.value.0.to_string()),
        origin: origin?,
        ready: ready?,
        depends_on: keys.depends_on.build(),
        restart: restart?,
        stop: keys.stop.build(),
        checks: checks.into_iter().collect::<Option<_>>()?,
        actions: ladders.into_iter().collect::<Option<_>>()?,
        failover: match failover {
            Some(failover) => Some(failover?),
            None => None,
        },
        mode: keys.mode,
    };
    super::cross::check(keys, &service, reader);
    Some(service)
}

/// Tells what is wrong with the values of a service whose keys could not all be read.
pub(crate) fn check_parts(service: &Node, reader: &mut Reader) {
    fn part<T: Value>(node: Option<&Node>, reader: &mut Reader) -> Option<T> {
        // What is told of reading was told already, and is told once.
        T::read(node?, reader)
    }
    if let Some(run) = part::<RunKeys>(service.get("run"), reader) {
        run.build(reader);
    }
    if let Some(adopt) = part::<AdoptKeys>(service.get("adopt"), reader) {
        adopt.build(reader);
    }
    if let Some(ready) = part::<ReadyKeys>(service.get("ready"), reader) {
        ready.build(reader);
    }
    if let Some(restart) = part::<RestartKeys>(service.get("restart"), reader) {
        restart.build(reader);
    }
    if let Some(failover) = part::<FailoverKeys>(service.get("failover"), reader) {
        failover.build(reader);
    }
    let entries = |key: &str| service.get(key).map(Node::entries).unwrap_or_default();
    for entry in entries("checks") {
        if let Some(check) = part::<CheckKeys>(Some(&entry.value), reader) {
            check.build(&Name(entry.key.clone()), reader);
        }
    }
    for entry in entries("actions") {
        if let Some(ladder) = part::<LadderKeys>(Some(&entry.value), reader) {
            ladder.build(reader);
        }
    }
}

impl Dependencies {
    fn build(&self) -> Vec<Dependency> {
        let entries = self.0.iter();
        entries.map(|(name, (until, _))| Dependency { service: name.0.to_string(), until: *until }).collect()
    }
}

impl ReadyKeys {
    fn build(&self, reader: &mut Reader) -> Option<Ready> {
        let within = probes::positive(&self.within, reader)?;
        let by = if let Some(port) = &self.listen {
            Readiness::Listen(port.value)
        } else if self.notify.is_some() {
            Readiness::Notify
        } else if let Some(delay) = &self.delay {
            if delay.value.0 >= within {
                let message = "it would be given up before it counts as up";
                let diagnostic = Diagnostic::new(Code::Bounds, delay.spot.into(), message)
                    .related(self.within.spot.into(), "given up after this")
                    .help("`delay` is shorter than `within`");
                reader.say(diagnostic);
                return None;
            }
            Readiness::Delay(delay.value.0)
        } else if self.started.is_some() {
            Readiness::Started
        } else {
            let (http, tcp, exec) = (self.http.as_ref(), self.tcp.as_ref(), self.exec.as_ref());
            let probe = probes::build(http, tcp, exec, self.tls.as_ref(), self.auth.as_ref(), reader)?;
            Readiness::Probe(Box::new(probe))
        };
        Some(Ready { by, within })
    }
}

impl RestartKeys {
    fn build(&self, reader: &mut Reader) -> Option<Restart> {
        let budget = budget(&self.budget, reader);
        let backoff = self.backoff.build(reader);
        let slow_retry = probes::positive(&self.slow_retry, reader);
        if let Some(both) = self.success.0.iter().find(|status| self.never.0.contains(status)) {
            let status = match both {
                EndStatus::Code(code) => code.to_string(),
                EndStatus::Signal(signal) => crate::names::SignalName(u32::from(*signal)).to_string(),
            };
            let message = format!("{status} is a success, and an end after which the service is held");
            reader.say(
                Diagnostic::new(Code::Bounds, self.at.into(), message)
                    .help("take it out of one of the lists"),
            );
        }
        Some(Restart {
            on: self.on,
            budget: budget?,
            backoff: backoff?,
            success: self.success.0.clone(),
            never: self.never.0.clone(),
            slow_retry: slow_retry?,
        })
    }
}

impl BackoffKeys {
    fn build(&self, reader: &mut Reader) -> Option<Backoff> {
        let faults = [
            (self.max.value.0 < self.initial.value.0).then(|| {
                Diagnostic::new(
                    Code::Bounds,
                    self.max.spot.into(),
                    "the longest wait is shorter than the first one",
                )
                .related(self.initial.spot.into(), "the first one")
                .help("`initial` is at most `max`")
            }),
            (!(1.0..=100.0).contains(&self.factor.value.0)).then(|| {
                Diagnostic::new(Code::Bounds, self.factor.spot.into(), "a factor goes from 1 to 100")
                    .help("with 1 all waits are the same, with 2 each is twice as long as the one before")
            }),
            (self.jitter.value.0 > 100.0).then(|| {
                Diagnostic::new(
                    Code::Bounds,
                    self.jitter.spot.into(),
                    "more than 100% shorter than a wait is no wait",
                )
                .help("25% is enough to keep services from starting all at once")
            }),
        ];
        let mut fine = true;
        for fault in faults.into_iter().flatten() {
            reader.say(fault);
            fine = false;
        }
        fine.then_some(Backoff {
            initial: self.initial.value.0,
            factor: self.factor.value.0,
            max: self.max.value.0,
            jitter: self.jitter.value.0 / 100.0,
            reset_after: self.reset_after.value.0,
        })
    }
}

impl StopKeys {
    fn build(&self) -> Stop {
        Stop { signal: self.signal.0, timeout: self.timeout.value.0, kill: self.kill }
    }
}

/// A budget whose window is one.
pub(crate) fn budget(budget: &At<BudgetOf>, reader: &mut Reader) -> Option<Budget> {
    if budget.value.0.within == 0 {
        let message = "in a window of no length there is nothing to count";
        reader.say(Diagnostic::new(Code::Bounds, budget.spot.into(), message));
        return None;
    }
    Some(budget.value.0)
}
