//! What outlives the daemon: one SQLite database, in one directory, used by one daemon.
//!
//! What belongs together is written in one transaction. The database's write-ahead log makes each of them whole or not there at all,
//! whether we are killed or the power goes; what differs is how much of the latest is there afterwards:
//!
//! * **Crash-durable**: written when the call returns, so our own death loses nothing. Enough to start what is dead.
//! * **Power-durable**: the log is synced as well. It precedes everything that is done to the living.
//!
//! SQLite orders this by itself: `synchronous = NORMAL` writes the log at each commit and syncs it at checkpoints alone; `FULL` syncs it
//! at the commit. A journal of our own beside it would save microseconds and need a proof of its own.

mod error;
mod kept;
mod lock;
mod schema;

#[cfg(test)]
mod tests;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use guard_core::incident::Incident;
use guard_core::supervise::ActionId;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

pub use error::StateError;
pub use kept::KeptIncident;
use lock::Lock;

use super::fail;

/// The database's file.
const FILE: &str = "state.db";

/// How sure it must be before the next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// It survives our own death.
    #[default]
    Crash,
    /// It survives the host's.
    Power,
}

/// An action that is about to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its number.
    pub id: ActionId,
    /// When it was decided, in nanoseconds since the epoch.
    pub unix_ns: i64,
    /// Whose.
    pub service: String,
    /// Which instance.
    pub instance: Option<u32>,
    /// Such as `start` or `signal`.
    pub kind: &'static str,
    /// What, and why, in words.
    pub text: String,
}

/// An action that was intended and of which nobody knows whether it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its number.
    pub id: u64,
    /// Whose.
    pub service: String,
    /// Which instance.
    pub instance: Option<u32>,
    /// Such as `start` or `signal`.
    pub kind: String,
}

/// What is written in one go.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Services as they are now, as text; `None`: nothing is left of that one.
    pub services: Vec<(String, Option<String>)>,
    /// What they share.
    pub shared: Option<String>,
    /// What is about to be done.
    pub intents: Vec<Intent>,
    /// What was done; else why not.
    pub outcomes: Vec<(ActionId, Option<String>)>,
    /// Incidents that changed.
    pub incidents: Vec<Incident>,
    /// How sure it must be.
    pub durability: Durability,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.shared.is_none()
            && self.intents.is_empty()
            && self.outcomes.is_empty()
            && self.incidents.is_empty()
    }
}

/// What a daemon before this one has left.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Services by name, as text.
    pub services: Vec<(String, String)>,
    /// What they share.
    pub shared: Option<String>,
    /// Actions whose outcome was not written.
    pub unfinished: Vec<Unfinished>,
    /// Incidents that were not over.
    pub incidents: Vec<Incident>,
    /// The number of the latest incident.
    pub last_incident: u64,
    /// `None`: the host has not booted since. Else what makes nanoseconds since that boot nanoseconds since this one.
    pub shift_ns: Option<i64>,
    /// How many daemons there were before.
    pub takeovers: u64,
}

/// The database, open.
#[derive(Debug)]
pub struct State {
    db: Connection,
    path: PathBuf,
    durability: Durability,
    /// What could not be written, and is tried again with the next.
    owed: Batch,
    trouble: Option<String>,
    _lock: Lock,
}

