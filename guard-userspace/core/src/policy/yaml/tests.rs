use std::time::{Duration, Instant};

use super::*;
use crate::policy::{Bounds, Source};

fn read(text: &str) -> (Vec<Node>, Vec<&'static str>) {
    let parsed = parse(Source { name: "", bytes: text.as_bytes() }, 0, &Bounds::default());
    (parsed.documents, parsed.diagnostics.iter().map(|one| one.code.name()).collect())
}

/// What stands at each scalar's place in the file.
fn spots(text: &str, node: &Node, out: &mut Vec<String>) {
    match &node.data {
        Data::Scalar(_) => out.push(text[node.spot.start as usize..node.spot.end as usize].to_owned()),
        Data::List(nodes) => nodes.iter().for_each(|node| spots(text, node, out)),
        Data::Map(entries) => {
            for entry in entries {
                out.push(text[entry.spot.start as usize..entry.spot.end as usize].to_owned());
                spots(text, &entry.value, out);
            }
        }
    }
}

#[test]
fn nodes_know_where_they_stand() {
    for newline in ["\n", "\r\n"] {
        let text = "# ü\na: b  # c\n\"ké\": [x, 'y z' , \"w\"]\nblock:\n  in:  7\n---\nname: | \n  text\n"
            .replace('\n', newline);
        let (documents, codes) = read(&text);
        assert_eq!(codes, [""; 0]);
        let mut found = Vec::new();
        documents.iter().for_each(|node| spots(&text, node, &mut found));
        assert_eq!(
            found[..11],
            ["a", "b", "\"ké\"", "x", "'y z'", "\"w\"", "block", "in", "7", "name", found[10].as_str()]
        );
        assert_eq!(found.get(10).map(String::as_str), Some("text"));
    }
    // A byte order mark is no part of the text.
    let text = "\u{feff}a: bc\n";
    let (documents, codes) = read(text);
    let mut found = Vec::new();
    documents.iter().for_each(|node| spots(text, node, &mut found));
    assert_eq!((found, codes), (vec!["a".to_owned(), "bc".to_owned()], Vec::new()));
}

#[test]
fn an_error_in_one_document_does_not_hide_the_next() {
    let (documents, codes) = read("a: [\n---\nb: c\n---\nd: {\n---\ne: f\n");
    assert_eq!(codes, ["syntax", "syntax"]);
    assert_eq!(
        documents.iter().map(|node| node.json().to_string()).collect::<Vec<_>>(),
        ["{\"b\":\"c\"}", "{\"e\":\"f\"}"]
    );
}

#[test]
fn what_is_refused() {
    for (text, code) in [
        ("a: &x b", "anchor"),
        ("a: *x", "alias"),
        ("a: !!str b", "tag"),
        ("<<: b", "merge-key"),
        ("a: b\na: c", "duplicate-key"),
        ("'a': b\n\"a\": c", "duplicate-key"),
        ("[a]: b", "key"),
        ("? \n: b", "key"),
        ("a:\n\tb: c", "syntax"),
        ("a: b: c", "syntax"),
        ("a: \"b", "syntax"),
        ("a: \"\\q\"", "syntax"),
    ] {
        let (_, codes) = read(text);
        assert_eq!(codes.first(), Some(&code), "{text}: {codes:?}");
    }
    assert_eq!(read(&"[".repeat(17)).1, ["depth"]);
    assert_eq!(read(&"- ".repeat(100)).1, ["depth"]);
    for empty in ["", "# only a comment\n", "---\n---\n", "\n\n"] {
        let (documents, codes) = read(empty);
        assert_eq!((documents.len(), codes.len()), (0, 0), "{empty:?}");
    }
}

/// Nothing takes long, however odd.
#[test]
fn odd_files_are_read_in_time() {
    let full = Bounds::default().bytes / 8;
    let fill = |part: &str| part.repeat(full / part.len());
    let odd = [
        fill("["),
        fill("- "),
        fill("{a: "),
        fill("a: b\n"),
        fill("? a\n"),
        fill("\"\n"),
        fill("'"),
        fill("a:"),
        fill("---\n"),
        fill("[\n---\n"),
        fill("&a "),
        fill("*a, "),
        fill("!!"),
        fill("# x\n"),
        fill("  \n"),
        fill("%YAML 1.2\n---\n"),
        fill("| \n"),
        fill("a "),
        fill("ü"),
        fill(", "),
        format!("a: [{}]", fill("b,").trim_end_matches(',')),
    ];
    let begin = Instant::now();
    let mut slowest = (Duration::ZERO, String::new());
    for text in &odd {
        let before = begin.elapsed();
        let _ = read(text);
        let took = begin.elapsed().saturating_sub(before);
        if took > slowest.0 {
            slowest = (took, text.chars().take(12).collect());
        }
    }
    // Without optimisation, on a busy machine, linear time is a few seconds; anything else would be hours.
    assert!(slowest.0 < Duration::from_secs(60), "{slowest:?}");
}
