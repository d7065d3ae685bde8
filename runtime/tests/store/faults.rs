//! Every operation of the disk failing, at every moment of a small life; `cargo xtask crash` tries those of longer ones.

use wheatear::store::{Access, Durability};

use crate::disk::{Disk, Event};
use crate::exhaust::Outcome;
use crate::fail::{failing_changes, failing_reads, failing_to_open};
use crate::script::{DIM, Lived, header, migration, stories};
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

#[test]
fn every_part_is_durable_before_the_root_that_names_it_and_the_journal_before_both() {
    let disk = Disk::new(&header(DIM));
    let mut adapter = disk.open(Access::Write).unwrap();
    teach(&mut adapter, &batch(3, true), &rows(0, 9, DIM, crate::diary::BITS), Durability::Later).unwrap();
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
