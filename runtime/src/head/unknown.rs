//! Whether a window is of any known class: a relative Mahalanobis distance (Ren 2021, "A simple fix to Mahalanobis distance for
//! improving near-OOD detection"), with the probability that held-out evidence gives it.
//!
//! `u(x) = min_c d_c(x) - mean_c d_c(x) / k`, where `d_c = (x - m_c)^T Sigma^-1 (x - m_c)` under slda's Sigma, and
//! `k = tr(T) / tr(W)` is how many times wider all rows spread than the rows of one class. The second term is, up to a constant,
//! the distance from the mean of the classes under `k Sigma`: what lies far out in every direction alike is not new for that.
//! (Ren's second Gaussian has the full covariance of all rows; this one has Sigma's shape, so that one triangle of D^2 / 2 numbers
//! serves both.)
//!
//! The probability is a logistic function of `u`, fitted on rows that are scored without their recording, once as known and once
//! with their class hidden, which then are of none of the others; background rows are unknown as they are.

use crate::head::auto::Chosen;
use crate::head::{Head, LinearHead, Moments, slda};
use crate::kernel::scalar::triangle_square;
use crate::{Error, ErrorKind, Result};

/// Tells windows of known classes from others.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Unknown {
    /// slda, whose scores give the distances to the classes.
    head: LinearHead,
    /// Inverse of the Cholesky factor of Sigma, rows of the lower triangle one behind another.
    whitening: Vec<f32>,
    /// 1 / k.
    narrowness: f32,
    /// Logit of the probability: slope times distance plus intercept.
    logit: (f32, f32),
    /// Rows that the probability was fitted on.
    rows: usize,
}

impl Unknown {
    /// From the moments and the scores of slda on rows left out; `background` are latents of no class.
    pub(crate) fn solve(moments: &Moments, chosen: &Chosen, background: &[&[i8]]) -> Result<Unknown> {
        let head = slda::solve(moments, chosen.evidence.parameter)?;
        let classes = head.classes.len();
        let whitening = slda::whitening(moments, chosen.evidence.parameter)?;
        let narrowness = moments.narrowness();
        let rows = chosen.scores.z.chunks_exact(classes).zip(&chosen.scores.squares).zip(&chosen.targets.class);
        let known: Vec<f64> = rows.clone().map(|((z, square), _)| relative(z, *square, None, narrowness)).collect();
        let hidden = rows.map(|((z, square), own)| relative(z, *square, Some(*own), narrowness));
        let mut unknown = Unknown { head, whitening, narrowness: narrowness as f32, logit: (0.0, 0.0), rows: 0 };
        let mut z = vec![0.0; classes];
        let ordinary: Vec<f64> = background.iter().map(|latent| f64::from(unknown.distance(&moments.values(latent), &mut z))).collect();
        // Known and unknown rows weigh the same; of the unknown, background and hidden classes do.
        let share = if ordinary.is_empty() { 0.5 } else { 0.25 };
        let weights = &chosen.targets.weight;
        let mut samples: Vec<(f64, bool, f64)> = known.iter().zip(weights).map(|(u, w)| (*u, false, 0.5 * w)).collect();
        samples.extend(hidden.zip(weights).map(|(u, w)| (u, true, share * w)));
        samples.extend(ordinary.iter().map(|u| (*u, true, 0.25 / ordinary.len() as f64)));
        let (slope, intercept) = logistic(&samples);
        unknown.logit = (slope as f32, intercept as f32);
        unknown.rows = samples.len();
        Ok(unknown)
    }

    /// Checks what was read against D = `dim`.
    ///
    /// # Errors
    /// `Corrupt`, naming what is wrong.
    pub fn validate(&self, dim: usize) -> Result<()> {
        self.head.validate(dim)?;
        let finite = self.whitening.iter().chain([&self.narrowness, &self.logit.0, &self.logit.1]).all(|v| v.is_finite());
        if self.whitening.len() != dim * (dim + 1) / 2 || !finite {
            return Err(Error::new(ErrorKind::Corrupt, "what tells unknown windows makes no sense")
                .expected(format!("{} finite numbers", dim * (dim + 1) / 2))
                .found(self.whitening.len()));
        }
        Ok(())
    }

