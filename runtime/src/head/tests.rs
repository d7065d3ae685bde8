//! Heads on rows small enough to reason about.

use super::*;
use crate::ErrorKind;
use crate::learn::{Block, BlockKind, LabelSet};

fn block(rows: &[(&str, &[i8])]) -> Block {
    let mut b = Block::new(BlockKind::Latents, rows[0].1.len()).unwrap();
    for (name, q) in rows {
        b.add(q, &LabelSet::single(ClassName::new(name).unwrap())).unwrap();
    }
    b
}

fn solve(kind: SolvedHead, rows: &[(&str, &[i8])]) -> LinearHead {
    let head = kind.solve(&Moments::new(&block(rows), &vec![0.1; rows[0].1.len()]).unwrap()).unwrap();
    head.validate(rows[0].1.len()).unwrap();
    head
}

fn predicted(head: &LinearHead, x: &[f32]) -> String {
    let mut z = vec![0.0; head.classes.len()];
    head.scores(x, &mut z);
    assert!(z.iter().all(|v| v.is_finite()), "{z:?}");
    let mut p = z.clone();
    head.probabilities(x, &mut p);
    assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{p:?}");
    head.classes[argmax(&z)].to_string()
}

#[test]
fn every_solved_head_tells_two_clouds_apart() {
    let rows: [(&str, &[i8]); 4] = [("a", &[10, 1, 0]), ("a", &[12, -1, 0]), ("b", &[-9, 2, 0]), ("b", &[-11, 0, 0])];
    for kind in SolvedHead::ALL {
        let head = solve(kind, &rows);
        assert_eq!((predicted(&head, &[1.0, 0.0, 0.0]), predicted(&head, &[-1.0, 0.0, 0.0])), ("a".into(), "b".into()), "{}", kind.name());
        let mut p = [0.0; 2];
        head.probabilities(&[1.0, 0.0, 0.0], &mut p);
        assert!(p[0] > 0.9, "{} {p:?}", kind.name());
    }
}

#[test]
fn a_retired_class_shapes_the_scatter_and_is_never_predicted() {
    let rows: Vec<(String, [i8; 2])> = (0..30)
        .map(|i| {
            let j = (i / 3) as i8;
            match i % 3 {
                0 => ("wren".to_owned(), [60 + j, 1 - j]),
                1 => ("robin".to_owned(), [-60 - j, j - 5]),
                _ => ("owl".to_owned(), [j, 90 - j]),
            }
        })
        .collect();
    let sum = |rename: bool| {
        let mut block = Block::new(BlockKind::Latents, 2).unwrap();
        for (name, latent) in &rows {
            let class = ClassName::new(name).unwrap();
            let class = if rename && name == "owl" { class.retired() } else { class };
            block.add(latent, &LabelSet::single(class)).unwrap();
        }
        block
    };
    for kind in SolvedHead::ALL {
        let whole = kind.solve(&Moments::new(&sum(false), &[0.1; 2]).unwrap()).unwrap();
        let retired = kind.solve(&Moments::new(&sum(true), &[0.1; 2]).unwrap()).unwrap();
        assert_eq!(retired.classes.iter().map(|c| c.as_str()).collect::<Vec<_>>(), ["robin", "wren"], "{kind:?}");
        assert_ne!(predicted(&retired, &[0.0, 9.0]), "owl");
        for (class, bias) in retired.classes.iter().zip(&retired.bias) {
            let k = whole.classes.iter().position(|c| c == class).unwrap();
            assert!((whole.bias[k] - bias).abs() <= 1e-4 * whole.bias[k].abs().max(1.0), "{kind:?}: {} {bias}", whole.bias[k]);
        }
    }
}

