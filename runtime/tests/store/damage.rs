//! Bytes of the chunk file that went bad while the adapter was closed.

use wheatear::ErrorKind;
use wheatear::store::{Access, Adapter, Durability, Header, Recovery};

use crate::disk::{Disk, Event, Image};
use crate::world::{ID, Row, batch, bulky, check, creation, held, labels, rows, sums, sums_of, teach};

pub const CHUNK: usize = 65_536;

pub fn header() -> Header {
    Header::new(creation(4, 8), ID).unwrap()
}

pub fn open(disk: &Disk) -> Adapter {
    disk.open(Access::Write).unwrap()
}

pub fn refused(image: Image, access: Access) -> ErrorKind {
    Disk::of(image).open(access).err().expect("refused").kind()
}

/// Teaches one row a record, each record about `len` bytes.
pub fn taught(disk: &Disk, count: u64, len: usize) -> Vec<Row> {
    let mut adapter = open(disk);
    let taught = rows(0, count, 4, 8);
    for row in &taught {
        teach(&mut adapter, &bulky(len), std::slice::from_ref(row), Durability::Now).unwrap();
    }
    taught
}

/// Where each write to the chunk file began, in order.
fn chunk_writes(disk: &Disk) -> Vec<usize> {
    let offset = |e: &Event| if let Event::Write { file: 0, offset, .. } = e { Some(*offset) } else { None };
    disk.events().iter().filter_map(offset).collect()
}

fn ids(adapter: &Adapter) -> Vec<u64> {
    held(adapter).unwrap().iter().map(|(id, _)| *id).collect()
}

#[test]
fn torn_record_falls_back_to_previous_generation_and_stale_bytes_never_come_back() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 4, 500);
    let start = *chunk_writes(&disk).last().unwrap();
    for torn in [3, 30, 41, 100, 500] {
        let mut image = disk.image();
        image.file("chunks")[start + torn] ^= 0x10;
        let disk = Disk::of(image);
        let mut adapter = open(&disk);
        check(&adapter, &taught[..3]);
        assert_eq!(adapter.recovery(), Recovery::RolledBack { generation: 3 }, "byte {torn}");
        // Shorter than what it replaces, and then the very record that was torn.
        let mut now = taught[..3].to_vec();
        for len in [20, 500] {
            teach(&mut adapter, &bulky(len), &taught[3..], Durability::Now).unwrap();
            now.push(taught[3].clone());
            let again = open(&disk);
            check(&again, &now);
            assert_eq!((again.generation(), again.recovery()), (now.len() as u64, Recovery::Clean), "byte {torn}");
        }
    }
}

#[test]
fn a_record_lost_before_one_that_arrived_is_not_followed_by_it_when_taught_again() {
    let disk = Disk::new(&header());
    let taught = rows(0, 5, 4, 8);
    let mut adapter = open(&disk);
    for (i, row) in taught.iter().enumerate() {
        // The last two under one sync that never came.
        let durability = if i < 3 { Durability::Now } else { Durability::Later };
        teach(&mut adapter, &bulky(500), std::slice::from_ref(row), durability).unwrap();
    }
    drop(adapter);
    let offsets = chunk_writes(&disk);
    let mut image = disk.image();
    let lost = offsets[offsets.len() - 2];
    image.file("chunks")[lost..lost + 400].fill(0);
    let disk = Disk::of(image);
    let mut adapter = open(&disk);
    assert_eq!(adapter.recovery(), Recovery::RolledBack { generation: 3 });
    teach(&mut adapter, &bulky(500), &taught[3..4], Durability::Now).unwrap();
    drop(adapter);
    let again = open(&disk);
    assert_eq!(again.generation(), 4, "the fifth was rolled back and stays so");
    check(&again, &taught[..4]);
}

#[test]
fn a_record_lost_before_one_that_says_it_was_durable_is_damage() {
    let disk = Disk::new(&header());
    taught(&disk, 5, 500);
    let offsets = chunk_writes(&disk);
    let mut image = disk.image();
    let lost = offsets[offsets.len() - 2];
    image.file("chunks")[lost..lost + 400].fill(0);
    for access in [Access::Read, Access::Write] {
        assert_eq!(refused(image.clone(), access), ErrorKind::Corrupt);
    }
}

