//! A head over random features, alone and in a pool.

use super::*;
use crate::ErrorKind;
use crate::head::{Head, LatentHead, auto};
use crate::learn::{BlockKind, ClassName, LabelSet};

const DIM: usize = 6;
const SCALE: [f32; DIM] = [0.05, 0.1, 0.03, 0.07, 0.05, 0.2];

/// Rows of two classes that no line tells apart (opposite corners of a square), four recordings a corner, three rows a recording.
fn rows() -> Vec<(usize, u64, Vec<i8>)> {
    let mut state = 11u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let mut out = Vec::new();
    for recording in 0..16u64 {
        let (a, b) = (recording % 2, recording / 2 % 2);
        let side = |s: u64| if s == 0 { -60 } else { 60 };
        for _ in 0..3 {
            let mut latent: Vec<i8> = (0..DIM).map(|_| (next() % 21 - 10) as i8).collect();
            (latent[0], latent[1]) = (latent[0] + side(a), latent[1] + side(b));
            out.push(((a ^ b) as usize, recording, latent));
        }
    }
    out
}

fn block(rows: &[(usize, u64, Vec<i8>)], dim: usize, of: impl Fn(&[i8]) -> Vec<i8>) -> Block {
    let mut block = Block::new(BlockKind::Latents, dim).unwrap();
    for (class, _, latent) in rows {
        block.add(&of(latent), &LabelSet::single(ClassName::new(["ant", "bee"][*class]).unwrap())).unwrap();
    }
    block
}

fn features() -> RandomFeatures {
    RandomFeatures::new(DIM, 64, 3, 2).unwrap()
}

fn expanded(features: &RandomFeatures, latent: &[i8]) -> Vec<i8> {
    let mut out = vec![0; features.features()];
    features.expand(latent, &mut out);
    out
}

fn counted(rows: &[(usize, u64, Vec<i8>)]) -> Vec<Counted<'_>> {
    rows.iter().map(|(class, recording, latent)| Counted { latent, class: *class, recording: *recording }).collect()
}

fn scores(head: &LinearHead, latent: &[i8], scale: &[f32]) -> Vec<f32> {
    let x: Vec<f32> = latent.iter().zip(scale).map(|(q, s)| f32::from(*q) * s).collect();
    let mut z = vec![0.0; head.classes.len()];
    head.scores(&x, &mut z);
    let mut of_latent = vec![0.0; head.classes.len()];
    LatentHead::new(head, scale).scores(latent, &mut of_latent);
    assert!(z.iter().zip(&of_latent).all(|(z, l)| (z - l).abs() < 1e-4), "{z:?} {of_latent:?}");
    z
}

#[test]
fn its_scores_are_those_of_ridge_on_the_features() {
    let (rows, features) = (rows(), features());
    let of_features = block(&rows, 64, |q| expanded(&features, q));
    let head = Expanded::new(&features, &of_features, &SCALE).unwrap().solve_by_evidence(&counted(&rows)).unwrap();
    head.validate(DIM).unwrap();
    let latents: Vec<Vec<i8>> = rows.iter().map(|r| expanded(&features, &r.2)).collect();
    let pairs = rows.iter().zip(&latents);
    let own: Vec<Counted<'_>> = pairs.map(|(r, latent)| Counted { latent, class: r.0, recording: r.1 }).collect();
    let ridge = SolvedHead::Ridge.solve_by_evidence(&features.moments(&of_features).unwrap(), &own).unwrap();
    assert_eq!((head.name.as_str(), head.temperature), ("rf", ridge.temperature));
    for (row, latent) in rows.iter().zip(&latents) {
        let (z, wanted) = (scores(&head, &row.2, &SCALE), scores(&ridge, latent, &[STEP; 64]));
        assert!(z.iter().zip(&wanted).all(|(z, w)| (z - w).abs() < 1e-4), "{z:?} {wanted:?}");
        assert!(z[row.0] > z[1 - row.0], "{row:?} {z:?}");
    }
}

#[test]
fn every_latent_is_recovered_from_its_embedding_at_any_scale() {
    // One feature of the one component, with k = 1: the score is max(q, 0) or max(-q, 0).
    for scale in [f32::from_bits(1), 1e-39, f32::MIN_POSITIVE, 1e-7, 0.1, 1.0 / 3.0, 0.013_579, 77.7, f32::MAX / 128.0] {
        for seed in 0..4 {
            let features = RandomFeatures::new(1, 1, seed, 1).unwrap();
            let expansion = Expansion { features: features.clone(), scale: vec![scale], weights: vec![1.0] };
            for q in -127..=127i8 {
                let mut z = [0.0];
                expansion.add_scores(&[f32::from(q) * scale], &mut z);
                assert_eq!(z[0], f32::from(expanded(&features, &[q])[0]), "{scale:e} {q}");
            }
        }
    }
}

