//! Scenarios from their files, with the policies that they name.

use std::path::{Path, PathBuf};

use guard_core::policy::Severity;
use guard_core::rehearse::{self, Rehearsal, Scenario};

use super::files::{self, Error, Text};
use super::load::{Lacking, Policies};
use super::render::{self, Finding};

/// A scenario that was played, or what is wrong with it.
#[derive(Debug)]
pub enum Played {
    /// It was.
    Well {
        /// What was played.
        scenario: Box<Scenario>,
        /// What happened.
        rehearsal: Rehearsal,
    },
    /// It or its policies have errors: shown as `policy check` does.
    Badly(String),
}

/// Plays a scenario's file.
///
/// # Errors
/// If it or its policies cannot be read.
pub fn play(path: &Path, colour: bool) -> Result<Played, Error> {
    let texts = files::read(vec![path.to_owned()])?;
    let Some(text) = texts.first() else { return Ok(Played::Badly(String::new())) };
    let mut read = rehearse::read(text.source());
    let Some(scenario) = read.scenario.clone() else {
        return Ok(Played::Badly(shown(&texts, std::mem::take(&mut read.diagnostics), colour)));
    };
    let mut policies = Policies::read(&beside(path, &scenario), Lacking::Ignored)?;
    let Some(set) = policies.loaded.set.take() else {
        policies.findings.retain(|finding| finding.severity == Severity::Error);
        return Ok(Played::Badly(policies.rendered(colour)));
    };
    let unknown = read.against(&set);
    if !unknown.is_empty() {
        return Ok(Played::Badly(shown(&texts, unknown, colour)));
    }
    Ok(Played::Well { rehearsal: rehearse::play(&set, &scenario), scenario: Box::new(scenario) })
}

/// The set of policies that a scenario names.
fn beside(path: &Path, scenario: &Scenario) -> Vec<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new(""));
    scenario.policies.iter().map(|policy| directory.join(policy)).collect()
}

fn shown(texts: &[Text], diagnostics: Vec<guard_core::policy::Diagnostic>, colour: bool) -> String {
    let findings: Vec<Finding> = diagnostics.into_iter().map(Finding::from).collect();
    render::text(texts, &findings, colour)
}