#[test]
fn a_damaged_first_record_of_the_open_chunk_with_durable_ones_behind_it_is_damage() {
    // At this dimension no checkpoint comes before the chunk file is full.
    let disk = Disk::new(&Header::new(creation(160, 8), ID).unwrap());
    let mut adapter = open(&disk);
    let rows = rows(0, 6, 160, 8);
    for row in &rows {
        teach(&mut adapter, &bulky(20_000), std::slice::from_ref(row), Durability::Now).unwrap();
    }
    assert_eq!(adapter.checkpoint_generation(), 0);
    check(&open(&disk), &rows);
    for at in [4, 30, 36, 100, 20_000] {
        let mut image = disk.image();
        image.file("chunks")[CHUNK + 512 + at] ^= 4;
        for access in [Access::Read, Access::Write] {
            assert_eq!(refused(image.clone(), access), ErrorKind::Corrupt, "byte {at}");
        }
    }
}

/// Rows one a record; the first three fill a chunk and are durable, the rest were being written when the power went, and of
/// them those from `arrived` bytes of the new chunk on reached the disk.
fn lost_beginning(rows: &[Row], arrived: usize) -> Disk {
    let disk = Disk::new(&Header::new(creation(160, 8), ID).unwrap());
    let mut adapter = open(&disk);
    for (n, row) in rows.iter().enumerate() {
        let durability = if n < 3 { Durability::Now } else { Durability::Later };
        teach(&mut adapter, &bulky(20_000), std::slice::from_ref(row), durability).unwrap();
    }
    drop(adapter);
    let mut image = disk.image();
    // The seal of the chunk before goes with them.
    image.file("chunks")[CHUNK - 512..CHUNK + arrived].fill(0);
    Disk::of(image)
}

#[test]
fn records_of_a_lost_batch_never_follow_one_that_is_written_again_byte_for_byte() {
    let rows = rows(0, 6, 160, 8);
    for arrived in [513, 1024, 4096, 20_000] {
        let disk = lost_beginning(&rows, arrived);
        let mut adapter = open(&disk);
        check(&adapter, &rows[..3]);
        teach(&mut adapter, &bulky(20_000), &rows[3..4], Durability::Now).unwrap();
        drop(adapter);
        let again = open(&disk);
        check(&again, &rows[..4]);
        assert_eq!(again.recovery(), Recovery::Clean, "{arrived} bytes");
    }
}

#[test]
fn a_torn_first_record_of_a_chunk_is_rolled_back_and_its_torn_opening_loses_nothing() {
    let disk = Disk::new(&header());
    let mut taught = taught(&disk, 3, 16_300);
    let mut adapter = open(&disk);
    for len in [12_000, 10_000] {
        let new = rows(taught.len() as u64, 1, 4, 8);
        teach(&mut adapter, &bulky(len), &new, Durability::Now).unwrap();
        taught.extend(new);
    }
    drop(adapter);
    assert_eq!((chunk_writes(&disk).last(), open(&disk).checkpoint_generation()), (Some(&CHUNK), 4), "the fifth begins a chunk");
    for at in [CHUNK + 5, CHUNK + 512 + 7, CHUNK + 512 + 900] {
        let mut image = disk.image();
        image.file("chunks")[at] ^= 1;
        let disk = Disk::of(image);
        let mut adapter = open(&disk);
        if at > CHUNK + 512 {
            assert_eq!(adapter.recovery(), Recovery::RolledBack { generation: 4 }, "byte {at}");
            check(&adapter, &taught[..4]);
            teach(&mut adapter, &bulky(20_000), &taught[4..], Durability::Now).unwrap();
            drop(adapter);
        }
        check(&open(&disk), &taught);
        assert_eq!(open(&disk).recovery(), Recovery::Clean, "byte {at}: mended");
    }
}

#[test]
fn a_torn_seal_loses_nothing_and_is_written_again_while_the_chunk_behind_still_proves_it() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 7, 21_000);
    let whole = disk.image().file("chunks").clone();
    for chunk in 0..2 {
        for at in [0, 20, 30] {
            let mut image = disk.image();
            image.file("chunks")[(chunk + 1) * CHUNK - 512 + at] ^= 4;
            let disk = Disk::of(image);
            check(&disk.open(Access::Read).unwrap(), &taught);
            assert!(*disk.image().file("chunks") != whole, "a reader writes nothing");
            let adapter = open(&disk);
            check(&adapter, &taught);
            assert_eq!(adapter.damaged_chunks(), 0);
            assert!(*disk.image().file("chunks") == whole, "chunk {chunk}, byte {at}");
        }
    }
}

