//! What the solved heads see: the statistics of single-label rows as f64, still in latent steps, and the value of a step.
//!
//! An integer below 2^53 is exact in f64; beyond (5e11 rows) the solvers see it rounded to 53 bits. The statistics
//! themselves stay exact.

use std::collections::BTreeMap;

use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, Mat, MatRef, Par};

use crate::learn::{Block, BlockKind, ClassName};
use crate::{Error, ErrorKind, Result};

/// Sums of rows with exactly one class each: Gram matrix, class sums and counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    classes: Vec<ClassName>,
    counts: Vec<f64>,
    /// \[C, D\] in steps.
    sums: Vec<f64>,
    /// Upper triangle row-major, in steps squared.
    gram: Vec<f64>,
    /// \[D\]
    scale: Vec<f64>,
}

impl Moments {
    /// Moments of a block, with the value of one latent step per dimension (`scale` \[D\], from the quantiser).
    ///
    /// # Errors
    /// `Mismatch` when the block does not hold single-label rows or `scale` has another length; `Learn` when the block
    /// has no rows yet.
    pub fn new(block: &Block, scale: &[f32]) -> Result<Moments> {
        if block.kind() != BlockKind::Latents {
            return Err(
                Error::new(ErrorKind::Mismatch, "the solved heads need rows with exactly one class").found(format!("{:?}", block.kind()))
            );
        }
        let classes = block.classes();
        Moments::from_sums(
            classes.keys().cloned().collect(),
            classes.values().map(|c| c.n as f64).collect(),
            classes.values().flat_map(|c| c.sum.iter().map(|s| *s as f64)).collect(),
            block.gram().iter().map(|g| *g as f64).collect(),
            scale,
        )
    }

    /// Moments of blocks of which each weighs as much as its number says, above 0: a row of a block with weight 2 counts as two rows.
    /// The blocks are not changed.
    ///
    /// # Errors
    /// `Config` for a weight that is not above 0 and finite; else as [`Moments::new`], where blocks without rows are passed over.
    pub fn weighted(blocks: &[(&Block, f64)], scale: &[f32]) -> Result<Moments> {
        if let Some((_, w)) = blocks.iter().find(|(_, w)| !(w.is_finite() && *w > 0.0)) {
            return Err(Error::new(ErrorKind::Config, "a block cannot have this weight").expected("above 0").found(w));
        }
        let mut sum: Option<Moments> = None;
        let mut classes: BTreeMap<ClassName, (f64, Vec<f64>)> = BTreeMap::new();
        for (block, w) in blocks.iter().filter(|(b, _)| b.rows() > 0) {
            let one = Moments::new(block, scale)?;
            for ((name, n), row) in one.classes.iter().zip(&one.counts).zip(one.sums.chunks_exact(scale.len())) {
                let (count, total) = classes.entry(name.clone()).or_insert_with(|| (0.0, vec![0.0; scale.len()]));
                *count += w * n;
                total.iter_mut().zip(row).for_each(|(t, s)| *t += w * s);
            }
            let gram = sum.get_or_insert_with(|| Moments { gram: vec![0.0; one.gram.len()], ..one.clone() });
            gram.gram.iter_mut().zip(&one.gram).for_each(|(t, g)| *t += w * g);
        }
        let Some(mut moments) = sum else {
            return Moments::from_sums(vec![], vec![], vec![], vec![0.0; scale.len() * (scale.len() + 1) / 2], scale);
        };
        moments.classes = classes.keys().cloned().collect();
        (moments.counts, moments.sums) = (Vec::new(), Vec::new());
        for (count, total) in classes.into_values() {
            moments.counts.push(count);
            moments.sums.extend(total);
        }
        Ok(moments)
    }

