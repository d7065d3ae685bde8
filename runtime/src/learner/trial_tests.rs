//! What the guard lets pass and what it refuses.

use super::*;

fn name(class: usize) -> ClassName {
    ClassName::new(["ant", "bee", "cat", "dog"][class]).unwrap()
}

/// Two rows of each of 20 recordings of each class; `right` says which recordings get their class, with confidence 0.88.
fn answers(classes: usize, right: impl Fn(u64) -> bool) -> Answers {
    let (mut rows, mut z) = (Vec::new(), Vec::new());
    for n in 0..classes as u64 * 40 {
        let (recording, label) = (n / 2, (n / 2) as usize % classes);
        rows.push(Answered { id: 100 + n, recording, label: label as u32 });
        let named = if right(recording) { label } else { (label + 1) % classes };
        z.extend((0..classes).map(|k| if k == named { 2.0 } else { 0.0 }));
    }
    Answers { classes: (0..classes).map(name).collect(), rows, z, background: (1..=40).map(|id| (id, 0.9)).collect() }
}

#[test]
fn a_head_that_is_as_good_serves() {
    let verdict = compare(&answers(2, |r| r % 10 != 0).judgement(None), &answers(2, |r| r % 10 != 0));
    assert!(verdict.accepts() && (verdict.rows, verdict.recordings, verdict.background_rows) == (80, 40, 40), "{verdict:?}");
    assert!((verdict.accuracy.before - 0.9).abs() < 1e-9 && verdict.accuracy.after == verdict.accuracy.before);
    assert!(verdict.to_string().contains("80 rows of 40 recordings"), "{verdict}");
}

#[test]
fn a_head_that_unlearned_many_recordings_is_refused_and_a_few_are_chance() {
    let before = answers(2, |_| true).judgement(None);
    let verdict = compare(&before, &answers(2, |r| r >= 8));
    assert_eq!(verdict.worse[0], Worse::Accuracy);
    assert!(verdict.to_string().contains("100.0 % to 80.0 %"), "{verdict}");
    assert!(compare(&before, &answers(2, |r| r >= 5)).worse.iter().all(|w| *w != Worse::Accuracy));
    // As many gained as lost.
    let mixed = answers(2, |r| !(8..16).contains(&r)).judgement(None);
    assert!(compare(&mixed, &answers(2, |r| r >= 8)).accepts());
}

#[test]
fn rows_of_a_recording_are_one_loss_however_many_they_are() {
    let one_recording = |answers: Answers| Answers {
        rows: answers.rows.iter().map(|r| Answered { recording: if r.recording < 8 { 0 } else { r.recording }, ..*r }).collect(),
        ..answers
    };
    let before = one_recording(answers(2, |_| true)).judgement(None);
    let verdict = compare(&before, &one_recording(answers(2, |r| r >= 8)));
    assert!(verdict.accepts() && verdict.recordings == 33, "{verdict:?}");
}

#[test]
fn rows_taken_for_a_new_class_are_told_and_do_not_count_against_it() {
    let before = answers(2, |_| true).judgement(None);
    let mut tried = answers(2, |_| true);
    tried.classes = vec![name(0), name(1), name(2)];
    // Ten recordings are more like the new class than like their own.
    tried.z = tried.rows.iter().zip(tried.z.chunks(2)).flat_map(|(r, z)| [z[0], z[1], if r.recording < 10 { 5.0 } else { -5.0 }]).collect();
    let verdict = compare(&before, &tried);
    assert!(verdict.accepts() && (verdict.accuracy.after - 1.0).abs() < 1e-9, "{verdict:?}");
    assert!((verdict.renamed - 0.25).abs() < 1e-9, "{verdict:?}");
}

#[test]
fn relabelled_rows_are_not_compared_and_a_class_taken_away_ends_the_trial() {
    let before = answers(2, |_| true).judgement(None);
    let mut tried = answers(2, |_| true);
    tried.rows.iter_mut().filter(|r| r.recording < 30).for_each(|r| r.label = 1 - r.label);
    let verdict = compare(&before, &tried);
    assert!(verdict.accepts() && verdict.rows == 20, "{verdict:?}");
    // Of three classes one is gone: its rows are not compared, those of the others are.
    let three = answers(3, |_| true).judgement(None);
    let mut two = answers(3, |r| r >= 24);
    two.classes.pop();
    let kept: Vec<usize> = (0..two.rows.len()).filter(|i| two.rows[*i].label < 2).collect();
    two.z = kept.iter().flat_map(|i| two.z[3 * i..3 * i + 2].to_vec()).collect();
    two.rows = kept.iter().map(|i| two.rows[*i]).collect();
    let verdict = compare(&three, &two);
    assert!(verdict.rows == 80 && verdict.worse[0] == Worse::Accuracy, "{verdict:?}");
}

