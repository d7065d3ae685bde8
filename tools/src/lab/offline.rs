//! Offline joint training, the yardstick: multinomial logistic regression on all rows at once.
//!
//! Minimises `sum loss + |W|^2 / (2 C)` (scikit-learn's objective over C; the intercepts are free) by L-BFGS. With fewer
//! rows than components the rows are first rotated into the space they span, which changes nothing under an L2 penalty.

use std::collections::VecDeque;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use super::metrics::mean_class_accuracy;
use super::split::{generator, stratified_group_folds};

/// The grid of C.
pub const GRID: [f64; 4] = [0.01, 0.1, 1.0, 10.0];
const ITERATIONS_MAX: usize = 300;
/// Largest gradient component of the mean loss at which the search ends.
const GRADIENT_MAX: f64 = 1e-5;
const HISTORY: usize = 10;
const INNER_FOLDS: usize = 3;

/// Accuracy of joint training: `train` \[n, D\] with labels and groups, `test` \[m, D\]. C is chosen by a grouped,
/// stratified 3-fold split of the training rows; of equally good ones the largest. Returns the predicted classes of the
/// test rows and C.
pub fn fit_and_predict(train: MatRef<'_, f64>, y: &[usize], group: &[usize], test: MatRef<'_, f64>, classes: usize) -> (Vec<usize>, f64) {
    let (z, zt) = rotate(train, test);
    let folds = stratified_group_folds(y, group, INNER_FOLDS, &mut generator(0, 0));
    let mut score = [0.0; GRID.len()];
    for fold in 0..INNER_FOLDS {
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..y.len()).partition(|i| folds[*i] != fold);
        if inside.is_empty() || outside.is_empty() {
            continue;
        }
        let (zi, zo) = (rows(&z, &inside), rows(&z, &outside));
        let (yi, yo): (Vec<usize>, Vec<usize>) = (inside.iter().map(|i| y[*i]).collect(), outside.iter().map(|i| y[*i]).collect());
        let mut w = vec![0.0; z.ncols() * classes];
        for (c, s) in GRID.iter().zip(&mut score) {
            fit(&zi, &yi, classes, *c, &mut w);
            *s += mean_class_accuracy(&predict(&zo, &w, classes), &yo, classes) / INNER_FOLDS as f64;
        }
    }
    let mut best = 0;
    for i in 1..GRID.len() {
        if score[i] >= score[best] {
            best = i;
        }
    }
    let mut w = vec![0.0; z.ncols() * classes];
    fit(&z, y, classes, GRID[best], &mut w);
    (predict(&zt, &w, classes), GRID[best])
}

/// Rows in the basis of the training rows' span, with a last column of ones for the intercept.
fn rotate(train: MatRef<'_, f64>, test: MatRef<'_, f64>) -> (Mat<f64>, Mat<f64>) {
    let with_ones = |m: Mat<f64>| Mat::from_fn(m.nrows(), m.ncols() + 1, |i, j| if j == m.ncols() { 1.0 } else { m[(i, j)] });
    if train.nrows() >= train.ncols() {
        return (with_ones(train.to_owned()), with_ones(test.to_owned()));
    }
    let q = train.transpose().qr().compute_thin_Q();
    (with_ones(train * &q), with_ones(test * &q))
}

fn rows(m: &Mat<f64>, take: &[usize]) -> Mat<f64> {
    Mat::from_fn(take.len(), m.ncols(), |i, j| m[(take[i], j)])
}

fn predict(z: &Mat<f64>, w: &[f64], classes: usize) -> Vec<usize> {
    let scores = z * MatRef::from_column_major_slice(w, z.ncols(), classes);
    (0..z.nrows()).map(|i| (0..classes).fold(0, |best, k| if scores[(i, k)] > scores[(i, best)] { k } else { best })).collect()
}

