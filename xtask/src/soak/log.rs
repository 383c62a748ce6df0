//! The daemon's own log, its incidents, beside what the services have written down.

use std::{collections::HashSet, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::services::{Life, Service};
use crate::sh;

/// The most that one question gives.
const LIMIT: &str = "1000";

/// What the log says of one service.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Log {
    pub(super) incidents: usize,
    pub(super) open: usize,
    /// Restarts within its incidents.
    restarts: u64,
    /// The pids of all deaths in timelines.
    deaths: HashSet<i64>,
    /// A timeline was full: not every death stands in one.
    is_cut: bool,
    /// Milliseconds from the beginning of an incident to the first good moment, where it was one death only.
    pub(super) recoveries_ms: Vec<f64>,
}

impl Log {
    /// What the daemon at this socket says of a service.
    pub(super) fn ask(processguard: &Path, socket: &Path, service: &str) -> Result<Self> {
        let mut ask = Command::new(processguard);
        ask.args(["incidents", "--json", "--limit", LIMIT, "--service", service, "--socket"]).arg(socket);
        Self::read(&sh::output(&mut ask)?)
    }

    fn read(text: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(text).context("incidents --json")?;
        let incidents = document.pointer("/incidents").and_then(Value::as_array).context("no incidents")?;
        let mut log = Self { incidents: incidents.len(), ..Self::default() };
        for incident in incidents {
            let restarts = incident
                .pointer("/restarts")
                .and_then(Value::as_u64)
                .context("an incident without restarts")?;
            let timeline = incident
                .pointer("/timeline")
                .and_then(Value::as_array)
                .context("an incident without a timeline")?;
            log.open += usize::from(incident.pointer("/open").and_then(Value::as_bool) != Some(false));
            log.restarts += restarts;
            let deaths = timeline
                .iter()
                .filter(|moment| moment.pointer("/kind").and_then(Value::as_str) == Some("death"));
            let deaths: Vec<i64> =
                deaths.filter_map(|moment| moment.pointer("/process/pid").and_then(Value::as_i64)).collect();
            log.is_cut |= (deaths.len() as u64) < restarts;
            log.deaths.extend(deaths);
            if let (1, Some(took)) =
                (restarts, incident.pointer("/recovery/at_most_ns").and_then(Value::as_u64))
            {
                log.recoveries_ms.push(took as f64 / 1e6);
            }
        }
        Ok(log)
    }

    /// What it lacks: each life but the last one ended and was followed by another, and that must stand in it. The last may
    /// have ended by itself at the very moment at which it was to be replaced.
    pub(super) fn complaints(&self, service: &Service, lives: &[Life]) -> Vec<String> {
        let mut complaints = Vec::new();
        let (name, recovered) = (&service.name, lives.len().saturating_sub(1) as u64);
        if !(recovered..=recovered + 1).contains(&self.restarts) {
            complaints.push(format!("{name}: {recovered} recoveries, {} in the log", self.restarts));
        }
        let missing = lives.iter().rev().skip(1).filter(|life| !self.deaths.contains(&i64::from(life.pid)));
        let missing: Vec<i32> = missing.map(|life| life.pid).collect();
        if !missing.is_empty() && !self.is_cut {
            complaints.push(format!("{name}: no incident tells the deaths of {missing:?}"));
        }
        if self.open > 0 {
            complaints.push(format!("{name}: {} incidents are open", self.open));
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::services::Dice;

    #[test]
    fn a_death_that_is_not_told_and_an_open_incident_are_complained_of() {
        let service = Service::draw(0, &mut Dice(1), Path::new("/d"));
        let text = |open: bool| {
            format!(
                r#"{{"incidents":[{{"open":{open},"restarts":1,"recovery":{{"at_most_ns":2000000}},
                "timeline":[{{"kind":"death","process":{{"pid":7}}}},{{"kind":"exec","process":{{"pid":8}}}}]}}]}}"#
            )
        };
        let life = |pid| Life { pid, began_ns: 0 };
        let log = Log::read(&text(false)).unwrap();
        assert_eq!(log.recoveries_ms, [2.0]);
        assert_eq!(log.complaints(&service, &[life(7), life(8)]), [""; 0]);
        assert_eq!(log.complaints(&service, &[life(6), life(8)]).len(), 1);
        assert_eq!(log.complaints(&service, &[life(7), life(8), life(9), life(10)]).len(), 2);
        assert_eq!(Log::read(&text(true)).unwrap().complaints(&service, &[life(7), life(8)]).len(), 1);
    }
}
