//! Nodes to values, by a description that is also the JSON Schema.
//!
//! A type that can stand in a policy is a [`Value`]: it reads itself from a node, says what is wrong with it, and describes
//! itself as JSON Schema. Maps with known keys are made by `keys!`, words by `words!`, texts of one pattern by `texts!`: what
//! is written there once is what the reader accepts, what the schema says, and what is suggested for a misspelt key.

#[macro_use]
mod keys;
#[macro_use]
mod words;
#[macro_use]
mod texts;
mod basic;
mod quantities;
mod shape;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value as Json;

pub(crate) use basic::{At, Int, List, Map, MapKey, Nothing, Number, OneOrMany, Text};
pub(crate) use keys::{Field, Key, Placed};
pub(crate) use quantities::{BudgetOf, Duration, MOfN, Percent, Quantity, Rate, Size};
pub(crate) use shape::{Extra, Shape, listed, suggest};
pub(crate) use texts::{Hint, Pattern, no_hint, read_text};
pub(crate) use words::{Word, read_word};

use super::guard::Compiler;
use super::schema::Schema;
use super::yaml::{Node, Spot};
use super::{Code, Diagnostic, Need, Needed, Place};

/// Something that can stand in a policy.
pub(crate) trait Value: Sized {
    /// What is accepted, as JSON Schema.
    fn schema(schema: &mut Schema) -> Json;

    /// Reads it. `None`: something was wrong, and was told.
    fn read(node: &Node, reader: &mut Reader) -> Option<Self>;

    /// What holds where a `defaults:` document says something too.
    fn merge(own: &Node, default: &Node) -> Node {
        let _ = default;
        own.clone()
    }
}

/// What is found out while reading.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// What was wrong.
    diagnostics: Vec<Diagnostic>,
    /// What a host must have.
    pub(crate) needs: Vec<Need>,
    /// In a `defaults:` document nothing has to be there.
    pub(crate) partial: bool,
    /// Compiles conditions.
    pub(crate) guards: Compiler,
    /// How much was told of each file.
    rest: FxHashMap<usize, usize>,
    /// What was told already: a defaults document is read anew for each service.
    said: FxHashSet<Diagnostic>,
}

/// What is told of one file at most: nobody reads more at once.
pub(crate) const MOST: usize = 200;

impl Reader {
    /// Tells something.
    pub(crate) fn say(&mut self, diagnostic: Diagnostic) {
        let rest = self.rest.entry(diagnostic.place.file).or_default();
        if *rest >= MOST {
            *rest += 1;
        } else if self.said.insert(diagnostic.clone()) {
            *rest += 1;
            self.diagnostics.push(diagnostic);
        }
    }

    /// All that was told; and of each file of which there is more, that.
    pub(crate) fn told(&mut self) -> Vec<Diagnostic> {
        let mut told = std::mem::take(&mut self.diagnostics);
        for (file, _) in self.rest.iter().filter(|(_, count)| **count > MOST) {
            let message = format!("this file has more than {MOST} problems: no more are told");
            let last = told.iter().filter(|one| one.place.file == *file).map(|one| one.place.range.end).max();
            let end = last.unwrap_or_default();
            told.push(Diagnostic::new(Code::More, Place { file: *file, range: end..end }, message));
        }
        told.sort_by(Diagnostic::order);
        told
    }

    /// A host must have this.
    pub(crate) fn need(&mut self, at: Spot, what: Needed) {
        self.needs.push(Need { place: at.into(), what });
    }

    /// Another type of value stands there than can.
    pub(crate) fn wrong_type(&mut self, node: &Node, expected: &str) {
        let message = format!("{expected} is expected here, not {}", node.what());
        let mut diagnostic = Diagnostic::new(Code::WrongType, node.spot.into(), message);
        if node.is_null() {
            diagnostic.place = node.name.into();
            diagnostic.label = "nothing stands behind this".to_owned();
        }
        self.say(diagnostic);
    }
}
