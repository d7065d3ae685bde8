//! Checkpoints that went bad while the adapter was closed, files of another adapter, and files of another length.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::tempdir;
use wheatear::ErrorKind;
use wheatear::store::frame::{Kind, unframe_postcard};
use wheatear::store::{Access, Adapter, Batch, Durability, Header, Recovery};
use wheatear::units::Moment;

use crate::corrected::Life;
use crate::damage::{CHUNK, header, open, refused, taught};
use crate::disk::{Disk, Event};
use crate::world::{ID, Row, batch, bulky, check, creation, held, row, rows, sums, sums_of, teach};

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
    // Checkpoints come with each few records at the first dimension, and only when a chunk is to be taken at the second.
    for dim in [4, 160] {
        let disk = Disk::new(&Header::new(creation(dim as u32, 8), ID).unwrap());
        let mut adapter = open(&disk);
        let (mut taught, mut taken, mut tried) = (Vec::<Row>::new(), 0, 0);
        for step in 0..60 {
            let before = disk.image().file("chunks")[CHUNK..CHUNK + 512].to_vec();
            let new = rows(taught.len() as u64, 1, dim, 8);
            teach(&mut adapter, &bulky(9_000 + 1_500 * (step % 9)), &new, Durability::Now).unwrap();
            taught.extend(new);
            taken += u64::from(disk.image().file("chunks")[CHUNK..CHUNK + 512] != before);
            for at in written(&disk, step % 8 == 7) {
                let mut image = disk.image();
                image.file("state")[at..at + 40].fill(0xa5);
                let when = format!("D={dim}, step {step}, byte {at}");
                for access in [Access::Read, Access::Write] {
                    let again = Disk::of(image.clone()).open(access).unwrap_or_else(|e| panic!("{when}: {e}"));
                    check(&again, &taught);
                    assert_eq!((again.damaged_chunks(), again.recovery()), (0, Recovery::Clean), "{when}");
                    tried += 1;
                }
            }
        }
        assert!(taken > 1 && adapter.evicted_rows() > 20 && tried > 200, "slot 1 was taken {taken} times, {tried} states were tried");
    }
}

#[test]
fn a_chunk_that_was_emptied_at_once_is_taken_again_only_when_both_checkpoints_cover_it() {
    // Checkpoints come only when a chunk is to be taken, and most chunks hold nothing as soon as they are full.
    let mut life = Life::new(creation(160, 8));
    for step in 0..80u64 {
        let time = Moment { monotonic_ns: step + 1, ..Moment::UNKNOWN };
        life.teach(&Batch { time, ..bulky(9_000 + 1_500 * (step as usize % 9)) }, &[row(step, 160, 8)]);
        if step % 5 != 0 {
            life.adapter.undo(1, Durability::Now).unwrap();
            life.counted.pop_last();
        }
        for at in written(&life.disk, step % 16 == 15) {
            let mut image = life.disk.image();
            image.file("state")[at..at + 40].fill(0xa5);
            let again = Disk::of(image).open(Access::Write).unwrap_or_else(|e| panic!("step {step}, byte {at}: {e}"));
            life.check_one(&again, life.adapter.generation(), &format!("step {step}, byte {at}"));
            assert_eq!((again.damaged_chunks(), again.recovery()), (0, Recovery::Clean), "step {step}, byte {at}");
        }
    }
    let chunks = life.disk.image().file("chunks").clone();
    let named = |slot: &[u8]| unframe_postcard::<([u8; 16], u64)>(slot, Kind::ChunkOpen).map_or(0, |open| open.1);
    assert!(chunks.chunks(CHUNK).map(named).max() > Some(24), "every slot was taken more than twice");
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
        let file = OpenOptions::new().write(true).open(folder.join(name)).unwrap();
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
fn in_folder(folder: &Path, count: u64, covered: u64) -> Vec<Row> {
    let mut adapter = Adapter::create(folder, creation(160, 8), ID).unwrap();
    let taught = rows(0, count, 160, 8);
    for (i, row) in taught.iter().enumerate() {
        teach(&mut adapter, &bulky(20_000), std::slice::from_ref(row), Durability::Now).unwrap();
        if i as u64 + 1 == covered {
            adapter.checkpoint().unwrap();
        }
    }
    taught
}

/// The file `name` of an adapter, cut to `len_bytes`.
fn cut(folder: &Path, name: &str, len_bytes: usize) -> File {
    let file = OpenOptions::new().write(true).open(folder.join(name)).unwrap();
    file.set_len(len_bytes as u64).unwrap();
    file
}

#[test]
fn a_chunk_file_cut_short_behind_the_end_of_the_journal_loses_nothing_and_is_made_long_again() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut taught = in_folder(&folder, 5, 3);
    let len_bytes = std::fs::metadata(folder.join("chunks")).unwrap().len();
    for len in [7 * CHUNK + 100, 2 * CHUNK] {
        let file = cut(&folder, "chunks", len);
        for (access, after) in [(Access::Read, len as u64), (Access::Write, len_bytes)] {
            let adapter = Adapter::open(&folder, access).unwrap_or_else(|e| panic!("cut to {len}: {e}"));
            check(&adapter, &taught);
            assert_eq!((adapter.recovery(), file.metadata().unwrap().len()), (Recovery::Clean, after), "only a writer changes a file");
        }
        let mut adapter = Adapter::open(&folder, Access::Write).unwrap();
        let new = rows(taught.len() as u64, 1, 160, 8);
        teach(&mut adapter, &batch(0, false), &new, Durability::Now).unwrap();
        taught.extend(new);
        check(&adapter, &taught);
    }
}

