//! One picture on standard output, for people or for programs.

use std::sync::Arc;
use std::time::Duration;

use guard_core::event::{Action, Event};
use guard_core::ids::BootId;
use guard_core::resources::Sample;
use serde_json::{Value, json};

use super::model::{Death, Model, Row};
use super::order::{self, Item, View};
use super::source::{Live, Source};
use super::view::{self, Context};
use super::{Once, Options, begin};
use crate::exit::Failure;
use crate::output::Sink;
use crate::show::compact::cause_of_death;
use crate::show::json::{JsonWriter, write_document};
use crate::stop::Stop;
use crate::timestamp;

/// Width of a picture that goes to no terminal.
const COLUMNS: u16 = 80;

/// Watches for one interval and prints what there was.
pub(super) async fn print(options: Options, form: Once) -> Result<(), Failure> {
    let (mut model, mut state, mut context) = begin(&options)?;
    let stop = Stop::listen().map_err(|source| Failure::System { action: "handle signals", source })?;
    let mut source = Live::attach(&options.sensor, &mut model)?;
    source.sample(&mut model, None)?;
    watch(&mut source, &mut model, &stop, options.interval).await?;
    source.sample(&mut model, None)?;
    context.set_clock();
    let picture = match form {
        Once::Text => {
            let width = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(COLUMNS, |size| size.ws_col);
            view::once(&model, &mut state, &context, if width == 0 { COLUMNS } else { width }).into_bytes()
        }
        Once::Json => json_text(&document(&model, &state.wish, &context)),
    };
    // Detached before the reader of standard output has its say.
    drop(source);
    match Sink::Stdout.write(&picture) {
        Err(crate::output::Error::Closed) => Ok(()),
        written => Ok(written?),
    }
}

async fn watch(
    source: &mut impl Source,
    model: &mut Model,
    stop: &tokio::io::unix::AsyncFd<Stop>,
    interval: Duration,
) -> Result<(), Failure> {
    let end = tokio::time::sleep(interval);
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            _ = stop.readable() => return Ok(()),
            () = &mut end => return Ok(()),
            ready = source.ready() => {
                ready?;
                source.events(model);
            }
        }
    }
}

pub(super) fn json_text(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_document(&mut out, document);
    out.push(b'\n');
    out
}

/// The whole picture as one object.
pub(super) fn document(model: &Model, wish: &order::Wish, context: &Context) -> Value {
    let lines = order::lines(model, wish);
    let processes = lines.iter().filter_map(|line| match &line.item {
        Item::Process(id) => model.rows.get(id).map(|row| living(model, row, context)),
        Item::Group(_) => None,
    });
    let processes: Vec<_> = processes.collect();
    let all_groups = order::lines(model, &order::Wish { view: View::Groups, ..wish.clone() });
    let groups = all_groups.iter().filter_map(|line| match &line.item {
        Item::Group(key) => group(model, key),
        Item::Process(_) => None,
    });
    let groups: Vec<_> = groups.collect();
    let deaths: Vec<_> =
        order::deaths(model, wish, false).into_iter().map(|death| dead(death, context)).collect();
    let losses: Vec<_> = model
        .losses
        .iter()
        .map(|loss| json!({"kind": loss.kind.name(), "cause": loss.cause.name(), "count": loss.count}))
        .collect();
    json!({
        "@timestamp": time(context, model.now_ns),
        "ecs": {"version": "8.17.0"},
        "event": {"kind": "metric", "category": ["process"], "action": "top"},
        "host": {"name": context.host, "boot": {"id": hyphenated(context.stamp.boot)}},
        "processguard": {
            "boottime_ns": model.now_ns,
            "events_per_second": model.events_per_second,
            "lost": losses,
            "processes": processes,
            "groups": groups,
            "deaths": deaths,
        },
    })
}

/// As `trace --events resources` has it, with what the picture knows beside.
fn living(model: &Model, row: &Row, context: &Context) -> Value {
    let process = Arc::clone(&row.process);
    let action = match row.resources {
        Some(used) => Action::Resources { process, sample: Box::new(Sample { used, cpu: row.cpu }) },
        None => Action::Fork { process },
    };
    let mut record = record(model.now_ns, action, context);
    if let Some(own) = record.get_mut("processguard").and_then(Value::as_object_mut) {
        let group = model.group(row);
        own.insert("restarts".into(), model.restarts(row).into());
        own.insert("group".into(), group.map(|group| &*group.name).into());
        own.insert("kernel_thread".into(), row.process.kernel_thread.into());
        own.insert("age_ns".into(), model.now_ns.saturating_sub(row.process.id.start_ns).into());
        own.insert("run_queue".into(), waits(group));
    }
    record
}

/// As the exit record of `trace` has it, with the cause in words too.
fn dead(death: &Death, context: &Context) -> Value {
    let (process, exit) = (Arc::clone(&death.process), Box::new(death.exit.clone()));
    let mut record = record(death.time_ns, Action::Exit { process, exit }, context);
    if let Some(cause) = record.pointer_mut("/processguard/cause").and_then(Value::as_object_mut) {
        cause.insert("text".into(), cause_of_death(&death.exit).into());
    }
    record
}

/// What a stream has of an event, without what the whole picture says once, or what belongs to the
/// kernel's record.
fn record(time_ns: u64, action: Action, context: &Context) -> Value {
    let mut line = Vec::new();
    let event = Event { time_ns, cpu: 0, sequence: 0, action };
    JsonWriter::new(context.stamp).event(&mut line, &context.stamp, &event);
    // What was just written is JSON.
    let mut record: Value = serde_json::from_slice(&line).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        fields.retain(|name, _| matches!(name.as_str(), "process" | "container" | "processguard"));
    }
    if let Some(own) = record.get_mut("processguard").and_then(Value::as_object_mut) {
        own.retain(|name, _| name != "cpu" && name != "boottime_ns");
    }
    record
}

fn group(model: &Model, key: &Arc<str>) -> Option<Value> {
    let group = model.groups.get(key)?;
    let sum = order::sums(model).remove(key).unwrap_or_default();
    Some(json!({
        "name": &*group.name,
        "path": &*group.path,
        "processes": group.processes,
        "cpu_percent": sum.cpu_percent,
        "rss_bytes": sum.rss_bytes,
        "restarts": sum.restarts,
        "run_queue": waits(Some(group)),
        "memory_bytes": group.resources.as_ref().and_then(|whole| whole.memory_bytes),
        "memory_limit_bytes": group.resources.as_ref().and_then(|whole| whole.memory_limit_bytes),
    }))
}

fn waits(group: Option<&super::groups::Group>) -> Value {
    let wait = |share| group.and_then(|group| group.run_queue_ns(share));
    json!({"p50_ns": wait(0.5), "p99_ns": wait(0.99)})
}

fn time(context: &Context, boot_ns: u64) -> String {
    timestamp::utc(context.stamp.unix_ns(boot_ns))
}

/// The boot's id as its own file and all other records have it.
fn hyphenated(boot: BootId) -> String {
    let digits = boot.to_string();
    let part = |range| digits.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}
