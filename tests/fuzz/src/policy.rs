//! Policies: whatever the bytes, they are read in bounded time, and what is said of them can be shown.

use std::time::{Duration, Instant};

use guard_core::policy::{Diagnostic, Place, Position, Severity, Source, load};
use guard_userspace::policy::files::Text;
use guard_userspace::policy::render::{self, Finding};
use guard_userspace::show::escape::is_hidden;

/// A second for each of so many bytes, and one more: hundreds of times what it takes, so that only what grows faster
/// than its input is found.
const BYTES_PER_SECOND: u64 = 4096;

/// Reads the bytes as two files. Every place of a diagnostic lies within its file, between characters; policies that
/// have no error make a set; what is shown is visible text.
pub fn run(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    let names = ["all", "first", "second"];
    check(&[Source { name: names[0], bytes: data }]);
    check(&[Source { name: names[1], bytes: first }, Source { name: names[2], bytes: second }]);
}

fn check(files: &[Source<'_>]) {
    let begin = Instant::now();
    let loaded = load(files);
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    let most = Duration::from_secs(1 + bytes as u64 / BYTES_PER_SECOND);
    assert!(begin.elapsed() < most, "{bytes} bytes took {:?}", begin.elapsed());
    for diagnostic in &loaded.diagnostics {
        for place in places(diagnostic) {
            let file = files.get(place.file).map(|file| file.bytes).unwrap_or_default();
            assert!(file.get(place.range.clone()).is_some(), "{diagnostic:?} lies outside");
            if let Ok(text) = std::str::from_utf8(file) {
                assert!(text.get(place.range.clone()).is_some(), "{diagnostic:?} cuts a character");
            }
            assert!(Position::of(file, place.range.start).line >= 1);
        }
    }
    let refused = loaded.diagnostics.iter().any(|one| one.severity() == Severity::Error);
    assert_eq!(loaded.set.is_none(), refused);
    if let Some(set) = &loaded.set {
        assert_eq!(set.services.len(), loaded.services.len());
        assert!(set.services.is_sorted_by(|one, other| one.name < other.name));
    }
    let texts: Vec<Text> = files.iter().map(text).collect();
    let findings: Vec<Finding> = loaded.diagnostics.into_iter().map(Finding::from).collect();
    let shown = render::text(&texts, &findings, false);
    assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown:?}");
    for finding in &findings {
        let line = render::json(&texts, finding).to_string();
        assert!(!line.chars().any(|c| c == '\n'), "{line:?}");
    }
}

fn places(diagnostic: &Diagnostic) -> impl Iterator<Item = &Place> {
    std::iter::once(&diagnostic.place).chain(diagnostic.related.iter().map(|(place, _)| place))
}

fn text(file: &Source<'_>) -> Text {
    Text { path: file.name.into(), name: file.name.to_owned(), bytes: file.bytes.to_vec() }
}
