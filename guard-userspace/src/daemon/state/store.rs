//! The database: made, examined, opened, written.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, params_from_iter};

use super::error::StateError;
use super::frame::{self, Frame, Value};
use super::schema::{self, APPLICATION, Kind, Statement, Table, VERSION};
use super::view::View;
use crate::daemon::fail;

/// The database's name.
pub(super) const NAME: &str = "state.db";

/// The open database. Nobody else has it open.
#[derive(Debug)]
pub(super) struct Store {
    database: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the database of this directory, or makes it. One that is not ours or not whole is left as it is.
    pub(super) fn open(directory: &Path, is_new: bool) -> Result<Self, StateError> {
        let path = directory.join(NAME);
        if is_new {
            make(directory, &path)?;
        }
        examine(&path)?;
        let failed = |action| StateError::database(action, &path);
        let database = Connection::open(&path).map_err(failed("open"))?;
        // Also when it is closed after a refusal.
        database
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .and_then(|_| database.execute_batch(SETTINGS))
            .map_err(failed("open"))?;
        let store = Self { database, path };
        store.check()?;
        Ok(store)
    }

    fn check(&self) -> Result<(), StateError> {
        let failed = |action| StateError::database(action, &self.path);
        let found: String = self
            .database
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(failed("examine"))?;
        if found != "ok" {
            return Err(StateError::broken(&self.path, found));
        }
        let mut tables: Vec<String> = self
            .database
            .prepare("SELECT sql FROM sqlite_schema")
            .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
            .map_err(failed("examine"))?;
        tables.sort_unstable();
        let mut ours = Table::ALL.map(Table::definition);
        ours.sort_unstable();
        if tables != ours {
            return Err(StateError::broken(&self.path, "its tables are not those of its version"));
        }
        Ok(())
    }

    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.database, &self.path)
    }

    pub(super) fn begin(&self) -> Result<Batch<'_>, StateError> {
        let transaction =
            self.database.unchecked_transaction().map_err(StateError::database("write", &self.path))?;
        Ok(Batch { transaction, path: &self.path })
    }

    /// Brings everything into the database's own file, and that to the disk.
    pub(super) fn checkpoint(&self) -> Result<(), StateError> {
        let busy: i64 = self
            .database
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(StateError::database("complete", &self.path))?;
        fail::point("state.database.complete");
        if busy == 0 { Ok(()) } else { Err(StateError::broken(&self.path, "somebody else has it open")) }
    }

    /// Removes what is too old.
    pub(super) fn prune(&self, now_unix_ns: i64) -> Result<(), StateError> {
        let batch = self.begin()?;
        schema::prune(&batch.transaction, now_unix_ns).map_err(StateError::database("prune", &self.path))?;
        batch.commit()
    }
}

/// What becomes part of the database as one.
pub(super) struct Batch<'a> {
    transaction: Transaction<'a>,
    path: &'a Path,
}

impl Batch<'_> {
    /// Applies a frame.
    pub(super) fn apply(&self, frame: Frame<'_>) -> Result<(), StateError> {
        let unreadable =
            || StateError::broken(self.path, format!("entry {} of its journal makes no sense", frame.number));
        for change in frame.changes() {
            let (statement, mut values) = change.ok_or_else(unreadable)?;
            let (sql, table) = Statement::from_number(statement).ok_or_else(unreadable)?.sql();
            if let Some(table) = table {
                values.push(Value::Int(frame::sum(table as u8, values.iter().copied())));
            }
            self.run(sql, &values)?;
        }
        Ok(())
    }

    /// Notes up to where the journal is applied.
    pub(super) fn applied(&self, number: u64) -> Result<(), StateError> {
        let mut values = vec![
            Value::Int(Kind::Own.number()),
            Value::Text("applied"),
            Value::Text(""),
            Value::unsigned(number),
        ];
        values.push(Value::Int(frame::sum(Table::Facts as u8, values.iter().copied())));
        self.run(Statement::PutFact.sql().0, &values)
    }

    fn run(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StateError> {
        self.transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(values)))
            .map(drop)
            .map_err(StateError::database("write", self.path))
    }

    pub(super) fn commit(self) -> Result<(), StateError> {
        fail::point("state.batch.filled");
        self.transaction.commit().map_err(StateError::database("write", self.path))?;
        fail::point("state.batch.committed");
        Ok(())
    }
}

/// The lock is ours for good: then SQLite needs no shared memory. A commit is not synchronised, the journal is what
/// survives; a checkpoint is.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA synchronous = NORMAL;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA cache_size = -512;
    PRAGMA temp_store = MEMORY;
    PRAGMA journal_size_limit = 4194304;
";

/// Makes an empty database under another name first: half of one never has the right name.
fn make(directory: &Path, path: &Path) -> Result<(), StateError> {
    let unfinished = directory.join("state.db.new");
    for ending in ["", "-wal", "-shm", "-journal"] {
        // What an earlier start left half-made; mostly it is not there.
        let _ = fs::remove_file(directory.join(format!("state.db.new{ending}")));
    }
    let failed = |action| StateError::database(action, &unfinished);
    let database = Connection::open(&unfinished).map_err(failed("create"))?;
    let mut script = format!(
        "PRAGMA synchronous = FULL; BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
    );
    for table in Table::ALL {
        script.push_str(table.definition());
        script.push(';');
    }
    script.push_str("COMMIT; PRAGMA journal_mode = WAL;");
    database.execute_batch(&script).map_err(failed("create"))?;
    database.close().map_err(|(_, error)| failed("create")(error))?;
    fail::point("state.create.made");
    let system = |action| StateError::system(action, path);
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(system("create"))?;
    fs::rename(&unfinished, path).map_err(system("create"))?;
    fail::point("state.create.named");
    sync_directory(directory)
}

/// Makes names of files survive a power failure.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StateError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(StateError::system("synchronise", directory))
}

/// Reads the header by hand, before SQLite has a chance to repair what is not ours.
/// The places are those of <https://www.sqlite.org/fileformat2.html#the_database_header>.
fn examine(path: &Path) -> Result<(), StateError> {
    let mut header = [0; 100];
    let mut file = File::open(path).map_err(StateError::system("open", path))?;
    let foreign = |what: &str| Err(StateError::Foreign { path: path.to_owned(), what: what.to_owned() });
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return foreign("it is too short for a database");
        }
        Err(error) => return Err(StateError::system("read", path)(error)),
    }
    let number = |at: usize| {
        let bytes = header.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    if !header.starts_with(b"SQLite format 3\0") {
        return foreign("it is no SQLite database");
    }
    if number(68) != APPLICATION {
        return foreign("it is a database of another program");
    }
    let found = i64::from(number(60));
    if found > VERSION {
        return Err(StateError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    if found < VERSION {
        return Err(StateError::broken(path, format!("its version is {found}, which there never was")));
    }
    Ok(())
}
