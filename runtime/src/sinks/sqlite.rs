//! Events in an SQLite database that can be paged through while it is written: [`Database`] writes, [`History`] reads.
//!
//! ```sql
//! events(number INTEGER PRIMARY KEY, at_ms, kind, class, source, begin_ms, end_ms, probability, unknown, generation, json TEXT)
//! ```
//!
//! `json` is the whole event; the other columns are what one may ask for, null where a kind has none and where the clock was not known.
//! Numbers grow by one with each event. `PRAGMA user_version` is [`SCHEMA`]; a newer one, and a database of another program, are refused.
//!
//! **Bounded** by rows: of more than `max_rows` the oldest are deleted, [`BATCH`] at a time, so that there are never more than both
//! together, and their space is taken again; an event is some 600 bytes, indices included. The journal (`-wal`) stays near 4 MiB.
//!
//! **Durable**: each event is a transaction of its own in SQLite's write-ahead journal, which is synced at its checkpoints only: a power cut
//! may lose the newest events, and damages nothing. A **damaged** database, found when it is opened or written, is set aside as `NAME.damaged`
//! (in the place of the one before) with a line in the log, and a new one begins.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, params, params_from_iter};

use crate::event::{Event, Sink, What};
use crate::{Error, ErrorKind, Result};

/// Number of the schema.
pub const SCHEMA: u32 = 1;
/// Rows that are deleted at once.
pub const BATCH: u64 = 256;
/// Largest `max_rows`.
pub const MAX_ROWS: u64 = 100_000_000;
/// Longest event as JSON, in bytes.
pub const EVENT_MAX_BYTES: usize = 1 << 20;
/// Most events of a page.
pub const PAGE_MAX: u32 = 1000;
/// Marks the file as Wheatear's (`PRAGMA application_id`): "Whtr".
const APPLICATION: u32 = 0x5768_7472;
/// How long another writer, or a checkpoint, is waited for.
const WAIT: Duration = Duration::from_secs(5);

const CREATE: &str = "
    CREATE TABLE events(
        number INTEGER PRIMARY KEY, at_ms INTEGER, kind TEXT NOT NULL, class TEXT, source TEXT, begin_ms INTEGER, end_ms INTEGER,
        probability REAL, unknown REAL, generation INTEGER NOT NULL, json TEXT NOT NULL
    );
    CREATE INDEX events_of_kind ON events(kind, number);
    CREATE INDEX events_of_class ON events(class, number);";
const INSERT: &str = "
    INSERT INTO events(at_ms, kind, class, source, begin_ms, end_ms, probability, unknown, generation, json)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
/// Of a label of several classes the column has the first alone; ?3 is the class.
const ALSO_LEARNED: &str = "kind = 'learned' AND class IS NOT ?3 AND json_valid(events.json)
    AND ?3 IN (SELECT value FROM json_each(events.json, '$.classes'))";

/// Writes events to a database. It may wait for the disk: put it [`super::Behind`] a queue.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// None while it could not be begun anew.
    connection: Option<Connection>,
    max_rows: u64,
}

impl Database {
    /// Opens a database, or begins one, that keeps the newest `max_rows` events.
    ///
    /// # Errors
    /// `Config` when `max_rows` is not within 1 and [`MAX_ROWS`]; `Mismatch` when the file is of a newer schema or of another program;
    /// `Storage` and `Missing` as the file system has it.
    pub fn open(path: impl Into<PathBuf>, max_rows: u64) -> Result<Database> {
        if !(1..=MAX_ROWS).contains(&max_rows) {
            let error = Error::new(ErrorKind::Config, "a database cannot keep so many events").at("max_rows");
            return Err(error.expected(format!("1 to {MAX_ROWS}")).found(max_rows).cure("choose another number"));
        }
        let path = path.into();
        let connection = Some(sound(&path)?);
        Ok(Database { path, connection, max_rows })
    }

