//! Rows by class: what the statistics count now, and what they counted at a checkpoint.

use std::collections::BTreeMap;

use super::adapter::Adapter;
use super::rewrite::Statistics;
use crate::Result;
use crate::learn::{BlockKind, ClassName};

/// Rows under each class that they name, as heard or as not heard; background under no name.
pub type Tally = BTreeMap<Option<ClassName>, u64>;

/// What an adapter was at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// The checkpoint's generation.
    pub generation: u64,
    /// Rows that its statistics count.
    pub rows: Tally,
    /// Rows that replay held and that are still there.
    pub held_rows: u64,
    /// Recordings that were known as taught.
    pub sources: u64,
}

impl Adapter {
    /// Rows that the statistics count.
    pub fn tally(&self) -> Tally {
        tally(&self.contents.blocks)
    }

    /// What [`Adapter::roll_back`] to `generation`, one of [`Adapter::generations`], would bring back.
    ///
    /// # Errors
    /// `Input` when there is no such checkpoint; `Corrupt` or `Storage` when it cannot be read, for a reader also when the
    /// writer has replaced it.
    pub fn earlier(&self, generation: u64) -> Result<Earlier> {
        let (_, older, _) = self.contents_at(generation)?;
        let (rows, held_rows, sources) = (tally(&older.blocks), older.held.rows(), older.sources.iter().count() as u64);
        Ok(Earlier { generation, rows, held_rows, sources })
    }
}

fn tally(statistics: &Statistics) -> Tally {
    let mut rows = Tally::new();
    for ((_, kind), block) in statistics {
        if *kind == BlockKind::Background {
            *rows.entry(None).or_default() += block.rows();
        }
        block.classes().iter().for_each(|(name, sums)| *rows.entry(Some(name.clone())).or_default() += sums.n + sums.negative_n);
    }
    rows
}

/// Rows by class that `before` counts and `after` does not.
pub(super) fn difference(before: &Statistics, after: &Statistics) -> Tally {
    fewer(&tally(before), &tally(after))
}

/// What of `before` is not in `after`, class by class.
pub fn fewer(before: &Tally, after: &Tally) -> Tally {
    let left = |(class, n): (&Option<ClassName>, &u64)| (class.clone(), n.saturating_sub(after.get(class).copied().unwrap_or(0)));
    before.iter().map(left).filter(|(_, n)| *n > 0).collect()
}
