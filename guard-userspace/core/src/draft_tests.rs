use proptest::prelude::*;

use super::*;
use crate::policy::model::{Origin, RestartVia, Service};

/// The draft, and what its reader makes of it.
fn read(seen: &Seen) -> (String, std::sync::Arc<Service>) {
    let text = draft(seen);
    let loaded = load(&[Source { name: "draft.yaml", bytes: text.as_bytes() }]);
    let errors = loaded.diagnostics;
    let set = loaded.set.unwrap_or_else(|| panic!("{errors:#?}\n{text}"));
    assert_eq!(set.services.len(), 1, "{text}");
    (text, std::sync::Arc::clone(&set.services[0]))
}

fn nginx() -> Seen {
    Seen {
        exe: "/usr/sbin/nginx".to_owned(),
        args: vec!["nginx".to_owned(), "-g".to_owned(), "daemon off;".to_owned()],
        user: Some("www-data".to_owned()),
        directory: Some("/".to_owned()),
        unit: Some("nginx.service".to_owned()),
        container: None,
        ports: vec![80, 443, 80],
        rss_bytes: 90 << 20,
        open_files: 40,
    }
}

#[test]
fn a_unit_is_restarted_by_systemd() {
    let (text, service) = read(&nginx());
    assert_eq!(service.name, "nginx");
    assert!(text.contains("version: processguard/v1"), "{text}");
    let Origin::Adopt(adopt) = &service.origin else { panic!("{text}") };
    assert_eq!(adopt.restart_via, Some(RestartVia::Unit("nginx.service".to_owned())));
    assert_eq!(adopt.matching.exe.as_deref(), Some("/usr/sbin/nginx"));
    let checks: Vec<&str> = service.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(checks, ["files", "memory", "port-443", "port-80"]);
    assert_eq!(service.actions["port-80"].steps.len(), 2, "restart, then alert");
    assert_eq!(service.actions["memory"].steps.len(), 1);
    assert!(!text.contains("run:"), "{text}");
}

#[test]
fn a_container_is_restarted_by_its_runtime() {
    let id = "4".repeat(64);
    let container = Some((Some("podman".to_owned()), id.clone()));
    let (text, service) = read(&Seen { container, unit: None, ..nginx() });
    let Origin::Adopt(adopt) = &service.origin else { panic!("{text}") };
    assert_eq!(adopt.matching.container.as_ref(), Some(&id));
    let via = RestartVia::Container { runtime: "podman".to_owned(), container: id };
    assert_eq!(adopt.restart_via, Some(via));
}

#[test]
fn whoever_nobody_restarts_is_watched_and_could_be_run() {
    let (text, service) = read(&Seen { unit: None, ..nginx() });
    let Origin::Adopt(adopt) = &service.origin else { panic!("{text}") };
    assert_eq!((&adopt.restart_via, adopt.matching.listens), (&None, Some(80)));
    // The other way stands there too, and is one.
    let lines =
        text.lines().skip_while(|line| !line.starts_with("# run:")).take_while(|line| line.starts_with("# "));
    let run: String =
        lines.filter_map(|line| line.strip_prefix("# ")).map(|line| format!("{line}\n")).collect();
    let run = run.split("First guesses").next().unwrap_or_default();
    let other = format!("version: processguard/v1\nservice: nginx\n{run}");
    let loaded = load(&[Source { name: "run.yaml", bytes: other.as_bytes() }]);
    let set = loaded.set.unwrap_or_else(|| panic!("{:#?}\n{other}", loaded.diagnostics));
    let Origin::Run(run) = &set.services[0].origin else { panic!("{other}") };
    assert_eq!(run.command, ["/usr/sbin/nginx", "-g", "daemon off;"]);
    assert_eq!(run.user.as_deref(), Some("www-data"));
}

#[test]
fn a_session_is_no_way_to_restart_something() {
    let (text, service) = read(&Seen { unit: Some("session-3.scope".to_owned()), ..nginx() });
    let Origin::Adopt(adopt) = &service.origin else { panic!("{text}") };
    assert_eq!(adopt.restart_via, None);
    let replaced = read(&Seen { exe: "/usr/sbin/nginx (deleted)".to_owned(), unit: None, ..nginx() }).1;
    assert_eq!(replaced.name, "nginx");
    assert_eq!(read(&Seen::default()).1.name, NAMELESS, "of nothing there is a draft too");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        "[\\x00-\\x1f\\x7f{}#:'\"*&!|>%@`\\[\\]-]{0,20}",
        Just("{port}".to_owned()),
        "[a-z]{1,10}",
    ]
}

prop_compose! {
    fn any_seen()(
        exe in prop_oneof![any_text(), any_text().prop_map(|text| format!("/usr/bin/{text}"))],
        args in prop::collection::vec(any_text(), 0..5),
        user in prop::option::of(any_text()),
        directory in prop::option::of(any_text()),
        unit in prop::option::of(prop_oneof![any_text(), any_text().prop_map(|text| format!("{text}.service"))]),
        container in prop::option::of((
            prop::option::of(prop_oneof![any_text(), Just("docker".to_owned())]),
            prop_oneof![any_text(), "[0-9a-f]{12,64}"],
        )),
        ports in prop::collection::vec(any::<u16>(), 0..6),
        rss_bytes in any::<u64>(),
        open_files in any::<u32>(),
    ) -> Seen {
        Seen { exe, args, user, directory, unit, container, ports, rss_bytes, open_files }
    }
}

proptest! {
    #[test]
    fn whatever_a_process_is_called_its_draft_is_a_policy(seen in any_seen()) {
        let (text, _) = read(&seen);
        prop_assert!(text.contains("version: processguard/v1"));
        prop_assert!(text.chars().all(|letter| letter == '\n' || (' '..='~').contains(&letter)), "{text:?}");
    }
}
