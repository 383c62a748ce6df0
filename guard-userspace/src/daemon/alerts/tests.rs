//! A real program, a real server, a socket in the journal's place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use guard_core::incident::{Entry, Incident, Moment};
use guard_core::policy::model::Impact;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::daemon::probes::servers::{Server, head};
use crate::daemon::probes::trust::Trust;

fn alert() -> Alert {
    Alert {
        id: 17,
        time_ns: 90_000_000_000,
        unix_ns: 1_700_000_000_123_456_789,
        service: "checkout".into(),
        instance: Some(0),
        severity: Severity::Critical,
        message: "checkout/0 is held:\nthe budget is spent".into(),
        about: About {
            owner: Some("payments".into()),
            labels: BTreeMap::from([("team".into(), "payments".into())]),
            impact: Impact::High,
            rto_ns: Some(30_000_000_000),
            runbook: Some("https://runbooks.example.org/checkout".into()),
        },
        incident: Some(Incident {
            id: 4,
            service: "checkout".into(),
            instance: Some(0),
            cause: "killed by SIGKILL".into(),
            opened_ns: 80_000_000_000,
            closed_ns: None,
            outcome: None,
            timeline: vec![Entry {
                time_ns: 80_000_000_000,
                kind: Moment::Death,
                text: "killed by SIGKILL".into(),
                process: None,
            }],
            rto_ns: None,
            recovery: None,
            gap: false,
            restarts: 5,
            ..Incident::default()
        }),
        because: Because {
            what: "the budget is spent".into(),
            since_ns: 0,
            step: Some(("api".into(), 2, 3)),
            restarts_left: Some((0, 5)),
        },
    }
}

fn document() -> Value {
    json!({
        "@timestamp": "2023-11-14T22:13:20.123456789Z",
        "message": "checkout/0 is held:\nthe budget is spent",
        "event": {
            "kind": "alert", "category": ["process"], "type": ["info"], "action": "alert",
            "id": "1700000000123456789-17",
            "reason": "because the budget is spent; step 2 of 3; 0 of 5 restarts left",
            "reference": "https://runbooks.example.org/checkout",
        },
        "log": { "level": "critical", "syslog": { "severity": { "code": 2 } } },
        "host": { "hostname": rustix::system::uname().nodename().to_string_lossy() },
        "labels": { "team": "payments" },
        "service": { "name": "checkout", "node": { "name": "checkout/0" } },
        "processguard": {
            "boottime_ns": 90_000_000_000u64,
            "alert": { "id": 17, "severity": "critical" },
            "service": { "instance": 0, "owner": "payments", "impact": "high", "rto_ns": 30_000_000_000u64 },
            "because": {
                "what": "the budget is spent", "since_ns": 0,
                "step": { "ladder": "api", "number": 2, "of": 3 },
                "restarts_left": { "left": 0, "of": 5 },
            },
            "incident": {
                "id": 4, "service": "checkout", "instance": 0, "cause": "killed by SIGKILL",
                "opened_ns": 80_000_000_000u64, "gap": false, "restarts": 5,
                "failing": [], "bad_ns": 0, "left_out": 0,
                "timeline": [{ "time_ns": 80_000_000_000u64, "kind": "death", "text": "killed by SIGKILL" }],
            },
        },
    })
}

async fn outcome(outcomes: &mut UnboundedReceiver<Outcome>) -> Outcome {
    timeout(Duration::from_secs(60), outcomes.recv()).await.unwrap().unwrap()
}

/// What comes of one alert.
async fn told(settings: Settings) -> Outcome {
    let waits = [Duration::from_millis(10), Duration::from_millis(20)];
    let webhook = Webhook { trust: Trust::default(), waits };
    let (mut alerts, mut outcomes) = Alerts::with(settings, Journal::default(), webhook);
    alerts.alert(&alert());
    outcome(&mut outcomes).await
}

fn hook(script: &str) -> Settings {
    let exec = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    Settings { exec: Some(exec), ..Settings::default() }
}

fn webhook(url: String) -> Settings {
    Settings { webhook: Some(url), ..Settings::default() }
}

#[test]
fn what_is_not_known_is_absent() {
    let (about, because) = (About::default(), Because { step: None, restarts_left: None, ..alert().because });
    let bare = Alert { instance: None, about, incident: None, because, ..alert() };
    let document: Value = serde_json::from_str(&document::text(&bare, "here")).unwrap();
    assert_eq!(document["service"], json!({ "name": "checkout" }));
    assert_eq!(document["processguard"]["because"], json!({ "what": "the budget is spent", "since_ns": 0 }));
    assert_eq!(document["processguard"]["service"], json!({ "impact": "medium" }));
    assert_eq!((document.get("labels"), document["processguard"].get("incident")), (None, None));
}

