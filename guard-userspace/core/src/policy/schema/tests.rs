//! The schema accepts and refuses what the reader does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, iter};

use jsonschema::Validator;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::Value as Json;

use crate::policy::language::{self, Document, ServiceKeys, read_document};
use crate::policy::read::{Reader, Value as _};
use crate::policy::yaml::{Data, Entry, Node, Scalar, Spot, parse, resolve};
use crate::policy::{Bounds, Code, Severity, Source, schema};

/// What no schema can say: how values compare, whether expressions compile, whether names are known.
const BEYOND: &[Code] = &[
    Code::TooLarge,
    Code::Regex,
    Code::Guard,
    Code::GuardSize,
    Code::GuardLoop,
    Code::Bounds,
    Code::ClearSide,
    Code::WideSelector,
    Code::UnknownCheck,
    Code::Impossible,
];

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

/// All files below a directory, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let below = paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    below.collect()
}

/// All documents of all policies, valid or not, and one that says all that can be said.
fn documents() -> Vec<Node> {
    let mut nodes = Vec::new();
    let is_policy = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".yaml") && !name.ends_with(".scenario.yaml")
    };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    for path in files(&policies()).into_iter().chain(files(&tests)).filter(|path| is_policy(path)) {
        let bytes = fs::read(&path).expect("a file");
        let parsed = parse(Source { name: "", bytes: &bytes }, 0, &Bounds::default());
        // Of a document with two values for a key, the reader and the schema may see another one.
        if parsed.diagnostics.is_empty() {
            nodes.extend(parsed.documents);
        }
    }
    nodes
}

/// Whether the reader refuses a document for what a schema can say; `None`: only for other reasons.
fn refused(node: &Node) -> Option<bool> {
    let mut reader = Reader::default();
    match read_document(node, &mut reader) {
        Some(Document::Service(node)) => match ServiceKeys::read(node, &mut reader) {
            Some(keys) => drop(language::build(&keys, &mut reader)),
            None => language::check_parts(node, &mut reader),
        },
        Some(Document::Defaults(_) | Document::Host(_)) | None => {}
    }
    let told = reader.told();
    let errors = told.iter().filter(|one| one.severity() == Severity::Error);
    let (beyond, seen): (Vec<Code>, Vec<Code>) =
        errors.map(|one| one.code).partition(|code| BEYOND.contains(code));
    match (seen.is_empty(), beyond.is_empty()) {
        (false, _) => Some(true),
        (true, true) => Some(false),
        (true, false) => None,
    }
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).expect("a schema")
}

/// Compares reader and schema. `Some`: whether both refuse.
fn agree(validator: &Validator, node: &Node) -> Option<bool> {
    let json = node.json();
    let refused = refused(node)?;
    let errors: Vec<String> =
        validator.iter_errors(&json).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    let said = || {
        let mut reader = Reader::default();
        if let Some(Document::Service(node)) = read_document(node, &mut reader)
            && let Some(keys) = ServiceKeys::read(node, &mut reader)
        {
            language::build(&keys, &mut reader);
        }
        reader.told().iter().map(|one| format!("{}: {}", one.code.name(), one.message)).collect::<Vec<_>>()
    };
    assert_eq!(!errors.is_empty(), refused, "{json:#}\nschema: {errors:#?}\nreader: {:#?}", said());
    Some(refused)
}

#[test]
fn of_all_policies() {
    let validator = validator();
    let verdicts: Vec<bool> = documents().iter().filter_map(|node| agree(&validator, node)).collect();
    assert!(verdicts.iter().filter(|refused| **refused).count() >= 20, "{verdicts:?}");
    assert!(verdicts.iter().filter(|refused| !**refused).count() >= 20, "{verdicts:?}");
}

/// Words that may stand anywhere, and are right somewhere.
const WORDS: &[&str] = &[
    "5",
    "0",
    "-1",
    "1.5",
    "70000",
    "true",
    "null",
    "text",
    "Text with spaces",
    "30s",
    "1h30m",
    "30",
    "5/10m",
    "5/m",
    "400MiB",
    "400M",
    "10MiB/m",
    "25%",
    "3 of 5",
    "SIGTERM",
    "TERM",
    "/srv/app",
    "http://127.0.0.1:80/",
    "127.0.0.1:80",
    "{port}",
    "restart",
    "alert",
    "journal",
    "none",
    "notify",
    "failure",
    "service",
    "instance",
    "log",
    "memory.rss",
    "response.time",
    "number",
    "exits",
    "progress",
    "critical",
    "act",
    "200-299",
    "ready",
    "processguard/v1",
    "{}",
    "[]",
    "[text]",
    "[5, 30s]",
];

