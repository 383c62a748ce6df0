//! Diagnostics as a compiler shows them, and as JSON.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use guard_core::policy::{Diagnostic, Place, Position, Severity};
use serde_json::{Value, json};

use super::files::Text;
use crate::show::escape;

/// Lines shown of a place that spans many.
const LINES: usize = 8;

/// Columns of the excerpt; longer lines are cut around the place.
const WIDTH: usize = 120;

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the policies can be used nevertheless.
    pub severity: Severity,
    /// The rule's stable name.
    pub code: &'static str,
    /// What is wrong, where, and how to mend it.
    pub diagnostic: Diagnostic,
}

impl From<Diagnostic> for Finding {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { severity: diagnostic.severity(), code: diagnostic.code.name(), diagnostic }
    }
}

/// As text for people; with colours if wanted.
#[must_use]
pub fn text(texts: &[Text], findings: &[Finding], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH);
    let mut out = String::new();
    for finding in findings {
        out.push_str(&one(&renderer, texts, finding));
        out.push_str("\n\n");
    }
    out
}

fn one(renderer: &Renderer, texts: &[Text], finding: &Finding) -> String {
    let Finding { severity, code, diagnostic } = finding;
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(escape::message(&diagnostic.message)).id(*code);
    let mut excerpts = vec![Excerpt::new(texts, &diagnostic.place)];
    for (place, _) in &diagnostic.related {
        if !excerpts.iter().flatten().any(|excerpt| excerpt.holds(place)) {
            excerpts.push(Excerpt::new(texts, place));
        }
    }
    let mut group = Group::with_title(title);
    for excerpt in excerpts.iter().flatten() {
        let mut snippet =
            Snippet::source(excerpt.text.as_str()).line_start(excerpt.first_line).path(excerpt.name.as_str());
        if let Some(span) = excerpt.span(&diagnostic.place) {
            let label = Some(diagnostic.label.as_str()).filter(|label| !label.is_empty());
            snippet =
                snippet.annotation(AnnotationKind::Primary.span(span).label(label.map(escape::message)));
        }
        for (place, label) in &diagnostic.related {
            if let Some(span) = excerpt.span(place) {
                snippet =
                    snippet.annotation(AnnotationKind::Context.span(span).label(escape::message(label)));
            }
        }
        group = group.element(snippet);
    }
    let mut groups = vec![group];
    let help = diagnostic.help.as_deref().map(escape::message);
    let excerpt = excerpts.iter().flatten().next();
    let patch = diagnostic.replacement.as_deref().zip(excerpt);
    match patch.and_then(|(new, excerpt)| Some((new, excerpt, excerpt.span(&diagnostic.place)?))) {
        Some((new, excerpt, span)) => {
            let title = Level::HELP.secondary_title(help.unwrap_or_else(|| "write this instead".to_owned()));
            let snippet = Snippet::source(excerpt.text.as_str())
                .line_start(excerpt.first_line)
                .path(excerpt.name.as_str())
                .patch(Patch::new(span, escape::message(new)));
            groups.push(title.element(snippet));
        }
        None => {
            if let Some(help) = help
                && let Some(last) = groups.pop()
            {
                groups.push(last.element(Level::HELP.message(help)));
            }
        }
    }
    renderer.render(&groups)
}

/// The lines around a place: the whole file would be searched anew for each of its diagnostics.
#[derive(Debug)]
struct Excerpt {
    file: usize,
    name: String,
    /// Fit for a terminal, byte by byte as long as in the file.
    text: String,
    /// Which bytes of the file it is.
    range: Range<usize>,
    /// Number of its first line, from 1.
    first_line: usize,
    /// Whether the file ends with it.
    is_last: bool,
}

impl Excerpt {
    fn new(texts: &[Text], place: &Place) -> Option<Self> {
        let file = texts.get(place.file)?;
        let bytes = &file.bytes;
        let first = place.range.start.min(bytes.len());
        let before = bytes.get(..first)?;
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let mut end = start;
        for line in bytes.get(start..)?.split_inclusive(|&byte| byte == b'\n').take(LINES) {
            end += line.len();
            if end >= place.range.end {
                break;
            }
        }
        let first_line = Position::of(bytes, start).line;
        let text = visible(bytes.get(start..end)?);
        Some(Self {
            file: place.file,
            name: file.name.clone(),
            text,
            range: start..end,
            first_line,
            is_last: end == bytes.len(),
        })
    }

    fn holds(&self, place: &Place) -> bool {
        self.file == place.file && self.range.start <= place.range.start && place.range.end <= self.range.end
    }

    /// The place within the excerpt, cut at its end; `None` if it begins elsewhere.
    fn span(&self, place: &Place) -> Option<Range<usize>> {
        let inside = |at: usize| at.checked_sub(self.range.start).filter(|at| *at <= self.text.len());
        let start = inside(place.range.start).filter(|at| *at < self.text.len() || self.is_last)?;
        if self.file != place.file {
            return None;
        }
        Some(start..inside(place.range.end).unwrap_or(self.text.len()).max(start))
    }
}

