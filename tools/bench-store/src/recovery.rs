//! How long a large adapter takes to open: with the longest journal that ever lies behind a checkpoint, and with none.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use wheatear::store::Durability;

use crate::figures::median;
use crate::folder;
use crate::opening::open_copy;
use crate::row::Rows;
use crate::stores::adapter::Learner;
use crate::stores::{Kind, Shape, Store};

pub const SHAPE: Shape = Shape { dim: 1536, replay_rows: 16_384 };
const ROWS_PER_COMMIT: usize = 32;
const SAMPLES: usize = 3;

/// What opening took.
#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    pub dim: usize,
    pub replay_rows: u32,
    pub after_checkpoint_ms: f64,
    pub before_checkpoint_ms: f64,
    /// Rows learned since the checkpoint in `before_checkpoint_ms`, and between two checkpoints that come by themselves.
    pub journal_rows: usize,
    pub checkpoint_every_rows: usize,
    pub file_bytes: u64,
}

/// Fills an adapter below `place`, and opens copies of it just behind a checkpoint and just before the next.
pub fn measure(place: &Path, shape: Shape) -> Result<Recovery> {
    let (original, copy) = (place.join("recovery"), place.join("recovery-copy"));
    let mut rows = Rows::new(shape.dim)?;
    let mut learner = Learner::create(&original, shape, Durability::Later)?;
    // A quarter more than is held, so that old rows have begun to leave.
    for _ in 0..shape.replay_rows as usize * 5 / 4 / ROWS_PER_COMMIT {
        learner.commit(&rows.take(ROWS_PER_COMMIT))?;
    }
    learner.checkpoint()?;
    let after_checkpoint_ms = open_median(&original, &copy)?;
    let most = 4 * shape.replay_rows as usize / ROWS_PER_COMMIT;
    to_checkpoint(&mut learner, &mut rows, most)?;
    // From a checkpoint that came by itself to one commit before the next; where chunks end makes the ways differ a little.
    let mut way = to_checkpoint(&mut learner, &mut rows, most)?;
    let commits = loop {
        let mut commits = 0;
        while commits + 1 < way && !learn(&mut learner, &mut rows)? {
            commits += 1;
        }
        if commits + 1 >= way {
            break commits;
        }
        way = commits + 1;
    };
    learner.sync()?;
    let before_checkpoint_ms = open_median(&original, &copy)?;
    let way = commits + to_checkpoint(&mut learner, &mut rows, most)?;
    Ok(Recovery {
        dim: shape.dim,
        replay_rows: shape.replay_rows,
        after_checkpoint_ms,
        before_checkpoint_ms,
        journal_rows: commits * ROWS_PER_COMMIT,
        checkpoint_every_rows: way * ROWS_PER_COMMIT,
        file_bytes: folder::len_bytes(&original)?,
    })
}

/// One commit; whether a checkpoint came with it.
fn learn(learner: &mut Learner, rows: &mut Rows) -> Result<bool> {
    learner.checkpointed()?;
    learner.commit(&rows.take(ROWS_PER_COMMIT))?;
    learner.checkpointed()
}

/// Commits until a checkpoint comes by itself, `most` of them; how many it took.
fn to_checkpoint(learner: &mut Learner, rows: &mut Rows, most: usize) -> Result<usize> {
    for commits in 1..=most {
        if learn(learner, rows)? {
            return Ok(commits);
        }
    }
    bail!("no checkpoint came within {} rows", most * ROWS_PER_COMMIT)
}

fn open_median(original: &Path, copy: &Path) -> Result<f64> {
    let times: Result<Vec<Option<f64>>> = (0..SAMPLES).map(|_| open_copy(Kind::Adapter, original, copy)).collect();
    median(&times?.into_iter().flatten().collect::<Vec<_>>()).context("nothing was opened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_journal_ends_just_before_a_checkpoint() {
        let place = tempfile::tempdir().unwrap();
        let recovery = measure(place.path(), Shape { dim: 16, replay_rows: 3200 }).unwrap();
        assert!(recovery.journal_rows > 0, "{recovery:?}");
        assert!(recovery.checkpoint_every_rows > recovery.journal_rows, "{recovery:?}");
        assert!(recovery.checkpoint_every_rows - recovery.journal_rows < recovery.journal_rows / 4, "{recovery:?}");
    }
}