#[test]
fn rows_of_chunks_that_were_cut_off_leave_replay_and_the_checkpoint_counts_them_still() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut adapter = Adapter::create(&folder, creation(4, 8), ID).unwrap();
    let mut taught = Vec::<Row>::new();
    // Until the journal has come back to the front of the file, so that sealed chunks lie behind it.
    let slot_of_end = |folder: &Path| {
        let chunks = std::fs::read(folder.join("chunks")).unwrap();
        let named = |slot: usize| unframe_postcard::<([u8; 16], u64)>(&chunks[slot * CHUNK..], Kind::ChunkOpen).map_or(0, |o| o.1 + 1);
        (0..8).max_by_key(|slot| named(*slot)).unwrap()
    };
    while taught.len() < 20 || slot_of_end(&folder) > 1 {
        let new = rows(taught.len() as u64, 1, 4, 8);
        teach(&mut adapter, &bulky(20_000), &new, Durability::Now).unwrap();
        taught.extend(new);
    }
    adapter.checkpoint().unwrap();
    let before: Vec<u64> = held(&adapter).unwrap().into_iter().map(|(id, _)| id).collect();
    drop(adapter);
    cut(&folder, "chunks", 2 * CHUNK);
    for access in [Access::Read, Access::Write] {
        let adapter = Adapter::open(&folder, access).unwrap();
        assert_eq!(sums_of(&adapter), sums(&taught, 4), "the statistics stand");
        let left: Vec<u64> = held(&adapter).unwrap().into_iter().map(|(id, _)| id).collect();
        assert!(left.len() < before.len() && left.iter().all(|id| before.contains(id)), "{left:?} of {before:?}");
        assert!(adapter.damaged_chunks() > 0);
        assert_eq!(adapter.evicted_rows() + adapter.held_rows(), taught.len() as u64);
    }
    let mut adapter = Adapter::open(&folder, Access::Write).unwrap();
    for _ in 0..30 {
        let new = rows(taught.len() as u64, 1, 4, 8);
        teach(&mut adapter, &bulky(20_000), &new, Durability::Now).unwrap();
        taught.extend(new);
    }
    assert_eq!(sums_of(&Adapter::open(&folder, Access::Read).unwrap()), sums(&taught, 4), "it learns on");
}

#[test]
fn a_chunk_file_cut_short_with_the_end_of_the_journal_is_refused_however_often_it_is_opened() {
    // All in the checkpoint, or two rows behind it: nobody can tell what stood behind the cut.
    for covered in [5, 3] {
        for len in [2 * CHUNK - 1, CHUNK + 512 + 20_400, CHUNK + 512, CHUNK + 3, CHUNK, CHUNK - 1, 512, 0] {
            let dir = tempdir().unwrap();
            let folder = dir.path().join("adapter");
            in_folder(&folder, 5, covered);
            let file = cut(&folder, "chunks", len);
            for access in [Access::Write, Access::Read, Access::Write] {
                let error = Adapter::open(&folder, access).err().unwrap_or_else(|| panic!("cut to {len}, {covered} covered"));
                assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("wheatear repair"), "{error}");
                assert_eq!(file.metadata().unwrap().len(), len as u64, "nothing is changed");
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
    for len in [whole.len() - 1, EXTENTS + 2 * CHUNK, EXTENTS + 100, EXTENTS, 65_536, 0] {
        let file = cut(&folder, "state", len);
        for access in [Access::Read, Access::Write] {
            let adapter = Adapter::open(&folder, access).unwrap_or_else(|e| panic!("cut to {len}: {e}"));
            check(&adapter, &taught);
        }
        assert_eq!(file.metadata().unwrap().len(), whole.len() as u64, "cut to {len}");
        file.write_all_at(&whole, 0).unwrap();
    }
}
