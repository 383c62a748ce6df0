//! Metrics, as scrapers get them; and what Prometheus' own tool says of them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};

use crate::standin::StandIn;

fn scrape(daemon: &StandIn, accept: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(daemon.metrics).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn promtool_has_nothing_to_say() {
    let daemon = StandIn::start();
    let (head, plain) = scrape(&daemon, "text/plain", "/metrics");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool: apt-get install prometheus");
    promtool.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{plain}", String::from_utf8_lossy(&said));
}

#[test]
fn both_forms_say_the_same() {
    let daemon = StandIn::start();
    let (head, open) = scrape(&daemon, "application/openmetrics-text; version=1.0.0", "/metrics");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(open.ends_with("# EOF\n"));
    let plain = scrape(&daemon, "*/*", "/metrics").1;
    let values = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(values(&open), values(&plain));
    for line in [
        "processguard_sensor_records_total{kind=\"fork\"} 1000",
        "processguard_sensor_records_lost_total{kind=\"exit\",cause=\"recursion\"} 3",
        "processguard_sensor_ring_waiting_bytes 4096.0",
        "processguard_service_state{service=\"nginx\",state=\"degraded\"} 1.0",
        "processguard_service_state{service=\"nginx\",state=\"healthy\"} 0.0",
        "processguard_service_restarts_total{service=\"checkout\",cause=\"signal\"} 2",
        "processguard_service_recovery_seconds_bucket{le=\"0.005\",service=\"checkout\"} 1",
        "processguard_service_recovery_seconds_bucket{le=\"60.0\",service=\"checkout\"} 2",
        "processguard_service_recovery_seconds_count{service=\"checkout\"} 3",
        "processguard_service_downtime_seconds_total{service=\"checkout\"} 45.003",
        "processguard_service_check_results_total{service=\"checkout\",check=\"a\\\"b\\\\c\\nd\",result=\"pass\"} 17",
        "processguard_service_restarts_left{service=\"checkout\"} 3.0",
        "processguard_service_cpu_ratio{service=\"checkout\"} 0.025",
        "processguard_service_memory_bytes{service=\"checkout\"} 25165824.0",
        "processguard_service_run_queue_seconds_count{service=\"checkout\"} 9",
        "processguard_actions_total{kind=\"signal\",outcome=\"failed\"} 1",
        "processguard_build_info{version=\"0.1.0\"} 1.0",
        "processguard_policies_generation 5.0",
    ] {
        assert!(values(&open).iter().any(|value| value == line), "{line} is not in\n{open}");
    }
    assert!(!open.contains("pid="), "no pid is a label");
}

#[test]
fn a_crowd_of_scrapers_asks_the_daemon_once() {
    let daemon = StandIn::start();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| assert!(scrape(&daemon, "*/*", "/metrics").0.contains("200 ok")));
        }
    });
    let asked = daemon.script.lock().unwrap().asked.iter().filter(|asked| *asked == "Daemon").count();
    // As many as pictures became stale while 40 were given, on a machine that may be busy.
    assert!(asked <= 8, "{asked}");
}

#[test]
fn whoever_holds_connections_or_speaks_otherwise_keeps_nobody_out() {
    let daemon = StandIn::start();
    let silent: Vec<TcpStream> = (0..15).map(|_| TcpStream::connect(daemon.metrics).unwrap()).collect();
    assert!(scrape(&daemon, "*/*", "/metrics").0.contains("200 ok"));
    assert!(scrape(&daemon, "*/*", "/etc/passwd").0.contains("404"));
    let mut other = TcpStream::connect(daemon.metrics).unwrap();
    other.write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    other.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    drop(silent);
}

/// Ends with the test, however that ends.
struct Prometheus(std::process::Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn prometheus_itself_scrapes_and_answers() {
    let daemon = StandIn::start();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("prometheus.yml");
    let target = daemon.metrics;
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs: [{{ job_name: pg, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
    );
    std::fs::write(&config, text).unwrap();
    // A port that is free now; Prometheus does not tell which one it was given.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", config.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
    prometheus.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let prometheus = prometheus.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _prometheus = Prometheus(prometheus.expect("prometheus: apt-get install prometheus"));
    let query = |query: &str| {
        let url = format!("http://127.0.0.1:{port}/api/v1/query");
        // It is asked again while it starts and until its first scrape: nothing tells when that was.
        for _ in 0..100 {
            let mut curl = Command::new("curl");
            curl.args(["-s", "-G", &url, "--data-urlencode"]);
            let answer = curl.arg(format!("query={query}")).output().expect("curl: apt-get install curl");
            let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
            if let Some(value) = answer["data"]["result"][0]["value"][1].as_str() {
                return value.to_owned();
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        panic!("{query}: no answer");
    };
    assert_eq!(query("processguard_service_state{service=\"checkout\",state=\"healthy\"}"), "1");
    assert_eq!(query("up{job=\"pg\"}"), "1");
    assert_eq!(query("processguard_sensor_records_lost_total{kind=\"exit\",cause=\"recursion\"}"), "3");
    assert_eq!(query("histogram_quantile(0.3, processguard_service_recovery_seconds_bucket)"), "0.00475");
}