/// Bytes fit for a terminal, each replaced by one byte.
fn visible(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if escape::is_hidden(letter) && letter != '\n' && letter != '\t' && letter != '\r' {
                out.extend(std::iter::repeat_n('?', letter.len_utf8()));
            } else {
                out.push(letter);
            }
        }
        out.extend(std::iter::repeat_n('?', chunk.invalid().len()));
    }
    out
}

/// As JSON: file, line, column, end, severity, code, message, label, help, replacement, related.
#[must_use]
pub fn json(texts: &[Text], finding: &Finding) -> Value {
    let Finding { severity, code, diagnostic } = finding;
    let mut object = place(texts, &diagnostic.place);
    let related: Vec<Value> = diagnostic
        .related
        .iter()
        .map(|(at, label)| {
            let mut object = place(texts, at);
            object.insert("label".to_owned(), label.as_str().into());
            Value::Object(object)
        })
        .collect();
    let severity = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let rest = json!({
        "severity": severity,
        "code": code,
        "message": diagnostic.message,
        "label": diagnostic.label,
        "help": diagnostic.help,
        "replacement": diagnostic.replacement,
        "related": related,
    });
    if let Value::Object(rest) = rest {
        object.extend(rest);
    }
    Value::Object(object)
}

fn place(texts: &[Text], place: &Place) -> serde_json::Map<String, Value> {
    let (name, bytes) = texts.get(place.file).map_or(("", [].as_slice()), |text| (&text.name, &text.bytes));
    let (from, to) = (Position::of(bytes, place.range.start), Position::of(bytes, place.range.end));
    let mut object = serde_json::Map::new();
    object.insert("file".to_owned(), name.into());
    object.insert("line".to_owned(), from.line.into());
    object.insert("column".to_owned(), from.column.into());
    object.insert("end_line".to_owned(), to.line.into());
    object.insert("end_column".to_owned(), to.column.into());
    object
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use guard_core::policy::Code;

    use super::*;

    fn file(bytes: &[u8]) -> Vec<Text> {
        vec![Text { path: PathBuf::from("p.yaml"), name: "p.yaml".to_owned(), bytes: bytes.to_vec() }]
    }

    fn at(range: Range<usize>) -> Place {
        Place { file: 0, range }
    }

    #[test]
    fn a_diagnostic_shows_the_place_and_the_remedy() {
        let texts = file(b"version: processguard/v1\nservice: a\nrestat: {}\n");
        let diagnostic = Diagnostic::new(Code::UnknownKey, at(36..42), "a service has no key `restat`")
            .label("not known here")
            .related(at(25..32), "in this document")
            .help("did you mean `restart`?")
            .replacement("restart");
        let shown = text(&texts, &[diagnostic.clone().into()], false);
        let expected = "\
error[unknown-key]: a service has no key `restat`
 --> p.yaml:3:1
  |
3 | restat: {}
  | ^^^^^^ not known here
  |
 ::: p.yaml:2:1
  |
2 | service: a
  | ------- in this document
  |
help: did you mean `restart`?
  |
3 | restart: {}
  |      +

";
        assert_eq!(shown, expected);
        assert!(text(&texts, &[diagnostic.clone().into()], true).contains('\u{1b}'));
        let value = json(&texts, &diagnostic.clone().into());
        assert_eq!(
            (&value["line"], &value["column"], &value["end_column"]),
            (&3.into(), &1.into(), &7.into())
        );
        assert_eq!(value["related"][0]["line"], 2);
        assert_eq!(value["code"], "unknown-key");
    }

    #[test]
    fn nothing_in_a_file_reaches_the_terminal_raw() {
        let texts = file("a: \u{1b}[2J\u{202e}\u{9b}x\n".as_bytes());
        let diagnostic =
            Diagnostic::new(Code::Syntax, at(3..4), "bad \u{1b}[31m").label("\u{7}").help("\u{202e}");
        let shown = text(&texts, &[diagnostic.into()], false);
        assert!(!shown.chars().any(|letter| escape::is_hidden(letter) && letter != '\n'), "{shown:?}");
    }

    #[test]
    fn any_place_in_any_bytes_is_shown() {
        let texts = file(b"\xff\xfe\n\xc3");
        for start in 0..6 {
            for end in start..7 {
                let diagnostic = Diagnostic::new(Code::NotText, at(start..end), "x");
                assert!(text(&texts, &[diagnostic.clone().into()], false).contains("not-text"));
                assert_eq!(json(&texts, &diagnostic.clone().into())["code"], "not-text");
            }
        }
        let nowhere = Diagnostic::new(Code::NotText, Place { file: 9, range: 0..1 }, "x");
        assert!(text(&texts, &[nowhere.into()], false).contains("error[not-text]: x"));
    }

    #[test]
    fn a_place_over_many_lines_is_cut() {
        let texts = file("line\n".repeat(1000).as_bytes());
        let diagnostic = Diagnostic::new(Code::Syntax, at(0..5000), "x");
        assert!(text(&texts, &[diagnostic.into()], false).lines().count() < 20);
    }
}