#[tokio::test]
async fn a_program_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let script = format!("cat > {path}/document; env | grep ^PROCESSGUARD | sort > {path}/environment");
    let outcome = told(hook(&script)).await;
    assert_eq!(outcome, Outcome { alert: 17, channel: Channel::Exec, result: Ok(()) });
    let read = fs::read_to_string(directory.path().join("document")).unwrap();
    assert_eq!(read.matches('\n').count(), 1);
    assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), document());
    let environment = "PROCESSGUARD_ALERT=17\n\
        PROCESSGUARD_BECAUSE=because the budget is spent; step 2 of 3; 0 of 5 restarts left\n\
        PROCESSGUARD_IMPACT=high\nPROCESSGUARD_INCIDENT=4\nPROCESSGUARD_INSTANCE=0\n\
        PROCESSGUARD_MESSAGE=checkout/0 is held:\\nthe budget is spent\n\
        PROCESSGUARD_OWNER=payments\nPROCESSGUARD_RUNBOOK=https://runbooks.example.org/checkout\n\
        PROCESSGUARD_SERVICE=checkout\nPROCESSGUARD_SEVERITY=critical\n";
    assert_eq!(fs::read_to_string(directory.path().join("environment")).unwrap(), environment);
    let failed = told(hook("echo no such pager >&2; exit 9")).await.result;
    assert_eq!(failed, Err("`/bin/sh` failed: exit code 9: no such pager".into()));
    // One that reads nothing of it.
    assert_eq!(told(hook("exec <&-; exit 0")).await.result, Ok(()));
}

#[tokio::test]
async fn a_stuck_program_delays_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(directory.path().join("journal")).unwrap();
    let journal = Journal { native: directory.path().join("journal"), syslog: "/nonexistent".into() };
    let settings = Settings { journal: true, ..hook("sleep 1000") };
    let (mut alerts, mut outcomes) = Alerts::with(settings, journal, Webhook::default());
    for id in 0..300 {
        alerts.alert(&Alert { id, ..alert() });
        assert!(socket.recv(&mut [0; 4096]).unwrap() > 0, "it was written when the call was over");
        assert_eq!(
            outcome(&mut outcomes).await,
            Outcome { alert: id, channel: Channel::Journal, result: Ok(()) }
        );
        if id >= 256 {
            let result = Err("256 alerts wait to be told already".into());
            assert_eq!(outcome(&mut outcomes).await, Outcome { alert: id, channel: Channel::Exec, result });
        }
    }
}

#[tokio::test]
async fn a_server_is_told() {
    let (sender, mut requests) = unbounded_channel();
    let server = Server::each(move |mut stream| {
        let sender = sender.clone();
        async move {
            let head = head(&mut stream).await;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            sender.send((head, body)).unwrap();
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let outcome = told(webhook(server.url("/hook"))).await;
    assert_eq!(outcome, Outcome { alert: 17, channel: Channel::Webhook, result: Ok(()) });
    let (head, body) = requests.recv().await.unwrap();
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), document());
}

#[tokio::test]
async fn a_server_in_trouble_is_told_again() {
    let mut answers = ["503 Service Unavailable", "429 Too Many Requests", "200 OK"].into_iter();
    let server = Server::each(move |mut stream| {
        let answer = answers.next().unwrap();
        async move {
            head(&mut stream).await;
            stream
                .write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes())
                .await
                .unwrap();
            let _until_it_goes = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    assert_eq!(told(webhook(server.url("/"))).await.result, Ok(()));
    let server = Server::answers("500 Internal Server Error", "", "").await;
    assert_eq!(told(webhook(server.url("/"))).await.result, Err("status 500 (3 tries)".into()));
    let server = Server::answers("404 Not Found", "", "").await;
    assert_eq!(told(webhook(server.url("/"))).await.result, Err("status 404 (1 try)".into()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let refused = Err(format!("connection refused by {nobody} (3 tries)"));
    assert_eq!(told(webhook(format!("http://{nobody}/"))).await.result, refused);
    let secret = told(webhook("htp://secret@a/".into())).await.result.unwrap_err();
    assert!(!secret.contains("secret") && secret.starts_with("`the webhook's URL` is no URL"), "{secret}");
}

#[test]
fn the_journal_or_else_syslog() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let journal = Journal { native: at("journal"), syslog: at("log") };
    let nobody = journal.tell(&alert()).unwrap_err().to_string();
    let text = format!(
        "there is neither a journal ({}) nor a syslog ({})",
        at("journal").display(),
        at("log").display()
    );
    assert_eq!(nobody, text);

    let read = |socket: &UnixDatagram| {
        let mut datagram = vec![0; 8192];
        let read = socket.recv(&mut datagram).unwrap();
        datagram.truncate(read);
        datagram
    };
    let syslog = UnixDatagram::bind(at("log")).unwrap();
    journal.tell(&alert()).unwrap();
    let line = format!("<26>processguard[{}]: checkout/0 is held:\\nthe budget is spent", std::process::id());
    assert_eq!(String::from_utf8(read(&syslog)).unwrap(), line);

    let native = UnixDatagram::bind(at("journal")).unwrap();
    journal.tell(&alert()).unwrap();
    let message = "checkout/0 is held:\nthe budget is spent";
    let mut fields = b"MESSAGE\n".to_vec();
    fields.extend((message.len() as u64).to_le_bytes());
    fields.extend(
        format!("{message}\nPRIORITY=2\nSYSLOG_IDENTIFIER=processguard\nSYSLOG_FACILITY=3\n").bytes(),
    );
    let datagram = read(&native);
    assert!(datagram.starts_with(&fields), "{}", String::from_utf8_lossy(&datagram));
    let rest = String::from_utf8_lossy(&datagram[fields.len()..]).into_owned();
    for field in ["SERVICE=checkout", "INSTANCE=0", "INCIDENT=4", "SEVERITY=critical", "ALERT=17"] {
        assert!(rest.contains(&format!("PROCESSGUARD_{field}\n")), "{field} in {rest}");
    }
    // Nobody reads: that is said and not waited for.
    let full = loop {
        if let Err(full) = journal.tell(&alert()) {
            break full;
        }
    };
    let text = format!("cannot write to the log at {}", at("journal").display());
    assert_eq!(full.to_string(), text);
}