    /// Number that the next event gets.
    ///
    /// # Errors
    /// `Corrupt` or `Storage` when it cannot be read.
    pub fn next_number(&mut self) -> Result<u64> {
        let path = self.path.clone();
        next_number(self.connection()?).map_err(|e| failed("read", &path, e))
    }

    fn connection(&mut self) -> Result<&Connection> {
        if self.connection.is_none() {
            self.connection = Some(sound(&self.path)?);
        }
        self.connection.as_ref().ok_or_else(|| Error::new(ErrorKind::Storage, "the database is not open"))
    }

    fn insert(&mut self, event: &Event, json: &str) -> Result<()> {
        let (path, max_rows) = (self.path.clone(), self.max_rows);
        let connection = self.connection()?;
        let write = || -> rusqlite::Result<()> {
            let row = Row::of(&event.what);
            let at_ms = event.at.wall_ms;
            let generation = i64::try_from(event.generation).unwrap_or(i64::MAX);
            let (begin_ms, end_ms) = row.span_ms;
            let (p, unknown) = (row.probability, row.unknown);
            let values = params![at_ms, event.what.kind(), row.class, row.source, begin_ms, end_ms, p, unknown, generation, json];
            connection.prepare_cached(INSERT)?.execute(values)?;
            let newest = connection.last_insert_rowid();
            let horizon = newest.saturating_sub(max_rows as i64);
            if (newest as u64).is_multiple_of(BATCH) && horizon > 0 {
                connection.execute("DELETE FROM events WHERE number <= ?1", [horizon])?;
            }
            Ok(())
        };
        write().map_err(|e| failed("write", &path, e))
    }
}

impl Sink for Database {
    fn take(&mut self, event: &Event) -> Result<()> {
        let unclear = |e| Error::new(ErrorKind::Storage, "an event cannot be written").at(event.what.kind()).because(e);
        let json = serde_json::to_string(event).map_err(unclear)?;
        if json.len() > EVENT_MAX_BYTES {
            return Err(Error::new(ErrorKind::Limit, "an event is too long for the database")
                .at(event.what.kind())
                .expected(format!("at most {EVENT_MAX_BYTES} bytes"))
                .found(format!("{} bytes", json.len())));
        }
        match self.insert(event, &json) {
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                self.connection = None;
                set_aside(&self.path, &e)?;
                self.insert(event, &json)
            }
            done => done,
        }
    }
}

