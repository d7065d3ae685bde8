//! Solved heads without one of their recordings, in closed form: for any number of shrinkages (or lambdas) at the cost of one
//! eigendecomposition. Leaving k rows out changes the scatter by a matrix of rank k (Woodbury 1950), and a multiple of the
//! identity does not change the eigenvectors. A recording leaves as a whole, since its rows stand for each other.
//!
//! With the rows `x_i` of class y left out, of which n are counted, `u_i = x_i - m_y`, `U` the matrix of all u:
//! `m_y' = m_y - sum u_i / (n - k)` and `W' = W - U^T (I + 1 1^T / (n - k)) U`. For ridge the Gram matrix loses `F^T F`.
//!
//! Cost: one eigendecomposition (D^3), then for each recording and parameter about `(2 k + 2) C D` multiply-adds. A recording of more
//! rows than dimensions, an hour of windows, is not of low rank: its scatter is summed once (`k D^2`), and each parameter costs one
//! factorisation (`D^3`) and `(k + C) D^2`, so that the cost grows with k and not with its cube.

use std::collections::BTreeMap;

use faer::prelude::Solve;
use faer::{Mat, MatRef, Side};

use crate::head::Moments;
use crate::{Error, ErrorKind, Result};

/// A row that the moments count: its latent \[D\] in steps, its class, and the recording that it is of.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// The latent.
    pub latent: &'a [i8],
    /// Which of the moments' classes it is of.
    pub class: usize,
    /// What is left out together with it: all rows given with the same number.
    pub recording: u64,
}

/// Scores of rows by heads that did not learn them.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Shrinkage or lambda of the heads.
    pub parameter: f64,
    /// Classes that are scored: C, without retired ones.
    pub classes: usize,
    /// Scores, row-major \[n, C\].
    pub z: Vec<f64>,
    /// Of each row `x^T Sigma^-1 x` \[n\]; for ridge `x^T A^-1 x`.
    pub squares: Vec<f64>,
}

/// Solves heads without one of the recordings of their moments.
pub struct LeaveOut<'a> {
    moments: &'a Moments,
    /// Classes that are scored: retired ones shape the scatter alone.
    scored: Vec<usize>,
    ridge: bool,
    /// Eigenvectors, in columns, and eigenvalues of the scatter or Gram matrix.
    vectors: Mat<f64>,
    values: Vec<f64>,
    /// Class means in the basis of the eigenvectors, in columns, and the squares of their components.
    means: Mat<f64>,
    mean_squares: Mat<f64>,
    /// Sum of the squares of all rows.
    squares: f64,
}

/// The rows of one recording, in the basis of the eigenvectors.
struct LeftOut {
    /// Where they stand among the judged rows.
    places: Vec<usize>,
    /// \[dim, k\]
    x: Mat<f64>,
    /// Less the mean of their class for slda, as they are for ridge.
    u: Mat<f64>,
    /// Of each class in it: its rows, how many of the class are counted, and its mean without them.
    classes: Vec<(usize, Vec<usize>, f64, Vec<f64>)>,
    square: f64,
    /// What the scatter loses, where it has more rows than dimensions \[dim, dim\].
    scatter: Option<Mat<f64>>,
}

/// Products under the inverse of what the matrix is without a recording.
struct Products {
    /// Rows with class means \[k, C\].
    xm: Mat<f64>,
    /// Class means with themselves \[C\].
    mm: Vec<f64>,
    /// Rows with themselves \[k\].
    xx: Vec<f64>,
}

