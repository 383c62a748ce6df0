//! People are told: a program, a webhook; and whoever does not listen is in nobody's way.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::host;
use serde_json::Value;

use super::Truth;

const DIES: &str = "version: processguard/v1\nservice: dies\nimpact: high\nrun: { command: [/bin/false], log: { none: {} } }\n\
                    restart: { budget: 2/10m, backoff: { initial: 1ms, factor: 1, max: 1ms, jitter: 0% } }\n";

fn script(place: &Place, text: &str) -> Result<PathBuf> {
    let path = place.path("hook.sh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn checked(alert: &Value) -> Result<()> {
    ensure!(alert.pointer("/service/name") == Some(&"dies".into()), "{alert}");
    let timeline = alert.pointer("/processguard/incident/timeline").and_then(Value::as_array);
    ensure!(timeline.is_some_and(|timeline| !timeline.is_empty()), "no incident: {alert}");
    ensure!(alert.to_string().contains("2 restarts in 10m are spent"), "{alert}");
    Ok(())
}

#[test]
fn a_spent_budget_is_told_to_program_and_webhook() -> Result<()> {
    let place = Place::new()?;
    place.policy("dies.yaml", DIES)?;
    let told = place.path("told");
    let hook = script(&place, &format!("cat >{0}.part && mv {0}.part {0}", told.display()))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/alerts", listener.local_addr()?);
    let posted = thread::spawn(move || -> Result<String> {
        let (stream, _) = listener.accept()?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
        Ok(String::from_utf8(body)?)
    });
    let hook = hook.display().to_string();
    let daemon = place.start(&place.policies(), &["--alert-exec", &hook, "--alert-webhook", &url])?;
    let by_program = host::wait_for("the program to be told", || Ok(fs::read_to_string(&told).ok()))?;
    checked(&serde_json::from_str(&by_program)?)?;
    host::wait_for("the webhook to be told", || Ok(posted.is_finished().then_some(())))?;
    let by_webhook = posted.join().ok().context("the server failed")??;
    checked(&serde_json::from_str(&by_webhook)?)?;
    daemon.stop()
}

#[test]
fn a_stuck_program_delays_nobody() -> Result<()> {
    let place = Place::new()?;
    place.policy("dies.yaml", DIES)?;
    let truth = Truth::new(&place, "good");
    place.policy("good.yaml", &truth.service("good", "")?)?;
    let begun = place.path("begun");
    let hook = script(&place, &format!("echo $$ >{}; exec sleep 1000", begun.display()))?;
    let daemon = place.start(&place.policies(), &["--alert-exec", &hook.display().to_string()])?;
    let pid = host::wait_for("the program to begin", || {
        Ok(fs::read_to_string(&begun).ok().and_then(|text| text.trim().parse::<i32>().ok()))
    })?;
    for number in 1..=host::scaled(3, 30)? {
        truth.kill(number)?;
    }
    place.json(&["restart", "good"])?;
    let stuck = guard_tests::sys::is_alive(pid);
    let stopped = daemon.stop();
    // What the daemon has left is the test's own.
    let ours = fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("1000"));
    if ours {
        guard_tests::sys::kill(pid, libc::SIGKILL)?;
    }
    ensure!(stuck, "the program was not stuck");
    stopped
}
