//! A ring of blocks by age, so that old rows can weigh less than new ones while every block stays integer and exact.
//!
//! The newest block takes rows until it is full; then a new one is begun, and past the bound the oldest is merged into the base, which
//! has no end. Weights enter where a head is solved ([`Moments::weighted`]), in f64.
//!
//! Memory: `(blocks + 1) * D (D + 1) / 2 * 8` bytes, and 16 D bytes for each class of each block: 5.3 MB for 4 blocks and the base at
//! D=512. Undo of a row must name the rows' block: rows are taken back only from the block they are in.

use std::collections::VecDeque;

use wheatear::head::Moments;
use wheatear::learn::{Block, BlockKind, LabelSet};
use wheatear::{Error, ErrorKind, Result};

/// Blocks by age.
#[derive(Debug, Clone, PartialEq)]
pub struct Ring {
    /// Newest last; never empty.
    blocks: VecDeque<Block>,
    base: Block,
    blocks_max: usize,
    rows_max: u64,
}

impl Ring {
    /// An empty ring of `blocks_max` blocks of at most `rows_max` rows each, over D = `dim` components.
    ///
    /// # Errors
    /// `Config` for no blocks, no rows, or a dimension that a block cannot have.
    pub fn new(dim: usize, blocks_max: usize, rows_max: u64) -> Result<Ring> {
        if blocks_max == 0 || rows_max == 0 {
            return Err(Error::new(ErrorKind::Config, "a ring needs room").expected("at least one block of one row"));
        }
        let empty = Block::new(BlockKind::Latents, dim)?;
        Ok(Ring { blocks: VecDeque::from([empty.clone()]), base: empty, blocks_max, rows_max })
    }

    /// Learns rows, as [`Block::add_chunk`]: `latents` i8 \[n, D\] with one label set each. They go into one block where they fit, else
    /// on into the next. On an error nothing of them is learned.
    ///
    /// # Errors
    /// As [`Block::add_chunk`].
    pub fn add_chunk(&mut self, latents: &[i8], labels: &[LabelSet]) -> Result<()> {
        let d = self.base.dim();
        // What is wrong with any row is found before the first one is learned.
        Block::new(BlockKind::Latents, d)?.add_chunk(latents, labels)?;
        let mut at = 0;
        while at < labels.len() {
            if self.newest().rows() >= self.rows_max {
                self.begin()?;
            }
            let end = labels.len().min(at + (self.rows_max - self.newest().rows()) as usize);
            self.newest_mut().add_chunk(&latents[at * d..end * d], &labels[at..end])?;
            at = end;
        }
        Ok(())
    }

    /// Begins a new block, for example when the world has changed; nothing where the newest is empty.
    ///
    /// # Errors
    /// `Limit` when the base is full.
    pub fn begin(&mut self) -> Result<()> {
        if self.newest().rows() == 0 {
            return Ok(());
        }
        if self.blocks.len() == self.blocks_max {
            self.base.merge(&self.blocks[0])?;
            self.blocks.pop_front();
        }
        self.blocks.push_back(Block::new(BlockKind::Latents, self.base.dim())?);
        Ok(())
    }

    /// What a head is solved from when a block weighs `weight(a, n)`: a is how many blocks are newer and n how many rows are.
    /// `scale` \[D\] is the value of a latent step.
    ///
    /// # Errors
    /// As [`Moments::weighted`].
    pub fn moments(&self, scale: &[f32], weight: impl Fn(usize, u64) -> f64) -> Result<Moments> {
        let mut newer_rows = 0;
        let mut weighted = Vec::new();
        let newest_first: Vec<&Block> = self.blocks.iter().rev().chain([&self.base]).collect();
        for (age, block) in newest_first.into_iter().enumerate() {
            weighted.push((block, weight(age, newer_rows)));
            newer_rows += block.rows();
        }
        Moments::weighted(&weighted, scale)
    }

    fn newest(&self) -> &Block {
        &self.blocks[self.blocks.len() - 1]
    }

    fn newest_mut(&mut self) -> &mut Block {
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheatear::learn::ClassName;

    fn rows(n: usize) -> (Vec<i8>, Vec<LabelSet>) {
        let latents = (0..3 * n).map(|i| ((i * 37 + i * i) % 255) as i32 - 127).map(|v| v as i8).collect();
        let labels = (0..n).map(|i| LabelSet::single(ClassName::new(["a", "b"][i % 2]).unwrap())).collect();
        (latents, labels)
    }

    #[test]
    fn a_merging_ring_holds_the_same_sums_as_one_block_whatever_its_pieces() {
        let (latents, labels) = rows(50);
        let mut block = Block::new(BlockKind::Latents, 3).unwrap();
        block.add_chunk(&latents, &labels).unwrap();
        for piece in [1, 7, 50] {
            let mut ring = Ring::new(3, 4, 8).unwrap();
            for (x, l) in latents.chunks(3 * piece).zip(labels.chunks(piece)) {
                ring.add_chunk(x, l).unwrap();
            }
            assert_eq!(ring.base.rows(), 24);
            assert_eq!(ring.blocks.iter().map(Block::rows).collect::<Vec<_>>(), [8, 8, 8, 2]);
            assert_eq!(ring.moments(&[0.5; 3], |_, _| 1.0).unwrap(), Moments::new(&block, &[0.5; 3]).unwrap());
        }
    }

    #[test]
    fn weights_of_whole_numbers_are_rows_learned_that_often() {
        let (latents, labels) = rows(6);
        let mut ring = Ring::new(3, 2, 4).unwrap();
        ring.add_chunk(&latents, &labels).unwrap();
        let mut block = Block::new(BlockKind::Latents, 3).unwrap();
        block.add_chunk(&latents, &labels).unwrap();
        for _ in 0..2 {
            block.add_chunk(&latents[12..], &labels[4..]).unwrap();
        }
        let ages = |age: usize, newer: u64| {
            assert_eq!(newer, [0, 2, 6][age]);
            if age == 0 { 3.0 } else { 1.0 }
        };
        assert_eq!(ring.moments(&[0.5; 3], ages).unwrap(), Moments::new(&block, &[0.5; 3]).unwrap());
    }

    #[test]
    fn a_class_that_only_old_rows_know_keeps_its_mean_at_any_weight() {
        let mut ring = Ring::new(2, 2, 4).unwrap();
        let class = |name: &str| LabelSet::single(ClassName::new(name).unwrap());
        ring.add_chunk(&[10, 20, 30, 40], &[class("old"), class("old")]).unwrap();
        ring.begin().unwrap();
        ring.add_chunk(&[1, 2, 3, 5], &[class("new"), class("new")]).unwrap();
        let moments = ring.moments(&[1.0; 2], |age, _| if age == 0 { 1.0 } else { 0.01 }).unwrap();
        let means = moments.means();
        assert!(means.iter().zip([2.0, 3.5, 20.0, 30.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{means:?}");
    }

    #[test]
    fn a_bad_row_changes_nothing_and_weights_that_are_none_are_refused() {
        let (mut latents, labels) = rows(6);
        let mut ring = Ring::new(3, 2, 4).unwrap();
        latents[17] = i8::MIN;
        let empty = ring.clone();
        assert!(ring.add_chunk(&latents, &labels).is_err());
        assert_eq!(ring, empty);
        latents[17] = 0;
        ring.add_chunk(&latents, &labels).unwrap();
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(ring.moments(&[1.0; 3], |_, _| weight).is_err(), "{weight}");
        }
        assert!(Ring::new(3, 0, 4).is_err() && Ring::new(3, 2, 0).is_err());
    }
}
