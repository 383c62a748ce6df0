//! Generations of policies, flags, approvals.

use std::fmt::Write as _;

use super::table::{Table, plain, styled};
use super::{BOLD, DIM, GOOD, Look, UNSURE, safe};
use crate::daemon::view::{Approvals, Flags, Generation, Generations};

/// The generation that holds from now on.
#[must_use]
pub fn generation(look: &Look, generation: &Generation) -> String {
    let many = if generation.services == 1 { "service" } else { "services" };
    let mut text = format!("generation {} holds: {} {many}\n", generation.number, generation.services);
    for change in &generation.changes {
        let _ = writeln!(text, "  {}", safe(change));
    }
    if let Some(until) = &generation.trial_until {
        let line =
            format!("on trial, {}: if restarts rise, it is rolled back by itself", look.ago_utc(until));
        let _ = writeln!(text, "{}", look.paint(UNSURE, &line));
    }
    text
}

/// Generations, the newest first.
#[must_use]
pub fn generations(look: &Look, generations: &Generations) -> String {
    if generations.generations.is_empty() {
        return "no policies were accepted yet\n".to_owned();
    }
    let mut table = Table::new(&[">GENERATION", "", "ACCEPTED", ">SERVICES", "WHY", "CHANGES"]);
    for generation in &generations.generations {
        let active = match (&generation.trial_until, generation.active) {
            (Some(_), true) => styled("on trial", UNSURE),
            (_, true) => styled("holds", GOOD),
            (_, false) => plain(""),
        };
        let changes: Vec<String> = generation.changes.iter().map(|change| safe(change)).collect();
        table.row(vec![
            styled(generation.number.to_string(), BOLD),
            active,
            plain(look.ago_utc(&generation.accepted)),
            plain(generation.services.to_string()),
            plain(safe(&generation.why)),
            plain(changes.join(", ")),
        ]);
    }
    table.text(look)
}

/// What can be switched off.
#[must_use]
pub fn flags(look: &Look, flags: &Flags) -> String {
    let mut table = Table::new(&["FLAG", "", "MEANING"]);
    for flag in &flags.flags {
        let state = if flag.on { styled("on", GOOD) } else { styled("off", UNSURE) };
        table.row(vec![styled(safe(&flag.name), BOLD), state, plain(safe(&flag.meaning))]);
    }
    table.text(look)
}

/// What waits for consent.
#[must_use]
pub fn approvals(look: &Look, approvals: &Approvals) -> String {
    if approvals.approvals.is_empty() {
        return format!("{}\n", look.paint(DIM, "nothing waits for approval"));
    }
    let mut table = Table::new(&[">ID", "SERVICE", "WOULD"]);
    for approval in &approvals.approvals {
        table.row(vec![
            styled(approval.id.to_string(), BOLD),
            plain(safe(&approval.service)),
            plain(safe(&approval.deed)),
        ]);
    }
    table.text(look)
}
