//! Text to nodes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{Data, Entry, Kind, Node, Scalar, Spot, resolve};
use crate::policy::read::MOST;
use crate::policy::{Bounds, Code, Diagnostic, Place, Source};

/// What was read of a file.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The documents that could be read. Empty ones are left out.
    pub(crate) documents: Vec<Node>,
    /// What was wrong, also in those documents.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// How often reading begins anew behind an error in the syntax. Each beginning looks at the rest of the file.
const BEGINNINGS: usize = 20;

/// Reads a file. Behind an error in the syntax, reading goes on with the next document.
pub(crate) fn parse(source: Source<'_>, file: usize, bounds: &Bounds) -> Parsed {
    let mut parsed = Parsed::default();
    let text = match check(source, file, bounds) {
        Ok(text) => text,
        Err(diagnostic) => {
            parsed.diagnostics.push(*diagnostic);
            return parsed;
        }
    };
    let mut begin = 0;
    for _ in 0..BEGINNINGS {
        let Some(rest) = text.get(begin..) else { break };
        let read = whatever_happens(|| {
            let mut reader = Reader::new(rest, begin, file, bounds.depth);
            let mut documents = Vec::new();
            let end = reader.documents(&mut documents);
            (documents, reader.diagnostics, end)
        });
        let Some((mut documents, mut diagnostics, end)) = read else {
            let message = "the reader of YAML gave up on this: a mistake of its own";
            let help = "write it in another way, and report this file: the reader must not fail on any text";
            let place = Place { file, range: begin..begin };
            parsed.diagnostics.push(Diagnostic::new(Code::Syntax, place, message).help(help));
            break;
        };
        parsed.documents.append(&mut documents);
        parsed.diagnostics.append(&mut diagnostics);
        let Err(stop) = end else { break };
        // Documents are independent: an error in one does not hide those of the next.
        let from = stop.max(begin + 1).saturating_sub(1);
        let Some(next) = text.get(from..).and_then(|behind| behind.find("\n---")) else { break };
        begin = from + next + 1;
    }
    parsed
}

/// Runs code of others on bytes of others: a panic in it must not end a daemon that keeps services. `None`: it panicked.
fn whatever_happens<T>(read: impl FnOnce() -> T) -> Option<T> {
    // Nothing that it had in hand is used afterwards.
    catch_unwind(AssertUnwindSafe(read)).ok()
}

/// Whether it is text, and not too much of it.
fn check<'a>(source: Source<'a>, file: usize, bounds: &Bounds) -> Result<&'a str, Box<Diagnostic>> {
    let fault =
        |code, at: usize, message: String| Diagnostic::new(code, Place { file, range: at..at }, message);
    if source.bytes.len() > bounds.bytes {
        let message = format!("this file is larger than {} KiB", bounds.bytes / 1024);
        let help = "divide it: files can hold any number of services, and a directory any number of files";
        return Err(Box::new(fault(Code::FileSize, 0, message).help(help)));
    }
    let text = std::str::from_utf8(source.bytes).map_err(|error| {
        let at = error.valid_up_to();
        let help = "policies are text in UTF-8: is this the right file?";
        Box::new(fault(Code::NotText, at, "this is not UTF-8 from here on".to_owned()).help(help))
    })?;
    if let Some(at) = text.find('\0') {
        let help = "policies are text: is this the right file?";
        return Err(Box::new(fault(Code::NotText, at, "there is a zero byte here".to_owned()).help(help)));
    }
    Ok(text)
}

