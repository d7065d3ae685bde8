//! Faded answers against sums written out.

use super::*;

fn class(name: &str) -> ClassName {
    ClassName::new(name).unwrap()
}

fn near(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|v| (v - expected).abs() < 1e-6)
}

#[test]
fn old_answers_fade_by_their_age_overall_and_within_their_class() {
    let mut p = Prequential::new(0.5, 1).unwrap();
    for (name, right) in [("a", true), ("b", false), ("a", true), ("a", false)] {
        p.answer(&class(name), right, 0.5);
    }
    let report = p.report(None);
    assert!(near(report.accuracy, (0.125 + 0.5) / 1.875));
    // a: 1/4 + 1/2 of 7/4; b: none.
    assert!(near(report.class_accuracy, (0.75 / 1.75 + 0.0) / 2.0));
}

#[test]
fn without_fading_calibration_is_the_error_over_15_ranges() {
    let mut p = Prequential::new(1.0, 1).unwrap();
    assert_eq!(p.report(None).ece, None);
    for (confidence, right) in [(0.9, true), (0.9, true), (0.9, true), (0.9, false), (0.5, true), (0.5, false), (1.0, true)] {
        p.answer(&class("a"), right, confidence);
    }
    let report = p.report(None);
    assert!(near(report.ece, 4.0 * 0.15 / 7.0), "{report:?}");
    assert!(near(report.confidence, (4.0 * 0.9 + 1.0 + 1.0) / 7.0));
}

#[test]
fn a_class_that_was_known_and_is_no_more_is_named_with_what_it_lost() {
    let mut p = Prequential::new(0.9, 1).unwrap();
    for _ in 0..40 {
        p.answer(&class("kept"), true, 0.8);
        p.answer(&class("lost"), true, 0.8);
    }
    for _ in 0..40 {
        p.answer(&class("kept"), true, 0.8);
        p.answer(&class("lost"), false, 0.8);
    }
    let report = p.report(None);
    assert_eq!(report.fell.len(), 1);
    assert_eq!(report.fell[0].0, class("lost"));
    // 1 - 0.9^40 and half of it.
    assert!((report.fell[0].1 - 0.985).abs() < 2e-3 && near(report.forgetting, report.fell[0].1 / 2.0), "{report:?}");
}

#[test]
fn one_lucky_answer_is_not_the_best_of_a_class() {
    let mut p = Prequential::new(0.99, 1).unwrap();
    p.answer(&class("a"), true, 0.8);
    p.answer(&class("a"), false, 0.8);
    assert_eq!(p.report(None).forgetting, None);
}

#[test]
fn embeddings_are_measured_in_spreads_from_the_learned_mean() {
    let mut p = Prequential::new(1.0, 2).unwrap();
    let learned = Learned { mean: &[1.0, 1.0], spread: 2.0 };
    assert_eq!(p.report(Some(learned)).drift, None);
    p.embedding(&[3.0, 5.0]).unwrap();
    p.embedding(&[5.0, 5.0]).unwrap();
    assert!(near(p.report(Some(learned)).drift, 5.0 / 2.0));
    let before = p.clone();
    assert!(p.embedding(&[1.0]).is_err() && p.embedding(&[1.0, f32::NAN]).is_err());
    assert_eq!(p, before);
}

#[test]
fn classes_past_the_bound_count_overall_and_are_counted() {
    let mut p = Prequential::new(0.99, 1).unwrap();
    for i in 0..=CLASSES_MAX {
        p.answer(&class(&format!("c{i}")), true, 0.8);
    }
    assert_eq!((p.classes.len(), p.report(None).unfollowed), (CLASSES_MAX, 1));
    for fading in [0.0, 1.1, f64::NAN] {
        assert!(Prequential::new(fading, 1).is_err());
    }
}
