//! Which rows replay holds: the same whatever happens between the labels, never too many, and some of them kept for judging.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wheatear::store::{Access, Adapter, Creation, Durability, Header, RowFlags};

use crate::disk::Disk;
use crate::world::{ID, Row, batch, bulky, creation, held, labels, row, rows, teach};

const DIM: usize = 4;

#[derive(Debug, Clone)]
struct Label {
    from: u64,
    count: u64,
    by_len_bytes: usize,
    /// It is a mistake, and taken back.
    taken_back: bool,
    /// What happens in the other life before it.
    before: Before,
}

#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    Reopen,
    Checkpoint,
    Compact,
}

fn label() -> impl Strategy<Value = Label> {
    let before =
        prop_oneof![3 => Just(Before::Nothing), 2 => Just(Before::Reopen), 2 => Just(Before::Checkpoint), 1 => Just(Before::Compact)];
    let len = prop_oneof![3 => Just(5usize), 2 => 1_000..28_000usize];
    (0..1000u64, 1..6u64, len, proptest::bool::weighted(0.2), before).prop_map(|(from, count, by_len_bytes, taken_back, before)| Label {
        from,
        count,
        by_len_bytes,
        taken_back,
        before,
    })
}

fn ids(adapter: &Adapter) -> BTreeSet<u64> {
    held(adapter).unwrap().into_iter().map(|(id, _)| id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_same_labels_leave_the_same_rows_whatever_happens_between_them(stream in proptest::collection::vec(label(), 1..70)) {
        let header = Header::new(creation(DIM as u32, 8), ID).unwrap();
        let disks = [Disk::new(&header), Disk::new(&header)];
        let [mut quiet, mut busy] = disks.each_ref().map(|d| d.open(Access::Write).unwrap());
        for (n, label) in stream.iter().enumerate() {
            match label.before {
                Before::Nothing => {}
                Before::Reopen => busy = disks[1].open(Access::Write).unwrap(),
                Before::Checkpoint => busy.checkpoint().unwrap(),
                Before::Compact => busy.compact().unwrap(),
            }
            let new = rows(label.from, label.count, DIM, 8);
            for adapter in [&mut quiet, &mut busy] {
                teach(adapter, &bulky(label.by_len_bytes), &new, Durability::Now).unwrap();
            }
            // One that was reopened may refuse for want of knowing what left.
            if label.taken_back && busy.undo(1, Durability::Now).is_ok() {
                quiet.undo(1, Durability::Now).unwrap();
            }
            assert_eq!(ids(&busy), ids(&quiet), "label {n}");
        }
    }
}

#[test]
fn two_seeds_hold_different_rows_and_one_seed_the_same() {
    let of_seed = |seed| {
        let disk = Disk::new(&Header::new(Creation { seed, ..creation(DIM as u32, 8) }, ID).unwrap());
        let mut adapter = disk.open(Access::Write).unwrap();
        for n in 0..100 {
            teach(&mut adapter, &batch(0, false), &[row(n, DIM, 8)], Durability::Later).unwrap();
        }
        (ids(&adapter), disk.image().file("chunks").clone())
    };
    assert!(of_seed(7) == of_seed(7), "the bytes of the file too");
    assert_ne!(of_seed(7).0, of_seed(8).0);
}

#[test]
fn no_more_rows_are_held_than_replay_rows_and_those_of_one_record() {
    let disk = Disk::new(&Header::new(creation(DIM as u32, 8).with_replay_rows(64), ID).unwrap());
    let mut adapter = disk.open(Access::Write).unwrap();
    for n in 0..300 {
        let count = [1, 3, 40, 1, 17][n as usize % 5];
        teach(&mut adapter, &batch(0, false), &rows(31 * n, count, DIM, 8), Durability::Later).unwrap();
        assert!(adapter.held_rows() <= 64 + count, "label {n}: {} rows", adapter.held_rows());
        assert_eq!(adapter.held_rows(), ids(&adapter).len() as u64);
    }
}

#[test]
fn a_rare_class_keeps_all_of_its_rows_among_thousands_of_others() {
    let disk = Disk::new(&Header::new(creation(DIM as u32, 8).with_replay_rows(64), ID).unwrap());
    let mut adapter = disk.open(Access::Write).unwrap();
    let of = |class: &str, n| Row { labels: labels(&[class], &[]), ..row(n, DIM, 8) };
    for n in 0..2000 {
        let row = if n % 211 == 100 { of("rare", n) } else { of("common", n) };
        teach(&mut adapter, &batch(0, false), &[row], Durability::Later).unwrap();
    }
    let rare = held(&adapter).unwrap().into_iter().filter(|(_, r)| r.labels == labels(&["rare"], &[])).map(|(id, _)| id);
    let rare: BTreeSet<u64> = rare.collect();
    assert_eq!(rare, (0..2000).filter(|n| n % 211 == 100).map(|n| n + 1).collect());
    assert_eq!(adapter.held_rows(), 56, "and background's share is not given away");
}

#[test]
fn about_one_row_in_eight_is_held_out_of_training_and_the_same_ones_after_reopening() {
    let disk = Disk::new(&Header::new(creation(DIM as u32, 8).with_replay_rows(4096), ID).unwrap());
    let mut adapter = disk.open(Access::Write).unwrap();
    let plain: Vec<Row> = rows(0, 3000, DIM, 8).into_iter().map(|r| Row { flags: RowFlags(r.flags.0 & RowFlags::WEAK.0), ..r }).collect();
    teach(&mut adapter, &batch(0, false), &plain, Durability::Now).unwrap();
    let flagged = Row { flags: RowFlags::HELD_OUT, ..row(1, DIM, 8) };
    let first_flagged = teach(&mut adapter, &batch(0, false), &vec![flagged; 20], Durability::Now).unwrap().first_row;
    let held_out = |adapter: &Adapter| {
        let mut held_out = BTreeMap::new();
        let visited = adapter.rows_in_place(|row| {
            held_out.insert(row.id, row.held_out);
            Ok(())
        });
        visited.unwrap();
        held_out
    };
    let before = held_out(&adapter);
    let drawn = before.range(..first_flagged).filter(|(_, out)| **out).count();
    // Four standard deviations.
    assert!(drawn.abs_diff(before.range(..first_flagged).count() / 8) < 73, "{drawn} of {}", before.len());
    assert!(before.range(first_flagged..).all(|(_, out)| *out), "those that are flagged are");
    adapter.relabel(&[5, 6, 7, 8, 9, 10], &labels(&["jay"], &[]), "a person", Durability::Now).unwrap();
    assert_eq!(held_out(&adapter), before, "other labels change nothing");
    adapter.checkpoint().unwrap();
    for access in [Access::Read, Access::Write] {
        assert_eq!(held_out(&disk.open(access).unwrap()), before, "reopened");
    }
    adapter.compact().unwrap();
    assert_eq!(held_out(&adapter), before, "compacted");
}
