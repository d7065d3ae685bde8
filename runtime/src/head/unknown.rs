//! Whether a window is of any known class: a relative Mahalanobis distance (Ren 2021, "A simple fix to Mahalanobis distance for
//! improving near-OOD detection"), with the probability that held-out evidence gives it.
//!
//! `u(x) = min_c d_c(x) - mean_c d_c(x) / k`, where `d_c = (x - m_c)^T Sigma^-1 (x - m_c)` under slda's Sigma, and
//! `k = tr(T) / tr(W)` is how many times wider all rows spread than the rows of one class. The second term is, up to a constant,
//! the distance from the mean of the classes under `k Sigma`: what lies far out in every direction alike is not new for that.
//! (Ren's second Gaussian has the full covariance of all rows; this one has Sigma's shape, so that one triangle of D^2 / 2 numbers
//! serves both.) From `u` the mean excess of the nearest class is taken, as far as its rows speak for one.
//!
//! The probability is a logistic function of `u`, fitted on rows that are scored without their recording, once as known and once
//! with their class hidden, which then are of none of the others; background rows are unknown as they are.

use crate::Result;
use crate::head::auto::Chosen;
use crate::head::{Head, LinearHead, Moments, argmax, slda};
use crate::kernel::scalar::dot;

/// Tells windows of known classes from others.
#[derive(Debug, Clone, PartialEq)]
pub struct Unknown {
    /// slda, whose scores give the distances to the classes.
    head: LinearHead,
    /// Inverse of the Cholesky factor of Sigma, rows of the lower triangle one behind another.
    whitening: Vec<f32>,
    /// 1 / k.
    narrowness: f32,
    /// What is taken from the distance where this class is the nearest \[C\].
    excess: Vec<f32>,
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
        let distances = |z: &[f64], square: f64, hidden: Option<usize>| relative(z, square, hidden, narrowness);
        let rows = chosen.scores.z.chunks_exact(classes).zip(&chosen.scores.squares).zip(&chosen.targets.class);
        let known: Vec<(usize, f64)> = rows.clone().map(|((z, square), _)| distances(z, *square, None)).collect();
        let own: Vec<(usize, f64)> = known.iter().zip(&chosen.targets.class).filter(|(k, t)| k.0 == **t).map(|(k, _)| *k).collect();
        let excess = excess(&own, classes);
        let mut hidden: Vec<(usize, f64)> = rows.map(|((z, square), t)| distances(z, *square, Some(*t))).collect();
        let mut unknown = Unknown {
            head,
            whitening,
            narrowness: narrowness as f32,
            excess: excess.iter().map(|e| *e as f32).collect(),
            logit: (0.0, 0.0),
            rows: known.len(),
        };
        let mut z = vec![0.0; classes];
        let ordinary: Vec<f64> = background.iter().map(|latent| f64::from(unknown.distance(&moments.values(latent), &mut z))).collect();
        let less = |(class, u): &(usize, f64)| u - excess[*class];
        hidden.retain(|(_, u)| u.is_finite());
        let weight = |n: usize, share: f64| share / n.max(1) as f64;
        // Known and unknown rows weigh the same; of the unknown, background and hidden classes do.
        let parts = if ordinary.is_empty() || hidden.is_empty() { 0.5 } else { 0.25 };
        let samples: Vec<(f64, bool, f64)> = known
            .iter()
            .zip(&chosen.targets.weight)
            .map(|(k, w)| (less(k), false, 0.5 * w))
            .chain(hidden.iter().map(|h| (less(h), true, weight(hidden.len(), parts))))
            .chain(ordinary.iter().map(|u| (*u, true, weight(ordinary.len(), parts))))
            .collect();
        let (slope, intercept) = logistic(&samples);
        unknown.logit = (slope as f32, intercept as f32);
        unknown.rows = samples.len();
        Ok(unknown)
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
        let (mut square, mut rest) = (0f64, self.whitening.as_slice());
        for i in 0..x.len() {
            let (row, tail) = rest.split_at(i + 1);
            let y = f64::from(dot(row, &x[..=i]));
            square += y * y;
            rest = tail;
        }
        let nearest = argmax(z);
        let mean = z.iter().map(|z| f64::from(*z)).sum::<f64>() / z.len() as f64;
        let narrowness = f64::from(self.narrowness);
        let u = square * (1.0 - narrowness) - 2.0 * f64::from(z[nearest]) + 2.0 * mean * narrowness;
        u as f32 - self.excess[nearest]
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

/// The nearest class, and the relative distance, from scores `z` \[C\] and `x^T Sigma^-1 x`; without the class `hidden`.
fn relative(z: &[f64], square: f64, hidden: Option<usize>, narrowness: f64) -> (usize, f64) {
    let (mut nearest, mut sum, mut count) = (0, 0.0, 0.0);
    let mut top = f64::NEG_INFINITY;
    for (class, z) in z.iter().enumerate().filter(|(class, _)| Some(*class) != hidden) {
        if *z > top {
            (nearest, top) = (class, *z);
        }
        sum += z;
        count += 1.0;
    }
    (nearest, square * (1.0 - narrowness) - 2.0 * top + 2.0 * sum / count * narrowness)
}

/// How much farther than all the rows of each class lie from it: a random effect (Efron & Morris 1975), that is the class's mean
/// drawn towards the mean of the classes by what it varies by chance.
fn excess(rows: &[(usize, f64)], classes: usize) -> Vec<f64> {
    let (mut counts, mut sums) = (vec![0f64; classes], vec![0f64; classes]);
    for (class, u) in rows {
        counts[*class] += 1.0;
        sums[*class] += u;
    }
    let present: Vec<usize> = (0..classes).filter(|c| counts[*c] > 0.0).collect();
    let many = present.len() as f64;
    let within: f64 = rows.iter().map(|(c, u)| (u - sums[*c] / counts[*c]).powi(2)).sum();
    let freedom = rows.len() as f64 - many;
    if many < 3.0 || freedom < 1.0 {
        return vec![0.0; classes];
    }
    let within = within / freedom;
    let grand = present.iter().map(|c| sums[*c] / counts[*c]).sum::<f64>() / many;
    let spread = present.iter().map(|c| (sums[*c] / counts[*c] - grand).powi(2)).sum::<f64>() / (many - 1.0);
    let chance = present.iter().map(|c| within / counts[*c]).sum::<f64>() / many;
    let between = (spread - chance).max(0.0);
    let of = |c: usize| match counts[c] > 0.0 && between > 0.0 {
        true => (sums[c] / counts[c] - grand) * between / (between + within / counts[c]),
        false => 0.0,
    };
    (0..classes).map(of).collect()
}

/// Slope and intercept of the logistic regression of (distance, is unknown, weight), by Newton's method; the slope is not below 0.
fn logistic(samples: &[(f64, bool, f64)]) -> (f64, f64) {
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
