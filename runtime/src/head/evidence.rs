//! How good a solved head is, by its own rows: each is scored by the head that would have been solved without it. In closed
//! form, for any number of shrinkages (or lambdas) at the cost of one eigendecomposition: leaving a row out changes the scatter
//! by one outer product (Sherman & Morrison 1950), and a multiple of the identity does not change the eigenvectors.
//!
//! With the row x of class y left out, `u = x - m_y`, `a = n_y / (n_y - 1)`: `m_y' = m_y - u / (n_y - 1)`,
//! `W' = W - a u u^T`; for ridge the Gram matrix loses `f f^T` and the mean of y its share.

use faer::{Mat, Side};

use crate::head::Moments;
use crate::{Error, ErrorKind, Result};

/// Shrinkages that are tried for slda.
pub const SHRINKAGES: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0];
/// Lambdas that are tried for ridge.
pub const LAMBDAS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// A row that the moments count: its latent \[D\] in steps, and the index of its class.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// The latent.
    pub latent: &'a [i8],
    /// Which of the moments' classes it is of.
    pub class: usize,
}

/// What the rows say of one head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Its shrinkage or lambda.
    pub parameter: f64,
    /// Mean over the classes of the share of rows that it knows without having learned them.
    pub accuracy: f64,
    /// Mean over the classes of the cross entropy at the best temperature, the right class being so with probability
    /// `(n + 1) / (n + 2)` (Platt 1999): a few rows that all fit do not make a head certain.
    pub log_loss: f64,
    /// That temperature.
    pub temperature: f64,
    /// Rows that were left out: those of a class with one row alone cannot be.
    pub rows: usize,
}

/// Solves heads without one of the rows of their moments.
pub struct LeaveOneOut<'a> {
    moments: &'a Moments,
    /// Classes that are scored: retired ones shape the scatter alone.
    scored: Vec<usize>,
    /// Features a row has: D, and for ridge the bias.
    dim: usize,
    ridge: bool,
    /// Eigenvectors, in columns, and eigenvalues of the scatter or Gram matrix.
    vectors: Mat<f64>,
    values: Vec<f64>,
    /// Class means in the basis of the eigenvectors \[C, dim\].
    means: Vec<f64>,
    /// Sum of the squares of all rows.
    squares: f64,
}

