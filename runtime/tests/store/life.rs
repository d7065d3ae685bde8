//! A folder's life: teach, close, open, fill, read beside the writer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::tempdir;
use wheatear::ErrorKind;
use wheatear::learn::{Block, BlockKind};
use wheatear::store::{Access, Adapter, Durability, Header, Recovery};

use crate::disk::Disk;
use crate::world::{ID, KINDS, Row, batch, bulky, check, creation, held, rows, sums, sums_of, teach};

#[test]
fn what_was_learned_is_there_after_reopening_at_every_bit_width() {
    for bits in 4..=8 {
        for dim in [1, 7, 33] {
            let dir = tempdir().unwrap();
            let folder = dir.path().join("adapter");
            let taught = rows(0, 40, dim, bits);
            let mut adapter = Adapter::create(&folder, creation(dim as u32, bits), ID).unwrap();
            for (i, part) in taught.chunks(9).enumerate() {
                teach(&mut adapter, &batch(0, false), part, Durability::Now).unwrap();
                if i == 2 {
                    adapter.checkpoint().unwrap();
                }
            }
            check(&adapter, &taught);
            let (digest, generation) = (adapter.statistics_digest().unwrap(), adapter.generation());
            drop(adapter);
            for access in [Access::Read, Access::Write] {
                let adapter = Adapter::open(&folder, access).unwrap();
                check(&adapter, &taught);
                assert_eq!((adapter.statistics_digest().unwrap(), adapter.generation()), (digest, generation));
                assert_eq!((adapter.recovery(), adapter.damaged_chunks()), (Recovery::Clean, 0));
                assert_eq!(adapter.header().creation, creation(dim as u32, bits), "what was fixed at creation");
            }
        }
    }
}

#[test]
fn rows_go_to_the_block_of_their_kind() {
    let disk = Disk::new(&Header::new(creation(3, 8), ID).unwrap());
    let mut adapter = disk.open(Access::Write).unwrap();
    let taught = rows(0, 63, 3, 8);
    teach(&mut adapter, &batch(0, false), &taught, Durability::Now).unwrap();
    let counts: Vec<u64> = KINDS.iter().map(|k| adapter.block(*k).unwrap().unwrap().rows()).collect();
    assert_eq!(counts, [48, 9, 6]);
    let mixed = Block::from_canonical_bytes(&sums_of(&adapter)[&BlockKind::Mixed]).unwrap();
    assert_eq!(
        mixed.classes().iter().map(|(n, c)| (n.as_str(), c.n, c.negative_n)).collect::<Vec<_>>(),
        [("Zaunkönig / 鷦鷯", 0, 9), ("robin", 5, 0), ("wren", 9, 0)]
    );
}

#[test]
fn a_full_chunk_file_drops_the_oldest_rows_from_replay_and_counts_them_still() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut adapter = Adapter::create(&folder, creation(5, 8), ID).unwrap();
    let lengths = || ["header", "chunks", "state", "lock"].map(|f| std::fs::metadata(folder.join(f)).unwrap().len());
    let (before, mut taught) = (lengths(), Vec::<Row>::new());
    for step in 0..60 {
        // Sizes that never repeat in one place: what an earlier life left behind a record starts where the next would.
        let len = if step % 5 == 4 { 100 } else { 9_000 + 16 * step };
        let new = rows(taught.len() as u64, 2, 5, 8);
        teach(&mut adapter, &bulky(len), &new, Durability::Now).unwrap();
        taught.extend(new);
        check(&adapter, &taught);
        if step % 7 == 3 {
            drop(adapter);
            adapter = Adapter::open(&folder, Access::Write).unwrap();
            check(&adapter, &taught);
        }
    }
    assert!(adapter.evicted_rows() > 20, "{} rows left", adapter.evicted_rows());
    assert_eq!(lengths(), before, "disk use does not grow");
}

#[test]
fn rows_of_one_call_that_fill_several_chunks_are_all_there() {
    let header = Header::new(creation(40, 8), ID).unwrap();
    let disk = Disk::new(&header);
    let mut adapter = disk.open(Access::Write).unwrap();
    let taught = rows(0, 2500, 40, 8);
    let ack = teach(&mut adapter, &batch(4, true), &taught, Durability::Now).unwrap();
    assert_eq!((ack.first_row, ack.durable), (1, true));
    check(&adapter, &taught);
    let again = disk.open(Access::Write).unwrap();
    check(&again, &taught);
    assert!(again.has_source(4) && again.generation() == ack.generation);
}