/// A map or a list that is not yet complete.
struct Open {
    node: Node,
    /// Of a map: the key whose value comes next, and keys by their text.
    key: Option<(Arc<str>, Spot)>,
    seen: FxHashMap<Arc<str>, Spot>,
    /// Of a map: the value that comes next belongs to no key that can be kept.
    skip: bool,
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    text: &'a str,
    /// Where the text begins in the file.
    base: usize,
    file: usize,
    /// Maps and lists inside each other at most.
    depth: usize,
    /// Bytes at which characters begin, if these are not the same numbers.
    characters: Option<Vec<usize>>,
    open: Vec<Open>,
    root: Option<Node>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, base: usize, file: usize, depth: usize) -> Self {
        // A byte order mark is a character of its own to the scanner.
        let characters = (!text.is_ascii()).then(|| text.char_indices().map(|(byte, _)| byte).collect());
        Self {
            events: Parser::new_from_str(text),
            text,
            base,
            file,
            depth,
            characters,
            open: Vec::new(),
            root: None,
            diagnostics: Vec::new(),
        }
    }

    /// Reads documents until the end of the text. `Err`: where the syntax is wrong, as a byte of the file.
    fn documents(&mut self, into: &mut Vec<Node>) -> Result<(), usize> {
        while let Some(event) = self.events.next_event() {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentEnd => into.extend(self.root.take().filter(|root| !root.is_null())),
                event => self.event(event, span)?,
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'a>, span: Span) -> Result<(), usize> {
        let spot = self.spot(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let spot = self.trimmed(spot);
                self.refuse_extras(spot, anchor, tag.is_some());
                let kind = if style == ScalarStyle::Plain { resolve(&text) } else { Kind::Text };
                let scalar = Scalar { text: (*text).into(), kind };
                self.value(Node { spot, name: spot, data: Data::Scalar(scalar) });
            }
            Event::Alias(_) => {
                let message = "aliases such as `*name` are not part of the language";
                let help = "write the value here; what many services share goes into a `defaults:` document";
                self.say(Diagnostic::new(Code::Alias, spot.into(), message).help(help));
                let nothing = Scalar { text: "".into(), kind: Kind::Null };
                self.value(Node { spot, name: spot, data: Data::Scalar(nothing) });
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(spot, anchor, tag.is_some());
                self.begin(spot, Data::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(spot, anchor, tag.is_some());
                self.begin(spot, Data::Map(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(spot),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// A scalar's part without the spaces behind it, which the scanner counts in.
    fn trimmed(&self, spot: Spot) -> Spot {
        let bytes = |at: u32| (at as usize).checked_sub(self.base);
        let text = bytes(spot.start).zip(bytes(spot.end)).and_then(|(start, end)| self.text.get(start..end));
        let kept = text.map_or(0, |text| text.trim_ascii_end().len());
        Spot { end: spot.start + u32::try_from(kept).unwrap_or_default(), ..spot }
    }

    /// Anchors and tags: those stand before the first space.
    fn refuse_extras(&mut self, spot: Spot, anchor: usize, tag: bool) {
        if anchor == 0 && !tag {
            return;
        }
        let begin = (spot.start as usize).checked_sub(self.base);
        let rest = begin.and_then(|begin| self.text.get(begin..)).unwrap_or_default();
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let end = spot.start.saturating_add(u32::try_from(word).unwrap_or_default());
        let spot = Spot { end: spot.end.min(end), ..spot };
        if anchor != 0 {
            let message = "anchors such as `&name` are not part of the language";
            let help = "what many services share goes into a `defaults:` document";
            self.say(Diagnostic::new(Code::Anchor, spot.into(), message).help(help));
        }
        if tag {
            let message = "tags such as `!!str` are not part of the language";
            let help = "leave it out; a text that looks like a number is quoted";
            self.say(Diagnostic::new(Code::Tag, spot.into(), message).help(help));
        }
    }

    fn begin(&mut self, spot: Spot, data: Data) -> Result<(), usize> {
        if self.open.len() >= self.depth {
            let message = format!("more than {} maps and lists inside each other", self.depth);
            let help = "no policy needs so many: is a bracket missing?";
            self.say(Diagnostic::new(Code::Depth, spot.into(), message).help(help));
            return Err(spot.start as usize);
        }
        let node = Node { spot, name: spot.begin(), data };
        self.open.push(Open { node, key: None, seen: FxHashMap::default(), skip: false });
        Ok(())
    }

    fn end(&mut self, spot: Spot) {
        let Some(mut open) = self.open.pop() else { return };
        // The end of a block is found where the next thing begins: it ends with its last value.
        let last = match &open.node.data {
            Data::List(nodes) => nodes.last().map(|node| node.spot.end),
            Data::Map(entries) => entries.last().map(|entry| entry.value.spot.end),
            Data::Scalar(_) => None,
        };
        let flow = self.byte(open.node.spot).is_some_and(|first| matches!(first, b'[' | b'{'));
        open.node.spot.end = if flow { spot.end } else { last.unwrap_or(spot.end) }.max(open.node.spot.start);
        self.value(open.node);
    }

    /// The first byte of a part.
    fn byte(&self, spot: Spot) -> Option<u8> {
        self.text.as_bytes().get((spot.start as usize).checked_sub(self.base)?).copied()
    }

    /// A complete value, or a key.
    fn value(&mut self, mut node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.node.data {
            Data::List(nodes) => nodes.push(node),
            Data::Map(_) if open.skip => open.skip = false,
            Data::Map(entries) => match open.key.take() {
                Some((key, spot)) => {
                    node.name = spot;
                    entries.push(Entry { key, spot, value: node });
                }
                None => match key(&node, &open.seen) {
                    Ok(key) => {
                        open.seen.insert(key.clone(), node.spot);
                        open.key = Some((key, node.spot));
                    }
                    Err(diagnostic) => {
                        open.skip = true;
                        self.say(*diagnostic);
                    }
                },
            },
            Data::Scalar(_) => {}
        }
    }

    /// Tells something, unless nobody reads on.
    fn say(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() <= MOST {
            self.diagnostics.push(diagnostic);
        }
    }

    fn syntax(&mut self, error: &ScanError) -> usize {
        let at = self.at(error.marker().index());
        let (message, help) = explained(error.info());
        let place = Place { file: self.file, range: at..at };
        let code = if error.info().contains("unknown anchor") { Code::Alias } else { Code::Syntax };
        let mut diagnostic = Diagnostic::new(code, place, message);
        diagnostic.help = help.map(str::to_owned);
        self.say(diagnostic);
        at
    }

    fn spot(&self, span: Span) -> Spot {
        let (start, end) = (self.at(span.start.index()), self.at(span.end.index()));
        let number = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
        Spot { file: number(self.file), start: number(start), end: number(end.max(start)) }
    }

    /// The byte of the file at which a character of the text begins.
    fn at(&self, character: usize) -> usize {
        let byte = match &self.characters {
            Some(bytes) => bytes.get(character).copied().unwrap_or(self.text.len()),
            None => character.min(self.text.len()),
        };
        self.base + byte
    }
}

/// The text of a key that can be kept.
fn key(node: &Node, seen: &FxHashMap<Arc<str>, Spot>) -> Result<Arc<str>, Box<Diagnostic>> {
    let Data::Scalar(scalar) = &node.data else {
        let message = format!("a key is a word, not {}", node.what());
        return Err(Box::new(Diagnostic::new(Code::Key, node.spot.into(), message)));
    };
    if scalar.kind == Kind::Null {
        let message = "a key is missing before this colon";
        return Err(Box::new(Diagnostic::new(Code::Key, node.spot.into(), message)));
    }
    if scalar.text.as_ref() == "<<" {
        let message = "merge keys (`<<`) are not part of the language";
        let help = "what many services share goes into a `defaults:` document";
        return Err(Box::new(Diagnostic::new(Code::MergeKey, node.spot.into(), message).help(help)));
    }
    if let Some(first) = seen.get(&scalar.text) {
        let message = format!("the key `{}` stands here twice", shown(&scalar.text));
        let diagnostic = Diagnostic::new(Code::DuplicateKey, node.spot.into(), message)
            .label("again here")
            .related((*first).into(), "first here")
            .help("remove one of them: which one would hold is not obvious to those who read it");
        return Err(Box::new(diagnostic));
    }
    Ok(scalar.text.clone())
}

/// A text for a message: one line, not too long.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

/// What the library says of an error, in the words of people who write policies; and how to mend it.
fn explained(info: &str) -> (String, Option<&'static str>) {
    const KNOWN: &[(&str, &str, &str)] = &[
        (
            "unknown anchor",
            "aliases such as `*name` are not part of the language",
            "a text that begins with `*` is quoted",
        ),
        (
            "did not find expected key",
            "this line does not fit the lines above",
            "is it indented like its neighbours, and are all quotes and brackets closed?",
        ),
        (
            "unexpected end of stream",
            "a quote is not closed",
            "each text ends with the quote that it begins with",
        ),
        (
            "unknown escape",
            "this is no escape sequence",
            "in double quotes a backslash is written twice; in single quotes it is itself",
        ),
        ("tab", "a tab is used for indentation", "YAML is indented with spaces alone"),
        (
            "mapping values are not allowed in this context",
            "a colon is not allowed here",
            "is the line indented too far, or a text with a colon not quoted?",
        ),
        (
            "simple key expect",
            "a colon is missing behind this key",
            "a key is followed by `: ` and its value",
        ),
        ("while parsing a flow", "a bracket is not closed", "count `[` and `{` against `]` and `}`"),
    ];
    for (part, message, help) in KNOWN {
        if info.contains(part) {
            return ((*message).to_owned(), Some(help));
        }
    }
    (format!("this is not YAML: {info}"), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_while_reading_is_caught() {
        assert_eq!(whatever_happens(|| 1), Some(1));
        assert_eq!(whatever_happens(|| -> u8 { panic!("as the reader would") }), None);
    }
}
