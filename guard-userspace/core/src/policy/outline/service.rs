//! A service's document.

use super::origin::{adopt, ready, run};
use super::{Keys, Outline, action, check, labels, percent, word};
use crate::names::SignalName;
use crate::policy::model::{
    self, Condition, EndStatus, Impact, Kill, Mode, Origin, Restart, RestartOn, Service, Stop,
};

pub(super) fn outline(service: &Service) -> Outline {
    let text = |text: &Option<String>| text.clone().map(Outline::Text);
    let mut keys = Keys::default();
    keys.word("version", "processguard/v1");
    keys.text("service", &service.name);
    keys.maybe("owner", text(&service.owner));
    keys.filled("labels", labels(&service.labels));
    keys.word("impact", impact(service.impact));
    keys.maybe("rto", service.rto.map(|rto| word(model::span(rto))));
    keys.maybe("runbook", text(&service.runbook));
    keys.maybe("group", text(&service.group));
    match &service.origin {
        Origin::Run(origin) => keys.put("run", run(origin)),
        Origin::Adopt(origin) => keys.put("adopt", adopt(origin)),
    }
    keys.put("ready", ready(&service.ready));
    let needs = service.depends_on.iter().map(|needs| (needs.service.clone(), word(condition(needs.until))));
    keys.filled("depends_on", needs.collect());
    keys.put("restart", restart(&service.restart));
    keys.put("stop", stop(&service.stop));
    let checks = service.checks.iter().map(|one| (one.name.clone(), check::check(one)));
    keys.filled("checks", checks.collect());
    let actions = service.actions.iter().map(|(name, ladder)| (name.clone(), action::ladder(ladder)));
    keys.filled("actions", actions.collect());
    keys.maybe("failover", service.failover.as_ref().map(action::failover));
    keys.word("mode", mode(service.mode));
    keys.done()
}

const fn impact(impact: Impact) -> &'static str {
    match impact {
        Impact::Low => "low",
        Impact::Medium => "medium",
        Impact::High => "high",
        Impact::Critical => "critical",
    }
}

const fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "started",
        Condition::Ready => "ready",
        Condition::Healthy => "healthy",
    }
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Act => "act",
    }
}

fn restart(restart: &Restart) -> Outline {
    let mut keys = Keys::default();
    let on = match restart.on {
        RestartOn::Always => "always",
        RestartOn::Failure => "failure",
        RestartOn::Never => "never",
    };
    keys.word("on", on);
    keys.word("budget", restart.budget);
    let mut backoff = Keys::default();
    backoff.span("initial", restart.backoff.initial);
    backoff.word("factor", restart.backoff.factor);
    backoff.span("max", restart.backoff.max);
    backoff.word("jitter", percent(restart.backoff.jitter * 100.0));
    backoff.span("reset_after", restart.backoff.reset_after);
    keys.put("backoff", backoff.done());
    keys.put("success", Outline::List(restart.success.iter().map(|end| ended(*end)).collect()));
    keys.put("never", Outline::List(restart.never.iter().map(|end| ended(*end)).collect()));
    keys.span("slow_retry", restart.slow_retry);
    keys.done()
}

fn ended(end: EndStatus) -> Outline {
    match end {
        EndStatus::Code(code) => word(code),
        EndStatus::Signal(number) => word(SignalName(number.into())),
    }
}

fn stop(stop: &Stop) -> Outline {
    let mut keys = Keys::default();
    keys.word("signal", SignalName(stop.signal.into()));
    keys.span("timeout", stop.timeout);
    let kill = match stop.kill {
        Kill::Cgroup => "cgroup",
        Kill::Group => "group",
        Kill::Process => "process",
    };
    keys.word("kill", kill);
    keys.done()
}
