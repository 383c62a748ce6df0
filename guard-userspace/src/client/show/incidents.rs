//! Incidents: a list, and one as a timeline.

use std::fmt::Write as _;

use guard_core::policy::model::span;

use super::table::{Cell, Table, plain, styled};
use super::{BAD, BOLD, DIM, GOOD, Look, UNSURE, safe};
use crate::daemon::view::{Incident, Incidents, Kind};
use crate::show::compact::short_duration;

fn whom(incident: &Incident) -> String {
    match incident.instance {
        Some(instance) => format!("{}/{instance}", safe(&incident.service)),
        None => safe(&incident.service),
    }
}

fn outcome(incident: &Incident) -> Cell {
    match &incident.outcome {
        _ if incident.open => styled("open", BAD),
        Some(outcome) if outcome == "recovered" => styled(safe(outcome), GOOD),
        Some(outcome) => plain(safe(outcome)),
        None => plain("over"),
    }
}

/// Incidents, the newest first.
#[must_use]
pub fn incidents(look: &Look, incidents: &Incidents) -> String {
    if incidents.incidents.is_empty() {
        return "no incidents\n".to_owned();
    }
    let mut table = Table::new(&[">ID", "SERVICE", "BEGAN", ">LASTED", "OUTCOME", ">RESTARTS", "CAUSE"]);
    for incident in &incidents.incidents {
        let lasted = short_duration(incident.duration_ns);
        table.row(vec![
            plain(incident.id.to_string()),
            styled(whom(incident), BOLD),
            plain(look.ago(&incident.opened)),
            if incident.overdue { styled(lasted, BAD) } else { plain(lasted) },
            outcome(incident),
            plain(incident.restarts.to_string()),
            plain(safe(&incident.cause)),
        ]);
    }
    table.text(look)
}

/// One incident, as a timeline.
#[must_use]
pub fn incident(look: &Look, incident: &Incident) -> String {
    let mut text = format!(
        "{}  {}: {}\n",
        look.paint(BOLD, &format!("incident {}", incident.id)),
        whom(incident),
        safe(&incident.cause)
    );
    for (name, value) in about(look, incident) {
        let _ = writeln!(text, "  {}  {value}", look.paint(DIM, &format!("{name:<9}")));
    }
    let mut table = Table::new(&[">AT", ">AFTER", "WHAT", ">PID", "DETAIL"]);
    for moment in &incident.timeline {
        let sign = if moment.after_opened_ns < 0 { "-" } else { "+" };
        let at = format!("{sign}{}", exact(moment.after_opened_ns.unsigned_abs()));
        table.row(vec![
            plain(at),
            styled(exact(moment.after_previous_ns), DIM),
            kind(moment.kind),
            plain(moment.process.as_ref().map_or_else(|| "-".to_owned(), |process| process.pid.to_string())),
            plain(safe(&moment.text)),
        ]);
    }
    if !table.is_empty() {
        let _ = write!(text, "\n{}", table.text(look));
    }
    if incident.gap {
        let line = "kernel records were lost meanwhile: something may be missing here";
        let _ = write!(text, "\n{}\n", look.paint(UNSURE, line));
    }
    text
}

fn about(look: &Look, incident: &Incident) -> Vec<(&'static str, String)> {
    let mut about =
        vec![("began", format!("{}, {}", look.local(&incident.opened.utc), look.ago(&incident.opened)))];
    let lasted = short_duration(incident.duration_ns);
    match (&incident.closed, &incident.outcome) {
        (Some(closed), outcome) => {
            let outcome = outcome.as_deref().map_or_else(|| "over".to_owned(), safe);
            about.push(("ended", format!("{}, {outcome} after {lasted}", look.local(&closed.utc))));
        }
        (None, _) => about.push(("ended", look.paint(BAD, &format!("not yet, open for {lasted}")))),
    }
    if let Some(recovery) = &incident.recovery {
        let (least, most) = (exact(recovery.at_least_ns), exact(recovery.at_most_ns));
        about.push(("recovered", format!("after {least} (last bad) to {most} (first good)")));
    }
    if let Some(rto_ns) = incident.rto_ns {
        let rto = span(rto_ns);
        about.push(match incident.overdue {
            true => ("rto", look.paint(BAD, &format!("{rto}, exceeded"))),
            false => ("rto", format!("{rto}, kept")),
        });
    }
    about.push(("restarts", incident.restarts.to_string()));
    about
}

fn kind(kind: Kind) -> Cell {
    let (word, style) = match kind {
        Kind::Signal => ("signal", UNSURE),
        Kind::Death => ("death", BAD),
        Kind::BadAnswer => ("bad answer", BAD),
        Kind::Wait => ("wait", DIM),
        Kind::Decision => ("decision", BOLD),
        Kind::Fork => ("fork", anstyle::Style::new()),
        Kind::Exec => ("exec", anstyle::Style::new()),
        Kind::Listen => ("listen", anstyle::Style::new()),
        Kind::Ready => ("ready", GOOD),
        Kind::GoodAnswer => ("good answer", GOOD),
        Kind::Alert => ("alert", UNSURE),
        Kind::Withheld => ("withheld", UNSURE),
        Kind::Held => ("held", BAD),
        Kind::Other => ("note", DIM),
    };
    styled(word, style)
}

/// Microseconds below a second: that is what recoveries are about.
fn exact(ns: u64) -> String {
    match ns {
        0..1_000_000_000 => format!("{}.{:03}ms", ns / 1_000_000, ns % 1_000_000 / 1_000),
        _ => short_duration(ns),
    }
}
