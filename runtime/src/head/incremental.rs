//! A new slda head from one label without a new factorisation: the Cholesky factor of Sigma is kept, and each row that came or
//! went since is a correction of rank one to its inverse (Sherman & Morrison 1950; in product form, so the factor is never
//! touched).
//!
//! A row x that joins a class of n rows with mean m changes the within-class scatter by `n / (n + 1) (x - m)(x - m)^T`; one that
//! leaves, by `-n / (n - 1) (x - m)(x - m)^T`; the first or last row of a class does not change it. Of
//! `Sigma = ((1 - e) W + e tr(W) / D I) / (N - C)` the divisor is a factor of all weights and biases, and is exact at every step. The
//! multiple of the identity is of full rank: it is kept as it was at the last full solve, when tr(W) was `t0`. With tr(W) now at t,
//!
//! `((1 - e) W + e t0 / D I) / (N - C) = Sigma' (e t0 + (1 - e) t) / t`, where Sigma' has shrinkage `e' = e t0 / (e t0 + (1 - e) t)`,
//!
//! so the head is, up to rounding, **the slda head of all rows with shrinkage e' in place of e** ([`Incremental::shrinkage`]).
//! The drift has a bound: Sigma and Sigma' have the same eigenvectors, and the eigenvalues of the one differ from those of the other
//! at most by a factor of t / t0. So does every squared Mahalanobis distance, and [`DRIFT_MAX`] keeps that within 5 %.
//!
//! Every update is checked against the sums: `|Sigma w - m| / |m|` of a changed class, the statistics being exact. When that
//! passes [`RESIDUAL_MAX`], or one of the other limits is reached, the head is solved anew, and the step says why.
//!
//! Cost of a row with k corrections: `D^2` multiply-adds for each of two solves with the factor, `D^2` for the check and
//! `(4 C + 4 k) D` for weights and corrections. Memory: the factor (8 D^2 bytes), 64 corrections and two vectors a class (8 D each).

use std::collections::BTreeMap;

use faer::MatMut;
use faer::linalg::solvers::Llt;
use faer::prelude::Solve;

use crate::Result;
use crate::head::moments::{add_multiple, dot};
use crate::head::{LinearHead, Moments, slda};
use crate::kernel::scalar::Sign;
use crate::learn::ClassName;

/// Rows that may come or go between two full solves.
pub const ROWS_MAX: usize = 64;
/// How far tr(W) may move between two full solves, as a share of what it was.
pub const DRIFT_MAX: f64 = 0.05;
/// Most of the residual of a changed class.
pub const RESIDUAL_MAX: f64 = 1e-9;
/// What a row that leaves must leave of the variance in its direction: less than that, and rounding decides.
const REMAINDER_MIN: f64 = 1e-3;

/// A row that was learned or taken back.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Whether it came or went.
    pub sign: Sign,
    /// Its latent \[D\].
    pub latent: &'a [i8],
    /// Its class.
    pub class: &'a ClassName,
}

/// How a head was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// From the one before.
    Updated,
    /// Anew, from the sums.
    Solved(Reason),
}

/// Why a head was solved anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No class had rows that differ.
    NoScatter,
    /// [`ROWS_MAX`] rows came or went.
    Rows,
    /// tr(W) moved by more than [`DRIFT_MAX`].
    Drift,
    /// A row that left had been nearly all there was in its direction.
    Remainder,
    /// The residual passed [`RESIDUAL_MAX`].
    Residual,
    /// The changes do not lead from the sums before to those that were given.
    Foreign,
}

/// An slda head that follows its sums.
pub struct Incremental {
    /// e.
    wanted: f64,
    classes: BTreeMap<ClassName, Class>,
    /// Of the last full solve; none when there was no scatter.
    base: Option<Base>,
    corrections: Vec<Correction>,
    freedom: f64,
    /// tr(W) now.
    trace: f64,
}

struct Class {
    n: f64,
    mean: Vec<f64>,
    /// Sigma^-1 m, with the N - C and the multiple of the identity of the last full solve.
    weights: Vec<f64>,
}

struct Base {
    factor: Llt<f64>,
    freedom: f64,
    /// tr(W).
    trace: f64,
}

