//! Rehearsals as people read them: a line for each thing, a blank line between minutes.

use std::collections::BTreeSet;

use super::play::{Entry, Rehearsal, Told};
use super::scenario::Scenario;
use super::world::BOOT_NS;
use crate::health::CheckState;
use crate::policy::model::{self, Kill, RestartVia, Severity};
use crate::supervise::{ActionId, Command, Deed, Plan, ServiceState, Subject, What};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY_S: u64 = 86_400;

/// What time it was: two clocks' moment of beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// In nanoseconds since boot.
    pub began_ns: u64,
    /// In seconds since the epoch.
    pub begins_s: u64,
}

impl Clock {
    /// Of a scenario's world.
    #[must_use]
    pub const fn of(scenario: &Scenario) -> Self {
        Self { began_ns: BOOT_NS, begins_s: scenario.begins_s }
    }

    /// `12:04:31.250`, with days in front after the first one.
    fn text(self, now_ns: u64) -> String {
        let passed_ns = now_ns.saturating_sub(self.began_ns);
        let (seconds, millis) = (self.begins_s + passed_ns / SECOND, passed_ns % SECOND / 1_000_000);
        let day = (seconds / DAY_S).saturating_sub(self.begins_s / DAY_S);
        let days = if day == 0 { String::new() } else { format!("+{day}d ") };
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        format!("{days}{hour:02}:{minute:02}:{second:02}.{millis:03}")
    }
}

/// The whole rehearsal: what its golden file holds.
#[must_use]
pub fn text(scenario: &Scenario, rehearsal: &Rehearsal) -> String {
    let clock = Clock::of(scenario);
    let mut out = format!(
        "{}\nfrom {} UTC, for {}, seed {}\n",
        scenario.title,
        clock.text(BOOT_NS),
        model::span(scenario.lasts),
        scenario.seed
    );
    out.push_str(&diary(clock, &rehearsal.entries));
    if let Some(time_ns) = rehearsal.restless_ns {
        let at = clock.text(time_ns);
        out.push_str(&format!("\n{at}  given up: it does not come to rest\n"));
    }
    out
}

/// Entries as people read them.
#[must_use]
pub fn diary(clock: Clock, entries: &[Entry]) -> String {
    let mut out = String::new();
    let width = entries.iter().map(|entry| subject(entry.subject.as_ref()).len()).max();
    let mut minute = None;
    // That something was done as it was meant to be is news only where that can take long or fail.
    let slow = |entry: &&Entry| match &entry.what {
        Told::Plan(plan) => matches!(plan.deed, Deed::Run { .. } | Deed::RestartVia { .. }),
        _ => false,
    };
    let slow: BTreeSet<ActionId> = entries.iter().filter(slow).filter_map(Entry::plan).collect();
    for entry in entries {
        if let Told::Notice(what) = &entry.what
            && let What::Outcome { id, failed: None } = &**what
            && !slow.contains(id)
        {
            continue;
        }
        let now = entry.time_ns / MINUTE;
        if minute.replace(now) != Some(now) {
            out.push('\n');
        }
        out.push_str(&line(clock, width.unwrap_or_default(), entry));
    }
    out
}

/// One entry: its line, and below it why. `width`: of the column of subjects.
fn line(clock: Clock, width: usize, entry: &Entry) -> String {
    let what = entry.message(clock);
    let because = match &entry.what {
        Told::Plan(plan) => Some(plan.because.to_string()),
        Told::World(_) | Told::Notice(_) => None,
    };
    let head = format!("{}  {:<width$}  ", clock.text(entry.time_ns), subject(entry.subject.as_ref()));
    let mut out = format!("{head}{what}\n");
    if let Some(because) = because.filter(|because| !because.is_empty()) {
        out.push_str(&format!("{:indent$}  {because}\n", "", indent = head.len()));
    }
    out
}

impl Entry {
    /// What happened, in words.
    #[must_use]
    pub fn message(&self, clock: Clock) -> String {
        match &self.what {
            Told::World(text) => format!(". {text}"),
            Told::Plan(plan) => plan_text(plan),
            Told::Notice(what) => notice(what, clock),
        }
    }

    /// The number of the plan that it is.
    const fn plan(&self) -> Option<ActionId> {
        match &self.what {
            Told::Plan(plan) => Some(plan.id),
            _ => None,
        }
    }
}

