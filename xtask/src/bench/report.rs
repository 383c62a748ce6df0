//! The table: as Markdown for people, as JSON for the next run.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Args, Findings, Sample, Samples,
    contender::Contender,
    recovery, sched,
    stats::{Estimate, Random, estimate, median},
    truth::Account,
};

const MIB: f64 = 1024.0 * 1024.0;

/// One contender's figures: medians over the rounds.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) ours: bool,
    /// Nanoseconds in its BPF programs per spawn; `None` if it has none.
    pub(super) kernel_ns: Option<f64>,
    /// The same by program, with runs per spawn.
    pub(super) programs: BTreeMap<String, (f64, f64)>,
    /// Wall time of the storm against the one just before the contender was attached.
    pub(super) slowdown: Estimate,
    /// Microseconds of wall time per spawn before it was attached.
    pub(super) bare_us: f64,
    /// Microseconds of the tracer's processor time per spawn; `None` if there is no tracer.
    pub(super) reader_us: Option<f64>,
    /// Bytes.
    pub(super) peak_rss: f64,
}

pub(super) fn rows(chosen: &[&Contender], samples: &Samples, random: &mut Random) -> Vec<Row> {
    let none = Vec::new();
    chosen
        .iter()
        .map(|contender| row(contender, samples.get(contender.id).unwrap_or(&none), random))
        .collect()
}

fn row(contender: &Contender, samples: &[Sample], random: &mut Random) -> Row {
    let over = |of: &dyn Fn(&Sample) -> f64| median(&samples.iter().map(of).collect::<Vec<_>>());
    let ratios: Vec<f64> = samples.iter().map(|sample| sample.storm_seconds / sample.bare_seconds).collect();
    let has_programs = samples.iter().any(|sample| !sample.kernel.is_empty());
    let has_reader = samples.iter().any(|sample| !sample.cpu.is_zero());
    Row {
        id: contender.id,
        title: contender.title,
        ours: contender.is_ours(),
        kernel_ns: has_programs.then(|| {
            over(&|sample| {
                let total: u64 = sample.kernel.iter().map(|program| program.run_ns).sum();
                total as f64 / sample.kernel_spawned as f64
            })
        }),
        programs: by_program(samples),
        slowdown: estimate(&ratios, random),
        bare_us: over(&|sample| sample.bare_seconds * 1e6 / sample.spawned as f64),
        reader_us: has_reader.then(|| over(&|sample| sample.cpu.as_secs_f64() * 1e6 / sample.spawned as f64)),
        peak_rss: over(&|sample| sample.peak_rss as f64),
    }
}

fn by_program(samples: &[Sample]) -> BTreeMap<String, (f64, f64)> {
    let mut figures: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for sample in samples {
        for program in sample.kernel.iter().filter(|program| program.runs > 0) {
            let (times, runs) = figures.entry(&program.name).or_default();
            times.push(program.run_ns as f64 / program.runs as f64);
            runs.push(program.runs as f64 / sample.kernel_spawned as f64);
        }
    }
    let medians =
        figures.into_iter().map(|(name, (times, runs))| (name.to_owned(), (median(&times), median(&runs))));
    medians.collect()
}

/// All of one run.
pub(super) struct Report<'a> {
    pub(super) args: &'a Args,
    pub(super) machine: &'a [(&'static str, String)],
    pub(super) findings: &'a Findings,
}

