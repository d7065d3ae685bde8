//! What an adapter learned from rows of several labels and from rows that say what a window is not: its [`Presence`].

use std::collections::BTreeSet;

use super::{Budget, Doubtful, recording};
use crate::Result;
use crate::head::{LabelMoments, Moments, Presence, SetRow, judges};
use crate::learn::{Block, BlockKind, LabelSet};
use crate::store::Adapter;

/// A row with any labels.
#[derive(Debug, Clone)]
pub struct LabelSetRow {
    /// Its id.
    pub id: u64,
    /// The latent \[D\].
    pub latent: Vec<i8>,
    /// What it was said to be, and not to be.
    pub labels: LabelSet,
    /// Rows with the same number are of one recording.
    pub recording: u64,
}

/// Statistics of an adapter's rows, by kind.
#[derive(Debug, Clone, Copy)]
pub struct Blocks<'a> {
    /// Rows of exactly one label.
    pub latents: &'a Block,
    /// Rows of several labels, or with negative ones.
    pub mixed: &'a Block,
    /// Rows of no class.
    pub background: Option<&'a Block>,
    /// Whether a row that replay holds has several labels.
    pub holds_several: bool,
}

/// The presence head of `adapter`, without the rows in doubt; none when it has no mixed rows.
pub(super) fn presence(adapter: &Adapter, latents: &Block, doubtful: &[Doubtful], budget: &Budget) -> Result<Option<Presence>> {
    let Some(mixed) = adapter.block(BlockKind::Mixed)?.filter(|b| b.rows() > 0) else { return Ok(None) };
    let background = adapter.block(BlockKind::Background)?.filter(|b| b.rows() > 0);
    let holds_several = adapter.held_labels().any(|(_, labels, _)| labels.positive().len() > 1);
    let blocks = Blocks { latents, mixed: &mixed, background: background.as_ref(), holds_several };
    let doubtful: Vec<u64> = doubtful.iter().map(|d| d.id).collect();
    solve(blocks, &adapter.header().creation.scale, &judging(adapter, latents, &doubtful, budget)?, &doubtful)
}

/// The presence head of rows whose latents have steps of `scale` \[D\]. `rows` are some of them, recordings whole; those whose id is in
/// `doubtful` are not believed.
///
/// # Errors
/// `Mismatch` or `Learn` for rows that the blocks do not count; `Learn` when nothing is left to solve from.
pub fn solve(blocks: Blocks<'_>, scale: &[f32], rows: &[LabelSetRow], doubtful: &[u64]) -> Result<Option<Presence>> {
    let mut trusted = blocks.latents.clone();
    let (wrong, right): (Vec<_>, Vec<_>) = rows.iter().partition(|row| doubtful.contains(&row.id));
    for row in wrong {
        trusted.subtract(&row.latent, &row.labels)?;
    }
    let all: Vec<&Block> = [&trusted, blocks.mixed].into_iter().chain(blocks.background).collect();
    let sums = LabelMoments::new(&all, scale)?;
    let rows: Vec<SetRow<'_>> =
        right.iter().map(|row| SetRow { latent: &row.latent, labels: &row.labels, recording: row.recording }).collect();
    Presence::solve(&sums, &Moments::new(&trusted, scale)?, &rows, blocks.holds_several || is_several(&trusted, blocks.mixed))
}

/// Whether more labels than rows are counted, as of rows that left replay, or a class is in mixed rows alone.
fn is_several(latents: &Block, mixed: &Block) -> bool {
    let labels: u64 = mixed.classes().values().map(|c| c.n).sum();
    let is_new = |(name, sums): (&_, &crate::learn::block::ClassSums)| sums.n > 0 && !latents.classes().contains_key(name);
    labels > mixed.rows() || mixed.classes().iter().any(is_new)
}

/// All held rows of some recordings of every class, of some with mixed rows and of some of background, and the rows in doubt.
fn judging(adapter: &Adapter, latents: &Block, doubtful: &[u64], budget: &Budget) -> Result<Vec<LabelSetRow>> {
    let classes: Vec<_> = latents.classes().keys().collect();
    // Mixed rows and background stand for a class each, and mixed rows for as many as there are, so that half of the judges are.
    let kinds = classes.len().max(1);
    let mut places = Vec::new();
    adapter.rows(|learned| {
        for (meta, labels) in &learned.rows {
            let recording = recording(&learned, meta.id);
            let class = match labels.block_kind() {
                BlockKind::Latents => labels.positive().first().and_then(|c| classes.binary_search(&c).ok()).unwrap_or(0),
                BlockKind::Background => kinds,
                BlockKind::Mixed => kinds + 1 + (recording % kinds as u64) as usize,
            };
            places.push((class, recording));
        }
        Ok(())
    })?;
    let rows_max = budget.rows_max(adapter.dim(), classes.len())?;
    let chosen: BTreeSet<u64> = judges::choose(&places, budget.judge_rows as usize, rows_max).into_iter().map(|i| places[i].1).collect();
    let mut rows = Vec::new();
    adapter.rows(|learned| {
        for ((meta, labels), latent) in learned.rows.iter().zip(learned.latents.chunks_exact(adapter.dim())) {
            let recording = recording(&learned, meta.id);
            if chosen.contains(&recording) || doubtful.contains(&meta.id) {
                rows.push(LabelSetRow { id: meta.id, latent: latent.to_vec(), labels: labels.clone(), recording });
            }
        }
        Ok(())
    })?;
    Ok(rows)
}

#[cfg(test)]
#[path = "mixed_tests.rs"]
mod tests;
