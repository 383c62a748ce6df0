//! What an incident tells is what the killer, the killed and the replacement saw, on the same clock.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use guard_tests::daemon::Place;
use guard_tests::{host, sys};
use serde_json::Value;

use super::{Truth, closed_incident, free_port};

/// When a moment of this kind was first, in nanoseconds since boot.
fn at(incident: &Value, kind: &str) -> Result<u64> {
    let timeline = incident.get("timeline").and_then(Value::as_array).context("no timeline")?;
    let found = timeline.iter().find(|moment| moment.get("kind").is_some_and(|found| found == kind));
    found
        .and_then(|moment| moment.pointer("/at/boottime_ns")?.as_u64())
        .with_context(|| format!("no {kind}: {incident}"))
}

/// When this process wrote down that something happened to it.
fn told(place: &Place, name: &str, pid: i32, what: &str) -> Result<u64> {
    host::wait_for(&format!("{pid} to say {what}"), || {
        let text = fs::read_to_string(place.path(&format!("{name}.truth"))).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = lines.map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let of = |line: &&Value| {
            line.get("pid").and_then(Value::as_i64) == Some(i64::from(pid))
                && line.get("what").is_some_and(|found| found == what)
        };
        Ok(lines.iter().find(of).and_then(|line| line.get("time_ns")?.as_u64()))
    })
}

/// A server that listens half a second after its start; its `ready` asks it by HTTP.
fn late(place: &Place, truth: &Truth, port: u16) -> Result<()> {
    let more =
        format!("ready: {{ http: {{ url: \"http://127.0.0.1:{port}/\", status: 200 }}, within: 30s }}\n");
    let options = format!(", listen-late, --port, \"{port}\", --after-ms, \"500\",");
    place.policy("late.yaml", &truth.service("late", &more)?.replace(", once,", &options))
}

#[test]
fn the_timeline_is_what_killer_and_replacement_saw() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "late");
    late(&place, &truth, free_port()?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let first = truth.wait_for(1)?;
    told(&place, "late", first, "listens")?;
    host::wait_for("the server to be healthy", || {
        Ok((super::service(&place, "late")?.get("state") == Some(&"healthy".into())).then_some(()))
    })?;
    let before = sys::boottime_ns();
    sys::kill(first, libc::SIGKILL)?;
    let second =
        host::wait_for("the replacement", || Ok(truth.pids()?.into_iter().find(|pid| *pid != first)))?;
    let began = told(&place, "late", second, "listen-late")?;
    let listens = told(&place, "late", second, "listens")?;
    let incident = closed_incident(&place, "late")?;
    let cause = incident.get("cause").and_then(Value::as_str).unwrap_or_default();
    ensure!(cause.contains("SIGKILL from host"), "the killer was this test: {cause}");

    let mut moments = vec![("the killer's clock", before)];
    for kind in ["signal", "death", "decision", "fork", "exec"] {
        moments.push((kind, at(&incident, kind)?));
    }
    // Its own words come between the kernel's: after the exec, and after the call that listens.
    moments.push(("the replacement's main", began));
    moments.push(("listen", at(&incident, "listen")?));
    moments.push(("the replacement's listen returned", listens));
    ensure!(moments.is_sorted_by_key(|(_, time_ns)| *time_ns), "out of order: {moments:?}");
    ensure!(at(&incident, "ready")? >= at(&incident, "listen")?, "ready before it listened: {incident}");

    let recovery = |field: &str| {
        incident
            .pointer(&format!("/recovery/{field}/boottime_ns"))
            .and_then(Value::as_u64)
            .context("no recovery")
    };
    let (bad, good) = (recovery("last_bad")?, recovery("first_good")?);
    ensure!(bad <= good && good >= at(&incident, "listen")?, "[{bad}, {good}]: {incident}");
    // Asked every 10 ms, it was known to be bad while it lived and did not listen yet.
    ensure!(bad > began, "nobody asked between {began} and {listens}: last bad {bad}");
    segments_add_up(&incident)?;

    // It is kept over the daemon's death, word for word.
    daemon.kill()?;
    let daemon = place.start(&place.policies(), &[])?;
    let again = closed_incident(&place, "late")?;
    for field in ["id", "cause", "outcome", "restarts", "duration_ns"] {
        ensure!(again.get(field) == incident.get(field), "{field}: {again} and {incident}");
    }
    let length = |incident: &Value| incident.get("timeline").and_then(Value::as_array).map(Vec::len);
    ensure!(length(&again) == length(&incident), "{again} and {incident}");
    daemon.stop()
}

/// Each segment is from the moment before; all together are from the first to the last.
fn segments_add_up(incident: &Value) -> Result<()> {
    let timeline = incident.get("timeline").and_then(Value::as_array).context("no timeline")?;
    let time = |moment: Option<&Value>| {
        moment.and_then(|moment| moment.pointer("/at/boottime_ns")?.as_u64()).context("no time")
    };
    let sum: u64 = timeline.iter().filter_map(|moment| moment.get("after_previous_ns")?.as_u64()).sum();
    let all = time(timeline.last())? - time(timeline.first())?;
    ensure!(sum == all, "segments of {sum} ns in {all} ns: {incident}");
    Ok(())
}

/// A web server of the test's own, which says 200 or 503 as it is told.
fn moody(well: &Arc<AtomicBool>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let well = Arc::clone(well);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let status = if well.load(Ordering::Relaxed) { "200 OK" } else { "503 Unwell" };
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    Ok(port)
}

#[test]
fn what_heals_itself_is_one_incident() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "moody");
    let well = Arc::new(AtomicBool::new(true));
    let port = moody(&well)?;
    let more = format!(
        "checks:\n  answers: {{ http: {{ url: \"http://127.0.0.1:{port}/\", status: 200, timeout: 1s }}, every: 100ms, fail_after: 2 }}\n"
    );
    place.policy("moody.yaml", &truth.service("moody", &more)?)?;
    let daemon = place.start(&place.policies(), &[])?;
    let pid = truth.wait_for(1)?;
    well.store(false, Ordering::Relaxed);
    host::wait_for("an open incident", || {
        let all = place.json(&["incidents", "--open"])?;
        Ok(all.pointer("/incidents/0").cloned())
    })?;
    well.store(true, Ordering::Relaxed);
    let incident = closed_incident(&place, "moody")?;
    ensure!(incident.get("restarts") == Some(&0.into()), "{incident}");
    ensure!(at(&incident, "bad_answer")? < at(&incident, "good_answer")?, "{incident}");
    let all = place.json(&["incidents", "--service", "moody"])?;
    let count = all.get("incidents").and_then(Value::as_array).map(Vec::len);
    ensure!(count == Some(1), "it is one: {all}");
    ensure!(truth.pids()? == [pid], "nobody asked for a restart");
    daemon.stop()
}

#[test]
fn out_of_memory_in_its_own_group_is_told() -> Result<()> {
    let place = Place::new()?;
    let truth = Truth::new(&place, "eater");
    let options = format!(", leaky-worker, --port, \"{}\", --leak, \"400\",", free_port()?);
    let text = truth.service("eater", "")?.replace(", once,", &options);
    place.policy("eater.yaml", &text.replace("  log: {", "  limits: { memory: 24MiB }\n  log: {"))?;
    let daemon = place.start(&place.policies(), &[])?;
    truth.wait_for(2)?;
    let all = place.json(&["incidents", "--service", "eater"])?;
    let cause = all.pointer("/incidents/0/cause").and_then(Value::as_str).unwrap_or_default();
    ensure!(cause.contains("memory"), "the cause is {cause:?}: {all}");
    daemon.stop()
}
