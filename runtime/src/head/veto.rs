//! Vetoes: rows that say "not c" against the rows that are c. The posterior of two Gaussians with one covariance and equal priors is
//! logistic in the embedding (as in [`crate::head::slda`]): `v_c = (k_c - m_c)^T Sigma^-1 (x - (k_c + m_c) / 2) + b_c`, with m_c the mean
//! of the rows that are c and k_c that of the rows that are said not to be.
//!
//! Sigma is slda's within-class covariance with a shrinkage of [`SHRINKAGE`]: of those tried, it takes most false
//! alarms of other recordings for the fewest true windows. A mean of few rows lies far from everything for its own noise alone; `b_c =
//! tr(Sigma^-1 W / (N - C)) (1 / k - 1 / n) / 2` takes the expectation of that away on both sides (Moran & Murphy 1979), as if rows were
//! independent.

use faer::prelude::Solve;
use faer::{Mat, MatRef};

use crate::Result;
use crate::head::moments::dot;
use crate::head::{LabelMoments, LinearHead, Moments, slda};

/// How far Sigma is drawn to a multiple of the identity.
pub const SHRINKAGE: f64 = 0.5;

/// The logarithm of the odds of each veto; none without negative rows.
///
/// # Errors
/// `Learn` when the statistics cannot be solved.
pub(crate) fn solve(sums: &LabelMoments, within: &Moments) -> Result<Option<LinearHead>> {
    let vetoed: Vec<_> = sums.classes.iter().filter(|c| c.negative_n > 0.0).collect();
    if vetoed.is_empty() {
        return Ok(None);
    }
    let dim = within.dim();
    let sigma = slda::covariance(within, SHRINKAGE)?;
    let factor = slda::cholesky(&sigma, "vetoes", "teach more recordings")?;
    let spread = if slda::has_scatter(within) {
        // Sigma = (1 - e) W' + e v I, so tr(Sigma^-1 W') follows from tr(Sigma^-1).
        let inverse = factor.solve(&Mat::<f64>::identity(dim, dim));
        let variance = within.within_squares() / slda::freedom(within) / dim as f64;
        let trace: f64 = (0..dim).map(|i| inverse[(i, i)]).sum();
        (dim as f64 - SHRINKAGE * variance * trace) / (1.0 - SHRINKAGE)
    } else {
        0.0
    };
    let (mut weights, mut bias) = (Vec::new(), Vec::new());
    for class in &vetoed {
        let means = || class.sum.iter().zip(&class.negative_sum).map(|(s, k)| (s / class.n, k / class.negative_n));
        let difference: Vec<f64> = means().map(|(m, k)| k - m).collect();
        let middle: Vec<f64> = means().map(|(m, k)| 0.5 * (m + k)).collect();
        let solved = factor.solve(MatRef::from_column_major_slice(&difference, dim, 1));
        let solved: Vec<f64> = (0..dim).map(|i| solved[(i, 0)]).collect();
        bias.push(0.5 * spread * (1.0 / class.negative_n - 1.0 / class.n) - dot(&solved, &middle));
        weights.extend(solved);
    }
    let names: Vec<_> = vetoed.iter().map(|c| c.name.clone()).collect();
    LinearHead::from_f64("vetoes", &names, &weights, &bias, 1.0).map(Some)
}
