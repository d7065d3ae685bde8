//! Checkpoints that went bad while the adapter was closed, files of another adapter, and files of another length.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

use tempfile::tempdir;
use wheatear::ErrorKind;
use wheatear::store::{Access, Adapter, Durability, Header, Recovery};

use crate::damage::{CHUNK, header, open, refused, taught};
use crate::disk::{Disk, Event};
use crate::world::{ID, Row, batch, bulky, check, creation, held, rows, sums, sums_of, teach};

/// Where the extents begin in the state file.
const EXTENTS: usize = 8 * 65_536;

/// Places of the roots in the state file, newest first.
fn root_writes(disk: &Disk) -> Vec<usize> {
    let offset = |e: &Event| match e {
        Event::Write { file: 1, offset, .. } if *offset < EXTENTS => Some(*offset),
        _ => None,
    };
    disk.events().iter().rev().filter_map(offset).collect()
}

/// Places of what the newest checkpoint wrote: its root first, then its parts.
fn newest_checkpoint(disk: &Disk) -> Vec<usize> {
    let events = disk.events();
    let writes: Vec<usize> =
        events.iter().rev().filter_map(|e| if let Event::Write { file: 1, offset, .. } = e { Some(*offset) } else { None }).collect();
    let parts = writes.iter().skip(1).take_while(|at| **at >= EXTENTS);
    writes.iter().take(1).chain(parts).copied().collect()
}

/// Where the state file was ever written: what it holds now is there. Without `all` of the newest checkpoint, and the root
/// before it.
fn written(disk: &Disk, all: bool) -> Vec<usize> {
    let events = disk.events();
    let writes = events.iter().filter_map(|e| if let Event::Write { file: 1, offset, .. } = e { Some(*offset) } else { None });
    match all {
        true => writes.collect::<BTreeSet<usize>>().into_iter().collect(),
        false => newest_checkpoint(disk).into_iter().chain(root_writes(disk).get(1).copied()).collect(),
    }
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
    let newest = newest_checkpoint(&disk);
    // The recordings are none, so that their part has no bytes.
    assert_eq!(newest.len(), 3, "a root, a block and the list of chunks");
    for at in [newest[0] + 2, newest[0] + 60, newest[1] + 1, newest[2] + 3] {
        let mut image = disk.image();
        image.file("state")[at] ^= 1;
        let disk = Disk::of(image);
        let mut adapter = open(&disk);
        assert_eq!((adapter.checkpoint_generation(), adapter.generation()), (2, 6), "byte {at}");
        check(&adapter, &taught);
        adapter.checkpoint().unwrap();
        check(&open(&disk), &taught);
    }
    let mut image = disk.image();
    image.file("state").fill(0);
    check(&open(&Disk::of(image)), &taught);
}

#[test]
fn damage_to_any_one_part_of_the_two_newest_checkpoints_loses_nothing_after_chunks_were_taken_again() {
    let disk = Disk::new(&header());
    let mut adapter = open(&disk);
    let (mut taught, mut taken, mut tried) = (Vec::<Row>::new(), 0, 0);
    for step in 0..44 {
        let before = disk.image().file("chunks")[CHUNK..CHUNK + 512].to_vec();
        let new = rows(taught.len() as u64, 1, 4, 8);
        teach(&mut adapter, &bulky(9_000 + 1_500 * (step % 9)), &new, Durability::Now).unwrap();
        taught.extend(new);
        taken += u64::from(disk.image().file("chunks")[CHUNK..CHUNK + 512] != before);
        for at in written(&disk, step % 4 == 3) {
            let mut image = disk.image();
            image.file("state")[at..at + 40].fill(0xa5);
            for access in [Access::Read, Access::Write] {
                let again = Disk::of(image.clone()).open(access).unwrap_or_else(|e| panic!("step {step}, byte {at}: {e}"));
                check(&again, &taught);
                assert_eq!((again.damaged_chunks(), again.recovery()), (0, Recovery::Clean), "step {step}, byte {at}");
                tried += 1;
            }
        }
    }
    assert!(taken > 2 && adapter.evicted_rows() > 20 && tried > 200, "slot 1 was taken {taken} times, {tried} states were tried");
}

