//! What is found by keys, words and prefixes is what comparing all with all finds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::overlap::{Claimant, Verdict};
use crate::policy::{Code, Loaded, Source, load};

fn read(selectors: &[String]) -> Loaded {
    let text: String = selectors
        .iter()
        .enumerate()
        .map(|(n, adopt)| format!("---\nversion: processguard/v1\nservice: s{n:05}\nadopt: {{ {adopt} }}\n"))
        .collect();
    load(&[Source { name: "policy.yaml", bytes: text.as_bytes() }])
}

fn said(selectors: &[&str]) -> Vec<(&'static str, String)> {
    let selectors: Vec<String> = selectors.iter().map(|&selector| selector.to_owned()).collect();
    let said = read(&selectors).diagnostics;
    said.iter().map(|one| (one.code.name(), one.label.clone())).collect()
}

/// Two selectors that one process can have, and what both take.
#[test]
fn those_that_meet_are_refused_with_an_example() {
    for (one, other, example) in [
        ("exe: /bin/a", "exe: /bin/a, user: www", "exe `/bin/a`"),
        ("exe: '/opt/*/a'", "exe: '/opt/b/**'", "exe `/opt/b/a`"),
        ("exe: '/opt/**'", "exe: '/opt/b*', user: 7", "exe `/opt/b`"),
        ("exe: '/opt/*/a*', user: 7", "exe: '/**/abc', user: 7", "user `7`, exe `/opt/x/abc`"),
        ("unit: a.service", "unit: a.service, listens: 80", "unit `a.service`"),
        ("unit: a.service", "cgroup: /system.slice/a.service", "unit `a.service`"),
        ("cgroup: /a/b", "cgroup: /a/", "control group `/a/b`"),
        ("listens: 80, exe: /bin/a", "listens: 80, command: b$", "port `80`"),
        ("container: 0123456789ab", "container: 0123456789abcdef", "container `0123456789abcdef`"),
        ("command: worker", "command: '^/bin/worker-[ab]$'", "command line `/bin/worker-a`"),
        (
            "exe: /bin/python3, command: job",
            "exe: '/bin/python*', command: my-job",
            "exe `/bin/python3`, command line `my-job`",
        ),
        ("exe: /bin/python3", "command: '^/bin/python3 .*worker'", "exe `/bin/python3`"),
        ("exe: /bin/a, user: root", "exe: /bin/a, user: 0", "user `root`, exe `/bin/a`"),
    ] {
        for pair in [[one, other], [other, one]] {
            let said = said(&pair);
            let [("claim", label)] = said.as_slice() else { panic!("{pair:?}: {said:?}") };
            let root = |text: &str| text.replace("`0`", "`root`");
            assert_eq!(root(label), root(&format!("both take a process with {example}")), "{pair:?}");
        }
    }
}

#[test]
fn those_that_cannot_meet_or_have_nothing_in_common_are_not_refused() {
    for (one, other) in [
        ("exe: /bin/a, user: www", "exe: /bin/a, user: db"),
        ("exe: /bin/a, user: 7", "exe: /bin/a, user: 8"),
        ("exe: /bin/a, user: root", "exe: /bin/a, user: 8"),
        ("exe: /bin/a, listens: 80", "exe: /bin/a, listens: 81"),
        ("exe: '/opt/*/a'", "exe: '/opt/*/b'"),
        ("exe: '/opt/*'", "exe: '/opt/*/b'"),
        ("exe: /bin/a", "unit: b.service"),
        ("unit: a.service, user: www", "exe: /bin/a, user: www"),
        ("cgroup: /a/b", "cgroup: /a/bc"),
        ("unit: a.service", "cgroup: /system.slice/b.service"),
        ("unit: a.service, listens: 80", "unit: b.service, listens: 80"),
        ("exe: /bin/python3, command: a.py$", "exe: /bin/python3, command: b.py$"),
        ("command: '^/bin/a '", "command: '^/bin/b '"),
        ("exe: /bin/a, user: 7, command: x", "exe: /bin/a, user: 8, command: x"),
    ] {
        for pair in [[one, other], [other, one]] {
            assert_eq!(said(&pair), [], "{pair:?}");
        }
    }
}

