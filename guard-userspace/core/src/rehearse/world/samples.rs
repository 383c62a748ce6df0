//! What processes use, as the kernel would tell it.

use std::sync::Arc;

use super::{Fed, SECOND, World, answers::RSS_BYTES, event};
use crate::event::{Action, Group, Process};
use crate::latency::{BUCKETS, GroupLatency, Latency, Stall, Waited};
use crate::policy::model::Origin;
use crate::rehearse::scenario::Gauge;
use crate::resources::{GroupResources, Percent, Pressure, Resources, Sample, Stalled};
use crate::supervise::Subject;

/// The memory limit where a policy sets none, in bytes.
const MEMORY_LIMIT: u64 = 1 << 30;

/// The limit of open files where a policy sets none: that of a login shell.
const FILES_LIMIT: u64 = 1_024;

/// What a process has used so far.
#[derive(Debug)]
pub(super) struct Used {
    /// As of this time.
    time_ns: u64,
    cpu_ns: u64,
    read_bytes: u64,
    write_bytes: u64,
}

impl Used {
    pub(super) const fn new(time_ns: u64) -> Self {
        Self { time_ns, cpu_ns: 0, read_bytes: 0, write_bytes: 0 }
    }
}

impl World<'_> {
    pub(super) fn gauge(&self, now_ns: u64, place: &(Arc<str>, u32), gauge: Gauge) -> Option<f64> {
        let born_ns = self.lives.get(place)?.born_ns;
        let subject = Subject { service: place.0.clone(), instance: Some(place.1) };
        self.said(&subject, |said| said.signals.get(&gauge).map(|timed| timed.at(now_ns, born_ns).max(0.0)))
    }

    /// Samples of all processes that live.
    pub(super) fn samples(&mut self, now_ns: u64) -> Vec<Fed> {
        let places: Vec<(Arc<str>, u32)> = self.lives.keys().cloned().collect();
        places.iter().flat_map(|place| self.sample(now_ns, place)).collect()
    }

    fn sample(&mut self, now_ns: u64, place: &(Arc<str>, u32)) -> Vec<Fed> {
        let read = |gauge| self.gauge(now_ns, place, gauge);
        let (cpu, io_read, io_write) = (read(Gauge::Cpu), read(Gauge::IoRead), read(Gauge::IoWrite));
        let rss_bytes = read(Gauge::MemoryRss).unwrap_or(RSS_BYTES) as u64;
        let swap_bytes = read(Gauge::MemorySwap).unwrap_or_default() as u64;
        let threads = read(Gauge::Threads).unwrap_or(4.0) as u32;
        let (memory_limit, files_limit) = self.limits(&place.0);
        let open_files = match read(Gauge::FilesShare) {
            Some(percent) => percent / 100.0 * files_limit as f64,
            None => read(Gauge::FilesOpen).unwrap_or(32.0),
        };
        let memory = read(Gauge::MemoryShare).map(|percent| percent / 100.0 * memory_limit as f64);
        let memory = memory.map_or(rss_bytes, |bytes| bytes as u64);
        let group = GroupResources {
            memory_bytes: Some(memory),
            memory_limit_bytes: Some(memory_limit),
            cpu_pressure: Some(pressure(read(Gauge::PressureCpu))),
            memory_pressure: Some(pressure(read(Gauge::PressureMemory))),
            io_pressure: Some(pressure(read(Gauge::PressureIo))),
        };
        let (wait, sleep) = (read(Gauge::RunQueueP99), read(Gauge::Uninterruptible));
        let interval_ns = self.scenario.sample;
        let Some(life) = self.lives.get_mut(place) else { return Vec::new() };
        let passed = now_ns.saturating_sub(life.used.time_ns);
        let moving = if life.frozen { 0.0 } else { passed as f64 / SECOND as f64 };
        let cpu_ns = (cpu.unwrap_or(1.0) / 100.0 * moving * SECOND as f64) as u64;
        life.used.time_ns = now_ns;
        life.used.cpu_ns += cpu_ns;
        life.used.read_bytes += (io_read.unwrap_or_default() * moving) as u64;
        life.used.write_bytes += (io_write.unwrap_or_default() * moving) as u64;
        let process = life.process.clone();
        let used = Resources {
            id: process.id,
            time_ns: now_ns,
            cpu_ns: life.used.cpu_ns,
            run_delay_ns: None,
            rss_bytes,
            swap_bytes,
            open_files: open_files as u32,
            open_files_limit: Some(files_limit),
            threads,
            read_bytes: Some(life.used.read_bytes),
            write_bytes: Some(life.used.write_bytes),
            cgroup_id: process.cgroup.id,
            cgroup_hierarchy: process.cgroup.hierarchy,
        };
        let sample = Sample { used, cpu: Percent::of(cpu_ns, passed) };
        let group = Group { cgroup: process.cgroup.clone(), used: group };
        let mut actions = vec![
            Action::Resources { process: process.clone(), sample: Box::new(sample) },
            Action::Group(Box::new(group)),
        ];
        actions.extend(wait.map(|wait| latency(process.clone(), interval_ns, wait)));
        actions.extend(sleep.filter(|sleep| *sleep > 0.0).map(|sleep| stall(process, sleep)));
        actions.into_iter().map(|action| Fed::Event(Box::new(event(now_ns, action)))).collect()
    }

    /// Limits of an instance's memory and open files.
    fn limits(&self, service: &str) -> (u64, u64) {
        let run = self.service(service).and_then(|service| match &service.origin {
            Origin::Run(run) => Some(run.limits),
            Origin::Adopt(_) => None,
        });
        let limits = run.unwrap_or_default();
        (limits.memory.unwrap_or(MEMORY_LIMIT), limits.open_files.unwrap_or(FILES_LIMIT))
    }
}

fn pressure(percent: Option<f64>) -> Pressure {
    let hundredths = (percent.unwrap_or_default() * 100.0) as u64;
    Pressure { some: Stalled { avg10: Percent { hundredths }, total_ns: 0 }, full: None }
}

/// A hundred waits of about that length.
fn latency(process: Arc<Process>, interval_ns: u64, wait_ns: f64) -> Action {
    let mut waits = GroupLatency::default();
    // A bucket's upper end stands for what is in it.
    let bucket = (0..BUCKETS).find(|bucket| (2_000_u64 << bucket) as f64 >= wait_ns).unwrap_or(BUCKETS - 1);
    if let Some(count) = waits.run_queue.buckets.get_mut(bucket) {
        *count = 100;
    }
    Action::Latency { process, latency: Box::new(Latency { group: 1, interval_ns, waits }) }
}

fn stall(process: Arc<Process>, sleep_ns: f64) -> Action {
    let thread = process.id.pid;
    let stall =
        Stall { what: Waited::Uninterruptible, thread, cpu: 0, waited_ns: sleep_ns as u64, ongoing: true };
    Action::Stall { process, stall }
}
