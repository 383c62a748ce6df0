//! Texts of one pattern.

use regex::Regex;
use serde_json::{Value as Json, json};

use super::Reader;
use crate::policy::yaml::{Data, Kind, Node, Scalar, shown};
use crate::policy::{Code, Diagnostic};

/// Describes a text by its pattern: the type that it is read into, its reader and its JSON Schema.
///
/// ```text
/// texts! {
///     /// What it is.
///     Name as "name" = "^pattern$", "what is expected", CodeOfItsOwn, hint;
/// }
/// ```
/// `hint` is what is probably meant by a text that does not fit: `fn(&str) -> Option<Hint>`.
macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident as $title:literal = $pattern:expr, $expected:literal, $code:ident, $hint:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub(crate) struct $name(pub(crate) std::sync::Arc<str>);

            impl $name {
                pub(crate) const PATTERN: $crate::policy::read::Pattern = $crate::policy::read::Pattern {
                    doc: concat!($($doc),+),
                    pattern: $pattern,
                    expected: $expected,
                    code: $crate::policy::Code::$code,
                    hint: $hint,
                };

                /// Whether a text fits.
                pub(crate) fn regex() -> Option<&'static regex::Regex> {
                    static REGEX: std::sync::LazyLock<Option<regex::Regex>> =
                        std::sync::LazyLock::new(|| $name::PATTERN.compile());
                    REGEX.as_ref()
                }
            }

            impl $crate::policy::read::Value for $name {
                fn schema(schema: &mut $crate::policy::schema::Schema) -> serde_json::Value {
                    schema.define_once($title, || Self::PATTERN.schema())
                }

                fn read(
                    node: &$crate::policy::yaml::Node,
                    reader: &mut $crate::policy::read::Reader,
                ) -> Option<Self> {
                    $crate::policy::read::read_text(node, &Self::PATTERN, Self::regex(), reader)
                        .map(|scalar| Self(scalar.text.clone()))
                }
            }
        )+
    };
}

/// What fits, and what is said of the rest.
pub(crate) struct Pattern {
    /// What it is.
    pub(crate) doc: &'static str,
    /// A regular expression, in what Rust and JavaScript have in common.
    pub(crate) pattern: &'static str,
    /// What is expected, in a few words.
    pub(crate) expected: &'static str,
    pub(crate) code: Code,
    /// What is probably meant by a text that does not fit.
    pub(crate) hint: fn(&str) -> Option<Hint>,
}

/// How to mend a text.
#[derive(Debug, Default)]
pub(crate) struct Hint {
    pub(crate) help: String,
    /// What to write instead, where that is likely.
    pub(crate) replacement: Option<String>,
    /// A code that says more than the pattern's own.
    pub(crate) code: Option<Code>,
}

impl Hint {
    pub(crate) fn new(help: impl Into<String>) -> Self {
        Self { help: help.into(), ..Self::default() }
    }

    pub(crate) fn replacement(mut self, text: impl Into<String>) -> Self {
        self.replacement = Some(text.into());
        self
    }

    pub(crate) const fn code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// Write this.
    pub(crate) fn write(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::new(format!("write `{text}`")).replacement(text)
    }
}

/// No guess is made.
pub(crate) const fn no_hint(_: &str) -> Option<Hint> {
    None
}

impl Pattern {
    pub(crate) fn compile(&self) -> Option<Regex> {
        Regex::new(self.pattern).ok()
    }

    pub(crate) fn schema(&self) -> Json {
        json!({ "description": self.doc.trim(), "type": "string", "pattern": self.pattern })
    }
}

/// A text as it can stand in a list or map on one line.
fn quoted(text: String) -> String {
    if text.contains(['{', '}', '[', ']', ',']) { format!("\"{text}\"") } else { text }
}

/// A text that fits.
pub(crate) fn read_text<'a>(
    node: &'a Node,
    pattern: &Pattern,
    regex: Option<&Regex>,
    reader: &mut Reader,
) -> Option<&'a Scalar> {
    let Data::Scalar(scalar) = &node.data else {
        // `{port}` without quotes is a map to YAML.
        if let [entry] = node.entries()
            && entry.value.is_null()
        {
            let text = format!("\"{{{}}}\"", entry.key);
            let message = format!("{} is expected here, not a map", pattern.expected);
            let diagnostic = Diagnostic::new(Code::WrongType, node.spot.into(), message);
            reader.say(diagnostic.help(format!("braces are quoted: write `{text}`")).replacement(text));
        } else {
            reader.wrong_type(node, pattern.expected);
        }
        return None;
    };
    if scalar.kind == Kind::Null {
        reader.wrong_type(node, pattern.expected);
        return None;
    }
    let fits = regex.is_some_and(|regex| regex.is_match(&scalar.text));
    if fits && scalar.kind == Kind::Text {
        return Some(scalar);
    }
    let said = shown(&scalar.text);
    let diagnostic = match (pattern.hint)(&scalar.text) {
        _ if fits => {
            let message = format!("{} is expected here, not {}", pattern.expected, node.what());
            Diagnostic::new(Code::WrongType, node.spot.into(), message)
                .help(format!("write `\"{said}\"`, with quotes, if the text is meant"))
                .replacement(format!("\"{}\"", scalar.text))
        }
        Some(hint) => {
            let message = format!("`{said}` is not {}", pattern.expected);
            let code = hint.code.unwrap_or(pattern.code);
            let mut diagnostic = Diagnostic::new(code, node.spot.into(), message).help(hint.help);
            diagnostic.replacement = hint.replacement.map(quoted);
            diagnostic
        }
        None if scalar.kind == Kind::Text => {
            Diagnostic::new(pattern.code, node.spot.into(), format!("`{said}` is not {}", pattern.expected))
                .help(pattern.doc.trim())
        }
        None => {
            let message = format!("{} is expected here, not {}", pattern.expected, node.what());
            Diagnostic::new(Code::WrongType, node.spot.into(), message)
        }
    };
    reader.say(diagnostic);
    None
}
