//! redb, a copy-on-write B-tree in Rust: one table from the row's id to its bytes.

use std::path::Path;

use anyhow::{Context, Result};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Shape, Store};
use crate::row::Row;

const FILE: &str = "rows.redb";
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

/// A tree of rows.
pub struct Tree {
    database: Database,
    replay_rows: u64,
}

impl Tree {
    pub fn create(folder: &Path, shape: Shape) -> Result<Tree> {
        std::fs::create_dir_all(folder)?;
        Ok(Tree { database: Database::create(folder.join(FILE))?, replay_rows: u64::from(shape.replay_rows) })
    }
}

impl Store for Tree {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for row in rows {
                table.insert(row.id, row.to_bytes().as_slice())?;
                if row.id > self.replay_rows {
                    table.pop_first()?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// Nothing to do: each commit writes rows where they stay.
    fn checkpoint(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Opens the database, repairs it when it was not closed, and looks up its newest row.
pub fn open(folder: &Path) -> Result<Database> {
    let database = Database::open(folder.join(FILE))?;
    let newest = database.begin_read()?.open_table(ROWS)?.last()?.map(|(id, _)| id.value());
    newest.context("the redb database has no rows")?;
    Ok(database)
}