impl<'a> LeaveOneOut<'a> {
    /// For slda on these moments.
    ///
    /// # Errors
    /// `Learn` when there is no eigendecomposition.
    pub fn slda(moments: &'a Moments) -> Result<LeaveOneOut<'a>> {
        LeaveOneOut::new(moments, moments.within_scatter(), false)
    }

    /// For ridge on these moments.
    ///
    /// # Errors
    /// `Learn` when there is no eigendecomposition.
    pub fn ridge(moments: &'a Moments) -> Result<LeaveOneOut<'a>> {
        LeaveOneOut::new(moments, moments.gram_with_bias(), true)
    }

    fn new(moments: &'a Moments, matrix: Mat<f64>, ridge: bool) -> Result<LeaveOneOut<'a>> {
        let failed = |e| Error::new(ErrorKind::Learn, "the statistics have no eigendecomposition").found(format!("{e:?}"));
        let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(failed)?;
        let (dim, d) = (matrix.nrows(), moments.dim());
        let vectors = eigen.U().to_owned();
        let values = (0..dim).map(|i| eigen.S()[i].max(0.0)).collect();
        let means = moments.means();
        let feature = |c: usize, i: usize| if i < d { means[c * d + i] } else { 1.0 };
        let rotated = vectors.transpose() * Mat::from_fn(dim, moments.classes().len(), |i, c| feature(c, i));
        let means = (0..moments.classes().len()).flat_map(|c| rotated.col(c).iter().copied().collect::<Vec<_>>()).collect();
        let scored = (0..moments.classes().len()).filter(|c| !moments.classes()[*c].is_retired()).collect();
        let gram = moments.gram();
        let squares = (0..d).map(|i| gram[(i, i)]).sum();
        Ok(LeaveOneOut { moments, scored, dim, ridge, vectors, values, means, squares })
    }

    /// What `rows` say of the head with each of the `parameters`. Rows whose class has no other row, or is retired, say
    /// nothing.
    ///
    /// # Errors
    /// `Mismatch` for a row of another dimension or class; `Learn` when no row says anything.
    pub fn evidence(&self, rows: &[Counted<'_>], parameters: &[f64]) -> Result<Vec<Evidence>> {
        let (d, counts) = (self.moments.dim(), self.moments.counts());
        if let Some(row) = rows.iter().find(|r| r.latent.len() != d || r.class >= counts.len()) {
            return Err(Error::new(ErrorKind::Mismatch, "a row is not of these moments")
                .expected(format!("{d} components, class below {}", counts.len()))
                .found(format!("{} components, class {}", row.latent.len(), row.class)));
        }
        let usable: Vec<&Counted<'_>> = rows.iter().filter(|r| counts[r.class] >= 2.0 && self.scored.contains(&r.class)).collect();
        if usable.is_empty() {
            return Err(Error::new(ErrorKind::Learn, "no row can be left out")
                .expected("a class with two rows or more")
                .cure("teach another example"));
        }
        let features = Mat::from_fn(self.dim, usable.len(), |i, n| self.feature(usable[n].latent, i));
        let features = self.vectors.transpose() * features;
        let targets: Vec<usize> = usable.iter().filter_map(|r| self.scored.iter().position(|c| *c == r.class)).collect();
        let of = |parameter: &f64| {
            let scores: Vec<Vec<f64>> = usable
                .iter()
                .enumerate()
                .map(|(n, row)| {
                    let x: Vec<f64> = features.col(n).iter().copied().collect();
                    if self.ridge { self.ridge_scores(&x, row.class, *parameter) } else { self.slda_scores(&x, row.class, *parameter) }
                })
                .collect();
            judge(*parameter, &scores, &targets, self.scored.len())
        };
        Ok(parameters.iter().map(of).collect())
    }

    fn feature(&self, latent: &[i8], i: usize) -> f64 {
        latent.get(i).map_or(1.0, |q| f64::from(*q) * self.moments.scale()[i])
    }

    fn mean(&self, class: usize) -> &[f64] {
        &self.means[class * self.dim..(class + 1) * self.dim]
    }

    /// The mean of `class` without the row `x` of class `own`, in the basis of the eigenvectors.
    fn mean_without(&self, class: usize, own: usize, x: &[f64]) -> Vec<f64> {
        let less = 1.0 / (self.moments.counts()[own] - 1.0);
        let of = |(m, x): (&f64, &f64)| if class == own { m - (x - m) * less } else { *m };
        self.mean(class).iter().zip(x).map(of).collect()
    }

    /// Scores of the row `x` (in the basis of the eigenvectors) by the slda that was solved without it.
    fn slda_scores(&self, x: &[f64], own: usize, shrinkage: f64) -> Vec<f64> {
        let (n, d) = (self.moments.counts()[own], self.dim as f64);
        let a = n / (n - 1.0);
        let u: Vec<f64> = x.iter().zip(self.mean(own)).map(|(x, m)| x - m).collect();
        let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
        let freedom = (self.moments.rows() - 1.0 - self.moments.classes().len() as f64).max(1.0);
        let variance = (self.values.iter().sum::<f64>() - a * square(&u)) / freedom / d;
        let mean_square = (self.squares - square(x)) / (self.moments.rows() - 1.0) / d;
        let flat = variance <= 1e-12 * mean_square || variance <= 0.0;
        let level = if mean_square > 0.0 { mean_square } else { 1.0 };
        let precision: Vec<f64> = self
            .values
            .iter()
            .map(|l| if flat { 1.0 / level } else { 1.0 / ((1.0 - shrinkage) * l / freedom + shrinkage * variance) })
            .collect();
        let b = if flat { 0.0 } else { (1.0 - shrinkage) * a / freedom };
        let dot = |v: &[f64], w: &[f64]| v.iter().zip(w).zip(&precision).map(|((v, w), p)| v * w * p).sum::<f64>();
        // (P^-1 - b u u^T)^-1 = P + P u u^T P b / (1 - b u^T P u)
        let gain = b / (1.0 - b * dot(&u, &u));
        let ux = dot(&u, x);
        let score = |class: &usize| {
            let m = self.mean_without(*class, own, x);
            let um = dot(&u, &m);
            dot(&m, x) + gain * um * ux - 0.5 * (dot(&m, &m) + gain * um * um)
        };
        self.scored.iter().map(score).collect()
    }

    /// As [`LeaveOneOut::slda_scores`] by ridge.
    fn ridge_scores(&self, x: &[f64], own: usize, lambda: f64) -> Vec<f64> {
        let square: f64 = x.iter().map(|x| x * x).sum();
        let level = lambda * (self.values.iter().sum::<f64>() - square) / self.dim as f64;
        let precision: Vec<f64> = self.values.iter().map(|l| 1.0 / (l + level)).collect();
        let dot = |w: &[f64]| x.iter().zip(w).zip(&precision).map(|((x, w), p)| x * w * p).sum::<f64>();
        let rest = 1.0 - dot(x);
        self.scored.iter().map(|class| dot(&self.mean_without(*class, own, x)) / rest).collect()
    }
}

/// Accuracy, and the temperature at which the log loss is least, each a mean over the classes.
fn judge(parameter: f64, scores: &[Vec<f64>], targets: &[usize], classes: usize) -> Evidence {
    let mut counts = vec![0f64; classes];
    targets.iter().for_each(|t| counts[*t] += 1.0);
    let present = counts.iter().filter(|n| **n > 0.0).count() as f64;
    // Spread evenly over all classes, the right one among them.
    let doubt = classes as f64 / (classes as f64 - 1.0).max(1.0) / (targets.len() as f64 + 2.0);
    let weight = |target: usize| 1.0 / (counts[target] * present);
    let best = |z: &[f64]| (0..z.len()).fold(0, |best, k| if z[k] > z[best] { k } else { best });
    let accuracy = scores.iter().zip(targets).filter(|(z, t)| best(z) == **t).map(|(_, t)| weight(*t)).sum();
    let log_loss = |temperature: f64| -> f64 {
        let loss = |(z, t): (&Vec<f64>, &usize)| {
            let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = z.iter().map(|v| ((v - top) / temperature).exp()).sum();
            let mean = z.iter().sum::<f64>() / z.len() as f64;
            let wanted = (1.0 - doubt) * z[*t] + doubt * mean;
            weight(*t) * (total.ln() - (wanted - top) / temperature)
        };
        scores.iter().zip(targets).map(loss).sum()
    };
    // Convex in 1 / T, so it falls and rises once in ln T: golden section (Kiefer 1953).
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (1e-6f64.ln(), 1e6f64.ln());
    for _ in 0..60 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if log_loss(left.exp()) <= log_loss(right.exp()) { high = right } else { low = left }
    }
    let temperature = (0.5 * (low + high)).exp();
    Evidence { parameter, accuracy, log_loss: log_loss(temperature), temperature, rows: scores.len() }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