/// Reads events that a [`Database`] writes, at the same time, in the same process or another.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// Of the database at `path`, which is opened for each page: one that was set aside meanwhile is not held.
    pub fn new(path: impl Into<PathBuf>) -> History {
        History { path: path.into() }
    }

    /// The newest events, or those before number `before`, the newest first, with their numbers: at most `limit` of them and
    /// [`PAGE_MAX`], of this kind ([`What::kind`]) and class where they are named. Events that this version cannot read are left out.
    ///
    /// # Errors
    /// `Missing` when there is no database; `Mismatch` when it is of a newer schema or of another program; `Corrupt` when it is damaged;
    /// `Storage` when it cannot be read.
    pub fn page(&self, before: Option<u64>, limit: u32, kind: Option<&str>, class: Option<&str>) -> Result<Vec<(u64, Event)>> {
        let connection = self.open()?;
        let (mut all, limit) = (Vec::new(), limit.min(PAGE_MAX) as usize);
        if limit == 0 {
            return Ok(all);
        }
        let mut read = || -> rusqlite::Result<()> {
            let before = before.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
            let values: [Value; 3] = [before.into(), kind.map(str::to_owned).into(), class.map(str::to_owned).into()];
            let mut statement = connection.prepare(&question(kind, class))?;
            let used = statement.parameter_count();
            let mut rows = statement.query(params_from_iter(values.into_iter().take(used)))?;
            while let Some(row) = rows.next()? {
                let (number, json): (i64, String) = (row.get(0)?, row.get(1)?);
                match serde_json::from_str(&json) {
                    Ok(event) => all.push((number.max(0) as u64, event)),
                    Err(e) => log::debug!("event {number} of {} cannot be read: {e}", self.path.display()),
                }
                if all.len() == limit {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|e| failed("read", &self.path, e))?;
        Ok(all)
    }

    /// Number that the next event gets: those that are held are smaller.
    ///
    /// # Errors
    /// As [`History::page`].
    pub fn next_number(&self) -> Result<u64> {
        next_number(&self.open()?).map_err(|e| failed("read", &self.path, e))
    }

    fn open(&self) -> Result<Connection> {
        if !self.path.exists() {
            let error = Error::new(ErrorKind::Missing, "there is no database of events").at(self.path.display());
            return Err(error.cure("check the path; it is begun when the daemon is started with it"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<(Connection, Schema)> {
            let connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(WAIT)?;
            let schema = Schema::of(&connection)?;
            Ok((connection, schema))
        };
        let (connection, schema) = open().map_err(|e| failed("read", &self.path, e))?;
        match schema {
            Schema::Own(SCHEMA) => Ok(connection),
            other => Err(other.refused(&self.path)),
        }
    }
}

/// What is asked for the events before ?1, of kind ?2 and class ?3 where they are named: each in the order of an index, none sorted. Only
/// labels of several classes are looked for among all labels, so that a page of a class takes longer the more there are.
fn question(kind: Option<&str>, class: Option<&str>) -> String {
    let of = |condition: &str| format!("SELECT number, json FROM events WHERE number < ?1{condition}");
    let all = match (kind, class) {
        (None, None) => of(""),
        (Some(_), None) => of(" AND kind = ?2"),
        (None, Some(_)) => of(" AND class = ?3") + " UNION ALL " + &of(&format!(" AND {ALSO_LEARNED}")),
        // By the index of the class: of a kind there are more.
        (Some("learned"), Some(_)) => of(" AND class = ?3 AND +kind = ?2") + " UNION ALL " + &of(&format!(" AND {ALSO_LEARNED}")),
        (Some(_), Some(_)) => of(" AND class = ?3 AND +kind = ?2"),
    };
    all + " ORDER BY number DESC"
}

/// Whose database it is.
#[derive(Debug, PartialEq)]
enum Schema {
    /// Nobody's yet.
    Empty,
    /// Wheatear's, with the number of its schema.
    Own(u32),
    /// Another program's.
    Other,
}

impl Schema {
    fn of(connection: &Connection) -> rusqlite::Result<Schema> {
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let (application, version) = (number("application_id")?, number("user_version")?);
        Ok(match (application == i64::from(APPLICATION), tables, version) {
            (true, ..) => Schema::Own(u32::try_from(version).unwrap_or(u32::MAX)),
            (false, 0, 0) if application == 0 => Schema::Empty,
            _ => Schema::Other,
        })
    }

    fn refused(&self, path: &Path) -> Error {
        let error = Error::new(ErrorKind::Mismatch, "this database does not hold events of this version").at(path.display());
        let error = error.expected(format!("schema {SCHEMA}"));
        match self {
            Schema::Own(version) => error.found(format!("schema {version}")).cure("use a newer wheatear, or name another file"),
            Schema::Empty => error.found("no events yet").cure("start the daemon with it first"),
            Schema::Other => error.found("tables of another program").cure("name another file"),
        }
    }
}

/// What a row has beside the JSON.
#[derive(Default)]
struct Row<'a> {
    class: Option<&'a str>,
    source: Option<&'a str>,
    span_ms: (Option<i64>, Option<i64>),
    probability: Option<f32>,
    unknown: Option<f32>,
}

impl Row<'_> {
    fn of(what: &What) -> Row<'_> {
        match what {
            What::Began { source, begin, class, probability, unknown, .. } => Row {
                class: Some(class),
                source: Some(source),
                span_ms: (begin.wall_ms, None),
                probability: Some(*probability),
                unknown: *unknown,
            },
            What::Heard { source, span, class, probability, unknown, .. } => Row {
                class: Some(class),
                source: Some(source),
                span_ms: (span.and_then(|s| s.0.wall_ms), span.and_then(|s| s.1.wall_ms)),
                probability: Some(*probability),
                unknown: *unknown,
            },
            What::Asked { source, span, unknown, .. } => {
                Row { source: Some(source), span_ms: (span.0.wall_ms, span.1.wall_ms), unknown: *unknown, ..Row::default() }
            }
            // The first of several; the JSON has them all.
            What::Learned { source, span, classes, .. } => Row {
                class: classes.first().map(String::as_str),
                source: Some(source),
                span_ms: (span.and_then(|s| s.0.wall_ms), span.and_then(|s| s.1.wall_ms)),
                ..Row::default()
            },
            What::Notice { source, .. } => Row { source: Some(source), ..Row::default() },
            What::Undone { .. } | What::Serving { .. } => Row::default(),
        }
    }
}

/// Opens a database for writing; a damaged one is set aside, once.
fn sound(path: &Path) -> Result<Connection> {
    match writable(path) {
        Err(e) if e.kind() == ErrorKind::Corrupt => {
            set_aside(path, &e)?;
            writable(path)
        }
        opened => opened,
    }
}

fn writable(path: &Path) -> Result<Connection> {
    let open = || -> rusqlite::Result<(Connection, Schema)> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(WAIT)?;
        let schema = Schema::of(&connection)?;
        Ok((connection, schema))
    };
    let (connection, schema) = open().map_err(|e| failed("open", path, e))?;
    let set_up = |is_new: bool| -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
        // In KiB: events are written at the end and read by the page, an eighth of the usual is enough for both.
        connection.pragma_update(None, "cache_size", -256)?;
        if is_new {
            let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};");
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {CREATE} {marks} COMMIT;"))?;
        }
        Ok(())
    };
    match schema {
        Schema::Own(SCHEMA) | Schema::Empty => {
            set_up(schema == Schema::Empty).map_err(|e| failed("open", path, e))?;
            Ok(connection)
        }
        other => Err(other.refused(path)),
    }
}

