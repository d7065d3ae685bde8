//! Statistics over random features of the rows of one run, as a device would keep them beside those of the latents. What divides the
//! features is calibrated on the training rows of the run, as the scales of its latents are; the test rows have no part in it.

use wheatear::Result;
use wheatear::head::{Expanded, RandomFeatures};
use wheatear::learn::{Block, BlockKind, LabelSet};
use wheatear::learner::FeatureBlock;

use super::data::Data;
use super::latents::Latents;
use super::split::Split;

/// Random features with the statistics of rows learned so far.
pub struct Random {
    features: RandomFeatures,
    block: Block,
}

impl Random {
    /// F = `count` features, drawn from the seed of the split.
    ///
    /// # Errors
    /// `Config` for latents of more than 8 bits, or a number of features that a block does not take.
    pub fn new(count: u32, data: &Data, split: &Split, latents: &Latents) -> Result<Random> {
        let rows = split.train.iter().map(|i| latents.steps(*i)).collect::<Result<Vec<_>>>()?;
        let features = RandomFeatures::calibrated(data.dim, count as usize, split.seed, &rows)?;
        let block = Block::new(BlockKind::Latents, features.features())?;
        Ok(Random { features, block })
    }

    /// Learns a chunk of rows.
    ///
    /// # Errors
    /// As [`Block::add_chunk`].
    pub fn learn(&mut self, data: &Data, latents: &Latents, chunk: &[usize]) -> Result<()> {
        let mut rows = vec![0; chunk.len() * self.features.features()];
        for (i, row) in chunk.iter().zip(rows.chunks_exact_mut(self.features.features())) {
            self.features.expand(latents.steps(*i)?, row);
        }
        let labels: Vec<LabelSet> = chunk.iter().map(|i| LabelSet::single(data.names[data.y[*i]].clone())).collect();
        self.block.add_chunk(&rows, &labels)
    }

    /// For the pool.
    pub fn block(&self) -> FeatureBlock<'_> {
        FeatureBlock { features: &self.features, block: &self.block }
    }

    /// For a head of its own.
    ///
    /// # Errors
    /// `Learn` when nothing was learned.
    pub fn expanded<'a>(&'a self, latents: &'a Latents) -> Result<Expanded<'a>> {
        Expanded::new(&self.features, &self.block, latents.scale())
    }
}
