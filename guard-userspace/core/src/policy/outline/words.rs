//! A policy in words: how its service lives.

use crate::names::SignalName;
use crate::policy::model::{
    self, Act, Bound, Check, CheckKind, Condition, EndStatus, Flap, Kill, Ladder, Mode, Origin, Port, Probe,
    Readiness, RestartOn, RestartVia, Scope, Service, Step, Threshold,
};

/// The states of a service and what leads from one to the next, a line each; lines that belong to the one above begin with two
/// spaces.
#[must_use]
pub fn words(service: &Service) -> Vec<String> {
    let mut lines = Vec::new();
    if service.mode == Mode::Observe {
        lines.push(
            "observe: all of this is decided and recorded, and nothing of it is carried out".to_owned(),
        );
    }
    begin(service, &mut lines);
    for check in &service.checks {
        lines.push(format!("check {}", self::check(check)));
        if let Some(ladder) = service.actions.get(&check.name) {
            self::ladder(ladder, &mut lines);
        }
    }
    end(service, &mut lines);
    lines
}

fn begin(service: &Service, lines: &mut Vec<String>) {
    let needs: Vec<String> = service
        .depends_on
        .iter()
        .map(|needs| {
            let until = match needs.until {
                Condition::Started => "runs",
                Condition::Ready => "is ready",
                Condition::Healthy => "is healthy",
            };
            format!("{} {until}", needs.service)
        })
        .collect();
    if !needs.is_empty() {
        lines.push(format!("waiting -> starting: when {}", needs.join(" and ")));
    }
    match &service.origin {
        Origin::Run(run) => {
            let model::Instances { min, start, max } = run.instances;
            lines.push(format!("starting: {start} of at most {max} instances of {}", run.command.join(" ")));
            lines.push(format!("  it is down while fewer than {min} are ready"));
        }
        Origin::Adopt(adopt) => {
            lines.push("starting: by somebody else; its processes are found by what `adopt` says".to_owned());
            lines.push(format!("  it is down while there are fewer than {} main processes", adopt.min));
        }
    }
    if let Some(rto) = service.rto {
        lines.push(format!("  that it is down for longer than {} is told", model::span(rto)));
    }
    let ready = match &service.ready.by {
        Readiness::Started => "its program runs".to_owned(),
        Readiness::Listen(Port::Fixed(port)) => format!("it listens on port {port}"),
        Readiness::Listen(Port::Instance) => "it listens on its own port".to_owned(),
        Readiness::Notify => "it says READY=1".to_owned(),
        Readiness::Probe(probe) => format!("{} is answered as it should be", self::probe(probe)),
        Readiness::Delay(span) => format!("it has lived for {}", model::span(*span)),
    };
    lines.push(format!("starting -> healthy: when {ready}"));
    lines.push(format!("  not within {}: the start has failed", model::span(service.ready.within)));
    if !service.checks.is_empty() {
        lines.push("healthy -> degraded: while a check fails".to_owned());
    }
}

fn end(service: &Service, lines: &mut Vec<String>) {
    let restart = &service.restart;
    let by_others = match &service.origin {
        Origin::Adopt(adopt) => Some(adopt.restart_via.as_ref()),
        Origin::Run(_) => None,
    };
    if by_others == Some(None) {
        lines.push("when it ends: nothing is done, it is only watched".to_owned());
        return;
    }
    let backoff = &restart.backoff;
    let ends = match restart.on {
        RestartOn::Always => "after every end",
        RestartOn::Failure => "after an end that is no success",
        RestartOn::Never => "never",
    };
    lines.push(format!("backing off -> starting: {ends}"));
    lines.push(format!("  successes: {}", statuses(&restart.success)));
    lines.push(format!(
        "  waits of {}, each {} times the one before, at most {}, up to {} shorter or longer; the first again after {} of being up",
        model::span(backoff.initial),
        backoff.factor,
        model::span(backoff.max),
        super::percent(backoff.jitter * 100.0),
        model::span(backoff.reset_after)
    ));
    if let Some(Some(via)) = by_others {
        let how = match via {
            RestartVia::Command(command) => command.join(" "),
            RestartVia::Unit(unit) => format!("systemd, unit {unit}"),
            RestartVia::Container { runtime, container } => format!("{runtime}, container {container}"),
        };
        lines.push(format!("  by {how}"));
    }
    lines.push(format!(
        "backing off -> held: after {} restarts in {}; then one try every {}",
        restart.budget.count,
        model::span(restart.budget.within),
        model::span(restart.slow_retry)
    ));
    if !restart.never.is_empty() {
        lines.push(format!("  and after these ends: {}", statuses(&restart.never)));
    }
    if let Some(ladder) = service.actions.get(Ladder::HELD) {
        self::ladder(ladder, lines);
    }
    let stop = &service.stop;
    let kill = match stop.kill {
        Kill::Cgroup => "all of its control group",
        Kill::Group => "all of its process group",
        Kill::Process => "the process alone",
    };
    lines.push(format!(
        "stopping: {}, and after {} SIGKILL; killed with it: {kill}",
        SignalName(stop.signal.into()),
        model::span(stop.timeout)
    ));
    if let Some(failover) = &service.failover {
        lines.push(format!(
            "failover: to the first healthy one of {}; {}behind the fence {}, at most {}",
            failover.standbys.join(", "),
            failover
                .demote
                .as_ref()
                .map_or(String::new(), |_| "the old primary is asked to step down; ".to_owned()),
            failover.fence.command.join(" "),
            failover.budget
        ));
        lines.push(
            "primary role: at first held by the one that no other names as a standby; if they name each other, by the first in order \
             of name"
                .to_owned(),
        );
    }
}