#[test]
fn a_damaged_opening_of_the_open_chunk_loses_no_row() {
    let disk = Disk::new(&header());
    let mut taught = taught(&disk, 4, 20_000);
    open(&disk).checkpoint().unwrap();
    let mut image = disk.image();
    image.file("chunks")[CHUNK + 30] ^= 4;
    let disk = Disk::of(image);
    let mut adapter = open(&disk);
    check(&adapter, &taught);
    let new = rows(4, 1, 4, 8);
    teach(&mut adapter, &batch(0, false), &new, Durability::Now).unwrap();
    taught.extend(new);
    drop(adapter);
    check(&open(&disk), &taught);
}

#[test]
fn a_damaged_opening_of_a_sealed_chunk_loses_no_row_whether_seal_or_chain_proves_it() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 6, 21_000);
    for state_lost in [false, true] {
        for (chunk, seal_lost) in [(0, false), (0, true), (1, false), (1, true)] {
            let mut image = disk.image();
            image.file("chunks")[chunk * CHUNK + 30] ^= 4;
            if seal_lost {
                image.file("chunks")[(chunk + 1) * CHUNK - 490] ^= 4;
            }
            if state_lost {
                image.file("state").fill(0);
            }
            let when = format!("chunk {chunk}, its seal lost: {seal_lost}, no checkpoint: {state_lost}");
            for access in [Access::Read, Access::Write] {
                let adapter = Disk::of(image.clone()).open(access).unwrap_or_else(|e| panic!("{when}: {e}"));
                check(&adapter, &taught);
                assert_eq!((adapter.damaged_chunks(), adapter.recovery()), (0, Recovery::Clean), "{when}");
            }
        }
    }
}

#[test]
fn a_damaged_record_of_the_open_chunk_behind_a_checkpoint_leaves_replay_and_learning_goes_on() {
    let disk = Disk::new(&header());
    let mut taught = taught(&disk, 2, 20_000);
    open(&disk).checkpoint().unwrap();
    let mut image = disk.image();
    image.file("chunks")[30_000] ^= 4;
    let disk = Disk::of(image);
    for (i, id) in [3, 4].into_iter().enumerate() {
        let mut adapter = open(&disk);
        assert_eq!((adapter.damaged_chunks(), adapter.evicted_rows()), (1, 2));
        let new = rows(taught.len() as u64, 1, 4, 8);
        teach(&mut adapter, &bulky(20_000), &new, Durability::Now).unwrap();
        taught.extend(new);
        assert_eq!(sums_of(&adapter), sums(&taught, 4));
        assert_eq!((ids(&adapter).len(), ids(&adapter)[i]), (i + 1, id));
    }
    assert_eq!(sums_of(&open(&disk)), sums(&taught, 4));
}

#[test]
fn rows_behind_a_checkpoint_leave_replay_with_the_damaged_chunk_that_they_lie_in() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 3, 500);
    let mut adapter = open(&disk);
    adapter.checkpoint().unwrap();
    let more = rows(3, 2, 4, 8);
    teach(&mut adapter, &batch(0, false), &more, Durability::Now).unwrap();
    drop(adapter);
    let mut image = disk.image();
    image.file("chunks")[700] ^= 4;
    let disk = Disk::of(image);
    let all: Vec<Row> = [taught, more].concat();
    for last in [false, true] {
        let mut adapter = open(&disk);
        assert_eq!((adapter.damaged_chunks(), adapter.held_rows(), adapter.evicted_rows()), (1, 0, 5));
        assert_eq!((ids(&adapter), sums_of(&adapter)), (vec![], sums(&all, 4)));
        adapter.checkpoint().unwrap();
        let mut full = rows(5, 1, 4, 8);
        if last {
            teach(&mut adapter, &batch(0, false), &full, Durability::Now).unwrap();
            let adapter = open(&disk);
            full.splice(0..0, all.clone());
            assert_eq!((ids(&adapter), adapter.held_rows(), sums_of(&adapter)), (vec![6], 1, sums(&full, 4)));
        }
    }
}

