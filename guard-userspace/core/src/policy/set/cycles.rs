//! Services that wait for each other.

use std::collections::{BTreeMap, BTreeSet};

use super::load::Entry;
use crate::policy::read::Reader;
use crate::policy::yaml::Spot;
use crate::policy::{Code, Diagnostic};

/// Tells each cycle once, with all its services. Without recursion: a chain can be as long as there are services.
pub(super) fn check(entries: &[Entry], by_name: &BTreeMap<&str, &Entry>, reader: &mut Reader) {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for entry in entries {
        let mut path: Vec<Visit<'_>> = Vec::new();
        let mut on_path: BTreeSet<&str> = BTreeSet::new();
        if done.insert(&entry.service.name) {
            on_path.insert(&entry.service.name);
            path.push(Visit::new(entry));
        }
        while let Some(visit) = path.last_mut() {
            let Some((name, spot)) = visit.rest.pop() else {
                on_path.remove(visit.name);
                path.pop();
                continue;
            };
            visit.edge = spot;
            if on_path.contains(name) {
                let begin = path.iter().position(|visit| visit.name == name).unwrap_or_default();
                reader.say(cycle(path.get(begin..).unwrap_or_default()));
            } else if let Some(next) = by_name.get(name)
                && done.insert(&next.service.name)
            {
                on_path.insert(&next.service.name);
                path.push(Visit::new(next));
            }
        }
    }
}

/// A service whose dependencies are being followed.
struct Visit<'a> {
    name: &'a str,
    rest: Vec<(&'a str, Spot)>,
    /// Where the one that is followed stands.
    edge: Spot,
}

impl<'a> Visit<'a> {
    fn new(entry: &'a Entry) -> Self {
        let dependencies = entry.keys.depends_on.0.iter().rev();
        let rest = dependencies.map(|(name, (_, spot))| (&*name.0, *spot)).collect();
        Self { name: &entry.service.name, rest, edge: Spot::default() }
    }
}

fn cycle(path: &[Visit<'_>]) -> Diagnostic {
    /// Services that are named; a longer cycle is told in part.
    const NAMED: usize = 12;
    let place = path.last().map(|visit| visit.edge).unwrap_or_default();
    let mut names: Vec<String> = path.iter().take(NAMED).map(|visit| format!("`{}`", visit.name)).collect();
    if path.len() > NAMED {
        names.push("…".to_owned());
    }
    names.extend(names.first().cloned());
    let message = match path {
        [one] => format!("`{}` waits for itself", one.name),
        _ => format!("these services wait for each other: {}", names.join(" -> ")),
    };
    let mut diagnostic = Diagnostic::new(Code::Cycle, place.into(), message);
    for visit in path.iter().take(NAMED).take(path.len().saturating_sub(1)) {
        diagnostic = diagnostic.related(visit.edge.into(), format!("`{}` waits for this", visit.name));
    }
    diagnostic.help("none of them would ever be started: take one of these dependencies out")
}
