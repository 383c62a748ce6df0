//! The count: whether the trace saw every fork, exec and exit of a storm, or counted it as lost.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{process::Process, storm::Storm};

/// The kinds of record that a spawn makes one of each of.
const KINDS: [&str; 3] = ["fork", "exec", "exit"];

/// One kind's account of a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Children of the storm that a record of this kind was about.
    pub(super) observed: u64,
    /// What the trace says it lost of this kind, of the whole host.
    pub(super) lost: u64,
}

/// The account of one storm.
pub(super) struct Account {
    pub(super) spawned: u64,
    pub(super) kinds: BTreeMap<&'static str, Count>,
}

impl Account {
    /// Every spawn seen, or counted as lost. Losses are of the whole host, so they may cover more than the storm.
    pub(super) fn adds_up(&self) -> bool {
        self.kinds.values().all(|count| {
            count.observed == self.spawned
                || (count.observed < self.spawned && count.observed + count.lost >= self.spawned)
        })
    }

    pub(super) fn lost(&self) -> u64 {
        self.kinds.values().map(|count| count.lost).sum()
    }

    pub(super) fn json(&self) -> Value {
        let kinds = self.kinds.iter().map(|(kind, count)| {
            ((*kind).to_owned(), json!({ "observed": count.observed, "lost": count.lost }))
        });
        json!({ "spawned": self.spawned, "kinds": kinds.collect::<serde_json::Map<_, _>>() })
    }
}

/// Storms under a trace that writes JSON to a file, and compares the file with what the storm says.
pub(super) fn account(processguard: &Path, storm: &Storm, scratch: &Path) -> Result<Account> {
    let stream = scratch.join("count.jsonl");
    let truth = scratch.join("count.truth");
    let children = scratch.join("children");
    fs::create_dir_all(&children)?;
    for old in [&stream, &truth] {
        _ = fs::remove_file(old);
    }

    let mut trace = Command::new(processguard);
    trace.args(["trace", "--format", "json", "--events", "fork,exec,exit", "--output"]).arg(&stream);
    let mut trace = Process::start(&mut trace, &scratch.join("count.err"))?;
    wait_for_records(&mut trace, &stream)?;
    let outcome = storm.run_with_truth(&children, &truth)?;
    // Longer than the longest gathering of records before a wake-up, 20 ms.
    thread::sleep(Duration::from_millis(500));
    trace.check()?;
    trace.stop()?;

    let account = read(&stream, &pids(&truth)?, outcome.spawned)?;
    for file in [&stream, &truth] {
        fs::remove_file(file)?;
    }
    Ok(account)
}

/// The first record in the file proves that the trace is attached.
fn wait_for_records(trace: &mut Process, stream: &Path) -> Result<()> {
    for _ in 0..300 {
        trace.check()?;
        crate::sh::run(&mut Command::new("true"))?;
        if fs::metadata(stream).is_ok_and(|file| file.len() > 0) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("the trace wrote nothing within 30 s")
}

fn pids(truth: &Path) -> Result<HashSet<u64>> {
    let text = fs::read_to_string(truth).context("the storm's truth")?;
    let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    let children = lines.iter().filter(|line| line.get("what").is_some_and(|what| what == "child"));
    Ok(children.filter_map(|child| child.get("pid")?.as_u64()).collect())
}

/// A fork is the storm's by its child's number, exec and exit by the program's name too: numbers can be used
/// twice during a storm, by the storm itself as well. So records are counted, not numbers.
fn read(stream: &Path, pids: &HashSet<u64>, spawned: u64) -> Result<Account> {
    let mut kinds: BTreeMap<&str, Count> = KINDS.map(|kind| (kind, Count::default())).into();
    for line in BufReader::new(File::open(stream)?).lines() {
        let record: Value = serde_json::from_str(&line?).context("a line of the trace")?;
        let action = record.pointer("/event/action").and_then(Value::as_str).unwrap_or_default();
        if action == "summary" {
            read_summary(&record, &mut kinds);
        } else if let Some(count) = kinds.get_mut(action)
            && is_of_storm(&record, action, pids)
        {
            count.observed += 1;
        }
    }
    Ok(Account { spawned, kinds })
}

fn is_of_storm(record: &Value, action: &str, pids: &HashSet<u64>) -> bool {
    let known = record.pointer("/process/pid").and_then(Value::as_u64).is_some_and(|pid| pids.contains(&pid));
    let text = |path| record.pointer(path).and_then(Value::as_str).unwrap_or_default();
    known
        && match action {
            // Before its exec a child still has its parent's name, or its thread's.
            "fork" => text("/process/name").starts_with("guard-workload"),
            _ => text("/process/name") == "nop",
        }
}

fn read_summary(record: &Value, kinds: &mut BTreeMap<&str, Count>) {
    let entries = record.pointer("/processguard/summary/kinds").and_then(Value::as_array);
    for entry in entries.into_iter().flatten() {
        let kind = entry.get("kind").and_then(Value::as_str).and_then(|kind| kinds.get_mut(kind));
        let Some(count) = kind else { continue };
        let causes = entry.get("lost").and_then(Value::as_object);
        // A cause that this kernel does not count is null.
        count.lost = causes.into_iter().flat_map(|causes| causes.values()).filter_map(Value::as_u64).sum();
    }
}