#[test]
fn more_false_alarms_and_more_confidence_than_there_is_reason_for_are_refused() {
    let before = answers(2, |r| r % 4 != 0).judgement(None);
    let mut alarms = answers(2, |r| r % 4 != 0);
    alarms.background.values_mut().take(10).for_each(|p| *p = 0.1);
    let verdict = compare(&before, &alarms);
    assert_eq!((verdict.worse.as_slice(), verdict.false_alarms.after), ([Worse::FalseAlarms].as_slice(), 0.25));
    let mut sure = answers(2, |r| r % 4 != 0);
    sure.z.iter_mut().for_each(|z| *z *= 8.0);
    let verdict = compare(&before, &sure);
    assert_eq!(verdict.worse, [Worse::Calibration], "{verdict:?}");
    assert!((verdict.calibration.after - 0.25).abs() < 1e-6, "{verdict:?}");
}

#[test]
fn a_head_that_is_less_sure_than_it_is_right_is_let_pass() {
    let before = answers(2, |_| true).judgement(None);
    let mut unsure = answers(2, |_| true);
    unsure.z.iter_mut().for_each(|z| *z *= 0.05);
    let verdict = compare(&before, &unsure);
    assert!(verdict.accepts() && verdict.calibration.after == 0.0, "{verdict:?}");
}

#[test]
fn nothing_in_common_is_nothing_against_it() {
    let verdict = compare(&Judgement::default(), &answers(2, |_| true));
    assert!(verdict.accepts() && verdict.rows == 0, "{verdict:?}");
}

#[test]
fn a_judgement_that_makes_no_sense_is_refused() {
    let sound = answers(2, |_| true).judgement(None);
    sound.validate().unwrap();
    let mut wrong = sound.clone();
    wrong.rows[3].row.label = 2;
    assert!(wrong.validate().is_err());
    let mut wrong = sound.clone();
    wrong.rows[3].answer.confidence = f32::NAN;
    assert!(wrong.validate().is_err());
    let mut wrong = sound;
    wrong.classes.reverse();
    assert!(wrong.validate().is_err());
}

#[test]
fn small_losses_one_after_another_add_up() {
    let mut first = answers(2, |_| true).judgement(None);
    let mut losing = 0..20;
    let refused = losing.find(|lost| {
        let tried = answers(2, |r| r >= *lost);
        let verdict = compare(&first, &tried);
        first = tried.judgement(Some(&first));
        !verdict.accepts()
    });
    assert_eq!(refused, Some(6));
}

#[test]
fn a_row_is_asked_among_the_classes_that_were_there_when_it_was_first_judged() {
    let two = answers(2, |_| true).judgement(None);
    let mut three = answers(2, |_| true);
    three.classes = vec![name(0), name(1), name(2)];
    let (rows, z) = (three.rows.clone(), three.z.clone());
    // The third class swallows this many recordings.
    let with = |swallowed: u64| -> Vec<f64> {
        rows.iter().zip(z.chunks(2)).flat_map(|(r, z)| [z[0], z[1], if r.recording < swallowed { 5.0 } else { -5.0 }]).collect()
    };
    three.z = with(0);
    let judged = three.judgement(Some(&two));
    // Neither now nor two heads later.
    three.z = with(20);
    let verdict = compare(&judged, &three);
    assert!(verdict.accepts() && verdict.rows == 80, "{verdict:?}");
    // A row that came with the third class is.
    three.rows.iter_mut().for_each(|r| r.id += 1000);
    three.z = with(0);
    let judged = three.judgement(Some(&two));
    three.z = with(20);
    assert_eq!(compare(&judged, &three).worse[0], Worse::Accuracy);
}

#[test]
fn a_head_that_cannot_tell_background_any_more_is_refused() {
    let before = answers(2, |_| true).judgement(None);
    let tried = Answers { background: BTreeMap::new(), ..answers(2, |_| true) };
    assert_eq!(compare(&before, &tried).worse, [Worse::FalseAlarms]);
}

#[test]
fn first_answers_stay_while_other_rows_judge_and_are_bounded() {
    let before = answers(2, |_| true).judgement(None);
    let mut others = answers(2, |_| true);
    others.rows.iter_mut().for_each(|r| r.id += 1000);
    let later = others.judgement(Some(&before));
    assert!(compare(&later, &answers(2, |r| r >= 8)).worse.contains(&Worse::Accuracy));
    let mut judged = before;
    for n in 2..50 {
        others.rows.iter_mut().for_each(|r| r.id += 1000 * n);
        judged = others.judgement(Some(&judged));
    }
    assert_eq!(judged.rows.len(), ROWS_MAX);
}
