//! Bytes that went bad while the adapter was closed.

use wheatear::ErrorKind;
use wheatear::store::{Access, Adapter, Durability, Header, Recovery};

use crate::disk::{Disk, Event};
use crate::world::{ID, Row, batch, bulky, check, creation, held, rows, sums, sums_of, teach};

const CHUNK: usize = 65_536;
const SLOT: usize = 65_536;

fn header() -> Header {
    Header::new(creation(4, 8), ID).unwrap()
}

fn open(disk: &Disk) -> Adapter {
    disk.open(&header(), Access::Write).unwrap()
}

fn refused(files: [Vec<u8>; 2], access: Access) -> ErrorKind {
    Disk::of(files).open(&header(), access).err().expect("refused").kind()
}

/// Teaches one row a record, each record about `len` bytes.
fn taught(disk: &Disk, count: u64, len: usize) -> Vec<Row> {
    let mut adapter = open(disk);
    let taught = rows(0, count, 4, 8);
    for row in &taught {
        teach(&mut adapter, &bulky(len), std::slice::from_ref(row), Durability::Now).unwrap();
    }
    taught
}

/// Where the last write to the chunk file began.
fn last_record(disk: &Disk) -> usize {
    let offset = |e: &Event| if let Event::Write { file: 0, offset, .. } = e { Some(*offset) } else { None };
    disk.events().iter().rev().find_map(offset).unwrap()
}

/// Places of the roots in the state file, newest first, and where each was written.
fn root_writes(disk: &Disk) -> Vec<usize> {
    let offset = |e: &Event| match e {
        Event::Write { file: 1, offset, .. } if *offset < 8 * SLOT => Some(*offset),
        _ => None,
    };
    disk.events().iter().rev().filter_map(offset).collect()
}

#[test]
fn torn_record_falls_back_to_previous_generation_and_stale_bytes_never_come_back() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 4, 500);
    let start = last_record(&disk);
    for torn in [3, 30, 41, 100, 500] {
        let mut files = disk.files();
        files[0][start + torn] ^= 0x10;
        let disk = Disk::of(files);
        let mut adapter = open(&disk);
        check(&adapter, &taught[..3]);
        if torn >= 41 {
            assert_eq!(adapter.recovery(), Recovery::RolledBack { generation: 3 }, "byte {torn}");
        }
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
    let taught = taught(&disk, 5, 500);
    let offsets: Vec<usize> =
        disk.events().iter().filter_map(|e| if let Event::Write { file: 0, offset, .. } = e { Some(*offset) } else { None }).collect();
    let mut files = disk.files();
    let lost = offsets[offsets.len() - 2];
    files[0][lost..lost + 400].fill(0);
    let disk = Disk::of(files);
    let mut adapter = open(&disk);
    assert_eq!(adapter.recovery(), Recovery::RolledBack { generation: 3 });
    teach(&mut adapter, &bulky(500), &taught[3..4], Durability::Now).unwrap();
    drop(adapter);
    let again = open(&disk);
    assert_eq!(again.generation(), 4, "the fifth was rolled back and stays so");
    check(&again, &taught[..4]);
}

#[test]
fn a_torn_first_record_of_a_chunk_is_rolled_back() {
    let disk = Disk::new(&header());
    let mut taught = taught(&disk, 3, 16_300);
    let mut adapter = open(&disk);
    for len in [12_000, 10_000] {
        let new = rows(taught.len() as u64, 1, 4, 8);
        teach(&mut adapter, &bulky(len), &new, Durability::Now).unwrap();
        taught.extend(new);
    }
    drop(adapter);
    assert_eq!((last_record(&disk), open(&disk).checkpoint_generation()), (CHUNK, 4), "the fifth begins a chunk");
    for at in [CHUNK + 5, CHUNK + 512 + 7, CHUNK + 512 + 900] {
        let mut files = disk.files();
        files[0][at] ^= 1;
        let disk = Disk::of(files);
        let mut adapter = open(&disk);
        if at > CHUNK + 512 {
            assert_eq!(adapter.recovery(), Recovery::RolledBack { generation: 4 }, "byte {at}");
            check(&adapter, &taught[..4]);
            teach(&mut adapter, &bulky(20_000), &taught[4..], Durability::Now).unwrap();
            drop(adapter);
        }
        check(&open(&disk), &taught);
    }
}

#[test]
fn a_torn_seal_loses_nothing() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 7, 20_000);
    for chunk in 0..2 {
        for at in [0, 20, 30] {
            let mut files = disk.files();
            files[0][(chunk + 1) * CHUNK - 512 + at] ^= 4;
            let adapter = open(&Disk::of(files));
            check(&adapter, &taught);
            assert_eq!(adapter.damaged_chunks(), 0);
        }
    }
}

#[test]
fn a_damaged_header_of_the_open_chunk_loses_no_row() {
    let disk = Disk::new(&header());
    let mut taught = taught(&disk, 4, 20_000);
    open(&disk).checkpoint().unwrap();
    let mut files = disk.files();
    files[0][CHUNK + 30] ^= 4;
    let disk = Disk::of(files);
    let mut adapter = open(&disk);
    check(&adapter, &taught);
    let new = rows(4, 1, 4, 8);
    teach(&mut adapter, &batch(0, false), &new, Durability::Now).unwrap();
    taught.extend(new);
    drop(adapter);
    check(&open(&disk), &taught);
}