#[test]
fn a_part_that_does_not_change_has_a_copy_in_each_of_the_two_newest_checkpoints() {
    let disk = Disk::new(&header());
    let mut adapter = open(&disk);
    // Background once, then one class alone: the background's block stays as it is.
    let mut all = rows(8, 1, 4, 8);
    teach(&mut adapter, &batch(0, false), &all, Durability::Now).unwrap();
    for step in 0..40 {
        let new = rows(3 * step % 6, 1, 4, 8);
        teach(&mut adapter, &bulky(15_000), &new, Durability::Now).unwrap();
        all.extend(new);
        adapter.checkpoint().unwrap();
    }
    assert!(adapter.evicted_rows() > 20, "the journal of the first checkpoint is gone");
    for at in written(&disk, true) {
        let mut image = disk.image();
        image.file("state")[at + 1] ^= 1;
        let again = Disk::of(image).open(Access::Write).unwrap_or_else(|e| panic!("byte {at}: {e}"));
        assert_eq!((sums_of(&again), again.held_rows()), (sums(&all, 4), adapter.held_rows()), "byte {at}");
    }
}

#[test]
fn a_journal_overwritten_behind_lost_checkpoints_is_refused() {
    let disk = Disk::new(&header());
    let taught = taught(&disk, 40, 20_000);
    check(&open(&disk), &taught);
    let roots = root_writes(&disk);
    assert!(roots.len() > 3);
    let mut image = disk.image();
    for (lost, root) in roots.iter().enumerate().take(8) {
        // However many are lost: all of the rows, or a refusal.
        image.file("state")[*root..*root + 64].fill(0);
        for access in [Access::Read, Access::Write] {
            match Disk::of(image.clone()).open(access) {
                Ok(adapter) => check(&adapter, &taught),
                Err(e) => assert!(lost > 0 && e.kind() == ErrorKind::Corrupt, "{} lost: {e}", lost + 1),
            }
        }
    }
    image.file("state").fill(0);
    for slot in 0..8 {
        // Even when the first bytes of one chunk are gone with them.
        assert_eq!(refused(image.clone(), Access::Write), ErrorKind::Corrupt);
        let mut without = image.clone();
        without.file("chunks")[slot * CHUNK..slot * CHUNK + 512].fill(0);
        assert_eq!(refused(without, Access::Write), ErrorKind::Corrupt, "slot {slot}");
    }
}

#[test]
fn files_of_another_adapter_are_refused() {
    let disk = Disk::new(&header());
    taught(&disk, 2, 100);
    let mut image = disk.image();
    *image.file("header") = Header::new(creation(4, 8), [9; 16]).unwrap().encode().unwrap();
    assert_eq!(refused(image, Access::Write), ErrorKind::Corrupt);
}

#[test]
fn a_file_that_is_longer_than_it_was_made_is_refused() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    drop(Adapter::create(&folder, creation(4, 8), ID).unwrap());
    for name in ["chunks", "state"] {
        let file = std::fs::OpenOptions::new().write(true).open(folder.join(name)).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len + 1).unwrap();
        for access in [Access::Read, Access::Write] {
            let error = Adapter::open(&folder, access).err().unwrap();
            assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(name), "{error}");
        }
        file.set_len(len).unwrap();
        drop(Adapter::open(&folder, Access::Write).unwrap());
    }
}

/// An adapter in a real folder with one row a record of 20,000 bytes, three a chunk, checkpointed behind row `covered`.
fn in_folder(folder: &std::path::Path, count: u64, covered: u64) -> Vec<Row> {
    let mut adapter = Adapter::create(folder, creation(160, 8), ID).unwrap();
    let taught = rows(0, count, 160, 8);
    for (i, row) in taught.iter().enumerate() {
        teach(&mut adapter, &bulky(20_000), std::slice::from_ref(row), Durability::Now).unwrap();
        if i as u64 + 1 == covered {
            adapter.checkpoint().unwrap();
            adapter.checkpoint().unwrap();
        }
    }
    taught
}