#[test]
fn one_example_a_class_is_enough() {
    let rows: [(&str, &[i8]); 3] = [("a", &[100, 1, 0, 7]), ("b", &[-9, 90, 0, 7]), ("c", &[0, 3, 80, 7])];
    for kind in SolvedHead::ALL {
        let head = solve(kind, &rows);
        for (name, q) in rows {
            let x: Vec<f32> = q.iter().map(|q| f32::from(*q) * 0.1).collect();
            assert_eq!(predicted(&head, &x), name, "{}", kind.name());
        }
    }
}

#[test]
fn one_class_only_is_always_that_class() {
    for kind in SolvedHead::ALL {
        let head = solve(kind, &[("only", &[1, 2, 3]), ("only", &[3, -2, 1])]);
        assert_eq!(predicted(&head, &[-5.0, 0.0, 9.0]), "only");
    }
}

#[test]
fn all_zero_latents_and_constant_dimensions_are_survived() {
    for kind in SolvedHead::ALL {
        predicted(&solve(kind, &[("a", &[0, 0]), ("b", &[0, 0]), ("b", &[0, 0])]), &[0.0, 0.0]);
        let head = solve(kind, &[("a", &[50, 7, 0]), ("a", &[60, 7, 0]), ("b", &[-50, 7, 0]), ("b", &[-60, 7, 0])]);
        assert_eq!(predicted(&head, &[5.0, 0.7, 0.0]), "a", "{}", kind.name());
    }
}

#[test]
fn a_larger_class_does_not_swallow_a_smaller_one() {
    let mut rows: Vec<(&str, &[i8])> = vec![("big", &[10, 4]); 200];
    rows.extend([("big", [12i8, -4].as_slice()); 200]);
    rows.extend([("small", [-10i8, 1].as_slice()), ("small", [-12i8, -1].as_slice())]);
    for kind in SolvedHead::ALL {
        assert_eq!(predicted(&solve(kind, &rows), &[-0.8, 0.0]), "small", "{}", kind.name());
    }
}

#[test]
fn nothing_learned_wrong_block_and_wrong_parameters_are_errors() {
    let empty = Block::new(BlockKind::Latents, 2).unwrap();
    assert_eq!(Moments::new(&empty, &[1.0; 2]).unwrap_err().kind(), ErrorKind::Learn);
    assert_eq!(Moments::new(&Block::new(BlockKind::Background, 2).unwrap(), &[1.0; 2]).unwrap_err().kind(), ErrorKind::Mismatch);
    let b = block(&[("a", &[1, 2]), ("b", &[2, 1])]);
    assert_eq!(Moments::new(&b, &[1.0; 3]).unwrap_err().kind(), ErrorKind::Mismatch);
    let m = Moments::new(&b, &[1.0; 2]).unwrap();
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert_eq!(slda::solve(&m, wrong).unwrap_err().kind(), ErrorKind::Config);
    }
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(ridge::solve(&m, wrong).unwrap_err().kind(), ErrorKind::Config);
    }
    // Rank 1 within-class scatter and no shrinkage: not positive definite.
    let flat = Moments::new(&block(&[("a", &[1, 1]), ("a", &[3, 3]), ("b", &[5, 5])]), &[1.0; 2]).unwrap();
    let e = slda::solve(&flat, 0.0).unwrap_err();
    assert!(e.kind() == ErrorKind::Learn && e.to_string().contains("raise the shrinkage"), "{e}");
}

#[test]
fn a_latent_has_the_scores_and_probabilities_of_its_values() {
    let rows: [(&str, &[i8]); 5] = [("a", &[10, 1, 3]), ("a", &[12, -1, 5]), ("b", &[-9, 2, 4]), ("b", &[-11, 0, -4]), ("c", &[1, 30, -2])];
    let scale = [0.1, 0.2, 0.3];
    let head = ridge::solve(&Moments::new(&block(&rows), &scale).unwrap(), 0.01).unwrap();
    let latents = LatentHead::new(&head, &scale);
    for (_, q) in rows {
        let x: Vec<f32> = q.iter().zip(scale).map(|(q, s)| f32::from(*q) * s).collect();
        let ([mut z, mut p], [mut latent_z, mut latent_p]) = ([[0.0; 3]; 2], [[0.0; 3]; 2]);
        head.scores(&x, &mut z);
        head.probabilities(&x, &mut p);
        latents.scores(q, &mut latent_z);
        latents.probabilities(q, &mut latent_p);
        let near = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(z, latent_z) && near(p, latent_p) && p != z, "{z:?} {latent_z:?} {p:?} {latent_p:?}");
    }
}

