//! From blocks and rows to what is served.

use super::*;
use crate::learn::ClassName;

const SCALE: [f32; 3] = [0.1; 3];

fn row(id: u64, latent: [i8; 3], labels: LabelSet) -> LabelSetRow {
    LabelSetRow { id, latent: latent.to_vec(), labels, recording: id }
}

fn name(text: &str) -> ClassName {
    ClassName::new(text).unwrap()
}

fn both(positive: &[&str], negative: &[&str]) -> LabelSet {
    LabelSet::new(positive.iter().map(|n| name(n)).collect(), negative.iter().map(|n| name(n)).collect()).unwrap()
}

fn singles() -> Vec<LabelSetRow> {
    (0..16)
        .map(|n| {
            row(
                n,
                [if n % 2 == 0 { 60 } else { 0 }, if n % 2 == 0 { 0 } else { 60 }, (n * 7 % 11) as i8],
                LabelSet::single(name(["ant", "bee"][n as usize % 2])),
            )
        })
        .collect()
}

fn block(kind: BlockKind, rows: &[LabelSetRow]) -> Block {
    let mut block = Block::new(kind, 3).unwrap();
    rows.iter().filter(|r| r.labels.block_kind() == kind).for_each(|r| block.add(&r.latent, &r.labels).unwrap());
    block
}

fn served(rows: &[LabelSetRow], doubtful: &[u64]) -> Result<Option<Presence>> {
    let (latents, mixed) = (block(BlockKind::Latents, rows), block(BlockKind::Mixed, rows));
    let holds_several = rows.iter().any(|row| row.labels.positive().len() > 1);
    solve(Blocks { latents: &latents, mixed: &mixed, background: None, holds_several }, &SCALE, rows, doubtful)
}

#[test]
fn only_rows_of_several_labels_or_a_class_of_theirs_alone_make_presence_be_told() {
    let with = |labels: LabelSet| {
        let mut rows = singles();
        rows.push(row(90, [60, 60, 3], labels));
        served(&rows, &[]).unwrap().map(|p| (p.present.is_some(), p.vetoes.is_some()))
    };
    assert_eq!(served(&singles(), &[]).unwrap(), None);
    assert_eq!(with(both(&["ant", "bee"], &[])), Some((true, false)));
    assert_eq!(with(both(&["ant"], &["bee"])), Some((false, true)));
    assert_eq!(with(both(&[], &["bee"])), Some((false, true)));
    assert_eq!(with(both(&["cat"], &["bee"])), Some((true, true)), "cat is nowhere else");
    assert_eq!(with(both(&[], &["dog"])), None, "nobody said that anything is a dog");
}

#[test]
fn rows_in_doubt_are_taken_out() {
    let mut rows = singles();
    rows.push(row(90, [60, 60, 3], both(&["ant", "bee"], &["cat"])));
    let clean = served(&rows, &[]).unwrap();
    rows.push(row(91, [0, 60, 5], LabelSet::single(name("ant"))));
    assert_ne!(served(&rows, &[]).unwrap(), clean);
    assert_eq!(served(&rows, &[91]).unwrap(), clean);
    let strange = [row(7, [1, 2, 3], LabelSet::single(name("eel")))];
    let (latents, mixed) = (block(BlockKind::Latents, &rows), block(BlockKind::Mixed, &rows));
    let blocks = Blocks { latents: &latents, mixed: &mixed, background: None, holds_several: true };
    assert!(solve(blocks, &SCALE, &strange, &[7]).is_err(), "that the block does not count");
}
