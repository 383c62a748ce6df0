//! The policies that are shipped.

use std::path::{Path, PathBuf};
use std::{fs, io};

use guard_core::policy::{self, PolicySet, Source, outline};

fn below(directory: &Path, end: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(below(&path, end)?);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn load(texts: &[String]) -> (Option<PolicySet>, Vec<policy::Diagnostic>) {
    let sources: Vec<Source<'_>> =
        texts.iter().map(|text| Source { name: "policy", bytes: text.as_bytes() }).collect();
    let loaded = policy::load(&sources);
    (loaded.set, loaded.diagnostics)
}

fn stories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/stories")
}

#[test]
fn nothing_is_to_be_said_of_shipped_policies() {
    let files = below(&stories(), "policy.yaml").unwrap();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let (set, diagnostics) = load(&[fs::read_to_string(&file).unwrap()]);
        assert!(set.is_some() && diagnostics.is_empty(), "{}: {diagnostics:#?}", file.display());
    }
}

#[test]
fn what_is_explained_means_the_same() {
    for file in below(&stories(), "policy.yaml").unwrap() {
        let (set, _) = load(&[fs::read_to_string(&file).unwrap()]);
        let set = set.unwrap();
        let texts: Vec<String> =
            set.services.iter().map(|service| outline::service(service).yaml()).collect();
        let (again, diagnostics) = load(&texts);
        assert_eq!(
            again.as_ref(),
            Some(&set),
            "{}: {diagnostics:#?}\n{}",
            file.display(),
            texts.join("---\n")
        );
    }
}
