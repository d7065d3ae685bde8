//! Heads combined by evidence: a logarithmic opinion pool (Genest & Zidek 1986), whose scores are the weighted sum of the
//! members' scores. The weights are those of least cross entropy on rows that no member learned, less sure of them the fewer rows
//! there are: a normal prior with variance 1/2 on the logarithm of each weight over their geometric mean keeps them together.

use faer::Mat;
use faer::Side;
use faer::prelude::Solve;

use crate::head::evidence::Targets;

/// Newton steps; about ten are needed.
const STEPS_MAX: usize = 50;
/// Largest change of the logarithm of a weight at which the search ends.
const CHANGE_MIN: f64 = 1e-6;

/// Weights of the members \[M\], each above 0, for `members` scores \[n, C\] each divided by its temperature. They set the
/// temperature of the sum as well: `p = softmax(sum a_m z_m)`.
///
/// # Panics
/// When the members have scores of different lengths.
pub fn weights(members: &[Vec<f64>], targets: &Targets) -> Vec<f64> {
    let count = members.len();
    let mut logs = vec![-(count as f64).ln(); count];
    let mut now = objective(members, targets, &logs);
    for _ in 0..STEPS_MAX {
        let (gradient, hessian) = slope(members, targets, &logs);
        let Ok(factor) = hessian.llt(Side::Lower) else { break };
        let step = factor.solve(&Mat::from_fn(count, 1, |i, _| -gradient[i]));
        let longest = (0..count).fold(0f64, |l, i| l.max(step[(i, 0)].abs()));
        // At most a factor of e^2 at once, halved until it helps.
        let mut length = (2.0 / longest).min(1.0);
        let moved = loop {
            let tried: Vec<f64> = (0..count).map(|i| logs[i] + length * step[(i, 0)]).collect();
            let then = objective(members, targets, &tried);
            if then < now {
                (logs, now) = (tried, then);
                break length * longest;
            }
            length *= 0.5;
            if length * longest < CHANGE_MIN {
                break 0.0;
            }
        };
        if moved < CHANGE_MIN {
            break;
        }
    }
    logs.into_iter().map(f64::exp).collect()
}

/// Scores of the pool \[n, C\].
pub fn combine(members: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut z = vec![0.0; members.first().map_or(0, Vec::len)];
    for (member, weight) in members.iter().zip(weights) {
        assert_eq!(member.len(), z.len(), "scores of one length");
        z.iter_mut().zip(member).for_each(|(z, m)| *z += weight * m);
    }
    z
}

fn centred(logs: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    logs.iter().map(move |l| l - mean)
}

fn objective(members: &[Vec<f64>], targets: &Targets, logs: &[f64]) -> f64 {
    let weights: Vec<f64> = logs.iter().map(|l| l.exp()).collect();
    let prior = centred(logs).map(|d| d * d).sum::<f64>() / targets.class.len() as f64;
    targets.log_loss(&combine(members, &weights), 1.0) + prior
}

/// Gradient of the objective by the logarithms, and its Hessian without the term that could make it indefinite.
fn slope(members: &[Vec<f64>], targets: &Targets, logs: &[f64]) -> (Vec<f64>, Mat<f64>) {
    let (count, rows) = (members.len(), targets.class.len());
    let weights: Vec<f64> = logs.iter().map(|l| l.exp()).collect();
    let mut p = combine(members, &weights);
    let classes = p.len() / rows.max(1);
    let mut gradient = vec![0.0; count];
    let mut hessian = Mat::zeros(count, count);
    for (n, p) in p.chunks_exact_mut(classes).enumerate() {
        let top = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        p.iter_mut().for_each(|z| *z = (*z - top).exp());
        let total: f64 = p.iter().sum();
        let row = |m: usize| &members[m][n * classes..(n + 1) * classes];
        let expected: Vec<f64> = (0..count).map(|m| row(m).iter().zip(&*p).map(|(z, p)| z * p).sum::<f64>() / total).collect();
        for i in 0..count {
            let even = row(i).iter().sum::<f64>() / classes as f64;
            let wanted = (1.0 - targets.doubt) * row(i)[targets.class[n]] + targets.doubt * even;
            gradient[i] += targets.weight[n] * (expected[i] - wanted) * weights[i];
            for k in 0..=i {
                let product: f64 = row(i).iter().zip(row(k)).zip(&*p).map(|((a, b), p)| (a - expected[i]) * (b - expected[k]) * p).sum();
                hessian[(i, k)] += targets.weight[n] * product / total * weights[i] * weights[k];
            }
        }
    }
    for (i, d) in centred(logs).enumerate() {
        gradient[i] += 2.0 * d / rows as f64;
        hessian[(i, i)] += (2.0 + 1e-6) / rows as f64;
        (0..=i).for_each(|k| hessian[(i, k)] -= 2.0 / rows as f64 / count as f64);
    }
    (gradient, hessian)
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