#[test]
fn embeddings_beyond_the_range_are_clipped_as_the_quantiser_clips_them() {
    // Of 64 features of two components some add a clipped one.
    let features = RandomFeatures::new(2, 64, 0, 4).unwrap();
    let sum = |latent: [i8; 2]| expanded(&features, &latent).iter().map(|f| f32::from(*f)).sum::<f32>();
    let expansion = Expansion { features: features.clone(), scale: vec![0.5; 2], weights: vec![1.0; 64] };
    let at = |x: [f32; 2]| {
        let mut z = [0.0];
        expansion.add_scores(&x, &mut z);
        z[0]
    };
    assert_eq!(at([1e9, f32::NEG_INFINITY]), sum([127, -127]));
    assert_eq!(at([0.24, f32::NAN]), sum([0, 0]));
}

#[test]
fn a_pool_with_features_is_the_sum_of_three_members_and_tells_what_no_line_does() {
    let (rows, features) = (rows(), features());
    let moments = Moments::new(&block(&rows, DIM, <[i8]>::to_vec), &SCALE).unwrap();
    let of_features = block(&rows, 64, |q| expanded(&features, q));
    let third = Expanded::new(&features, &of_features, &SCALE).unwrap();
    let with = auto::solve(&moments, &counted(&rows), &[], Some(&third)).unwrap();
    let without = auto::solve(&moments, &counted(&rows), &[], None).unwrap();
    with.head.validate(DIM).unwrap();
    assert_eq!(with.members.iter().map(|m| m.name.as_ref()).collect::<Vec<_>>(), ["slda", "ridge", "rf"]);
    assert!((with.members.iter().map(|m| m.weight).sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(without.head.expansion.is_none() && without.members.len() == 2);
    assert!(with.evidence.unwrap().accuracy > 0.99 && without.evidence.unwrap().accuracy < 0.8, "{:?} {:?}", with.members, without.members);
    let kinds = [SolvedHead::Slda, SolvedHead::Ridge];
    let mut heads: Vec<LinearHead> = kinds.iter().zip(&with.members).map(|(k, m)| k.solve_with(&moments, m.parameter).unwrap()).collect();
    heads.push(third.over_embeddings(SolvedHead::Ridge.solve_with(third.moments(), with.members[2].parameter).unwrap()));
    for row in &rows {
        let z = scores(&with.head, &row.2, &SCALE);
        let gap = |z: &[f32]| f64::from(z[0] - z[1]);
        let sum: f64 = heads.iter().zip(&with.members).map(|(h, m)| m.weight / m.temperature * gap(&scores(h, &row.2, &SCALE))).sum();
        // The weights' sum is the inverse temperature of the pool.
        let first = &rows[0].2;
        let of_first: f64 = heads.iter().zip(&with.members).map(|(h, m)| m.weight / m.temperature * gap(&scores(h, first, &SCALE))).sum();
        let factor = gap(&scores(&with.head, first, &SCALE)) / of_first;
        assert!((gap(&z) - factor * sum).abs() < 1e-3 * gap(&z).abs().max(1.0), "{z:?} {sum} {factor}");
    }
    // With nobody to judge, all three weigh the same.
    let even = auto::solve(&moments, &[], &[], Some(&third)).unwrap();
    assert!(even.evidence.is_none() && even.members.iter().all(|m| (m.weight - 1.0 / 3.0).abs() < 1e-12));
}

#[test]
fn features_of_other_rows_or_dimensions_are_refused() {
    let (rows, features) = (rows(), features());
    let moments = Moments::new(&block(&rows, DIM, <[i8]>::to_vec), &SCALE).unwrap();
    let fewer = block(&rows[1..], 64, |q| expanded(&features, q));
    let third = Expanded::new(&features, &fewer, &SCALE).unwrap();
    let e = auto::solve(&moments, &counted(&rows), &[], Some(&third)).unwrap_err();
    assert!(e.kind() == ErrorKind::Mismatch && e.to_string().contains("not of the same rows"), "{e}");
    let short = [Counted { latent: &[1], class: 0, recording: 0 }];
    assert_eq!(third.solve_by_evidence(&short).unwrap_err().kind(), ErrorKind::Mismatch);
    assert_eq!(Expanded::new(&features, &fewer, &SCALE[1..]).unwrap_err().kind(), ErrorKind::Mismatch);
    let other = block(&rows, DIM, <[i8]>::to_vec);
    assert_eq!(Expanded::new(&features, &other, &SCALE).unwrap_err().kind(), ErrorKind::Mismatch);
}

#[test]
fn a_stored_expansion_is_checked_before_use() {
    let (rows, features) = (rows(), features());
    let of_features = block(&rows, 64, |q| expanded(&features, q));
    let good = Expanded::new(&features, &of_features, &SCALE).unwrap().solve_by_evidence(&[]).unwrap();
    let bytes = postcard::to_stdvec(&good).unwrap();
    assert_eq!(postcard::from_bytes::<LinearHead>(&bytes).unwrap(), good);
    let spoil: [fn(&mut Expansion); 7] = [
        |e| e.weights.push(0.0),
        |e| e.scale.clear(),
        |e| e.features = RandomFeatures::new(DIM + 1, 64, 3, 2).unwrap(),
        |e| e.weights[1] = f32::INFINITY,
        |e| e.scale[0] = 0.0,
        |e| e.scale[0] = f32::NAN,
        |e| e.scale[0] = f32::MAX,
    ];
    for spoil in spoil {
        let mut bad = good.clone();
        spoil(bad.expansion.as_mut().unwrap());
        assert_eq!(bad.validate(DIM).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
