//! Scenarios from their files, by the same means as policies: strict, and all errors at once.

mod keys;
mod mentions;
mod model;
mod numbers;
mod texts;

use crate::policy::read::{Reader, Value as _};
use crate::policy::yaml::parse;
use crate::policy::{Bounds, Code, Diagnostic, Place, PolicySet, Source};

use super::scenario::Scenario;
use keys::ScenarioKeys;
use mentions::Mention;

/// What became of a scenario's file.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// `None`: there is an error.
    pub scenario: Option<Scenario>,
    /// All that is to be said.
    pub diagnostics: Vec<Diagnostic>,
    mentions: Vec<Mention>,
}

/// Reads a scenario.
#[must_use]
pub fn read(source: Source<'_>) -> Read {
    let parsed = parse(source, 0, &Bounds::default());
    let mut reader = Reader::default();
    let mut keys = None;
    for (at, document) in parsed.documents.iter().enumerate() {
        if at == 0 {
            keys = ScenarioKeys::read(document, &mut reader);
        } else {
            let message = "a file holds one scenario";
            reader.say(
                Diagnostic::new(Code::Document, document.name.into(), message)
                    .help("put it into a file of its own"),
            );
        }
    }
    if parsed.documents.is_empty() && parsed.diagnostics.is_empty() {
        let place = Place { file: 0, range: 0..0 };
        reader.say(Diagnostic::new(Code::Document, place, "there is no scenario here"));
    }
    let mut mentions = Vec::new();
    let scenario = keys.map(|keys| model::build(&keys, &mut mentions));
    let mut diagnostics = parsed.diagnostics;
    diagnostics.append(&mut reader.told());
    diagnostics.sort_by(Diagnostic::order);
    let scenario = scenario.filter(|_| diagnostics.is_empty());
    Read { scenario, diagnostics, mentions }
}

impl Read {
    /// What it names and the policies do not have: services, instances, checks, queues.
    #[must_use]
    pub fn against(&self, set: &PolicySet) -> Vec<Diagnostic> {
        self.scenario.iter().flat_map(|scenario| mentions::check(&self.mentions, scenario, set)).collect()
    }
}
