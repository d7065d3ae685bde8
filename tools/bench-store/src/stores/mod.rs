//! The stores that are compared: each commits the same rows and holds no more of them than the adapter does.

pub mod adapter;
mod bare;
mod redb;
mod sqlite;

use std::any::Any;
use std::path::Path;

use anyhow::Result;
use wheatear::store::Durability;

use crate::row::Row;

/// What a store is made for.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub dim: usize,
    /// Rows held; older ones leave.
    pub replay_rows: u32,
}

/// A store that is open for writing.
pub trait Store {
    /// Makes `rows` survive a power cut, all or none; the unsynced adapter only takes them in.
    fn commit(&mut self, rows: &[Row]) -> Result<()>;

    /// Brings everything into its last place, as the store would by itself sooner or later.
    fn checkpoint(&mut self) -> Result<()>;

    /// Whether the adapter has written a checkpoint since it was last asked; the others' are not counted.
    fn checkpointed(&mut self) -> Result<bool> {
        Ok(false)
    }
}

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Adapter,
    /// The adapter without syncs: what learning itself takes.
    Unsynced,
    /// SQLite, the oldest rows deleted.
    Sqlite,
    /// SQLite, the oldest rows replaced in their place.
    SqliteRing,
    Redb,
    Bare,
}

impl Kind {
    pub const ALL: [Kind; 6] = [Kind::Adapter, Kind::Unsynced, Kind::Sqlite, Kind::SqliteRing, Kind::Redb, Kind::Bare];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Adapter => "adapter",
            Kind::Unsynced => "adapter-unsynced",
            Kind::Sqlite => "sqlite",
            Kind::SqliteRing => "sqlite-ring",
            Kind::Redb => "redb",
            Kind::Bare => "bare",
        }
    }

    /// What it stores, and how it was set.
    pub fn stores(self) -> String {
        match self {
            Kind::Adapter => {
                "rows, labels, metadata, and the statistics (G, S, n) by checkpoints; checksums over all of it; files preallocated".into()
            }
            Kind::Unsynced => "the same without a sync a commit (Durability::Later): not durable, the price of learning itself".into(),
            Kind::Sqlite => format!("rows, labels, metadata; {}; the oldest deleted in the same transaction", sqlite::settings()),
            Kind::SqliteRing => {
                "the same, but row n replaces row n - replay_rows in its place: the least wear found at SQLite's own page size".into()
            }
            Kind::Redb => "rows, labels, metadata; Durability::Immediate; the oldest deleted in the same transaction".into(),
            Kind::Bare => {
                "the same bytes without index or checksum; pwrite and fdatasync into a file written once before, as a ring".into()
            }
        }
    }

    /// Creates it in `folder`, which does not exist yet.
    pub fn create(self, folder: &Path, shape: Shape) -> Result<Box<dyn Store>> {
        Ok(match self {
            Kind::Adapter => Box::new(adapter::Learner::create(folder, shape, Durability::Now)?),
            Kind::Unsynced => Box::new(adapter::Learner::create(folder, shape, Durability::Later)?),
            Kind::Sqlite => Box::new(sqlite::Table::create(folder, shape, sqlite::Eviction::Delete)?),
            Kind::SqliteRing => Box::new(sqlite::Table::create(folder, shape, sqlite::Eviction::Replace)?),
            Kind::Redb => Box::new(redb::Tree::create(folder, shape)?),
            Kind::Bare => Box::new(bare::Ring::create(folder, shape)?),
        })
    }

    /// Opens it for writing as after a restart, up to its newest row; returns it open. `None` where there is nothing to recover
    /// that another kind does not show.
    pub fn open(self, folder: &Path) -> Result<Option<Box<dyn Any>>> {
        Ok(match self {
            Kind::Adapter => Some(Box::new(adapter::open(folder)?)),
            Kind::Sqlite | Kind::SqliteRing => Some(Box::new(sqlite::open(folder)?)),
            Kind::Redb => Some(Box::new(redb::open(folder)?)),
            Kind::Unsynced | Kind::Bare => None,
        })
    }
}
