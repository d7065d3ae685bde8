//! Labels of held rows changed: exactly, and again.

use wheatear::ErrorKind;
use wheatear::learn::LabelSet;
use wheatear::store::{Creation, Durability, Salvage};

use crate::corrected::{BITS, DIM, Life};
use crate::disk::Disk;
use crate::world::{ORIGIN, Row, creation, labels, row, rows};

fn relabel(life: &mut Life, ids: &[u64], labels: &LabelSet) {
    let generation = life.adapter.generation();
    let ack = life.adapter.relabel(ids, labels, "a person", Durability::Now).unwrap();
    assert!(ack.durable && ack.generation > generation);
    for id in ids {
        life.counted.get_mut(id).unwrap().labels = labels.clone();
    }
}

fn digest(life: &Life) -> [u8; 32] {
    life.adapter.statistics_digest().unwrap()
}

#[test]
fn relabelled_rows_count_as_if_they_had_been_taught_so() {
    let mut life = Life::roomy();
    for n in 0..30 {
        life.recording(n / 10 + 1, n % 10 == 9, &[row(n, DIM, BITS)]);
    }
    let taught = digest(&life);
    let before = life.counted.clone();
    // From each kind of block to each: one class, several, not one, and none.
    let sets = [labels(&["jay"], &[]), labels(&["jay", "wren"], &["robin"]), labels(&[], &["jay"]), labels(&[], &[])];
    for (i, set) in sets.iter().chain(&sets).enumerate() {
        let ids: Vec<u64> = (1..=30).filter(|id| id % 8 == i as u64 % 8 || id % 5 == 0).collect();
        relabel(&mut life, &ids, set);
        life.check(&format!("relabelled to {set:?}"));
        let rows: Vec<Row> = life.counted.values().cloned().collect();
        assert_eq!(digest(&life), Life::digest_of(&rows, ORIGIN));
        match i % 3 {
            0 => life.adapter.checkpoint().unwrap(),
            1 => life.reopen(),
            _ => {}
        }
    }
    assert_eq!([1, 2, 3].map(|s| life.adapter.has_source(s)), [true; 3], "the recordings stay known");
    for (id, row) in before {
        relabel(&mut life, &[id], &row.labels);
    }
    assert_eq!(digest(&life), taught, "and back");
    life.check("back");
}

#[test]
fn a_relabelled_row_keeps_its_id_latent_time_and_flags_and_can_be_taken_back() {
    let mut life = Life::small();
    life.live(&rows(0, 3, DIM, BITS));
    life.live(&[row(6, DIM, BITS)]);
    relabel(&mut life, &[4], &labels(&["jay"], &[]));
    assert_eq!(life.held()[&4], Row { labels: labels(&["jay"], &[]), ..row(6, DIM, BITS) });
    life.reopen();
    assert_eq!(life.adapter.undo(1, Durability::Now).unwrap().0, 1);
    life.counted.remove(&4);
    life.check("taken back");
    assert_eq!(digest(&life), Life::digest_of(&rows(0, 3, DIM, BITS), ORIGIN));
}

#[test]
fn a_row_that_is_not_held_is_refused_and_nothing_is_changed() {
    let mut life = Life::small();
    for n in 0..40 {
        life.live(&[row(n, DIM, BITS)]);
    }
    let held = life.held();
    let gone = (1..40).find(|id| !held.contains_key(id)).unwrap();
    life.adapter.undo(1, Durability::Now).unwrap();
    life.counted.remove(&40);
    let (operations, before) = (life.disk.operations(), digest(&life));
    for (id, what) in [(gone, "left replay"), (40, "was taken back"), (99, "never was"), (0, "cannot be")] {
        let error = life.adapter.relabel(&[39, id], &labels(&["jay"], &[]), "a person", Durability::Now).unwrap_err();
        assert!(error.kind() == ErrorKind::Input && error.to_string().contains(&format!("row {id}")), "{what}: {error}");
    }
    assert_eq!((life.disk.operations(), digest(&life)), (operations, before));
    life.check("refused");
}

#[test]
fn a_class_too_many_or_a_note_too_long_is_refused_and_nothing_is_changed() {
    let mut life = Life::new(Creation { max_classes: 3, ..creation(DIM as u32, BITS) });
    life.live(&rows(0, 3, DIM, BITS));
    let operations = life.disk.operations();
    let error = life.adapter.relabel(&[1], &labels(&["jay"], &[]), "a person", Durability::Now).unwrap_err();
    assert_eq!((error.kind(), life.disk.operations()), (ErrorKind::Limit, operations), "{error}");
    let error = life.adapter.relabel(&[1], &labels(&["wren"], &[]), &"x".repeat(70_000), Durability::Now).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    life.check("refused");
    relabel(&mut life, &[1], &labels(&["robin"], &[]));
    life.check("a known class");
}

