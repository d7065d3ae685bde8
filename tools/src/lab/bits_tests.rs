//! What widths cost on rows whose answer is known, and how it is judged.

use super::super::data::Data;
use super::super::evaluate::{Candidate, run};
use super::super::split;
use super::*;
use wheatear::backbone::manifest::EmbeddingScale;

const HEADS: [SolvedHead; 3] = SolvedHead::ALL;

fn set(dim: usize, x: Vec<f32>, y: &[i128]) -> Set {
    let names: Vec<String> = (0..=*y.iter().max().unwrap()).map(|c| format!("class {c}")).collect();
    let group = (0..y.len()).map(|i| format!("g{i}")).collect();
    let data = Data::new("t", dim, x, y, &names, group, EmbeddingScale::None).unwrap();
    let splits = split::make(&data, 3, 2, 2);
    let streams = splits.iter().map(|s| split::stream(s, &data.y, 2, 16).unwrap()).collect();
    Set { data, splits, streams }
}

/// Classes 0 and 1 differ by 0.04 in a dimension that class 2 stretches to 1: a step of 1.5 / 127 or 1.5 / 63 tells them
/// apart, one of 1.5 / 31 rounds both to 0.
fn stretched() -> Set {
    let y: Vec<i128> = (0..36).map(|i| i % 3).collect();
    set(2, y.iter().flat_map(|c| [1.0, [0.02, -0.02, 1.0][*c as usize]]).collect(), &y)
}

/// Overlapping classes, so that accuracies lie between chance and 1.
fn overlapping() -> Set {
    let y: Vec<i128> = (0..72).map(|i| i / 3 % 4).collect();
    let noise = |i: usize| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0;
    set(4, (0..72 * 4).map(|i| noise(i) + if i % 4 == (i / 12) % 4 { 0.8 } else { 0.0 }).collect(), &y)
}

fn bits(all: &[u8]) -> Vec<Width> {
    std::iter::once(Width::F32).chain(all.iter().map(|b| Width::Bits(*b))).collect()
}

#[test]
fn a_step_too_wide_to_tell_two_classes_apart_costs_one_of_them() {
    let set = stretched();
    let costs = compare(&set, &[SolvedHead::Ncm], &bits(&[8, 7, 6])).unwrap();
    let found: Vec<(String, f64, Option<Verdict>)> =
        costs.iter().map(|c| (c.width.to_string(), spread(&c.runs).mean, c.target().map(|(_, v)| v))).collect();
    let expected =
        [("f32", 1.0, None), ("8", 1.0, Some(Verdict::Met)), ("7", 1.0, Some(Verdict::Met)), ("6", 2.0 / 3.0, Some(Verdict::Missed))];
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!(f.0 == e.0 && (f.1 - e.1).abs() < 1e-12 && f.2 == e.2, "{found:?}");
    }
    let lost = costs[3].minus_f32.as_ref().unwrap();
    assert!((lost.points.mean + 100.0 / 3.0).abs() < 1e-9 && lost.points.minus == "f32", "in points: {:?}", lost.points);
    // 12 rows of the class in each of 2 seeds.
    assert_eq!((lost.lost_rows, lost.won_rows), (24, 0));
    let table = table(&set, &costs);
    assert!(table.contains(" -33.33 [-33.33, -33.33]    24     0  0.0000 %    -2.0  MISSED\n"), "{table}");
    assert_eq!(table.matches(" met").count(), 2, "{table}");
}

#[test]
fn every_width_scores_in_each_run_what_the_whole_evaluation_scores() {
    let set = overlapping();
    let costs = compare(&set, &HEADS, &bits(&[8, 4, 16])).unwrap();
    assert_eq!(costs.len(), 12);
    for cost in &costs {
        for (s, split) in set.splits.iter().enumerate() {
            let latents = Latents::new(&set.data, &split.train, cost.width).unwrap();
            let whole = run(Candidate::Solved(cost.head), &set.data, split, &set.streams[s], &latents).unwrap();
            assert_eq!(cost.runs[s], whole.accuracy, "{:?} {} run {s}", cost.head, cost.width);
        }
        let mean = spread(&cost.runs).mean;
        assert!((0.2..0.99).contains(&mean), "neither chance nor solved: {mean}");
    }
    assert!(costs.iter().any(|c| c.minus_f32.as_ref().is_some_and(|d| d.lost_rows + d.won_rows > 0)), "4 bits cannot pass for f32 here");
}

#[test]
fn a_target_is_judged_by_the_mean_and_by_both_ends_of_the_interval() {
    let all = [
        (0.1, -0.3, 0.5, Verdict::Met),
        (-0.2, -0.31, 0.0, Verdict::MetOnAverage),
        (-0.3, f64::NEG_INFINITY, f64::INFINITY, Verdict::MetOnAverage),
        (-0.31, -0.9, 0.2, Verdict::MissedOnAverage),
        (-0.8, -1.2, -0.31, Verdict::Missed),
    ];
    for (mean, low, high, expected) in all {
        assert_eq!(Verdict::of(&Difference { minus: "f32".to_owned(), mean, low, high }, 0.3), expected, "{mean} [{low}, {high}]");
    }
}

#[test]
fn rows_are_won_and_lost_only_where_exactly_one_is_right() {
    let truth = [vec![0, 1, 2], vec![1]];
    let (a, b): ([&[usize]; 2], [&[usize]; 2]) = ([&[0, 1, 0], &[1]], [&[0, 2, 1], &[0]]);
    assert_eq!((only_first_right(&a, &b, &truth), only_first_right(&b, &a, &truth)), (2, 0));
}
