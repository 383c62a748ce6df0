//! Tables and statements of the database. The journal holds the same statements by number, so that there is one way
//! in: what a start reads from the journal is applied as it always is.
//!
//! Each row ends with a checksum of the others. Rows are written and removed as a whole. There is no index besides the
//! keys: what is searched has some ten thousand rows, and what is not there cannot disagree.

use rusqlite::Connection;

/// `PRAGMA application_id`: "PGST".
pub(super) const APPLICATION: u32 = u32::from_be_bytes(*b"PGST");

/// `PRAGMA user_version`. Statements of a version never change their meaning.
pub(super) const VERSION: i64 = 1;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    /// Whatever has a name and one value.
    Facts = 1,
    /// Processes of instances.
    Lives = 2,
    /// Intents.
    Actions = 3,
    /// What became of them.
    Outcomes = 4,
    /// Incidents.
    Incidents = 5,
    /// Sets of policies.
    Generations = 6,
}

impl Table {
    pub(super) const ALL: [Self; 6] =
        [Self::Facts, Self::Lives, Self::Actions, Self::Outcomes, Self::Incidents, Self::Generations];

    /// How it is made, word for word as SQLite keeps it.
    pub(super) const fn definition(self) -> &'static str {
        match self {
            Self::Facts => {
                "CREATE TABLE facts (kind INTEGER NOT NULL, name TEXT NOT NULL, part TEXT NOT NULL, value NOT NULL, \
                 sum INTEGER NOT NULL, PRIMARY KEY (kind, name, part)) WITHOUT ROWID"
            }
            Self::Lives => {
                "CREATE TABLE lives (service TEXT NOT NULL, instance INTEGER NOT NULL, room TEXT NOT NULL, \
                 pid INTEGER NOT NULL, start_ns INTEGER NOT NULL, boot TEXT NOT NULL, sum INTEGER NOT NULL, \
                 PRIMARY KEY (service, instance)) WITHOUT ROWID"
            }
            Self::Actions => {
                "CREATE TABLE actions (id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, boot TEXT NOT NULL, \
                 kind TEXT NOT NULL, service TEXT NOT NULL, instance INTEGER, detail TEXT NOT NULL, \
                 sum INTEGER NOT NULL)"
            }
            Self::Outcomes => {
                "CREATE TABLE outcomes (id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, failed TEXT, \
                 sum INTEGER NOT NULL)"
            }
            Self::Incidents => {
                "CREATE TABLE incidents (id INTEGER PRIMARY KEY, service TEXT NOT NULL, closed_unix_ns INTEGER, \
                 boot TEXT NOT NULL, utc_offset_ns INTEGER NOT NULL, body TEXT NOT NULL, sum INTEGER NOT NULL)"
            }
            Self::Generations => {
                "CREATE TABLE generations (number INTEGER PRIMARY KEY, accepted_unix_ns INTEGER NOT NULL, \
                 services INTEGER NOT NULL, why TEXT NOT NULL, changes TEXT NOT NULL, files TEXT NOT NULL, \
                 sum INTEGER NOT NULL)"
            }
        }
    }

    /// All of its rows, in order.
    pub(super) const fn all_rows(self) -> &'static str {
        match self {
            Self::Facts => "SELECT * FROM facts ORDER BY kind, name, part",
            Self::Lives => "SELECT * FROM lives ORDER BY service, instance",
            Self::Actions => "SELECT * FROM actions ORDER BY id",
            Self::Outcomes => "SELECT * FROM outcomes ORDER BY id",
            Self::Incidents => "SELECT * FROM incidents ORDER BY id",
            Self::Generations => "SELECT * FROM generations ORDER BY number",
        }
    }
}

/// What can stand in the journal. A number is never used for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Statement {
    PutFact = 1,
    DropFact = 2,
    DropFacts = 3,
    PutLife = 4,
    DropLife = 5,
    PutAction = 6,
    PutOutcome = 7,
    PutIncident = 8,
    PutGeneration = 9,
    DropKind = 10,
    DropLives = 11,
    DropUnfinished = 12,
}

