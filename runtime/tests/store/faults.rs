//! Failing writes, failing syncs and power cuts at every moment of a scripted life.

use std::collections::HashMap;

use wheatear::store::{Access, Adapter, Durability, Header};

use crate::disk::{Disk, Event, Image};
use crate::world::{ID, Row, batch, bulky, check, creation, rows, teach};

/// Checkpoints come after each few records at the first, and only when a chunk is taken again at the second.
const DIMS: [usize; 2] = [4, 160];
const BITS: u8 = 6;

fn header(dim: usize) -> Header {
    Header::new(creation(dim as u32, BITS), ID).unwrap()
}

/// What the life has taught so far, and what it was promised.
#[derive(Default)]
struct Diary {
    taught: Vec<Row>,
    /// Rows after each generation.
    generations: HashMap<u64, usize>,
    /// Operations done when a generation was acknowledged as durable.
    promises: Vec<(usize, u64)>,
}

/// Small and bulky records, immediate and deferred syncs, two checkpoints, and the chunk file filled more than once.
fn live(adapter: &mut Adapter, disk: &Disk, diary: &mut Diary) -> wheatear::Result<()> {
    diary.generations.insert(adapter.generation(), diary.taught.len());
    for step in 0..26u64 {
        let (count, batch) = match step % 4 {
            0 => (3, bulky(20_000)),
            1 => (1, batch(9, false)),
            2 => (2, bulky(13_000 + 700 * step as usize)),
            _ => (2, batch(9, step % 8 == 7)),
        };
        let new = rows(diary.taught.len() as u64, count, adapter.dim(), BITS);
        let generation = adapter.generation() + 1;
        // Written down first: a row whose commit failed half-way may be there or not.
        diary.taught.extend(new.iter().cloned());
        diary.generations.insert(generation, diary.taught.len());
        let durability = if step % 3 == 1 { Durability::Later } else { Durability::Now };
        let ack = teach(adapter, &batch, &new, durability)?;
        assert_eq!(ack.generation, generation, "one record a call");
        if ack.durable {
            diary.promises.push((disk.operations(), generation));
        }
        if step % 10 == 5 && adapter.dim() == DIMS[0] {
            adapter.checkpoint()?;
            diary.promises.push((disk.operations(), generation));
        }
    }
    Ok(())
}

/// Opens what is left, checks it against the diary, teaches on, and opens again.
fn check_survivors(dim: usize, image: Image, diary: &Diary, promised: u64, when: &str) {
    let disk = Disk::of(image);
    let reader = disk.open(Access::Read).unwrap_or_else(|e| panic!("{when}: reading: {e}"));
    let mut adapter = disk.open(Access::Write).unwrap_or_else(|e| panic!("{when}: {e}"));
    let generation = adapter.generation();
    assert!(generation >= promised, "{when}: generation {generation}, but {promised} was durable");
    assert_eq!(reader.generation(), generation, "{when}: reader and writer recover the same");
    let mut taught = diary.taught[..diary.generations[&generation]].to_vec();
    check(&adapter, &taught);
    check(&reader, &taught);
    drop(reader);
    let new = rows(1000, 1, dim, BITS);
    teach(&mut adapter, &batch(0, false), &new, Durability::Now).unwrap();
    taught.extend(new);
    drop(adapter);
    let again = disk.open(Access::Write).unwrap();
    assert_eq!(again.generation(), generation + 1, "{when}: nothing stale comes back behind a new record");
    check(&again, &taught);
}

#[test]
fn every_failing_write_or_sync_latches_and_what_was_durable_is_there_on_reopening() {
    let disk = Disk::new(&header(DIMS[0]));
    let mut diary = Diary::default();
    live(&mut disk.open(Access::Write).unwrap(), &disk, &mut diary).unwrap();
    let operations = disk.operations();
    assert!(operations > 80, "a life of {operations} operations");
    for n in 0..operations {
        let disk = Disk::new(&header(DIMS[0]));
        disk.fail_at(n, false, [28, 5][n % 2]);
        let mut diary = Diary::default();
        let mut adapter = disk.open(Access::Write).unwrap();
        let error = live(&mut adapter, &disk, &mut diary).expect_err("the failure is reported");
        assert!(disk.failed() && error.kind() == wheatear::ErrorKind::Storage, "operation {n}: {error}");
        let row = rows(0, 1, DIMS[0], BITS);
        assert!(teach(&mut adapter, &batch(0, false), &row, Durability::Now).is_err(), "operation {n}: latched");
        assert!(adapter.sync().is_err() && adapter.checkpoint().is_err(), "operation {n}: latched");
        assert_eq!(disk.after_failure(), 0, "operation {n}: nothing is written after a failure");
        let promised = diary.promises.last().map_or(0, |(_, g)| *g);
        check_survivors(DIMS[0], disk.image(), &diary, promised, &format!("operation {n}"));
    }
}

#[test]
fn every_part_is_durable_before_the_root_that_names_it_and_the_journal_before_both() {
    let disk = Disk::new(&header(DIMS[0]));
    let mut adapter = disk.open(Access::Write).unwrap();
    teach(&mut adapter, &batch(3, true), &rows(0, 9, DIMS[0], BITS), Durability::Later).unwrap();
    let before = disk.operations();
    adapter.checkpoint().unwrap();
    let slots_end = header(DIMS[0]).state_file_len_bytes() - u64::from(header(DIMS[0]).units) * 65_536;
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