fn statuses(statuses: &[EndStatus]) -> String {
    if statuses.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = statuses
        .iter()
        .map(|status| match status {
            EndStatus::Code(code) => format!("exit code {code}"),
            EndStatus::Signal(number) => SignalName((*number).into()).to_string(),
        })
        .collect();
    names.join(", ")
}

fn probe(probe: &Probe) -> String {
    match probe {
        Probe::Http(http) => format!("{} {}", http.method, http.url),
        Probe::Tcp(tcp) => format!("a connection to {}", tcp.address),
        Probe::Exec(exec) => exec.command.join(" "),
        Probe::Tls(tls) => format!("a TLS handshake with {}", tls.address),
        Probe::Auth(auth) => {
            format!("{} {} without credentials (which must be refused)", auth.method, auth.url)
        }
    }
}

fn check(check: &Check) -> String {
    let what = match &check.kind {
        CheckKind::Probe(repeated) => {
            let fails = match repeated.fail {
                Flap::Row(1) => "one bad answer".to_owned(),
                Flap::Row(count) => format!("{count} bad answers in a row"),
                Flap::Of { bad, last } => format!("{bad} bad of the last {last} answers"),
            };
            format!(
                "{} every {}; fails after {fails}, passes after {} good",
                probe(&repeated.probe),
                model::span(repeated.every),
                repeated.pass_after
            )
        }
        CheckKind::Threshold(threshold) => self::threshold(threshold),
    };
    let scope = match check.scope {
        Scope::Instance => "",
        Scope::Service => ", of all instances together",
    };
    let grace = if check.grace == 0 {
        String::new()
    } else {
        format!(", not within {} of being ready", model::span(check.grace))
    };
    format!("{}: {what}{scope}{grace}", check.name)
}

fn threshold(threshold: &Threshold) -> String {
    let unit = threshold.signal.unit();
    let (side, bound, other) = match threshold.bound {
        Bound::Above(bound) => ("above", bound, "below"),
        Bound::Below(bound) => ("below", bound, "above"),
    };
    let fails = match threshold.samples {
        Some((bad, last)) => format!(" in {bad} of {last} samples"),
        None if threshold.hold == 0 => String::new(),
        None => format!(" for {}", model::span(threshold.hold)),
    };
    let keeps =
        if threshold.keep == 0 { String::new() } else { format!(" for {}", model::span(threshold.keep)) };
    format!(
        "fails while {} is {side} {}{fails}, passes again {other} {}{keeps}; looked at every {}",
        threshold.signal.name(),
        unit.exact(bound),
        unit.exact(threshold.clear),
        model::span(threshold.every)
    )
}

fn ladder(ladder: &Ladder, lines: &mut Vec<String>) {
    for (at, step) in ladder.steps.iter().enumerate() {
        lines.push(format!("  {}. {}", at + 1, self::step(step)));
    }
    let breaker = &ladder.breaker;
    let fallback = breaker.fallback.as_deref().map_or(String::new(), |act| format!("{}, ", self::act(act)));
    lines.push(format!(
        "  after {} times in vain (no help within {}): {fallback}it is held",
        breaker.tries,
        model::span(breaker.within)
    ));
}

fn step(step: &Step) -> String {
    let mut text = act(&step.act);
    if step.after > 0 {
        text.push_str(&format!(", {} later", model::span(step.after)));
    }
    if let Some(still) = step.if_still {
        text.push_str(&format!(", if it still fails {} later", model::span(still)));
    }
    if let Some(approval) = step.approval {
        text.push_str(&format!(", once somebody approves it within {}", model::span(approval.within)));
    }
    if let Some(guard) = &step.when {
        text.push_str(&format!(", only when {}", guard.source()));
    }
    text
}

fn act(act: &Act) -> String {
    match act {
        Act::Restart => "restart".to_owned(),
        Act::Signal(signalled) => {
            let all = if signalled.all { " to all its processes" } else { "" };
            format!("send {}{all}", SignalName(signalled.signal.into()))
        }
        Act::Stop => "stop the service".to_owned(),
        Act::Scale(scaling) => {
            let (much, cooldown) = (scaling.by.unsigned_abs(), model::span(scaling.cooldown));
            let word = if scaling.by < 0 { "fewer" } else { "more" };
            format!("{much} {word} instances, not again for {cooldown}")
        }
        Act::Failover => "hand the role over".to_owned(),
        Act::Freeze => "freeze it".to_owned(),
        Act::Thaw => "thaw it".to_owned(),
        Act::Renice(nice) => format!("set its nice value to {nice}"),
        Act::Requeue(hook) => format!("requeue by {}", hook.command.join(" ")),
        Act::Exec(hook) => format!("run {}", hook.command.join(" ")),
        Act::Alert(alert) => {
            let severity = match alert.severity {
                model::Severity::Info => "info",
                model::Severity::Warning => "warning",
                model::Severity::Critical => "critical",
            };
            let message = alert.message.as_ref().map_or(String::new(), |message| format!(": {message}"));
            format!("tell somebody ({severity}){message}")
        }
    }
}