impl<'a> LeaveOut<'a> {
    /// For slda on these moments.
    ///
    /// # Errors
    /// `Learn` when there is no eigendecomposition.
    pub fn slda(moments: &'a Moments) -> Result<LeaveOut<'a>> {
        LeaveOut::new(moments, moments.within_scatter(), false)
    }

    /// For ridge on these moments.
    ///
    /// # Errors
    /// `Learn` when there is no eigendecomposition.
    pub fn ridge(moments: &'a Moments) -> Result<LeaveOut<'a>> {
        LeaveOut::new(moments, moments.gram_with_bias(), true)
    }

    fn new(moments: &'a Moments, matrix: Mat<f64>, ridge: bool) -> Result<LeaveOut<'a>> {
        let failed = |e| Error::new(ErrorKind::Learn, "the statistics have no eigendecomposition").found(format!("{e:?}"));
        let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(failed)?;
        let (dim, d, c) = (matrix.nrows(), moments.dim(), moments.classes().len());
        let vectors = eigen.U().to_owned();
        let values = (0..dim).map(|i| eigen.S()[i].max(0.0)).collect();
        let means = moments.means();
        let feature = |c: usize, i: usize| if i < d { means[c * d + i] } else { 1.0 };
        let means = vectors.transpose() * Mat::from_fn(dim, c, |i, k| feature(k, i));
        let mean_squares = Mat::from_fn(dim, c, |i, k| means[(i, k)] * means[(i, k)]);
        let scored = (0..c).filter(|c| !moments.classes()[*c].is_retired()).collect();
        Ok(LeaveOut { moments, scored, ridge, vectors, values, means, mean_squares, squares: moments.squares() })
    }

    /// Index of the classes that are scored among those of the moments, in order \[C\].
    pub fn scored(&self) -> &[usize] {
        &self.scored
    }

    /// Which of `rows` can be judged: those of a class that is scored and has rows outside their recording.
    ///
    /// # Errors
    /// `Mismatch` for a row of another dimension or class, or more rows of a class than are counted.
    pub fn judged(&self, rows: &[Counted<'_>]) -> Result<Vec<usize>> {
        let (d, counts) = (self.moments.dim(), self.moments.counts());
        if let Some(row) = rows.iter().find(|r| r.latent.len() != d || r.class >= counts.len()) {
            return Err(Error::new(ErrorKind::Mismatch, "a row is not of these moments")
                .expected(format!("{d} components, class below {}", counts.len()))
                .found(format!("{} components, class {}", row.latent.len(), row.class)));
        }
        let mut together: BTreeMap<(u64, usize), f64> = BTreeMap::new();
        rows.iter().for_each(|r| *together.entry((r.recording, r.class)).or_default() += 1.0);
        if let Some(((_, class), rows)) = together.iter().find(|((_, class), n)| **n > counts[*class]) {
            return Err(Error::new(ErrorKind::Mismatch, "a recording has more rows than its moments count")
                .at(self.moments.classes()[*class].to_string())
                .expected(format!("at most {}", counts[*class]))
                .found(rows));
        }
        // Without a recording that has all of a class, that class is not there: nothing is said of its other rows either.
        let whole = |recording: u64| together.range((recording, 0)..=(recording, usize::MAX)).all(|((_, c), n)| counts[*c] > *n);
        Ok((0..rows.len()).filter(|i| self.scored.contains(&rows[*i].class) && whole(rows[*i].recording)).collect())
    }

    /// Scores of the rows that are [`LeaveOut::judged`], in their order, with each of the `parameters`.
    ///
    /// # Errors
    /// As [`LeaveOut::judged`].
    pub fn scores(&self, rows: &[Counted<'_>], parameters: &[f64]) -> Result<Vec<Scores>> {
        let judged = self.judged(rows)?;
        let mut recordings: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (i, row) in rows.iter().enumerate() {
            recordings.entry(row.recording).or_default().push(i);
        }
        let classes = self.scored.len();
        let empty = |parameter: &f64| Scores {
            parameter: *parameter,
            classes,
            z: vec![0.0; judged.len() * classes],
            squares: vec![0.0; judged.len()],
        };
        let mut all: Vec<Scores> = parameters.iter().map(empty).collect();
        for members in recordings.values().filter(|m| m.iter().any(|i| judged.binary_search(i).is_ok())) {
            let left_out = self.left_out(rows, members, &judged);
            all.iter_mut().for_each(|scores| self.score(&left_out, scores));
        }
        Ok(all)
    }

    fn left_out(&self, rows: &[Counted<'_>], members: &[usize], judged: &[usize]) -> LeftOut {
        let scale = self.moments.scale();
        let feature = |latent: &[i8], i: usize| latent.get(i).map_or(1.0, |q| f64::from(*q) * scale[i]);
        let f = Mat::from_fn(self.values.len(), members.len(), |i, n| feature(rows[members[n]].latent, i));
        let x = self.vectors.transpose() * f;
        let mut of_class: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        members.iter().enumerate().for_each(|(n, i)| of_class.entry(rows[*i].class).or_default().push(n));
        let mut u = x.clone();
        let mut classes = Vec::new();
        for (class, own) in of_class {
            let counted = self.moments.counts()[class];
            let left = counted - own.len() as f64;
            let mean = self.means.col(class);
            let without = |i: usize| mean[i] - own.iter().map(|n| x[(i, *n)] - mean[i]).sum::<f64>() / left;
            let without = (0..self.values.len()).map(without).collect();
            if !self.ridge {
                own.iter().for_each(|n| (0..self.values.len()).for_each(|i| u[(i, *n)] -= mean[i]));
            }
            classes.push((class, own, counted, without));
        }
        let square = (0..x.ncols()).map(|n| squared(x.as_ref(), n)).sum();
        let places = members.iter().map(|i| judged.binary_search(i).unwrap_or(usize::MAX)).collect();
        let mut out = LeftOut { places, x, u, classes, square, scatter: None };
        if members.len() > self.values.len() {
            out.scatter = Some(self.lost(&out));
        }
        out
    }

    /// What the scatter or Gram matrix loses with a recording.
    fn lost(&self, out: &LeftOut) -> Mat<f64> {
        let mut lost = &out.u * out.u.transpose();
        if !self.ridge {
            for (_, own, counted, _) in &out.classes {
                let sum = Mat::from_fn(out.u.nrows(), 1, |i, _| own.iter().map(|n| out.u[(i, *n)]).sum::<f64>());
                lost += &sum * sum.transpose() * faer::Scale(1.0 / (counted - own.len() as f64));
            }
        }
        lost
    }

    /// The inverse of what the eigenvalues become without the recording but for its outer products, and the factor of those.
    fn precision(&self, out: &LeftOut, parameter: f64) -> (Vec<f64>, f64) {
        let (k, total) = (out.x.ncols(), self.values.iter().sum::<f64>());
        if self.ridge {
            let level = parameter * (total - out.square) / self.values.len() as f64;
            return (self.values.iter().map(|l| 1.0 / (l + level)).collect(), 1.0);
        }
        let d = self.moments.dim() as f64;
        let rows = self.moments.rows() - k as f64;
        let freedom = (rows - self.moments.classes().len() as f64).max(1.0);
        let lost: f64 = out
            .classes
            .iter()
            .map(|(_, own, counted, _)| {
                let sum: f64 = (0..self.values.len()).map(|i| own.iter().map(|n| out.u[(i, *n)]).sum::<f64>().powi(2)).sum();
                own.iter().map(|n| squared(out.u.as_ref(), *n)).sum::<f64>() + sum / (counted - own.len() as f64)
            })
            .sum();
        let variance = (total - lost) / freedom / d;
        let mean_square = (self.squares - out.square) / rows / d;
        if variance <= 1e-12 * mean_square || variance <= 0.0 {
            let level = if mean_square > 0.0 { mean_square } else { 1.0 };
            return (vec![1.0 / level; self.values.len()], 0.0);
        }
        let of = |l: &f64| 1.0 / ((1.0 - parameter) * l / freedom + parameter * variance);
        (self.values.iter().map(of).collect(), (1.0 - parameter) / freedom)
    }

    fn score(&self, out: &LeftOut, scores: &mut Scores) {
        let (precision, factor) = self.precision(out, scores.parameter);
        let Products { xm, mm, xx } = match &out.scatter {
            Some(scatter) if factor > 0.0 => self.products_of_full_rank(out, &precision, factor, scatter),
            _ => self.products_of_low_rank(out, &precision, factor),
        };
        let half = if self.ridge { 0.0 } else { 0.5 };
        for (i, place) in out.places.iter().enumerate().filter(|(_, place)| **place != usize::MAX) {
            let z = &mut scores.z[place * scores.classes..][..scores.classes];
            z.iter_mut().zip(&self.scored).for_each(|(z, c)| *z = xm[(i, *c)] - half * mm[*c]);
            scores.squares[*place] = xx[i];
        }
    }

    fn products_of_full_rank(&self, out: &LeftOut, precision: &[f64], factor: f64, scatter: &Mat<f64>) -> Products {
        let dim = precision.len();
        let kept = |i: usize, j: usize| if i == j { 1.0 / precision[i] } else { 0.0 };
        let matrix = Mat::from_fn(dim, dim, |i, j| kept(i, j) - factor * scatter[(i, j)]).partial_piv_lu();
        let mut means = self.means.clone();
        for (class, _, _, mean) in &out.classes {
            (0..dim).for_each(|i| means[(i, *class)] = mean[i]);
        }
        let (solved_means, solved_x) = (matrix.solve(&means), matrix.solve(&out.x));
        let own = |a: &Mat<f64>, b: &Mat<f64>| (0..a.ncols()).map(|n| (0..dim).map(|i| a[(i, n)] * b[(i, n)]).sum()).collect();
        Products { xm: out.x.transpose() * &solved_means, mm: own(&means, &solved_means), xx: own(&out.x, &solved_x) }
    }

    fn products_of_low_rank(&self, out: &LeftOut, precision: &[f64], factor: f64) -> Products {
        let k = out.x.ncols();
        let own = Mat::from_fn(self.values.len(), out.classes.len(), |i, n| out.classes[n].3[i]);
        let weighted = |m: &Mat<f64>| Mat::from_fn(m.nrows(), m.ncols(), |i, n| m[(i, n)] * precision[i]);
        let (xp, up) = (weighted(&out.x), weighted(&out.u));
        let p = Mat::from_fn(precision.len(), 1, |i, _| precision[i]);
        // Products under the diagonal precision; then what the outer products add: U P a . K U P b.
        let (mut xm, mut um) = (xp.transpose() * &self.means, up.transpose() * &self.means);
        let mm = self.mean_squares.transpose() * &p;
        let mut mm: Vec<f64> = (0..mm.nrows()).map(|c| mm[(c, 0)]).collect();
        let (x_own, u_own) = (xp.transpose() * &own, up.transpose() * &own);
        for (n, (class, _, _, mean)) in out.classes.iter().enumerate() {
            (0..k).for_each(|i| (xm[(i, *class)], um[(i, *class)]) = (x_own[(i, n)], u_own[(i, n)]));
            mm[*class] = mean.iter().zip(precision).map(|(m, p)| m * m * p).sum();
        }
        let mut xx: Vec<f64> = (0..k).map(|i| (0..precision.len()).map(|d| xp[(d, i)] * out.x[(d, i)]).sum()).collect();
        if factor > 0.0 {
            let ux = up.transpose() * &out.x;
            let mut inner = -(up.transpose() * &out.u);
            (0..k).for_each(|i| inner[(i, i)] += 1.0 / factor);
            if !self.ridge {
                for (_, own, counted, _) in &out.classes {
                    own.iter().for_each(|a| own.iter().for_each(|b| inner[(*a, *b)] -= 1.0 / factor / counted));
                }
            }
            let inner = inner.partial_piv_lu();
            let (gain_m, gain_x) = (inner.solve(&um), inner.solve(&ux));
            xm += ux.transpose() * &gain_m;
            mm.iter_mut().enumerate().for_each(|(c, m)| *m += (0..k).map(|i| um[(i, c)] * gain_m[(i, c)]).sum::<f64>());
            xx.iter_mut().enumerate().for_each(|(i, x)| *x += (0..k).map(|j| ux[(j, i)] * gain_x[(j, i)]).sum::<f64>());
        }
        Products { xm, mm, xx }
    }
}

fn squared(m: MatRef<'_, f64>, column: usize) -> f64 {
    m.col(column).iter().map(|x| x * x).sum()
}

#[cfg(test)]
#[path = "leave_out_tests.rs"]
mod tests;