    /// Moments of sums made elsewhere: `counts` \[C\], `sums` \[C, D\] row-major and `gram` (upper triangle row-major) in
    /// steps, `scale` \[D\]. The Gram matrix must be over the same rows as the sums.
    ///
    /// # Errors
    /// `Mismatch` when the lengths do not fit; `Learn` when there is no class, or one without rows.
    pub fn from_sums(classes: Vec<ClassName>, counts: Vec<f64>, sums: Vec<f64>, gram: Vec<f64>, scale: &[f32]) -> Result<Moments> {
        let (c, d) = (classes.len(), scale.len());
        if counts.len() != c || sums.len() != c * d || gram.len() != d * (d + 1) / 2 {
            return Err(Error::new(ErrorKind::Mismatch, "statistics and scales do not fit together")
                .expected(format!("{c} classes of {d} dimensions"))
                .found(format!("{} counts, {} sums, {} products", counts.len(), sums.len(), gram.len())));
        }
        if c == 0 || counts.iter().any(|n| *n < 1.0) {
            return Err(Error::new(ErrorKind::Learn, "there is nothing to solve a head from")
                .expected("at least one class, with a row each")
                .cure("teach a class first"));
        }
        Ok(Moments { classes, counts, sums, gram, scale: scale.iter().map(|s| f64::from(*s)).collect() })
    }

    /// Classes in the order of the sums \[C\].
    pub fn classes(&self) -> &[ClassName] {
        &self.classes
    }

    /// Rows of each class \[C\].
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// The value of a latent step of each dimension \[D\].
    pub(crate) fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// Number of components D.
    pub fn dim(&self) -> usize {
        self.scale.len()
    }

