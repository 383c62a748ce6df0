//! Decisions in words.

use std::fmt;

use crate::event::{Cause, Exit, ExitStatus};
use crate::names::SignalName;
use crate::policy::model::{Act, Budget, CheckKind, Service};

pub(super) use crate::policy::model::span;

use super::clock::Clock;
use super::effect::{Because, Deed, ServiceState, Subject};

/// Reasons that others tell apart: in incidents they mean something.
pub(crate) const NOT_READY: &str = "it was not ready within";
pub(crate) const OBSERVES: &str = "its policy only observes";
pub(crate) const POLICY_GONE: &str = "its policy is gone";
pub(crate) const HOLDS_ROLE: &str = "holds the primary role";

/// `5 restarts in 10m`.
pub(super) fn budget(budget: Budget) -> String {
    let s = if budget.count == 1 { "" } else { "s" };
    format!("{} restart{s} in {}", budget.count, span(budget.within))
}

/// `web`, or `web/0`.
pub(super) fn subject(subject: &Subject) -> String {
    subject.to_string()
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What a check says: a probe's answer does not name the check.
pub(super) fn check(policy: &Service, name: &str, why: &str) -> String {
    let is_probe = |kind: &CheckKind| matches!(kind, CheckKind::Probe(_));
    if policy.checks.iter().any(|check| check.name == name && is_probe(&check.kind)) {
        format!("{name} {why}")
    } else {
        why.to_owned()
    }
}

/// How a process ended.
pub(super) fn end(exit: &Exit) -> String {
    let core = match exit.status {
        ExitStatus::Signal { core: true, .. } => " and dumped core",
        _ => "",
    };
    match (&exit.cause, exit.status) {
        (_, ExitStatus::Code(code)) => format!("it ended with exit code {code}"),
        (_, ExitStatus::Unknown) => "it ended, and nobody saw how".to_owned(),
        (Cause::Oom(_), _) => "it was killed for lack of memory".to_owned(),
        (Cause::Fault, ExitStatus::Signal { number, .. }) => {
            format!("it crashed ({}){core}", signal(number))
        }
        (Cause::Signal(sender), ExitStatus::Signal { number, .. }) => {
            let name = sender.name.as_bytes().escape_ascii();
            format!("it was killed by {} from {name} (pid {}){core}", signal(number), sender.id.pid)
        }
        (_, ExitStatus::Signal { number, .. }) => format!("it was killed by {}{core}", signal(number)),
    }
}

/// `SIGTERM`.
pub(super) fn signal(number: u8) -> String {
    SignalName(number.into()).to_string()
}

/// What a step would do.
pub(super) fn act(act: &Act) -> String {
    match act {
        Act::Restart => "restart".to_owned(),
        Act::Signal(signalled) => format!("signal {}", signal(signalled.signal)),
        Act::Stop => "stop".to_owned(),
        Act::Scale(scaling) if scaling.by >= 0 => format!("scale up by {}", scaling.by),
        Act::Scale(scaling) => format!("scale down by {}", scaling.by.unsigned_abs()),
        Act::Failover => "failover".to_owned(),
        Act::Freeze => "freeze".to_owned(),
        Act::Thaw => "thaw".to_owned(),
        Act::Renice(nice) => format!("renice to {nice}"),
        Act::Requeue(_) => "requeue".to_owned(),
        Act::Exec(hook) => format!("exec {}", hook.command.first().map_or("", |program| program)),
        Act::Alert(alert) => format!("alert ({})", severity(alert.severity)),
    }
}

pub(super) const fn severity(severity: crate::policy::model::Severity) -> &'static str {
    use crate::policy::model::Severity;
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

pub(super) const fn state(state: ServiceState) -> &'static str {
    state.name()
}

impl ServiceState {
    /// Its name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::BackingOff => "backing_off",
            Self::Stopping => "stopping",
            Self::Held => "held",
        }
    }
}

impl fmt::Display for Subject {
    /// `web`, or `web/0` for an instance.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instance {
            Some(instance) => write!(f, "{}/{instance}", self.service),
            None => f.write_str(&self.service),
        }
    }
}

impl fmt::Display for Deed {
    /// In the imperative, for one line: `start /usr/bin/checkout --port 8080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { run, after: None, .. } => write!(f, "start {}", run.command.join(" ")),
            Self::Start { run, after: Some(after), .. } => {
                write!(f, "start {} after pid {}", run.command.join(" "), after.pid)
            }
            Self::RestartVia { via, .. } => {
                use crate::policy::model::RestartVia;
                match via {
                    RestartVia::Command(command) => write!(f, "restart by {}", command.join(" ")),
                    RestartVia::Unit(unit) => write!(f, "restart the unit {unit}"),
                    RestartVia::Container { runtime, container } => {
                        write!(f, "restart the container {container} by {runtime}")
                    }
                }
            }
            Self::Signal { target, signal: number, all } => {
                let whom = if *all { " and all with it" } else { "" };
                write!(f, "send {} to pid {}{whom}", signal(*number), target.pid)
            }
            Self::Kill { target, kill } => {
                use crate::policy::model::Kill;
                let whom = match kill {
                    Kill::Cgroup => " and its control group",
                    Kill::Group => " and its process group",
                    Kill::Process => "",
                };
                write!(f, "kill pid {}{whom}", target.pid)
            }
            Self::Freeze(target) => write!(f, "freeze pid {}", target.pid),
            Self::Thaw(target) => write!(f, "thaw pid {}", target.pid),
            Self::Renice { target, nice } => write!(f, "renice pid {} to {nice}", target.pid),
            Self::Run { purpose, command, .. } => write!(f, "{purpose}: {}", command.join(" ")),
            Self::Alert { severity: how, message, .. } => write!(f, "alert ({}): {message}", severity(*how)),
        }
    }
}

impl Because {
    /// The whole reason, with the time of day: `because memory.rss was above 400MiB for 30s since 12:04:31; step 1 of 2; 3 of 5
    /// restarts left`.
    #[must_use]
    pub fn at(&self, clock: Clock) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            write!(f, "because {}", self.what)?;
            if self.since_ns > 0 {
                write!(f, " since {}", clock.time_of_day(self.since_ns))?;
            }
            self.rest(f)
        })
    }

    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, step, of)) = &self.step {
            write!(f, "; step {step} of {of}")?;
        }
        match self.restarts_left {
            Some((left, of)) => write!(f, "; {left} of {of} restarts left"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Because {
    /// Without the time of day, which is not known here: see [`Because::at`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "because {}", self.what)?;
        self.rest(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_explains_itself() {
        let because = Because {
            what: "memory.rss was above 400MiB for 30s".to_owned(),
            since_ns: 31_000_000_000,
            step: Some(("memory".to_owned(), 1, 2)),
            restarts_left: Some((3, 5)),
        };
        let clock = Clock { boot_ns: (12 * 3600 + 4 * 60) * 1_000_000_000 };
        assert_eq!(
            because.at(clock).to_string(),
            "because memory.rss was above 400MiB for 30s since 12:04:31; step 1 of 2; 3 of 5 restarts left"
        );
        let bare = Because { step: None, restarts_left: None, ..because };
        assert_eq!(bare.to_string(), "because memory.rss was above 400MiB for 30s");
    }
}
