//! An adapter that is taught for ever takes no more memory and no more disk than one that was taught for a while.

use std::alloc::System;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cap::Cap;
use wheatear::latent::SpaceId;
use wheatear::learn::{ClassName, LabelSet, Origin};
use wheatear::store::{Access, Adapter, Batch, Creation, Durability, NewRow, RowFlags};
use wheatear::units::Moment;

/// Counts the bytes that live on the heap. The one test here is alone in its process, so that nothing else is counted.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const DIM: usize = 16;
const REPLAY_ROWS: u64 = 512;
/// Somewhat more rows than the chunk file holds at their length: the index has an entry for each of those.
const CAPACITY: u64 = 8 * REPLAY_ROWS;
const ORIGIN: Origin = Origin { device: [7; 16], incarnation: 3 };

fn create(folder: &Path) -> Adapter {
    let creation = Creation::new(SpaceId([5; 32]), "a backbone", DIM as u32, 8, vec![0.5; DIM], ORIGIN);
    let creation = Creation { max_classes: 16, max_sources: 64, ..creation.with_replay_rows(REPLAY_ROWS as u32) };
    Adapter::create(folder, creation, *b"adapter of tests").unwrap()
}

/// One label of one to four rows: mostly one class, each fifth another, each eighth background; from ever new recordings.
fn label(adapter: &mut Adapter, n: u64) -> u64 {
    let name = |n: u64| ClassName::new(["wren", "robin", "jay", "a class with a longer name"][n as usize % 4]).unwrap();
    let labels = match n {
        n if n % 8 == 7 => LabelSet::background(),
        n if n % 5 == 0 => LabelSet::new([name(n / 5), name(n / 5 + 1)].into(), [].into()).unwrap(),
        n => LabelSet::single(name(n / 40)),
    };
    let latent: Vec<i8> = (0..DIM as u64).map(|d| ((n * 31 + d * 17) % 255) as u8 as i8).map(|q| q.max(-127)).collect();
    let row = NewRow { latent: &latent, labels: &labels, time_delta_ns: 0, start_sample: n, flags: RowFlags::default() };
    let rows = vec![row; (n % 4 + 1) as usize];
    let time = Moment { monotonic_ns: n, ..Moment::UNKNOWN };
    let by = "x".repeat((n % 90) as usize);
    let batch = Batch { origin: ORIGIN, by, time, graph: 5, source: if n.is_multiple_of(3) { n + 1 } else { 0 }, source_complete: true };
    adapter.learn(&batch, &rows, Durability::Later).unwrap();
    rows.len() as u64
}

/// Labels and corrections until `rows` have been learned; returns the most bytes that lived on the heap between labels.
fn teach(adapter: &mut Adapter, n: &mut u64, learned: &mut u64, rows: u64) -> usize {
    let mut most = 0;
    while *learned < rows {
        *learned += label(adapter, *n);
        *n += 1;
        if n.is_multiple_of(50) {
            adapter.undo(2, Durability::Later).unwrap();
            let newest = adapter.oldest_undoable_row().unwrap();
            let jay = LabelSet::single(ClassName::new("jay").unwrap());
            adapter.relabel(&[newest], &jay, "a person", Durability::Later).unwrap();
        }
        most = most.max(HEAP.allocated());
    }
    most
}

/// Length of each file; all of it is taken on disk, and no more than that but for the file system's own notes.
fn disk_use(folder: &Path) -> BTreeMap<String, u64> {
    let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap());
    files
        .map(|f| {
            let (name, meta) = (f.file_name().into_string().unwrap(), f.metadata().unwrap());
            let taken = 512 * meta.blocks();
            assert!((meta.len()..=meta.len() + 65_536).contains(&taken), "{name}: {taken} bytes are taken for {}", meta.len());
            (name, meta.len())
        })
        .collect()
}

#[test]
fn neither_memory_nor_disk_grows_with_the_number_of_labels() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("adapter");
    let mut adapter = create(&folder);
    let made = disk_use(&folder);
    let (mut n, mut learned) = (0, 0);
    let empty = HEAP.allocated();
    teach(&mut adapter, &mut n, &mut learned, CAPACITY);
    let twice = teach(&mut adapter, &mut n, &mut learned, 2 * CAPACITY);
    assert_eq!(disk_use(&folder), made);
    teach(&mut adapter, &mut n, &mut learned, 5 * CAPACITY);
    let six_times = teach(&mut adapter, &mut n, &mut learned, 6 * CAPACITY);
    assert_eq!(disk_use(&folder), made);
    assert!(adapter.held_rows() <= REPLAY_ROWS + 4 && adapter.evicted_rows() > 5 * CAPACITY, "most rows have left");
    println!("heap: {empty} bytes empty, {twice} up to twice the capacity, {six_times} up to six times");
    assert!(twice > empty + 100_000, "the index is seen");
    assert!(six_times as f64 <= 1.02 * twice as f64, "{twice} bytes of heap up to twice the capacity, {six_times} up to six times");
    let held = adapter.held_rows();
    drop(adapter);
    let adapter = Adapter::open(&folder, Access::Write).unwrap();
    assert_eq!(adapter.held_rows(), held);
    let reopened = HEAP.allocated();
    assert!(reopened as f64 <= 1.02 * twice as f64, "{twice} bytes of heap before, {reopened} after reopening");
}
