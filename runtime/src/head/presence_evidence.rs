//! What held rows say of presence heads that did not learn them: every row is scored by discriminants without its recording, in
//! closed form, for each shrinkage at the cost of one eigendecomposition.
//!
//! Leaving k of N rows out changes the total scatter by a matrix of rank k (Woodbury 1950; as in [`crate::head::leave_out`]): with `u_i =
//! x_i - m`, m the mean of all rows, `T' = T - U^T (I + 1 1^T / (N - k)) U`, whose inner inverse is `I - 1 1^T / N`. The means of a class
//! and of its rest lose what the recording had of them. Cost: `D^3`, then for each recording and shrinkage about `4 k C D`. A
//! recording of more rows than dimensions does not judge.

use std::collections::{BTreeMap, BTreeSet};

use faer::prelude::Solve;
use faer::{Mat, Side};

use crate::head::LabelMoments;
use crate::head::label_moments::against_rest;
use crate::head::unknown::logistic;
use crate::learn::{ClassName, LabelSet};
use crate::{Error, ErrorKind, Result};

/// Shrinkages that are tried.
pub const SHRINKAGES: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 0.7];

/// Weight of the rows that are a class among those that judge it, whatever their number. With one half a window of one class is said to
/// be others too; with their own share, a few per cent, the second class of a mixture is missed.
const PRESENT_SHARE: f64 = 0.2;

/// A row with any labels: its latent \[D\] in steps, what it is and is not, and the recording that it is of. All held rows of a recording
/// leave together.
#[derive(Debug, Clone, Copy)]
pub struct SetRow<'a> {
    /// The latent.
    pub latent: &'a [i8],
    /// Its labels.
    pub labels: &'a LabelSet,
    /// What is left out together with it.
    pub recording: u64,
}

impl SetRow<'_> {
    /// Whether it is `class`; none when nobody said.
    fn is(&self, class: &ClassName) -> Option<bool> {
        if self.labels.positive().contains(class) {
            return Some(true);
        }
        // Who only says what a window is not leaves open what else it is.
        let is_closed = !self.labels.positive().is_empty() || self.labels.negative().is_empty() || self.labels.negative().contains(class);
        is_closed.then_some(false)
    }
}

/// Shrinkage of the discriminants, and slope and intercept of the logit over the standardised margin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Of the total covariance, 0 to 1.
    pub shrinkage: f64,
    /// Above 0.
    pub slope: f64,
    /// The logit between the two means.
    pub intercept: f64,
}

impl Default for Calibration {
    /// Where no row can judge: a window at the mean of a class is it with a probability of .88.
    fn default() -> Calibration {
        Calibration { shrinkage: 0.1, slope: 4.0, intercept: 0.0 }
    }
}

/// A margin of one row for one class, by discriminants without its recording: row, class, margin, and whether it is the class.
pub(crate) type Margin = (usize, usize, f64, bool);

/// The calibration for which the rows speak; none where no row can judge.
///
/// # Errors
/// `Mismatch` for rows that are not of these sums; `Learn` when there is no eigendecomposition.
pub(crate) fn calibrate(sums: &LabelMoments, rows: &[SetRow<'_>]) -> Result<Option<Calibration>> {
    let mut best: Option<(f64, Calibration)> = None;
    for (shrinkage, margins) in SHRINKAGES.iter().zip(margins(sums, rows, &SHRINKAGES)?) {
        let mut counts = vec![[0f64; 2]; sums.classes.len()];
        margins.iter().for_each(|(_, c, _, is)| counts[*c][usize::from(*is)] += 1.0);
        let share = [1.0 - PRESENT_SHARE, PRESENT_SHARE];
        let judged = margins.iter().filter(|(_, c, ..)| counts[*c][0] > 0.0 && counts[*c][1] > 0.0);
        let samples: Vec<(f64, bool, f64)> =
            judged.map(|(_, c, z, is)| (*z, *is, share[usize::from(*is)] / counts[*c][usize::from(*is)])).collect();
        let (slope, intercept) = if samples.is_empty() { (0.0, 0.0) } else { logistic(&samples) };
        if slope > 0.0 {
            let loss = cross_entropy(&samples, slope, intercept);
            if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, Calibration { shrinkage: *shrinkage, slope, intercept }));
            }
        }
    }
    Ok(best.map(|(_, calibration)| calibration))
}

