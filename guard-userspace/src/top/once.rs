//! One picture on standard output, for people or for programs.

use std::time::Duration;

use guard_core::event::{ExitStatus, Process};
use serde_json::{Map, Value, json};

use super::model::{Death, Model, Row};
use super::order::{self, Item, View};
use super::source::{Live, Source};
use super::view::{self, Context};
use super::{Once, Options, begin};
use crate::exit::Failure;
use crate::output::Sink;
use crate::show::compact::cause_of_death;
use crate::show::json::{text_of_bytes, write_document};
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

fn json_text(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_document(&mut out, document);
    out.push(b'\n');
    out
}

/// The whole picture as one object.
fn document(model: &Model, wish: &order::Wish, context: &Context) -> Value {
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
    let deaths: Vec<_> = model.deaths(false).into_iter().map(|death| dead(death, context)).collect();
    let losses: Vec<_> = model
        .losses
        .iter()
        .map(|loss| json!({"kind": loss.kind.name(), "cause": loss.cause.name(), "count": loss.count}))
        .collect();
    json!({
        "@timestamp": time(context, model.now_ns),
        "ecs": {"version": "8.17.0"},
        "event": {"kind": "metric", "category": ["process"], "action": "top"},
        "host": {"name": context.host, "boot": {"id": context.stamp.boot.to_string()}},
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

fn living(model: &Model, row: &Row, context: &Context) -> Value {
    let group = model.group(row);
    let mut own = Map::new();
    own.insert("restarts".into(), model.restarts(row).into());
    own.insert("group".into(), group.map(|group| &*group.name).into());
    own.insert("kernel_thread".into(), row.process.kernel_thread.into());
    own.insert("age_ns".into(), model.now_ns.saturating_sub(row.process.id.start_ns).into());
    own.insert("run_queue".into(), waits(group));
    if let Some(used) = &row.resources {
        own.insert(
            "resources".into(),
            json!({
                "cpu_percent": row.cpu_percent,
                "cpu_ns": used.cpu_ns,
                "run_delay_ns": used.run_delay_ns,
                "rss_bytes": used.rss_bytes,
                "swap_bytes": used.swap_bytes,
                "threads": used.threads,
                "open_files": used.open_files,
                "open_files_limit": used.open_files_limit,
                "read_bytes": used.read_bytes,
                "write_bytes": used.write_bytes,
            }),
        );
    }
    json!({"process": identity(&row.process, context), "processguard": own})
}

fn dead(death: &Death, context: &Context) -> Value {
    let mut process = identity(&death.process, context);
    if let Value::Object(fields) = &mut process {
        fields.insert("end".into(), time(context, death.time_ns).into());
        // Who was killed by a signal has no exit code.
        if let ExitStatus::Code(code) = death.exit.status {
            fields.insert("exit_code".into(), code.into());
        }
    }
    let own = json!({"cause": {"text": cause_of_death(&death.exit)}, "lifetime_ns": (death.exit.lifetime_ns != 0).then_some(death.exit.lifetime_ns)});
    json!({"process": process, "processguard": own})
}

fn group(model: &Model, key: &std::sync::Arc<str>) -> Option<Value> {
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

fn identity(process: &Process, context: &Context) -> Value {
    let boot = context.stamp.boot;
    let program = process.program.as_deref();
    json!({
        "pid": process.id.pid,
        "entity_id": boot.entity_id(process.id),
        "name": text_of_bytes(process.name.as_bytes()),
        "executable": program.map(|program| text_of_bytes(&program.executable)),
        "args": program.map(|program| program.arguments().map(text_of_bytes).collect::<Vec<_>>()),
        "start": (process.id.start_ns != 0).then(|| time(context, process.id.start_ns)),
        "parent": process.parent.is_some().then(|| parent(process, context)),
        "user": {"id": process.euid.to_string(), "name": context.users.name(process.euid)},
        "real_user": {"id": process.uid.to_string(), "name": context.users.name(process.uid)},
    })
}

fn parent(process: &Process, context: &Context) -> Value {
    json!({"pid": process.parent.pid, "entity_id": context.stamp.boot.entity_id(process.parent)})
}

fn time(context: &Context, boot_ns: u64) -> String {
    timestamp::utc(context.stamp.unix_ns(boot_ns))
}