/// Keys that may stand anywhere, and are right somewhere.
const KEYS: &[&str] = &[
    "odd",
    "url",
    "after",
    "if_still",
    "timeout",
    "window",
    "check",
    "quantile",
    "causes",
    "above",
    "below",
    "clear_below",
    "http",
    "tcp",
    "exec",
    "json",
    "samples",
    "for",
    "signal",
    "max_size",
    "host",
    "defaults",
    "service",
    "version",
    "on",
];

/// Random numbers that are the same in each run.
struct Dice(TestRng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        use proptest::prelude::Rng as _;
        usize::try_from(self.0.next_u64() % u64::try_from(n.max(1)).expect("small")).expect("small")
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len());
        &all[at]
    }
}

/// Changes one thing somewhere in a document.
fn change(node: &mut Node, dice: &mut Dice) {
    let children = match &node.data {
        Data::Scalar(_) => 0,
        Data::List(nodes) => nodes.len(),
        Data::Map(entries) => entries.len(),
    };
    if children > 0 && dice.below(4) > 0 {
        let at = dice.below(children);
        match &mut node.data {
            Data::List(nodes) => change(&mut nodes[at], dice),
            Data::Map(entries) => change(&mut entries[at].value, dice),
            Data::Scalar(_) => {}
        }
        return;
    }
    let word = Node::plain(dice.of::<&str>(WORDS), Spot::default());
    match &mut node.data {
        Data::Map(entries) if dice.below(3) > 0 => match (dice.below(3), entries.is_empty()) {
            (0, false) => drop(entries.remove(dice.below(children))),
            (1, false) => {
                let key: Arc<str> = (*dice.of(KEYS)).into();
                let at = dice.below(children);
                if entries.iter().all(|entry| entry.key != key) {
                    entries[at].key = key;
                }
            }
            _ => {
                let key: Arc<str> = (*dice.of(KEYS)).into();
                if entries.iter().all(|entry| entry.key != key) {
                    entries.push(Entry { key, spot: Spot::default(), value: word });
                }
            }
        },
        Data::List(nodes) if dice.below(3) > 0 => match dice.below(2) {
            0 if !nodes.is_empty() => drop(nodes.remove(dice.below(children))),
            _ => nodes.push(word),
        },
        Data::Scalar(scalar) if dice.below(6) == 0 => {
            let text: Arc<str> = format!("{}x", scalar.text).into();
            *scalar = Scalar { kind: resolve(&text), text };
        }
        _ => node.data = word.data,
    }
}

/// How many changed documents are compared.
const CHANGED: usize = 2_000;

#[test]
fn of_changed_policies() {
    let validator = validator();
    let documents = documents();
    let seed = [7; 32];
    let mut dice = Dice(TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..CHANGED {
        let mut node = dice.of(&documents).clone();
        for _ in 0..=dice.below(2) {
            change(&mut node, &mut dice);
        }
        match agree(&validator, &node) {
            Some(true) => refused += 1,
            Some(false) => accepted += 1,
            None => {}
        }
    }
    assert!(refused > CHANGED / 3 && accepted > CHANGED / 20, "{refused} refused, {accepted} accepted");
}

/// The file that editors use is what the program says.
#[test]
fn the_file_is_up_to_date() {
    let path = policies().join("schema/policy.schema.json");
    let text = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(policies().join("schema")).expect("a directory");
        fs::write(&path, &text).expect("written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} is out of date: UPDATE_GOLDEN=1 cargo test -p guard-core schema",
        path.display()
    );
}

/// Objects of a schema, with what they are called.
fn objects<'a>(schema: &'a Json, path: String) -> Vec<(String, &'a Json)> {
    let inner: Box<dyn Iterator<Item = (String, &'a Json)>> = match schema {
        Json::Object(map) => Box::new(map.iter().map(|(key, value)| (format!("{path}/{key}"), value))),
        Json::Array(list) => Box::new(list.iter().map(|value| (path.clone(), value))),
        _ => Box::new(iter::empty()),
    };
    let inner = inner.flat_map(|(path, value)| objects(value, path)).collect::<Vec<_>>();
    iter::once((path, schema)).chain(inner).collect()
}

#[test]
fn each_key_is_described_and_each_reference_leads_somewhere() {
    let schema = schema();
    for (path, object) in objects(&schema, String::new()) {
        if let Some(Json::String(target)) = object.get("$ref") {
            let pointer = target.strip_prefix('#').expect("within the document");
            assert!(schema.pointer(pointer).is_some_and(Json::is_object), "{path}: {target}");
        }
        if object.get("additionalProperties") == Some(&Json::Bool(false)) {
            for (key, value) in object["properties"].as_object().expect("keys") {
                let text = value["description"].as_str().unwrap_or_default();
                assert!(text.len() > 5, "{path}: {key} says nothing of itself");
            }
        }
    }
}
