//! The pooled head against its members.

use super::*;
use crate::ErrorKind;
use crate::head::{Head, slda, softmax};
use crate::learn::{Block, BlockKind, ClassName, LabelSet};

const DIM: usize = 6;
const SCALE: [f32; DIM] = [0.05; DIM];

/// Rows of three classes, four recordings a class with an offset of their own, three rows a recording.
fn rows() -> Vec<(usize, u64, Vec<i8>)> {
    let mut state = 11u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let mut out = Vec::new();
    for recording in 0..12u64 {
        let class = (recording % 3) as usize;
        let offset: Vec<i64> = (0..DIM).map(|i| if i % 3 == class { 25 } else { 0 } + next() % 40 - 20).collect();
        for _ in 0..3 {
            out.push((class, recording, offset.iter().map(|o| (o + next() % 9 - 4) as i8).collect()));
        }
    }
    out
}

fn moments(rows: &[(usize, u64, Vec<i8>)]) -> Moments {
    let mut block = Block::new(BlockKind::Latents, DIM).unwrap();
    for (class, _, latent) in rows {
        block.add(latent, &LabelSet::single(ClassName::new(["ant", "bee", "cat"][*class]).unwrap())).unwrap();
    }
    Moments::new(&block, &SCALE).unwrap()
}

fn counted(rows: &[(usize, u64, Vec<i8>)]) -> Vec<Counted<'_>> {
    rows.iter().map(|(class, recording, latent)| Counted { latent, class: *class, recording: *recording }).collect()
}

#[test]
fn the_pool_scores_the_weighted_sum_of_its_members() {
    let rows = rows();
    let moments = moments(&rows);
    let auto = solve(&moments, &counted(&rows), &[], None).unwrap();
    assert_eq!((auto.members.len(), auto.judged.rows.len()), (2, 36));
    assert!((auto.members.iter().map(|m| m.weight).sum::<f64>() - 1.0).abs() < 1e-12);
    let x: Vec<f32> = rows[5].2.iter().map(|q| f32::from(*q) * 0.05).collect();
    let mut wanted = [0f64; 3];
    for member in &auto.members {
        let kind = MEMBERS.into_iter().find(|k| k.name() == member.name).unwrap();
        let mut z = [0f32; 3];
        kind.solve_with(&moments, member.parameter).unwrap().scores(&x, &mut z);
        wanted.iter_mut().zip(z).for_each(|(w, z)| *w += member.weight / member.temperature * f64::from(z));
    }
    let mut z = [0f32; 3];
    auto.head.scores(&x, &mut z);
    // The weights' sum is the inverse temperature of the pool.
    let factor = f64::from(z[0] - z[1]) / (wanted[0] - wanted[1]);
    assert!(factor > 0.0 && ((z[1] - z[2]) as f64 - factor * (wanted[1] - wanted[2])).abs() < 1e-4, "{z:?} {wanted:?}");
}

#[test]
fn rows_are_judged_without_their_recording_and_not_by_what_they_taught() {
    let rows = rows();
    let moments = moments(&rows);
    let whole = solve(&moments, &counted(&rows), &[], None).unwrap();
    let apart: Vec<Counted<'_>> = counted(&rows).into_iter().enumerate().map(|(n, r)| Counted { recording: n as u64, ..r }).collect();
    let single = solve(&moments, &apart, &[], None).unwrap();
    // Rows of one recording stand for each other, so leaving them out one by one finds the head surer than it is.
    assert!(single.evidence.unwrap().log_loss < whole.evidence.unwrap().log_loss - 0.05, "{single:?} {whole:?}");
    let sure = |auto: &Auto| {
        let mut p = auto.judged.z[..3].iter().map(|z| *z as f32).collect::<Vec<f32>>();
        softmax(&mut p, 1.0);
        p[0]
    };
    assert!(sure(&single) != sure(&whole));
}

#[test]
fn without_a_row_to_judge_the_members_weigh_the_same() {
    let rows = rows();
    let auto = solve(&moments(&rows), &[], &[], None).unwrap();
    assert!(auto.evidence.is_none() && auto.members.iter().all(|m| m.weight == 0.5 && m.accuracy.is_none()), "{auto:?}");
    let one_class: Vec<_> = rows.iter().filter(|r| r.0 == 0).cloned().collect();
    assert!(solve(&moments(&one_class), &counted(&one_class), &[], None).unwrap().evidence.is_none());
    let foreign = [Counted { latent: &[1], class: 0, recording: 0 }];
    assert_eq!(solve(&moments(&rows), &foreign, &[], None).unwrap_err().kind(), ErrorKind::Mismatch);
}

#[test]
fn one_head_takes_the_parameter_and_temperature_of_least_log_loss() {
    let rows = rows();
    let (moments, counted) = (moments(&rows), counted(&rows));
    let left_out = LeaveOut::slda(&moments).unwrap();
    let recordings: Vec<u64> = counted.iter().map(|c| c.recording).collect();
    let targets = Targets::new(rows.iter().map(|r| r.0).collect(), &recordings, 3);
    let all: Vec<Evidence> = left_out.scores(&counted, &SHRINKAGES).unwrap().iter().map(|s| targets.weigh(s)).collect();
    let best = all.iter().min_by(|a, b| a.log_loss.total_cmp(&b.log_loss)).unwrap();
    let head = SolvedHead::Slda.solve_by_evidence(&moments, &counted).unwrap();
    assert_eq!((&head.weights, head.temperature), (&slda::solve(&moments, best.parameter).unwrap().weights, best.temperature as f32));
    assert!(all.iter().any(|e| e.log_loss > best.log_loss * 1.01), "{all:?}");
    for kind in SolvedHead::ALL {
        assert_eq!(kind.solve_by_evidence(&moments, &[]).unwrap(), kind.solve(&moments).unwrap());
    }
    // The temperature is the one of least log loss.
    let scores = &left_out.scores(&counted, &[best.parameter]).unwrap()[0];
    for factor in [0.5, 0.99, 1.01, 2.0] {
        assert!(targets.log_loss(&scores.z, best.temperature * factor) > best.log_loss, "{factor}");
    }
}
