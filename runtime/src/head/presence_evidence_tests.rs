//! Margins in closed form against discriminants that are really solved without the recording.

use proptest::prelude::*;

use super::*;
use crate::head::slda;
use crate::learn::{Block, BlockKind};

const SCALE: f32 = 0.05;

fn name(class: usize) -> ClassName {
    ClassName::new(["ant", "bee", "cat", "dog"][class]).unwrap()
}

/// Rows of one class, of two, of none, of one and not of another, and of none that is named, in turn.
fn labels(n: usize) -> LabelSet {
    let set = |positive: &[usize], negative: &[usize]| {
        let names = |of: &[usize]| of.iter().map(|c| name(*c)).collect();
        LabelSet::new(names(positive), names(negative)).unwrap()
    };
    match n % 7 {
        0..=3 => set(&[n % 7], &[]),
        4 => set(&[n % 4, (n + 1) % 4], &[]),
        5 => set(&[n % 4], &[(n + 2) % 4]),
        _ if n.is_multiple_of(2) => set(&[], &[n / 2 % 4]),
        _ => LabelSet::background(),
    }
}

fn rows(seed: u64, dim: usize, count: usize) -> Vec<(LabelSet, Vec<i8>)> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    (0..count).map(|n| (labels(n), (0..dim).map(|i| (next() % 60 - 30 + (n % 7 * (i + 1) * 5) as i64 % 23) as i8).collect())).collect()
}

fn sums<'a>(rows: impl Iterator<Item = &'a (LabelSet, Vec<i8>)>, dim: usize) -> LabelMoments {
    let mut blocks = [BlockKind::Latents, BlockKind::Mixed, BlockKind::Background].map(|kind| Block::new(kind, dim).unwrap());
    for (labels, latent) in rows {
        blocks.iter_mut().find(|b| b.kind() == labels.block_kind()).unwrap().add(latent, labels).unwrap();
    }
    LabelMoments::new(&blocks.iter().collect::<Vec<_>>(), &vec![SCALE; dim]).unwrap()
}

fn set_rows<'a>(rows: &'a [(LabelSet, Vec<i8>)], recordings: &[u64]) -> Vec<SetRow<'a>> {
    rows.iter().zip(recordings).map(|((labels, latent), recording)| SetRow { latent, labels, recording: *recording }).collect()
}

/// The margin of `latent` for `class` by a discriminant of `rows`; none where the class or its rest is not there.
fn by_definition(sums: &LabelMoments, latent: &[i8], class: &ClassName, shrinkage: f64) -> Option<f64> {
    let of = sums.classes.iter().find(|c| c.name == *class)?;
    let (n, all) = (of.n, sums.total.rows());
    let mean: Vec<f64> = of.sum.iter().map(|s| s / n).collect();
    let rest: Vec<f64> = of.sum.iter().zip(&sums.sum).map(|(s, t)| (t - s) / (all - n)).collect();
    let column = |at: &dyn Fn(usize) -> f64| Mat::from_fn(latent.len(), 1, |i, _| at(i));
    let apart = column(&|i| mean[i] - rest[i]);
    let w = slda::covariance(&sums.total, shrinkage).unwrap().partial_piv_lu().solve(&apart);
    let from_middle = column(&|i| f64::from(latent[i]) * f64::from(SCALE) - 0.5 * (mean[i] + rest[i]));
    // Where both means are one, as of a few rows in two dimensions, there is no margin: their sums are whole steps.
    let steps = |sum: &[f64], n: f64| -> Vec<f64> { sum.iter().map(|s| (s / f64::from(SCALE)).round() * n).collect() };
    let rest: Vec<f64> = of.sum.iter().zip(&sums.sum).map(|(s, t)| t - s).collect();
    let is_one = steps(&of.sum, all - n) == steps(&rest, n);
    Some(if is_one { 0.0 } else { (w.transpose() * from_middle)[(0, 0)] / (w.transpose() * apart)[(0, 0)] })
}

proptest! {
    #[test]
    fn leaving_a_recording_out_in_closed_form_gives_the_margins_of_heads_solved_without_it(
        seed in any::<u64>(), dim in 2..8usize, count in 21..50usize, per_recording in 1..3usize, shrinkage in 0.01..1.0f64
    ) {
        let rows = rows(seed, dim, count);
        let recordings: Vec<u64> = (0..count).map(|n| (n / per_recording) as u64).collect();
        let found = margins(&sums(rows.iter(), dim), &set_rows(&rows, &recordings), &[shrinkage]).unwrap().remove(0);
        let whole = sums(rows.iter(), dim);
        let mut judged = 0;
        for n in 0..count {
            let without = sums(rows.iter().zip(&recordings).filter(|(_, r)| **r != recordings[n]).map(|(row, _)| row), dim);
            for (c, class) in whole.classes.iter().enumerate() {
                let at = found.iter().find(|m| (m.0, m.1) == (n, c));
                let (positive, negative) = (rows[n].0.positive(), rows[n].0.negative());
                let is_said = positive.contains(&class.name) || negative.contains(&class.name) || !positive.is_empty() || negative.is_empty();
                let wanted = by_definition(&without, &rows[n].1, &class.name, shrinkage).filter(|_| is_said);
                prop_assert_eq!(at.is_some(), wanted.is_some());
                if let (Some((_, _, z, is)), Some(wanted)) = (at, wanted) {
                    prop_assert!((z - wanted).abs() <= 1e-5 * (1.0 + wanted.abs()), "{n} {c}: {z} {wanted}");
                    prop_assert_eq!(*is, positive.contains(&class.name));
                    judged += 1;
                }
            }
        }
        prop_assert_eq!(judged, found.len());
    }
}

#[test]
fn equal_rows_and_recordings_too_long_to_judge_are_no_trouble() {
    let equal: Vec<(LabelSet, Vec<i8>)> = (0..14).map(|n| (labels(n), vec![7, -3])).collect();
    let alone: Vec<u64> = (0..14).collect();
    let found = margins(&sums(equal.iter(), 2), &set_rows(&equal, &alone), &SHRINKAGES).unwrap();
    assert!(found.iter().flatten().all(|m| m.2.is_finite()) && !found[0].is_empty());
    assert_eq!(calibrate(&sums(equal.iter(), 2), &set_rows(&equal, &alone)).unwrap(), None);
    // Three rows of two dimensions.
    let long: Vec<u64> = (0..14).map(|n| n / 3).collect();
    let found = margins(&sums(equal.iter(), 2), &set_rows(&equal, &long), &[0.1]).unwrap();
    assert!(found[0].iter().all(|m| m.0 >= 12), "{found:?}");
}

#[test]
fn rows_that_the_sums_do_not_count_are_refused() {
    let rows = rows(1, 2, 8);
    let many = vec![rows[0].clone(); 9];
    let foreign = vec![(labels(0), vec![1, 2, 3])];
    for bad in [many, foreign] {
        let error = margins(&sums(rows.iter(), 2), &set_rows(&bad, &[0; 9]), &[0.1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
    }
}
