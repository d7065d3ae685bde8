//! Every operation of the disk failing, at every moment of a small life; `cargo xtask crash` tries those of longer ones.

use wheatear::ErrorKind;
use wheatear::store::{Access, Durability, Recovery};

use crate::diary::BITS;
use crate::disk::{Disk, Event};
use crate::exhaust::Outcome;
use crate::fail::{failing_changes, failing_reads, failing_to_open};
use crate::flips::every_flip;
use crate::script::{DIM, Lived, header, migration, stories, well_used};
use crate::world::{batch, rows, teach};

fn lives() -> Vec<Lived> {
    let (phase, start) = migration();
    let mut lives: Vec<Lived> = stories(true).iter().flat_map(|story| story.live()).collect();
    lives.push(phase.live(&start, "an adapter of format 1"));
    lives
}

fn all(run: impl Fn(&Lived) -> Outcome) {
    let mut all = Outcome::default();
    lives().iter().for_each(|lived| all.add(run(lived)));
    assert!(all.lost == 0 && all.images > 100, "{} of {}: {:#?}", all.lost, all.images, all.failures);
}

#[test]
fn every_failing_change_of_the_disk_latches_and_what_was_durable_is_there_on_reopening() {
    all(|lived| failing_changes(lived, true, None));
}

#[test]
fn every_failing_read_is_an_error_or_does_no_harm() {
    all(|lived| failing_reads(lived, None));
}

#[test]
fn opening_with_a_failing_read_is_an_error_or_shows_all_that_is_there() {
    all(|lived| failing_to_open(lived, 20, None));
}

/// One bit of every so many bytes; `cargo xtask crash` flips all of them.
const BYTES_A_FLIP: usize = 23;

#[test]
fn a_flipped_bit_is_refused_or_reported_or_does_no_harm() {
    let wanted =
        |at: usize| if at.is_multiple_of(BYTES_A_FLIP) { (at / BYTES_A_FLIP % 8) as u8..(at / BYTES_A_FLIP % 8 + 1) as u8 } else { 0..0 };
    let flips = every_flip(&well_used(), wanted, None);
    assert!(flips.silent == 0 && flips.flipped > 5_000 && flips.unread > 0, "{:#?}", flips.failures);
    assert!(flips.refused > 0 && flips.reported > 0 && flips.harmless > 0, "{flips:#?}");
}

#[test]
fn a_durable_record_that_is_damaged_is_not_taken_for_a_torn_one() {
    let disk = Disk::new(&header(DIM));
    let mut adapter = disk.open(Access::Write).unwrap();
    let taught = rows(0, 4, DIM, BITS);
    let mut ends = Vec::new();
    for (row, durability) in taught.iter().zip([Durability::Now, Durability::Now, Durability::Later, Durability::Later]) {
        teach(&mut adapter, &batch(0, false), std::slice::from_ref(row), durability).unwrap();
        let last = disk
            .events()
            .into_iter()
            .rev()
            .find_map(|e| if let Event::Write { offset, bytes, .. } = e { Some(offset + bytes.len()) } else { None });
        ends.push(last.unwrap());
    }
    drop(adapter);
    let damaged = |end: usize| {
        let mut image = disk.image();
        image.file("chunks")[end - 1] ^= 4;
        Disk::of(image)
    };
    for access in [Access::Read, Access::Write] {
        // Each of the first two was durable when the one behind it was written.
        for end in &ends[..2] {
            assert_eq!(damaged(*end).open(access).err().unwrap().kind(), ErrorKind::Corrupt);
        }
        // The last two were never promised to be: a power cut can take them in any order.
        for (i, end) in ends[2..].iter().enumerate() {
            let adapter = damaged(*end).open(access).unwrap();
            assert_eq!(adapter.recovery(), Recovery::RolledBack { generation: i as u64 + 2 });
        }
    }
}

#[test]
fn every_part_is_durable_before_the_root_that_names_it_and_the_journal_before_both() {
    let disk = Disk::new(&header(DIM));
    let mut adapter = disk.open(Access::Write).unwrap();
    teach(&mut adapter, &batch(3, true), &rows(0, 9, DIM, BITS), Durability::Later).unwrap();
    let before = disk.operations();
    adapter.checkpoint().unwrap();
    let slots_end = header(DIM).state_file_len_bytes() - u64::from(header(DIM).units) * 65_536;
    let order: Vec<&str> = disk.events()[before..]
        .iter()
        .map(|e| match e {
            Event::Sync { file: 0 } => "sync chunks",
            Event::Sync { .. } => "sync state",
            Event::Write { file: 0, .. } => "record",
            Event::Write { offset, .. } if (*offset as u64) < slots_end => "root",
            Event::Write { .. } => "part",
            _ => "a name",
        })
        .collect();
    assert_eq!(order, ["sync chunks", "part", "part", "part", "part", "part", "sync state", "root", "sync state"]);
}
