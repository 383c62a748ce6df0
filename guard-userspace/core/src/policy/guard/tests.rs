use super::*;

fn guard(source: &str) -> Result<Guard, Fault> {
    Compiler::default().compile(&source.into())
}

fn facts() -> Facts {
    Facts {
        service: "checkout".to_owned(),
        instance: Some(2),
        labels: BTreeMap::from([("team".to_owned(), "payments".to_owned())]),
        state: "degraded".to_owned(),
        check: "memory".to_owned(),
        checks: BTreeMap::from([("memory".to_owned(), "failing".to_owned())]),
        value: Some(4.5e8),
        failing_for: 61.5,
        restarts: 3,
        restarts_left: 2,
        instances: 4,
        ready: 3,
        // Sunday 22 November 2026, 05:24:44 UTC.
        epoch_seconds: 1_795_325_084,
    }
}

#[test]
fn conditions_hold_or_do_not() {
    let yes = [
        "true",
        "service == 'checkout' && instance == 2",
        "labels.team == \"payments\" && labels[\"team\"] != 'x' && 'team' in labels && has(labels.team)",
        "!has(labels.owner)",
        "state in ['degraded', 'starting'] && weekday in [6, 7]",
        "hour == 5 && minute == 24 && weekday == 7",
        "value > 400000000.0 && value > 4 && failing_for >= 60",
        "restarts + restarts_left == 5 && restarts * 2 > instances && restarts % 2 == 1 && -restarts < 0",
        "double(restarts) / 2.0 == 1.5",
        "ready < instances ? check.startsWith('mem') : false",
        "checks.memory == 'failing' && size(checks) == 1 && check.size() == 6 && check.contains('emor')",
    ];
    for source in yes {
        assert_eq!(guard(source).map(|guard| guard.holds(&facts())), Ok(Ok(true)), "{source}");
    }
    for source in ["restarts > 3", "state == 'healthy' || false", "!(instance == 2)"] {
        assert_eq!(guard(source).map(|guard| guard.holds(&facts())), Ok(Ok(false)), "{source}");
    }
}

#[test]
fn what_is_not_known_is_an_error() {
    let unknown = Facts { value: None, ..facts() };
    for source in ["value > 1.0", "labels.owner == 'x'", "restarts / 0 == 1", "checks['api'] == 'passing'"] {
        let said = guard(source).map(|guard| guard.holds(&unknown));
        assert!(matches!(said, Ok(Err(_))), "{source}: {said:?}");
    }
    // What is known decides alone.
    assert_eq!(guard("false && value > 1.0").map(|guard| guard.holds(&unknown)), Ok(Ok(false)));
}

#[test]
fn whatever_has_no_type_is_refused() {
    let refused = [
        ("restarts >", Code::Guard),
        ("", Code::Guard),
        ("restarts", Code::Guard),
        ("restart > 1", Code::Guard),
        ("restarts + 1.5 > 2.0", Code::Guard),
        ("service > 1", Code::Guard),
        ("service.name == 'x'", Code::Guard),
        ("service.matches('^(a+)+$')", Code::Guard),
        ("timestamp('2026-01-01T00:00:00Z') > timestamp('2026-01-01T00:00:00Z')", Code::Guard),
        ("{'a': 1}.a == 1", Code::Guard),
        ("[1, 'a'] == [1, 'a']", Code::Guard),
        ("null == null", Code::Guard),
        ("b'a' == b'a'", Code::Guard),
        ("1u == 1u", Code::Guard),
        ("[1, 2].all(x, x > 1)", Code::GuardLoop),
        ("labels.exists(l, l == 'a')", Code::GuardLoop),
        ("[1].map(x, x) == [1]", Code::GuardLoop),
        ("dyn(1) == 1", Code::Guard),
        ("Foo{a: 1} == Foo{}", Code::Guard),
    ];
    for (source, code) in refused {
        let fault = guard(source).expect_err(source);
        assert_eq!(fault.code, code, "{source}: {}", fault.message);
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let deep = |open: &str, close: &str, n: usize| format!("{}true{}", open.repeat(n), close.repeat(n));
    assert!(guard(&deep("(", ")", DEPTH)).is_ok());
    let long = (0..200).map(|_| "true").collect::<Vec<_>>().join("&&");
    for source in [
        deep("(", ")", DEPTH + 1),
        deep("!", "", 1000),
        deep("true?(", "):true", 40),
        long,
        "true ".repeat(300),
    ] {
        let fault = guard(&source).expect_err("refused");
        assert_eq!(fault.code, Code::GuardSize, "{}: {}", source.len(), fault.message);
    }
    let chain = (0..90).map(|_| "true").collect::<Vec<_>>().join("&&");
    assert_eq!(guard(&chain).map(|guard| guard.holds(&facts())), Ok(Ok(true)));
}

#[test]
fn all_variables_are_set() {
    let context = facts().context();
    for (name, ..) in VARIABLES {
        assert!(context.get_variable(name).is_some(), "{name}");
    }
}

#[test]
fn faults_say_where() {
    let fault = guard("hour > 3 && restart > 1").expect_err("unknown");
    assert_eq!(fault.part, Some((12, 19)), "{fault:?}");
    assert_eq!(fault.help.as_deref(), Some("did you mean `restarts`?"));
}
