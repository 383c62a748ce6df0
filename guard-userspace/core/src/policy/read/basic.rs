//! Values that other values are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::texts::{Pattern, no_hint};
use super::{Reader, Value};
use crate::policy::schema::Schema;
use crate::policy::yaml::{Data, Kind, Node, Scalar, Spot, shown};
use crate::policy::{Code, Diagnostic};

/// A value that knows where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    /// The value.
    pub(crate) spot: Spot,
    /// Its key; in a list, the value.
    pub(crate) name: Spot,
}

impl<T: Value> Value for At<T> {
    fn schema(schema: &mut Schema) -> Json {
        T::schema(schema)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        T::read(node, reader).map(|value| Self { value, spot: node.spot, name: node.name })
    }

    fn merge(own: &Node, default: &Node) -> Node {
        T::merge(own, default)
    }
}

/// Any text that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) Arc<str>);

impl Value for Text {
    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let text = AnyText::read(node, reader)?;
        if text.0.is_empty() {
            reader.wrong_type(node, "a text that is not empty");
            return None;
        }
        Some(Self(text.0))
    }
}

/// Any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnyText(pub(crate) Arc<str>);

impl Value for AnyText {
    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "string" })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        const ANY: Pattern = Pattern {
            doc: "Any text.",
            pattern: "",
            expected: "a text",
            code: Code::WrongType,
            hint: no_hint,
        };
        if let Data::Scalar(Scalar { text, kind: Kind::Text }) = &node.data {
            return Some(Self(text.clone()));
        }
        static REGEX: std::sync::LazyLock<Option<regex::Regex>> = std::sync::LazyLock::new(|| ANY.compile());
        super::read_text(node, &ANY, REGEX.as_ref(), reader).map(|scalar| Self(scalar.text.clone()))
    }
}

/// `true` or `false`.
impl Value for bool {
    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "boolean" })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.data {
            Data::Scalar(scalar) if scalar.kind == Kind::Bool => {
                Some(scalar.text.eq_ignore_ascii_case("true"))
            }
            _ => {
                reader.wrong_type(node, "`true` or `false`");
                None
            }
        }
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Int<const MIN: i64, const MAX: i64>(pub(crate) i64);

impl<const MIN: i64, const MAX: i64> Value for Int<MIN, MAX> {
    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let expected = format!("a whole number from {MIN} to {MAX}");
        match &node.data {
            Data::Scalar(Scalar { kind: Kind::Int(number), .. }) if (MIN..=MAX).contains(number) => {
                Some(Self(*number))
            }
            Data::Scalar(Scalar { kind: Kind::Int(_) | Kind::Float, text }) => {
                let message = format!("{expected} is expected here, not `{}`", shown(text));
                reader.say(Diagnostic::new(Code::NumberRange, node.spot.into(), message));
                None
            }
            Data::Scalar(Scalar { kind: Kind::Text, text }) if text.parse::<i64>().is_ok() => {
                let message = format!("{expected} is expected here, not a text");
                let diagnostic = Diagnostic::new(Code::WrongType, node.spot.into(), message);
                reader.say(diagnostic.help("write it without quotes").replacement(text.to_string()));
                None
            }
            _ => {
                reader.wrong_type(node, &expected);
                None
            }
        }
    }
}

impl<const MIN: i64, const MAX: i64> Int<MIN, MAX> {
    /// As the type that the range is that of.
    pub(crate) fn to<T: TryFrom<i64> + Default>(self) -> T {
        T::try_from(self.0).unwrap_or_default()
    }
}

/// Any number that is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number(pub(crate) f64);

impl Value for Number {
    fn schema(_: &mut Schema) -> Json {
        json!({ "type": "number" })
    }

    #[expect(clippy::cast_precision_loss, reason = "a bound for what is measured: 53 bits are plenty")]
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let number = match &node.data {
            Data::Scalar(Scalar { kind: Kind::Int(number), .. }) => Some(*number as f64),
            Data::Scalar(Scalar { kind: Kind::Float, text }) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number.filter(|number| number.is_finite()) else {
            reader.wrong_type(node, "a number");
            return None;
        };
        Some(Self(number))
    }
}