impl State {
    /// Opens the state of this directory, which is made if it is not there, for this boot. `unix_offset_ns` makes times since boot
    /// times since the epoch.
    ///
    /// # Errors
    /// If another daemon uses it, or it cannot be read: it is then left as it is.
    pub fn open(directory: &Path, boot: &str, unix_offset_ns: i64) -> Result<(Self, Recovered), StateError> {
        let failed = |source| StateError::Directory { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let lock = Lock::take(directory)?;
        let path = directory.join(FILE);
        let db = schema::open(&path)?;
        let mut state = Self {
            db,
            path,
            durability: Durability::Crash,
            owed: Batch::default(),
            trouble: None,
            _lock: lock,
        };
        let recovered = state.recover(boot, unix_offset_ns)?;
        Ok((state, recovered))
    }

    fn recover(&mut self, boot: &str, unix_offset_ns: i64) -> Result<Recovered, StateError> {
        let path = self.path.clone();
        let broken = |error| StateError::broken(&path, error);
        let rows = |sql: &str| -> rusqlite::Result<Vec<(String, String)>> {
            self.db.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let services = rows("SELECT name, saved FROM services ORDER BY name").map_err(broken)?;
        let shared = self.get("shared").map_err(broken)?;
        let unfinished = self
            .db
            .prepare("SELECT id, service, instance, kind FROM actions WHERE done IS NULL ORDER BY id")
            .and_then(|mut statement| {
                let of = |row: &rusqlite::Row<'_>| {
                    Ok(Unfinished {
                        id: row.get(0)?,
                        service: row.get(1)?,
                        instance: row.get(2)?,
                        kind: row.get(3)?,
                    })
                };
                statement.query_map([], of)?.collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(broken)?;
        let incidents = kept::open_incidents(&self.db).map_err(broken)?;
        let last_incident = self
            .db
            .query_row("SELECT coalesce(max(id), 0) FROM incidents", [], |row| row.get(0))
            .map_err(broken)?;
        let before: Option<(String, i64)> = self
            .get("boot")
            .map_err(broken)?
            .zip(self.get("unix_offset_ns").map_err(broken)?)
            .map(|(boot, offset)| (boot, offset.parse().unwrap_or(unix_offset_ns)));
        let shift_ns = before.and_then(|(before, offset_ns)| {
            (before != boot).then(|| offset_ns.saturating_sub(unix_offset_ns))
        });
        let takeovers: u64 =
            self.get("daemons").map_err(broken)?.and_then(|text| text.parse().ok()).unwrap_or_default();
        let daemons = (takeovers + 1).to_string();
        for (name, value) in
            [("boot", boot), ("unix_offset_ns", &unix_offset_ns.to_string()), ("daemons", &daemons)]
        {
            self.put(name, value)?;
        }
        Ok(Recovered { services, shared, unfinished, incidents, last_incident, shift_ns, takeovers })
    }

    /// Writes a batch. If that fails what is in it is owed, and written with the next: the daemon goes on meanwhile, and
    /// [`State::trouble`] says what is wrong. Returns whether it is as durable as it was to be.
    pub fn write(&mut self, batch: Batch) -> bool {
        if batch.is_empty() && self.owed.is_empty() {
            return true;
        }
        let durability = batch.durability;
        self.owe(batch);
        match self.commit(durability) {
            Ok(()) => {
                self.owed = Batch::default();
                self.trouble = None;
                true
            }
            Err(error) => {
                let trouble = format!("cannot write {}: {error}", self.path.display());
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!("{trouble}; it is tried again");
                }
                self.trouble = Some(trouble);
                false
            }
        }
    }

    /// What is wrong, as long as it is.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Adds a batch to what is owed; of a service or an incident, the latest counts.
    fn owe(&mut self, batch: Batch) {
        if self.owed.is_empty() {
            self.owed = batch;
            return;
        }
        let owed = &mut self.owed;
        for (name, saved) in batch.services {
            owed.services.retain(|(known, _)| *known != name);
            owed.services.push((name, saved));
        }
        owed.shared = batch.shared.or(owed.shared.take());
        owed.intents.extend(batch.intents);
        owed.outcomes.extend(batch.outcomes);
        for incident in batch.incidents {
            owed.incidents.retain(|known| known.id != incident.id);
            owed.incidents.push(incident);
        }
        // A full disk for long: what was done is in the events and the log, the state is what counts.
        let excess = owed.outcomes.len().saturating_sub(kept::ACTIONS);
        owed.outcomes.drain(..excess);
        let excess = owed.intents.len().saturating_sub(kept::ACTIONS);
        owed.intents.drain(..excess);
    }

    fn commit(&mut self, durability: Durability) -> rusqlite::Result<()> {
        self.demand(durability)?;
        fail::point("state.before");
        let transaction = self.db.transaction()?;
        put_all(&transaction, &self.owed)?;
        fail::point("state.within");
        transaction.commit()?;
        fail::point("state.after");
        Ok(())
    }

    fn demand(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.durability != durability {
            let level = match durability {
                Durability::Crash => "NORMAL",
                Durability::Power => "FULL",
            };
            self.db.pragma_update(None, "synchronous", level)?;
            self.durability = durability;
        }
        Ok(())
    }

    /// A value of the daemon's own.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, name: &str) -> rusqlite::Result<Option<String>> {
        let mut statement = self.db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        statement.query_row([name], |row| row.get(0)).optional()
    }

    /// Sets a value of the daemon's own.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&mut self, name: &str, value: &str) -> Result<(), StateError> {
        self.db
            .execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", [name, value])
            .map(|_| ())
            .map_err(|error| StateError::write(&self.path, error))
    }
}

fn put_all(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for (name, saved) in &batch.services {
        match saved {
            Some(saved) => transaction
                .prepare_cached("INSERT OR REPLACE INTO services (name, saved) VALUES (?1, ?2)")?
                .execute([name, saved])?,
            None => transaction.prepare_cached("DELETE FROM services WHERE name = ?1")?.execute([name])?,
        };
    }
    if let Some(shared) = &batch.shared {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('shared', ?1)")?
            .execute([shared])?;
    }
    for intent in &batch.intents {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO actions (id, unix_ns, service, instance, kind, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                intent.id.0, intent.unix_ns, intent.service, intent.instance, intent.kind, intent.text
            ])?;
    }
    for (id, failed) in &batch.outcomes {
        transaction
            .prepare_cached("UPDATE actions SET done = 1, failed = ?2 WHERE id = ?1")?
            .execute(params![id.0, failed])?;
    }
    for incident in &batch.incidents {
        kept::put_incident(transaction, incident)?;
    }
    Ok(())
}
