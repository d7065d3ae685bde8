//! Ridge over random features, as a part of a linear head over the embedding: `V f(q)`, with q the latent behind the embedding.
//!
//! A head is handed `x = s q` in f32, not q. `round(x / s)` is q exactly: q and s are floats, so the product and the quotient are each
//! off by one part in 2^24 at most, which together with `|q| <= 127` is below 0.00002 of a step (and where the product is subnormal, it
//! is exact). An embedding that was never quantised is expanded as the latent of 8 bits that it would become.

use serde::{Deserialize, Serialize};

use crate::head::random::STEP;
use crate::head::{Counted, LinearHead, Moments, RandomFeatures, SolvedHead};
use crate::learn::Block;
use crate::learn::block::DIM_MAX;
use crate::{Error, ErrorKind, Result};

/// What a [`LinearHead`] adds to its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expansion {
    /// The features.
    pub features: RandomFeatures,
    /// The value of a latent step of each dimension \[D\].
    pub scale: Vec<f32>,
    /// Weight of a step of each feature, feature-major \[F, C\]: a feature of 0 is skipped as a whole.
    pub weights: Vec<f32>,
}

impl Expansion {
    /// What is wrong with it as a part of a head over `dim` components and `classes`.
    pub(crate) fn wrong(&self, dim: usize, classes: usize) -> Option<&'static str> {
        let shape = self.features.dim() == dim
            && self.scale.len() == dim
            && Some(self.weights.len()) == self.features.features().checked_mul(classes);
        if !shape {
            return Some("the expansion of a stored head has the wrong shape");
        }
        let steps = self.scale.iter().all(|s| *s > 0.0 && *s <= f32::MAX / 128.0);
        (!steps || !self.weights.iter().all(|w| w.is_finite())).then_some("the expansion of a stored head holds a value out of range")
    }

    /// The same with each score times `factor`.
    pub(crate) fn times(&self, factor: f64) -> Expansion {
        let weights = self.weights.iter().map(|w| (f64::from(*w) * factor) as f32).collect();
        Expansion { weights, ..self.clone() }
    }

    /// Adds the scores of `x` \[D\] to `out` \[C\]. Allocates nothing.
    pub(crate) fn add_scores(&self, x: &[f32], out: &mut [f32]) {
        let mut latent = [0i8; DIM_MAX];
        let latent = &mut latent[..x.len()];
        for ((q, x), s) in latent.iter_mut().zip(x).zip(&self.scale) {
            *q = (x / s).round().clamp(-127.0, 127.0) as i8;
        }
        self.add_latent_scores(latent, out);
    }

    /// Adds the scores of `latent` \[D\] to `out` \[C\]. Allocates nothing.
    pub(crate) fn add_latent_scores(&self, latent: &[i8], out: &mut [f32]) {
        for (value, weights) in self.features.values(latent).zip(self.weights.chunks_exact(out.len())).filter(|(value, _)| *value != 0) {
            let value = f32::from(value);
            out.iter_mut().zip(weights).for_each(|(z, w)| *z += w * value);
        }
    }
}

/// Statistics of random features, beside those of the latents of the same rows.
#[derive(Debug, Clone)]
pub struct Expanded<'a> {
    features: &'a RandomFeatures,
    moments: Moments,
    scale: &'a [f32],
}

impl<'a> Expanded<'a> {
    /// Of the features' `block`; the latents have steps of `scale` \[D\].
    ///
    /// # Errors
    /// `Mismatch` when the block or the scales are of another dimension; `Learn` when it has no rows.
    pub fn new(features: &'a RandomFeatures, block: &Block, scale: &'a [f32]) -> Result<Expanded<'a>> {
        if scale.len() != features.dim() {
            let error = Error::new(ErrorKind::Mismatch, "random features are of latents of another dimension");
            return Err(error.expected(features.dim()).found(scale.len()));
        }
        Ok(Expanded { features, moments: features.moments(block)?, scale })
    }

    /// The statistics of the features.
    pub(crate) fn moments(&self) -> &Moments {
        &self.moments
    }

    /// Checks that the same rows are counted as in those of the latents.
    ///
    /// # Errors
    /// `Mismatch`.
    pub(crate) fn check(&self, latents: &Moments) -> Result<()> {
        if (self.moments.classes(), self.moments.counts()) == (latents.classes(), latents.counts()) {
            return Ok(());
        }
        let of = |m: &Moments| format!("{} rows of {} classes", m.rows(), m.classes().len());
        let error = Error::new(ErrorKind::Mismatch, "random features and latents are not of the same rows");
        Err(error.expected(of(latents)).found(of(&self.moments)).cure("make the features' block anew from the held rows"))
    }

    /// Features of the rows, row-major \[n, F\].
    ///
    /// # Errors
    /// `Mismatch` for a row of another dimension.
    pub(crate) fn expand(&self, rows: &[Counted<'_>]) -> Result<Vec<i8>> {
        let mut out = vec![0; rows.len() * self.features.features()];
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.features.features())) {
            self.features.check(row.latent)?;
            self.features.expand(row.latent, out);
        }
        Ok(out)
    }

    /// The same rows with their features as latents.
    pub(crate) fn counted<'b>(&self, rows: &[Counted<'_>], expanded: &'b [i8]) -> Vec<Counted<'b>> {
        let features = expanded.chunks_exact(self.features.features());
        rows.iter().zip(features).map(|(row, latent)| Counted { latent, class: row.class, recording: row.recording }).collect()
    }

    /// A head over features as one over embeddings.
    pub(crate) fn over_embeddings(&self, head: LinearHead) -> LinearHead {
        let (classes, features) = (head.classes.len(), self.features.features());
        let weights = (0..classes * features).map(|n| head.weights[n % classes * features + n / classes] * STEP).collect();
        LinearHead {
            name: "rf".to_owned(),
            weights: vec![0.0; classes * self.features.dim()],
            expansion: Some(Expansion { features: self.features.clone(), scale: self.scale.to_vec(), weights }),
            ..head
        }
    }

    /// Ridge over the features, its lambda and temperature by what `rows` say of it, as [`SolvedHead::solve_by_evidence`].
    ///
    /// # Errors
    /// As [`SolvedHead::solve_by_evidence`].
    pub fn solve_by_evidence(&self, rows: &[Counted<'_>]) -> Result<LinearHead> {
        let expanded = self.expand(rows)?;
        let head = SolvedHead::Ridge.solve_by_evidence(&self.moments, &self.counted(rows, &expanded))?;
        Ok(self.over_embeddings(head))
    }
}

#[cfg(test)]
#[path = "expansion_tests.rs"]
mod tests;