#[test]
fn a_damaged_record_of_the_open_chunk_behind_a_checkpoint_leaves_replay_and_learning_goes_on() {
    let disk = Disk::new(&header());
    let mut taught = taught(&disk, 2, 20_000);
    open(&disk).checkpoint().unwrap();
    let mut files = disk.files();
    files[0][30_000] ^= 4;
    let disk = Disk::of(files);
    for (i, id) in [3, 4].into_iter().enumerate() {
        let mut adapter = open(&disk);
        assert_eq!((adapter.damaged_chunks(), adapter.evicted_rows()), (1, 2));
        let new = rows(taught.len() as u64, 1, 4, 8);
        teach(&mut adapter, &bulky(20_000), &new, Durability::Now).unwrap();
        taught.extend(new);
        assert_eq!(sums_of(&adapter), sums(&taught, 4));
        assert_eq!((held(&adapter).unwrap().len(), held(&adapter).unwrap()[i].0), (i + 1, id));
    }
    assert_eq!(sums_of(&open(&disk)), sums(&taught, 4));
}

#[test]
fn a_damaged_record_in_the_middle_of_the_journal_is_refused_and_not_rolled_back() {
    let disk = Disk::new(&header());
    let mut adapter = open(&disk);
    let taught = rows(0, 5, 4, 8);
    for row in &taught {
        teach(&mut adapter, &bulky(15_500), std::slice::from_ref(row), Durability::Now).unwrap();
    }
    drop(adapter);
    let mut files = disk.files();
    files[1].fill(0);
    check(&open(&Disk::of(files.clone())), &taught);
    files[0][40_000] ^= 1;
    for access in [Access::Read, Access::Write] {
        assert_eq!(refused(files.clone(), access), ErrorKind::Corrupt);
    }
}

#[test]
fn a_damaged_sealed_chunk_leaves_replay_and_the_statistics_count_it_still() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 7, 20_000);
    open(&disk).checkpoint().unwrap();
    for at in [512 + 800, 30_000, 50_000] {
        let mut files = disk.files();
        files[0][at] ^= 4;
        let adapter = open(&Disk::of(files));
        assert_eq!((adapter.damaged_chunks(), adapter.evicted_rows()), (1, 3), "byte {at}");
        assert_eq!(sums_of(&adapter), sums(&taught, 4));
        assert_eq!(held(&adapter).unwrap().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }
}

#[test]
fn a_whole_chunk_before_a_damaged_one_stays_in_replay() {
    let disk = Disk::new(&header());
    taught(&disk, 7, 20_000);
    open(&disk).checkpoint().unwrap();
    let mut files = disk.files();
    files[0][CHUNK + 700] ^= 4;
    let adapter = open(&Disk::of(files));
    assert_eq!((adapter.damaged_chunks(), adapter.evicted_rows()), (1, 3));
    assert_eq!(held(&adapter).unwrap().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3, 7]);
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_the_journal() {
    let disk = Disk::new(&header());
    let mut adapter = open(&disk);
    let taught = rows(0, 6, 4, 8);
    for (i, row) in taught.iter().enumerate() {
        teach(&mut adapter, &batch(0, false), std::slice::from_ref(row), Durability::Now).unwrap();
        if i == 1 || i == 3 {
            adapter.checkpoint().unwrap();
        }
    }
    assert_eq!(adapter.checkpoint_generation(), 4);
    drop(adapter);
    let newest = root_writes(&disk)[0];
    let extent = disk.events().iter().rev().find_map(|e| match e {
        Event::Write { file: 1, offset, .. } if *offset >= 8 * SLOT => Some(*offset),
        _ => None,
    });
    for at in [newest + 2, newest + 60, extent.unwrap() + 3] {
        let mut files = disk.files();
        files[1][at] ^= 1;
        let disk = Disk::of(files);
        let mut adapter = open(&disk);
        assert_eq!((adapter.checkpoint_generation(), adapter.generation()), (2, 6), "byte {at}");
        check(&adapter, &taught);
        adapter.checkpoint().unwrap();
        check(&open(&disk), &taught);
    }
    let mut files = disk.files();
    files[1].fill(0);
    check(&open(&Disk::of(files)), &taught);
}

#[test]
fn a_journal_overwritten_behind_lost_checkpoints_is_refused() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 40, 20_000);
    check(&open(&disk), &taught);
    let roots = root_writes(&disk);
    assert!(roots.len() > 3);
    let mut files = disk.files();
    for lost in 0..roots.len().min(8) {
        // However many are lost: all of the rows, or a refusal. Two of them lie behind the oldest chunk.
        files[1][roots[lost]..roots[lost] + 64].fill(0);
        for access in [Access::Read, Access::Write] {
            match Disk::of(files.clone()).open(&header(), access) {
                Ok(adapter) => check(&adapter, &taught),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}"),
            }
        }
    }
    files[1].fill(0);
    for slot in 0..5 {
        // Even when the header of one chunk is gone with them.
        assert_eq!(refused(files.clone(), Access::Write), ErrorKind::Corrupt);
        if slot < 4 {
            let mut without = files.clone();
            without[0][slot * CHUNK..slot * CHUNK + 512].fill(0);
            assert_eq!(refused(without, Access::Write), ErrorKind::Corrupt, "slot {slot}");
        }
    }
}

#[test]
fn files_of_another_adapter_or_length_are_refused() {
    let disk = Disk::new(&header());
    taught(&disk, 2, 100);
    let other = Header::new(creation(4, 8), [9; 16]).unwrap();
    let error = disk.open(&other, Access::Write).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    for file in 0..2 {
        let mut files = disk.files();
        files[file].pop();
        assert_eq!(refused(files, Access::Read), ErrorKind::Corrupt);
    }
}