/// Moves a damaged database out of the way, its journal with it.
fn set_aside(path: &Path, found: &Error) -> Result<()> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    for suffix in ["-wal", "-shm"] {
        // Most often there is none; a stale one beside a new database would be taken for its journal.
        match std::fs::rename(named(suffix), named(&format!(".damaged{suffix}"))) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("set a damaged journal aside", named(suffix), e)),
            _ => {}
        }
    }
    let aside = named(".damaged");
    std::fs::rename(path, &aside).map_err(|e| Error::io("set a damaged database aside", path, e))?;
    log::error!("{found}; it was set aside as {}, and events go to a new one", aside.display());
    Ok(())
}

fn next_number(connection: &Connection) -> rusqlite::Result<u64> {
    let newest: Option<i64> = connection.query_row("SELECT max(number) FROM events", [], |row| row.get(0))?;
    Ok(newest.unwrap_or(0).max(0) as u64 + 1)
}

fn failed(doing: &str, path: &Path, e: rusqlite::Error) -> Error {
    let damaged =
        (ErrorKind::Corrupt, "when it is written next it is set aside and begun anew; sqlite3 NAME .recover may read what it held");
    let (kind, cure) = match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged,
        // Statements are fixed: one that means nothing to it finds other columns than its schema's number promises.
        _ if e.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_ERROR) => damaged,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (ErrorKind::Busy, "end the other program that writes it"),
        Some(ErrorCode::DiskFull) => (ErrorKind::Storage, "free some space"),
        Some(ErrorCode::CannotOpen) => (ErrorKind::Storage, "check the path, and that this user may write its folder"),
        _ => (ErrorKind::Storage, "check the disk (dmesg, SMART), then try again"),
    };
    Error::new(kind, format!("cannot {doing} the database of events")).at(path.display()).found(&e).cure(cure).because(e)
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
