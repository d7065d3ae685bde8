//! Labels taken back: exactly, to the stated horizon, and not a row beyond it.

use wheatear::ErrorKind;
use wheatear::learn::ClassName;
use wheatear::store::{Batch, Creation, Durability};
use wheatear::units::Moment;

use crate::corrected::{BITS, DIM, Life};
use crate::world::{ORIGIN, Row, batch, bulky, creation, labels, row, rows, teach};

fn undo(life: &mut Life, labels: usize, rows: u64) {
    let (undone, ack) = life.adapter.undo(labels, Durability::Now).unwrap();
    assert_eq!((undone, ack.durable), (rows, true));
    for _ in 0..rows {
        life.counted.pop_last().unwrap();
    }
}

#[test]
fn labels_taken_back_leave_the_digest_of_never_having_learned_them() {
    let mut life = Life::roomy();
    let all = rows(0, 60, DIM, BITS);
    // Labels of one to four rows, of every kind of block.
    let sizes = [3, 1, 2, 4, 1, 1, 3, 2, 4, 1, 3, 2, 1, 4, 2, 3, 1, 2];
    let mut taught = Vec::new();
    for size in sizes {
        let from = taught.iter().sum::<usize>();
        life.live(&all[from..from + size]);
        taught.push(size);
    }
    let mut round = 0;
    while !taught.is_empty() {
        round += 1;
        match round % 3 {
            1 => life.adapter.checkpoint().unwrap(),
            2 => life.reopen(),
            _ => {}
        }
        let labels = (round % 4 + 1).min(taught.len());
        let rows: usize = taught.split_off(taught.len() - labels).iter().sum();
        undo(&mut life, labels, rows as u64);
        life.check(&format!("round {round}"));
        let left = &all[..taught.iter().sum()];
        let expected = if left.is_empty() { None } else { Some(Life::digest_of(left, ORIGIN)) };
        let found = life.adapter.statistics_digest().unwrap();
        assert!(expected.is_none_or(|e| e == found), "round {round}");
    }
    assert_eq!(life.adapter.origins(), [], "nothing is left");
    let error = life.adapter.undo(1, Durability::Now).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("not so many")), (ErrorKind::Input, true), "{error}");
    let ids = life.live(&all[..2]);
    assert_eq!(ids.first_row, 1 + sizes.iter().sum::<usize>() as u64, "no id is used twice");
    life.check("taught again");
}

#[test]
fn a_recording_of_many_records_is_one_label_and_can_be_taught_again() {
    for checkpoint in [false, true] {
        let mut life = Life::new(Creation { max_sources: 64, ..creation(DIM as u32, BITS).with_replay_rows(8192) });
        let (before, recording) = (rows(0, 5, DIM, BITS), rows(5, 2600, DIM, BITS));
        life.recording(5, true, &before);
        let first = life.adapter.generation();
        life.recording(6, true, &recording);
        assert!(life.adapter.generation() > first + 1, "one record does not hold it");
        if checkpoint {
            life.adapter.checkpoint().unwrap();
        }
        life.reopen();
        undo(&mut life, 1, 2600);
        life.check("the recording is gone");
        assert_eq!(life.adapter.statistics_digest().unwrap(), Life::digest_of(&before, ORIGIN));
        assert_eq!([5, 6].map(|s| life.adapter.has_source(s)), [true, false]);
        life.reopen();
        assert_eq!([5, 6].map(|s| life.adapter.has_source(s)), [true, false], "after reopening");
        life.recording(6, true, &recording);
        life.check("it is taught again");
        assert!(life.adapter.has_source(6));
        undo(&mut life, 1, 2600);
        life.check("it is gone again");
    }
}