#[test]
fn a_cut_off_recording_is_resumed_behind_its_rows_and_a_silent_one_is_not_taught_again() {
    let header = Header::new(creation(3, 8), ID).unwrap();
    let disk = Disk::new(&header);
    let mut adapter = disk.open(Access::Write).unwrap();
    teach(&mut adapter, &batch(11, true), &rows(0, 2, 3, 8), Durability::Later).unwrap();
    teach(&mut adapter, &batch(12, true), &[], Durability::Now).unwrap();
    teach(&mut adapter, &batch(13, false), &rows(2, 3, 3, 8), Durability::Now).unwrap();
    for checkpoint in [false, true] {
        if checkpoint {
            adapter.checkpoint().unwrap();
        }
        adapter = disk.open(Access::Write).unwrap();
        assert_eq!([11, 12, 13].map(|s| adapter.has_source(s)), [true, true, false]);
        assert_eq!([11, 12, 13].map(|s| adapter.rows_of_unfinished(s)), [0, 0, 3]);
        check(&adapter, &rows(0, 5, 3, 8));
    }
    let generation = adapter.generation();
    let ack = teach(&mut adapter, &batch(14, false), &[], Durability::Now).unwrap();
    assert_eq!(ack.generation, generation, "nothing to learn and nothing to note is no commit");
}

#[test]
fn a_second_writer_is_told_it_is_busy_and_a_reader_sees_a_moment_of_the_first() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut adapter = Adapter::create(&folder, creation(5, 8), ID).unwrap();
    assert_eq!(Adapter::open(&folder, Access::Write).err().unwrap().kind(), ErrorKind::Busy);
    let mut taught = rows(0, 8, 5, 8);
    for row in &taught {
        teach(&mut adapter, &bulky(20_000), std::slice::from_ref(row), Durability::Now).unwrap();
    }
    let reader = Adapter::open(&folder, Access::Read).unwrap();
    let (seen, rows_seen, mut refused) = (taught.clone(), held(&reader).unwrap(), 0);
    for _ in 0..60 {
        let new = rows(taught.len() as u64, 1, 5, 8);
        teach(&mut adapter, &bulky(20_000), &new, Durability::Now).unwrap();
        taught.extend(new);
        assert_eq!(sums_of(&reader), sums(&seen, 5), "a reader's statistics stay those of its moment");
        match held(&reader) {
            Ok(held) => assert!(held == rows_seen, "rows of its moment"),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
                refused += 1;
            }
        }
        check(&Adapter::open(&folder, Access::Read).unwrap(), &taught);
    }
    assert!(refused > 0, "the writer took the reader's chunks");
    drop(adapter);
    Adapter::open(&folder, Access::Write).unwrap();
}

#[test]
fn readers_that_race_a_writer_see_a_whole_state_or_an_error() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut adapter = Adapter::create(&folder, creation(5, 8), ID).unwrap();
    let all = rows(0, 300, 5, 8);
    let (done, whole) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let Ok(adapter) = Adapter::open(&folder, Access::Read) else { continue };
                let rows = (adapter.held_rows() + adapter.evicted_rows()) as usize;
                assert!(sums_of(&adapter) == sums(&all[..rows], 5), "generation {}", adapter.generation());
                whole.fetch_add(1, Ordering::Relaxed);
            }
        });
        for (i, row) in all.iter().enumerate() {
            teach(&mut adapter, &bulky(9_000), std::slice::from_ref(row), Durability::Later).unwrap();
            if i % 3 == 0 {
                adapter.checkpoint().unwrap();
            }
        }
        // The last state stands still: at least one reader gets to see a whole one.
        while whole.load(Ordering::Relaxed) == 0 && !reader.is_finished() {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert!(whole.into_inner() > 0);
}

#[test]
fn a_chunk_is_taken_again_only_behind_a_checkpoint_that_covers_it() {
    // At this dimension a checkpoint is so long that filling the chunk file alone never makes one due.
    let (dim, header) = (160, Header::new(creation(160, 8), ID).unwrap());
    let disk = Disk::new(&header);
    let mut adapter = disk.open(Access::Write).unwrap();
    let (mut taught, mut first_checkpoint) = (Vec::<Row>::new(), None);
    for step in 0..30 {
        let new = rows(taught.len() as u64, 1, dim, 8);
        teach(&mut adapter, &bulky(20_000), &new, Durability::Later).unwrap();
        taught.extend(new);
        first_checkpoint = first_checkpoint.or(Some(step).filter(|_| adapter.checkpoint_generation() > 0));
        check(&disk.open(Access::Read).unwrap(), &taught);
    }
    assert_eq!(first_checkpoint, Some(24), "when the ninth of ten chunks is begun and only two slots are free");
}

#[test]
fn equal_records_of_an_earlier_life_of_a_chunk_never_follow_a_new_one() {
    let header = Header::new(creation(4, 8), ID).unwrap();
    let disk = Disk::new(&header);
    let mut adapter = disk.open(Access::Write).unwrap();
    let mut taught = Vec::<Row>::new();
    for _ in 0..20 {
        // All of one length: behind each new record lies a whole one of the slot's earlier life.
        let new = rows(taught.len() as u64, 1, 4, 8);
        teach(&mut adapter, &bulky(20_000), &new, Durability::Now).unwrap();
        taught.extend(new);
        for access in [Access::Read, Access::Write] {
            let again = disk.open(access).unwrap();
            check(&again, &taught);
            assert_eq!(again.recovery(), Recovery::Clean);
        }
    }
}
