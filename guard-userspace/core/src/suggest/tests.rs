use super::*;
use crate::policy::{Source, load};

const SECOND: u64 = 1_000_000_000;

fn policy(more: &str) -> Service {
    let text = format!(
        "version: processguard/v1\nservice: web\nrun:\n  command: [/usr/bin/web]\n  limits: {{ memory: 512MiB }}\n{more}"
    );
    let loaded = load(&[Source { name: "web.yaml", bytes: text.as_bytes() }]);
    let set = loaded.set.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics));
    (*set.services[0]).clone()
}

fn measured(count: u64, rss_mib: u64) -> Sketches {
    let mut sketches = Sketches::default();
    for second in 0..count {
        let used = Used { cpu_percent: 12.0, rss_bytes: rss_mib << 20, open_files: 40, threads: 8 };
        sketches.sampled("web", second * SECOND, &used);
        sketches.answered("web", "api", second * SECOND, 3_000_000);
    }
    sketches
}

const API: &str = "checks:\n  api: { http: { url: \"http://127.0.0.1/\" }, every: 5s }\n";

#[test]
fn suggestions_are_checks_that_the_reader_accepts() {
    let web = policy(API);
    let suggestions = suggest(&web, &measured(3 * 86_400 / 60, 212));
    let signals: Vec<&str> = suggestions.checks.iter().map(|one| one.signal.as_str()).collect();
    assert_eq!(signals, ["memory.rss", "cpu", "files.open", "threads", "response.time p99 of api over 5m"]);
    let memory = &suggestions.checks[0];
    assert!(memory.because.starts_with("p99 over 1h12m of 4320 samples: 2"), "{}", memory.because);
    assert!(memory.because.ends_with("MiB; margin 1.5"), "{}", memory.because);
    let (Some(mib), None) = (memory.threshold.strip_suffix("MiB"), &memory.instead_of) else {
        panic!("{memory:?}")
    };
    let mib: f64 = mib.parse().unwrap();
    assert!((mib - 318.0).abs() <= 318.0 * 0.02 + 1.0, "{mib}");
    // What is suggested stands beside what is there.
    let patch = suggestions.patch();
    let more = patch.strip_prefix("checks:\n").unwrap();
    let all = policy(&format!("{API}{more}"));
    for suggestion in &suggestions.checks {
        assert!(all.checks.contains(&suggestion.check), "{suggestion:#?}\n{all:#?}");
    }
}

#[test]
fn a_check_that_is_there_gets_another_bound_and_keeps_the_rest() {
    let web = policy("checks:\n  ram: { signal: memory.rss, above: 100MiB, for: 5m }\n");
    let suggestions = suggest(&web, &measured(400, 200));
    let ram = suggestions.checks.iter().find(|one| one.check.name == "ram").unwrap();
    assert_eq!(ram.instead_of.as_deref(), Some("100MiB"));
    let CheckKind::Threshold(threshold) = &ram.check.kind else { panic!("{ram:?}") };
    assert_eq!(threshold.hold, 300 * SECOND);
    assert!(suggestions.patch().contains("(now: 100MiB)"), "{}", suggestions.patch());
    let again = policy(&suggestions.patch());
    assert!(again.checks.contains(&ram.check), "{again:#?}");
}

#[test]
fn nothing_is_suggested_that_the_limit_makes_pointless() {
    let suggestions = suggest(&policy(""), &measured(400, 480));
    let memory = &suggestions.checks[0];
    let CheckKind::Threshold(Threshold { bound: Bound::Above(bound), .. }) = memory.check.kind else {
        panic!("{memory:?}")
    };
    assert!(bound < f64::from(512 << 20), "{memory:?}");
    assert!(memory.because.contains("nine tenths of its limit, 512MiB"), "{}", memory.because);
}

#[test]
fn too_few_samples_are_said_to_be_too_few() {
    let suggestions = suggest(&policy(""), &measured(298, 200));
    assert!(suggestions.checks.is_empty(), "{suggestions:?}");
    assert_eq!(suggestions.insufficient[0].signal, "memory.rss");
    assert_eq!((suggestions.insufficient[0].samples, suggestions.insufficient[0].needed), (298, 299));
    assert!(suggestions.patch().starts_with("# memory.rss: 298 samples, 299 are needed\n"));
    assert_eq!(suggest(&policy(""), &Sketches::default()).patch(), "");
}
