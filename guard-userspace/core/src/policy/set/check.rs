//! What must hold between the services of a host.

use std::collections::{BTreeMap, BTreeSet};

use super::load::Entry;
use super::{claims, cycles};
use crate::policy::model::{Condition, Origin, Readiness};
use crate::policy::read::{Reader, suggest};
use crate::policy::yaml::{Spot, shown};
use crate::policy::{Code, Diagnostic};

/// All that have a name, also what could not be read.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) services: BTreeSet<String>,
    /// Restart groups, and where each stands.
    pub(super) groups: Vec<(String, Spot)>,
}

/// Tells what does not go together.
pub(super) fn check(entries: &[Entry], named: &Named, reader: &mut Reader) {
    let by_name: BTreeMap<&str, &Entry> =
        entries.iter().map(|entry| (entry.service.name.as_str(), entry)).collect();
    for entry in entries {
        dependencies(entry, &by_name, named, reader);
        standbys(entry, named, reader);
        group(entry, named, reader);
    }
    for (name, spot) in &named.groups {
        if !entries.iter().any(|entry| entry.service.group.as_ref() == Some(name)) {
            let message = format!("no service belongs to the group `{}`", shown(name));
            let diagnostic = Diagnostic::new(Code::Unused, (*spot).into(), message);
            reader
                .say(diagnostic.help(format!("a service belongs to it that says `group: {}`", shown(name))));
        }
    }
    cycles::check(entries, &by_name, reader);
    claims::check(entries, reader);
}

/// Tells of a service whose name another one has.
pub(super) fn twice(name: &str, first: Spot, again: Spot) -> Diagnostic {
    let message = format!("there are two services with the name `{}`", shown(name));
    Diagnostic::new(Code::DuplicateService, again.into(), message)
        .label("again here")
        .related(first.into(), "the first one")
        .help("a service has one document; what many share goes into a `defaults:` document")
}

fn unknown(name: &str, spot: Spot, named: &Named) -> Diagnostic {
    let message = format!("there is no service `{}`", shown(name));
    let diagnostic = Diagnostic::new(Code::UnknownService, spot.into(), message);
    let known: Vec<&str> = named.services.iter().map(String::as_str).collect();
    let diagnostic = suggest(diagnostic, name, &known);
    if diagnostic.help.is_some() {
        return diagnostic;
    }
    diagnostic.help("all policies of a host are checked together: is its file among those given?")
}

fn dependencies(entry: &Entry, by_name: &BTreeMap<&str, &Entry>, named: &Named, reader: &mut Reader) {
    for (name, (until, spot)) in &entry.keys.depends_on.0 {
        if !named.services.contains(&*name.0) {
            reader.say(unknown(&name.0, *spot, named));
        }
        let Some(other) = by_name.get(&*name.0) else { continue };
        let waits = matches!(until, Condition::Ready | Condition::Healthy);
        let started = other.service.ready.by == Readiness::Started;
        if waits && started && matches!(other.service.origin, Origin::Run(_)) {
            let message = format!("`{}` counts as ready as soon as its program runs", name.0);
            let diagnostic = Diagnostic::new(Code::NoReadiness, (*spot).into(), message)
                .related(other.keys.service.spot.into(), "it has no `ready`")
                .help(
                    "say there when it is up, such as `ready: { listen: 5432 }`, or wait for `started` here",
                );
            reader.say(diagnostic);
        }
    }
}

fn standbys(entry: &Entry, named: &Named, reader: &mut Reader) {
    let Some(failover) = &entry.keys.failover else { return };
    let mut seen: Vec<(&str, Spot)> = Vec::new();
    for name in &failover.standbys.0 {
        let text: &str = &name.value.0;
        let fault = |message: String| Diagnostic::new(Code::Standby, name.spot.into(), message);
        if text == entry.service.name {
            let message = "a service cannot take over from itself".to_owned();
            reader.say(fault(message).help("name the service that stands by"));
        } else if let Some((_, first)) = seen.iter().find(|(seen, _)| *seen == text) {
            reader.say(fault(format!("`{text}` stands here twice")).related((*first).into(), "first here"));
        } else if !named.services.contains(text) {
            reader.say(unknown(text, name.spot, named));
        }
        seen.push((text, name.spot));
    }
}

fn group(entry: &Entry, named: &Named, reader: &mut Reader) {
    let Some(group) = &entry.keys.group else { return };
    let name: &str = &group.value.0;
    if named.groups.iter().any(|(known, _)| known == name) {
        return;
    }
    let message = format!("there is no group `{}`: nobody says what its services may spend", shown(name));
    let diagnostic = Diagnostic::new(Code::UnknownGroup, group.spot.into(), message);
    let known: Vec<&str> = named.groups.iter().map(|(known, _)| known.as_str()).collect();
    let diagnostic = suggest(diagnostic, name, &known);
    reader.say(if diagnostic.help.is_some() {
        diagnostic
    } else {
        diagnostic.help(format!(
            "add it to the `host:` document: `host: {{ groups: {{ {}: 10/10m }} }}`",
            shown(name)
        ))
    });
}
