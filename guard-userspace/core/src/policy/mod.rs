//! Policies: what a service is, what healthy means, and what to do when it is not.
//!
//! ```text
//! text -> yaml/ (spanned nodes, bounded) -> read/ (keys, units, all errors) -> model/ (checked, defaults filled in)
//!                                              |                                 |
//!                                              +-> diagnostic.rs                 +-> set.rs (claims, cycles, bounds)
//! ```
//! [`model`] is what the rest of the core works with: whoever holds a [`model::Service`] needs no further checks.

#[macro_use]
pub(crate) mod read;

pub mod config;
pub mod diagnostic;
pub mod diff;
pub mod guard;
pub mod model;
pub mod outline;
pub mod set;

pub(crate) mod language;
pub(crate) mod schema;
pub(crate) mod yaml;

pub use diagnostic::{Code, Diagnostic, Place, Position, Severity, Source};
pub use set::PolicySet;

/// Bounds on what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a file.
    pub bytes: usize,
    /// Maps and lists inside each other.
    pub depth: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 1024 * 1024, depth: 16 }
    }
}

/// What became of some files.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The policies, checked against each other. `None` if there is an error.
    pub set: Option<PolicySet>,
    /// All errors and warnings of all files, in order of file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// Where each service begins (the value of `service:`), in the set's order.
    pub services: Vec<(String, Place)>,
    /// What can be true on one host and false on another: for whoever knows the host.
    pub needs: Vec<Need>,
}

/// Something that a host must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Where it is asked for.
    pub place: Place,
    /// What.
    pub what: Needed,
}

/// What a host must have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Needed {
    User(String),
    Group(String),
    Program(String),
    Directory(String),
    File(String),
}

/// Reads policies, all files as one set. Every error of every file is told.
#[must_use]
pub fn load(files: &[Source<'_>]) -> Loaded {
    load_within(files, &Bounds::default())
}

/// The same, with other bounds.
#[must_use]
pub fn load_within(files: &[Source<'_>], bounds: &Bounds) -> Loaded {
    set::load(files, bounds)
}

/// The JSON Schema of a document, from the same description as the reader.
#[must_use]
pub fn schema() -> serde_json::Value {
    language::document_schema()
}