#[test]
fn a_recording_that_was_resumed_is_one_label_and_a_part_before_others_is_resumed_again() {
    let mut life = Life::roomy();
    life.recording(5, true, &rows(0, 2, DIM, BITS));
    life.recording(6, false, &rows(2, 3, DIM, BITS));
    life.recording(6, true, &rows(5, 4, DIM, BITS));
    undo(&mut life, 1, 7);
    assert_eq!([5, 6].map(|s| life.adapter.has_source(s)), [true, false]);
    life.check("resumed");
    life.recording(6, false, &rows(2, 3, DIM, BITS));
    life.live(&rows(9, 1, DIM, BITS));
    life.recording(6, false, &rows(5, 4, DIM, BITS));
    assert_eq!(life.adapter.rows_of_unfinished(6), 7);
    undo(&mut life, 1, 4);
    for opened in 0..2 {
        assert_eq!((life.adapter.rows_of_unfinished(6), life.adapter.has_source(6)), (3, false), "opened {opened} times");
        life.reopen();
    }
    life.check("its second part is gone");
}

#[test]
fn labels_of_one_moment_are_one_call_and_labels_of_two_people_are_two() {
    let mut life = Life::roomy();
    let by = |by: &str| Batch { by: by.into(), ..batch(0, false) };
    life.teach(&by("ada"), &rows(0, 2, DIM, BITS));
    life.teach(&by("grace"), &rows(2, 3, DIM, BITS));
    undo(&mut life, 1, 3);
    undo(&mut life, 1, 2);
    life.check("both");
}

#[test]
fn undo_reaches_exactly_to_the_horizon_and_beyond_it_takes_nothing() {
    let mut life = Life::small();
    for n in 0..40 {
        life.live(&[row(n, DIM, BITS)]);
    }
    assert!(life.adapter.evicted_rows() > 10);
    assert_eq!(life.adapter.oldest_undoable_row(), Some(37));
    for reopened in [false, true] {
        if reopened {
            life.reopen();
        }
        let (operations, digest) = (life.disk.operations(), life.adapter.statistics_digest().unwrap());
        for labels in [5, 6, 100] {
            let error = life.adapter.undo(labels, Durability::Now).unwrap_err();
            assert_eq!((error.kind(), error.to_string().contains("at most 4 labels")), (ErrorKind::Limit, true), "{error}");
        }
        assert_eq!((life.disk.operations(), life.adapter.statistics_digest().unwrap()), (operations, digest), "nothing is taken");
        life.check("refused");
    }
    undo(&mut life, 4, 4);
    life.check("four");
    assert_eq!(life.adapter.undo(1, Durability::Now).unwrap_err().kind(), ErrorKind::Limit);
    life.live(&[row(50, DIM, BITS)]);
    life.check("and learning goes on");
}

