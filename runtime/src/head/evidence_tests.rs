//! Evidence in closed form against heads that are really solved without the row.

use proptest::prelude::*;

use super::*;
use crate::head::{Head, SolvedHead, ridge, slda};
use crate::learn::{Block, BlockKind, ClassName, LabelSet};

const SCALE: f32 = 0.05;

fn name(class: usize) -> ClassName {
    ClassName::new(["ant", "bee", "cat", "dog"][class]).unwrap()
}

fn block(rows: &[(usize, Vec<i8>)]) -> Block {
    let mut block = Block::new(BlockKind::Latents, rows[0].1.len()).unwrap();
    rows.iter().for_each(|(class, latent)| block.add(latent, &LabelSet::single(name(*class))).unwrap());
    block
}

fn moments(rows: &[(usize, Vec<i8>)]) -> Moments {
    Moments::new(&block(rows), &vec![SCALE; rows[0].1.len()]).unwrap()
}

/// Rows of four classes around means of their own, three or more of each, by a generator with this seed.
fn rows(seed: u64, dim: usize, count: usize) -> Vec<(usize, Vec<i8>)> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let means: Vec<Vec<i64>> = (0..4).map(|_| (0..dim).map(|_| next() % 40).collect()).collect();
    let row = |class: usize, next: &mut dyn FnMut() -> i64| means[class].iter().map(|m| (m + next() % 50 - 25) as i8).collect();
    (0..count).map(|n| (n % 4, row(n % 4, &mut next))).collect()
}

/// The evidence worked out by solving as many heads as there are rows.
fn by_definition(rows: &[(usize, Vec<i8>)], parameter: f64, is_ridge: bool) -> (f64, Vec<Vec<f32>>) {
    let mut right = [0f64; 4];
    let mut scores = Vec::new();
    for (n, (class, latent)) in rows.iter().enumerate() {
        let others: Vec<_> = rows.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, r)| r.clone()).collect();
        let without = moments(&others);
        let head = if is_ridge { ridge::solve(&without, parameter) } else { slda::solve(&without, parameter) }.unwrap();
        let x: Vec<f32> = latent.iter().map(|q| f32::from(*q) * SCALE).collect();
        let mut z = vec![0.0; head.classes.len()];
        head.scores(&x, &mut z);
        right[*class] += f64::from(crate::head::argmax(&z) == *class);
        scores.push(z);
    }
    let counts = (0..4).map(|c| rows.iter().filter(|r| r.0 == c).count() as f64);
    (right.iter().zip(counts).map(|(r, n)| r / n / 4.0).sum(), scores)
}

fn closed(rows: &[(usize, Vec<i8>)], moments: &Moments, parameter: f64, is_ridge: bool) -> Vec<Vec<f64>> {
    let loo = if is_ridge { LeaveOneOut::ridge(moments) } else { LeaveOneOut::slda(moments) }.unwrap();
    let feature = |latent: &[i8]| Mat::from_fn(loo.dim, 1, |i, _| loo.feature(latent, i));
    let rotated = |latent: &[i8]| (loo.vectors.transpose() * feature(latent)).col(0).iter().copied().collect::<Vec<_>>();
    let scores = |(class, latent): &(usize, Vec<i8>)| match is_ridge {
        true => loo.ridge_scores(&rotated(latent), *class, parameter),
        false => loo.slda_scores(&rotated(latent), *class, parameter),
    };
    rows.iter().map(scores).collect()
}

proptest! {
    #[test]
    fn leaving_a_row_out_in_closed_form_scores_it_as_the_head_solved_without_it(
        seed in any::<u64>(), dim in 1..9usize, count in 8..30usize, parameter in 0.001..1.0f64, is_ridge in any::<bool>()
    ) {
        let rows = rows(seed, dim, count);
        let moments = moments(&rows);
        let (accuracy, wanted) = by_definition(&rows, parameter, is_ridge);
        let found = closed(&rows, &moments, parameter, is_ridge);
        let mut close = false;
        for (found, wanted) in found.iter().zip(&wanted) {
            // Heads hold f32; scores that lie close together may rank either way.
            let size = wanted.iter().fold(1f32, |s, z| s.max(z.abs()));
            for (f, w) in found.iter().zip(wanted) {
                prop_assert!((f - f64::from(*w)).abs() <= 2e-3 * f64::from(size), "{found:?} {wanted:?}");
            }
            let mut sorted = wanted.clone();
            sorted.sort_by(f32::total_cmp);
            close |= sorted.windows(2).any(|w| w[1] - w[0] <= 5e-3 * size);
        }
        let counted: Vec<Counted<'_>> = rows.iter().map(|(class, latent)| Counted { latent, class: *class }).collect();
        let loo = if is_ridge { LeaveOneOut::ridge(&moments) } else { LeaveOneOut::slda(&moments) }.unwrap();
        let evidence = loo.evidence(&counted, &[parameter]).unwrap()[0];
        prop_assert!(close || (evidence.accuracy - accuracy).abs() < 1e-9, "{evidence:?} {accuracy}");
        prop_assert_eq!(evidence.rows, rows.len());
    }
}

