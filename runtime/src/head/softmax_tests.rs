//! The softmax head on rows small enough to reason about, and what it must refuse.

use super::*;
use crate::head::argmax;

const DIM: usize = 4;

fn class(name: &str) -> ClassName {
    ClassName::new(name).unwrap()
}

fn small() -> SoftmaxConfig {
    SoftmaxConfig { classes_max: 3, rows_max: 12, batch_rows: 8, ..SoftmaxConfig::default() }
}

fn head(config: SoftmaxConfig) -> SoftmaxHead {
    SoftmaxHead::new(&[0.5; DIM], config).unwrap()
}

const WREN: [f32; DIM] = [3.0, 1.0, 0.5, 0.0];
const ROBIN: [f32; DIM] = [1.0, 3.0, 0.5, 0.0];
const JAY: [f32; DIM] = [1.0, 1.0, 0.5, 3.0];

/// Learns one row of each of two classes.
fn taught(config: SoftmaxConfig) -> SoftmaxHead {
    let mut head = head(config);
    head.learn(&[WREN, ROBIN].concat(), &[class("wren"), class("robin")], &[]).unwrap();
    head
}

fn named(head: &SoftmaxHead, x: &[f32]) -> String {
    let mut p = vec![0.0; head.classes().len()];
    head.probabilities(x, &mut p);
    assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{p:?}");
    head.classes()[argmax(&p)].to_string()
}

#[test]
fn a_class_that_arrives_is_imprinted_from_the_mean_of_its_rows() {
    let still = SoftmaxConfig { learning_rate: 1e-20, ..small() };
    let mut head = taught(still);
    let far: Vec<f32> = JAY.iter().map(|x| 1.2 * x).collect();
    head.learn(&[JAY.to_vec(), far].concat(), &[class("jay"), class("jay")], &[]).unwrap();
    assert_eq!(head.classes(), [class("jay"), class("robin"), class("wren")]);
    let jay: Vec<f64> = JAY.iter().map(|x| 1.1 * f64::from(*x)).collect();
    let centre = |i: usize| (jay[i] + f64::from(WREN[i]) + f64::from(ROBIN[i])) / 3.0;
    let norm = (0..DIM).map(|i| (jay[i] - centre(i)).powi(2)).sum::<f64>().sqrt();
    for (i, mean) in jay.iter().enumerate() {
        assert!((f64::from(head.weights[i]) - (mean - centre(i)) / norm).abs() < 1e-6, "{i}: {:?}", &head.weights[..DIM]);
    }
    assert_eq!(named(&head, &JAY), "jay");
}

#[test]
fn a_class_alone_is_always_named_and_gets_its_direction_with_the_second() {
    let mut head = head(small());
    head.learn(&WREN, &[class("wren")], &[]).unwrap();
    assert_eq!(named(&head, &JAY), "wren");
    assert!(head.weights.iter().all(|w| *w == 0.0), "{:?}", head.weights);
    head.learn(&ROBIN, &[class("robin")], &[]).unwrap();
    assert_eq!((named(&head, &WREN), named(&head, &ROBIN)), ("wren".into(), "robin".into()));
}

