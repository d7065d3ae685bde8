//! The rows that are learned: synthetic latents that scatter round their class's mean, the same from one seed.

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet};

/// An endless stream of rows of C classes, one of each in turn.
pub struct Rows {
    dim: usize,
    means: Vec<i8>,
    names: Vec<ClassName>,
    rng: ChaCha8Rng,
    next: usize,
}

/// One labelled latent \[D\].
pub struct Row {
    pub latent: Vec<i8>,
    pub class: ClassName,
}

impl Rows {
    pub fn new(dim: usize, classes: usize) -> Result<Rows> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let means = (0..classes * dim).map(|_| uniform(&mut rng, 60)).collect();
        let names = (0..classes).map(|c| ClassName::new(&format!("class {c:04}"))).collect::<wheatear::Result<_>>()?;
        Ok(Rows { dim, means, names, rng, next: 0 })
    }

    pub fn take(&mut self, rows: usize) -> Vec<Row> {
        (0..rows).map(|_| self.row()).collect()
    }

    fn row(&mut self) -> Row {
        let class = self.next % self.names.len();
        self.next += 1;
        let mean = &self.means[class * self.dim..][..self.dim];
        let latent = mean.iter().map(|m| m + uniform(&mut self.rng, 60)).collect();
        Row { latent, class: self.names[class].clone() }
    }
}

/// -`most` to `most`.
fn uniform(rng: &mut ChaCha8Rng, most: i8) -> i8 {
    (rng.next_u32() % (2 * most as u32 + 1)) as i8 - most
}

/// Their latents one behind another, with their labels.
pub fn flat(rows: &[Row]) -> (Vec<i8>, Vec<LabelSet>) {
    (rows.iter().flat_map(|r| r.latent.iter().copied()).collect(), rows.iter().map(|r| LabelSet::single(r.class.clone())).collect())
}

/// The statistics of `rows`.
pub fn block(dim: usize, rows: &[Row]) -> Result<Block> {
    let mut block = Block::new(BlockKind::Latents, dim)?;
    let (latents, labels) = flat(rows);
    block.add_chunk(&latents, &labels)?;
    Ok(block)
}