#[test]
fn a_stored_head_is_checked_before_use() {
    let good = solve(SolvedHead::Slda, &[("a", &[10, 1]), ("a", &[12, -1]), ("b", &[-9, 2])]);
    let spoil: [fn(&mut LinearHead); 6] = [
        |h| h.weights.push(0.0),
        |h| h.bias.clear(),
        |h| h.weights[0] = f32::NAN,
        |h| h.temperature = 0.0,
        |h| h.classes.reverse(),
        |h| h.classes.clear(),
    ];
    for s in spoil {
        let mut bad = good.clone();
        s(&mut bad);
        assert_eq!(bad.validate(2).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert!(good.validate(3).is_err());
    let bytes = postcard::to_stdvec(&good).unwrap();
    assert_eq!(postcard::from_bytes::<LinearHead>(&bytes).unwrap(), good);
}

#[test]
fn naive_sgd_forgets_the_classes_it_no_longer_sees() {
    use naive::{NaiveConfig, NaiveHead};
    let class = |t: &str| ClassName::new(t).unwrap();
    let mut head = NaiveHead::new(2, NaiveConfig::default());
    head.learn_chunk(&[1.0, 0.1, 1.0, -0.1], &[class("a"), class("a")]).unwrap();
    for _ in 0..50 {
        head.learn_chunk(&[0.8, 0.6, 0.7, 0.7], &[class("b"), class("b")]).unwrap();
    }
    let mut z = [0.0; 2];
    head.scores(&[1.0, 0.0], &mut z);
    assert_eq!(argmax(&z), 1, "{z:?}");
    assert_eq!(head.learn_chunk(&[1.0], &[class("a")]).unwrap_err().kind(), ErrorKind::Input);
    head.learn_chunk(&[0.0, 0.0], &[class("c")]).unwrap();
    let mut z = [0.0; 3];
    head.scores(&[0.0, 0.0], &mut z);
    assert!(z.iter().all(|v| v.is_finite()), "{z:?}");
}

#[test]
fn probabilities_survive_scores_that_are_not_numbers() {
    let mut z = [f32::NAN, 1.0, 2.0];
    softmax(&mut z, 1.0);
    assert_eq!(z, [1.0 / 3.0; 3]);
    let mut z = [1e30, -1e30];
    softmax(&mut z, 1e-3);
    assert_eq!(z, [1.0, 0.0]);
}

#[test]
fn slda_has_temperature_1_by_the_formula_that_gives_the_others_theirs() {
    let rows: [(&str, &[i8]); 7] = [
        ("a", &[10, 1, 3]),
        ("a", &[12, -1, 5]),
        ("b", &[-9, 2, 4]),
        ("b", &[-11, 0, -4]),
        ("b", &[-6, 9, 1]),
        ("c", &[1, 30, -2]),
        ("c", &[5, 33, 8]),
    ];
    let m = Moments::new(&block(&rows), &[0.1, 0.2, 0.3]).unwrap();
    let of = |weights: &[f32]| {
        let wide: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
        temperature::margin_temperature(&m, &wide).unwrap()
    };
    let slda = SolvedHead::Slda.solve(&m).unwrap();
    assert!((of(&slda.weights) - 1.0).abs() < 1e-5, "{}", of(&slda.weights));
    // Twice the weights need twice the temperature for the same probabilities.
    let double: Vec<f32> = slda.weights.iter().map(|w| 2.0 * w).collect();
    assert!((of(&double) - 2.0).abs() < 1e-5);
}
