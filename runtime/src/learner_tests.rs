//! The head that is served: which labels it believes.

use super::*;
use crate::head::argmax;

const DIM: usize = 8;
const SCALE: [f32; DIM] = [0.05; DIM];

fn name(class: usize) -> ClassName {
    ClassName::new(["ant", "bee", "cat", "dog"][class]).unwrap()
}

/// Four classes, ten recordings of two rows each; some recordings are faint and some are clear.
fn rows() -> Vec<LabelledRow> {
    let mut state = 17u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let mut rows = Vec::new();
    for recording in 0..40u64 {
        let (class, strength) = ((recording % 4) as usize, [25, 45, 70, 95][recording as usize / 4 % 4]);
        for _ in 0..2 {
            let latent = (0..DIM).map(|i| (if i % 4 == class { strength } else { 0 } + next() % 41 - 20) as i8).collect();
            rows.push(LabelledRow { id: rows.len() as u64 + 1, latent, class: name(class), recording });
        }
    }
    rows
}

fn block(rows: &[LabelledRow]) -> Block {
    let mut block = Block::new(BlockKind::Latents, DIM).unwrap();
    rows.iter().for_each(|r| block.add(&r.latent, &LabelSet::single(r.class.clone())).unwrap());
    block
}

fn solved(
    kind: HeadKind,
    guard: Guard,
    counted: &[LabelledRow],
    rows: &[LabelledRow],
    expanded: Option<FeatureBlock<'_>>,
) -> Result<Served> {
    let sources = Sources { block: &block(counted), scale: &SCALE, rows, background: &[], expanded };
    solve(kind, guard, sources, &Budget::default())
}

#[test]
fn a_budget_without_room_for_the_head_is_refused_and_one_of_few_rows_lets_few_judge() {
    let rows = rows();
    let sources = Sources { block: &block(&rows), scale: &SCALE, rows: &rows, background: &[], expanded: None };
    let few = solve(HeadKind::Auto, Guard::On, sources, &Budget { judge_rows: 40, ..Budget::default() }).unwrap();
    assert_eq!(few.examined, 40);
    let none = solve(HeadKind::Auto, Guard::On, sources, &Budget { memory_mib: 0, ..Budget::default() }).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Limit);
}

/// Some clear recordings said to be the next class.
fn mislabelled() -> (Vec<LabelledRow>, Vec<u64>) {
    let mut rows = rows();
    let mut wrong = Vec::new();
    for row in rows.iter_mut().filter(|r| [8, 13, 26, 31].contains(&r.recording)) {
        row.class = name((row.recording as usize + 1) % 4);
        wrong.push(row.id);
    }
    (rows, wrong)
}

fn classify(served: &Served, latent: &[i8]) -> ClassName {
    let x: Vec<f32> = latent.iter().zip(SCALE).map(|(q, s)| f32::from(*q) * s).collect();
    let mut z = vec![0.0; served.head.classes().len()];
    served.head.scores(&x, &mut z);
    served.head.classes()[argmax(&z)].clone()
}

#[test]
fn wrong_labels_are_named_and_the_head_is_that_of_the_others() {
    let (rows, wrong) = mislabelled();
    let served = solved(HeadKind::Auto, Guard::On, &rows, &rows, None).unwrap();
    assert_eq!(served.doubtful.iter().map(|d| d.id).collect::<Vec<_>>(), wrong);
    assert!(served.doubtful.iter().all(|d| d.wrong > 0.5 && d.sounds_like != d.said), "{:?}", served.doubtful);
    assert_eq!(served.examined, rows.len());
    let right: Vec<LabelledRow> = rows.iter().filter(|r| !wrong.contains(&r.id)).cloned().collect();
    let without = solved(HeadKind::Auto, Guard::Off, &right, &right, None).unwrap();
    assert_eq!(served.head, without.head);
    for row in rows.iter().filter(|r| wrong.contains(&r.id)) {
        assert_eq!(classify(&served, &row.latent), name((row.recording % 4) as usize));
    }
}

#[test]
fn a_believing_head_learns_wrong_labels_and_a_guarded_one_believes_right_ones() {
    let (wrong, _) = mislabelled();
    let believing = solved(HeadKind::Auto, Guard::Off, &wrong, &wrong, None).unwrap();
    let guarded = solved(HeadKind::Auto, Guard::On, &wrong, &wrong, None).unwrap();
    assert!(believing.doubtful.is_empty() && believing.head != guarded.head);
    let right = rows();
    let clean = solved(HeadKind::Auto, Guard::On, &right, &right, None).unwrap();
    assert!(clean.doubtful.is_empty(), "{:?}", clean.doubtful);
    assert!(clean.unknown.is_some() && clean.evidence.is_some_and(|e| e.accuracy > 0.95));
}

#[test]
fn a_class_is_not_doubted_away() {
    let mut rows = rows();
    // One recording of a class that sounds like the first.
    let copies: Vec<LabelledRow> =
        rows[..2].iter().map(|r| LabelledRow { id: r.id + 900, class: name(3), recording: 77, ..r.clone() }).collect();
    rows.retain(|r| r.class != name(3));
    rows.extend(copies);
    let served = solved(HeadKind::Auto, Guard::On, &rows, &rows, None).unwrap();
    assert!(served.head.classes().contains(&name(3)) && served.doubtful.is_empty(), "{:?}", served.doubtful);
}

#[test]
fn single_heads_take_every_label_and_rows_of_other_statistics_are_refused() {
    let (rows, _) = mislabelled();
    for kind in [HeadKind::Ncm, HeadKind::Slda, HeadKind::Ridge] {
        let served = solved(kind, Guard::On, &rows, &rows, None).unwrap();
        assert!(served.doubtful.is_empty() && served.unknown.is_none());
        assert_eq!(served.head.name(), kind.solved().unwrap().name());
    }
    let strange = [LabelledRow { class: ClassName::new("eel").unwrap(), ..rows[0].clone() }];
    let error = solved(HeadKind::Auto, Guard::On, &rows, &strange, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
}

#[test]
fn rows_in_doubt_are_taken_out_of_the_features_as_well_and_other_heads_do_not_look_at_them() {
    let features = RandomFeatures::new(DIM, 48, 5, 3).unwrap();
    let of_features = |rows: &[LabelledRow]| {
        let mut block = Block::new(BlockKind::Latents, 48).unwrap();
        for row in rows {
            let mut expanded = [0; 48];
            features.expand(&row.latent, &mut expanded);
            block.add(&expanded, &LabelSet::single(row.class.clone())).unwrap();
        }
        block
    };
    let (rows, wrong) = mislabelled();
    let expanded = of_features(&rows);
    let with = FeatureBlock { features: &features, block: &expanded };
    let served = solved(HeadKind::Auto, Guard::On, &rows, &rows, Some(with)).unwrap();
    assert_eq!(served.doubtful.iter().map(|d| d.id).collect::<Vec<_>>(), wrong);
    assert_eq!(served.members.len(), 3);
    let right: Vec<LabelledRow> = rows.iter().filter(|r| !wrong.contains(&r.id)).cloned().collect();
    let expanded = of_features(&right);
    let without = FeatureBlock { features: &features, block: &expanded };
    let clean = solved(HeadKind::Auto, Guard::Off, &right, &right, Some(without)).unwrap();
    assert_eq!(served.head, clean.head);
    let ridge = |expanded| solved(HeadKind::Ridge, Guard::On, &right, &right, expanded).unwrap().head;
    assert_eq!(ridge(Some(without)), ridge(None));
}
