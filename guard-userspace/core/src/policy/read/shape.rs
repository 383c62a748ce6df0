//! What all maps with known keys have in common.

use std::borrow::Cow;

use serde_json::{Map, Value as Json, json};

use super::{Key, Reader};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Entry, Node, Spot, shown};
use crate::policy::{Code, Diagnostic};

/// The description of a map with known keys.
pub(crate) struct Shape {
    /// The name of its definition in the schema.
    pub(crate) title: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
    /// Rules, and short forms.
    pub(crate) extras: &'static [Extra],
}

/// A rule that concerns more than one key, or a short form.
#[derive(Clone, Copy)]
pub(crate) enum Extra {
    /// What is no map is the value of this key.
    Short(&'static str),
    /// One of these words alone stands for a map with that key, and nothing under it.
    Words(&'static [&'static str]),
    /// Exactly one of these keys.
    One(&'static [&'static str]),
    /// At most one of these keys.
    Lone(&'static [&'static str]),
    /// At least one of these keys.
    Any(&'static [&'static str]),
    /// The first key only together with the second.
    With(&'static str, &'static str),
}

impl Shape {
    /// The map, its short form written out; all that its keys tell without their values is checked.
    pub(crate) fn open<'a>(&self, node: &'a Node, reader: &mut Reader) -> Option<Cow<'a, Node>> {
        let node = self.written_out(node, reader)?;
        for entry in node.entries() {
            if !self.keys.iter().any(|key| *key.name == *entry.key) {
                let diagnostic = self.unknown(&node, entry);
                // What was meant is read as that: its value may be wrong, too, and all errors are told at once.
                let meant = diagnostic.replacement.as_deref();
                let meant = self.keys.iter().find(|key| meant == Some(key.name));
                reader.say(diagnostic);
                if let Some(key) = meant {
                    (key.check)(&entry.value, reader);
                }
            }
        }
        for key in self.keys.iter().filter(|key| key.required && node.get(key.name).is_none()) {
            if !reader.partial {
                let message = format!("`{}` is missing", key.name);
                let help = format!("`{}`: {}", key.name, key.doc.trim());
                let diagnostic = Diagnostic::new(Code::MissingKey, node.name.into(), message);
                reader.say(diagnostic.label(format!("needs `{}`", key.name)).help(help));
            }
        }
        for extra in self.extras {
            self.rule(*extra, &node, reader);
        }
        Some(node)
    }

    /// What stands under a key, or what holds instead.
    pub(crate) fn value<'a>(&self, node: &'a Node, name: &str) -> Option<Cow<'a, Node>> {
        if let Some(value) = node.get(name) {
            return Some(Cow::Borrowed(value));
        }
        let default = self.keys.iter().find(|key| key.name == name)?.default?;
        Some(Cow::Owned(Node::plain(default, node.name)))
    }

    fn written_out<'a>(&self, node: &'a Node, reader: &mut Reader) -> Option<Cow<'a, Node>> {
        if matches!(node.data, Data::Map(_)) {
            return Some(Cow::Borrowed(node));
        }
        if let Some(long) = self.long(node) {
            return Some(Cow::Owned(long));
        }
        let words = self.words();
        match &node.data {
            Data::Scalar(scalar) if !words.is_empty() && !node.is_null() => {
                let message = format!("`{}` cannot stand here alone", shown(&scalar.text));
                let diagnostic = Diagnostic::new(Code::UnknownWord, node.spot.into(), message);
                let mut known: Vec<&str> = words.to_vec();
                known.extend(self.keys.iter().map(|key| key.name));
                let diagnostic = suggest(diagnostic, &scalar.text, &known);
                reader.say(if diagnostic.help.is_some() {
                    diagnostic
                } else {
                    diagnostic.help(format!("alone can stand {}; otherwise a map", listed(words)))
                });
            }
            _ => reader.wrong_type(node, &format!("a map with keys such as {}", self.examples())),
        }
        None
    }

    /// The map that a short form stands for.
    fn long(&self, node: &Node) -> Option<Node> {
        for extra in self.extras {
            match *extra {
                Extra::Short(key) if !node.is_null() => return Some(node.clone().wrapped(key)),
                Extra::Words(words) => {
                    if let Data::Scalar(scalar) = &node.data
                        && let Some(word) = words.iter().find(|word| ***word == *scalar.text)
                    {
                        let nothing = Node { data: Node::plain("{}", node.spot).data, ..node.clone() };
                        return Some(nothing.wrapped(word));
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn words(&self) -> &'static [&'static str] {
        let words = |extra: &Extra| if let Extra::Words(words) = extra { Some(*words) } else { None };
        self.extras.iter().find_map(words).unwrap_or_default()
    }

    fn examples(&self) -> String {
        let names: Vec<&str> = self.keys.iter().take(3).map(|key| key.name).collect();
        listed(&names)
    }

    fn unknown(&self, node: &Node, entry: &Entry) -> Diagnostic {
        let message = format!("`{}` is not a key of {}", shown(&entry.key), self.title);
        let diagnostic = Diagnostic::new(Code::UnknownKey, entry.spot.into(), message);
        // What is there already is not what was meant.
        let known: Vec<&str> =
            self.keys.iter().map(|key| key.name).filter(|name| node.get(name).is_none()).collect();
        let diagnostic = suggest(diagnostic, &entry.key, &known);
        if diagnostic.help.is_some() || known.is_empty() {
            return diagnostic;
        }
        diagnostic.help(format!("it has {}", listed(&known)))
    }

    fn rule(&self, extra: Extra, node: &Node, reader: &mut Reader) {
        let present = |keys: &[&str]| -> Vec<Entry> {
            let entries = node.entries().iter();
            entries.filter(|entry| keys.contains(&&*entry.key)).cloned().collect()
        };
        let missing = |keys: &[&str]| {
            let message = format!("one of {} is missing", listed(keys));
            Diagnostic::new(Code::MissingKey, node.name.into(), message)
                .label(format!("{} needs one of them", self.title))
        };
        match extra {
            Extra::Short(_) | Extra::Words(_) => {}
            Extra::Any(keys) | Extra::One(keys) if present(keys).is_empty() => {
                if !reader.partial {
                    reader.say(missing(keys));
                }
            }
            Extra::Any(_) => {}
            Extra::One(keys) | Extra::Lone(keys) => {
                let present = present(keys);
                if let Some((first, others)) = present.split_first() {
                    for other in others {
                        let message = format!("`{}` and `{}` exclude each other", first.key, other.key);
                        let diagnostic = Diagnostic::new(Code::ConflictingKeys, other.spot.into(), message)
                            .related(first.spot.into(), "the other one")
                            .help(format!("keep one of {}", listed(keys)));
                        reader.say(diagnostic);
                    }
                }
            }
            Extra::With(key, other) => {
                if let (Some(value), None) = (node.get(key), node.get(other))
                    && !reader.partial
                {
                    let message = format!("`{key}` says nothing without `{other}`");
                    let diagnostic = Diagnostic::new(Code::ConflictingKeys, value.name.into(), message);
                    reader.say(diagnostic.help(format!("add `{other}`, or leave `{key}` out")));
                }
            }
        }
    }

    /// What holds where a `defaults:` document says something too: key by key; of keys that exclude each other, the own one.
    pub(crate) fn merge(&self, own: &Node, default: &Node) -> Node {
        let (own, default) = (self.long_or_same(own), self.long_or_same(default));
        let (Data::Map(mine), Data::Map(theirs)) = (&own.data, &default.data) else {
            return own.into_owned();
        };
        let mut entries = mine.clone();
        for entry in &mut entries {
            if let Some(other) = default.get(&entry.key)
                && let Some(key) = self.keys.iter().find(|key| *key.name == *entry.key)
            {
                entry.value = (key.merge)(&entry.value, other);
            }
        }
        let mut taken: Vec<Entry> = Vec::new();
        for entry in theirs.iter().filter(|entry| own.get(&entry.key).is_none()) {
            if !self.excluded(&entry.key, &own) {
                taken.push(entry.clone());
            }
        }
        entries.append(&mut taken);
        Node { data: Data::Map(entries), ..own.into_owned() }
    }

    fn long_or_same<'a>(&self, node: &'a Node) -> Cow<'a, Node> {
        match node.data {
            Data::Map(_) => Cow::Borrowed(node),
            Data::Scalar(_) | Data::List(_) => self.long(node).map_or(Cow::Borrowed(node), Cow::Owned),
        }
    }

    /// Whether a map has another key that excludes this one.
    fn excluded(&self, key: &str, own: &Node) -> bool {
        self.extras.iter().any(|extra| match extra {
            Extra::One(keys) | Extra::Lone(keys) => {
                keys.contains(&key) && keys.iter().any(|other| own.get(other).is_some())
            }
            Extra::With(first, other) => {
                *first == key && own.get(other).is_none() && self.excluded(other, own)
            }
            Extra::Short(_) | Extra::Words(_) | Extra::Any(_) => false,
        })
    }

    pub(crate) fn schema(&self, schema: &mut Schema) -> Json {
        let map = schema.define(self.title, |schema| self.object(schema));
        let mut forms = vec![map];
        for extra in self.extras {
            match *extra {
                Extra::Short(name) => {
                    let key = self.keys.iter().find(|key| key.name == name);
                    forms.extend(key.map(|key| (key.schema)(schema)));
                }
                Extra::Words(words) => forms.push(json!({ "enum": words })),
                _ => {}
            }
        }
        match <[Json; 1]>::try_from(forms) {
            Ok([map]) => map,
            Err(forms) => json!({ "anyOf": forms }),
        }
    }

    fn object(&self, schema: &mut Schema) -> Json {
        let mut properties = Map::new();
        for key in self.keys {
            let mut described = json!({ "description": key.doc.trim() });
            let value = (key.schema)(schema);
            if let (Json::Object(described), Json::Object(value)) = (&mut described, value) {
                // Beside a reference the key's own description is shown.
                for (name, part) in value {
                    described.entry(name).or_insert(part);
                }
                if let Some(default) = key.default {
                    described.insert("default".to_owned(), Node::plain(default, Spot::default()).json());
                }
            }
            properties.insert(key.name.to_owned(), described);
        }
        let mut object = json!({
            "description": self.doc.trim(),
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        let required: Vec<&str> = self.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        let rules: Vec<Json> =
            self.extras.iter().flat_map(|extra| extra.schema(schema.is_partial())).collect();
        if let Json::Object(object) = &mut object {
            if !schema.is_partial() && !required.is_empty() {
                object.insert("required".to_owned(), json!(required));
            }
            if !rules.is_empty() {
                object.insert("allOf".to_owned(), json!(rules));
            }
        }
        object
    }
}

impl Extra {
    fn schema(&self, partial: bool) -> Vec<Json> {
        let each =
            |keys: &[&str]| -> Vec<Json> { keys.iter().map(|key| json!({ "required": [key] })).collect() };
        let pairs = |keys: &[&str]| -> Vec<Json> {
            let all = keys.iter().enumerate();
            let pairs = all.flat_map(|(at, one)| keys.iter().skip(at + 1).map(move |other| (*one, *other)));
            pairs.map(|(one, other)| json!({ "not": { "required": [one, other] } })).collect()
        };
        match *self {
            Self::Short(_) | Self::Words(_) => Vec::new(),
            Self::One(keys) if !partial => vec![json!({ "oneOf": each(keys) })],
            Self::One(keys) | Self::Lone(keys) => pairs(keys),
            Self::Any(_) | Self::With(..) if partial => Vec::new(),
            Self::Any(keys) => vec![json!({ "anyOf": each(keys) })],
            Self::With(key, other) => vec![json!({ "dependentRequired": { key: [other] } })],
        }
    }
}

/// Says what was probably meant, if that is near enough.
pub(crate) fn suggest(diagnostic: Diagnostic, said: &str, known: &[&str]) -> Diagnostic {
    let near = known.iter().map(|word| (strsim::damerau_levenshtein(said, word), *word)).min();
    match near {
        Some((distance, word)) if distance * 3 <= word.len().max(said.len()).min(30) => {
            diagnostic.help(format!("did you mean `{word}`?")).replacement(word)
        }
        _ => diagnostic,
    }
}

/// Names in a row, for messages.
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{}`", one.as_ref()),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|name| format!("`{}`", name.as_ref())).collect();
            format!("{} or `{}`", first.join(", "), last.as_ref())
        }
    }
}
