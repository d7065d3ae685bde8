//! Random features against an independent implementation, and what blocks over them promise.

use super::*;
use crate::learn::{BlockKind, ClassName, LabelSet};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    fields: [u64; 4],
    calibrated: u32,
    latents: Vec<Vec<i8>>,
    features: Vec<Vec<i8>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/random_features.json")).unwrap()
}

fn expanded(features: &RandomFeatures, latent: &[i8]) -> Vec<i8> {
    let mut out = vec![-1; features.features()];
    features.expand(latent, &mut out);
    out
}

#[test]
fn features_and_divisors_are_those_of_another_implementation() {
    for Case { fields: [dim, count, seed, divisor], calibrated, latents, features } in golden().cases {
        let made = RandomFeatures::new(dim as usize, count as usize, seed, divisor as u32).unwrap();
        for (latent, wanted) in latents.iter().zip(&features) {
            assert_eq!(&expanded(&made, latent), wanted, "D={dim} F={count}");
        }
        let rows: Vec<&[i8]> = latents.iter().map(Vec::as_slice).collect();
        let made = RandomFeatures::calibrated(dim as usize, count as usize, seed, &rows).unwrap();
        assert_eq!(made.divisor(), calibrated, "D={dim} F={count}");
    }
}

#[test]
fn a_block_of_features_is_the_same_in_any_order_and_partition_and_gives_rows_back() {
    let Case { fields: [dim, count, seed, divisor], latents, .. } = golden().cases.swap_remove(0);
    let made = RandomFeatures::new(dim as usize, count as usize, seed, divisor as u32).unwrap();
    let block = |rows: &[usize]| {
        let mut block = Block::new(BlockKind::Latents, made.features()).unwrap();
        for row in rows {
            let class = ClassName::new(["ant", "bee"][row % 2]).unwrap();
            block.add(&expanded(&made, &latents[*row]), &LabelSet::single(class)).unwrap();
        }
        block
    };
    let all: Vec<usize> = (0..latents.len()).collect();
    let whole = block(&all);
    let mut parts = block(&all.iter().rev().copied().filter(|i| i % 3 == 0).collect::<Vec<_>>());
    parts.merge(&block(&all.iter().copied().filter(|i| i % 3 != 0).collect::<Vec<_>>())).unwrap();
    assert_eq!(parts.to_canonical_bytes(), whole.to_canonical_bytes());
    parts.subtract(&expanded(&made, &latents[1]), &LabelSet::single(ClassName::new("bee").unwrap())).unwrap();
    assert_eq!(parts, block(&all.iter().copied().filter(|i| *i != 1).collect::<Vec<_>>()));
}

#[test]
fn extreme_latents_stay_within_0_and_127() {
    for (dim, count) in [(1, 1), (3, DIM_MAX), (31, 7), (32, 7), (33, 7), (DIM_MAX, 100), (100, DIM_MAX)] {
        for divisor in [1, SUM_MAX] {
            let made = RandomFeatures::new(dim, count, 5, divisor).unwrap();
            for value in [-128, -127, 0, 127] {
                let out = expanded(&made, &vec![value; dim]);
                assert!(out.iter().all(|f| *f >= 0), "D={dim} F={count} q={value}");
                assert!(value != 0 || out.iter().all(|f| *f == 0));
            }
            // Components with the signs of the first feature reach the largest sum there is.
            let mut latent = vec![0; dim];
            made.entries[..entries(dim)].iter().for_each(|e| latent[usize::from(e >> 1)] = if e & 1 == 1 { -127 } else { 127 });
            let wanted = (entries(dim) as u32 * 127 / divisor).min(127) as i8;
            assert_eq!(expanded(&made, &latent)[0], wanted, "D={dim} k={divisor}");
        }
    }
}

#[test]
fn a_feature_adds_distinct_components_and_a_seed_is_another_draw() {
    let made = RandomFeatures::new(40, 500, 9, 3).unwrap();
    for feature in made.entries.chunks_exact(ENTRIES) {
        let mut components: Vec<u16> = feature.iter().map(|e| e >> 1).collect();
        components.sort_unstable();
        components.dedup();
        assert!(components.len() == ENTRIES && components.iter().all(|c| *c < 40), "{feature:?}");
    }
    let negative = made.entries.iter().filter(|e| *e & 1 == 1).count() as f64 / made.entries.len() as f64;
    assert!((negative - 0.5).abs() < 0.02, "{negative}");
    assert_ne!(made.entries, RandomFeatures::new(40, 500, 10, 3).unwrap().entries);
}

#[test]
fn each_of_the_four_numbers_changes_the_digest() {
    let made = |d, f, s, k| RandomFeatures::new(d, f, s, k).unwrap();
    let all = [made(40, 50, 9, 3), made(41, 50, 9, 3), made(40, 51, 9, 3), made(40, 50, 8, 3), made(40, 50, 9, 4)];
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            assert_eq!((a == b, a.digest() == b.digest()), (i == j, i == j));
        }
    }
    assert_eq!(made(40, 50, 9, 3).digest(), all[0].digest());
}

#[test]
fn what_is_read_is_what_was_written_and_numbers_out_of_range_are_refused() {
    let made = RandomFeatures::new(40, 50, 9, 3).unwrap();
    let bytes = postcard::to_stdvec(&made).unwrap();
    assert_eq!(bytes, postcard::to_stdvec(&(40u32, 50u32, 9u64, 3u32)).unwrap());
    assert_eq!(postcard::from_bytes::<RandomFeatures>(&bytes).unwrap(), made);
    for (d, f, k) in [(0, 1, 1), (8193, 1, 1), (1, 0, 1), (1, 8193, 1), (1, 1, 0), (1, 1, SUM_MAX + 1), (u32::MAX, u32::MAX, u32::MAX)] {
        let e = RandomFeatures::new(d as usize, f as usize, 0, k).unwrap_err();
        assert!(e.kind() == ErrorKind::Config && e.to_string().contains("random features are out of range"), "{e}");
        assert!(postcard::from_bytes::<RandomFeatures>(&postcard::to_stdvec(&(d, f, 0u64, k)).unwrap()).is_err());
    }
}

#[test]
fn the_divisor_follows_the_bits_or_the_rows_to_calibrate_by() {
    assert_eq!([4, 5, 6, 7, 8].map(divisor), [1, 1, 1, 2, 3]);
    let of = |rows: &[&[i8]]| RandomFeatures::calibrated(4, 8, 1, rows).unwrap().divisor();
    assert_eq!(of(&[]), divisor(8));
    assert_eq!(of(&[&[0; 4]]), 1);
    assert_eq!(of(&[&[127, 0, 0, 0]]), 1);
    // All four components count in every feature: |R q| is 0 or an even multiple of 127, at most 508.
    assert!(of(&[&[127; 4]]) >= 2 && of(&[&[127; 4]]) <= 4);
    let wrong = RandomFeatures::calibrated(4, 8, 1, &[&[1; 3]]).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Mismatch);
    let block = Block::new(BlockKind::Latents, 7).unwrap();
    assert_eq!(RandomFeatures::new(4, 8, 1, 3).unwrap().moments(&block).unwrap_err().kind(), ErrorKind::Mismatch);
}
