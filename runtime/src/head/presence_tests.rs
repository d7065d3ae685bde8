//! What is present and what is vetoed, on clouds of rows.

use super::*;
use crate::ErrorKind;
use crate::learn::{Block, BlockKind, LabelSet};

const DIM: usize = 8;
const SCALE: [f32; DIM] = [0.05; DIM];

fn set(positive: &[&str], negative: &[&str]) -> LabelSet {
    let names = |names: &[&str]| names.iter().map(|n| ClassName::new(n).unwrap()).collect();
    LabelSet::new(names(positive), names(negative)).unwrap()
}

/// Rows around the sum of the places of what is heard in them.
fn rows(heard: &[&str], labels: &LabelSet, count: usize, seed: u64) -> Vec<(LabelSet, Vec<i8>)> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let place = |class: &str| ["wren", "robin", "jay", "saw"].iter().position(|n| *n == class).unwrap();
    let value = |i: usize, noise: i64| heard.iter().map(|c| if i % 4 == place(c) { 60 } else { 0 }).sum::<i64>() + noise % 31 - 15;
    (0..count).map(|_| (labels.clone(), (0..DIM).map(|i| value(i, next()) as i8).collect())).collect()
}

fn singles() -> Vec<(LabelSet, Vec<i8>)> {
    (1..).zip(["wren", "robin", "jay"]).flat_map(|(seed, c)| rows(&[c], &set(&[c], &[]), 12, seed)).collect()
}

fn solve(rows: &[(LabelSet, Vec<i8>)], is_several: bool) -> Option<Presence> {
    let mut blocks = [BlockKind::Latents, BlockKind::Mixed].map(|kind| Block::new(kind, DIM).unwrap());
    rows.iter().for_each(|(l, q)| blocks.iter_mut().find(|b| b.kind() == l.block_kind()).unwrap().add(q, l).unwrap());
    let sums = LabelMoments::new(&[&blocks[0], &blocks[1]], &SCALE).unwrap();
    let held: Vec<SetRow<'_>> = (0..).zip(rows).map(|(recording, (labels, latent))| SetRow { latent, labels, recording }).collect();
    Presence::solve(&sums, &Moments::new(&blocks[0], &SCALE).unwrap(), &held, is_several).unwrap()
}

fn values(latent: &[i8]) -> Vec<f32> {
    latent.iter().zip(SCALE).map(|(q, s)| f32::from(*q) * s).collect()
}

/// Mean probability that `class` is present.
fn present(presence: &Presence, rows: &[(LabelSet, Vec<i8>)], class: &str) -> f32 {
    let c = presence.classes().iter().position(|n| n.as_str() == class).unwrap();
    let mut p = vec![0.0; presence.classes().len()];
    let of = |row: &(LabelSet, Vec<i8>)| {
        presence.probabilities(&values(&row.1), &mut p);
        p[c]
    };
    rows.iter().map(of).sum::<f32>() / rows.len() as f32
}

#[test]
fn both_classes_of_a_new_mixture_are_present_and_the_third_is_not() {
    let mut learned = singles();
    learned.extend(rows(&["wren", "robin"], &set(&["wren", "robin"], &[]), 8, 9));
    let presence = solve(&learned, true).unwrap();
    let new = rows(&["wren", "robin"], &set(&["wren", "robin"], &[]), 10, 77);
    let p = ["wren", "robin", "jay"].map(|c| present(&presence, &new, c));
    assert!(p[0] > 0.6 && p[1] > 0.6 && p[2] < 0.2, "{p:?}");
    let jay = rows(&["jay"], &set(&["jay"], &[]), 10, 78);
    let p = ["wren", "robin", "jay"].map(|c| present(&presence, &jay, c));
    assert!(p[0] < 0.3 && p[1] < 0.3 && p[2] > 0.7, "{p:?}");
}

#[test]
fn a_class_that_only_mixtures_have_is_told() {
    let mut learned = singles();
    learned.extend(rows(&["saw", "robin"], &set(&["saw", "robin"], &[]), 8, 9));
    let presence = solve(&learned, true).unwrap();
    assert_eq!(presence.classes().iter().map(ClassName::as_str).collect::<Vec<_>>(), ["jay", "robin", "saw", "wren"]);
    let p = ["saw", "jay"].map(|c| present(&presence, &rows(&["saw", "robin"], &LabelSet::background(), 10, 5), c));
    assert!(p[0] > 0.6 && p[1] < 0.2, "{p:?}");
}

#[test]
fn what_was_said_not_to_be_a_class_is_vetoed_and_true_windows_are_not() {
    let mut learned = singles();
    learned.extend(rows(&["wren", "saw"], &set(&[], &["wren"]), 3, 4));
    let presence = solve(&learned, false).unwrap();
    assert!(presence.present.is_none(), "one label a row: what classifies says it");
    let names = singles().iter().map(|r| r.0.positive().first().unwrap().clone()).collect::<std::collections::BTreeSet<_>>();
    let names: Vec<ClassName> = names.into_iter().collect();
    let left = |heard: &[&str]| {
        let x = values(&rows(heard, &LabelSet::background(), 1, 55)[0].1);
        let mut p = vec![0.2, 0.2, 0.6];
        presence.veto(&x, &names, &mut p);
        assert_eq!(p[..2], [0.2, 0.2], "others keep theirs");
        p[2] / 0.6
    };
    assert!(left(&["wren", "saw"]) < 0.1 && left(&["wren"]) > 0.9, "{} {}", left(&["wren", "saw"]), left(&["wren"]));
}

