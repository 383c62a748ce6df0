//! Documents: services, `defaults:` and `host:`.

use serde_json::{Value as Json, json};

use super::service::{ServiceKeys, Version};
use super::texts::Name;
use crate::policy::model::Host;
use crate::policy::read::{At, BudgetOf, Map, Reader, Value, listed, suggest};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Entry, Node, Spot, shown};
use crate::policy::{Code, Diagnostic};

/// What a document is.
#[derive(Clone, Debug)]
pub(crate) enum Document<'a> {
    /// A service, still as it was written.
    Service(&'a Node),
    /// What holds for all services that don't say otherwise, still as it was written.
    Defaults(&'a Node),
    /// What holds for the host.
    Host(Box<HostKeys>),
}

keys! {
    /// What holds for the whole host.
    struct HostDocument as "host-document" {
        /// The language that this is written in.
        _version("version"): Version,
        /// What holds for the whole host.
        host: HostKeys,
    }
}

keys! {
    /// What holds for the whole host.
    struct HostKeys as "host" {
        /// Restarts of all services together; beyond it, no service is restarted.
        budget: Option<At<BudgetOf>>,
        /// Restarts of the services of a group together, under the group's name.
        groups: Map<Name, At<BudgetOf>> = "{}",
    }
}

keys! {
    /// What holds for all services that don't say otherwise. Maps are merged key by key, lists are not.
    struct DefaultsDocument as "defaults-document" {
        /// The language that this is written in.
        _version("version"): Version,
        /// Keys of a service, except `service`.
        _defaults("defaults"): DefaultsNode,
    }
}

/// Keys of services, none of which has to be there.
#[derive(Clone, Debug)]
pub(crate) struct DefaultsNode;

impl Value for DefaultsNode {
    fn schema(schema: &mut Schema) -> Json {
        let service = schema.partially(ServiceKeys::schema);
        json!({ "allOf": [service, { "properties": { "service": false, "version": false } }] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        for key in ["service", "version"] {
            if let Some(value) = node.get(key) {
                let message = format!("`{key}` is no default");
                let help = "names are not shared, and the version stands above `defaults`";
                reader.say(Diagnostic::new(Code::UnknownKey, value.name.into(), message).help(help));
            }
        }
        let before = std::mem::replace(&mut reader.partial, true);
        ServiceKeys::read(node, reader);
        reader.partial = before;
        Some(Self)
    }
}

impl HostKeys {
    /// Where each group stands.
    pub(crate) fn group_spots(&self) -> Vec<(String, Spot)> {
        self.groups.0.iter().map(|(name, budget)| (name.0.to_string(), budget.name)).collect()
    }

    /// As the model has it.
    pub(crate) fn build(&self, reader: &mut Reader) -> Option<Host> {
        let budget = match &self.budget {
            Some(budget) => Some(super::service::budget(budget, reader)?),
            None => None,
        };
        let groups = self.groups.0.iter();
        let groups: Vec<_> = groups
            .map(|(name, budget)| Some((name.0.to_string(), super::service::budget(budget, reader)?)))
            .collect();
        Some(Host { budget, groups: groups.into_iter().collect::<Option<_>>()? })
    }
}

/// The keys by which kinds of documents are told apart.
const KINDS: [&str; 3] = ["service", "defaults", "host"];

/// Finds out what a document is. What is no service is read.
pub(crate) fn read_document<'a>(node: &'a Node, reader: &mut Reader) -> Option<Document<'a>> {
    let Data::Map(entries) = &node.data else {
        reader.wrong_type(node, "a document with the keys `version` and `service`");
        return None;
    };
    let kinds: Vec<&Entry> = entries.iter().filter(|entry| KINDS.contains(&&*entry.key)).collect();
    let [kind, others @ ..] = kinds.as_slice() else {
        reader.say(unknown_kind(node, entries));
        return None;
    };
    for other in others {
        let message = format!("`{}` and `{}` are documents of their own", kind.key, other.key);
        let diagnostic = Diagnostic::new(Code::Document, other.spot.into(), message)
            .related(kind.spot.into(), "the first one")
            .help("put a line `---` between them, and `version: processguard/v1` above each");
        reader.say(diagnostic);
    }
    match &*kind.key {
        "service" => Some(Document::Service(node)),
        "defaults" => {
            DefaultsDocument::read(node, reader);
            node.get("defaults").map(Document::Defaults)
        }
        _ => HostDocument::read(node, reader).map(|document| Document::Host(Box::new(document.host))),
    }
}

/// A service with what the defaults say where it says nothing itself.
pub(crate) fn with_defaults(service: &Node, defaults: &Node) -> Node {
    // Defaults for `run` do not make one of a service that says neither.
    let mut defaults = defaults.clone();
    if let Data::Map(entries) = &mut defaults.data {
        entries.retain(|entry| !matches!(&*entry.key, "run" | "adopt") || service.get(&entry.key).is_some());
    }
    ServiceKeys::merge(service, &defaults)
}

fn unknown_kind(node: &Node, entries: &[Entry]) -> Diagnostic {
    let message = format!("what is this document about? It has no key {}", listed(&KINDS));
    let near = entries.iter().find_map(|entry| {
        let said = shown(&entry.key);
        let message = format!("`{said}` is not a kind of document");
        let diagnostic =
            suggest(Diagnostic::new(Code::Document, entry.spot.into(), message), &entry.key, &KINDS);
        diagnostic.replacement.is_some().then_some(diagnostic)
    });
    near.unwrap_or_else(|| {
        Diagnostic::new(Code::Document, node.name.into(), message)
            .help("a service begins with `service: its-name`")
    })
}

/// The schema of any document.
pub(crate) fn document_schema() -> Json {
    let mut schema = Schema::default();
    let service = ServiceKeys::schema(&mut schema);
    let defaults = DefaultsDocument::schema(&mut schema);
    let host = HostDocument::schema(&mut schema);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ProcessGuard policy",
        "description": "A document of a policy file: a service, defaults for all services, or what holds for the host.",
        "type": "object",
        "if": { "required": ["defaults"] },
        "then": defaults,
        "else": { "if": { "required": ["host"] }, "then": host, "else": service },
        "$defs": schema.into_definitions(),
    })
}
