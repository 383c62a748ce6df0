//! The language: which keys there are, what they mean, and what must hold between them.
//!
//! Each file describes a part with `keys!`, `words!` and `texts!`, and builds the model from what was read.

pub(crate) mod actions;
mod adopt;
mod checks;
mod cross;
mod document;
pub(crate) mod probes;
mod run;
mod service;
mod signals;
pub(crate) mod texts;

pub(crate) use cross::check_nodes;
pub(crate) use document::{Document, HostKeys, document_schema, read_document, with_defaults};
pub(crate) use service::{ServiceKeys, Version, build, check_parts};
pub(crate) use texts::{AbsolutePath, Argument, Name};
