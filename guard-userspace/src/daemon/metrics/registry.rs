//! Facts to metrics, at the time of the scrape.
//!
//! A label is never a pid: what lives a second would stay in the scraper's memory for weeks.

use std::fmt;

use guard_core::supervise::{ServiceFacts, Used};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Registry, Unit};

use super::rows::{Labels, Rows, Spread};
use crate::clock;
use crate::daemon::door::DaemonFacts;
use crate::daemon::tally::{RECOVERY_BOUNDS, Recoveries};
use crate::daemon::view::{CheckState, State};

/// All metrics as OpenMetrics.
pub(super) fn open_metrics(daemon: &DaemonFacts, services: &[ServiceFacts]) -> Result<String, fmt::Error> {
    let mut all = Registry::with_prefix("processguard");
    sensor(&mut all, daemon);
    states(&mut all, services);
    usage(&mut all, services);
    histories(&mut all, daemon);
    own(&mut all, daemon);
    let mut text = String::new();
    encode(&mut text, &all)?;
    Ok(text)
}

fn sensor(all: &mut Registry, daemon: &DaemonFacts) {
    let records = daemon.records.iter().map(|(kind, count)| (kinds(kind), *count));
    all.register("sensor_records", "Kernel records read, by kind", Rows::count(records));
    let losses = daemon.losses.iter().map(|(kind, cause, count)| {
        (vec![("kind", (*kind).to_owned()), ("cause", (*cause).to_owned())], *count)
    });
    all.register("sensor_records_lost", "Kernel records lost, by kind and cause", Rows::count(losses));
    let (waiting, size) = daemon.ring;
    let help = "What waits in the kernel's ring to be read";
    all.register_with_unit("sensor_ring_waiting", help, Unit::Bytes, one(waiting as f64));
    let help = "What fits into the kernel's ring";
    all.register_with_unit("sensor_ring_size", help, Unit::Bytes, one(size.into()));
    let help =
        "Whether the process table can be relied on: 0 after records were lost, until it is reconciled";
    all.register("sensor_certain", help, one(daemon.certain.into()));
}

fn states(all: &mut Registry, services: &[ServiceFacts]) {
    let states = services.iter().flat_map(|facts| {
        State::ALL.iter().map(|state| {
            let mut labels = service(facts);
            labels.push(("state", state.name().to_owned()));
            (labels, f64::from(State::from(facts.state) == *state))
        })
    });
    all.register(
        "service_state",
        "1 for the state that a service is in, 0 for all others",
        Rows::gauge(states),
    );
    let mut each = |name: &str, help: &str, of: fn(&ServiceFacts) -> f64| {
        all.register(name, help, Rows::gauge(services.iter().map(|facts| (service(facts), of(facts)))));
    };
    each("service_instances_wanted", "Instances that are wanted", |facts| facts.target.into());
    each("service_instances_ready", "Instances that are ready", |facts| facts.ready.into());
    each("service_down", "Whether fewer instances are ready than its policy needs", |facts| {
        facts.down_since_ns.is_some().into()
    });
    each("service_restarts_left", "Restarts that are left in the budget", |facts| facts.budget.0.into());
    each("service_restarts_allowed", "Restarts that the budget allows in its window", |facts| {
        facts.budget.1.into()
    });
    each("service_approvals_waiting", "Steps that wait for somebody's consent", |facts| {
        facts.waiting.len() as f64
    });
    let failing = services.iter().flat_map(|facts| {
        let checks = facts.checks.iter().chain(facts.instances.iter().flat_map(|instance| &instance.checks));
        let failing =
            |check: &&guard_core::supervise::CheckFacts| CheckState::from(check.state) == CheckState::Failing;
        let mut names: Vec<(&str, bool)> = Vec::new();
        for check in checks {
            match names.iter_mut().find(|(name, _)| *name == &*check.name) {
                Some((_, any)) => *any |= failing(&check),
                None => names.push((&check.name, failing(&check))),
            }
        }
        names.into_iter().map(|(name, any)| {
            let mut labels = service(facts);
            labels.push(("check", name.to_owned()));
            (labels, f64::from(any))
        })
    });
    all.register("service_check_failing", "Whether a check fails, of any instance", Rows::gauge(failing));
}

fn usage(all: &mut Registry, services: &[ServiceFacts]) {
    let sum = |facts: &ServiceFacts, of: fn(&Used) -> f64| {
        let used: Vec<f64> =
            facts.instances.iter().filter_map(|instance| instance.used.as_ref()).map(of).collect();
        // What was not sampled is not nothing.
        (!used.is_empty()).then(|| (service(facts), used.iter().sum::<f64>()))
    };
    let rows = |of: fn(&Used) -> f64| Rows::gauge(services.iter().filter_map(|facts| sum(facts, of)));
    let help = "CPU time used in the last sample, as a ratio of one core, all instances together";
    all.register("service_cpu_ratio", help, rows(|used| used.cpu_percent / 100.0));
    let help = "Resident memory, all instances together";
    all.register_with_unit("service_memory", help, Unit::Bytes, rows(|used| used.rss_bytes as f64));
    let help = "Descriptors of the process with most, of each instance, together";
    all.register("service_open_files", help, rows(|used| used.open_files.into()));
    all.register("service_threads", "Threads, all instances together", rows(|used| used.threads.into()));
}

