//! Invalid policies, each beside what is said of it: see `policies/README.md`. `UPDATE_GOLDEN=1` writes what is said anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may panic like the tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use guard_core::policy::{Bounds, Code, Diagnostic, PolicySet, Severity, load};
use guard_core::rehearse;
use guard_userspace::policy::files::Text;
use guard_userspace::policy::render::{self, Finding};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/invalid")
}

/// Files that are too large to be kept are made here; of all that is told of one, the last word is kept.
fn made() -> Vec<(String, Vec<u8>)> {
    let mut large = b"version: processguard/v1\nservice: checkout\n".to_vec();
    large.resize(Bounds::default().bytes + 1, b'#');
    let mut many =
        b"version: processguard/v1\nservice: checkout\nrun: { command: [/usr/bin/checkout] }\nlabels:\n"
            .to_vec();
    many.extend((0..300).flat_map(|number| format!("  label{number}: {number}\n").into_bytes()));
    vec![("file-size".to_owned(), large), ("more".to_owned(), many)]
}

/// All invalid policies by name, in order.
fn invalid() -> Vec<(String, Vec<u8>)> {
    let mut all = made();
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            all.push((name, fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

/// The code that a file's name begins with.
fn code_of(name: &str) -> Code {
    let fits = |code: &&Code| {
        let rest = name.strip_prefix(code.name());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    };
    let longest = Code::ALL.iter().filter(fits).max_by_key(|code| code.name().len());
    *longest.unwrap_or_else(|| panic!("policies/invalid/{name}.yaml: no code begins its name"))
}

/// What is said of a policy; of a scenario, beside a host without services.
fn said_of(name: &str, text: &Text) -> Vec<Diagnostic> {
    if name.ends_with(".scenario") {
        let read = rehearse::read(text.source());
        let mut diagnostics = read.diagnostics.clone();
        diagnostics.extend(read.against(&PolicySet::default()));
        return diagnostics;
    }
    let loaded = load(&[text.source()]);
    let refused = loaded.diagnostics.iter().any(|one| one.severity() == Severity::Error);
    assert_eq!(loaded.set.is_none(), refused, "{name}");
    loaded.diagnostics
}

#[test]
fn each_is_told_as_its_neighbour_says() {
    let mut wrong = Vec::new();
    for (name, bytes) in invalid() {
        let file = format!("policies/invalid/{name}.yaml");
        let text = Text { path: file.clone().into(), name: file, bytes };
        let diagnostics = said_of(&name, &text);
        let said: BTreeSet<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        assert!(said.contains(&code_of(&name)), "policies/invalid/{name}.yaml says {said:?}");
        let mut findings: Vec<Finding> = diagnostics.into_iter().map(Finding::from).collect();
        if name == "more" {
            findings.retain(|finding| finding.code == name);
        }
        let shown = render::text(&[text], &findings, false);
        let expected = directory().join(format!("{name}.expected"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &shown).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{name}:\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "not as expected; UPDATE_GOLDEN=1 if they are right:\n{}", wrong.join("\n"));
}

#[test]
fn each_code_has_one() {
    let shown: BTreeSet<Code> = invalid().iter().map(|(name, _)| code_of(name)).collect();
    let missing: Vec<&str> =
        Code::ALL.iter().filter(|code| !shown.contains(code)).map(|code| code.name()).collect();
    assert!(missing.is_empty(), "no file in policies/invalid for {missing:?}");
}

#[test]
fn nothing_is_expected_of_a_file_that_is_not_there() {
    let names: BTreeSet<String> = invalid().into_iter().map(|(name, _)| name).collect();
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        assert!(names.contains(path.file_stem().unwrap().to_str().unwrap()), "{}", path.display());
    }
}

/// A file of 100 MiB, here a sparse one, is refused by its size: it is not read to its end.
#[test]
fn a_huge_file_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("huge.yaml");
    fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_processguard"));
    let output = command.args(["policy", "check"]).arg(&path).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(8), "{said}");
    assert!(said.contains("error[file-size]") && said.lines().count() < 20, "{said}");
}
