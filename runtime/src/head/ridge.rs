//! Ridge regression on class-balanced one-hot targets (ACIL, Zhuang 2022; RanPAC, McDonnell 2023), with a bias:
//! features `f = [x; 1]`, `B = (sum f f^T + lambda tr(sum f f^T) / (D + 1) I)^-1 M`, where column c of M is the mean of
//! f over class c. The bias is penalised like every weight.
//!
//! The temperature comes from the margins' means and spread ([`crate::head::temperature`]).

use faer::Mat;
use faer::prelude::Solve;

use crate::head::temperature::margin_temperature;
use crate::head::{LinearHead, Moments, slda};
use crate::{Error, ErrorKind, Result};

/// Default lambda, relative to the mean of the diagonal.
pub const LAMBDA: f64 = 0.01;

/// Solves the head with `lambda` > 0, relative to the mean of the diagonal.
///
/// # Errors
/// `Config` when lambda is not above 0; `Learn` when the matrix is not positive definite, which a usable lambda excludes.
pub fn solve(moments: &Moments, lambda: f64) -> Result<LinearHead> {
    if lambda.is_nan() || lambda <= 0.0 || lambda.is_infinite() {
        return Err(Error::new(ErrorKind::Config, "the lambda of ridge is out of range").expected("above 0").found(lambda));
    }
    let (c, d) = (moments.classes().len(), moments.dim());
    let (mut a, means) = (moments.gram_with_bias(), moments.means());
    let level = lambda * (0..=d).map(|i| a[(i, i)]).sum::<f64>() / (d + 1) as f64;
    (0..=d).for_each(|i| a[(i, i)] += level);
    let targets = Mat::from_fn(d + 1, c, |i, k| if i == d { 1.0 } else { means[k * d + i] });
    let b = slda::cholesky(&a, "ridge", "raise lambda")?.solve(&targets);
    let weights: Vec<f64> = (0..c * d).map(|n| b[(n % d, n / d)]).collect();
    let bias: Vec<f64> = (0..c).map(|k| b[(d, k)]).collect();
    LinearHead::from_f64("ridge", moments.classes(), &weights, &bias, margin_temperature(moments, &weights)?)
}
