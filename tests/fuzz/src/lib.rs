//! What the fuzzers run: each target takes any bytes, and fails by panicking.
//!
//! A new target is a module with a `run`, a line in [`TARGETS`] and seeds in `corpus/NAME`. An
//! input that once failed goes into the corpus: `cargo test` runs all of them, without a fuzzer.

pub mod decoder;
pub mod json;
pub mod policy;
pub mod recording;
mod script;
pub mod stream;

/// Something that any bytes are thrown at.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Runs it on one input. Panics if what must hold does not.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "decoder", run: decoder::run },
    Target { name: "stream", run: stream::run },
    Target { name: "json", run: json::run },
    Target { name: "recording", run: recording::run },
    Target { name: "policy", run: policy::run },
];
