//! The daemon itself, for whoever asks: what it counted, what it uses, what is wrong with it.

use std::collections::BTreeMap;

use guard_common::wire::Kind;

use super::door::DaemonFacts;
use super::turn::Daemon;

impl Daemon {
    /// All of it, as of this turn.
    pub(super) fn facts(&self) -> DaemonFacts {
        let mut losses: BTreeMap<(&'static str, &'static str), u64> = BTreeMap::new();
        for lost in self.holder.losses() {
            *losses.entry((lost.kind.name(), lost.cause.name())).or_default() += lost.count;
        }
        let records = Kind::ALL.into_iter().zip(self.tally.records);
        let sensor = self.holder.sensor();
        let troubles = self.troubles.iter().cloned();
        let troubles = troubles.chain(self.hands.troubles().iter().cloned());
        let troubles = troubles.chain(self.state.trouble());
        let unrecorded = self.holder.trouble().map(|why| format!("nothing is recorded: {why}"));
        let troubles = troubles.chain(unrecorded);
        DaemonFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.own_pid,
            started_ns: self.started_ns,
            takeovers: self.takeovers,
            generation: self.generations.current().number,
            certain: self.certain,
            records: records.map(|(kind, count)| (kind.name(), count)).collect(),
            losses: losses.into_iter().map(|((kind, cause), count)| (kind, cause, count)).collect(),
            ring: (sensor.waiting(), sensor.ring_bytes()),
            actions: self
                .tally
                .actions
                .iter()
                .map(|((deed, outcome), count)| (*deed, *outcome, *count))
                .collect(),
            restarts: self
                .tally
                .restarts
                .iter()
                .map(|((of, cause), count)| (of.clone(), *cause, *count))
                .collect(),
            recoveries: self.tally.recoveries.iter().map(|(of, took)| (of.clone(), took.clone())).collect(),
            downtime: self.tally.downtime_ns.iter().map(|(of, ns)| (of.clone(), seconds(*ns))).collect(),
            answers: self
                .tally
                .answers
                .iter()
                .map(|((of, check, result), count)| (of.clone(), check.clone(), *result, *count))
                .collect(),
            run_queue: self.gauges.run_queue(),
            used: used(),
            troubles: troubles.collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// CPU seconds, resident bytes and open files of ours; zeros where /proc does not say.
fn used() -> (f64, u64, u64) {
    let Ok(own) = procfs::process::Process::myself() else { return (0.0, 0, 0) };
    let stat = own.stat().ok();
    let ticks = procfs::ticks_per_second().max(1);
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    let cpu = stat.as_ref().map_or(0.0, |stat| (stat.utime + stat.stime) as f64 / ticks as f64);
    let resident = stat.map_or(0, |stat| stat.rss.saturating_mul(procfs::page_size()));
    (cpu, resident, own.fd_count().unwrap_or(0) as u64)
}
