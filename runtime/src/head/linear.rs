//! A linear classifier: `scores = W x + b`. Every solved head is one, so that predicting is one dense product whatever
//! solved it, and one form is stored. What is linear in random features is a part of it: [`Expansion`].

use serde::{Deserialize, Serialize};

use crate::head::{Expansion, Head, softmax};
use crate::kernel::{self, scalar};
use crate::learn::ClassName;
use crate::{Error, ErrorKind, Result};

/// Weights, bias and temperature of a linear head; read from untrusted bytes, it must be checked with
/// [`LinearHead::validate`] before use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearHead {
    /// What solved it.
    pub name: String,
    /// Classes in canonical order \[C\].
    pub classes: Vec<ClassName>,
    /// Weights, row-major \[C, D\].
    pub weights: Vec<f32>,
    /// Bias \[C\].
    pub bias: Vec<f32>,
    /// What divides the scores before the softmax; above 0.
    pub temperature: f32,
    /// What random features add; most heads have none.
    pub expansion: Option<Expansion>,
}

impl LinearHead {
    /// Number of components D of an embedding.
    pub fn dim(&self) -> usize {
        self.weights.len() / self.classes.len()
    }

    /// Checks the lengths against D = `dim`, the class order and that every number is finite.
    ///
    /// # Errors
    /// `Corrupt`, naming what is wrong.
    pub fn validate(&self, dim: usize) -> Result<()> {
        let bad = |what: &str| Error::new(ErrorKind::Corrupt, what).at(format!("head {:?}", self.name));
        let n = self.classes.len();
        if n == 0 || dim == 0 || Some(self.weights.len()) != n.checked_mul(dim) || self.bias.len() != n {
            return Err(bad("a stored head has the wrong shape")
                .expected(format!("at least 1 class, {dim} weights and 1 bias a class"))
                .found(format!("{n} classes, {} weights, {} biases", self.weights.len(), self.bias.len())));
        }
        if !self.classes.is_sorted_by(|a, b| a < b) {
            return Err(bad("the classes of a stored head are out of order"));
        }
        let finite = self.weights.iter().chain(&self.bias).all(|w| w.is_finite());
        if !finite || !self.temperature.is_finite() || self.temperature <= 0.0 {
            return Err(bad("a stored head holds a value that is not a number, or a temperature of 0"));
        }
        self.expansion.as_ref().and_then(|e| e.wrong(dim, n)).map_or(Ok(()), |what| Err(bad(what)))
    }

    /// The weighted sum of `heads` over the same classes, each divided by its temperature: one head with a temperature of 1.
    /// One of them at most has an expansion.
    pub(crate) fn pool(name: &str, heads: &[LinearHead], weights: &[f64]) -> LinearHead {
        let factors: Vec<f64> = heads.iter().zip(weights).map(|(h, w)| w / f64::from(h.temperature)).collect();
        let sum = |of: fn(&LinearHead) -> &Vec<f32>| {
            let at = |i: usize| heads.iter().zip(&factors).map(|(h, f)| f * f64::from(of(h)[i])).sum::<f64>() as f32;
            (0..of(&heads[0]).len()).map(at).collect()
        };
        LinearHead {
            name: name.to_owned(),
            classes: heads[0].classes.clone(),
            weights: sum(|h| &h.weights),
            bias: sum(|h| &h.bias),
            temperature: 1.0,
            expansion: heads.iter().zip(&factors).find_map(|(h, f)| h.expansion.as_ref().map(|e| e.times(*f))),
        }
    }

    /// Forgets the classes for which `keep` is false; what random features add is of all classes, so that such a head stays as it is.
    pub(crate) fn retain(&mut self, keep: impl Fn(&ClassName) -> bool) {
        if self.expansion.is_some() {
            return;
        }
        let (dim, kept) = (self.dim(), self.classes.iter().map(keep).collect::<Vec<_>>());
        let of_kept = |values: &[f32], width: usize| {
            values.chunks_exact(width).zip(&kept).filter(|(_, k)| **k).flat_map(|(v, _)| v.iter().copied()).collect::<Vec<f32>>()
        };
        (self.weights, self.bias) = (of_kept(&self.weights, dim), of_kept(&self.bias, 1));
        let mut kept = kept.iter();
        self.classes.retain(|_| *kept.next().unwrap_or(&false));
    }