fn histories(all: &mut Registry, daemon: &DaemonFacts) {
    let restarts = daemon.restarts.iter().map(|(name, cause, count)| {
        (vec![("service", name.clone()), ("cause", (*cause).to_owned())], *count)
    });
    let help = "Restarts since the daemon was started, by cause";
    all.register("service_restarts", help, Rows::count(restarts));
    let spread = |(name, took): &(String, Recoveries)| {
        let ends = RECOVERY_BOUNDS.into_iter().chain([f64::MAX]);
        let buckets = ends.zip(took.buckets).collect();
        (vec![("service", name.clone())], Spread { sum: took.sum, buckets })
    };
    let recoveries = daemon.recoveries.iter().map(spread);
    let help = "How long incidents took until the service was well again, on the kernel's clock";
    all.register_with_unit("service_recovery", help, Unit::Seconds, Rows::histogram(recoveries));
    let downtime = daemon.downtime.iter().map(|(name, seconds)| (vec![("service", name.clone())], *seconds));
    let help = "How long fewer instances were ready than its policy needs, since the daemon was started";
    all.register_with_unit("service_downtime", help, Unit::Seconds, Rows::counter(downtime));
    let answers = daemon.answers.iter().map(|(name, check, result, count)| {
        let labels =
            vec![("service", name.clone()), ("check", check.clone()), ("result", (*result).to_owned())];
        (labels, *count)
    });
    all.register("service_check_results", "Answers of checks, by result", Rows::count(answers));
    let waits =
        daemon.run_queue.iter().map(|(name, waits)| (vec![("service", name.clone())], run_queue(waits)));
    let help = "How long threads that could run waited for a CPU; the sum is estimated from the buckets";
    all.register_with_unit("service_run_queue", help, Unit::Seconds, Rows::histogram(waits));
    let actions = daemon.actions.iter().map(|(kind, outcome, count)| {
        (vec![("kind", (*kind).to_owned()), ("outcome", (*outcome).to_owned())], *count)
    });
    all.register(
        "actions",
        "Actions since the daemon was started, by kind and outcome",
        Rows::count(actions),
    );
}

fn own(all: &mut Registry, daemon: &DaemonFacts) {
    let (cpu_seconds, resident_bytes, open_files) = daemon.used;
    let nothing = Vec::new;
    let help = "CPU time used by the daemon itself";
    all.register_with_unit("daemon_cpu", help, Unit::Seconds, Rows::counter([(nothing(), cpu_seconds)]));
    let help = "Resident memory of the daemon itself";
    all.register_with_unit("daemon_memory", help, Unit::Bytes, one(resident_bytes as f64));
    all.register("daemon_open_files", "Open files of the daemon itself", one(open_files as f64));
    let started_ns =
        i64::try_from(daemon.started_ns).unwrap_or(i64::MAX).saturating_add(clock::utc_offset_ns());
    let help = "When the daemon was started, since 1970";
    all.register_with_unit("daemon_start_time", help, Unit::Seconds, one(started_ns as f64 / 1e9));
    let help = "How many daemons kept these services before this one";
    all.register("daemon_takeovers", help, Rows::count([(nothing(), daemon.takeovers)]));
    let help = "How many things are wrong with the daemon itself: `processguard status` names them";
    all.register("daemon_troubles", help, one(daemon.troubles.len() as f64));
    all.register(
        "policies_generation",
        "The generation of policies that holds",
        one(daemon.generation as f64),
    );
    let version = vec![("version", daemon.version.clone())];
    all.register("build_info", "The version of the daemon; always 1", Rows::gauge([(version, 1.0)]));
}

fn one(value: f64) -> Rows {
    Rows::gauge([(Vec::new(), value)])
}

fn kinds(kind: &str) -> Labels {
    vec![("kind", kind.to_owned())]
}

fn service(facts: &ServiceFacts) -> Labels {
    vec![("service", facts.policy.name.clone())]
}

/// Waits by powers of two of microseconds: bucket 0 has those below 2 us, bucket n those from 2^n to below 2^(n+1) us, the
/// last one all that are longer.
fn run_queue(waits: &[u64]) -> Spread {
    let last = waits.len().saturating_sub(1);
    let mut spread = Spread::default();
    for (bucket, count) in waits.iter().enumerate() {
        let end = 2.0_f64.powi(i32::try_from(bucket + 1).unwrap_or(i32::MAX)) * 1e-6;
        // Three quarters of the end: the middle between 2^n and 2^(n+1).
        spread.sum += *count as f64 * end * 0.75;
        spread.buckets.push((if bucket == last { f64::MAX } else { end }, *count));
    }
    if spread.buckets.is_empty() {
        spread.buckets.push((f64::MAX, 0));
    }
    spread
}
