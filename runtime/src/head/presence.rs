//! Which classes are present in a window, each with a probability of its own: they do not add up to 1. Solved from all labelled
//! rows, those of several labels among them, and from those that say what a window is not.
//!
//! *Present*: class c against all rows that are not c is a linear discriminant (Fisher 1936) under the shrunk total scatter of
//! [`LabelMoments`]: `w_c = Sigma^-1 (m_c - r_c)`, `z_c = w_c^T (x - (m_c + r_c) / 2) / w_c^T (m_c - r_c)`, which is 1/2 at the mean of
//! the class and -1/2 at the mean of the rest. One logistic function for all classes makes `z` a probability (Platt 1999): a
//! class alone has too few rows. It and the shrinkage are those of least cross entropy on rows left out with their recording
//! ([`crate::head::presence_evidence`]).
//!
//! *Not*: rows that say "not c" have a mean of their own. The veto of c is the posterior of that mean against the mean of c, with a
//! common Gaussian: [`crate::head::veto`]. It multiplies the probability of c, and what it takes goes to no known class.

use faer::prelude::Solve;
use faer::{Mat, MatRef};
use serde::{Deserialize, Serialize};

use crate::head::label_moments::against_rest;
use crate::head::presence_evidence::{self, Calibration, SetRow};
use crate::head::{Head, LabelMoments, LinearHead, Moments, slda, veto};
use crate::kernel::scalar::dot;
use crate::learn::ClassName;
use crate::{Error, ErrorKind, Result};

/// Tells which classes are present, and which are not though they seem so; read from untrusted bytes, it must be checked with
/// [`Presence::validate`] before use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// Scores that are the logarithms of the odds of each class; none where every row has at most one label.
    pub present: Option<LinearHead>,
    /// Scores that are the logarithms of the odds that a window is what was said not to be the class, of classes with such rows.
    pub vetoes: Option<LinearHead>,
}

impl Presence {
    /// From the sums of all labelled rows, of which `rows` are some, whole recordings; `within` are the moments of single-label rows.
    /// `is_several` says whether any row has several labels, or a class that only such rows have: else what is present is
    /// what classifies anyway. None where nothing is solved.
    ///
    /// # Errors
    /// `Mismatch` for rows that the sums do not count; `Learn` when the statistics cannot be solved.
    pub fn solve(sums: &LabelMoments, within: &Moments, rows: &[SetRow<'_>], is_several: bool) -> Result<Option<Presence>> {
        let present = if is_several && !sums.classes.is_empty() {
            Some(present(sums, presence_evidence::calibrate(sums, rows)?.unwrap_or_default())?)
        } else {
            None
        };
        let vetoes = veto::solve(sums, within)?;
        Ok((present.is_some() || vetoes.is_some()).then_some(Presence { present, vetoes }))
    }

    /// Checks both parts against D = `dim`.
    ///
    /// # Errors
    /// `Corrupt`, naming what is wrong.
    pub fn validate(&self, dim: usize) -> Result<()> {
        let parts = || self.present.iter().chain(&self.vetoes);
        if let Some(part) = parts().find(|part| part.temperature != 1.0 || part.expansion.is_some()) {
            return Err(Error::new(ErrorKind::Corrupt, "a stored presence head is no pair of logistic heads")
                .at(format!("head {:?}", part.name))
                .expected("a temperature of 1 and no random features")
                .found(part.temperature));
        }
        if parts().next().is_none() {
            return Err(Error::new(ErrorKind::Corrupt, "a stored presence head is empty").expected("what is present, or vetoes"));
        }
        parts().try_for_each(|part| part.validate(dim))
    }

    /// Classes whose presence is told, in canonical order \[P\].
    pub fn classes(&self) -> &[ClassName] {
        self.present.as_ref().map_or(&[], |head| &head.classes)
    }

    /// Probability of each of [`Presence::classes`], `x` \[D\] to `out` \[P\], less what is vetoed. Allocates nothing.
    ///
    /// # Panics
    /// When a slice has another length than the head's.
    pub fn probabilities(&self, x: &[f32], out: &mut [f32]) {
        let Some(head) = &self.present else { return };
        head.scores(x, out);
        out.iter_mut().for_each(|z| *z = sigmoid(*z));
        self.veto(x, &head.classes, out);
    }

    /// Takes from the probabilities `p` \[C\] of `classes`, in canonical order, what is vetoed of them. Allocates nothing.
    ///
    /// # Panics
    /// When `x` has another length than the head's embeddings.
    pub fn veto(&self, x: &[f32], classes: &[ClassName], p: &mut [f32]) {
        let Some(vetoes) = &self.vetoes else { return };
        for ((class, weights), bias) in vetoes.classes.iter().zip(vetoes.weights.chunks_exact(vetoes.dim())).zip(&vetoes.bias) {
            if let Some(p) = classes.binary_search(class).ok().and_then(|c| p.get_mut(c)) {
                *p *= sigmoid(-(dot(weights, x) + bias));
            }
        }
    }

    /// Probability that a window is of no known class, given that before ([`crate::head::Unknown`]), the probabilities `p` of the
    /// one-class head after their vetoes and those `present` of what is present. What was vetoed is of no known class; what is
    /// present is not.
    pub fn unknown(before: f32, p: &[f32], present: &[f32]) -> f32 {
        let kept = (1.0 - before) * p.iter().sum::<f32>().min(1.0);
        let surest = present.iter().copied().fold(0.0, f32::max);
        (1.0 - kept).min(1.0 - surest).clamp(0.0, 1.0)
    }
}

/// The discriminants, with the calibration folded into them.
fn present(sums: &LabelMoments, calibration: Calibration) -> Result<LinearHead> {
    let (dim, rows) = (sums.sum.len(), sums.total.rows());
    let (mut differences, mut middles) = (Vec::new(), Vec::new());
    for class in &sums.classes {
        let (difference, middle) = against_rest(&class.sum, class.n, &sums.sum, rows, sums.total.squares() / rows);
        differences.extend(difference);
        middles.push(middle);
    }
    let sigma = slda::covariance(&sums.total, calibration.shrinkage)?;
    let differences: MatRef<'_, f64> = MatRef::from_column_major_slice(&differences, dim, sums.classes.len());
    let solved: Mat<f64> = slda::cholesky(&sigma, "presence", "teach more recordings")?.solve(differences);
    let (mut weights, mut bias) = (Vec::new(), Vec::new());
    for (c, middle) in middles.iter().enumerate() {
        let sum = |with: &dyn Fn(usize) -> f64| (0..dim).map(|i| solved[(i, c)] * with(i)).sum::<f64>();
        let apart = sum(&|i| differences[(i, c)]);
        let slope = if apart > 0.0 { calibration.slope / apart } else { 0.0 };
        weights.extend((0..dim).map(|i| slope * solved[(i, c)]));
        bias.push(calibration.intercept - slope * sum(&|i| middle[i]));
    }
    let names: Vec<ClassName> = sums.classes().cloned().collect();
    LinearHead::from_f64("presence", &names, &weights, &bias, 1.0)
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
