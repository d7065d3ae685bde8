//! Scores in closed form against heads that are really solved without the recording.

use proptest::prelude::*;

use super::*;
use crate::head::{Head, ridge, slda};
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

/// Scores of every row by a head that is solved without its recording, and `x^T Sigma^-1 x` for slda.
fn by_definition(rows: &[(usize, Vec<i8>)], recordings: &[u64], parameter: f64, is_ridge: bool) -> Vec<(Vec<f32>, f64)> {
    let of_row = |n: usize| {
        let others: Vec<_> = rows.iter().zip(recordings).filter(|(_, r)| **r != recordings[n]).map(|(r, _)| r.clone()).collect();
        let without = moments(&others);
        let head = if is_ridge { ridge::solve(&without, parameter) } else { slda::solve(&without, parameter) }.unwrap();
        let x: Vec<f32> = rows[n].1.iter().map(|q| f32::from(*q) * SCALE).collect();
        let mut z = vec![0.0; head.classes.len()];
        head.scores(&x, &mut z);
        let x = Mat::from_fn(x.len(), 1, |i, _| f64::from(x[i]));
        let square = slda::covariance(&without, parameter).unwrap().partial_piv_lu().solve(&x);
        (z, (x.transpose() * square)[(0, 0)])
    };
    (0..rows.len()).map(of_row).collect()
}

fn counted<'a>(rows: &'a [(usize, Vec<i8>)], recordings: &[u64]) -> Vec<Counted<'a>> {
    rows.iter().zip(recordings).map(|((class, latent), recording)| Counted { latent, class: *class, recording: *recording }).collect()
}

proptest! {
    #[test]
    fn leaving_a_recording_out_in_closed_form_scores_its_rows_as_the_head_solved_without_it(
        seed in any::<u64>(), dim in 1..9usize, count in 16..40usize, per_recording in 1..6usize, is_mixed in any::<bool>(),
        parameter in 0.001..1.0f64, is_ridge in any::<bool>()
    ) {
        let rows = rows(seed, dim, count);
        // Neighbours are of other classes; rows that are four apart are of one class.
        let recording = |n: usize| if is_mixed { n / per_recording } else { n % 4 * 100 + n / 4 / per_recording } as u64;
        let recordings: Vec<u64> = (0..count).map(recording).collect();
        let moments = moments(&rows);
        let counted = counted(&rows, &recordings);
        let left_out = if is_ridge { LeaveOut::ridge(&moments) } else { LeaveOut::slda(&moments) }.unwrap();
        let judged = left_out.judged(&counted).unwrap();
        for (n, row) in rows.iter().enumerate() {
            let others = |class: usize| (0..count).any(|i| rows[i].0 == class && recordings[i] != recordings[n]);
            let all_left = (0..count).filter(|i| recordings[*i] == recordings[n]).all(|i| others(rows[i].0));
            prop_assert_eq!(judged.contains(&n), all_left, "{} {:?}", n, row);
        }
        prop_assume!(judged.len() == count);
        let found = &left_out.scores(&counted, &[parameter]).unwrap()[0];
        let wanted = by_definition(&rows, &recordings, parameter, is_ridge);
        for (n, (z, square)) in wanted.iter().enumerate() {
            // Heads hold f32.
            let size = z.iter().fold(1f32, |s, z| s.max(z.abs()));
            for (f, w) in found.z[n * 4..][..4].iter().zip(z) {
                prop_assert!((f - f64::from(*w)).abs() <= 2e-3 * f64::from(size), "{n}: {found:?} {z:?}");
            }
            prop_assert!(is_ridge || (found.squares[n] - square).abs() <= 1e-4 * square, "{} {square}", found.squares[n]);
        }
    }
}

#[test]
fn equal_rows_and_classes_of_one_row_and_retired_ones_are_no_trouble() {
    let equal: Vec<(usize, Vec<i8>)> = (0..6).map(|n| (n % 2, vec![if n % 2 == 0 { 9 } else { -9 }, 3])).collect();
    let both = moments(&equal);
    let alone: Vec<u64> = (0..6).collect();
    for scores in LeaveOut::slda(&both).unwrap().scores(&counted(&equal, &alone), &[0.0, 0.1, 1.0]).unwrap() {
        let right = |n: usize| scores.z[n * 2 + n % 2] > scores.z[n * 2 + 1 - n % 2];
        assert!((0..6).all(right) && scores.z.iter().all(|z| z.is_finite()), "{scores:?}");
    }
    let single = moments(&[(0, vec![1, 2]), (1, vec![3, 4])]);
    let row = Counted { latent: &[1, 2], class: 0, recording: 0 };
    assert!(LeaveOut::slda(&single).unwrap().judged(&[row]).unwrap().is_empty());
    let mut block = block(&equal);
    assert!(block.retire(&name(0).retired()));
    let moments = Moments::new(&block, &[SCALE; 2]).unwrap();
    let retired = moments.classes().iter().position(ClassName::is_retired).unwrap();
    let class = |class: usize| if class == 0 { retired } else { 1 - retired };
    let rows: Vec<Counted<'_>> = equal.iter().map(|(c, latent)| Counted { latent, class: class(*c), recording: 0 }).collect();
    let rows: Vec<Counted<'_>> = rows.iter().enumerate().map(|(n, r)| Counted { recording: n as u64, ..*r }).collect();
    let left_out = LeaveOut::ridge(&moments).unwrap();
    assert_eq!(left_out.judged(&rows).unwrap(), [1, 3, 5]);
    assert_eq!(left_out.scores(&rows, &[0.1]).unwrap()[0].classes, 1);
}

#[test]
fn rows_that_the_moments_do_not_count_are_refused() {
    let both = moments(&rows(1, 2, 8));
    let twice = [Counted { latent: &[1, 2], class: 0, recording: 0 }; 3];
    let foreign = [Counted { latent: &[1, 2, 3], class: 0, recording: 0 }];
    let unknown = [Counted { latent: &[1, 2], class: 9, recording: 0 }];
    for rows in [&twice[..], &foreign, &unknown] {
        assert_eq!(LeaveOut::ridge(&both).unwrap().scores(rows, &[0.1]).unwrap_err().kind(), ErrorKind::Mismatch);
    }
}
