//! Requests as any client makes them, byte for byte.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::standin::StandIn;

/// The answer: status, headers and body.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    raw(socket, request.as_bytes())
}

pub(crate) fn raw(socket: &Path, request: &[u8]) -> (u16, String, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    // The server may answer, and close, before it has read all of a request that is too large.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn json(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, _, body) = ask(socket, method, path, body);
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

#[test]
fn every_path_of_the_document_answers_as_it_says() {
    let daemon = StandIn::start();
    let document = guard_userspace::daemon::api::document();
    let (status, served) = json(&daemon.socket, "GET", "/v1/openapi.json", "");
    assert_eq!((status, &served), (200, &document));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let at = path.replace("{name}", "checkout").replace("{pid}", "812");
            let at =
                if path.contains("approvals") { at.replace("{id}", "41") } else { at.replace("{id}", "1") };
            let at = if path.ends_with("/events") { "/v1/events?once=true".to_owned() } else { at };
            let at = at.replace("flags/checkout", "flags/act");
            let body = match path.as_str() {
                "/v1/services/{name}/scale" => "{\"instances\":3}",
                "/v1/flags/{name}" => "{\"on\":false}",
                _ => "",
            };
            daemon.script.lock().unwrap().services[1].waiting = vec![(41, "failover".to_owned())];
            let (status, head, body) = ask(&daemon.socket, &method.to_uppercase(), &at, body);
            let responses = operation["responses"].as_object().unwrap();
            let said = responses.get(&status.to_string()).unwrap_or_else(|| panic!("{at}: {status} {body}"));
            let (media, content) = said["content"].as_object().unwrap().iter().next().unwrap();
            assert!(head.contains(&format!("content-type: {media}")), "{at}: {head}");
            if media == "application/json" {
                fits(&document, &content["schema"], &serde_json::from_str(&body).unwrap(), &at);
            }
        }
    }
}

/// As far as it goes: required fields are there, and no others than those that are described.
fn fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => schema,
    };
    if let (Some(properties), Some(object)) =
        (schema.get("properties").and_then(Value::as_object), value.as_object())
    {
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            assert!(
                object.contains_key(required.as_str().unwrap()),
                "{at}: {required} is missing in {value}"
            );
        }
        for (name, value) in object {
            let property = properties.get(name).unwrap_or_else(|| panic!("{at}: {name} is not described"));
            fits(document, property, value, &format!("{at}: {name}"));
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        values.iter().for_each(|value| fits(document, items, value, at));
    }
}

#[test]
fn what_is_refused_says_why_and_what_to_do() {
    let daemon = StandIn::start();
    let cases = [
        ("GET", "/v1/services/nobody", "", 404, "unknown"),
        ("POST", "/v1/services/nobody/stop", "", 404, "unknown"),
        ("POST", "/v1/services/nginx/restart", "", 409, "conflict"),
        ("GET", "/v1/incidents/99", "", 404, "unknown"),
        ("GET", "/v1/incidents/x", "", 400, "bad-request"),
        ("GET", "/v1/incidents?limit=many", "", 400, "bad-request"),
        ("GET", "/v1/incidents?open=perhaps", "", 400, "bad-request"),
        ("GET", "/v1/incidents?opn=true", "", 400, "bad-request"),
        ("GET", "/v1/nothing", "", 404, "no-such-path"),
        ("DELETE", "/v1/status", "", 405, "no-such-method"),
        ("POST", "/v1/services/checkout/scale", "", 400, "bad-request"),
        ("POST", "/v1/services/checkout/scale", "{\"instances\":-1}", 400, "bad-request"),
        ("POST", "/v1/services/checkout/scale", "{\"instances\":1,\"x\":1}", 400, "bad-request"),
        ("PUT", "/v1/flags/nothing", "{\"on\":true}", 404, "unknown"),
        ("GET", "/v1/inventory/draft/1", "", 404, "unknown"),
        ("POST", "/v1/approvals/7/deny", "", 404, "unknown"),
    ];
    for (method, path, body, status, kind) in cases {
        let (got, problem) = json(&daemon.socket, method, path, body);
        assert_eq!((got, problem["status"].as_u64()), (status, Some(status.into())), "{path} {problem}");
        assert_eq!(problem["type"], format!("urn:processguard:problem:{kind}"), "{path}");
        assert!(problem["detail"].is_string() && problem["remedy"].is_string(), "{problem}");
    }
    let (_, head, _) = ask(&daemon.socket, "DELETE", "/v1/status", "");
    assert!(head.contains("allow: get") && head.contains("application/problem+json"), "{head}");
    daemon.script.lock().unwrap().broken = true;
    let (status, problem) = json(&daemon.socket, "POST", "/v1/policies/reload", "");
    assert_eq!((status, problem["detail"].as_str()), (422, Some("the policies have errors")));
    assert!(problem["diagnostics"].as_str().unwrap().contains("web.yaml:3:1"));
}

#[test]
fn what_is_too_large_or_no_http_is_turned_away() {
    let daemon = StandIn::start();
    let large = "x".repeat(70_000);
    let (status, _, body) = ask(&daemon.socket, "POST", "/v1/services/checkout/scale", &large);
    assert_eq!(status, 413, "{body}");
    let head = format!("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Large: {large}\r\n\r\n");
    assert_eq!(raw(&daemon.socket, head.as_bytes()).0, 431);
    assert_eq!(raw(&daemon.socket, b"rubbish\r\n\r\n").0, 400);
    // It is as well as before.
    assert_eq!(ask(&daemon.socket, "GET", "/v1/healthz", "").2, "{\"ok\":true}\n");
}

#[test]
fn a_daemon_that_ends_takes_its_socket_with_it_and_answers_first() {
    let mut daemon = StandIn::start();
    let mut idle = UnixStream::connect(&daemon.socket).unwrap();
    idle.write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut begin = [0; 12];
    idle.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    daemon.end();
    assert!(!daemon.socket.exists());
    // The stream is ended in good order: its last piece is empty.
    let mut rest = String::new();
    idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    idle.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}
