//! The temperature of a linear head, from the statistics alone.
//!
//! Between classes c and k a linear head has the margin `u = (w_c - w_k)^T x + b`. If its distribution in both classes is
//! normal with the shared covariance Sigma, the log odds along it are `(E[u|c] - E[u|k]) / var(u)` times the centred
//! margin (Fisher's discriminant in one dimension). The temperature is the inverse of that factor, over all pairs:
//!
//! `T = sum (w_c - w_k)^T Sigma (w_c - w_k) / sum (w_c - w_k)^T (m_c - m_k)`
//!
//! For slda, whose weights are `Sigma^-1 m_c`, this is 1 by construction. Sigma is slda's, with its default shrinkage,
//! so that few rows look less like certainty. The means and the covariance are those of the learned rows themselves: with
//! fewer rows than components the probabilities are still overconfident, and only held-out rows could say by how much.

use faer::MatRef;

use crate::Result;
use crate::head::{Moments, slda};

/// Temperature for `weights` \[C, D\] row-major; 1 where the classes do not differ.
///
/// # Errors
/// As [`slda::solve`].
pub(crate) fn margin_temperature(moments: &Moments, weights: &[f64]) -> Result<f64> {
    let (c, d) = (moments.classes().len(), moments.dim());
    let sigma = slda::covariance(moments, slda::SHRINKAGE)?;
    let means = moments.means();
    // Over all pairs, sum (a_c - a_k) . (b_c - b_k) = C sum a_c . b_c - (sum a_c) . (sum b_c).
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let sum = |v: &[f64]| {
        let mut sum = vec![0.0; d];
        v.chunks_exact(d).for_each(|row| sum.iter_mut().zip(row).for_each(|(s, x)| *s += x));
        sum
    };
    let pairs = |a: &[f64], b: &[f64]| c as f64 * dot(a, b) - dot(&sum(a), &sum(b));
    let spread = &sigma * MatRef::from_column_major_slice(weights, d, c);
    let spread: Vec<f64> = spread.col_iter().flat_map(|column| column.iter().copied()).collect();
    let (variance, margin) = (pairs(weights, &spread), pairs(weights, &means));
    let t = variance / margin;
    Ok(if t.is_finite() && t > 0.0 { t } else { 1.0 })
}
