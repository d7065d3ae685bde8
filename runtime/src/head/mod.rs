//! Heads: what classifies an embedding. `ncm`, `slda` and `ridge` are solved from a block's statistics and are all linear
//! in the embedding ([`LinearHead`]); `softmax` is trained over replay; `naive` is plain softmax SGD, kept for contrast.

pub mod evidence;
mod linear;
mod moments;
pub mod naive;
pub mod ncm;
pub mod ridge;
pub mod slda;
pub mod softmax;
mod softmax_update;
pub mod temperature;

pub use evidence::{Counted, Evidence, LeaveOneOut};
pub use linear::LinearHead;
pub use moments::Moments;

use crate::learn::ClassName;
use crate::{ErrorKind, Result};

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

    /// Solves it with its default parameters.
    ///
    /// # Errors
    /// `Learn` when there is no class yet or the statistics are beyond what f64 can solve.
    pub fn solve(self, moments: &Moments) -> Result<LinearHead> {
        match self {
            SolvedHead::Ncm => ncm::solve(moments),
            SolvedHead::Slda => slda::solve(moments, slda::SHRINKAGE),
            SolvedHead::Ridge => ridge::solve(moments, ridge::LAMBDA),
        }
    }

    /// Solves it with the shrinkage or lambda, and the temperature, for which `rows` of the moments speak, each left out of the
    /// head that judges it ([`evidence`]). With its default parameters where no row can be left out, and `ncm`, which has none.
    ///
    /// # Errors
    /// As [`SolvedHead::solve`], and `Mismatch` for rows that are not of these moments.
    pub fn solve_by_evidence(self, moments: &Moments, rows: &[Counted<'_>]) -> Result<LinearHead> {
        type Solve = fn(&Moments, f64) -> Result<LinearHead>;
        let (left_out, tried, solve): (_, _, Solve) = match self {
            SolvedHead::Ncm => return self.solve(moments),
            SolvedHead::Slda => (LeaveOneOut::slda(moments)?, evidence::SHRINKAGES, slda::solve),
            SolvedHead::Ridge => (LeaveOneOut::ridge(moments)?, evidence::LAMBDAS, ridge::solve),
        };
        let found = match left_out.evidence(rows, &tried) {
            Err(e) if e.kind() == ErrorKind::Learn => return self.solve(moments),
            found => found?,
        };
        let Some(best) = found.iter().min_by(|a, b| a.log_loss.total_cmp(&b.log_loss)) else { return self.solve(moments) };
        let mut head = solve(moments, best.parameter)?;
        head.temperature = best.temperature as f32;
        Ok(head)
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
