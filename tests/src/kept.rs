//! What tests know of the services that a daemon keeps: by the services' own words, and by the daemon's.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::daemon::Place;
use crate::{host, sys};

/// Lives of a service, as its processes wrote them down themselves: pid and start.
#[derive(Debug)]
pub struct Truth(PathBuf);

impl Truth {
    /// Those of this service.
    #[must_use]
    pub fn new(place: &Place, name: &str) -> Self {
        Self(place.path(&format!("{name}.truth")))
    }

    /// The policy of a service whose processes write down that they began, and live for ever.
    ///
    /// # Errors
    /// If the workload was not built.
    pub fn service(&self, name: &str, more: &str) -> Result<String> {
        let workload = host::guard_workload()?;
        Ok(format!(
            "version: processguard/v1\nservice: {name}\nrun:\n  command: [{}, once, --truth, {}]\n  log: {{ none: {{}} }}\n\
             restart: {{ on: always, budget: 1000/1h, backoff: {{ initial: 1ms, factor: 1, max: 1ms, jitter: 0% }} }}\n{more}",
            workload.display(),
            self.0.display(),
        ))
    }

    /// Pids in the order in which they began.
    ///
    /// # Errors
    /// If a line is none of ours.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        // The last line may be half written.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines
            .map(|line| {
                let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
                let pid = line.get("pid").and_then(Value::as_i64).context("no pid")?;
                Ok(i32::try_from(pid)?)
            })
            .collect()
    }

    /// Waits for the life of this number, counted from 1.
    ///
    /// # Errors
    /// If it does not begin.
    pub fn wait_for(&self, number: usize) -> Result<i32> {
        host::wait_for(&format!("life {number} in {}", self.0.display()), || {
            Ok(self.pids()?.get(number - 1).copied())
        })
    }

    /// Kills the process that lives, which the test had started, and waits for the next one.
    ///
    /// # Errors
    /// If it does not live, or is not followed by another one.
    pub fn kill(&self, number: usize) -> Result<i32> {
        let pid = self.wait_for(number)?;
        ensure!(self.pids()?.len() == number, "there is a life after {number} already");
        sys::kill(pid, libc::SIGKILL)?;
        self.wait_for(number + 1)
    }
}

/// Waits until `incidents --json` has one that is over and meant.
///
/// # Errors
/// If there is none.
pub fn closed_incident(place: &Place, service: &str) -> Result<Value> {
    host::wait_for(&format!("an incident of {service} that is over"), || {
        let all = place.json(&["incidents", "--service", service])?;
        let incidents = all.get("incidents").and_then(Value::as_array).context("no incidents")?;
        Ok(incidents.iter().find(|incident| incident.get("open") == Some(&Value::Bool(false))).cloned())
    })
}

/// A field of `status --json` of a service.
///
/// # Errors
/// If there is no such service.
pub fn service(place: &Place, name: &str) -> Result<Value> {
    let status = place.json(&["status"])?;
    let services = status.get("services").and_then(Value::as_array).context("no services")?;
    let found = services.iter().find(|service| service.get("name").is_some_and(|found| found == name));
    found.cloned().with_context(|| format!("no service {name}: {status}"))
}
