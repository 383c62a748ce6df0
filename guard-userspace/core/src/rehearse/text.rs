//! Rehearsals as people read them: a line for each thing, a blank line between minutes.

use std::collections::BTreeSet;

use super::play::{Entry, Rehearsal, Told};
use super::scenario::Scenario;
use super::world::BOOT_NS;
use crate::health::CheckState;
use crate::policy::model;
use crate::supervise::{ActionId, Clock, Command, Deed, Plan, Subject, What};

/// Nanoseconds in a millisecond.
const MILLISECOND: i64 = 1_000_000;

/// The whole rehearsal: what its golden file holds.
#[must_use]
pub fn text(scenario: &Scenario, rehearsal: &Rehearsal) -> String {
    let clock = scenario.clock();
    let mut out = format!(
        "{}\nfrom {} UTC, for {}, seed {}\n",
        scenario.title,
        time(clock, BOOT_NS),
        model::span(scenario.lasts),
        scenario.seed
    );
    out.push_str(&diary(clock, &rehearsal.entries));
    if let Some(time_ns) = rehearsal.restless_ns {
        let at = time(clock, time_ns);
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
        let now = clock.epoch_seconds(entry.time_ns).div_euclid(60);
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
        Told::Plan(plan) => Some(plan.because.at(clock).to_string()),
        Told::World(_) | Told::Notice(_) => None,
    };
    let head = format!("{}  {:<width$}  ", time(clock, entry.time_ns), subject(entry.subject.as_ref()));
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

/// `12:04:31.250`.
fn time(clock: Clock, now_ns: u64) -> String {
    let millis = clock.boot_ns.saturating_add_unsigned(now_ns).div_euclid(MILLISECOND).rem_euclid(1_000);
    format!("{}.{millis:03}", clock.time_of_day(now_ns))
}

fn subject(subject: Option<&Subject>) -> String {
    subject.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// What is done, with what its program or whoever is told gets to know.
fn deed(deed: &Deed) -> String {
    let told: Vec<String> = match deed {
        Deed::Run { environment, .. } => {
            // The rest stands in the line itself.
            const ROLE: [&str; 3] =
                ["PROCESSGUARD_NEW_PRIMARY", "PROCESSGUARD_OLD_PRIMARY", "PROCESSGUARD_TOKEN"];
            let role = environment.iter().filter(|(name, _)| ROLE.contains(&name.as_str()));
            role.map(|(name, value)| format!("{name}={value}")).collect()
        }
        Deed::Alert { about, .. } => {
            let owner = about.owner.iter().map(|owner| format!("owner {owner}"));
            owner.chain(about.runbook.clone()).collect()
        }
        _ => Vec::new(),
    };
    if told.is_empty() { deed.to_string() } else { format!("{deed} ({})", told.join(", ")) }
}

/// What is told, and why.
fn notice(what: &What, clock: Clock) -> String {
    let at = |at_ns: u64| time(clock, at_ns);
    let why = |why: &str| if why.is_empty() { String::new() } else { format!(": {why}") };
    match what {
        What::State { from, to, why: said } => format!("{} -> {}{}", from.name(), to.name(), why(said)),
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