#[test]
fn the_same_seed_gives_the_same_weights_to_the_bit_and_another_seed_others() {
    let latents: Vec<[i8; DIM]> = (0..9).map(|n| [n, 3 - n, 2 * n % 5, n % 2]).collect();
    let run = |seed: u64| {
        let mut head = taught(SoftmaxConfig { seed, ..small() });
        let (wren, robin) = (class("wren"), class("robin"));
        let replay = latents.iter().enumerate().map(|(n, l)| Exemplar { latent: l, class: if n % 2 == 0 { &wren } else { &robin } });
        head.learn(&JAY, &[class("jay")], &replay.collect::<Vec<_>>()).unwrap();
        head.weights.iter().map(|w| w.to_bits()).collect::<Vec<u32>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn one_row_weighs_as_much_as_many_of_another_class() {
    let mut head = taught(SoftmaxConfig { learning_rate: 0.02, consolidation: 0.0, rows_max: 200, ..small() });
    let wren = class("wren");
    let many = vec![Exemplar { latent: &[6, 2, 1, 0], class: &wren }; 150];
    // What is taught as a robin is what the wrens are.
    (0..5).for_each(|_| head.learn(&WREN, &[class("robin")], &many).unwrap());
    let mut z = [0.0; 2];
    head.scores(&WREN, &mut z);
    assert!((z[0] - z[1]).abs() < 1.0, "{z:?}");
}

#[test]
fn a_class_that_replay_lost_is_held_where_it_was_and_one_it_holds_moves() {
    let distance = |consolidation: f32, held: usize| {
        let mut head = taught(small());
        (0..3).for_each(|_| head.learn(&WREN, &[class("wren")], &[]).unwrap());
        head.config.consolidation = consolidation;
        let (at, wren, robin) = (DIM + 1, class("wren"), class("robin"));
        let before = head.weights[at..].to_vec();
        let mut replay = vec![Exemplar { latent: &[6, 2, 1, 0], class: &wren }; held];
        replay.push(Exemplar { latent: &[2, 6, 1, 0], class: &robin });
        head.learn(&JAY, &[class("jay")], &replay).unwrap();
        let after = &head.weights[2 * at..];
        after.iter().zip(&before).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    };
    assert!(distance(400.0, 0) < 0.5 * distance(0.0, 0), "{} {}", distance(400.0, 0), distance(0.0, 0));
    assert_eq!(distance(400.0, 4), distance(0.0, 4));
}

#[test]
fn the_temperature_follows_the_rows_held_out() {
    let (wren, robin, jay) = (class("wren"), class("robin"), class("jay"));
    let mut head = taught(SoftmaxConfig { scale: 1.0, ..small() });
    head.calibrate(&[]).unwrap();
    assert!((head.temperature() - 0.5).abs() < 0.02, "{}", head.temperature());
    let rows = |a, b| [Exemplar { latent: &[6, 2, 1, 0], class: a }, Exemplar { latent: &[2, 6, 1, 0], class: b }].repeat(8);
    head.calibrate(&rows(&wren, &robin)).unwrap();
    let sure = head.temperature();
    head.calibrate(&rows(&robin, &wren)).unwrap();
    assert!(sure < 0.45 && head.temperature() > 3.0, "{sure} {}", head.temperature());
    // Rows of a class it does not know say nothing.
    head.calibrate(&rows(&jay, &jay)).unwrap();
    assert!((head.temperature() - 0.5).abs() < 0.02, "{}", head.temperature());
    assert_eq!(head.calibrate(&[Exemplar { latent: &[1; 3], class: &wren }]).unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn bad_input_is_refused_and_leaves_the_head_as_it_was() {
    let mut head = taught(small());
    let before = format!("{:?} {:?} {:?}", head.classes, head.counts, head.weights);
    let (wren, owl) = (class("wren"), class("owl"));
    let mut refused = |rows: &[f32], labels: &[ClassName], replay: &[Exemplar<'_>]| head.learn(rows, labels, replay).unwrap_err().kind();
    assert_eq!(refused(&[1.0; 5], std::slice::from_ref(&wren), &[]), ErrorKind::Input);
    for bad in [f32::NAN, f32::NEG_INFINITY, 1e16] {
        assert_eq!(refused(&[1.0, bad, 0.0, 0.0], &[class("jay")], &[]), ErrorKind::Input);
    }
    let short = Exemplar { latent: &[1; 3], class: &wren };
    assert_eq!(refused(&JAY, &[class("jay")], &[short]), ErrorKind::Input);
    let stranger = Exemplar { latent: &[1; 4], class: &owl };
    assert_eq!(refused(&JAY, &[class("jay")], &[stranger]), ErrorKind::Mismatch);
    assert_eq!(refused(&[JAY, JAY].concat(), &[class("jay"), class("owl")], &[]), ErrorKind::Limit);
    assert_eq!(refused(&JAY, &[class("jay")], &vec![Exemplar { latent: &[1; 4], class: &wren }; 12]), ErrorKind::Limit);
    head.learn(&[], &[], &[]).unwrap();
    assert_eq!(format!("{:?} {:?} {:?}", head.classes, head.counts, head.weights), before);
    head.learn(&[JAY, JAY].concat(), &[class("jay"), class("jay")], &[]).unwrap();
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let refused = |config: SoftmaxConfig| {
        let error = SoftmaxHead::new(&[0.5; DIM], config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.place().unwrap().to_owned()
    };
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(refused(SoftmaxConfig { learning_rate: bad, ..small() }).contains("learning_rate"));
        assert!(refused(SoftmaxConfig { scale: bad, ..small() }).contains("scale"));
        assert_eq!(SoftmaxHead::new(&[0.5, bad], small()).unwrap_err().kind(), ErrorKind::Config);
    }
    for bad in [-1.0, f32::NAN, 600.0] {
        assert!(refused(SoftmaxConfig { weight_decay: bad, ..small() }).contains("weight_decay"));
        assert!(refused(SoftmaxConfig { consolidation: bad, ..small() }).contains("consolidation"));
    }
    for bad in [-0.1, 1.0, f32::NAN] {
        assert!(refused(SoftmaxConfig { smoothing: bad, ..small() }).contains("smoothing"));
    }
    assert!(refused(SoftmaxConfig { steps: 0, ..small() }).contains("steps"));
    assert!(refused(SoftmaxConfig { batch_rows: u32::MAX, ..small() }).contains("batch_rows"));
    assert!(SoftmaxHead::new(&[], small()).is_err());
}

#[test]
fn rows_of_zeros_and_the_largest_values_leave_the_scores_finite() {
    let mut zeros = head(small());
    zeros.learn(&[0.0; 2 * DIM], &[class("wren"), class("jay")], &[]).unwrap();
    let mut z = [0.0; 2];
    zeros.scores(&[0.0; DIM], &mut z);
    assert!(z.iter().all(|z| z.is_finite()), "{z:?}");
    let mut head = taught(small());
    let largest = [COMPONENT_MAX, -COMPONENT_MAX, COMPONENT_MAX, 0.0];
    head.learn(&[[0.0; DIM], largest].concat(), &[class("wren"), class("jay")], &[]).unwrap();
    for x in [[0.0; DIM], largest, WREN] {
        let mut z = [0.0; 3];
        head.scores(&x, &mut z);
        assert!(z.iter().all(|z| z.is_finite()), "{x:?}: {z:?}");
        named(&head, &x);
    }
}
