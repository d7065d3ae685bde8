//! Distances against their definition, and probabilities against what they were fitted on.

use faer::Mat;
use faer::prelude::Solve;

use super::*;
use crate::head::{Counted, SolvedHead, auto};
use crate::learn::{Block, BlockKind, ClassName, LabelSet};

const DIM: usize = 7;
const SCALE: f32 = 0.05;

fn clouds(classes: usize, seed: u64) -> Vec<(usize, Vec<i8>)> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let means: Vec<Vec<i64>> = (0..classes).map(|_| (0..DIM).map(|_| next() % 120 - 60).collect()).collect();
    (0..classes * 12).map(|n| (n % classes, means[n % classes].iter().map(|m| (m + next() % 41 - 20) as i8).collect())).collect()
}

fn moments(rows: &[(usize, Vec<i8>)]) -> Moments {
    let mut block = Block::new(BlockKind::Latents, DIM).unwrap();
    for (class, latent) in rows {
        block.add(latent, &LabelSet::single(ClassName::new(&format!("class {class}")).unwrap())).unwrap();
    }
    Moments::new(&block, &[SCALE; DIM]).unwrap()
}

fn solve(rows: &[(usize, Vec<i8>)], background: &[&[i8]]) -> (Moments, f64, Unknown) {
    let moments = moments(rows);
    let counted: Vec<Counted<'_>> =
        rows.iter().enumerate().map(|(n, (class, latent))| Counted { latent, class: *class, recording: n as u64 }).collect();
    let chosen = auto::choose(SolvedHead::Slda, &moments, &counted).unwrap().unwrap();
    let unknown = Unknown::solve(&moments, &chosen, background).unwrap();
    (moments, chosen.evidence.parameter, unknown)
}

#[test]
fn the_distance_is_what_its_formula_says() {
    let rows = clouds(4, 3);
    let (moments, shrinkage, unknown) = solve(&rows, &[]);
    let sigma = slda::covariance(&moments, shrinkage).unwrap().partial_piv_lu();
    let means = moments.means();
    for x in [[0.3f32; DIM], [-2.0, 1.0, 0.5, 0.0, 3.0, -1.0, 0.1], [30.0; DIM]] {
        let distance = |class: usize| {
            let away = Mat::from_fn(DIM, 1, |i, _| f64::from(x[i]) - means[class * DIM + i]);
            (away.transpose() * sigma.solve(&away))[(0, 0)]
        };
        let all: Vec<f64> = (0..4).map(distance).collect();
        let nearest = (0..4).min_by(|a, b| all[*a].total_cmp(&all[*b])).unwrap();
        let wanted = all[nearest] - moments.narrowness() * all.iter().sum::<f64>() / 4.0;
        let found = f64::from(unknown.distance(&x, &mut [0.0; 4]));
        assert!((found - wanted).abs() < 1e-3 * (1.0 + all[nearest]), "{found} {wanted}");
    }
}

#[test]
fn rows_of_a_class_that_was_never_taught_are_probably_unknown() {
    let rows = clouds(8, 5);
    let taught: Vec<_> = rows.iter().filter(|r| r.0 < 6).cloned().collect();
    let (moments, _, unknown) = solve(&taught[..60], &[]);
    let sure = |rows: &[&(usize, Vec<i8>)]| {
        let p = rows.iter().map(|r| f64::from(unknown.probability(&moments.values(&r.1), &mut [0.0; 6])));
        p.sum::<f64>() / rows.len() as f64
    };
    let new: Vec<_> = rows.iter().filter(|r| r.0 >= 6).collect();
    let (known, strange) = (sure(&taught[60..].iter().collect::<Vec<_>>()), sure(&new));
    assert!(known < 0.2 && strange > 0.8, "{known} {strange}");
}

#[test]
fn background_that_lies_near_a_class_makes_rows_there_less_certain() {
    let rows = clouds(5, 9);
    let near: Vec<Vec<i8>> = rows[..40].iter().map(|(_, q)| q.iter().map(|q| q / 2 + 8).collect()).collect();
    let background: Vec<&[i8]> = near.iter().map(Vec::as_slice).collect();
    let (moments, _, without) = solve(&rows, &[]);
    let (_, _, with) = solve(&rows, &background);
    let p = |unknown: &Unknown, latent: &[i8]| unknown.probability(&moments.values(latent), &mut [0.0; 5]);
    let mean = |unknown: &Unknown| near.iter().map(|q| p(unknown, q)).sum::<f32>() / near.len() as f32;
    assert!(mean(&with) > mean(&without) + 0.02, "{} {}", mean(&with), mean(&without));
    assert_eq!(with.rows(), without.rows() + 40);
}

#[test]
fn no_other_slope_or_intercept_fits_better() {
    let samples: Vec<(f64, bool, f64)> =
        (0..40).map(|n| (f64::from(n * n % 23) * 7.0, n * n % 23 + n % 7 > 13, 1.0 + f64::from(n % 3))).collect();
    let (slope, intercept) = logistic(&samples);
    let deviation = {
        let total: f64 = samples.iter().map(|s| s.2).sum();
        let mean = samples.iter().map(|s| s.0 * s.2).sum::<f64>() / total;
        (samples.iter().map(|s| (s.0 - mean).powi(2) * s.2).sum::<f64>() / total).sqrt()
    };
    let loss = |slope: f64, intercept: f64| {
        let total: f64 = samples.iter().map(|s| s.2).sum();
        let doubt = 1.0 / 22.0;
        let of = |(u, unknown, w): &(f64, bool, f64)| {
            let p = 1.0 / (1.0 + (-(slope * u + intercept)).exp());
            let t = if *unknown { 1.0 - doubt } else { doubt };
            -w / total * (t * p.ln() + (1.0 - t) * (1.0 - p).ln())
        };
        samples.iter().map(of).sum::<f64>() + (slope * deviation).powi(2) / 80.0
    };
    let best = loss(slope, intercept);
    assert!(slope > 0.0);
    for (a, b) in [(0.9, 0.0), (1.1, 0.0), (1.0, 0.1), (1.0, -0.1), (1.05, -0.05)] {
        assert!(loss(slope * a, intercept + b) > best, "{a} {b}");
    }
}

#[test]
fn samples_of_one_kind_alone_say_nothing() {
    assert_eq!(logistic(&[(1.0, true, 1.0), (2.0, true, 1.0)]), (0.0, 0.0));
    assert_eq!(logistic(&[(1.0, false, 1.0), (1.0, true, 1.0)]), (0.0, 0.0));
}
