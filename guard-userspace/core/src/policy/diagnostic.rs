//! What is wrong with a policy, where, and how to mend it.
//!
//! A [`Diagnostic`] is data: the shell renders it with the excerpt, or as JSON. Its [`Code`] is stable, its texts are not.

use std::cmp::Ordering;
use std::ops::Range;

mod code;

pub use code::Code;

/// A file to read: what it is called, and all its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// As the operator named it; for messages alone.
    pub name: &'a str,
    /// What it holds. It may be cut one byte behind [`super::Bounds::bytes`]: it is refused then in any case.
    pub bytes: &'a [u8],
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which file: its index among those given.
    pub file: usize,
    /// Which bytes of it, on the borders of characters. Empty where something is missing.
    pub range: Range<usize>,
}

/// Whether a policy with it can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can, but look at this.
    Warning,
    /// It cannot.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// Which rule was broken.
    pub code: Code,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What to say at the place, in a few words; empty: nothing.
    pub label: String,
    /// Other places that have to do with it, and what to say there.
    pub related: Vec<(Place, String)>,
    /// How to mend it.
    pub help: Option<String>,
    /// What to write instead of the text at `place`, where that is certain or likely.
    pub replacement: Option<String>,
}

impl Diagnostic {
    /// Without a label, related places and help.
    #[must_use]
    pub fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            place,
            label: String::new(),
            related: Vec::new(),
            help: None,
            replacement: None,
        }
    }

    /// Says this at the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Says this at another place.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push((place, label.into()));
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to write at the place instead.
    #[must_use]
    pub fn replacement(mut self, text: impl Into<String>) -> Self {
        self.replacement = Some(text.into());
        self
    }

    /// Whether a policy with it can be used.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// The order in which they are shown: by file and place, whatever was found first.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |one: &Self| (one.place.file, one.place.range.start, one.place.range.end, one.code);
        key(self).cmp(&key(other)).then_with(|| self.message.cmp(&other.message))
    }
}

/// A place as people count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Position {
    /// Of a byte of a text. Bytes that are no UTF-8 count as one character for each faulty sequence.
    #[must_use]
    pub fn of(text: &[u8], byte: usize) -> Self {
        let before = text.get(..byte.min(text.len())).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let last = before.get(start..).unwrap_or_default();
        Self { line, column: String::from_utf8_lossy(last).chars().count() + 1 }
    }
}
