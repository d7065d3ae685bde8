//! Labels that are probably wrong: rows whose class, by a head that did not learn them, is confidently another one.
//!
//! A label is the right class with probability 1 - r, and any other with r / (C - 1) (Angluin & Laird 1988). With p the head's
//! probabilities, `P(label y | x) = (1 - r) p_y + r (1 - p_y) / (C - 1)`: r and the temperature of p are those that explain the labels
//! best, so that what is merely hard counts as unsure and not as wrong. Wrong labels are assumed only where they explain the rows
//! better than none by `2 ln n` in twice the log likelihood, n being the recordings, a parameter more by the Bayesian information criterion (Schwarz 1978)
//! twice over. A label counts as wrong when that is more probable than not.
//!
//! What tells wrong labels from hard rows is that some rows are easier than others: where all are equally hard nothing does.

use crate::head::evidence::Targets;

/// Most labels that can be wrong and still be told.
const RATE_MAX: f64 = 0.5;

/// What is wrong with the labels of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Doubt {
    /// Share of labels that are wrong, 0 to 0.5.
    pub rate: f64,
    /// Of each row the probability that its label is wrong.
    pub wrong: Vec<f64>,
}

/// Which labels are in doubt, by the scores `z` \[n, C\] of heads that did not learn their row; none where no label need be wrong.
/// `recordings` is how many the rows are of: rows of one prove no more than it does.
pub fn find(z: &[f64], targets: &Targets, recordings: usize) -> Option<Doubt> {
    let rows = targets.class.len();
    let classes = z.len() / rows.max(1);
    if classes < 2 {
        return None;
    }
    let others = classes as f64 - 1.0;
    let label = |rate: f64, p: f64| ((1.0 - rate) * p + rate * (1.0 - p) / others).max(1e-300);
    let likelihood = |rate: f64, p: &[f64]| targets.weight.iter().zip(p).map(|(w, p)| w * label(rate, *p).ln()).sum::<f64>();
    let (mut without, mut best) = (f64::NEG_INFINITY, (f64::NEG_INFINITY, 0.0, Vec::new()));
    // ln T from -3 to 2: the scores come with a temperature near 1.
    for step in 0..=50 {
        let p = own_probabilities(z, targets, (f64::from(step) * 0.1 - 3.0).exp());
        let rate = rate(&p, targets, others);
        without = without.max(likelihood(0.0, &p));
        let with = likelihood(rate, &p);
        if with > best.0 {
            best = (with, rate, p);
        }
    }
    let (with, rate, p) = best;
    let n = recordings as f64;
    // At the most that is thinkable the head knows no better than the labels.
    if 2.0 * n * (with - without) <= 2.0 * n.ln() || rate >= RATE_MAX {
        return None;
    }
    let wrong = p.iter().map(|p| rate * (1.0 - p) / others / label(rate, *p)).collect();
    Some(Doubt { rate, wrong })
}

/// Probability of each row's label.
fn own_probabilities(z: &[f64], targets: &Targets, temperature: f64) -> Vec<f64> {
    let of = |(z, own): (&[f64], &usize)| {
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = z.iter().map(|z| ((z - top) / temperature).exp()).sum();
        ((z[*own] - top) / temperature).exp() / total
    };
    z.chunks_exact(z.len() / targets.class.len()).zip(&targets.class).map(of).collect()
}

/// The most likely share of wrong labels, by expectation and maximisation (Dempster 1977).
fn rate(p: &[f64], targets: &Targets, others: f64) -> f64 {
    let mut rate = 0.1f64;
    for _ in 0..100 {
        let wrong = |p: f64| rate * (1.0 - p) / others / ((1.0 - rate) * p + rate * (1.0 - p) / others).max(1e-300);
        let next = targets.weight.iter().zip(p).map(|(w, p)| w * wrong(*p)).sum::<f64>().min(RATE_MAX);
        let moved = (next - rate).abs();
        rate = next;
        if moved < 1e-7 {
            break;
        }
    }
    rate
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much better than the others the right class scores: some rows are easy, some hard, and some misleading.
    const MARGINS: [f64; 6] = [8.0, 0.6, 4.0, -0.4, 6.0, 1.5];

    /// Rows of three classes, and labels of which every `wrong_every`th is wrong.
    fn labelled(rows: usize, wrong_every: usize) -> (Vec<f64>, Targets, Vec<bool>) {
        let truth = |n: usize| (n * n + n / 3) % 3;
        let z = move |n: usize| (0..3).map(move |k| if k == truth(n) { MARGINS[n % 6] } else { 0.0 });
        let wrong: Vec<bool> = (0..rows).map(|n| n % wrong_every == 1).collect();
        let class = (0..rows).map(|n| (truth(n) + usize::from(wrong[n])) % 3).collect();
        ((0..rows).flat_map(z).collect(), Targets::new(class, &(0..rows as u64).collect::<Vec<_>>(), 3), wrong)
    }

    #[test]
    fn wrong_labels_of_clear_rows_are_found_and_their_share_is_known() {
        let (z, targets, wrong) = labelled(210, 5);
        let doubt = find(&z, &targets, 210).unwrap();
        assert!((doubt.rate - 0.2).abs() < 0.05, "{}", doubt.rate);
        for (n, (p, wrong)) in doubt.wrong.iter().zip(wrong).enumerate().filter(|(n, _)| MARGINS[n % 6] > 2.0) {
            assert!((*p > 0.5) == wrong, "{n} {p}");
        }
    }

    #[test]
    fn right_labels_are_not_doubted_though_some_rows_mislead() {
        let (z, targets, _) = labelled(210, usize::MAX);
        assert_eq!(find(&z, &targets, 210), None);
    }

    #[test]
    fn scores_that_know_no_better_than_the_labels_doubt_none() {
        let (mut z, targets, _) = labelled(210, usize::MAX);
        z.iter_mut().for_each(|z| *z = -*z);
        assert_eq!(find(&z, &targets, 210), None);
    }

    #[test]
    fn a_few_rows_prove_nothing() {
        let (z, targets, _) = labelled(4, 4);
        assert_eq!(find(&z, &targets, 4), None);
        // Nor do many rows of a few recordings.
        let (z, targets, _) = labelled(210, 5);
        assert_eq!(find(&z, &targets, 6), None);
        assert_eq!(find(&[], &Targets::new(vec![], &[], 3), 0), None);
        assert_eq!(find(&[1.0, 2.0], &Targets::new(vec![0, 0], &[0, 1], 1), 2), None);
    }
}