/// The objective divided by `C n`: mean loss + `|W|^2 / (2 C n)`, and its gradient.
struct Objective<'a> {
    z: &'a Mat<f64>,
    y: &'a [usize],
    classes: usize,
    penalty: f64,
    scores: Mat<f64>,
    gradient: Mat<f64>,
}

impl Objective<'_> {
    fn evaluate(&mut self, w: &[f64], gradient: &mut [f64]) -> f64 {
        let (n, p, k) = (self.z.nrows(), self.z.ncols(), self.classes);
        matmul(self.scores.as_mut(), Accum::Replace, self.z.as_ref(), MatRef::from_column_major_slice(w, p, k), 1.0, Par::Seq);
        let mut loss = 0.0;
        for i in 0..n {
            let top = (0..k).map(|c| self.scores[(i, c)]).fold(f64::NEG_INFINITY, f64::max);
            let own = self.scores[(i, self.y[i])];
            let mut total = 0.0;
            for c in 0..k {
                let e = (self.scores[(i, c)] - top).exp();
                self.scores[(i, c)] = e;
                total += e;
            }
            loss += total.ln() + top - own;
            for c in 0..k {
                self.scores[(i, c)] /= total * n as f64;
            }
            self.scores[(i, self.y[i])] -= 1.0 / n as f64;
        }
        loss /= n as f64;
        matmul(self.gradient.as_mut(), Accum::Replace, self.z.transpose(), self.scores.as_ref(), 1.0, Par::Seq);
        for c in 0..k {
            for j in 0..p {
                let weight = w[c * p + j];
                // The last column is the intercept: no penalty.
                let penalty = if j + 1 < p { self.penalty } else { 0.0 };
                gradient[c * p + j] = self.gradient[(j, c)] + penalty * weight;
                loss += 0.5 * penalty * weight * weight;
            }
        }
        loss
    }
}

