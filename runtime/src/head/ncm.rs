//! Nearest class mean (Mensink 2013; as in iCaRL, Rebuffi 2017): `score_c = m_c^T x - |m_c|^2 / 2`, which ranks as the
//! negative squared distance does.
//!
//! The temperature is the within-class variance along the directions in which the class means differ
//! ([`crate::head::temperature`]).

use crate::Result;
use crate::head::temperature::margin_temperature;
use crate::head::{LinearHead, Moments};

/// Solves the head.
///
/// # Errors
/// `Learn` when a weight is not finite in f32.
pub fn solve(moments: &Moments) -> Result<LinearHead> {
    let means = moments.means();
    let bias: Vec<f64> = means.chunks_exact(moments.dim()).map(|m| -0.5 * m.iter().map(|v| v * v).sum::<f64>()).collect();
    LinearHead::from_f64("ncm", moments.classes(), &means, &bias, margin_temperature(moments, &means)?)
}
