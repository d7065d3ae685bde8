//! Streaming linear discriminant analysis (Hayes & Kanan 2020, "Lifelong machine learning with deep streaming linear
//! discriminant analysis"): class means and one shared covariance, shrunk towards a multiple of the identity.
//!
//! `Sigma = (1 - e) W / (N - C) + e tr(W / (N - C)) / D I`, `score_c = m_c^T Sigma^-1 x - m_c^T Sigma^-1 m_c / 2`.
//! The scores are log posteriors under equal priors, up to a term all classes share: the temperature is 1. With fewer rows
//! than components these posteriors are overconfident (see [`crate::head::temperature`]); the ranking is not affected.

use faer::linalg::solvers::Llt;
use faer::prelude::Solve;
use faer::{Mat, MatRef, Scale, Side};

use crate::head::{LinearHead, Moments};
use crate::{Error, ErrorKind, Result};

/// Default shrinkage e.
pub const SHRINKAGE: f64 = 0.1;

/// Solves the head with shrinkage e = `shrinkage`, in 0..=1.
///
/// Without any within-class scatter (one row a class, or equal rows) Sigma is the identity times the mean square of the
/// rows: the head then ranks as the nearest class mean does.
///
/// # Errors
/// `Config` when e lies outside 0..=1; `Learn` when Sigma is not positive definite, which needs e = 0 or nearly so.
pub fn solve(moments: &Moments, shrinkage: f64) -> Result<LinearHead> {
    let sigma = covariance(moments, shrinkage)?;
    let (c, d) = (moments.classes().len(), moments.dim());
    let means = moments.means();
    let weights = cholesky(&sigma, "slda", "raise the shrinkage")?.solve(MatRef::from_column_major_slice(&means, d, c));
    let flat: Vec<f64> = weights.col_iter().flat_map(|w| w.iter().copied()).collect();
    let bias: Vec<f64> =
        means.chunks_exact(d).zip(flat.chunks_exact(d)).map(|(m, w)| -0.5 * m.iter().zip(w).map(|(a, b)| a * b).sum::<f64>()).collect();
    LinearHead::from_f64("slda", moments.classes(), &flat, &bias, 1.0)
}

/// The shared within-class covariance Sigma, shrunk by `shrinkage`, \[D, D\].
pub(crate) fn covariance(moments: &Moments, shrinkage: f64) -> Result<Mat<f64>> {
    if !(0.0..=1.0).contains(&shrinkage) {
        return Err(Error::new(ErrorKind::Config, "the shrinkage of slda is out of range").expected("0 to 1").found(shrinkage));
    }
    let d = moments.dim();
    if !has_scatter(moments) {
        let mean_square = moments.squares() / moments.rows() / d as f64;
        let level = if mean_square > 0.0 { mean_square } else { 1.0 };
        return Ok(Mat::from_fn(d, d, |i, j| if i == j { level } else { 0.0 }));
    }
    let mut sigma = moments.within_scatter();
    let freedom = freedom(moments);
    let mean_variance = moments.within_squares() / freedom / d as f64;
    sigma *= Scale((1.0 - shrinkage) / freedom);
    (0..d).for_each(|i| sigma[(i, i)] += shrinkage * mean_variance);
    Ok(sigma)
}

/// What the scatter is divided by: N - C, at least 1.
pub(crate) fn freedom(moments: &Moments) -> f64 {
    (moments.rows() - moments.classes().len() as f64).max(1.0)
}

/// Whether any row differs from the mean of its class. What is left of a scatter of exactly zero is rounding, far below any real
/// one.
pub(crate) fn has_scatter(moments: &Moments) -> bool {
    let mean_variance = moments.within_squares() / freedom(moments);
    mean_variance > 1e-12 * moments.squares() / moments.rows() && mean_variance > 0.0
}

/// The inverse of the lower Cholesky factor of Sigma, row by row \[D (D + 1) / 2\]: `|R x|^2 = x^T Sigma^-1 x`.
pub(crate) fn whitening(moments: &Moments, shrinkage: f64) -> Result<Vec<f32>> {
    let factor = cholesky(&covariance(moments, shrinkage)?, "slda", "raise the shrinkage")?;
    let d = moments.dim();
    let mut inverse = Mat::<f64>::identity(d, d);
    factor.L().solve_lower_triangular_in_place(&mut inverse);
    Ok((0..d).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|at| inverse[at] as f32).collect())
}

/// Cholesky factorisation of a symmetric matrix.
///
/// # Errors
/// `Learn` when it is not positive definite, or so nearly singular that rounding decides the solution: a pivot below
/// 1e-13 of its diagonal entry (factorisations differ in whether they let a pivot of zero pass).
pub(crate) fn cholesky(matrix: &Mat<f64>, head: &str, cure: &str) -> Result<Llt<f64>> {
    let bad = |found: String| Error::new(ErrorKind::Learn, "the statistics are not positive definite").at(head).found(found).cure(cure);
    let factor = matrix.llt(Side::Lower).map_err(|e| bad(format!("{e:?}")))?;
    let usable = |i: usize| factor.L()[(i, i)].powi(2) > 1e-13 * matrix[(i, i)];
    match (0..matrix.nrows()).find(|i| !usable(*i)) {
        Some(i) => Err(bad(format!("no independent variation in dimension {i}"))),
        None => Ok(factor),
    }
}
