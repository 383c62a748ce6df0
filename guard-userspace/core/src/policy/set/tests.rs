//! Files to sets: what is merged, what is told, and what is not.

use crate::policy::model::{Impact, LogTarget, Mode, Origin, RestartOn, Service};
use crate::policy::{Code, Loaded, Severity, Source, load};

fn read(texts: &[&str]) -> Loaded {
    let files: Vec<Source<'_>> =
        texts.iter().map(|text| Source { name: "policy.yaml", bytes: text.as_bytes() }).collect();
    load(&files)
}

fn codes(loaded: &Loaded) -> Vec<&'static str> {
    loaded.diagnostics.iter().map(|one| one.code.name()).collect()
}

/// One service with these keys, and nothing said against it.
fn service(keys: &str) -> Service {
    let loaded = read(&[&format!("version: processguard/v1\nservice: a\n{keys}")]);
    assert_eq!(codes(&loaded), [""; 0], "{keys}: {:?}", loaded.diagnostics);
    let set = loaded.set.expect("a set");
    let service: &Service = set.services.first().expect("a service");
    service.clone()
}

fn refused(keys: &str) -> Vec<&'static str> {
    let loaded = read(&[&format!("version: processguard/v1\nservice: a\n{keys}")]);
    assert!(loaded.set.is_none(), "{keys}");
    codes(&loaded)
}

const RUN: &str = "run: { command: [/bin/a] }\n";

