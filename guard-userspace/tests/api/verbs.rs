//! Verbs that ask, against the stand-in: what they print, how they end.

use std::process::Output;

use guard_core::supervise::ServiceState;

use crate::standin::{StandIn, set};

#[track_caller]
fn printed(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output, code: i32, pieces: &[&str]) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), [].as_slice()), "{stderr}");
    for piece in pieces {
        assert!(stderr.contains(piece), "{piece:?} is not in {stderr:?}");
    }
}

#[test]
fn status() {
    let daemon = StandIn::start();
    let text = printed(&daemon.verb(&["status"]));
    assert!(text.contains("policies: generation 5; 3 records lost\n"), "{text}");
    assert!(text.contains("trouble: the disk of /var/lib/processguard is full\n"), "{text}");
    assert!(
        text.contains("checkout  healthy     2/2  3m ago            3/5  2.5%  24.0MiB  ready\n"),
        "{text}"
    );
    assert!(text.contains("ready (only observed) (1 waits for approval)\n"), "{text}");
    let text = printed(&daemon.verb(&["status", "checkout"]));
    assert!(text.contains("  runbook    https://runbooks.example.org/checkout\n"), "{text}");
    assert!(text.contains("  restarts   3 of 5 left in 10m\n"), "{text}");
    assert!(
        text.contains("       1  healthy  301  3m ago  8081  1.2%  12.0MiB     14        3  ready\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "no colours where no terminal is");
    let json = printed(&daemon.verb(&["status", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["services"][0]["since"]["utc"].as_str().map(str::len), Some(30));
}

#[test]
fn incidents() {
    let daemon = StandIn::start();
    let text = printed(&daemon.verb(&["incidents"]));
    let last = text.lines().last().unwrap();
    assert!(
        last.contains("checkout/0  2m ago")
            && last.ends_with("recovered         1  killed by SIGKILL from bash[6937]"),
        "{text}"
    );
    assert_eq!(printed(&daemon.verb(&["incidents", "--open"])).lines().count(), 2);
    assert_eq!(printed(&daemon.verb(&["incidents", "--service", "nginx"])), "no incidents\n");
    let text = printed(&daemon.verb(&["incidents", "1"]));
    assert!(text.contains("  recovered  after 2.000ms (last bad) to 3.000ms (first good)\n"), "{text}");
    assert!(text.contains("+2.100ms  1.200ms  listen       301  0.0.0.0:8080\n"), "{text}");
    assert!(text.contains("+3.000ms  0.900ms  good answer  301  status 200 \\x1b]0;x\n"), "{text}");
    refused(&daemon.verb(&["incidents", "99"]), 11, &["there is no incident 99"]);
}

#[test]
fn what_is_guarded_and_what_is_not() {
    let daemon = StandIn::start();
    let text = printed(&daemon.verb(&["inventory"]));
    assert!(text.contains("checkout  critical  30s  payments  healthy\n"), "{text}");
    assert!(text.contains("  812  6379   redis.service  redis-server *:6379\\x1b[2J\n"), "{text}");
    // From /proc, whether there is a daemon or not.
    let own = std::process::id().to_string();
    let draft = printed(&daemon.verb(&["inventory", "--draft", &own]));
    assert!(draft.contains("version: processguard/v1\n") && draft.contains("exe: "), "{draft}");
    refused(&daemon.verb(&["inventory", "--draft", "4194304"]), 11, &["there is no process 4194304"]);
}

#[test]
fn orders_are_followed_until_they_are_done() {
    let daemon = StandIn::start();
    let said = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    let restarted = daemon.verb(&["restart", "checkout/1"]);
    assert_eq!(said(&restarted), "checkout is healthy (2 of 2 ready)\n");
    let scaled = daemon.verb(&["scale", "checkout", "3"]);
    assert_eq!(said(&scaled), "checkout is healthy (3 of 3 ready)\n");
    // It takes its time to stop.
    let stopped = daemon.verb(&["stop", "checkout"]);
    assert_eq!(daemon.script.lock().unwrap().looks, 0);
    assert_eq!(said(&stopped), "checkout is stopped\n");
    let json = printed(&daemon.verb(&["start", "checkout", "--json"]));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["state"], "healthy");
    assert_eq!(said(&daemon.verb(&["stop", "--all"])), "all services are stopped\n");
    // And what does not come to be done.
    set(daemon.script.lock().unwrap().service("checkout").unwrap(), ServiceState::Healthy, "ready");
    let ordered = daemon.verb(&["stop", "checkout", "--no-wait"]);
    assert_eq!(said(&ordered), "stopping checkout: ordered\n");
    let held = |script: &mut crate::standin::Script| {
        let facts = script.service("checkout").unwrap();
        set(facts, ServiceState::Held, "5 restarts in 10m are spent");
    };
    held(&mut daemon.script.lock().unwrap());
    refused(
        &daemon.verb(&["scale", "checkout", "2"]),
        12,
        &["checkout is held: 5 restarts in 10m are spent", "processguard incidents"],
    );
}

#[test]
fn what_goes_wrong_has_its_exit_code_and_its_remedy() {
    let daemon = StandIn::start();
    refused(&daemon.verb(&["status", "nobody"]), 11, &["no service is named `nobody`"]);
    refused(&daemon.verb(&["start", "no/body"]), 11, &["no service is named `no/body`"]);
    refused(&daemon.verb(&["restart", "nginx"]), 12, &["records were lost", "processguard status"]);
    refused(&daemon.verb(&["restart", "nginx/x"]), 2, &["counted from 0"]);
    refused(&daemon.verb(&["flags", "nothing", "on"]), 11, &["no flag is named"]);
    refused(&daemon.verb(&["approvals", "deny", "1"]), 11, &["nothing waits as 1"]);
    daemon.script.lock().unwrap().broken = true;
    let reload = daemon.verb(&["reload"]);
    refused(
        &reload,
        8,
        &["error: unknown key `impct`\n --> web.yaml:3:1\n", "the policies have errors; mend them"],
    );
    let mut gone = daemon;
    gone.end();
    refused(&gone.verb(&["status"]), 9, &["no daemon answers at /", "systemctl start processguard"]);
    refused(&gone.verb(&["events", "--follow"]), 9, &["no daemon answers at /"]);
}

#[test]
fn policies_flags_and_approvals() {
    let daemon = StandIn::start();
    let text = printed(&daemon.verb(&["reload"]));
    assert_eq!(
        text,
        "generation 5 holds: 2 services\n  checkout changed\non trial, in 5m: if restarts rise, it is rolled back by itself\n"
    );
    assert!(printed(&daemon.verb(&["policy", "rollback"])).starts_with("generation 4 holds"));
    let text = printed(&daemon.verb(&["policy", "generations"]));
    assert!(text.contains("         5  on trial  2h ago           2  reload  checkout changed\n"), "{text}");
    assert!(printed(&daemon.verb(&["policy", "suggest", "checkout"])).starts_with("--- a/checkout.yaml\n"));
    let text = printed(&daemon.verb(&["flags", "act", "off"]));
    assert!(text.contains("act      off  carry out decisions\n"), "{text}");
    let text = printed(&daemon.verb(&["approvals", "list"]));
    assert!(text.contains("41  nginx    failover\n"), "{text}");
    assert_eq!(printed(&daemon.verb(&["approvals", "approve", "41"])), "nothing waits for approval\n");
}

/// What a verb writes to a terminal.
fn on_terminal(daemon: &StandIn, line: &str) -> String {
    let program = env!("CARGO_BIN_EXE_processguard");
    let line = format!("{program} {line} --socket {}", daemon.socket.display());
    // util-linux' own: it gives the program a terminal.
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(std::process::Stdio::null()).env_remove("NO_COLOR");
    String::from_utf8(script.output().unwrap().stdout).unwrap()
}

#[test]
fn a_terminal_has_colours_and_a_line_for_what_takes_long() {
    let daemon = StandIn::start();
    assert!(on_terminal(&daemon, "status").contains("\u{1b}[32mhealthy\u{1b}[0m"));
    // Each look is a tenth of a second after the one before: it takes more than the second that people wait without a word.
    daemon.script.lock().unwrap().looks = 16;
    let shown = on_terminal(&daemon, "stop checkout");
    let painted = shown.matches("\r\u{1b}[K").count();
    assert!(painted >= 2, "{shown:?}");
    assert!(shown.contains("| checkout is stopping: an operator stopped it (1."), "{shown:?}");
    assert!(shown.ends_with("\r\u{1b}[Kcheckout is stopped\r\n"), "the line is gone: {shown:?}");
}
