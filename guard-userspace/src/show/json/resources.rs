//! What processes and control groups use: below `processguard.resources`, with units in the names.

use guard_core::event::Group;
use guard_core::ids::ProcId;
use guard_core::resources::{GroupResources, Percent, Pressure, Resources, Sample, Stalled};
use serde::Deserialize;

use super::write::{number, value};

/// Of a process or of a control group.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResourcesPart {
    cpu_ns: u64,
    cpu_percent: Option<f64>,
    run_delay_ns: Option<u64>,
    rss_bytes: u64,
    swap_bytes: u64,
    open_files: u32,
    open_files_limit: Option<u64>,
    threads: u32,
    read_bytes: Option<u64>,
    write_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    pressure: PressuresPart,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PressuresPart {
    cpu: Option<PressurePart>,
    memory: Option<PressurePart>,
    io: Option<PressurePart>,
}

#[derive(Debug, Deserialize)]
struct PressurePart {
    some: StallPart,
    full: Option<StallPart>,
}

#[derive(Debug, Deserialize)]
struct StallPart {
    avg10_percent: f64,
    total_ns: u64,
}

/// Appends a process's member `resources`, with a comma before it.
pub(super) fn write_sample(out: &mut Vec<u8>, sample: &Sample) {
    let used = &sample.used;
    value(out, r#","resources":{"cpu_ns":"#, used.cpu_ns);
    if let Some(share) = sample.cpu {
        percent(out, r#","cpu_percent":"#, share);
    }
    optional(out, r#","run_delay_ns":"#, used.run_delay_ns);
    value(out, r#","rss_bytes":"#, used.rss_bytes);
    value(out, r#","swap_bytes":"#, used.swap_bytes);
    value(out, r#","open_files":"#, used.open_files);
    optional(out, r#","open_files_limit":"#, used.open_files_limit);
    value(out, r#","threads":"#, used.threads);
    optional(out, r#","read_bytes":"#, used.read_bytes);
    optional(out, r#","write_bytes":"#, used.write_bytes);
    out.push(b'}');
}

/// Appends a control group's member `resources`, with a comma before it.
pub(super) fn write_group(out: &mut Vec<u8>, group: &Group) {
    let used = &group.used;
    out.extend_from_slice(br#","resources":{"pressure":{"#);
    let mut comma = "";
    for (name, pressure) in
        [("cpu", used.cpu_pressure), ("memory", used.memory_pressure), ("io", used.io_pressure)]
    {
        let Some(Pressure { some, full }) = pressure else { continue };
        out.extend_from_slice(comma.as_bytes());
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        stall(out, r#"":{"some":"#, some);
        if let Some(full) = full {
            stall(out, r#","full":"#, full);
        }
        out.push(b'}');
        comma = ",";
    }
    out.push(b'}');
    optional(out, r#","memory_bytes":"#, used.memory_bytes);
    optional(out, r#","memory_limit_bytes":"#, used.memory_limit_bytes);
    out.push(b'}');
}

fn stall(out: &mut Vec<u8>, key: &str, stall: Stalled) {
    out.extend_from_slice(key.as_bytes());
    percent(out, r#"{"avg10_percent":"#, stall.avg10);
    value(out, r#","total_ns":"#, stall.total_ns);
    out.push(b'}');
}

/// A number with two decimals.
fn percent(out: &mut Vec<u8>, key: &str, share: Percent) {
    value(out, key, share.hundredths / 100);
    let [tens, ones] = [share.hundredths / 10 % 10, share.hundredths % 10];
    out.push(b'.');
    number(out, tens);
    number(out, ones);
}

fn optional(out: &mut Vec<u8>, key: &str, known: Option<u64>) {
    if let Some(known) = known {
        value(out, key, known);
    }
}

impl ResourcesPart {
    /// A process's sample. What the event says anyway is not repeated in it: who, when and where.
    pub(super) fn sample(
        self,
        id: ProcId,
        time_ns: u64,
        (cgroup_hierarchy, cgroup_id): (u32, u64),
    ) -> Sample {
        let used = Resources {
            id,
            time_ns,
            cpu_ns: self.cpu_ns,
            run_delay_ns: self.run_delay_ns,
            rss_bytes: self.rss_bytes,
            swap_bytes: self.swap_bytes,
            open_files: self.open_files,
            open_files_limit: self.open_files_limit,
            threads: self.threads,
            read_bytes: self.read_bytes,
            write_bytes: self.write_bytes,
            cgroup_id,
            cgroup_hierarchy,
        };
        Sample { used, cpu: self.cpu_percent.map(hundredths) }
    }

    /// A control group's.
    pub(super) fn group(self) -> GroupResources {
        let PressuresPart { cpu, memory, io } = self.pressure;
        GroupResources {
            memory_bytes: self.memory_bytes,
            memory_limit_bytes: self.memory_limit_bytes,
            cpu_pressure: cpu.map(PressurePart::read),
            memory_pressure: memory.map(PressurePart::read),
            io_pressure: io.map(PressurePart::read),
        }
    }
}

impl PressurePart {
    fn read(self) -> Pressure {
        let stall =
            |part: StallPart| Stalled { avg10: hundredths(part.avg10_percent), total_ns: part.total_ns };
        Pressure { some: stall(self.some), full: self.full.map(stall) }
    }
}

/// Two decimals are exact in a float up to 2^53 hundredths: a share of 90 trillion percent.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and a share is not negative"
)]
fn hundredths(percent: f64) -> Percent {
    Percent { hundredths: (percent * 100.0).round() as u64 }
}
