//! How the daemon begins: everything is opened, what the one before left is taken up, and only then anything is decided.

use std::collections::HashMap;
use std::sync::Arc;

use guard_common::limits::RING_BYTES;
use guard_core::ids::ProcId;
use guard_core::incident::Incidents;
use guard_core::supervise::{Before, Clock, Input, Saved, SavedShared, Settings as Supervising, Subject, Supervisor};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::alerts::{self, Alerts};
use super::door::{Door, Request};
use super::flags::Flags;
use super::gauges::Gauges;
use super::generations::Generations;
use super::hands::exits::Exits;
use super::hands::notify::Notices;
use super::hands::{self, Hands};
use super::lives::Lives;
use super::policies::{self, Accepted};
use super::probes::Probes;
use super::resume::{self, Main};
use super::settings::Settings;
use super::state::{Recovered, State};
use super::tally::Tally;
use super::told::Teller;
use super::turn::{Daemon, Sources};
use crate::clock::{self, Stamp};
use crate::exit::Failure;
use crate::holder::{Audience, Holder, Settings as Holding};
use crate::redact::Redactor;
use crate::sensor::{Options, Watch};

/// Checks that are asked at once.
const PROBES: usize = 128;

/// How often the process table is compared with the kernel's own.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(60);

/// What is put down of a service: what the supervisor saved, and who its main processes are.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) saved: Saved,
    pub(super) mains: Vec<Main>,
}

/// Opens everything.
///
/// # Errors
/// If something that the daemon cannot do without is missing: nothing was changed then.
pub(super) fn open(
    settings: Settings,
    door: Door,
    requests: mpsc::Receiver<Request>,
) -> Result<(Daemon, Sources), Failure> {
    let boot = clock::boot_id().map_err(|source| Failure::System { action: "read the boot id", source })?;
    let stamp = Stamp { boot, utc_offset_ns: clock::utc_offset_ns() };
    let read = policies::read(&settings.policies);
    // Policies with errors keep nobody from starting again: those that held before hold on.
    let (mut state, recovered) = State::open(&settings.state, &boot.to_string(), stamp.utc_offset_ns)?;
    let (accepted, generations, trouble) = which(&mut state, read, stamp)?;
    let recording = settings.state.join("recording");
    let (mut holder, listener) = Holder::open(Holding {
        pins: settings.pins.clone(),
        socket: settings.runtime.join("sensor.sock"),
        directory: recording.clone(),
        rotation: settings.rotation,
        sensor: Options {
            watch: Watch::AllFollowed,
            ring_bytes: settings.ring_bytes.unwrap_or(RING_BYTES),
            ..Options::default()
        },
        ring_size_matters: settings.ring_bytes.is_some(),
        watched: vec![std::process::id()],
        redactor: Redactor::default(),
        interval: crate::feed::INTERVAL,
        sweep: SWEEP,
        audience: Audience::Owner,
    })?;
    let gauges = Gauges::attach(settings.sample_interval)?;
    let (hands, notices) = Hands::open(hands::Settings {
        root: settings.cgroup.clone(),
        runtime: settings.runtime.clone(),
    })?;
    let (probes, answers) = Probes::new(PROBES);
    let (alerts, told) = Alerts::new(alerts::Settings {
        exec: settings.alert_exec.clone(),
        webhook: settings.alert_webhook.clone(),
        journal: true,
    });
    Err(Failure::Usage(String::new()))
}