/// `-v v^T / s`.
struct Correction {
    v: Vec<f64>,
    s: f64,
}

impl Incremental {
    /// Solves the head of `moments` with shrinkage e = `shrinkage`, as [`slda::solve`] does, and keeps the factor.
    ///
    /// # Errors
    /// As [`slda::solve`].
    pub fn solve(moments: &Moments, shrinkage: f64) -> Result<Incremental> {
        let sigma = slda::covariance(moments, shrinkage)?;
        let factor = slda::cholesky(&sigma, "slda", "raise the shrinkage")?;
        let (d, means) = (moments.dim(), moments.means());
        let mut weights = means.clone();
        factor.solve_in_place(MatMut::from_column_major_slice_mut(&mut weights, d, moments.classes().len()));
        let of_class = means.chunks_exact(d).zip(weights.chunks_exact(d)).zip(moments.counts());
        let of_class = of_class.map(|((mean, weights), n)| Class { n: *n, mean: mean.to_vec(), weights: weights.to_vec() });
        let (freedom, trace) = (slda::freedom(moments), moments.within_squares());
        Ok(Incremental {
            wanted: shrinkage,
            classes: moments.classes().iter().cloned().zip(of_class).collect(),
            base: slda::has_scatter(moments).then_some(Base { factor, freedom, trace }),
            corrections: Vec::new(),
            freedom,
            trace,
        })
    }