fn cross_entropy(samples: &[(f64, bool, f64)], slope: f64, intercept: f64) -> f64 {
    let total: f64 = samples.iter().map(|s| s.2).sum();
    let of = |(z, is, w): &(f64, bool, f64)| {
        let logit = slope * z + intercept;
        let against = if *is { -logit } else { logit };
        // ln(1 + e^a), without overflow.
        w * (against.max(0.0) + (-against.abs()).exp().ln_1p())
    };
    samples.iter().map(of).sum::<f64>() / total
}

/// The margins of all rows that can be judged, for each of the `shrinkages`.
///
/// # Errors
/// As [`calibrate`].
pub(crate) fn margins(sums: &LabelMoments, rows: &[SetRow<'_>], shrinkages: &[f64]) -> Result<Vec<Vec<Margin>>> {
    let dim = sums.sum.len();
    let mut recordings: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        if row.latent.len() != dim {
            let error = Error::new(ErrorKind::Mismatch, "a row is not of these sums");
            return Err(error.expected(format!("{dim} components")).found(row.latent.len()));
        }
        recordings.entry(row.recording).or_default().push(i);
    }
    if let Some(members) = recordings.values().find(|members| members.len() as f64 > sums.total.rows()) {
        let error = Error::new(ErrorKind::Mismatch, "a recording has more rows than its sums count");
        return Err(error.expected(format!("at most {}", sums.total.rows())).found(members.len()));
    }
    let failed = |e| Error::new(ErrorKind::Learn, "the statistics have no eigendecomposition").found(format!("{e:?}"));
    let eigen = sums.total.within_scatter().self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let vectors = eigen.U().to_owned();
    let values: Vec<f64> = (0..dim).map(|i| eigen.S()[i].max(0.0)).collect();
    let rotate = |columns: usize, at: &dyn Fn(usize, usize) -> f64| vectors.transpose() * Mat::from_fn(dim, columns, at);
    let basis = Basis {
        all: rotate(1, &|i, _| sums.sum[i]),
        sums: rotate(sums.classes.len(), &|i, c| sums.classes[c].sum[i]),
        squares: sums.total.squares(),
        values,
    };
    let scale = sums.total.scale();
    let mut out = vec![Vec::new(); shrinkages.len()];
    for members in recordings.values().filter(|m| m.len() <= dim && (m.len() as f64) < sums.total.rows() - 1.0) {
        let x = rotate(members.len(), &|i, n| f64::from(rows[members[n]].latent[i]) * scale[i]);
        let recording = basis.without(sums, rows, members, x);
        for (out, shrinkage) in out.iter_mut().zip(shrinkages) {
            basis.score(sums, &recording, *shrinkage, |n, class, z| {
                if let Some(is) = rows[members[n]].is(&sums.classes[recording.classes[class]].name) {
                    out.push((members[n], recording.classes[class], z, is));
                }
            });
        }
    }
    Ok(out)
}

/// Sums in the basis of the eigenvectors of the total scatter.
struct Basis {
    values: Vec<f64>,
    all: Mat<f64>,
    sums: Mat<f64>,
    /// Sum of the squares of all rows.
    squares: f64,
}

/// What is left without one recording, in the same basis.
struct Without {
    /// Classes that are still there, and still have a rest.
    classes: Vec<usize>,
    x: Mat<f64>,
    u: Mat<f64>,
    differences: Mat<f64>,
    middles: Mat<f64>,
}

