//! Adopted services: how long after a death it is decided what to do, by our own incidents.
//!
//! Somebody else starts the victim (a shell, which also brings it back, 50 ms later), a policy adopts it, and it is
//! killed again and again. Both moments are on the kernel's clock: the death is its record's time.

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    contender::Supervisor as _,
    peers::{self, Peer},
    place::Place,
};
use crate::{
    bench::{daemon::Daemon, envelope::Verdict, stats},
    sh,
};

/// p99, from death to decision.
const DECIDED_MS: f64 = 1.0;

/// Daemons, and deaths under each: all of its deaths are one incident, a crash loop, whose timeline holds 256 moments. p99 is then
/// the second worst of 200.
const DAEMONS: usize = 5;
const KILLS: usize = 40;

/// A death while the restart for the one before is under way has no decision of its own: so many of [`KILLS`] may be such.
const WITHOUT: usize = 2;

/// For the daemon's own book-keeping.
const BETWEEN: Duration = Duration::from_millis(40);

/// How long incidents may take to be told.
const TOLD: Duration = Duration::from_secs(10);

/// Milliseconds from each death to its decision.
pub(super) fn measure(processguard: &Path, victim: &Path) -> Result<Vec<f64>> {
    let mut decided = Vec::new();
    for _ in 0..DAEMONS {
        decided.extend(under_one(processguard, victim)?);
    }
    Ok(decided)
}

fn under_one(processguard: &Path, victim: &Path) -> Result<Vec<f64>> {
    let place = Place::new("adopted", victim)?;
    let policy = format!(
        "version: processguard/v1\nservice: victim\nadopt: {{ exe: {}, restart_via: {{ command: [/bin/true] }} }}\n\
         restart: {{ on: always, budget: 100000/1h, backoff: {{ initial: 0s, jitter: 0% }} }}\n",
        place.program().display()
    );
    let mut shell = Peer { command: peers::slow_loop, ends_by: libc::SIGTERM }.start(&place)?;
    let mut life = place.wait_for(1, || shell.check())?;
    let daemon = Daemon::start(processguard, place.directory(), &policy)?;
    for number in 2..KILLS + 2 {
        place.kill(life)?;
        life = place.wait_for(number, || shell.check())?;
        thread::sleep(BETWEEN);
    }
    let decided = wait_for_incidents(processguard, &daemon)?;
    daemon.stop()?;
    shell.stop()?;
    Ok(decided)
}

fn wait_for_incidents(processguard: &Path, daemon: &Daemon) -> Result<Vec<f64>> {
    let deadline = Instant::now() + TOLD;
    let settled = Instant::now() + TOLD / 5;
    loop {
        let mut ask = Command::new(processguard);
        ask.args(["incidents", "--json", "--limit", "1000", "--socket"]).arg(daemon.socket());
        let decided = read(&sh::output(&mut ask)?)?;
        if decided.len() >= KILLS - WITHOUT && (decided.len() == KILLS || Instant::now() > settled) {
            return Ok(decided);
        }
        if Instant::now() > deadline {
            bail!("{KILLS} deaths, but {} of them have a decision", decided.len());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// What `incidents --json` says: the daemon's own document, as docs/openapi.json describes it.
fn read(text: &str) -> Result<Vec<f64>> {
    let document: Value = serde_json::from_str(text).context("incidents --json")?;
    let incidents = document.get("incidents").and_then(Value::as_array).context("no incidents")?;
    Ok(incidents.iter().flat_map(deaths_to_decisions).collect())
}

/// From each death to the first decision after it.
fn deaths_to_decisions(incident: &Value) -> Vec<f64> {
    let mut decided = Vec::new();
    let mut death = None;
    for entry in incident.get("timeline").and_then(Value::as_array).into_iter().flatten() {
        let at = entry.get("after_opened_ns").and_then(Value::as_i64);
        match entry.get("kind").and_then(Value::as_str) {
            Some("death") => death = at,
            Some("decision") => {
                let took = at.zip(death.take());
                decided.extend(took.map(|(decision, death)| (decision - death) as f64 / 1e6));
            }
            _ => {}
        }
    }
    decided
}

/// What the envelope says of it.
pub(super) fn verdict(decided: &[f64]) -> Verdict {
    let (median, p99) = (stats::median(decided), stats::quantile(decided, 0.99));
    Verdict {
        rule: format!("adopted services: death to decision p99 at most {DECIDED_MS} ms"),
        measured: format!("p50 {median:.3} ms, p99 {p99:.3} ms, {} deaths", decided.len()),
        holds: p99 <= DECIDED_MS,
        gates: true,
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn each_death_counts_with_the_decision_after_it() {
        let moment = |kind: &str, ns: i64| format!(r#"{{"kind":"{kind}","after_opened_ns":{ns}}}"#);
        let twice = [moment("death", 500_000), moment("decision", 600_000)].join(",");
        let death = format!("[{},{},{twice}]", moment("death", 0), moment("decision", 250_000));
        let answer = format!("[{},{}]", moment("bad_answer", 0), moment("decision", 90_000));
        let text = format!(r#"{{"incidents":[{{"timeline":{death}}},{{"timeline":{answer}}}]}}"#);
        assert_eq!(read(&text).unwrap(), [0.25, 0.1]);
        assert!(read("[]").is_err());
    }
}
