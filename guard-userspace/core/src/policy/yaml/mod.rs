//! YAML as policies need it: a tree of nodes that know where they stand.
//!
//! Anchors, aliases, merge keys and tags are refused, so a document means what it shows, and is no larger than its file.
//! Scalars are resolved as the core schema of YAML 1.2 says: `no` is a text, `0o17` a number.

mod parse;
mod resolve;

use std::sync::Arc;

use super::Place;

pub(crate) use parse::parse;
pub(crate) use parse::shown;
pub(crate) use resolve::resolve;

/// A part of a file, as nodes carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Spot {
    pub(crate) file: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Spot {
    /// Its beginning, as an empty part.
    pub(crate) const fn begin(self) -> Self {
        Self { end: self.start, ..self }
    }
}

impl From<Spot> for Place {
    fn from(spot: Spot) -> Self {
        Self { file: spot.file as usize, range: spot.start as usize..spot.end as usize }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Where it stands. Of a block, to the end of its last value.
    pub(crate) spot: Spot,
    /// Where the key stands under which it does; otherwise its own first word.
    pub(crate) name: Spot,
    pub(crate) data: Data,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<Entry>),
}

/// A single word or text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: Arc<str>,
    pub(crate) kind: Kind,
}

/// What a scalar is in the core schema. Whatever is quoted is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    /// Fits in an `i64`.
    Int(i64),
    /// Also whole numbers that are too large.
    Float,
    Text,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Arc<str>,
    pub(crate) spot: Spot,
    pub(crate) value: Node,
}

impl Node {
    /// What a default says: `{}`, a plain scalar, or a list of those such as `[401, 403]`.
    pub(crate) fn plain(text: &str, at: Spot) -> Self {
        let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let data = match (text, list) {
            ("{}", _) => Data::Map(Vec::new()),
            (_, Some("")) => Data::List(Vec::new()),
            (_, Some(list)) => Data::List(list.split(", ").map(|item| Self::plain(item, at)).collect()),
            _ => Data::Scalar(Scalar { text: text.into(), kind: resolve(text) }),
        };
        Self { spot: at, name: at, data }
    }

    /// A map with this one value.
    pub(crate) fn wrapped(self, key: &str) -> Self {
        let (spot, name) = (self.spot, self.name);
        Self { spot, name, data: Data::Map(vec![Entry { key: key.into(), spot: name, value: self }]) }
    }

    /// The value under a key, if this is a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| *entry.key == *key).map(|entry| &entry.value)
    }

    /// Of a map; otherwise none.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            Data::Scalar(_) | Data::List(_) => &[],
        }
    }

    /// Whether nothing stands there.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar(Scalar { kind: Kind::Null, .. }))
    }

    /// What it is, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match &self.data {
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
            Data::Scalar(scalar) => match scalar.kind {
                Kind::Null => "nothing",
                Kind::Bool => "a truth value",
                Kind::Int(_) | Kind::Float => "a number",
                Kind::Text => "a text",
            },
        }
    }

    /// The same as JSON, as editors see it.
    pub(crate) fn json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.data {
            Data::List(nodes) => nodes.iter().map(Self::json).collect(),
            Data::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.to_string(), entry.value.json()));
                Value::Object(pairs.collect())
            }
            Data::Scalar(scalar) => match scalar.kind {
                Kind::Null => Value::Null,
                Kind::Bool => Value::Bool(scalar.text.eq_ignore_ascii_case("true")),
                Kind::Int(number) => number.into(),
                Kind::Float => scalar.text.parse::<f64>().unwrap_or_default().into(),
                Kind::Text => Value::String(scalar.text.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests;
