//! What `processguard trace` said, all of it.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::record::Record;
use crate::truth::Fact;

/// A trace that has ended.
#[derive(Debug)]
pub struct Trace {
    /// All records but the summary, in their order.
    pub records: Vec<Record>,
    /// The last record.
    pub summary: Record,
    /// What went to standard output, as it was.
    pub stdout: Vec<u8>,
    /// What went to standard error.
    pub stderr: String,
    by_pid: HashMap<i64, Vec<usize>>,
}

impl Trace {
    /// Reads the output of `--format json`.
    ///
    /// # Errors
    /// If a line is not JSON, or the last one is not a summary.
    pub fn parse(stdout: Vec<u8>, stderr: String) -> Result<Self> {
        let text = std::str::from_utf8(&stdout).context("the output is not UTF-8")?;
        let mut records = text.lines().map(parse_line).collect::<Result<Vec<_>>>()?;
        let summary = records.pop().with_context(|| format!("no output; standard error: {stderr}"))?;
        ensure!(summary.action() == "summary", "the last record is no summary: {}", summary.0);
        let mut by_pid = HashMap::<_, Vec<_>>::new();
        for (index, record) in records.iter().enumerate() {
            by_pid.entry(record.pid()).or_default().push(index);
        }
        Ok(Self { records, summary, stdout, stderr, by_pid })
    }

    /// All records of a kind.
    pub fn all<'a>(&'a self, action: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.action() == action)
    }

    /// The records of one process, known by its pid and the time of its birth.
    ///
    /// # Errors
    /// If the fact does not say when it was born, or a record does not.
    pub fn of(&self, process: &Fact) -> Result<Vec<&Record>> {
        let born = process.born()?;
        let indices = self.by_pid.get(&process.pid()?).map(Vec::as_slice).unwrap_or_default();
        let mut found = Vec::new();
        for record in indices.iter().filter_map(|&index| self.records.get(index)) {
            if born.contains(&record.start_ns()?) {
                found.push(record);
            }
        }
        Ok(found)
    }

    /// The only record of a kind for a process.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn one(&self, action: &str, process: &Fact) -> Result<&Record> {
        let all = self.of(process)?;
        let mut found = all.iter().filter(|record| record.action() == action);
        let record = found.next().with_context(|| format!("no {action} of {process:?} in {all:?}"))?;
        ensure!(found.next().is_none(), "more than one {action} of {process:?}: {all:?}");
        Ok(record)
    }

    /// The records of one kind with a pid, whatever their birth.
    pub fn with_pid<'a>(&'a self, action: &'a str, pid: i64) -> impl Iterator<Item = &'a Record> {
        self.all(action).filter(move |record| record.pid() == pid)
    }

    /// How many records of a kind the kernel gave, by the summary.
    ///
    /// # Errors
    /// If it does not say.
    pub fn seen(&self, kind: &str) -> Result<i64> {
        let seen = self.kind(kind)?.get("seen").and_then(Value::as_i64);
        seen.with_context(|| format!("no seen of {kind} in {}", self.summary.0))
    }

    /// How many records of a kind were lost, by the summary, for all causes that are counted.
    ///
    /// # Errors
    /// If it does not say.
    pub fn lost(&self, kind: &str) -> Result<i64> {
        let lost = self.kind(kind)?.get("lost").and_then(Value::as_object);
        let lost = lost.with_context(|| format!("no lost of {kind} in {}", self.summary.0))?;
        Ok(lost.values().filter_map(Value::as_i64).sum())
    }

    /// How many records of all kinds were lost, by the summary.
    ///
    /// # Errors
    /// If it does not say.
    pub fn lost_in_all(&self) -> Result<i64> {
        let kinds = self.kinds()?.iter();
        kinds.map(|entry| self.lost(entry.get("kind").and_then(Value::as_str).unwrap_or_default())).sum()
    }

    /// How many records of a kind were lost, by the gaps.
    #[must_use]
    pub fn lost_in_gaps(&self, kind: &str) -> i64 {
        let gaps = self.all("gap").filter_map(|gap| gap.field("processguard.lost")?.as_array());
        let entries = gaps.flatten().filter(|entry| entry.get("kind").and_then(Value::as_str) == Some(kind));
        entries.filter_map(|entry| entry.get("count")?.as_i64()).sum()
    }

    fn kinds(&self) -> Result<&Vec<Value>> {
        let kinds = self.summary.field("processguard.summary.kinds").and_then(Value::as_array);
        kinds.with_context(|| format!("no kinds in {}", self.summary.0))
    }

    fn kind(&self, kind: &str) -> Result<&Value> {
        let mut kinds = self.kinds()?.iter();
        let found = kinds.find(|entry| entry.get("kind").and_then(Value::as_str) == Some(kind));
        found.with_context(|| format!("no {kind} in {}", self.summary.0))
    }
}

fn parse_line(line: &str) -> Result<Record> {
    serde_json::from_str(line).map(Record).with_context(|| format!("not JSON: {line:?}"))
}