#[test]
fn many_rows_are_relabelled_in_as_many_records_as_they_need() {
    let mut life = Life::new(creation(DIM as u32, BITS).with_replay_rows(4096));
    life.recording(3, true, &rows(0, 3000, DIM, BITS));
    let ids: Vec<u64> = life.held().keys().copied().filter(|id| id % 10 != 0).collect();
    let generation = life.adapter.generation();
    relabel(&mut life, &ids, &labels(&["jay"], &["wren"]));
    assert!(life.adapter.generation() > generation + 1, "one record does not hold them");
    life.check("relabelled");
}

#[test]
fn relabelling_a_full_replay_for_ever_stays_exact_and_within_its_file() {
    let mut life = Life::small();
    for n in 0..40 {
        life.live(&[row(n, DIM, BITS)]);
    }
    let names = ["jay", "wren", "robin"];
    for round in 0..60usize {
        let ids: Vec<u64> = life.held().keys().copied().filter(|id| (*id as usize + round).is_multiple_of(2)).collect();
        relabel(&mut life, &ids, &labels(&[names[round % 3]], &[]));
        if round % 10 == 9 {
            life.live(&[row(100 + round as u64, DIM, BITS)]);
            life.check(&format!("round {round}"));
        }
    }
}

/// One label set of 10 names, which take 2.4 KiB: a row under it is fifty times as long as most.
fn long_names() -> LabelSet {
    let names: Vec<String> = (0..10).map(|n| format!("{n:0>240}")).collect();
    labels(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

#[test]
fn long_names_take_the_place_of_other_rows_and_the_file_never_fills() {
    let mut life = Life::roomy();
    for n in 0..300 {
        life.recording(n + 1, true, &rows(3 * n, 3, DIM, BITS));
    }
    for _ in 0..2 {
        for id in life.held().into_keys().step_by(3) {
            // It may have made room for one before.
            if life.held().contains_key(&id) {
                relabel(&mut life, &[id], &long_names());
            }
        }
        life.check("relabelled");
    }
    assert!(life.adapter.evicted_rows() > 200, "{}", life.adapter.evicted_rows());
    for n in 0..40 {
        life.live(&[Row { labels: long_names(), ..row(n, DIM, BITS) }]);
    }
    life.check("and learned");
    let ids: Vec<u64> = life.held().into_keys().collect();
    let error = life.adapter.relabel(&ids, &long_names(), &"x".repeat(3000), Durability::Now).unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.to_string().contains("relabel fewer rows"), "{error}");
    life.check("refused");
}

#[test]
fn a_recording_with_one_row_that_fills_half_a_chunk_can_be_corrected() {
    let mut life = Life::new(Creation { max_classes: 256, max_sources: 8, ..creation(DIM as u32, BITS).with_replay_rows(4096) });
    let names: Vec<String> = (0..230).map(|n| format!("{n:0>200}")).collect();
    let half = |names: &[String]| labels(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let mut recording = rows(0, 600, DIM, BITS);
    (recording[300].labels, recording[301].labels) = (half(&names[..115]), half(&names[115..]));
    life.recording(7, true, &recording);
    relabel(&mut life, &[299, 300, 301, 302], &half(&names[100..200]));
    life.check("relabelled");
    let (undone, _) = life.adapter.undo(1, Durability::Now).unwrap();
    assert_eq!(undone, 600);
    life.counted.clear();
    life.check("taken back");
}

#[test]
fn rows_that_make_way_for_a_recording_do_not_have_repair_take_it_for_taught() {
    let mut life = Life::roomy();
    for n in 0..300 {
        life.live(&rows(3 * n, 3, DIM, BITS));
    }
    while life.adapter.evicted_rows() == 0 {
        life.live(&[Row { labels: long_names(), ..row(1, DIM, BITS) }]);
    }
    let generation = life.adapter.generation();
    life.recording(50, false, &[Row { labels: long_names(), ..row(2, DIM, BITS) }]);
    assert_eq!(life.adapter.generation(), generation + 2, "more rows make way than one record lists");
    let salvage = Salvage::read(&Disk::of(life.disk.image()), None).unwrap();
    assert!(salvage.report().is_complete(), "{:#?}", salvage.report());
    let again = salvage.restore_in(Disk::default().folder(), [9; 16], 5).unwrap();
    assert_eq!((again.has_source(50), again.rows_of_unfinished(50)), (false, 1));
}