#[test]
fn a_label_with_rows_behind_the_horizon_is_refused_whole() {
    for checkpoint in [false, true] {
        let mut life = Life::small();
        for n in 0..12 {
            life.live(&[row(3 * n, DIM, BITS)]);
        }
        // Twenty rows of one label, of which some have left already; then one of its own.
        life.recording(8, true, &(0..20).map(|n| row(3 * n, DIM, BITS)).collect::<Vec<_>>());
        life.live(&[row(1, DIM, BITS)]);
        assert!(life.held().keys().filter(|id| (13..33).contains(*id)).count() < 20);
        if checkpoint {
            life.adapter.checkpoint().unwrap();
            life.reopen();
        }
        let generation = life.adapter.generation();
        assert_eq!(life.adapter.undo(2, Durability::Now).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(life.adapter.generation(), generation);
        undo(&mut life, 1, 1);
        assert_eq!(life.adapter.undo(1, Durability::Now).unwrap_err().kind(), ErrorKind::Limit);
        life.check("the twenty stand");
        assert!(life.adapter.has_source(8));
    }
}

#[test]
fn a_label_behind_labels_that_were_taken_back_is_within_reach_whatever_happened_in_between() {
    type Between = fn(&mut Life);
    let between: [(&str, Between); 4] = [
        ("nothing", |_| ()),
        ("reopened", |life| life.reopen()),
        ("reopened from a checkpoint", |life| {
            life.adapter.checkpoint().unwrap();
            life.reopen();
        }),
        ("compacted", |life| life.adapter.compact().unwrap()),
    ];
    for (what, happens) in between {
        let mut life = Life::small();
        for n in 0..30 {
            life.live(&[row(n, DIM, BITS)]);
        }
        assert!(life.adapter.evicted_rows() > 0);
        undo(&mut life, 3, 3);
        happens(&mut life);
        life.live(&[row(40, DIM, BITS)]);
        happens(&mut life);
        undo(&mut life, 1, 1);
        life.check(what);
    }
}

#[test]
fn undo_does_not_bring_back_what_left_for_it_and_the_sums_stay_right() {
    let mut life = Life::small();
    let classes: Vec<Row> = (0..30).map(|n| Row { labels: labels(&["wren"], &[]), ..row(n, DIM, BITS) }).collect();
    for row in &classes {
        life.live(std::slice::from_ref(row));
    }
    let (held, evicted) = (life.adapter.held_rows(), life.adapter.evicted_rows());
    life.live(&[row(1, DIM, BITS), row(4, DIM, BITS)]);
    undo(&mut life, 1, 2);
    assert_eq!((life.adapter.held_rows(), life.adapter.evicted_rows()), (held - 2, evicted + 2), "two made room and are gone");
    life.check("taken back");
    assert_eq!(life.adapter.statistics_digest().unwrap(), Life::digest_of(&classes, ORIGIN));
}

#[test]
fn undo_behind_a_damaged_chunk_is_refused_where_rows_of_the_label_may_have_been_in_it() {
    let mut life = Life::small();
    // One label whose records fill one chunk and begin the next.
    let long = Batch { by: "x".repeat(30_000), ..batch(0, false) };
    for n in 0..3 {
        let ack = teach(&mut life.adapter, &long, &[row(3 * n, DIM, BITS)], Durability::Now).unwrap();
        life.counted.insert(ack.first_row, row(3 * n, DIM, BITS));
    }
    life.adapter.checkpoint().unwrap();
    let mut image = life.disk.image();
    image.file("chunks")[1_000] ^= 1;
    life.disk = crate::disk::Disk::of(image);
    life.reopen();
    assert_eq!((life.adapter.damaged_chunks(), life.adapter.held_rows()), (1, 1));
    assert_eq!(life.adapter.undo(1, Durability::Now).unwrap_err().kind(), ErrorKind::Limit);
    life.check("nothing is taken");
}

#[test]
fn a_label_of_which_long_rows_were_crowded_out_of_the_horizon_is_refused_whole() {
    let long = |ns: u64| Batch { time: Moment { monotonic_ns: ns, ..Moment::UNKNOWN }, ..bulky(20_000) };
    for (seed, reopen) in (0..24).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut life = Life::new(Creation { seed, ..creation(DIM as u32, BITS) });
        // One label of five rows, then three labels for which some of those five leave.
        for n in 0..5 {
            life.teach(&long(0), &[row(3 * n, DIM, BITS)]);
        }
        for n in 5..8 {
            life.teach(&long(n), &[row(3 * n, DIM, BITS)]);
        }
        assert!(life.held().len() < 7, "seed {seed}");
        undo(&mut life, 3, 3);
        if reopen {
            life.reopen();
        }
        let held = life.held().len();
        let result = life.adapter.undo(1, Durability::Now);
        assert_eq!(result.err().map(|e| e.kind()), Some(ErrorKind::Limit), "seed {seed}, {held} of five held, reopened: {reopen}");
        life.check("refused");
    }
}

