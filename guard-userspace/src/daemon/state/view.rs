//! What can be read from the database. Each row is checked against its checksum.

use std::path::Path;

use guard_core::ids::BootId;
use guard_core::incident::{Incident, IncidentId};
use guard_core::supervise::ActionId;
use rusqlite::{Connection, Params};

use super::error::StateError;
use super::frame::{self, Value};
use super::kept::{Files, Intent, KeptIncident, Life};
use super::schema::{Kind, Table};
use crate::clock::Stamp;
use crate::daemon::door::Generation;

/// Which incidents.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only of this service.
    pub service: Option<String>,
    /// Only those that are not over.
    pub open: bool,
    /// At most so many.
    pub limit: usize,
}

/// The database at one moment: all that was written before it was asked for.
#[derive(Debug)]
pub struct View<'a> {
    database: &'a Connection,
    path: &'a Path,
}

impl<'a> View<'a> {
    pub(super) fn new(database: &'a Connection, path: &'a Path) -> Self {
        Self { database, path }
    }

    /// One incident.
    ///
    /// # Errors
    /// If the database cannot be read, or is damaged.
    pub fn incident(&self, id: IncidentId) -> Result<Option<KeptIncident>, StateError> {
        let sql = "SELECT * FROM incidents WHERE id = ?";
        Ok(self.collect(Table::Incidents, sql, [id.cast_signed()], incident)?.pop())
    }

    /// Incidents, newest first.
    ///
    /// # Errors
    /// If the database cannot be read, or is damaged.
    pub fn incidents(&self, wanted: &Wanted) -> Result<Vec<KeptIncident>, StateError> {
        let sql = "SELECT * FROM incidents WHERE (?1 IS NULL OR service = ?1) AND \
                   (?2 = 0 OR closed_unix_ns IS NULL) ORDER BY id DESC LIMIT ?3";
        let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
        let which = (wanted.service.as_deref(), wanted.open, limit);
        self.collect(Table::Incidents, sql, which, incident)
    }

    /// The sets of policies that are kept, newest first.
    ///
    /// # Errors
    /// If the database cannot be read, or is damaged.
    pub fn generations(&self) -> Result<Vec<Generation>, StateError> {
        let active = self.number(Kind::Policies, "active")?;
        let trial = self.number(Kind::Policies, "trial_until_unix_ns")?;
        let sql = "SELECT * FROM generations ORDER BY number DESC";
        self.collect(Table::Generations, sql, [], |row| generation(row, active, trial))
    }

    /// The files of one of them: names and contents.
    ///
    /// # Errors
    /// If the database cannot be read, or is damaged.
    pub fn files(&self, generation: u64) -> Result<Option<Files>, StateError> {
        let mut found = None;
        let sql = "SELECT * FROM generations WHERE number = ?";
        self.rows(Table::Generations, sql, [generation.cast_signed()], |row| {
            let [_, _, _, _, _, files] = row else { return None };
            found = Some(serde_json::from_str(files.text()?).ok()?);
            Some(())
        })?;
        Ok(found)
    }

    /// A fact that is a number.
    pub(super) fn number(&self, kind: Kind, name: &str) -> Result<Option<i64>, StateError> {
        let mut found = None;
        let sql = "SELECT * FROM facts WHERE kind = ? AND name = ? AND part = ''";
        self.rows(Table::Facts, sql, (kind.number(), name), |row| {
            let [_, _, _, value] = row else { return None };
            found = Some(value.int()?);
            Some(())
        })?;
        Ok(found)
    }

    /// What is read of each row of a query for whole rows.
    pub(super) fn collect<T>(
        &self,
        table: Table,
        sql: &str,
        parameters: impl Params,
        read: impl Fn(&[Value<'_>]) -> Option<T>,
    ) -> Result<Vec<T>, StateError> {
        let mut found = Vec::new();
        self.rows(table, sql, parameters, |row| {
            found.push(read(row)?);
            Some(())
        })?;
        Ok(found)
    }

    /// All rows of a query for whole rows, without their checksums; `each` gives `None` for one that makes no sense.
    pub(super) fn rows(
        &self,
        table: Table,
        sql: &str,
        parameters: impl Params,
        mut each: impl FnMut(&[Value<'_>]) -> Option<()>,
    ) -> Result<(), StateError> {
        let failed = || StateError::database("read", self.path);
        let mut statement = self.database.prepare(sql).map_err(failed())?;
        let columns = statement.column_count();
        let mut rows = statement.query(parameters).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let values: Option<Vec<_>> =
                (0..columns).map(|column| row.get_ref(column).ok().and_then(Value::of)).collect();
            let values = values.unwrap_or_default();
            let whole = values
                .split_last()
                .filter(|(sum, values)| sum.int() == Some(frame::sum(table as u8, values.iter().copied())));
            let read = whole.and_then(|(_, values)| each(values));
            read.ok_or_else(|| {
                StateError::broken(self.path, format!("a row of its table {table:?} is not what was written"))
            })?;
        }
        Ok(())
    }
}

pub(super) fn boot(value: Value<'_>) -> Option<BootId> {
    BootId::parse(value.text()?)
}

pub(super) fn incident(row: &[Value<'_>]) -> Option<KeptIncident> {
    let &[_, _, _, boot_id, utc_offset_ns, body] = row else { return None };
    let incident: Incident = serde_json::from_str(body.text()?).ok()?;
    let stamp = Stamp { boot: boot(boot_id)?, utc_offset_ns: utc_offset_ns.int()? };
    Some(KeptIncident { incident, stamp })
}

pub(super) fn generation(row: &[Value<'_>], active: Option<i64>, trial: Option<i64>) -> Option<Generation> {
    let &[number, accepted_unix_ns, services, why, changes, _] = row else { return None };
    let active = Some(number.int()?) == active;
    Some(Generation {
        number: number.int()?.cast_unsigned(),
        accepted_unix_ns: accepted_unix_ns.int()?,
        services: usize::try_from(services.int()?).ok()?,
        why: why.text()?.to_owned(),
        active,
        trial_until_unix_ns: trial.filter(|_| active),
        changes: serde_json::from_str(changes.text()?).ok()?,
    })
}

pub(super) fn life(row: &[Value<'_>]) -> Option<Life> {
    let &[service, instance, room, pid, start_ns, boot_id] = row else { return None };
    Some(Life {
        service: service.text()?.to_owned(),
        instance: u32::try_from(instance.int()?).ok()?,
        room: room.text()?.to_owned(),
        pid: u32::try_from(pid.int()?).ok()?,
        start_ns: start_ns.int()?.cast_unsigned(),
        boot: boot(boot_id)?,
    })
}

pub(super) fn intent(row: &[Value<'_>]) -> Option<Intent> {
    let &[id, time_ns, boot_id, kind, service, instance, detail] = row else { return None };
    let instance = match instance {
        Value::Null => None,
        other => Some(u32::try_from(other.int()?).ok()?),
    };
    Some(Intent {
        id: ActionId(id.int()?.cast_unsigned()),
        time_ns: time_ns.int()?.cast_unsigned(),
        boot: boot(boot_id)?,
        kind: kind.text()?.to_owned(),
        service: service.text()?.to_owned(),
        instance,
        detail: detail.text()?.to_owned(),
    })
}
