//! Pools against their definition: no weights near those found are better, and each member earns its weight.

use super::*;

/// Scores of rows of three classes by a member that is right with this margin, and wrong now and then.
fn member(targets: &[usize], margin: f64, wrong_every: usize) -> Vec<f64> {
    let row = |(n, t): (usize, &usize)| {
        let best = if n % wrong_every == 0 { (t + 1) % 3 } else { *t };
        (0..3).map(move |k| if k == best { margin + 0.1 * (n % 7) as f64 } else { 0.05 * ((n * 5 + k) % 11) as f64 })
    };
    targets.iter().enumerate().flat_map(row).collect()
}

fn targets(rows: usize) -> (Vec<usize>, Targets) {
    let class: Vec<usize> = (0..rows).map(|n| (n * n + n / 3) % 3).collect();
    (class.clone(), Targets::new(class, &(0..rows as u64).collect::<Vec<_>>(), 3))
}

#[test]
fn no_weights_nearby_are_better() {
    let (class, targets) = targets(60);
    let members = [member(&class, 2.0, 5), member(&class, 1.5, 4), member(&class, 0.3, 2)];
    let found = weights(&members, &targets);
    let logs: Vec<f64> = found.iter().map(|w| w.ln()).collect();
    let best = objective(&members, &targets, &logs);
    for m in 0..3 {
        for change in [-1.0, -0.1, -0.01, 0.01, 0.1, 1.0] {
            let mut tried = logs.clone();
            tried[m] += change;
            assert!(objective(&members, &targets, &tried) > best, "{m} {change}");
        }
    }
}

#[test]
fn a_member_that_is_often_right_weighs_more_and_with_few_rows_less_so() {
    let ratio = |rows: usize| {
        let (class, targets) = targets(rows);
        let found = weights(&[member(&class, 1.0, 20), member(&class, 1.0, 2)], &targets);
        found[0] / found[1]
    };
    assert!(ratio(300) > 3.0 && ratio(12) < ratio(300) && ratio(12) >= 1.0, "{} {}", ratio(300), ratio(12));
}

#[test]
fn the_weights_make_the_scores_probabilities() {
    // One member, whose scores are a fifth of what they should be: right in 9 of 10 rows.
    let (class, targets) = targets(1000);
    let z: Vec<f64> = class
        .iter()
        .enumerate()
        .flat_map(|(n, t)| (0..3).map(move |k| f64::from(u8::from(k == (t + usize::from(n % 10 == 0)) % 3))))
        .collect();
    let weight = weights(&[z], &targets)[0];
    let confidence = weight.exp() / (weight.exp() + 2.0);
    assert!((confidence - 0.9).abs() < 0.01, "{confidence}");
}

#[test]
fn members_that_say_the_same_weigh_the_same() {
    let (class, targets) = targets(40);
    let found = weights(&[member(&class, 2.0, 5), member(&class, 2.0, 5)], &targets);
    assert!((found[0] / found[1] - 1.0).abs() < 1e-6, "{found:?}");
}