/// Nothing more to say: no value, or `{}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nothing;

impl Value for Nothing {
    fn schema(_: &mut Schema) -> Json {
        json!({ "anyOf": [{ "type": "null" }, { "type": "object", "maxProperties": 0 }] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let nothing = match &node.data {
            Data::Map(entries) => entries.is_empty(),
            Data::Scalar(scalar) => scalar.kind == Kind::Null,
            Data::List(_) => false,
        };
        if !nothing {
            reader.wrong_type(node, "nothing (`{}`)");
            return None;
        }
        Some(Self)
    }
}

/// Values in a row, at least `MIN`.
#[derive(Clone, Debug)]
pub(crate) struct List<T, const MIN: usize = 0>(pub(crate) Vec<T>);

impl<T: Value, const MIN: usize> Value for List<T, MIN> {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "type": "array", "items": T::schema(schema), "minItems": MIN })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Data::List(nodes) = &node.data else {
            reader.wrong_type(node, "a list");
            return None;
        };
        if nodes.len() < MIN {
            let message = "an empty list says nothing here";
            reader.say(Diagnostic::new(Code::TooFew, node.spot.into(), message));
            return None;
        }
        // All are read, so that all errors are told.
        let values: Vec<Option<T>> = nodes.iter().map(|node| T::read(node, reader)).collect();
        values.into_iter().collect::<Option<Vec<T>>>().map(Self)
    }
}

/// A value, or several in a row.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<T: Value> Value for OneOrMany<T> {
    fn schema(schema: &mut Schema) -> Json {
        json!({ "anyOf": [T::schema(schema), List::<T, 1>::schema(schema)] })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match &node.data {
            Data::List(_) => List::<T, 1>::read(node, reader).map(|list| Self(list.0)),
            Data::Scalar(_) | Data::Map(_) => T::read(node, reader).map(|one| Self(vec![one])),
        }
    }
}

/// A name that stands as a key.
pub(crate) trait MapKey: Ord + Sized {
    /// What it must look like.
    fn pattern() -> (&'static Pattern, Option<&'static regex::Regex>);

    /// Of a text that does.
    fn of(text: &Arc<str>) -> Self;
}

/// Any values, each under a name.
#[derive(Clone, Debug)]
pub(crate) struct Map<K, T>(pub(crate) BTreeMap<K, T>);

impl<K: MapKey, T: Value> Value for Map<K, T> {
    fn schema(schema: &mut Schema) -> Json {
        let names = json!({ "pattern": K::pattern().0.pattern });
        json!({ "type": "object", "propertyNames": names, "additionalProperties": T::schema(schema) })
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Data::Map(entries) = &node.data else {
            reader.wrong_type(node, "a map");
            return None;
        };
        let (pattern, regex) = K::pattern();
        let mut map = Some(BTreeMap::new());
        for entry in entries {
            let fits = regex.is_some_and(|regex| regex.is_match(&entry.key));
            if !fits {
                let message = format!("`{}` is not {}", shown(&entry.key), pattern.expected);
                let diagnostic = Diagnostic::new(pattern.code, entry.spot.into(), message);
                reader.say(diagnostic.help(pattern.doc.trim()));
            }
            match T::read(&entry.value, reader) {
                Some(value) if fits => {
                    if let Some(map) = &mut map {
                        map.insert(K::of(&entry.key), value);
                    }
                }
                _ => map = None,
            }
        }
        map.map(Self)
    }

    fn merge(own: &Node, default: &Node) -> Node {
        let (Data::Map(mine), Data::Map(theirs)) = (&own.data, &default.data) else { return own.clone() };
        let mut entries = mine.clone();
        for entry in &mut entries {
            if let Some(other) = default.get(&entry.key) {
                entry.value = T::merge(&entry.value, other);
            }
        }
        entries.extend(theirs.iter().filter(|entry| own.get(&entry.key).is_none()).cloned());
        Node { data: Data::Map(entries), ..own.clone() }
    }
}
