//! The adapter store itself, by its public operations only.

use std::path::Path;

use anyhow::Result;
use wheatear::latent::SpaceId;
use wheatear::store::{Access, Adapter, Batch, Creation, Durability, NewRow, RowFlags};
use wheatear::units::Moment;

use super::{Shape, Store};
use crate::row::{ORIGIN, Row};

/// An adapter that learns.
pub struct Learner {
    adapter: Adapter,
    durability: Durability,
    /// Generation of the newest checkpoint that is known.
    checkpoint: u64,
}

impl Learner {
    pub fn create(folder: &Path, shape: Shape, durability: Durability) -> Result<Learner> {
        let creation = Creation::new(SpaceId([0x57; 32]), "synthetic", shape.dim as u32, 8, vec![0.05; shape.dim], ORIGIN);
        let creation = creation.with_replay_rows(shape.replay_rows);
        let adapter = Adapter::create(folder, creation, *b"bench of stores.")?;
        Ok(Learner { adapter, durability, checkpoint: 0 })
    }

    /// Makes durable what is not.
    pub fn sync(&mut self) -> Result<()> {
        Ok(self.adapter.sync()?)
    }
}

impl Store for Learner {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let time = Moment {
            boot_id: [0xb0; 16],
            monotonic_ns: first.time_ns,
            wall_ms: Some(1_790_000_000_000 + (first.time_ns / 1_000_000) as i64),
            uncertainty_ms: 50,
        };
        let batch = Batch { origin: ORIGIN, by: "bench".into(), time, graph: 0x5eed, source: 0, source_complete: false };
        let new: Vec<NewRow<'_>> = rows
            .iter()
            .map(|row| NewRow {
                latent: &row.latent,
                labels: &row.labels,
                time_delta_ns: (row.time_ns - first.time_ns) as i64,
                start_sample: row.start_sample,
                flags: RowFlags(row.flags),
            })
            .collect();
        self.adapter.learn(&batch, &new, self.durability)?;
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<()> {
        Ok(self.adapter.checkpoint()?)
    }

    fn checkpointed(&mut self) -> Result<bool> {
        let now = self.adapter.checkpoint_generation();
        Ok(std::mem::replace(&mut self.checkpoint, now) != now)
    }
}

/// Opens the adapter for writing: its statistics are whole when this returns.
pub fn open(folder: &Path) -> Result<Adapter> {
    Ok(Adapter::open(folder, Access::Write)?)
}