#[test]
fn a_row_that_is_one_class_and_not_another_does_both() {
    let mut learned = singles();
    learned.extend(rows(&["robin", "saw"], &set(&["robin"], &["wren"]), 4, 4));
    let presence = solve(&learned, false).unwrap();
    assert_eq!(presence.vetoes.as_ref().unwrap().classes, [ClassName::new("wren").unwrap()]);
    let without = solve(&singles(), true).unwrap();
    let with = solve(&learned, true).unwrap();
    let new = rows(&["robin", "saw"], &LabelSet::background(), 10, 31);
    assert!(present(&with, &new, "robin") > present(&without, &new, "robin"));
    assert!(present(&with, &new, "wren") < 0.2);
}

#[test]
fn the_veto_is_the_posterior_of_two_gaussians_and_its_bias_that_of_a_small_mean() {
    let mut learned = singles();
    learned.extend(rows(&["wren", "saw"], &set(&[], &["wren"]), 3, 4));
    let veto = solve(&learned, false).unwrap().vetoes.unwrap();
    let mean = |from: std::ops::Range<usize>| -> Vec<f64> {
        let n = from.len() as f64;
        (0..DIM).map(|i| learned[from.clone()].iter().map(|r| f64::from(r.1[i]) * f64::from(SCALE[i])).sum::<f64>() / n).collect()
    };
    let (own, not) = (mean(0..12), mean(36..39));
    let mut block = Block::new(BlockKind::Latents, DIM).unwrap();
    singles().iter().for_each(|(l, q)| block.add(q, l).unwrap());
    let moments = Moments::new(&block, &SCALE).unwrap();
    let sigma = slda::covariance(&moments, veto::SHRINKAGE).unwrap().partial_piv_lu();
    let within = slda::covariance(&moments, 0.0).unwrap();
    let trace: f64 = {
        let m = sigma.solve(&within);
        (0..DIM).map(|i| m[(i, i)]).sum()
    };
    let x = [0.3f32, -1.0, 2.0, 0.1, 0.0, 1.0, -2.0, 0.7];
    let square = |from: &[f64]| {
        let away = Mat::from_fn(DIM, 1, |i, _| f64::from(x[i]) - from[i]);
        (away.transpose() * sigma.solve(&away))[(0, 0)]
    };
    let wanted = 0.5 * (square(&own) - square(&not)) + 0.5 * trace * (1.0 / 3.0 - 1.0 / 12.0);
    let mut found = [0.0];
    veto.scores(&x, &mut found);
    assert!((f64::from(found[0]) - wanted).abs() < 1e-3 * (1.0 + wanted.abs()), "{found:?} {wanted}");
}

#[test]
fn what_is_vetoed_is_unknown_and_what_is_present_is_not() {
    assert!((Presence::unknown(0.1, &[0.2, 0.3], &[]) - 0.55).abs() < 1e-6);
    assert!((Presence::unknown(0.0, &[0.5, 0.5], &[]) - 0.0).abs() < 1e-6, "without vetoes nothing changes");
    assert!((Presence::unknown(0.9, &[0.5, 0.5], &[0.1, 0.7]) - 0.3).abs() < 1e-6);
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let mut learned = singles();
    learned.extend(rows(&["wren", "robin"], &set(&["wren", "robin"], &[]), 8, 9));
    learned.extend(rows(&["wren", "saw"], &set(&[], &["wren"]), 3, 4));
    let first = solve(&learned, true).unwrap();
    learned.reverse();
    let second = solve(&learned, true).unwrap();
    assert_eq!(first.vetoes, second.vetoes);
    let new = rows(&["wren", "robin"], &LabelSet::background(), 10, 77);
    for class in ["wren", "robin", "jay"] {
        let (a, b) = (present(&first, &new, class), present(&second, &new, class));
        assert!((a - b).abs() < 1e-4, "rows are left out in another order: {a} {b}");
    }
}

#[test]
fn bytes_that_are_no_presence_head_are_refused() {
    let mut learned = singles();
    learned.extend(rows(&["wren", "robin"], &set(&["wren", "robin"], &["jay"]), 8, 9));
    let good = solve(&learned, true).unwrap();
    let read: Presence = postcard::from_bytes(&postcard::to_stdvec(&good).unwrap()).unwrap();
    assert_eq!(read, good);
    assert!(read.validate(DIM).is_ok());
    let spoiled = |spoil: fn(&mut Presence)| {
        let mut bad = good.clone();
        spoil(&mut bad);
        bad.validate(DIM).unwrap_err().kind()
    };
    assert_eq!(good.validate(DIM + 1).unwrap_err().kind(), ErrorKind::Corrupt);
    let all: [fn(&mut Presence); 6] = [
        |p| p.present.as_mut().unwrap().weights[3] = f32::NAN,
        |p| p.vetoes.as_mut().unwrap().weights.truncate(1),
        |p| p.present.as_mut().unwrap().classes.swap(0, 1),
        |p| p.vetoes.as_mut().unwrap().temperature = 2.0,
        |p| p.vetoes.as_mut().unwrap().bias[0] = f32::INFINITY,
        |p| (p.present, p.vetoes) = (None, None),
    ];
    assert!(all.iter().all(|spoil| spoiled(*spoil) == ErrorKind::Corrupt));
}