    /// Rounds a solution in f64 to a head: `weights` \[C, D\] row-major, `bias` \[C\]. Retired classes shaped the solution,
    /// but get no score.
    ///
    /// # Errors
    /// `Learn` when a value is not finite in f32, or every class is retired.
    pub(crate) fn from_f64(name: &str, classes: &[ClassName], weights: &[f64], bias: &[f64], temperature: f64) -> Result<LinearHead> {
        let dim = weights.len() / classes.len().max(1);
        let live: Vec<usize> = (0..classes.len()).filter(|c| !classes[*c].is_retired()).collect();
        if live.is_empty() {
            return Err(Error::new(ErrorKind::Learn, "every class was forgotten").at(name).cure("teach a class first"));
        }
        let head = LinearHead {
            name: name.to_owned(),
            classes: live.iter().map(|c| classes[*c].clone()).collect(),
            weights: live.iter().flat_map(|c| &weights[c * dim..(c + 1) * dim]).map(|w| *w as f32).collect(),
            bias: live.iter().map(|c| bias[*c] as f32).collect(),
            temperature: temperature.clamp(1e-30, 1e30) as f32,
            expansion: None,
        };
        if !head.weights.iter().chain(&head.bias).all(|w| w.is_finite()) {
            return Err(Error::new(ErrorKind::Learn, "the solution is not finite").at(name).cure("raise the shrinkage or lambda"));
        }
        Ok(head)
    }
}

impl Head for LinearHead {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[ClassName] {
        &self.classes
    }

    fn scores(&self, x: &[f32], out: &mut [f32]) {
        assert_eq!(x.len(), self.dim(), "embedding length");
        assert_eq!(out.len(), self.classes.len(), "one score a class");
        scalar::scores(&self.weights, &self.bias, x, out);
        if let Some(expansion) = &self.expansion {
            expansion.add_scores(x, out);
        }
    }

    fn temperature(&self) -> f32 {
        self.temperature
    }
}

/// A linear head that scores latents as they are: the value of a latent step of each dimension is folded into its weights once.
#[derive(Debug, Clone)]
pub struct LatentHead {
    weights: Vec<f32>,
    bias: Vec<f32>,
    expansion: Option<Expansion>,
    temperature: f32,
}

impl LatentHead {
    /// `head` over latents with steps of `scale` \[D\].
    ///
    /// # Panics
    /// When `scale` has another length than the head's embeddings.
    pub fn new(head: &LinearHead, scale: &[f32]) -> LatentHead {
        assert_eq!(scale.len(), head.dim(), "one step a dimension");
        let row = |w: &[f32]| w.iter().zip(scale).map(|(w, s)| w * s).collect::<Vec<_>>();
        let weights = head.weights.chunks_exact(scale.len()).flat_map(row).collect();
        LatentHead { weights, bias: head.bias.clone(), expansion: head.expansion.clone(), temperature: head.temperature }
    }

    /// As [`Head::scores`], of a latent \[D\], up to rounding. Allocates nothing.
    ///
    /// # Panics
    /// When a slice has another length than the head's.
    pub fn scores(&self, latent: &[i8], out: &mut [f32]) {
        kernel::predict(&self.weights, &self.bias, latent, out);
        if let Some(expansion) = &self.expansion {
            expansion.add_latent_scores(latent, out);
        }
    }

    /// As [`Head::probabilities`], of a latent \[D\]. Allocates nothing.
    ///
    /// # Panics
    /// When a slice has another length than the head's.
    pub fn probabilities(&self, latent: &[i8], out: &mut [f32]) {
        self.scores(latent, out);
        softmax(out, self.temperature);
    }
}