    /// Follows `changes`, in their order, to the sums behind them, which `moments` are.
    ///
    /// # Errors
    /// As [`slda::solve`], when the head had to be solved anew; the next update then does that.
    pub fn update(&mut self, moments: &Moments, changes: &[Change<'_>]) -> Result<Step> {
        match self.follow(moments, changes) {
            Ok(()) => Ok(Step::Updated),
            Err(reason) => {
                // What was half done is not to be gone on with if the sums cannot be solved.
                self.base = None;
                *self = Incremental::solve(moments, self.wanted)?;
                Ok(Step::Solved(reason))
            }
        }
    }

    /// The shrinkage e' that the head has now.
    pub fn shrinkage(&self) -> f64 {
        let Some(base) = &self.base else { return self.wanted };
        let kept = self.wanted * base.trace;
        kept / (kept + (1.0 - self.wanted) * self.trace)
    }

    /// The head.
    ///
    /// # Errors
    /// `Learn` when a weight is not finite in f32, or every class is retired.
    pub fn head(&self) -> Result<LinearHead> {
        let level = |base: &Base| (self.wanted * base.trace + (1.0 - self.wanted) * self.trace) / self.trace;
        let factor = self.base.as_ref().map_or(1.0, |base| self.freedom / base.freedom * level(base));
        let weights: Vec<f64> = self.classes.values().flat_map(|c| c.weights.iter().map(|w| w * factor)).collect();
        let bias: Vec<f64> = self.classes.values().map(|c| -0.5 * factor * dot(&c.mean, &c.weights)).collect();
        let names: Vec<ClassName> = self.classes.keys().cloned().collect();
        LinearHead::from_f64("slda", &names, &weights, &bias, 1.0)
    }

    fn follow(&mut self, moments: &Moments, changes: &[Change<'_>]) -> std::result::Result<(), Reason> {
        let base = self.base.as_ref().ok_or(Reason::NoScatter)?;
        if self.corrections.len() + changes.len() > ROWS_MAX {
            return Err(Reason::Rows);
        }
        let trace = moments.within_squares();
        if (trace / base.trace - 1.0).abs() > DRIFT_MAX {
            return Err(Reason::Drift);
        }
        let outer = outer_products(&mut self.classes, moments, changes)?;
        let changed: Vec<usize> =
            (0..moments.classes().len()).filter(|c| changes.iter().any(|change| *change.class == moments.classes()[*c])).collect();

        // P u of each outer product and P m of each changed class, P being the inverse at the last full solve.
        let d = moments.dim();
        let mut solved: Vec<f64> = outer.iter().flat_map(|(u, _)| u.iter().copied()).collect();
        changed.iter().for_each(|c| solved.extend(moments.mean(*c)));
        let columns = solved.len() / d;
        base.factor.solve_in_place(MatMut::from_column_major_slice_mut(&mut solved, d, columns));
        let (products, weights) = solved.split_at(outer.len() * d);

        for ((u, g), product) in outer.iter().zip(products.chunks_exact(d)) {
            let g = g * (1.0 - self.wanted) / base.freedom;
            let v = corrected(&self.corrections, u, product);
            let grown = 1.0 + g * dot(u, &v);
            if grown < REMAINDER_MIN {
                return Err(Reason::Remainder);
            }
            let factor = g / grown;
            self.classes.values_mut().for_each(|c| add_multiple(-factor * dot(u, &c.weights), &v, &mut c.weights));
            self.corrections.push(Correction { v, s: 1.0 / factor });
        }
        for (c, product) in changed.iter().zip(weights.chunks_exact(d)) {
            let mean = moments.mean(*c);
            let weights = corrected(&self.corrections, &mean, product);
            let class = Class { n: moments.counts()[*c], mean, weights };
            self.classes.insert(moments.classes()[*c].clone(), class);
        }
        (self.freedom, self.trace) = (slda::freedom(moments), trace);
        let checked = changed.last().map(|c| &moments.classes()[*c]).or(self.classes.keys().next());
        let residual = checked.map_or(0.0, |class| residual(base, self.wanted, &self.classes[class], moments));
        if residual <= RESIDUAL_MAX { Ok(()) } else { Err(Reason::Residual) }
    }
}

/// Takes `changes` into the counts and means of `classes`, and gives the u and g whose `g u u^T` they add to the scatter.
fn outer_products(
    classes: &mut BTreeMap<ClassName, Class>,
    moments: &Moments,
    changes: &[Change<'_>],
) -> std::result::Result<Vec<(Vec<f64>, f64)>, Reason> {
    let mut outer = Vec::new();
    for change in changes {
        let x: Vec<f64> = change.latent.iter().zip(moments.scale()).map(|(q, s)| f64::from(*q) * s).collect();
        let Some(class) = classes.get_mut(change.class) else {
            if change.sign == Sign::Subtract {
                return Err(Reason::Foreign);
            }
            classes.insert(change.class.clone(), Class { n: 1.0, weights: vec![0.0; x.len()], mean: x });
            continue;
        };
        let n = if change.sign == Sign::Add { class.n + 1.0 } else { class.n - 1.0 };
        if n == 0.0 {
            classes.remove(change.class);
            continue;
        }
        let u: Vec<f64> = x.iter().zip(&class.mean).map(|(x, m)| x - m).collect();
        let sign = n - class.n;
        add_multiple(sign / n, &u, &mut class.mean);
        outer.push((u, sign * class.n / n));
        class.n = n;
    }
    let alike = classes.iter().map(|(name, c)| (name, &c.n)).eq(moments.classes().iter().zip(moments.counts()));
    if alike { Ok(outer) } else { Err(Reason::Foreign) }
}

/// `P x` now, from what it was at the last full solve.
fn corrected(corrections: &[Correction], x: &[f64], before: &[f64]) -> Vec<f64> {
    let mut product = before.to_vec();
    corrections.iter().for_each(|c| add_multiple(-dot(&c.v, x) / c.s, &c.v, &mut product));
    product
}

/// `|Sigma w - m| / |m|` of a class, with the divisor and the multiple of the identity that its weights have.
fn residual(base: &Base, shrinkage: f64, class: &Class, moments: &Moments) -> f64 {
    let mut sigma_w = moments.within_product(&class.weights);
    sigma_w.iter_mut().for_each(|y| *y *= (1.0 - shrinkage) / base.freedom);
    add_multiple(shrinkage * base.trace / base.freedom / moments.dim() as f64, &class.weights, &mut sigma_w);
    add_multiple(-1.0, &class.mean, &mut sigma_w);
    let size = dot(&class.mean, &class.mean);
    if size > 0.0 { (dot(&sigma_w, &sigma_w) / size).sqrt() } else { 0.0 }
}

#[cfg(test)]
#[path = "incremental_tests.rs"]
mod tests;