    /// The same, with the scores of an slda head that is a few rows on.
    pub(crate) fn with_head(&self, head: LinearHead) -> Unknown {
        Unknown { head, ..self.clone() }
    }

    /// Forgets the classes for which `keep` is false.
    pub(crate) fn retain(&mut self, keep: impl Fn(&crate::learn::ClassName) -> bool) {
        self.head.retain(keep);
    }

    /// The classes in canonical order.
    pub fn classes(&self) -> &[crate::learn::ClassName] {
        &self.head.classes
    }

    /// Rows that the probability rests on; each row of a known class counts twice.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How far `x` \[D\] lies from every class, more for what is less like them; no unit, ordered alone. `z` \[C\] is scratch and
    /// holds slda's scores afterwards. Allocates nothing.
    ///
    /// # Panics
    /// When a slice has another length than the head's.
    pub fn distance(&self, x: &[f32], z: &mut [f32]) -> f32 {
        self.head.scores(x, z);
        let square = triangle_square(&self.whitening, x);
        let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mean = z.iter().map(|z| f64::from(*z)).sum::<f64>() / z.len() as f64;
        let narrowness = f64::from(self.narrowness);
        (square * (1.0 - narrowness) - 2.0 * f64::from(top) + 2.0 * mean * narrowness) as f32
    }

    /// Probability that `x` \[D\] is of no known class, where known and unknown windows come equally often; as
    /// [`Unknown::distance`].
    ///
    /// # Panics
    /// As [`Unknown::distance`].
    pub fn probability(&self, x: &[f32], z: &mut [f32]) -> f32 {
        let (slope, intercept) = self.logit;
        1.0 / (1.0 + (-(slope * self.distance(x, z) + intercept)).exp())
    }
}

/// The relative distance from scores `z` \[C\] and `x^T Sigma^-1 x`; without the class `hidden`.
fn relative(z: &[f64], square: f64, hidden: Option<usize>, narrowness: f64) -> f64 {
    let seen = || z.iter().enumerate().filter(|(class, _)| Some(*class) != hidden).map(|(_, z)| *z);
    let (top, sum) = (seen().fold(f64::NEG_INFINITY, f64::max), seen().sum::<f64>());
    square * (1.0 - narrowness) - 2.0 * top + 2.0 * sum / seen().count() as f64 * narrowness
}

/// Slope and intercept of the logistic regression of (distance, is unknown, weight), by Newton's method; the slope is not below 0.
pub(crate) fn logistic(samples: &[(f64, bool, f64)]) -> (f64, f64) {
    let total: f64 = samples.iter().map(|s| s.2).sum();
    let mean = samples.iter().map(|s| s.0 * s.2).sum::<f64>() / total;
    let deviation = (samples.iter().map(|s| (s.0 - mean).powi(2) * s.2).sum::<f64>() / total).sqrt();
    if deviation.is_nan() || deviation <= 0.0 || samples.iter().all(|s| s.1) || !samples.iter().any(|s| s.1) {
        return (0.0, 0.0);
    }
    // Targets as Platt 1999 smooths them, in units of the deviation, with one sample's worth of a normal prior on the slope.
    let count = samples.len() as f64;
    let doubt = 1.0 / (count / 2.0 + 2.0);
    let (mut slope, mut intercept) = (0.0f64, 0.0f64);
    for _ in 0..50 {
        let mut g = [slope / count, 0.0];
        let mut h = [1.0 / count, 0.0, 1e-9];
        for (u, is_unknown, weight) in samples {
            let x = (u - mean) / deviation;
            let p = 1.0 / (1.0 + (-(slope * x + intercept)).exp());
            let target = if *is_unknown { 1.0 - doubt } else { doubt };
            let w = weight / total;
            g = [g[0] + w * (p - target) * x, g[1] + w * (p - target)];
            let v = w * p * (1.0 - p);
            h = [h[0] + v * x * x, h[1] + v * x, h[2] + v];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        let step = [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant];
        let length = step[0].abs().max(step[1].abs());
        let brake = (1.0 / length).min(1.0);
        slope -= brake * step[0];
        intercept -= brake * step[1];
        if length < 1e-9 {
            break;
        }
    }
    let slope = slope.max(0.0);
    (slope / deviation, intercept - slope * mean / deviation)
}

#[cfg(test)]
#[path = "unknown_tests.rs"]
mod tests;
