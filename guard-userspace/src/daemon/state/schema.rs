//! The database's tables, and how it is opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::StateError;

/// Marks a file as ours: `pgrd`.
const APPLICATION: i64 = 0x7067_7264;

/// The version of the tables.
const VERSION: i64 = 1;

/// Everything that is kept.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE services (name TEXT PRIMARY KEY, saved TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE actions (
    id INTEGER PRIMARY KEY, unix_ns INTEGER NOT NULL, service TEXT NOT NULL, instance INTEGER, kind TEXT NOT NULL, text TEXT NOT NULL,
    done INTEGER, failed TEXT
) STRICT;
CREATE INDEX actions_unfinished ON actions (id) WHERE done IS NULL;
CREATE TABLE incidents (
    id INTEGER PRIMARY KEY, service TEXT NOT NULL, opened_unix_ns INTEGER NOT NULL, closed INTEGER NOT NULL,
    boot TEXT NOT NULL, unix_offset_ns INTEGER NOT NULL,    incident TEXT NOT NULL
) STRICT;
CREATE INDEX incidents_by_service ON incidents (service, id);
CREATE INDEX incidents_open ON incidents (id) WHERE closed = 0;
CREATE TABLE generations (number INTEGER PRIMARY KEY, facts TEXT NOT NULL, files TEXT NOT NULL) STRICT;
";

/// Opens the database, or makes it.
pub(super) fn open(path: &Path) -> Result<Connection, StateError> {
    let is_new = !path.exists();
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| StateError::broken(path, error))?;
    // Somebody who looks at it with sqlite3 may hold a lock for a moment.
    db.busy_timeout(Duration::from_secs(2)).map_err(|error| StateError::broken(path, error))?;
    if !is_new {
        check(&db, path)?;
    }
    set_up(&db).map_err(|error| StateError::write(path, error))?;
    Ok(db)
}

/// Whether it is ours, whole, and of a version that we know. Changes nothing.
fn check(db: &Connection, path: &Path) -> Result<(), StateError> {
    let broken = |error: rusqlite::Error| StateError::broken(path, error);
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 =
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(broken)?;
    let application = number("application_id").map_err(broken)?;
    if application != APPLICATION {
        // We were killed before the first commit: then nothing is in it.
        return if tables == 0 && application == 0 {
            Ok(())
        } else {
            Err(StateError::broken(path, "it is a database of somebody else"))
        };
    }
    let found = number("user_version").map_err(broken)?;
    if found > VERSION {
        return Err(StateError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    let verdict: String = db.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(broken)?;
    if verdict == "ok" { Ok(()) } else { Err(StateError::broken(path, verdict)) }
}

fn set_up(db: &Connection) -> rusqlite::Result<()> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // The log is ours alone: no other process may need the shared memory file.
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    // In pages of 4 KiB: what the daemon writes is small, and its memory is counted.
    db.pragma_update(None, "cache_size", 128)?;
    if version == 0 {
        let make = format!(
            "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
        );
        db.execute_batch(&make)?;
    }
    Ok(())
}
