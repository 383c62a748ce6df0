//! Metrics as the real Prometheus reads them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, free_port};

/// A Prometheus, ended with the test.
struct Prometheus(Child, u16);

impl Prometheus {
    fn start(place: &Place, target: &str) -> Result<Self> {
        let port = free_port()?;
        let config = place.path("prometheus.yml");
        fs::write(
            &config,
            format!(
                "scrape_configs:\n- job_name: guard\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  static_configs: [{{ targets: ['{target}'] }}]\n"
            ),
        )?;
        let log = fs::File::create(place.path("prometheus.log"))?;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", place.path("tsdb").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(command.spawn().context("start prometheus: is it installed?")?, port))
    }

    /// The first value of a query, once there is one that is meant.
    fn wait_for(&self, query: &str, wanted: impl Fn(f64) -> bool) -> Result<f64> {
        let mut last = String::new();
        host::wait_for(query, || {
            let path = format!("/api/v1/query?query={}", encoded(query));
            // Nobody may listen yet.
            let Ok(answer) = get(&format!("127.0.0.1:{}", self.1), &path, "application/json") else {
                return Ok(None);
            };
            last.clone_from(&answer);
            let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
            let value = answer.pointer("/data/result/0/value/1").and_then(Value::as_str);
            Ok(value.and_then(|value| value.parse().ok()).filter(|value| wanted(*value)))
        })
        .with_context(|| format!("last: {last}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The body of an answer. HTTP/1.0: it is not in chunks.
fn get(address: &str, path: &str, accept: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    ensure!(head.contains(" 200 "), "{head}");
    Ok(body.to_owned())
}

#[test]
fn a_real_prometheus_sees_the_restart_and_its_cause() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "web");
    place.policy("web.yaml", &truth.service("web", "")?)?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let daemon = place.start(&place.policies(), &["--metrics", &address])?;
    truth.wait_for(1)?;
    let prometheus = Prometheus::start(&place, &address)?;
    prometheus.wait_for("up{job=\"guard\"}", |up| up == 1.0)?;
    prometheus
        .wait_for("processguard_service_state{service=\"web\",state=\"healthy\"}", |state| state == 1.0)?;
    let second = truth.kill(1)?;
    prometheus.wait_for("sum(processguard_service_restarts_total{service=\"web\"})", |count| count == 1.0)?;
    prometheus
        .wait_for("processguard_service_restarts_total{service=\"web\",cause!=\"\"}", |count| count == 1.0)?;
    prometheus
        .wait_for("processguard_service_recovery_seconds_count{service=\"web\"}", |count| count == 1.0)?;
    let text = get(&address, "/metrics", "text/plain")?;
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().context("start promtool: is it installed?")?;
    check.stdin.take().context("no input")?.write_all(text.as_bytes())?;
    let output = check.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    // promtool reads the older format alone; what Prometheus asked for above, and has read, is this one.
    let open = get(&address, "/metrics", "application/openmetrics-text; version=1.0.0")?;
    ensure!(open.ends_with("# EOF\n"), "{open}");
    for text in [text, open] {
        // A label for each process would be a series for each.
        ensure!(!text.contains("pid=") && !text.contains(&format!("\"{second}\"")), "{text}");
    }
    ensure!(sys::is_alive(second));
    daemon.stop()
}
