//! Incidents and generations: what is kept for people, and for how long.

use guard_core::incident::Incident;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::{State, StateError};
use crate::daemon::door::Generation;

/// Incidents that are over, of all services: the newest are kept.
const INCIDENTS: i64 = 10_000;

/// For how long, in nanoseconds: 90 days.
const INCIDENTS_FOR_NS: i64 = 90 * 24 * 3600 * 1_000_000_000;

/// Actions that are kept, done or not.
pub(super) const ACTIONS: usize = 100_000;

/// Generations that are kept.
const GENERATIONS: i64 = 50;

/// An incident, and what makes its times those of a calendar: it may be of an earlier boot.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptIncident {
    /// As it was told.
    pub incident: Incident,
    /// Nanoseconds since the epoch minus nanoseconds since boot, when it was written.
    pub unix_offset_ns: i64,
    /// Its times are those of an earlier boot.
    pub is_of_another_boot: bool,
}

/// Text and facts of a generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Facts {
    accepted_unix_ns: i64,
    services: usize,
    why: String,
    changes: Vec<String>,
}

pub(super) fn put_incident(db: &Connection, incident: &Incident) -> rusqlite::Result<()> {
    let text = serde_json::to_string(incident).map_err(in_sql)?;
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO incidents (id, service, opened_unix_ns, closed, boot, unix_offset_ns, incident)
         SELECT ?1, ?2, ?3 + CAST(clock.value AS INTEGER), ?4, boot.value, CAST(clock.value AS INTEGER), ?5
         FROM meta AS clock, meta AS boot WHERE clock.name = 'unix_offset_ns' AND boot.name = 'boot'",
    )?;
    let opened_ns = i64::try_from(incident.opened_ns).unwrap_or(i64::MAX);
    statement.execute(params![
        incident.id,
        incident.service,
        opened_ns,
        incident.closed_ns.is_some(),
        text
    ])?;
    Ok(())
}

pub(super) fn open_incidents(db: &Connection) -> rusqlite::Result<Vec<Incident>> {
    let mut statement = db.prepare("SELECT incident FROM incidents WHERE closed = 0 ORDER BY id")?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    texts.map(|text| serde_json::from_str(&text?).map_err(in_sql)).collect()
}

impl State {
    /// Incidents, the newest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn incidents(
        &self,
        service: Option<&str>,
        open: bool,
        limit: usize,
    ) -> Result<Vec<KeptIncident>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.db
            .prepare_cached(
                "SELECT incident, unix_offset_ns, boot <> (SELECT value FROM meta WHERE name = 'boot') FROM incidents
                 WHERE (?1 IS NULL OR service = ?1) AND (NOT ?2 OR closed = 0) ORDER BY id DESC LIMIT ?3",
            )
            .and_then(|mut statement| statement.query_map(params![service, open, limit], kept)?.collect())
            .map_err(|error| StateError::broken(&self.path, error))
    }

    /// One incident.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn incident(&self, id: u64) -> Result<Option<KeptIncident>, StateError> {
        self.db
            .prepare_cached("SELECT incident, unix_offset_ns, boot <> (SELECT value FROM meta WHERE name = 'boot') FROM incidents WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], kept).optional())
            .map_err(|error| StateError::broken(&self.path, error))
    }

    /// Puts a generation down, with the files that it was read from, as the one that holds.
    ///
    /// # Errors
    /// If it cannot be written: it does not hold then.
    pub fn put_generation(
        &mut self,
        generation: &Generation,
        files: &[(String, Vec<u8>)],
    ) -> Result<(), StateError> {
        let path = self.path.clone();
        let failed = |error| StateError::write(&path, error);
        let facts = Facts {
            accepted_unix_ns: generation.accepted_unix_ns,
            services: generation.services,
            why: generation.why.clone(),
            changes: generation.changes.clone(),
        };
        let facts = serde_json::to_string(&facts).map_err(in_sql).map_err(failed)?;
        let files = serde_json::to_string(files).map_err(in_sql).map_err(failed)?;
        let transaction = self.db.transaction().map_err(failed)?;
        let number = i64::try_from(generation.number).unwrap_or(i64::MAX);
        transaction
            .execute(
                "INSERT OR REPLACE INTO generations (number, facts, files) VALUES (?1, ?2, ?3)",
                params![number, facts, files],
            )
            .map_err(failed)?;
        transaction
            .execute("DELETE FROM generations WHERE number <= ?1", [number - GENERATIONS])
            .map_err(failed)?;
        transaction
            .execute(
                "INSERT OR REPLACE INTO meta (name, value) VALUES ('generation', ?1)",
                [number.to_string()],
            )
            .map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// The generations that are kept, the newest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn generations(&self) -> Result<Vec<Generation>, StateError> {
        let broken = |error| StateError::broken(&self.path, error);
        let active = self.active_generation()?;
        let mut statement = self
            .db
            .prepare_cached("SELECT number, facts FROM generations ORDER BY number DESC")
            .map_err(broken)?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)))
            .map_err(broken)?;
        rows.map(|row| {
            let (number, facts) = row.map_err(broken)?;
            let facts: Facts =
                serde_json::from_str(&facts).map_err(|error| StateError::broken(&self.path, error))?;
            Ok(Generation {
                number,
                accepted_unix_ns: facts.accepted_unix_ns,
                services: facts.services,
                why: facts.why,
                active: Some(number) == active,
                trial_until_unix_ns: None,
                changes: facts.changes,
            })
        })
        .collect()
    }

    /// The number of the generation that holds.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn active_generation(&self) -> Result<Option<u64>, StateError> {
        let text = self.get("generation").map_err(|error| StateError::broken(&self.path, error))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Names and contents of a generation's files.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn generation_files(&self, number: u64) -> Result<Option<Vec<(String, Vec<u8>)>>, StateError> {
        let broken = |error| StateError::broken(&self.path, error);
        let text: Option<String> = self
            .db
            .query_row("SELECT files FROM generations WHERE number = ?1", [number], |row| row.get(0))
            .optional()
            .map_err(broken)?;
        let parse =
            |text: String| serde_json::from_str(&text).map_err(|error| StateError::broken(&self.path, error));
        text.map(parse).transpose()
    }

    /// Forgets what is older than anybody asks for. For when nothing else is to be done.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn forget_old(&mut self, unix_ns: i64) -> Result<(), StateError> {
        let forget = |db: &Connection| {
            db.execute(
                "DELETE FROM incidents WHERE closed = 1 AND (opened_unix_ns < ?1
                 OR id <= (SELECT coalesce(max(id), 0) FROM incidents) - ?2)",
                [unix_ns.saturating_sub(INCIDENTS_FOR_NS), INCIDENTS],
            )?;
            db.execute(
                "DELETE FROM actions WHERE unix_ns < ?1 OR id NOT IN (SELECT id FROM actions ORDER BY id DESC LIMIT ?2)",
                params![unix_ns.saturating_sub(INCIDENTS_FOR_NS), ACTIONS],
            )
        };
        forget(&self.db).map(|_| ()).map_err(|error| StateError::write(&self.path, error))
    }
}

fn kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<KeptIncident> {
    let text: String = row.get(0)?;
    let incident = serde_json::from_str(&text).map_err(in_sql)?;
    Ok(KeptIncident { incident, unix_offset_ns: row.get(1)?, is_of_another_boot: row.get(2)? })
}

fn in_sql(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
