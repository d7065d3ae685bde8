//! SQLite in its durable and fast setting: WAL, synchronous=FULL, one prepared insert a row, one transaction a commit.

use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, TransactionBehavior, params};

use super::{Shape, Store};
use crate::row::{ORIGIN, Row};

const FILE: &str = "rows.sqlite";
/// Rows name their origin by this number, not by its 24 bytes.
const ORIGIN_NUMBER: i64 = 1;

/// How it was set.
pub fn settings() -> String {
    format!("SQLite {}, WAL, synchronous=FULL, built with fdatasync, defaults otherwise", rusqlite::version())
}

/// How a row leaves when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// It is deleted.
    Delete,
    /// The new row takes its key, and so its place in the tree.
    Replace,
}

/// A table of rows.
pub struct Table {
    connection: Connection,
    replay_rows: u64,
    eviction: Eviction,
}

impl Table {
    pub fn create(folder: &Path, shape: Shape, eviction: Eviction) -> Result<Table> {
        std::fs::create_dir_all(folder)?;
        let connection = connect(folder)?;
        connection.execute_batch(
            "CREATE TABLE origin (number INTEGER PRIMARY KEY, device BLOB NOT NULL, incarnation INTEGER NOT NULL);
             CREATE TABLE row (slot INTEGER PRIMARY KEY, id INTEGER NOT NULL, origin INTEGER NOT NULL, time_ns INTEGER NOT NULL,
             start_sample INTEGER NOT NULL, labels TEXT NOT NULL, flags INTEGER NOT NULL, latent BLOB NOT NULL)",
        )?;
        let incarnation = ORIGIN.incarnation.cast_signed();
        connection.execute("INSERT INTO origin VALUES (?1, ?2, ?3)", params![ORIGIN_NUMBER, ORIGIN.device, incarnation])?;
        Ok(Table { connection, replay_rows: u64::from(shape.replay_rows), eviction })
    }
}

impl Store for Table {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let Some(last) = rows.last() else { return Ok(()) };
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO row VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
            for row in rows {
                let latent: Vec<u8> = row.latent.iter().map(|q| q.cast_unsigned()).collect();
                let slot = if self.eviction == Eviction::Replace { row.id % self.replay_rows } else { row.id };
                let (id, time_ns, start_sample) = (row.id as i64, row.time_ns as i64, row.start_sample as i64);
                insert.execute(params![slot as i64, id, ORIGIN_NUMBER, time_ns, start_sample, row.class, row.flags, latent])?;
            }
            if last.id > self.replay_rows && self.eviction == Eviction::Delete {
                let mut delete = transaction.prepare_cached("DELETE FROM row WHERE slot <= ?1")?;
                delete.execute([(last.id - self.replay_rows) as i64])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn checkpoint(&mut self) -> Result<()> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
    }
}

fn connect(folder: &Path) -> Result<Connection> {
    let connection = Connection::open(folder.join(FILE))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Opens the database and looks up a row, so that the log is read.
pub fn open(folder: &Path) -> Result<Connection> {
    let connection = connect(folder)?;
    connection.query_row("SELECT id FROM row WHERE slot = (SELECT max(slot) FROM row)", [], |row| row.get::<_, i64>(0))?;
    Ok(connection)
}
