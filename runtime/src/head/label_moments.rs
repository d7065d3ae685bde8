//! What is solved from rows of any label sets: where a row may be several classes or none, a class against all that is not it is
//! seen under the total scatter `T = G - S S^T / N` of the union of the blocks, since the scatter within classes does not hold.
//!
//! A row that only says what it is not counts among the rest of the other classes: the sums do not tell which rows these are.

use std::collections::BTreeMap;

use crate::head::Moments;
use crate::learn::{Block, ClassName};
use crate::{Error, ErrorKind, Result};

/// Sums of rows with any labels, in the embedding's units.
#[derive(Debug, Clone)]
pub struct LabelMoments {
    /// All rows as if they were of one class: its within-class scatter is the total scatter.
    pub(crate) total: Moments,
    /// Sum of all rows \[D\].
    pub(crate) sum: Vec<f64>,
    /// Classes that some row is and some row is not, without retired ones, in canonical order.
    pub(crate) classes: Vec<OfClass>,
}

/// Sums of the rows that are a class, and of those that are said not to be it.
#[derive(Debug, Clone)]
pub(crate) struct OfClass {
    pub(crate) name: ClassName,
    pub(crate) n: f64,
    pub(crate) sum: Vec<f64>,
    pub(crate) negative_n: f64,
    pub(crate) negative_sum: Vec<f64>,
}

impl LabelMoments {
    /// Of blocks of any kinds, with the value of one latent step per dimension (`scale` \[D\]).
    ///
    /// # Errors
    /// `Mismatch` when a block is of another dimension than `scale`; `Learn` when there are no rows.
    pub fn new(blocks: &[&Block], scale: &[f32]) -> Result<LabelMoments> {
        let dim = scale.len();
        if let Some(block) = blocks.iter().find(|b| b.dim() != dim) {
            let error = Error::new(ErrorKind::Mismatch, "statistics and scales do not fit together");
            return Err(error.expected(format!("{dim} dimensions")).found(block.dim()));
        }
        let (mut rows, mut sum, mut gram) = (0.0, vec![0.0; dim], vec![0.0; dim * (dim + 1) / 2]);
        let mut classes: BTreeMap<ClassName, OfClass> = BTreeMap::new();
        let add = |to: &mut [f64], from: &[i64]| to.iter_mut().zip(from).for_each(|(t, f)| *t += *f as f64);
        for block in blocks {
            rows += block.rows() as f64;
            add(&mut sum, block.sum());
            add(&mut gram, block.gram());
            for (name, sums) in block.classes().iter().filter(|(name, _)| !name.is_retired()) {
                let class = classes.entry(name.clone()).or_insert_with(|| OfClass::zero(name.clone(), dim));
                class.n += sums.n as f64;
                class.negative_n += sums.negative_n as f64;
                add(&mut class.sum, &sums.sum);
                add(&mut class.negative_sum, &sums.negative_sum);
            }
        }
        let union = ClassName::new("all rows")?;
        let total = Moments::from_sums(vec![union], vec![rows], sum.clone(), gram, scale)?;
        let in_units = |values: &mut [f64]| values.iter_mut().zip(scale).for_each(|(v, s)| *v *= f64::from(*s));
        in_units(&mut sum);
        let mut classes: Vec<OfClass> = classes.into_values().filter(|c| c.n > 0.0 && c.n < rows).collect();
        classes.iter_mut().for_each(|c| {
            in_units(&mut c.sum);
            in_units(&mut c.negative_sum);
        });
        Ok(LabelMoments { total, sum, classes })
    }

    /// Names of the classes that can be told from the rest, in canonical order.
    pub fn classes(&self) -> impl Iterator<Item = &ClassName> {
        self.classes.iter().map(|c| &c.name)
    }
}

impl OfClass {
    fn zero(name: ClassName, dim: usize) -> OfClass {
        OfClass { name, n: 0.0, sum: vec![0.0; dim], negative_n: 0.0, negative_sum: vec![0.0; dim] }
    }
}

/// Means that differ by no more of what rows are long are one: the sums that they come of are of such rows.
const ROUNDING: f64 = 1e-13;

/// Difference and midpoint \[D\] of the mean of `n` rows with this sum and the mean of the others of all `rows`, whose squares are
/// `mean_square` in the mean.
pub(crate) fn against_rest(sum: &[f64], n: f64, all: &[f64], rows: f64, mean_square: f64) -> (Vec<f64>, Vec<f64>) {
    let means = || sum.iter().zip(all).map(|(s, a)| (s / n, (a - s) / (rows - n)));
    let of = |of: fn(f64, f64) -> f64| means().map(move |(m, r)| of(m, r));
    let is_rounding = of(|m, r| (m - r).powi(2)).sum::<f64>() <= ROUNDING.powi(2) * mean_square;
    let difference = if is_rounding { vec![0.0; sum.len()] } else { of(|m, r| m - r).collect() };
    (difference, of(|m, r| 0.5 * (m + r)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_that_differ_by_rounding_are_one_wherever_they_lie() {
        // Of rows about 10 long; the mean of both is nothing, but for rounding.
        let (difference, _) = against_rest(&[4e-16, -2e-15], 4.0, &[-3e-16, 1e-15], 12.0, 100.0);
        assert_eq!(difference, [0.0, 0.0]);
        let (difference, _) = against_rest(&[40.0 + 1e-14, 8.0], 4.0, &[120.0, 24.0], 12.0, 100.0);
        assert_eq!(difference, [0.0, 0.0]);
        let (difference, middle) = against_rest(&[40.004, 8.0], 4.0, &[120.0, 24.0], 12.0, 100.0);
        assert!((difference[0] - 0.0015).abs() < 1e-9 && difference[1].abs() < 1e-12 && (middle[1] - 2.0).abs() < 1e-12, "{difference:?}");
    }
}