    /// Number of rows N.
    pub fn rows(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// Values of a latent \[D\] in the embedding's units.
    pub(crate) fn values(&self, latent: &[i8]) -> Vec<f32> {
        latent.iter().zip(&self.scale).map(|(q, s)| (f64::from(*q) * s) as f32).collect()
    }

    /// How much narrower the rows of one class spread than all rows: `tr(W / (N - C)) / tr(T / (N - 1))`, 0 to 1.
    pub(crate) fn narrowness(&self) -> f64 {
        let (c, n) = (self.classes.len() as f64, self.rows());
        let all = self.squares() - self.total().iter().map(|t| t * t).sum::<f64>() / n;
        let ratio = self.within_squares() / (n - c).max(1.0) / (all / (n - 1.0).max(1.0));
        if ratio.is_finite() { ratio.clamp(0.0, 1.0) } else { 1.0 }
    }

    /// Mean of all rows in the embedding's units, \[D\].
    pub fn mean_of_all(&self) -> Vec<f64> {
        self.total().iter().map(|t| t / self.rows()).collect()
    }

    /// Root of the trace of the within-class covariance.
    pub fn spread(&self) -> f64 {
        (self.within_squares() / (self.rows() - self.classes.len() as f64).max(1.0)).max(0.0).sqrt()
    }

    /// Sum of the squares of all rows: `tr(G)`.
    pub(crate) fn squares(&self) -> f64 {
        let d = self.dim();
        let diagonal = (0..d).scan(0, |at, i| Some(self.gram[std::mem::replace(at, *at + d - i)]));
        diagonal.zip(&self.scale).map(|(g, s)| g * s * s).sum()
    }

    /// `tr(W)`: what is left of the squares when each row is taken from its class's mean.
    pub(crate) fn within_squares(&self) -> f64 {
        let of_class = |(sum, n): (&[f64], &f64)| sum.iter().zip(&self.scale).map(|(s, step)| (s * step).powi(2)).sum::<f64>() / n;
        self.squares() - self.sums.chunks_exact(self.dim()).zip(&self.counts).map(of_class).sum::<f64>()
    }

    /// Sum of all rows in the embedding's units, \[D\].
    fn total(&self) -> Vec<f64> {
        let mut total = vec![0.0; self.dim()];
        self.sums().chunks_exact(self.dim()).for_each(|sum| total.iter_mut().zip(sum).for_each(|(t, s)| *t += s));
        total
    }

    /// Class means in the embedding's units, \[C, D\] row-major.
    pub fn means(&self) -> Vec<f64> {
        self.class_values(|c| 1.0 / self.counts[c])
    }

    /// Mean of one class in the embedding's units, \[D\].
    pub(crate) fn mean(&self, class: usize) -> Vec<f64> {
        let sum = &self.sums[class * self.dim()..][..self.dim()];
        sum.iter().zip(&self.scale).map(|(q, s)| q * s * (1.0 / self.counts[class])).collect()
    }

    /// Class sums in the embedding's units, \[C, D\] row-major.
    pub fn sums(&self) -> Vec<f64> {
        self.class_values(|_| 1.0)
    }

    fn class_values(&self, factor: impl Fn(usize) -> f64) -> Vec<f64> {
        let d = self.dim();
        self.sums
            .chunks_exact(d)
            .enumerate()
            .flat_map(|(c, row)| row.iter().zip(&self.scale).map(move |(q, s)| (c, q * s)))
            .map(|(c, v)| v * factor(c))
            .collect()
    }

    /// `G = sum x x^T` in the embedding's units, \[D, D\] symmetric.
    pub fn gram(&self) -> Mat<f64> {
        let mut gram = self.lower(self.dim());
        mirror(&mut gram);
        gram
    }

    /// The Gram matrix of the rows with a 1 behind each, \[D + 1, D + 1\] symmetric.
    pub(crate) fn gram_with_bias(&self) -> Mat<f64> {
        let d = self.dim();
        let mut gram = self.lower(d + 1);
        self.total().iter().enumerate().for_each(|(i, t)| gram[(d, i)] = *t);
        gram[(d, d)] = self.rows();
        mirror(&mut gram);
        gram
    }

    /// Within-class scatter `W = G - sum_c S_c S_c^T / n_c` in the embedding's units, \[D, D\] symmetric.
    pub fn within_scatter(&self) -> Mat<f64> {
        let (c, d) = (self.classes.len(), self.dim());
        let (sums, means) = (self.sums(), self.means());
        let mut w = self.lower(d);
        let (sums, means) = (MatRef::from_column_major_slice(&sums, d, c), MatRef::from_column_major_slice(&means, d, c));
        let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
        matmul(w.as_mut(), lower, Accum::Add, sums, whole, means.transpose(), whole, -1.0, Par::Seq);
        mirror(&mut w);
        w
    }

    /// `W x` for `x` \[D\] in the embedding's units, straight from the sums: about `D^2 + 2 C D` multiply-adds.
    pub(crate) fn within_product(&self, x: &[f64]) -> Vec<f64> {
        let scaled = |values: &[f64]| values.iter().zip(&self.scale).map(|(v, s)| v * s).collect::<Vec<f64>>();
        let x = scaled(x);
        let mut product = vec![0.0; self.dim()];
        let mut rest = self.gram.as_slice();
        for i in 0..self.dim() {
            let (row, tail) = rest.split_at(self.dim() - i);
            product[i] += dot(row, &x[i..]);
            add_multiple(x[i], &row[1..], &mut product[i + 1..]);
            rest = tail;
        }
        for (sum, n) in self.sums.chunks_exact(self.dim()).zip(&self.counts) {
            add_multiple(-dot(sum, &x) / n, sum, &mut product);
        }
        scaled(&product)
    }

    /// G in the lower triangle of a matrix of `size` rows; zeros elsewhere.
    fn lower(&self, size: usize) -> Mat<f64> {
        let d = self.dim();
        let mut out = Mat::zeros(size, size);
        let mut rest = self.gram.as_slice();
        for i in 0..d {
            // Row i of the upper triangle is column i of the lower one.
            let (row, tail) = rest.split_at(d - i);
            if let Some(column) = out.col_mut(i).try_as_col_major_mut() {
                let column = &mut column.as_slice_mut()[i..d];
                column.iter_mut().zip(row).zip(&self.scale[i..]).for_each(|((x, g), s)| *x = g * self.scale[i] * s);
            }
            rest = tail;
        }
        out
    }
}

/// `a^T b`, in eight partial sums, so that the compiler vectorises it.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|k| lanes[k] += a[k] * b[k]);
    }
    lanes.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// `y += factor x`.
pub(crate) fn add_multiple(factor: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

/// Copies the lower triangle to the upper one, tile by tile: columns of a usual D lie a power of two apart and push each other out
/// of the cache.
fn mirror(m: &mut Mat<f64>) {
    const TILE: usize = 16;
    let size = m.nrows();
    for first in (0..size).step_by(TILE) {
        for i in (first..size).step_by(TILE) {
            for j in first..size.min(first + TILE) {
                for i in i.max(j + 1)..size.min(i + TILE) {
                    m[(j, i)] = m[(i, j)];
                }
            }
        }
    }
}
