//! Everything that a start reads: every row of every table, each against its checksum.

use guard_core::ids::BootId;

use super::error::StateError;
use super::frame::Value;
use super::kept::Recovered;
use super::schema::{Kind, Table};
use super::view::{self, View};
use crate::clock::Stamp;

/// Facts that are put together.
#[derive(Default)]
struct Own {
    boot: Option<BootId>,
    utc_offset_ns: i64,
    active: Option<i64>,
    trial: Option<i64>,
}

/// Reads all of it.
pub(super) fn read(view: &View<'_>) -> Result<Recovered, StateError> {
    let mut found = Recovered::default();
    let mut own = Own::default();
    let outcome = |row: &[Value<'_>]| Some(row.first()?.int()?.cast_unsigned());
    let done = view.collect(Table::Outcomes, Table::Outcomes.all_rows(), [], outcome)?;
    found.lives = view.collect(Table::Lives, Table::Lives.all_rows(), [], view::life)?;
    let all = |table: Table, each: &mut dyn FnMut(&[Value<'_>]) -> Option<()>| {
        view.rows(table, table.all_rows(), [], each)
    };
    all(Table::Facts, &mut |row| fact(&mut found, &mut own, row))?;
    all(Table::Actions, &mut |row| {
        found.last_action = row.first()?.int()?.cast_unsigned();
        if done.binary_search(&found.last_action).is_err() {
            found.unfinished.push(view::intent(row)?);
        }
        Some(())
    })?;
    found.last_action = found.last_action.max(done.last().copied().unwrap_or(0));
    all(Table::Incidents, &mut |row| {
        found.last_incident = row.first()?.int()?.cast_unsigned();
        if row.get(2)? == &Value::Null {
            found.open.push(view::incident(row)?);
        }
        Some(())
    })?;
    all(Table::Generations, &mut |row| {
        found.last_generation = row.first()?.int()?.cast_unsigned();
        let generation = view::generation(row, own.active, own.trial)?;
        if generation.active {
            found.active = Some((generation, serde_json::from_str(row.last()?.text()?).ok()?));
        }
        Some(())
    })?;
    found.before = own.boot.map(|boot| Stamp { boot, utc_offset_ns: own.utc_offset_ns });
    Ok(found)
}

fn fact(found: &mut Recovered, own: &mut Own, row: &[Value<'_>]) -> Option<()> {
    let &[kind, name, part, value] = row else { return None };
    let (kind, name) = (kind.int()?, name.text()?);
    let named = || name.to_owned();
    match kind {
        _ if kind == Kind::Own.number() => match name {
            "boot" => own.boot = Some(view::boot(value)?),
            "utc_offset_ns" => own.utc_offset_ns = value.int()?,
            _ => {}
        },
        _ if kind == Kind::Service.number() => found.services.push((named(), value.text()?.to_owned())),
        _ if kind == Kind::Shared.number() => found.shared = Some(value.text()?.to_owned()),
        _ if kind == Kind::Flag.number() => found.flags.push((named(), value.int()? != 0)),
        _ if kind == Kind::Sketch.number() => {
            found.sketches.push((named(), part.text()?.to_owned(), value.blob()?.to_vec()));
        }
        _ if kind == Kind::Counter.number() => found.counters.push((named(), value.int()?.cast_unsigned())),
        _ if kind == Kind::Note.number() => found.notes.push((named(), value.blob()?.to_vec())),
        _ if kind == Kind::Policies.number() => match name {
            "active" => own.active = Some(value.int()?),
            "trial_until_unix_ns" => own.trial = Some(value.int()?),
            _ => {}
        },
        _ => return None,
    }
    Some(())
}