#[test]
fn a_damaged_record_in_the_middle_of_the_journal_is_refused_and_not_rolled_back() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 5, 15_500);
    let mut image = disk.image();
    image.file("state").fill(0);
    check(&open(&Disk::of(image.clone())), &taught);
    image.file("chunks")[40_000] ^= 1;
    for access in [Access::Read, Access::Write] {
        assert_eq!(refused(image.clone(), access), ErrorKind::Corrupt);
    }
}

#[test]
fn a_damaged_sealed_chunk_leaves_replay_and_the_statistics_count_it_still() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 5, 20_000);
    open(&disk).checkpoint().unwrap();
    for at in [512 + 800, 30_000, 50_000] {
        let mut image = disk.image();
        image.file("chunks")[at] ^= 4;
        let disk = Disk::of(image);
        for opening in 0..2 {
            let mut adapter = open(&disk);
            assert_eq!((adapter.damaged_chunks(), adapter.evicted_rows()), (1, 3), "byte {at}, opening {opening}");
            assert_eq!(sums_of(&adapter), sums(&taught, 4));
            assert_eq!(ids(&adapter), [4, 5]);
            adapter.checkpoint().unwrap();
        }
    }
}

#[test]
fn a_whole_chunk_before_a_damaged_one_stays_in_replay() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 7, 17_500);
    open(&disk).checkpoint().unwrap();
    let mut image = disk.image();
    image.file("chunks")[CHUNK + 700] ^= 4;
    let adapter = open(&Disk::of(image));
    assert_eq!((adapter.damaged_chunks(), adapter.evicted_rows()), (1, 3));
    assert_eq!(ids(&adapter), [1, 2, 3, 7]);
    assert_eq!(sums_of(&adapter), sums(&taught, 4));
}

#[test]
fn rows_of_a_damaged_chunk_cannot_be_corrected_and_what_cannot_is_said() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 5, 20_000);
    open(&disk).checkpoint().unwrap();
    let mut image = disk.image();
    image.file("chunks")[30_000] ^= 4;
    let mut adapter = open(&Disk::of(image));
    let labels = taught[0].labels.clone();
    let error = adapter.relabel(&[4, 2], &labels, "a person", Durability::Now).unwrap_err();
    assert!(error.kind() == ErrorKind::Input && error.to_string().contains("row 2"), "{error}");
    assert_eq!(sums_of(&adapter), sums(&taught, 4), "nothing was changed");
}

#[test]
fn rows_that_had_left_stay_gone_when_their_chunk_can_be_read_again() {
    let disk = Disk::new(&header());
    let mut taught = taught(&disk, 5, 20_000);
    let mut adapter = open(&disk);
    adapter.relabel(&[1], &labels(&["jay"], &[]), "a person", Durability::Now).unwrap();
    taught[0].labels = labels(&["jay"], &[]);
    adapter.checkpoint().unwrap();
    drop(adapter);
    let whole = disk.image().file("chunks")[..CHUNK].to_vec();
    for relabelled_meanwhile in [false, true] {
        let mut image = disk.image();
        image.file("chunks")[..CHUNK].fill(0x5a);
        let disk = Disk::of(image);
        let mut adapter = open(&disk);
        assert_eq!((adapter.damaged_chunks(), adapter.held_rows()), (1, 3));
        let mut now = taught.clone();
        if relabelled_meanwhile {
            adapter.relabel(&[1, 4], &labels(&["owl"], &[]), "a person", Durability::Now).unwrap();
            [0, 3].into_iter().for_each(|i: usize| now[i].labels = labels(&["owl"], &[]));
        }
        adapter.checkpoint().unwrap();
        drop(adapter);
        let mut image = disk.image();
        image.file("chunks")[..CHUNK].copy_from_slice(&whole);
        let adapter = open(&Disk::of(image));
        assert_eq!(sums_of(&adapter), sums(&now, 4));
        let held: Vec<(u64, Row)> = held(&adapter).unwrap();
        assert_eq!(held.len(), 5, "each once: {:?}", held.iter().map(|(id, _)| id).collect::<Vec<_>>());
        held.iter().for_each(|(id, row)| assert_eq!(*row, now[*id as usize - 1], "row {id}"));
    }
}