fn plan_text(plan: &Plan) -> String {
    let would = if plan.act { "" } else { "would " };
    format!("{would}#{} {}", plan.id.0, deed(&plan.deed))
}

fn subject(subject: Option<&Subject>) -> String {
    match subject {
        None => "-".to_owned(),
        Some(Subject { service, instance: None }) => service.to_string(),
        Some(Subject { service, instance: Some(instance) }) => format!("{service}/{instance}"),
    }
}

fn deed(deed: &Deed) -> String {
    match deed {
        Deed::Start { run, .. } => format!("start {}", run.command.join(" ")),
        Deed::RestartVia { via: RestartVia::Command(command), .. } => {
            format!("restart by {}", command.join(" "))
        }
        Deed::RestartVia { via: RestartVia::Unit(unit), .. } => format!("restart unit {unit}"),
        Deed::RestartVia { via: RestartVia::Container { runtime, container }, .. } => {
            format!("restart container {container} by {runtime}")
        }
        Deed::Signal { target, signal, all } => {
            let all = if *all { " and all with it" } else { "" };
            format!("send signal {signal} to pid {}{all}", target.pid)
        }
        Deed::Kill { target, kill } => {
            let whom = match kill {
                Kill::Cgroup => "all that is left in the control group",
                Kill::Group => "all that is left in the process group",
                Kill::Process => "nobody but the process",
            };
            format!("kill {whom} of pid {}", target.pid)
        }
        Deed::Freeze(target) => format!("freeze pid {}", target.pid),
        Deed::Thaw(target) => format!("thaw pid {}", target.pid),
        Deed::Renice { target, nice } => format!("renice pid {} to {nice}", target.pid),
        Deed::Run { purpose, command, environment, .. } => {
            let told: String = environment.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            format!("{purpose}: {}{told}", command.join(" "))
        }
        Deed::Alert { severity, message, about } => {
            let mut told = Vec::new();
            told.extend(about.owner.iter().map(|owner| format!("owner {owner}")));
            told.extend(about.runbook.clone());
            let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
            format!("alert, {}: {message}{told}", severity_name(*severity))
        }
    }
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

const fn state(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Stopped => "stopped",
        ServiceState::Waiting => "waiting",
        ServiceState::Starting => "starting",
        ServiceState::Healthy => "healthy",
        ServiceState::Degraded => "degraded",
        ServiceState::BackingOff => "backing off",
        ServiceState::Stopping => "stopping",
        ServiceState::Held => "held",
    }
}

/// What is told, and why.
fn notice(what: &What, clock: Clock) -> String {
    let at = |at_ns: u64| clock.text(at_ns);
    let why = |why: &str| if why.is_empty() { String::new() } else { format!(": {why}") };
    match what {
        What::State { from, to, why: said } => format!("{} -> {}{}", state(*from), state(*to), why(said)),
        What::Check { check, state, why: said } => {
            let state = match state {
                CheckState::Unknown => "is unknown",
                CheckState::Passing => "passes",
                CheckState::Failing => "fails",
            };
            format!("check {check} {state}{}", why(said))
        }
        What::Waits { id, deed, until_ns } => {
            format!("#{} waits for approval until {}: {deed}", id.0, at(*until_ns))
        }
        What::Withheld { deed, why: said } => format!("not done: {deed}{}", why(said)),
        What::Outcome { id, failed: None } => format!("#{} is done", id.0),
        What::Outcome { id, failed: Some(said) } => format!("#{} failed{}", id.0, why(said)),
        What::Overdue { since_ns } => format!("down for longer than its rto, since {}", at(*since_ns)),
        What::Role { token } => format!("holds the primary role, token {token}"),
    }
}

pub(super) fn command(command: &Command) -> String {
    match command {
        Command::Start(service) => format!("an operator says: start {service}"),
        Command::Stop(service) => format!("an operator says: stop {service}"),
        Command::Restart(whom) => format!("an operator says: restart {}", subject(Some(whom))),
        Command::Scale { service, instances } => format!("an operator says: scale {service} to {instances}"),
        Command::Approve(id) => format!("an operator approves #{}", id.0),
        Command::Deny(id) => format!("an operator denies #{}", id.0),
        Command::Shutdown => "an operator says: shut down".to_owned(),
    }
}