#[test]
fn short_rows_that_left_for_long_ones_are_missed_when_the_long_ones_were_taken_back() {
    let long = |ns: u64, len| Batch { time: Moment { monotonic_ns: ns, ..Moment::UNKNOWN }, ..bulky(len) };
    let of = |class: &str, n| Row { labels: labels(&[class], &[]), ..row(n, DIM, BITS) };
    let begun = || {
        let mut life = Life::new(Creation { undo_rows: 8, ..creation(DIM as u32, BITS) });
        life.live(&(0..5).map(|n| of("wren", n)).collect::<Vec<_>>());
        for (n, class) in (6..).zip(["robin", "jay", "a b/c"]) {
            life.teach(&long(n, 30_000), &[of(class, n)]);
        }
        life
    };
    // Just so long that some of the five leave for it.
    let lives = (36_000..39_000).step_by(60).map(|len| {
        let mut life = begun();
        life.teach(&long(9, len), &[of("owl", 9)]);
        life
    });
    let mut tried = 0;
    for mut life in lives.filter(|life| (6..9).contains(&life.held().len())) {
        tried += 1;
        (0..4).for_each(|_| undo(&mut life, 1, 1));
        assert!((1..5).contains(&life.held().len()), "some of the five are left: {:?}", life.held().keys());
        life.reopen();
        for reopened in 0..2 {
            assert_eq!(life.adapter.undo(1, Durability::Now).unwrap_err().kind(), ErrorKind::Limit, "reopened {reopened} times more");
            life.adapter.checkpoint().unwrap();
            life.reopen();
        }
        life.check("refused");
    }
    assert!(tried > 1);
}

#[test]
fn an_undo_that_was_acknowledged_as_later_is_durable_at_the_next_sync() {
    let mut life = Life::roomy();
    life.live(&rows(0, 2, DIM, BITS));
    life.live(&rows(2, 2, DIM, BITS));
    let (_, ack) = life.adapter.undo(1, Durability::Later).unwrap();
    assert!(!ack.durable);
    life.adapter.sync().unwrap();
    life.counted.pop_last();
    life.counted.pop_last();
    life.check("synced");
}

#[test]
fn two_live_labels_that_were_relabelled_together_are_still_two_labels() {
    let mut life = Life::roomy();
    let before = life.counted.clone();
    life.live(&rows(0, 3, DIM, BITS));
    let first = life.counted.clone();
    life.live(&rows(3, 2, DIM, BITS));
    life.adapter.relabel(&[1, 2, 3, 4, 5], &labels(&["jay"], &[]), "a person", Durability::Now).unwrap();
    life.reopen();
    undo(&mut life, 1, 2);
    assert_eq!(life.held().keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    undo(&mut life, 1, 3);
    assert_eq!(life.counted, before);
    life.check("both are gone");
}

#[test]
fn undo_reaches_across_what_was_taken_back_after_every_rewriting() {
    let mut life = Life::roomy();
    for n in 0..4 {
        life.live(&rows(3 * n, 3, DIM, BITS));
    }
    undo(&mut life, 1, 3);
    life.live(&rows(12, 3, DIM, BITS));
    life.adapter.compact().unwrap();
    life.adapter.relabel(&[1], &labels(&["jay"], &[]), "a person", Durability::Now).unwrap();
    life.adapter.forget_hard(&ClassName::new("jay").unwrap()).unwrap();
    life.counted.remove(&1);
    life.reopen();
    assert_eq!(life.adapter.oldest_undoable_row(), Some(2));
    undo(&mut life, 3, 9);
    life.check("all but the first");
}

#[test]
fn undo_reaches_across_what_a_rollback_took_back() {
    let mut life = Life::small();
    for n in 0..40 {
        life.live(&[row(n, DIM, BITS)]);
    }
    life.adapter.checkpoint().unwrap();
    let (generation, before) = (life.adapter.generation(), life.counted.clone());
    life.live(&[row(40, DIM, BITS)]);
    life.live(&[row(41, DIM, BITS)]);
    life.adapter.roll_back(generation, 77).unwrap();
    life.counted = before;
    life.live(&[row(42, DIM, BITS)]);
    life.reopen();
    assert!(life.adapter.evicted_rows() > 0 && life.adapter.oldest_undoable_row().is_some_and(|oldest| oldest <= 40));
    undo(&mut life, 2, 2);
    life.check("the label behind the rollback, and the one before");
}
