//! The policies that are shipped.

use std::path::{Path, PathBuf};
use std::{fs, io};

use guard_core::policy::{self, PolicySet, Source, outline};
use guard_core::rehearse;

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

/// One set: a file of it says what holds for the others.
#[test]
fn nothing_is_to_be_said_of_the_demonstration() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/demo");
    let texts: Vec<String> =
        below(&demo, ".yaml").unwrap().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let (set, diagnostics) = load(&texts);
    assert!(set.is_some_and(|set| set.services.len() == 6) && diagnostics.is_empty(), "{diagnostics:#?}");
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

/// Plays a scenario with the policies that it names.
fn play(scenario: &Path) -> Result<String, String> {
    let bytes = fs::read(scenario).map_err(|error| error.to_string())?;
    let read = rehearse::read(Source { name: "scenario", bytes: &bytes });
    let Some(parsed) = &read.scenario else { return Err(format!("{:#?}", read.diagnostics)) };
    let policies: io::Result<Vec<String>> =
        parsed.policies.iter().map(|name| fs::read_to_string(scenario.with_file_name(name))).collect();
    let (set, diagnostics) = load(&policies.map_err(|error| error.to_string())?);
    let set = set.ok_or_else(|| format!("{diagnostics:#?}"))?;
    let unknown = read.against(&set);
    if !unknown.is_empty() {
        return Err(format!("{unknown:#?}"));
    }
    Ok(rehearse::text(parsed, &rehearse::play(&set, parsed)))
}

/// `BLESS=1` makes what happens now the golden files: read their difference before it is committed.
#[test]
fn stories_decide_as_their_golden_files_say() {
    let scenarios = below(&stories(), ".scenario.yaml").unwrap();
    assert!(scenarios.len() >= 4, "{scenarios:?}");
    for scenario in scenarios {
        let text = play(&scenario).unwrap_or_else(|error| panic!("{}: {error}", scenario.display()));
        let golden = PathBuf::from(scenario.to_string_lossy().replace(".scenario.yaml", ".golden"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &text).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            text == expected,
            "{} is otherwise: `BLESS=1 cargo test -p guard-core --test shipped` rewrites it\n{text}",
            golden.display()
        );
    }
}

#[test]
fn the_same_scenario_decides_the_same_a_thousand_times() {
    let story = fs::read_to_string(stories().join("orders-db/failover.scenario.yaml")).unwrap();
    // A minute of the story at which much happens, with few samples.
    let short = story.replace("lasts: 45m", "lasts: 12m\nsample: 1m");
    assert!(short != story, "the story lasts otherwise");
    let (set, _) = load(&[fs::read_to_string(stories().join("orders-db/policy.yaml")).unwrap()]);
    let set = set.unwrap();
    let scenario = rehearse::read(Source { name: "scenario", bytes: short.as_bytes() }).scenario.unwrap();
    let first = rehearse::text(&scenario, &rehearse::play(&set, &scenario));
    assert!(first.contains("waits for approval"), "{first}");
    for _ in 1..1_000 {
        assert!(rehearse::text(&scenario, &rehearse::play(&set, &scenario)) == first);
    }
}