impl Statement {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::PutFact,
            2 => Self::DropFact,
            3 => Self::DropFacts,
            4 => Self::PutLife,
            5 => Self::DropLife,
            6 => Self::PutAction,
            7 => Self::PutOutcome,
            8 => Self::PutIncident,
            9 => Self::PutGeneration,
            10 => Self::DropKind,
            11 => Self::DropLives,
            12 => Self::DropUnfinished,
            _ => return None,
        })
    }

    /// Its text, and the table whose row it writes: that row's checksum is the last value.
    pub(super) const fn sql(self) -> (&'static str, Option<Table>) {
        match self {
            Self::PutFact => ("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", Some(Table::Facts)),
            Self::DropFact => ("DELETE FROM facts WHERE kind = ? AND name = ? AND part = ?", None),
            Self::DropFacts => ("DELETE FROM facts WHERE kind = ? AND name = ?", None),
            Self::DropKind => ("DELETE FROM facts WHERE kind = ?", None),
            Self::DropLives => ("DELETE FROM lives", None),
            Self::DropUnfinished => ("DELETE FROM actions WHERE id NOT IN (SELECT id FROM outcomes)", None),
            Self::PutLife => {
                ("INSERT OR REPLACE INTO lives VALUES (?, ?, ?, ?, ?, ?, ?)", Some(Table::Lives))
            }
            Self::DropLife => ("DELETE FROM lives WHERE service = ? AND instance = ?", None),
            Self::PutAction => {
                ("INSERT OR REPLACE INTO actions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", Some(Table::Actions))
            }
            Self::PutOutcome => {
                ("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?)", Some(Table::Outcomes))
            }
            Self::PutIncident => {
                ("INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?)", Some(Table::Incidents))
            }
            Self::PutGeneration => {
                ("INSERT OR REPLACE INTO generations VALUES (?, ?, ?, ?, ?, ?, ?)", Some(Table::Generations))
            }
        }
    }
}

/// Kinds of facts: `facts.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Of the state itself: `applied`, `boot`, `utc_offset_ns`.
    Own = 1,
    /// What the supervisor saved of a service.
    Service = 2,
    /// What it saved of all.
    Shared = 3,
    /// A flag.
    Flag = 4,
    /// A sketch: service and signal.
    Sketch = 5,
    /// A counter.
    Counter = 6,
    /// Whatever somebody keeps under a name.
    Note = 7,
    /// Of the policies: `active`, `trial_until_unix_ns`.
    Policies = 8,
}

impl Kind {
    pub(super) fn number(self) -> i64 {
        i64::from(self as u8)
    }
}

/// What is kept of what is over.
pub(super) const KEEP_CLOSED: i64 = 10_000;
pub(super) const KEEP_FOR_NS: i64 = 90 * 86_400 * 1_000_000_000;
pub(super) const KEEP_GENERATIONS: i64 = 50;

/// Removes what is too old. The last of each kind stays: the next number is counted from it.
pub(super) fn prune(database: &Connection, now_unix_ns: i64) -> rusqlite::Result<()> {
    let since = now_unix_ns.saturating_sub(KEEP_FOR_NS);
    database.execute(
        "DELETE FROM incidents WHERE closed_unix_ns IS NOT NULL AND id < (SELECT max(id) FROM incidents) AND \
         (closed_unix_ns < ?2 OR id <= (SELECT id FROM incidents WHERE closed_unix_ns IS NOT NULL \
         ORDER BY id DESC LIMIT 1 OFFSET ?1))",
        (KEEP_CLOSED, since),
    )?;
    database.execute(
        "DELETE FROM actions WHERE id < (SELECT max(id) FROM actions) AND id <= (SELECT id FROM outcomes \
         ORDER BY id DESC LIMIT 1 OFFSET ?1) AND id IN (SELECT id FROM outcomes)",
        [KEEP_CLOSED],
    )?;
    database.execute("DELETE FROM outcomes WHERE id NOT IN (SELECT id FROM actions)", [])?;
    database.execute(
        "DELETE FROM generations WHERE number <= (SELECT number FROM generations ORDER BY number DESC LIMIT 1 \
         OFFSET ?1) AND number IS NOT (SELECT value FROM facts WHERE kind = ?2 AND name = 'active')",
        (KEEP_GENERATIONS, Kind::Policies.number()),
    )?;
    Ok(())
}
