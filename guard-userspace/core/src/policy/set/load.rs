//! Files to a set.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PolicySet;
use crate::policy::language::{self, Document, HostKeys, ServiceKeys, read_document};
use crate::policy::model::{Host, Service};
use crate::policy::read::{Reader, Value as _};
use crate::policy::yaml::{Node, parse};
use crate::policy::{Bounds, Code, Diagnostic, Loaded, Severity, Source};

/// A service with what it was built from.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) keys: ServiceKeys,
    pub(crate) service: Arc<Service>,
}

pub(crate) fn load(files: &[Source<'_>], bounds: &Bounds) -> Loaded {
    let mut reader = Reader::default();
    let mut documents = Vec::new();
    for (file, source) in files.iter().enumerate() {
        let parsed = parse(*source, file, bounds);
        reader.diagnostics.extend(parsed.diagnostics);
        documents.extend(parsed.documents);
    }
    let mut services = Vec::new();
    let mut defaults: Option<&Node> = None;
    let mut host: Option<(&Node, Box<HostKeys>)> = None;
    for document in &documents {
        match read_document(document, &mut reader) {
            Some(Document::Service(node)) => services.push(node),
            Some(Document::Defaults(node)) => match defaults {
                Some(first) => reader.say(twice("defaults", first, node)),
                None => defaults = Some(node),
            },
            Some(Document::Host(keys)) => match &host {
                Some((first, _)) => reader.say(twice("host", first, document)),
                None => host = Some((document, keys)),
            },
            None => {}
        }
    }
    let mut entries: Vec<Entry> = Vec::new();
    for node in services {
        let merged = defaults.map(|defaults| language::with_defaults(node, defaults));
        let node = merged.as_ref().unwrap_or(node);
        language::placeholders(node, &mut reader);
        let Some(keys) = ServiceKeys::read(node, &mut reader) else { continue };
        if let Some(service) = language::build(&keys, &mut reader) {
            entries.push(Entry { keys, service: Arc::new(service) });
        }
    }
    entries.sort_by(|one, other| one.service.name.cmp(&other.service.name));
    let host = host.and_then(|(_, keys)| keys.build(&mut reader)).unwrap_or_default();
    finish(entries, host, reader)
}

fn twice(what: &str, first: &Node, again: &Node) -> Diagnostic {
    let message = format!("there are two `{what}:` documents");
    Diagnostic::new(Code::Document, again.name.into(), message)
        .related(first.name.into(), "the first one")
        .help("which one holds would depend on the order of files: put both into one")
}

fn finish(entries: Vec<Entry>, host: Host, reader: Reader) -> Loaded {
    let mut diagnostics = reader.diagnostics;
    diagnostics.sort_by(Diagnostic::order);
    diagnostics.dedup();
    let refused = diagnostics.iter().any(|diagnostic| diagnostic.severity() == Severity::Error);
    let services =
        entries.iter().map(|entry| (entry.service.name.clone(), entry.keys.service.spot.into())).collect();
    let set = (!refused).then(|| PolicySet {
        services: entries.into_iter().map(|entry| entry.service).collect(),
        host,
        users: BTreeMap::new(),
    });
    Loaded { set, diagnostics, services, needs: reader.needs }
}