#[test]
fn the_temperature_is_the_one_of_least_log_loss() {
    let rows = rows(7, 6, 40);
    let moments = moments(&rows);
    let counted: Vec<Counted<'_>> = rows.iter().map(|(class, latent)| Counted { latent, class: *class }).collect();
    let scores = closed(&rows, &moments, 0.1, false);
    let targets: Vec<usize> = rows.iter().map(|r| r.0).collect();
    let best = LeaveOneOut::slda(&moments).unwrap().evidence(&counted, &[0.1]).unwrap()[0];
    let log_loss = |t: f64| {
        let loss = |(z, target): (&Vec<f64>, &usize)| {
            let total: f64 = z.iter().map(|v| (v / t).exp()).sum();
            let wanted = |k| if k == *target { 41.0 / 42.0 } else { 1.0 / 42.0 / 3.0 };
            (0..4).map(|k| wanted(k) * (total.ln() - z[k] / t)).sum::<f64>()
        };
        scores.iter().zip(&targets).map(loss).sum::<f64>() / rows.len() as f64
    };
    assert!((log_loss(best.temperature) - best.log_loss).abs() < 1e-9);
    for factor in [0.5, 0.9, 0.99, 1.01, 1.1, 2.0] {
        assert!(log_loss(best.temperature * factor) >= best.log_loss, "{factor}");
    }
}

#[test]
fn equal_rows_and_classes_of_one_row_and_retired_ones_are_no_trouble() {
    let equal: Vec<(usize, Vec<i8>)> = (0..6).map(|n| (n % 2, vec![if n % 2 == 0 { 9 } else { -9 }, 3])).collect();
    let both = moments(&equal);
    let counted: Vec<Counted<'_>> = equal.iter().map(|(class, latent)| Counted { latent, class: *class }).collect();
    for e in LeaveOneOut::slda(&both).unwrap().evidence(&counted, &SHRINKAGES).unwrap() {
        assert!(e.accuracy > 1.0 - 1e-9 && e.rows == 6 && e.log_loss > 0.1, "{e:?}");
    }
    let single = moments(&[(0, vec![1, 2]), (1, vec![3, 4])]);
    let rows = [Counted { latent: &[1, 2], class: 0 }];
    assert_eq!(LeaveOneOut::slda(&single).unwrap().evidence(&rows, &[0.1]).unwrap_err().kind(), ErrorKind::Learn);
    let foreign = [Counted { latent: &[1, 2, 3], class: 0 }, Counted { latent: &[1, 2], class: 9 }];
    for row in foreign {
        assert_eq!(LeaveOneOut::ridge(&both).unwrap().evidence(&[row], &[0.1]).unwrap_err().kind(), ErrorKind::Mismatch);
    }
    let mut block = block(&equal);
    assert!(block.retire(&name(0).retired()));
    let moments = Moments::new(&block, &[SCALE; 2]).unwrap();
    let retired = moments.classes().iter().position(ClassName::is_retired).unwrap();
    let counted: Vec<Counted<'_>> =
        equal.iter().map(|(class, latent)| Counted { latent, class: if *class == 0 { retired } else { 1 - retired } }).collect();
    let evidence = LeaveOneOut::ridge(&moments).unwrap().evidence(&counted, &LAMBDAS).unwrap();
    assert!(evidence.iter().all(|e| e.accuracy > 1.0 - 1e-9 && e.rows == 3), "{evidence:?}");
}

#[test]
fn a_head_is_solved_with_the_parameter_and_temperature_of_least_log_loss() {
    let rows = rows(3, 12, 48);
    let moments = moments(&rows);
    let counted: Vec<Counted<'_>> = rows.iter().map(|(class, latent)| Counted { latent, class: *class }).collect();
    let evidence = LeaveOneOut::slda(&moments).unwrap().evidence(&counted, &SHRINKAGES).unwrap();
    let best = evidence.iter().min_by(|a, b| a.log_loss.total_cmp(&b.log_loss)).unwrap();
    let head = SolvedHead::Slda.solve_by_evidence(&moments, &counted).unwrap();
    let wanted = slda::solve(&moments, best.parameter).unwrap();
    assert_eq!((&head.weights, head.temperature), (&wanted.weights, best.temperature as f32));
    assert!(evidence.iter().any(|e| e.log_loss > best.log_loss * 1.01), "{evidence:?}");
    // Without a row that can be left out there is no evidence.
    for kind in SolvedHead::ALL {
        assert_eq!(kind.solve_by_evidence(&moments, &[]).unwrap(), kind.solve(&moments).unwrap());
    }
}