impl Basis {
    fn without(&self, sums: &LabelMoments, rows: &[SetRow<'_>], members: &[usize], x: Mat<f64>) -> Without {
        let (dim, k, n) = (self.values.len(), members.len(), sums.total.rows());
        let u = Mat::from_fn(dim, k, |i, j| x[(i, j)] - self.all[(i, 0)] / n);
        let left = |from: &dyn Fn(usize) -> f64, lost: &[usize]| -> Vec<f64> {
            (0..dim).map(|i| from(i) - lost.iter().map(|j| x[(i, *j)]).sum::<f64>()).collect()
        };
        let all = left(&|i| self.all[(i, 0)], &(0..k).collect::<Vec<_>>());
        let (mut classes, mut differences, mut middles) = (Vec::new(), Vec::new(), Vec::new());
        let here: BTreeSet<&ClassName> = members.iter().flat_map(|i| rows[*i].labels.positive()).collect();
        for (c, class) in sums.classes.iter().enumerate() {
            let is_own = |j: &usize| rows[members[*j]].labels.positive().contains(&class.name);
            let own: Vec<usize> = if here.contains(&class.name) { (0..k).filter(is_own).collect() } else { vec![] };
            let count = class.n - own.len() as f64;
            if count < 1.0 || n - k as f64 - count < 1.0 {
                continue;
            }
            let (difference, middle) = against_rest(&left(&|i| self.sums[(i, c)], &own), count, &all, n - k as f64, self.squares / n);
            classes.push(c);
            differences.push(difference);
            middles.push(middle);
        }
        let columns = |of: &[Vec<f64>]| Mat::from_fn(dim, of.len(), |i, c| of[c][i]);
        Without { classes, u, differences: columns(&differences), middles: columns(&middles), x }
    }

    /// Hands the margin of each row for each class to `tell`.
    fn score(&self, sums: &LabelMoments, out: &Without, shrinkage: f64, mut tell: impl FnMut(usize, usize, f64)) {
        let (dim, k) = (self.values.len(), out.x.ncols());
        let (precision, factor) = self.precision(sums.total.rows(), out, shrinkage);
        let weighted = |m: &Mat<f64>| Mat::from_fn(dim, m.ncols(), |i, n| m[(i, n)] * precision[i]);
        let mut solved = weighted(&out.differences);
        if factor > 0.0 {
            let up = weighted(&out.u);
            let mut inner = -(up.transpose() * &out.u);
            let even = 1.0 / factor / sums.total.rows();
            (0..k).for_each(|i| (0..k).for_each(|j| inner[(i, j)] -= even));
            (0..k).for_each(|i| inner[(i, i)] += 1.0 / factor);
            let gain = inner.partial_piv_lu().solve(up.transpose() * &out.differences);
            solved += &up * &gain;
        }
        let margins = out.x.transpose() * &solved;
        for class in 0..out.classes.len() {
            let with = |m: &Mat<f64>| (0..dim).map(|i| m[(i, class)] * solved[(i, class)]).sum::<f64>();
            let (apart, middle) = (with(&out.differences), with(&out.middles));
            (0..k).for_each(|n| tell(n, class, if apart > 0.0 { (margins[(n, class)] - middle) / apart } else { 0.0 }));
        }
    }

    /// The inverse of what the eigenvalues become without the recording but for its outer products, and the factor of those: the
    /// covariance of [`crate::head::slda`], of one class.
    fn precision(&self, rows: f64, out: &Without, shrinkage: f64) -> (Vec<f64>, f64) {
        let (dim, k) = (self.values.len(), out.x.ncols());
        let square = |m: &Mat<f64>| m.col_iter().map(|c| c.iter().map(|v| v * v).sum::<f64>()).sum::<f64>();
        let left = rows - k as f64;
        let freedom = (left - 1.0).max(1.0);
        let together: f64 = (0..dim).map(|i| (0..k).map(|j| out.u[(i, j)]).sum::<f64>().powi(2)).sum();
        let lost = square(&out.u) + together / left;
        let variance = (self.values.iter().sum::<f64>() - lost) / freedom / dim as f64;
        let mean_square = (self.squares - square(&out.x)) / left / dim as f64;
        if variance <= 1e-12 * mean_square || variance <= 0.0 {
            let level = if mean_square > 0.0 { mean_square } else { 1.0 };
            return (vec![1.0 / level; dim], 0.0);
        }
        let of = |l: &f64| 1.0 / ((1.0 - shrinkage) * l / freedom + shrinkage * variance);
        (self.values.iter().map(of).collect(), (1.0 - shrinkage) / freedom)
    }
}

#[cfg(test)]
#[path = "presence_evidence_tests.rs"]
mod tests;