#[test]
fn all_that_can_be_said_is_read() {
    let text = include_str!("../../../tests/policies/everything.yaml");
    let loaded = read(&[text]);
    let errors: Vec<_> = loaded.diagnostics.iter().filter(|one| one.severity() == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let set = loaded.set.expect("a set");
    assert_eq!(set.services.len(), 12);
    assert_eq!(set.host.groups.len(), 2);
    assert_eq!(loaded.services.len(), 12);
}

#[test]
fn defaults_hold_where_nothing_is_said() {
    let defaults = "version: processguard/v1\ndefaults:\n  impact: low\n  labels: { site: berlin, team: none }\n  \
        restart: { budget: 3/10m, backoff: { max: 30s } }\n  ready: { delay: 2s, within: 20s }\n  \
        run: { user: nobody, log: { file: /var/log/a, keep: 9 } }\n  \
        checks: { memory: { signal: memory.rss, above: 1GiB, for: 1m } }\n  mode: observe\n";
    let own = "version: processguard/v1\nservice: a\nlabels: { team: shop }\nrestart: never\nready: { listen: 80 }\n\
        run: { command: [/bin/a], log: journal }\nchecks: { memory: { above: 2GiB, signal: memory.rss } }\n\
        actions: { memory: [restart] }\n---\nversion: processguard/v1\nservice: b\nadopt: { unit: b.service }\n\
        checks: { memory: { tcp: \"127.0.0.1:80\" } }\n";
    for files in [[defaults, own], [own, defaults]] {
        let loaded = read(&files);
        assert_eq!(codes(&loaded), [""; 0], "{:?}", loaded.diagnostics);
        let set = loaded.set.expect("a set");
        let [a, b] = set.services.as_slice() else { panic!("{set:?}") };
        assert_eq!((a.impact, a.mode), (Impact::Low, Mode::Observe));
        assert_eq!(
            a.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            ["site=berlin", "team=shop"]
        );
        // A short form says only its own part.
        assert_eq!(
            (a.restart.on, a.restart.budget.count, a.restart.backoff.max),
            (RestartOn::Never, 3, 30_000_000_000)
        );
        // What excludes the default's way replaces it; what goes with both is taken.
        assert_eq!(
            a.ready.by,
            crate::policy::model::Readiness::Listen(crate::policy::model::Port::Fixed(80))
        );
        assert_eq!(a.ready.within, 20_000_000_000);
        let Origin::Run(run) = &a.origin else { panic!("{a:?}") };
        assert_eq!((run.user.as_deref(), &run.log.target), (Some("nobody"), &LogTarget::Journal));
        let check = format!("{:?}", a.checks);
        assert!(check.contains("Above(2147483648.0)") && check.contains("hold: 60000000000"), "{check}");
        // Another kind of check is another check, and defaults for `run` make no `run`.
        assert!(matches!(b.origin, Origin::Adopt(_)));
        assert!(format!("{:?}", b.checks).contains("Tcp"), "{:?}", b.checks);
    }
}

#[test]
fn a_mistake_in_the_defaults_is_told_once_and_there() {
    let defaults = "version: processguard/v1\ndefaults: { rto: 30 }\n";
    let own: String =
        (0..20).map(|n| format!("---\nversion: processguard/v1\nservice: s{n}\n{RUN}")).collect();
    let loaded = read(&[defaults, &own]);
    assert_eq!(codes(&loaded), ["unit-missing"]);
    assert_eq!(
        loaded.diagnostics.first().map(|one| (one.place.file, one.place.range.clone())),
        Some((0, 42..44))
    );
}

#[test]
fn errors_of_all_files_and_parts_come_at_once() {
    let first = "version: processguard/v1\nservice: A\nrun: { command: [a] }\nrto: 5\n\
        checks: { m: { signal: memory.rss, above: 5m } }\nactions: { n: [restart] }\n";
    let second = "version: processguard/v1\nservice: b\n\trun: x\n";
    let third = "version: processguard/v1\nservice: b\nrun: { command: [/b] }\ndepends_on: [a, c]\n";
    let loaded = read(&[first, second, third]);
    assert_eq!(
        loaded.diagnostics.iter().map(|one| (one.place.file, one.code.name())).collect::<Vec<_>>(),
        [
            (0, "name"),
            (0, "path"),
            (0, "unit-missing"),
            (0, "wrong-unit"),
            (0, "unknown-check"),
            (1, "syntax"),
            (2, "unknown-service"),
            (2, "unknown-service"),
        ]
    );
}

#[test]
fn a_misspelt_key_hides_neither_its_own_value_nor_others() {
    let keys = "timeuot: 10";
    let probe = |keys: &str| {
        format!(
            "{RUN}rot: 30\nrestart: {{ bugdet: 5, slow_retyr: 3 }}\nchecks: {{ a: {{ http: {{ url: \"http://localhost/\", {keys} }}, every: 5 }} }}\n"
        )
    };
    let said = refused(&probe(keys));
    let unit = said.iter().filter(|code| **code == "unit-missing").count();
    let unknown = said.iter().filter(|code| **code == "unknown-key").count();
    assert_eq!((unknown, unit), (4, 5), "{said:?}");
    // What reads well under the key that was meant is not complained about twice.
    assert_eq!(refused(&format!("{RUN}rot: 30s\n")), ["unknown-key"]);
}

#[test]
fn a_time_is_long_enough_not_to_keep_a_core_busy() {
    let check = |keys: &str| format!("{RUN}checks: {{ a: {{ {keys} }} }}\n");
    for keys in [
        "tcp: \"127.0.0.1:1\", every: 1ns",
        "tcp: \"127.0.0.1:1\", every: 999us",
        "signal: memory.rss, above: 1GiB, every: 1ns, for: 1ns",
        "signal: memory.growth, above: 1MiB/m, window: 1us",
    ] {
        assert_eq!(refused(&check(keys)), ["bounds"], "{keys}");
    }
    assert_eq!(refused(&format!("{RUN}restart: {{ slow_retry: 1ns }}\n")), ["bounds"]);
    service(&check("signal: run_queue.p99, above: 500us, every: 1ms, for: 1ns"));
}

#[test]
fn a_service_that_cannot_be_read_is_known_to_those_that_name_it() {
    let loaded = read(&[
        "version: processguard/v1\nservice: a\nrun: { command: [/a] }\ndepends_on: { b: started }\n---\n\
        version: processguard/v1\nservice: b\nrun: { command: [/b], user: [] }\n",
    ]);
    assert_eq!(codes(&loaded), ["wrong-type"]);
}

#[test]
fn what_is_fine_is_not_complained_about() {
    for keys in [
        "run: { command: [/bin/a, \"{\\\"json\\\": 1}\", \"${HOME}\", \"{x}\"] }",
        "run: { command: [/bin/a], ports: { first: 65532 }, instances: 4 }\nready: { listen: \"{port}\" }",
        "adopt: { user: root, exe: /usr/sbin/sshd }",
        "adopt: { command: \"^/usr/bin/python3 .*worker\" }",
        "adopt: { cgroup: /system.slice/a.service }",
        "adopt: { exe: \"/opt/**/bin/a\" }",
        "adopt: { user: root, listens: 22 }",
        "run: { command: [/bin/a] }\nchecks: { a: { http: \"http://10.0.0.1/\" }, b: { http: \"http://db:80/\" }, c: { http: \"http://[::1]/\" } }",
        "run: { command: [/bin/a], instances: { max: 3 } }\nchecks: { c: { tcp: \"127.0.0.1:1\" } }\nactions: { c: [{ scale: 1 }] }",
        "run: { command: [/bin/a], instances: 0 }",
        "run: { command: [/bin/a] }\nimpact: high\nrunbook: http://wiki/\nready: notify",
    ] {
        service(keys);
    }
}

#[test]
fn a_chain_is_no_cycle_and_a_circle_is_told_once() {
    let chain = |last: &str| -> String {
        let one = |n: u32, on: &str| {
            format!("---\nversion: processguard/v1\nservice: s{n:05}\n{RUN}depends_on: {{ {on} }}\n")
        };
        let links = (0..2_000).map(|n| one(n, &format!("s{:05}: started", n + 1)));
        links.chain([one(2_000, last)]).collect()
    };
    assert_eq!(codes(&read(&[&chain("")])), [""; 0]);
    let loaded = read(&[&chain("s00000: started")]);
    let cycles = loaded.diagnostics.iter().filter(|one| one.code == Code::Cycle).count();
    assert!((1..=2).contains(&cycles), "{cycles}");
}

#[test]
fn bounds_are_checked_against_each_other() {
    for keys in [
        "instances: { min: 2, start: 1 }",
        "instances: { start: 3, max: 2 }",
        "ports: { first: 65535 }, instances: 2",
        "limits: { cpu: 0% }",
    ] {
        assert_eq!(refused(&format!("run: {{ command: [/bin/a], {keys} }}\n")), ["bounds"], "{keys}");
    }
    for keys in [
        "restart: { backoff: { factor: 0.5 } }",
        "restart: { backoff: { jitter: 101% } }",
        "restart: { budget: 5/0s }",
        "restart: { success: [0, 78], never: 78 }",
        "ready: { delay: 1m }",
        "checks: { a: { signal: memory.rss, below: 0B } }",
        "checks: { a: { signal: pressure.cpu, above: 100% } }",
        "checks: { a: { tcp: \"127.0.0.1:1\", fail_after: 3 of 2 } }",
        "checks: { a: { tcp: \"127.0.0.1:1\", every: 0s } }",
        "checks: { a: { http: { url: \"http://localhost/\", status: 299-200 } } }",
    ] {
        let said = refused(&format!("{RUN}{keys}\n"));
        assert!(
            said == ["bounds"] || keys.contains("never: 78") && said == ["wrong-type"],
            "{keys}: {said:?}"
        );
    }
}

#[test]
fn the_same_bytes_give_the_same_set() {
    let text = include_str!("../../../tests/policies/everything.yaml");
    let shown = |loaded: &Loaded| format!("{loaded:?}");
    let first = shown(&read(&[text]));
    for _ in 0..20 {
        assert_eq!(shown(&read(&[text])), first);
    }
}