/// L-BFGS (Nocedal & Wright, algorithm 7.5) with backtracking from `w`; the objective is convex.
fn fit(z: &Mat<f64>, y: &[usize], classes: usize, c: f64, w: &mut [f64]) {
    let mut f = Objective {
        z,
        y,
        classes,
        penalty: 1.0 / (c * y.len() as f64),
        scores: Mat::zeros(z.nrows(), classes),
        gradient: Mat::zeros(z.ncols(), classes),
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut g = vec![0.0; w.len()];
    let mut value = f.evaluate(w, &mut g);
    let (mut next, mut next_g) = (w.to_vec(), g.clone());
    let mut history: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    for _ in 0..ITERATIONS_MAX {
        if g.iter().all(|v| v.abs() <= GRADIENT_MAX) {
            break;
        }
        let mut direction: Vec<f64> = g.iter().map(|v| -v).collect();
        let mut alphas = Vec::with_capacity(HISTORY);
        for (s, t, rho) in history.iter().rev() {
            let a = rho * dot(s, &direction);
            direction.iter_mut().zip(t).for_each(|(d, t)| *d -= a * t);
            alphas.push(a);
        }
        let first = match history.back() {
            Some((_, t, rho)) => 1.0 / (rho * dot(t, t)),
            None => 1.0 / dot(&g, &g).sqrt(),
        };
        direction.iter_mut().for_each(|d| *d *= first);
        for ((s, t, rho), a) in history.iter().zip(alphas.iter().rev()) {
            let b = rho * dot(t, &direction);
            direction.iter_mut().zip(s).for_each(|(d, s)| *d += (a - b) * s);
        }
        let slope = dot(&g, &direction);
        let mut step = 1.0;
        let mut next_value = f64::INFINITY;
        for _ in 0..40 {
            next.iter_mut().zip(w.iter().zip(&direction)).for_each(|(n, (w, d))| *n = w + step * d);
            next_value = f.evaluate(&next, &mut next_g);
            if next_value <= value + 1e-4 * step * slope {
                break;
            }
            step *= 0.5;
        }
        if next_value >= value {
            break;
        }
        let s: Vec<f64> = next.iter().zip(w.iter()).map(|(a, b)| a - b).collect();
        let t: Vec<f64> = next_g.iter().zip(&g).map(|(a, b)| a - b).collect();
        let curvature = dot(&s, &t);
        if curvature > 1e-14 * dot(&t, &t) {
            if history.len() == HISTORY {
                history.pop_front();
            }
            history.push_back((s, t, 1.0 / curvature));
        }
        w.copy_from_slice(&next);
        g.copy_from_slice(&next_g);
        value = next_value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clouds(n: usize, d: usize, classes: usize) -> (Mat<f64>, Vec<usize>) {
        let value = |i: usize, j: usize| ((i * 7919 + j * 104_729 + 17) % 1000) as f64 / 500.0 - 1.0;
        let y: Vec<usize> = (0..n).map(|i| i % classes).collect();
        (Mat::from_fn(n, d, |i, j| value(i, j) + if j % classes == y[i] { 0.7 } else { 0.0 }), y)
    }

    fn gradient_norm(z: &Mat<f64>, y: &[usize], classes: usize, c: f64, w: &[f64]) -> f64 {
        let mut f = Objective {
            z,
            y,
            classes,
            penalty: 1.0 / (c * y.len() as f64),
            scores: Mat::zeros(z.nrows(), classes),
            gradient: Mat::zeros(z.ncols(), classes),
        };
        let mut g = vec![0.0; w.len()];
        f.evaluate(w, &mut g);
        g.iter().fold(0.0, |m, v| f64::max(m, v.abs()))
    }

    #[test]
    fn gradient_equals_finite_differences() {
        let (z, y) = clouds(12, 5, 3);
        let w: Vec<f64> = (0..15).map(|i| (i as f64 * 0.37).sin()).collect();
        let mut f = Objective { z: &z, y: &y, classes: 3, penalty: 0.1, scores: Mat::zeros(12, 3), gradient: Mat::zeros(5, 3) };
        let mut g = vec![0.0; 15];
        f.evaluate(&w, &mut g);
        for i in 0..15 {
            let mut shifted = |h: f64| {
                let mut v = w.clone();
                v[i] += h;
                f.evaluate(&v, &mut [0.0; 15])
            };
            let slope = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
            assert!((slope - g[i]).abs() < 1e-7, "{i}: {slope} {}", g[i]);
        }
    }

    #[test]
    fn the_search_ends_at_the_minimum_for_every_c() {
        let (z, y) = clouds(60, 20, 4);
        let mut w = vec![0.0; 80];
        for c in GRID {
            fit(&z, &y, 4, c, &mut w);
            assert!(gradient_norm(&z, &y, 4, c, &w) <= GRADIENT_MAX, "C = {c}");
        }
    }

    #[test]
    fn rotating_few_rows_changes_no_prediction() {
        let (x, y) = clouds(24, 40, 3);
        let (test, _) = clouds(30, 40, 3);
        let (z, zt) = rotate(x.as_ref(), test.as_ref());
        assert_eq!(z.ncols(), 25);
        let ones = |m: &Mat<f64>| Mat::from_fn(m.nrows(), 41, |i, j| if j == 40 { 1.0 } else { m[(i, j)] });
        let (mut small, mut full) = (vec![0.0; 25 * 3], vec![0.0; 41 * 3]);
        fit(&z, &y, 3, 1.0, &mut small);
        fit(&ones(&x), &y, 3, 1.0, &mut full);
        let (a, b) = (&zt * MatRef::from_column_major_slice(&small, 25, 3), ones(&test) * MatRef::from_column_major_slice(&full, 41, 3));
        for i in 0..30 {
            for k in 1..3 {
                let margins = (a[(i, k)] - a[(i, 0)], b[(i, k)] - b[(i, 0)]);
                assert!((margins.0 - margins.1).abs() < 1e-3, "{i} {k}: {margins:?}");
            }
        }
    }
}
