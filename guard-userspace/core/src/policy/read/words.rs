//! Words of which one must stand.

use serde_json::{Value as Json, json};

use super::Reader;
use super::shape::{listed, suggest};
use crate::policy::yaml::{Data, Kind, Node, shown};
use crate::policy::{Code, Diagnostic};

/// Describes which words a type is written as: its reader and its JSON Schema.
///
/// ```text
/// words! {
///     model::Mode {
///         /// What it means.
///         "act" = Self::Act,
///     }
/// }
/// ```
macro_rules! words {
    ($ty:ty { $($(#[doc = $doc:literal])+ $word:literal = $value:expr,)+ }) => {
        impl $crate::policy::read::Value for $ty {
            fn schema(_: &mut $crate::policy::schema::Schema) -> serde_json::Value {
                $crate::policy::read::Word::schema(&[$($crate::policy::read::Word {
                    word: $word,
                    doc: concat!($($doc),+),
                }),+])
            }

            fn read(
                node: &$crate::policy::yaml::Node,
                reader: &mut $crate::policy::read::Reader,
            ) -> Option<Self> {
                match $crate::policy::read::read_word(node, &[$($word),+], reader)? {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
        }
    };
}

/// A word and what it means.
pub(crate) struct Word {
    pub(crate) word: &'static str,
    pub(crate) doc: &'static str,
}

impl Word {
    pub(crate) fn schema(words: &[Self]) -> Json {
        let meanings: Vec<&str> = words.iter().map(|word| word.doc.trim()).collect();
        let words: Vec<&str> = words.iter().map(|word| word.word).collect();
        // What editors show beside each word.
        json!({ "enum": words, "enumDescriptions": meanings })
    }
}

/// Which of these words stands there.
pub(crate) fn read_word(node: &Node, words: &[&'static str], reader: &mut Reader) -> Option<&'static str> {
    let Data::Scalar(scalar) = &node.data else {
        reader.wrong_type(node, &listed(words));
        return None;
    };
    if scalar.kind == Kind::Null {
        reader.wrong_type(node, &listed(words));
        return None;
    }
    let word = words.iter().find(|word| ***word == *scalar.text && scalar.kind == Kind::Text).copied();
    if word.is_none() {
        let message = format!("{} is expected here, not `{}`", listed(words), shown(&scalar.text));
        let diagnostic = Diagnostic::new(Code::UnknownWord, node.spot.into(), message);
        reader.say(suggest(diagnostic, &scalar.text, words));
    }
    word
}