#[test]
fn what_only_a_line_for_both_has_is_a_warning_and_told_once() {
    let warned = said(&["command: mail.py", "command: news.py", "command: 'shop.py.*x'", "unit: a.service"]);
    let [("loose-claim", label)] = warned.as_slice() else { panic!("{warned:?}") };
    assert_eq!(label, "such as one with command line `mail.py news.py`");
}

#[test]
fn what_cannot_be_compared_is_told() {
    for pair in [
        ["exe: /bin/a, user: www", "exe: /bin/a, user: 33"],
        ["command: '^[ab]*a[ab]{18}$'", "command: '^[ab]*b[ab]{17}c?d{3}b[ab]{18}$'"],
    ] {
        let said = said(&pair);
        assert!(matches!(said.as_slice(), [("unsure-claim", _)]), "{pair:?}: {said:?}");
    }
}

#[test]
fn too_many_to_compare_are_told_and_take_no_day() {
    // 2,000 expressions without a word that must occur, and without an end.
    let many: Vec<String> =
        (0..2_000).map(|n| format!("command: '^/bin/[a-b]*[c-d]{{{}}}$'", n % 97 + 1)).collect();
    let codes: BTreeSet<Code> = read(&many).diagnostics.iter().map(|one| one.code).collect();
    assert!(codes.contains(&Code::UnsureClaim) || codes.contains(&Code::Claim), "{codes:?}");
}

fn part() -> impl Strategy<Value = String> {
    let values = [
        "exe: /a/b",
        "exe: /a/c",
        "exe: '/a/*'",
        "exe: '/*/b'",
        "exe: '/a/**'",
        "exe: '/**/b*'",
        "exe: '/b/*c'",
        "command: ab",
        "command: 'a.*b'",
        "command: '^/a/b abc$'",
        "command: 'b$'",
        "command: '^/a/c [ab]+'",
        "command: '[bc]{2}'",
        "cgroup: /a",
        "cgroup: /a/b",
        "cgroup: /a/b.service",
        "cgroup: /ab",
        "unit: a.service",
        "unit: b.service",
        "container: 0123456789ab",
        "container: 0123456789abc",
        "container: 0123456789ad",
        "listens: 80",
        "listens: 81",
        "user: a",
        "user: 0",
        "user: root",
        "user: 7",
    ];
    prop::sample::subsequence(values.to_vec(), 1..4).prop_map(|chosen| {
        let mut keys = BTreeSet::new();
        let once = chosen
            .into_iter()
            .filter(|part| keys.insert(part.split(':').next().unwrap_or_default().to_owned()));
        once.collect::<Vec<_>>().join(", ")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missed(selectors in prop::collection::vec(part(), 2..8)) {
        let mut claimants = vec![];
        let sources: Vec<Loaded> = selectors.iter().map(|one| read(std::slice::from_ref(one))).collect();
        let entries: Vec<_> = sources.iter().zip(&selectors).filter(|(loaded, _)| loaded.set.is_some()).map(|(_, text)| {
            super::super::load::entry_of(&format!("version: processguard/v1\nservice: a\nadopt: {{ {text} }}\n"))
        }).collect();
        claimants.extend(entries.iter().filter_map(|entry| Claimant::new(entry.as_ref()?)));
        let found = super::find(&claimants);
        for later in 0..claimants.len() {
            let both = (0..later).any(|earlier| {
                matches!(claimants[earlier].compare(&claimants[later], false, &mut 9), Verdict::Both(_))
            });
            prop_assert_eq!(found.both.contains_key(&later), both, "{} of {:?}", later, &selectors);
        }
    }
}