impl Report<'_> {
    /// Ready for the README.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        _ = self.write_machine(&mut text);
        if !self.findings.rows.is_empty() {
            _ = self.write_table(&mut text);
            _ = self.write_programs(&mut text);
        }
        text.extend(self.findings.scheduler.iter().map(sched::Table::markdown));
        text.extend(self.findings.recoveries.iter().map(recovery::Table::markdown));
        _ = self.write_verdicts(&mut text);
        text
    }

    fn write_machine(&self, text: &mut String) -> std::fmt::Result {
        let facts: Vec<_> = self.machine.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(text, "Measured on: {}.\n", facts.join(", "))
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let bare = median(&self.findings.rows.iter().map(|row| row.bare_us).collect::<Vec<_>>());
        writeln!(
            text,
            "Medians of {} interleaved rounds of {} spawns by two threads, {bare:.1} us each with nothing attached. Slow-down: against the storm just before the tracer was attached, with its 95% bootstrap interval.\n",
            self.args.rounds, self.args.count
        )?;
        writeln!(
            text,
            "| tracer | in-kernel ns per spawn | storm slow-down | reader CPU us per spawn | peak RSS MiB |"
        )?;
        writeln!(text, "| --- | ---: | ---: | ---: | ---: |")?;
        for row in &self.findings.rows {
            let kernel = row.kernel_ns.map_or_else(|| "–".to_owned(), |ns| format!("{ns:.0}"));
            let Estimate { median, low, high } = row.slowdown;
            let slowdown = format!("{median:.3} ({low:.3} to {high:.3})");
            let reader = row.reader_us.map_or_else(|| "–".to_owned(), |us| format!("{us:.2}"));
            let rss =
                if row.peak_rss > 0.0 { format!("{:.1}", row.peak_rss / MIB) } else { "–".to_owned() };
            writeln!(text, "| {} | {kernel} | {slowdown} | {reader} | {rss} |", row.title)?;
        }
        writeln!(text)
    }

    fn write_programs(&self, text: &mut String) -> std::fmt::Result {
        for row in self.findings.rows.iter().filter(|row| row.ours && !row.programs.is_empty()) {
            let programs = row.programs.iter();
            let each: Vec<_> =
                programs.map(|(name, (ns, runs))| format!("{name} {ns:.0} ns x {runs:.2}")).collect();
            writeln!(text, "- {}: {} per spawn", row.title, each.join(", "))?;
        }
        writeln!(text)
    }

    fn write_verdicts(&self, text: &mut String) -> std::fmt::Result {
        if self.findings.verdicts.is_empty() {
            return Ok(());
        }
        writeln!(text, "| must hold | measured | |")?;
        writeln!(text, "| --- | --- | --- |")?;
        for verdict in &self.findings.verdicts {
            let word = if verdict.holds { "holds" } else { "MISSES" };
            writeln!(text, "| {} | {} | {word} |", verdict.rule, verdict.measured)?;
        }
        writeln!(text)
    }

    /// Keeps the run below `scratch`, under its time.
    pub(super) fn save(&self, scratch: &Path) -> Result<PathBuf> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let file = scratch.join(format!("bench-{now}.json"));
        let text = serde_json::to_string_pretty(&self.json(now))?;
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        fs::write(scratch.join("latest.md"), self.markdown())?;
        Ok(file)
    }

    fn json(&self, now: u64) -> Value {
        let machine: serde_json::Map<_, _> =
            self.machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let rows = self.findings.rows.iter().map(|row| {
            let programs = row.programs.iter().map(|(name, (ns, runs))| {
                json!({ "name": name, "ns_per_run": ns, "runs_per_spawn": runs })
            });
            json!({
                "id": row.id,
                "kernel_ns_per_spawn": row.kernel_ns,
                "programs": programs.collect::<Vec<_>>(),
                "slowdown": { "median": row.slowdown.median, "low": row.slowdown.low, "high": row.slowdown.high },
                "bare_us": row.bare_us,
                "reader_us_per_spawn": row.reader_us,
                "peak_rss_bytes": row.peak_rss,
            })
        });
        let verdicts = self.findings.verdicts.iter().map(|one| {
            json!({ "rule": one.rule, "measured": one.measured, "holds": one.holds, "gates": one.gates })
        });
        json!({
            "time": now,
            "machine": machine,
            "rounds": self.args.rounds,
            "spawns": self.args.count,
            "seed": self.args.seed,
            "rows": rows.collect::<Vec<_>>(),
            "count": self.findings.account.as_ref().map(Account::json),
            "scheduler": self.findings.scheduler.as_ref().map(sched::Table::json),
            "recoveries": self.findings.recoveries.as_ref().map(recovery::Table::json),
            "verdicts": verdicts.collect::<Vec<_>>(),
        })
    }
}