#[test]
fn a_chunk_file_cut_short_reads_as_zeros_and_the_writer_makes_it_long_again() {
    for cut in [CHUNK, CHUNK - 512, 40_000, 512, 0] {
        let dir = tempdir().unwrap();
        let folder = dir.path().join("adapter");
        let taught = in_folder(&folder, 5, 5);
        let file = std::fs::OpenOptions::new().write(true).open(folder.join("chunks")).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(cut as u64).unwrap();
        let expected = match cut {
            CHUNK => (vec![1, 2, 3], 1),
            // The chunk behind it is gone as well, so that nothing tells where this one ends.
            _ => (vec![], 2),
        };
        for access in [Access::Read, Access::Write] {
            let adapter = Adapter::open(&folder, access).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
            assert_eq!(sums_of(&adapter), sums(&taught, 160), "cut at {cut}: the checkpoint has them");
            let ids: Vec<u64> = held(&adapter).unwrap().iter().map(|(id, _)| *id).collect();
            assert_eq!((ids, adapter.damaged_chunks()), expected, "cut at {cut}");
            assert_eq!(adapter.evicted_rows() + adapter.held_rows(), 5);
            let now = file.metadata().unwrap().len();
            assert_eq!(now, if access == Access::Write { len } else { cut as u64 }, "only a writer changes a file");
        }
        let mut adapter = Adapter::open(&folder, Access::Write).unwrap();
        let new = rows(5, 3, 160, 8);
        teach(&mut adapter, &bulky(20_000), &new, Durability::Now).unwrap();
        drop(adapter);
        let adapter = Adapter::open(&folder, Access::Read).unwrap();
        assert_eq!(sums_of(&adapter), sums(&[taught, new].concat(), 160), "cut at {cut}: it learns on");
    }
}

#[test]
fn a_chunk_file_cut_short_behind_the_checkpoint_is_refused_with_a_cure_or_loses_its_end_openly() {
    // Two rows behind the checkpoint, in the second chunk: the cut takes both, or the last.
    for (cut, left) in [(CHUNK, 3), (CHUNK + 512 + 20_400, 4)] {
        let dir = tempdir().unwrap();
        let folder = dir.path().join("adapter");
        let taught = in_folder(&folder, 5, 3);
        let file = std::fs::OpenOptions::new().write(true).open(folder.join("chunks")).unwrap();
        file.set_len(cut as u64).unwrap();
        for access in [Access::Read, Access::Write] {
            match Adapter::open(&folder, access) {
                Err(e) => assert!(e.kind() == ErrorKind::Corrupt && e.to_string().contains("wheatear repair"), "{e}"),
                Ok(adapter) => {
                    check(&adapter, &taught[..left]);
                    assert_ne!(adapter.recovery(), Recovery::Clean, "cut at {cut}: what is missing is told");
                }
            }
        }
    }
}

#[test]
fn a_state_file_cut_short_reads_as_zeros_and_the_journal_or_an_older_checkpoint_serves() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let taught = in_folder(&folder, 5, 3);
    let path = folder.join("state");
    let whole = std::fs::read(&path).unwrap();
    for cut in [whole.len() - 1, EXTENTS + 2 * CHUNK, EXTENTS + 100, EXTENTS, 65_536, 0] {
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(cut as u64).unwrap();
        for access in [Access::Read, Access::Write] {
            let adapter = Adapter::open(&folder, access).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
            check(&adapter, &taught);
        }
        assert_eq!(file.metadata().unwrap().len(), whole.len() as u64, "cut at {cut}");
        file.write_all_at(&whole, 0).unwrap();
    }
}
