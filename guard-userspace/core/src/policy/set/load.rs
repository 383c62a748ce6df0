//! Files to a set.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::sync::Arc;

use super::PolicySet;
use super::check::{self, Named};
use crate::policy::language::{self, Document, HostKeys, ServiceKeys, read_document};
use crate::policy::model::{Host, Service};
use crate::policy::read::{Reader, Value as _};
use crate::policy::yaml::{Data, Node, Spot, parse};
use crate::policy::{Bounds, Code, Diagnostic, Loaded, Severity, Source};

/// A service with what it was built from.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) keys: ServiceKeys,
    pub(super) service: Arc<Service>,
}

/// Reads files as one set.
pub(in crate::policy) fn load(files: &[Source<'_>], bounds: &Bounds) -> Loaded {
    let mut reader = Reader::default();
    let mut documents = Vec::new();
    for (file, source) in files.iter().enumerate() {
        let parsed = parse(*source, file, bounds);
        parsed.diagnostics.into_iter().for_each(|diagnostic| reader.say(diagnostic));
        documents.extend(parsed.documents);
    }
    let sorted = Sorted::new(&documents, &mut reader);
    let named = sorted.named(&mut reader);
    let mut entries: Vec<Entry> =
        sorted.services.iter().filter_map(|node| sorted.entry(node, &mut reader)).collect();
    // Stable, so of two with the same name the first one is kept.
    entries.sort_by(|one, other| one.service.name.cmp(&other.service.name));
    entries.dedup_by(|one, other| one.service.name == other.service.name);
    let host = sorted.host.and_then(|(_, keys)| keys.build(&mut reader)).unwrap_or_default();
    check::check(&entries, &named, &mut reader);
    finish(entries, host, reader)
}

/// Documents by what they are.
struct Sorted<'a> {
    services: Vec<&'a Node>,
    defaults: Option<&'a Node>,
    host: Option<(&'a Node, Box<HostKeys>)>,
}

impl<'a> Sorted<'a> {
    fn new(documents: &'a [Node], reader: &mut Reader) -> Self {
        let mut sorted = Self { services: Vec::new(), defaults: None, host: None };
        for document in documents {
            match read_document(document, reader) {
                Some(Document::Service(node)) => sorted.services.push(node),
                Some(Document::Defaults(node)) => match sorted.defaults {
                    Some(first) => reader.say(twice("defaults", first, node)),
                    None => sorted.defaults = Some(node),
                },
                Some(Document::Host(keys)) => match &sorted.host {
                    Some((first, _)) => reader.say(twice("host", first, document)),
                    None => sorted.host = Some((document, keys)),
                },
                None => {}
            }
        }
        sorted
    }

    /// Reads a service, with what the defaults say where it says nothing itself.
    fn entry(&self, node: &Node, reader: &mut Reader) -> Option<Entry> {
        let merged = self.defaults.map(|defaults| language::with_defaults(node, defaults));
        let node = merged.as_ref().unwrap_or(node);
        language::check_nodes(node, reader);
        let Some(keys) = ServiceKeys::read(node, reader) else {
            // Its parts can be looked at nevertheless: all errors are told at once.
            language::check_parts(node, reader);
            return None;
        };
        let service = language::build(&keys, reader)?;
        Some(Entry { keys, service: Arc::new(service) })
    }

    /// All that have a name, also what could not be read.
    fn named(&self, reader: &mut Reader) -> Named {
        let mut services: BTreeMap<String, Spot> = BTreeMap::new();
        for node in self.services.iter().filter_map(|service| service.get("service")) {
            let Data::Scalar(scalar) = &node.data else { continue };
            match services.entry(scalar.text.to_string()) {
                MapEntry::Vacant(vacant) => drop(vacant.insert(node.spot)),
                MapEntry::Occupied(first) => reader.say(check::twice(&scalar.text, *first.get(), node.spot)),
            }
        }
        let services = services.into_keys().collect();
        Named { services, groups: self.host.as_ref().map(|(_, keys)| keys.group_spots()).unwrap_or_default() }
    }
}

fn twice(what: &str, first: &Node, again: &Node) -> Diagnostic {
    let message = format!("there are two `{what}:` documents");
    Diagnostic::new(Code::Document, again.name.into(), message)
        .related(first.name.into(), "the first one")
        .help("which one holds would depend on the order of files: put both into one")
}

fn finish(entries: Vec<Entry>, host: Host, mut reader: Reader) -> Loaded {
    let diagnostics = reader.told();
    let mut needs = reader.needs;
    needs.sort_by(|one, other| {
        let key = |need: &crate::policy::Need| (need.place.file, need.place.range.start);
        key(one).cmp(&key(other))
    });
    needs.dedup();
    let refused = diagnostics.iter().any(|diagnostic| diagnostic.severity() == Severity::Error);
    let services =
        entries.iter().map(|entry| (entry.service.name.clone(), entry.keys.service.spot.into())).collect();
    let set = (!refused).then(|| PolicySet {
        services: entries.into_iter().map(|entry| entry.service).collect(),
        host,
        users: BTreeMap::new(),
    });
    Loaded { set, diagnostics, services, needs }
}

/// The one service of a text that nothing is said against.
#[cfg(test)]
pub(super) fn entry_of(text: &str) -> Option<Entry> {
    let mut reader = Reader::default();
    let parsed = parse(Source { name: "", bytes: text.as_bytes() }, 0, &Bounds::default());
    let sorted = Sorted::new(&parsed.documents, &mut reader);
    sorted.entry(sorted.services.first()?, &mut reader)
}
