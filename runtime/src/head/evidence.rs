//! What rows say of a head that did not learn them: accuracy, and the temperature that makes its scores probabilities.
//!
//! Every class weighs the same, however many rows it has, and so does every recording of a class. The right class of a row counts as right with probability
//! `(n + 1) / (n + 2)` (Platt 1999): a few rows that all fit do not make a head certain.

use std::collections::BTreeMap;

use crate::head::Scores;

/// Shrinkages that are tried for slda.
pub const SHRINKAGES: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0];
/// Lambdas that are tried for ridge.
pub const LAMBDAS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// What the rows say of one head.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// Its shrinkage or lambda.
    pub parameter: f64,
    /// Mean over the classes of the share of rows that it knows without having learned them.
    pub accuracy: f64,
    /// Mean over the classes of the cross entropy at the best temperature.
    pub log_loss: f64,
    /// That temperature.
    pub temperature: f64,
    /// Rows that judged.
    pub rows: usize,
}

/// The classes that rows are of, with the weight of each row and the doubt about its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets {
    pub(crate) class: Vec<usize>,
    pub(crate) weight: Vec<f64>,
    /// Spread evenly over all classes, the right one among them.
    pub(crate) doubt: f64,
}

impl Targets {
    /// Of rows with these classes, of `classes` in all, each of a recording: the rows of one share its weight.
    pub fn new(class: Vec<usize>, recordings: &[u64], classes: usize) -> Targets {
        let mut together: BTreeMap<(usize, u64), f64> = BTreeMap::new();
        class.iter().zip(recordings).for_each(|of| *together.entry((*of.0, *of.1)).or_default() += 1.0);
        let mut counts = vec![0f64; classes];
        together.keys().for_each(|(t, _)| counts[*t] += 1.0);
        let present = counts.iter().filter(|n| **n > 0.0).count() as f64;
        let doubt = classes as f64 / (classes as f64 - 1.0).max(1.0) / (class.len() as f64 + 2.0);
        let weight = class.iter().zip(recordings).map(|(t, r)| 1.0 / (together[&(*t, *r)] * counts[*t] * present)).collect();
        Targets { class, weight, doubt }
    }

    /// Weighted share of rows whose highest score is that of their class; `z` \[n, C\] row-major.
    pub fn accuracy(&self, z: &[f64]) -> f64 {
        let rows = z.chunks_exact((z.len() / self.class.len().max(1)).max(1));
        let best = |z: &[f64]| (0..z.len()).fold(0, |best, k| if z[k] > z[best] { k } else { best });
        rows.zip(&self.class).zip(&self.weight).filter(|((z, t), _)| best(z) == **t).map(|(_, w)| w).sum()
    }

    /// Weighted cross entropy of the scores `z` \[n, C\] over `temperature`.
    pub fn log_loss(&self, z: &[f64], temperature: f64) -> f64 {
        let rows = z.chunks_exact((z.len() / self.class.len().max(1)).max(1));
        let loss = |z: &[f64], target: usize| {
            let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = z.iter().map(|v| ((v - top) / temperature).exp()).sum();
            let mean = z.iter().sum::<f64>() / z.len() as f64;
            let wanted = (1.0 - self.doubt) * z[target] + self.doubt * mean;
            total.ln() - (wanted - top) / temperature
        };
        rows.zip(&self.class).zip(&self.weight).map(|((z, t), w)| w * loss(z, *t)).sum()
    }

    /// Accuracy, and the temperature at which the log loss is least.
    pub fn weigh(&self, scores: &Scores) -> Evidence {
        // Convex in 1 / T, so it falls and rises once in ln T: golden section (Kiefer 1953).
        let ratio = (5f64.sqrt() - 1.0) / 2.0;
        let log_loss = |t: f64| self.log_loss(&scores.z, t.exp());
        let (mut low, mut high) = (1e-6f64.ln(), 1e6f64.ln());
        let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
        let (mut at_left, mut at_right) = (log_loss(left), log_loss(right));
        for _ in 0..45 {
            if at_left <= at_right {
                (high, right, at_right) = (right, left, at_left);
                left = high - ratio * (high - low);
                at_left = log_loss(left);
            } else {
                (low, left, at_left) = (left, right, at_right);
                right = low + ratio * (high - low);
                at_right = log_loss(right);
            }
        }
        let t = 0.5 * (low + high);
        Evidence {
            parameter: scores.parameter,
            accuracy: self.accuracy(&scores.z),
            log_loss: log_loss(t),
            temperature: t.exp(),
            rows: self.class.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_says_as_much_however_many_rows_it_has() {
        // Class 0: a recording of four rows that are all wrong, and one of one row that is right. Class 1: two of one right row each.
        let targets = Targets::new(vec![0, 0, 0, 0, 0, 1, 1], &[1, 1, 1, 1, 2, 3, 4], 2);
        let z = [[0.0, 1.0]; 4].into_iter().chain([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).flatten().collect::<Vec<f64>>();
        assert!((targets.accuracy(&z) - 0.75).abs() < 1e-12);
        assert!((targets.weight.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
