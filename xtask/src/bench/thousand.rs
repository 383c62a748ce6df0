//! Many services under one daemon: all started, all killed at once, all back; and what the daemon costs meanwhile.
//!
//! The services are the recovery bench's victim: each start of one adds a line to one file, which is the count.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    daemon::Daemon,
    envelope::Verdict,
    recovery::place::{self, Place, boottime_ns},
    resident::{CPU_PERCENT, RSS_BYTES, Sleepers},
};

/// The name for `--only`.
pub(super) const NAME: &str = "thousand";

/// Services of the large daemon, and of the envelope's row 6, where the rest of its thousand processes sleep.
const MANY: usize = 1_000;
const ENVELOPE: usize = 100;

/// Idle for so long, once it has settled.
const IDLE: Duration = Duration::from_secs(30);
const SETTLES: Duration = Duration::from_secs(5);

/// One daemon's figures.
struct Figures {
    services: usize,
    /// Seconds from the daemon's start, and from the kill, to the last first instruction.
    all_up: f64,
    all_back: f64,
    rss: u64,
    peak_rss: u64,
    idle_percent: f64,
}

/// Both daemons.
pub(super) fn measure(processguard: &Path, workload: &Path, scratch: &Path) -> Result<Vec<Verdict>> {
    let victim = place::compile("victim", include_str!("recovery/victim.c"), scratch)?;
    let many = one(processguard, &victim, MANY).context("a thousand services")?;
    let sleepers = Sleepers::start(workload, MANY - ENVELOPE)?;
    let envelope = one(processguard, &victim, ENVELOPE).context("a hundred services")?;
    drop(sleepers);
    Ok([many.told(), envelope.told()].into_iter().chain(envelope.envelope()).collect())
}

fn one(processguard: &Path, victim: &Path, services: usize) -> Result<Figures> {
    let place = Place::new(&format!("{services}"), victim)?;
    let began = boottime_ns();
    let mut daemon = Daemon::start(processguard, place.directory(), &policies(&place, services))?;
    let last = place.wait_for(services, || daemon.process.check()).context("all up")?;
    let all_up = seconds(began, last.began_ns);
    thread::sleep(SETTLES);

    let (killed, before) = place.kill_all()?;
    ensure!(killed == services, "{killed} of {services} services ran");
    let last = place.wait_for(2 * services, || daemon.process.check()).context("all back")?;
    let all_back = seconds(before, last.began_ns);
    thread::sleep(SETTLES);

    let (cpu, idle) = (daemon.process.cpu()?, Instant::now());
    thread::sleep(IDLE);
    let cpu = daemon.process.cpu()?.saturating_sub(cpu);
    let idle_percent = cpu.as_secs_f64() * 100.0 / idle.elapsed().as_secs_f64();
    let lives = place.lives()?.len();
    ensure!(lives == 2 * services, "{services} services, killed once each, were started {lives} times");
    let (rss, peak_rss) = (daemon.process.rss()?, daemon.process.peak_rss()?);
    daemon.stop()?;
    Ok(Figures { services, all_up, all_back, rss, peak_rss, idle_percent })
}

/// One restart of each is within its budget.
fn policies(place: &Place, services: usize) -> String {
    let documents = (0..services).map(|number| {
        format!(
            "---\nversion: processguard/v1\nservice: service-{number:04}\nrun: {{ command: [{}, {}] }}\n\
             restart: {{ on: always, budget: 2/10m, backoff: {{ initial: 0s, jitter: 0% }} }}\n",
            place.program().display(),
            place.record().display()
        )
    });
    documents.collect()
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}

impl Figures {
    /// What has no bound, but is to be seen.
    fn told(&self) -> Verdict {
        Verdict {
            rule: format!("{} services: all up, all killed at once, all back, each once", self.services),
            measured: format!(
                "up {:.2} s after the daemon's start, back {:.2} s after the kill; then {:.1} MB (at most {:.1}), {:.2}% of a core",
                self.all_up,
                self.all_back,
                self.rss as f64 / 1e6,
                self.peak_rss as f64 / 1e6,
                self.idle_percent
            ),
            // Else there would have been an error.
            holds: true,
            gates: true,
        }
    }

    fn envelope(&self) -> [Verdict; 2] {
        [
            Verdict {
                rule: format!(
                    "daemon with {} services, {MANY} processes: RSS at most {:.0} MB",
                    self.services,
                    RSS_BYTES as f64 / 1e6
                ),
                measured: format!("{:.1} MB", self.rss as f64 / 1e6),
                holds: self.rss <= RSS_BYTES,
                gates: false,
            },
            Verdict {
                rule: format!("the same: idle at most {CPU_PERCENT}% of a core"),
                measured: format!("{:.2}%", self.idle_percent),
                holds: self.idle_percent <= CPU_PERCENT,
                gates: false,
            },
        ]
    }
}
