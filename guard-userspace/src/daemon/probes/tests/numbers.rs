//! Numbers, from servers, files and the kernel.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use guard_core::ids::ProcId;
use guard_core::policy::model::NumberSource;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::super::servers::Server;
use super::*;

fn json(server: &Server, pointer: &str) -> Ask {
    let (url, pointer) = (server.url("/"), pointer.to_owned());
    Ask::Number(Box::new(NumberSource::Json { url, pointer, timeout: 20 * SECOND }))
}

fn metric(server: &Server, metric: &str, labels: &[(&str, &str)]) -> Ask {
    let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (url, metric) = (server.url("/metrics"), metric.to_owned());
    Ask::Number(Box::new(NumberSource::Prometheus { url, metric, labels, timeout: 20 * SECOND }))
}

#[tokio::test]
async fn in_a_document() {
    let document = r#"{"queue": [{"depth": 42}, {"depth": "many"}], "a/b": -1.5, "on": true, "none": null}"#;
    let server = Server::answers("200 OK", "", document).await;
    assert_eq!(asked(json(&server, "/queue/0/depth")).await, Answer::Number(42.0));
    assert_eq!(asked(json(&server, "/a~1b")).await, Answer::Number(-1.5));
    for (pointer, text) in [
        ("/queue/1/depth", "`/queue/1/depth` of the answer is a text, not a number"),
        ("/queue", "`/queue` of the answer is an array, not a number"),
        ("/queue/0", "`/queue/0` of the answer is an object, not a number"),
        ("/on", "`/on` of the answer is true or false, not a number"),
        ("/none", "`/none` of the answer is null, not a number"),
        ("/queue/2", "the answer has no `/queue/2`"),
    ] {
        assert_eq!(asked(json(&server, pointer)).await, error(text));
    }
    let server = Server::answers("200 OK", "", "<html>").await;
    let text = "the answer is not JSON: expected value at line 1 column 1";
    assert_eq!(asked(json(&server, "/a")).await, error(text));
    let server = Server::answers("500 Internal Server Error", "", "{}").await;
    assert_eq!(asked(json(&server, "/a")).await, error("status 500"));
    // Larger than what is read at once, and larger than what is read at all.
    let padding = " ".repeat(100_000);
    let server = Server::answers("200 OK", "", &format!("{padding}7")).await;
    assert_eq!(asked(json(&server, "")).await, Answer::Number(7.0));
    let server = Server::answers("200 OK", "", &" ".repeat((1 << 20) + 1)).await;
    assert_eq!(asked(json(&server, "")).await, error("the answer is longer than 1MiB"));
    let deep = "[".repeat(100_000);
    let server = Server::answers("200 OK", "", &deep).await;
    let text = "the answer is not JSON: recursion limit exceeded at line 1 column 128";
    assert_eq!(asked(json(&server, "")).await, error(text));
}

#[tokio::test]
async fn on_a_page_of_metrics() {
    let page = "# TYPE jobs gauge\njobs{queue=\"a\"} 3\njobs{queue=\"b\"} 4\nbad NaN\nodd{\n";
    let server = Server::answers("200 OK", "", page).await;
    assert_eq!(asked(metric(&server, "jobs", &[])).await, Answer::Number(7.0));
    assert_eq!(asked(metric(&server, "jobs", &[("queue", "b")])).await, Answer::Number(4.0));
    let text = "the page has no sample of `jobs` with queue=\"c\"";
    assert_eq!(asked(metric(&server, "jobs", &[("queue", "c")])).await, error(text));
    assert_eq!(asked(metric(&server, "more", &[])).await, error("the page has no sample of `more`"));
    assert_eq!(asked(metric(&server, "bad", &[])).await, error("the sum of `bad` is NaN"));
    let text = "line 5 of the page is no sample: a label has no value";
    assert_eq!(asked(metric(&server, "odd", &[])).await, error(text));
    let server = Server::says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe".as_slice()).await;
    let text = "the answer is no page of metrics: it is not UTF-8";
    assert_eq!(asked(metric(&server, "jobs", &[])).await, error(text));
    let server = Server::stalls(b"").await;
    let text = format!("connection refused by {}", server.address);
    let address = server.address;
    drop(server);
    let gone = NumberSource::Prometheus {
        url: format!("http://{address}/"),
        metric: "jobs".into(),
        labels: BTreeMap::new(),
        timeout: SECOND,
    };
    assert_eq!(asked(Ask::Number(Box::new(gone))).await, error(text));
}

#[test]
fn garbage_is_no_danger() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    for _ in 0..2000 {
        let bytes = bytes.new_tree(&mut runner).unwrap().current();
        assert!(!matches!(number::json(&bytes, "/a/b"), Ok(number) if number.is_nan()));
        let _any = number::metric_in(&bytes, "a", &BTreeMap::new());
    }
}

#[tokio::test]
async fn when_a_file_was_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("heartbeat");
    let text = format!("cannot see when {} was changed: no such file or directory", path.display());
    assert_eq!(asked(Ask::Changed(path.clone())).await, error(text));
    let file = File::create(&path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::new(1_700_000_000, 500_000_000)).unwrap();
    assert_eq!(asked(Ask::Changed(path.clone())).await, Answer::Number(1_700_000_000.5e9));
    file.set_modified(UNIX_EPOCH - Duration::from_secs(2)).unwrap();
    assert_eq!(asked(Ask::Changed(path)).await, Answer::Number(-2e9));
}

#[tokio::test]
async fn memory_of_processes() {
    let stat = procfs::process::Process::myself().unwrap().stat().unwrap();
    let start_ns = stat.starttime * (1_000_000_000 / procfs::ticks_per_second());
    let us = ProcId { pid: std::process::id(), start_ns };
    let gone = ProcId { pid: us.pid, start_ns: 1 };
    let Answer::Number(size) = asked(Ask::Pss(vec![us, gone])).await else { panic!() };
    assert!(size > 100_000.0, "{size}");
    let text = "none of the processes lives any more";
    assert_eq!(asked(Ask::Pss(vec![gone])).await, error(text));
    let text = "what was logged is known to whoever holds the logs, not here";
    assert_eq!(asked(Ask::Logged(us)).await, error(text));
}
