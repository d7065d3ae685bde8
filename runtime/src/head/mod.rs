//! Heads: what classifies an embedding. `ncm`, `slda` and `ridge` are solved from a block's statistics and are all linear
//! in the embedding ([`LinearHead`]), or in random features of it ([`random`]); `auto` pools them by evidence; `softmax` is trained over replay; `naive` is plain softmax SGD,
//! kept for contrast.

pub mod auto;
pub mod doubt;
pub mod evidence;
mod expansion;
pub mod incremental;
pub mod judges;
mod label_moments;
pub mod leave_out;
mod linear;
mod moments;
pub mod naive;
pub mod ncm;
pub mod pool;
pub mod presence;
pub mod presence_evidence;
pub mod random;
pub mod ridge;
pub mod slda;
pub mod softmax;
mod softmax_update;
pub mod temperature;
pub mod unknown;
pub mod veto;

pub use auto::Auto;
pub use evidence::Evidence;
pub use expansion::{Expanded, Expansion};
pub use incremental::Incremental;
pub use label_moments::LabelMoments;
pub use leave_out::{Counted, LeaveOut, Scores};
pub use linear::{LatentHead, LinearHead};
pub use moments::Moments;
pub use presence::Presence;
pub use presence_evidence::SetRow;
pub use random::RandomFeatures;
pub use unknown::Unknown;

use crate::Result;
use crate::learn::ClassName;

/// A classifier of embeddings.
pub trait Head {
    /// What kind it is: `ncm`, `slda`, `ridge`, `softmax`, `naive`.
    fn name(&self) -> &str;

    /// The classes in canonical order.
    fn classes(&self) -> &[ClassName];

    /// One score a class, higher is more likely: `x` \[D\] to `out` \[C\]. The predicted class is the first maximum.
    ///
    /// # Panics
    /// When a slice has another length than the head's.
    fn scores(&self, x: &[f32], out: &mut [f32]);

    /// What divides the scores before the softmax, so that they become probabilities.
    fn temperature(&self) -> f32;

    /// Probability of each class, which add up to 1: `x` \[D\] to `out` \[C\]. Every window gets some class: whether it is
    /// any of them is another question.
    ///
    /// # Panics
    /// When a slice has another length than the head's.
    fn probabilities(&self, x: &[f32], out: &mut [f32]) {
        self.scores(x, out);
        softmax(out, self.temperature());
    }
}

/// The solved heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SolvedHead {
    /// Nearest class mean.
    Ncm,
    /// Streaming linear discriminant analysis with [`slda::SHRINKAGE`].
    Slda,
    /// Ridge regression on class-balanced targets with [`ridge::LAMBDA`].
    Ridge,
}

impl SolvedHead {
    /// All of them.
    pub const ALL: [SolvedHead; 3] = [SolvedHead::Ncm, SolvedHead::Slda, SolvedHead::Ridge];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            SolvedHead::Ncm => "ncm",
            SolvedHead::Slda => "slda",
            SolvedHead::Ridge => "ridge",
        }
    }

    /// The shrinkage or lambda that it has without evidence; 0 for ncm, which has none.
    pub fn default_parameter(self) -> f64 {
        match self {
            SolvedHead::Ncm => 0.0,
            SolvedHead::Slda => slda::SHRINKAGE,
            SolvedHead::Ridge => ridge::LAMBDA,
        }
    }

    /// Solves it with its default parameter.
    ///
    /// # Errors
    /// `Learn` when there is no class yet or the statistics are beyond what f64 can solve.
    pub fn solve(self, moments: &Moments) -> Result<LinearHead> {
        self.solve_with(moments, self.default_parameter())
    }

    /// Solves it with this shrinkage or lambda, which ncm does not look at.
    ///
    /// # Errors
    /// As [`SolvedHead::solve`], and `Config` for a parameter out of its range.
    pub fn solve_with(self, moments: &Moments, parameter: f64) -> Result<LinearHead> {
        match self {
            SolvedHead::Ncm => ncm::solve(moments),
            SolvedHead::Slda => slda::solve(moments, parameter),
            SolvedHead::Ridge => ridge::solve(moments, parameter),
        }
    }

    /// Solves it with the parameter and the temperature for which `rows` of the moments speak, each left out of the head that
    /// judges it together with its recording ([`LeaveOut`]). With its default parameter where no row can be left out, and
    /// `ncm`.
    ///
    /// # Errors
    /// As [`SolvedHead::solve`], and `Mismatch` for rows that are not of these moments.
    pub fn solve_by_evidence(self, moments: &Moments, rows: &[Counted<'_>]) -> Result<LinearHead> {
        match auto::choose(self, moments, rows)? {
            Some(chosen) => chosen.solve(self, moments),
            None => self.solve(moments),
        }
    }
}

/// A head that an adapter can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// Nearest class mean.
    Ncm,
    /// Streaming linear discriminant analysis.
    Slda,
    /// Ridge regression.
    Ridge,
    /// slda and ridge, pooled by evidence ([`auto`]).
    #[default]
    Auto,
}

impl HeadKind {
    /// The solved head that it is; none for auto.
    pub fn solved(self) -> Option<SolvedHead> {
        match self {
            HeadKind::Ncm => Some(SolvedHead::Ncm),
            HeadKind::Slda => Some(SolvedHead::Slda),
            HeadKind::Ridge => Some(SolvedHead::Ridge),
            HeadKind::Auto => None,
        }
    }
}

/// Scores to probabilities in place: `exp(z / t) / sum`. All-equal when a score is not a number.
pub fn softmax(z: &mut [f32], temperature: f32) {
    let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0f64;
    for v in z.iter_mut() {
        *v = ((*v - top) / temperature).exp();
        total += f64::from(*v);
    }
    let even = 1.0 / z.len() as f32;
    let fine = total.is_finite() && total > 0.0;
    z.iter_mut().for_each(|v| *v = if fine { (f64::from(*v) / total) as f32 } else { even });
}

/// Index of the first maximum.
pub fn argmax(z: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in z.iter().enumerate() {
        if *v > z[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
