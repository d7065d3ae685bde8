//! Lives of adapters that end as wrecks, and what must hold of whatever is salvaged from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use wheatear::learn::{BlockKind, LabelSet, Origin};
use wheatear::store::frame::{Kind, unframe_postcard};
use wheatear::store::record;
use wheatear::store::storage::{Folder, Storage};
use wheatear::store::{Access, Adapter, Batch, Durability, Header, Salvage, SalvageReport, Wrong};
use wheatear::{Error, Result};

use crate::disk::{Disk, Image};
use crate::world::{ID, ORIGIN, Row, batch, creation, held, labels, rows, sums, sums_of, teach};

pub const CHUNK: usize = 65_536;
pub const SLOT: usize = 65_536;
/// So many that a checkpoint is only written when a test says so, or when slots run out.
pub const DIM: usize = 160;
pub const NEW_ID: [u8; 16] = *b"salvaged adapter";

pub fn header() -> Header {
    Header::new(creation(DIM as u32, 8), ID).unwrap()
}

/// Rows by id with the labels that the statistics count them with.
pub type Counted = BTreeMap<u64, LabelSet>;

/// An adapter's life, with what was true after each generation.
pub struct Life {
    pub disk: Disk,
    pub adapter: Adapter,
    /// Rows as taught.
    pub rows: BTreeMap<u64, Row>,
    /// Every label set that a row ever had.
    pub had: BTreeMap<u64, Vec<LabelSet>>,
    pub counted: Counted,
    pub after: BTreeMap<u64, Counted>,
    pub acts: u64,
}

impl Life {
    pub fn begin() -> Life {
        let disk = Disk::new(&header());
        let adapter = disk.open(Access::Write).unwrap();
        let after = BTreeMap::from([(0, Counted::new())]);
        Life { disk, adapter, rows: BTreeMap::new(), had: BTreeMap::new(), counted: Counted::new(), after, acts: 0 }
    }

    /// Of `acts`, all single records: what is counted changes with the last generation of each.
    pub fn note(&mut self) {
        self.after.insert(self.adapter.generation(), self.counted.clone());
    }

    /// Learns `count` rows as a recording of its own, in a record of about `len_bytes`; returns their ids.
    pub fn learn(&mut self, count: u64, len_bytes: usize) -> Vec<u64> {
        self.acts += 1;
        let new = rows(self.acts * 100, count, DIM, 8);
        let batch = Batch { by: "x".repeat(len_bytes), ..batch(self.acts, true) };
        let first = teach(&mut self.adapter, &batch, &new, Durability::Now).unwrap().first_row;
        for (id, row) in (first..).zip(new) {
            self.counted.insert(id, row.labels.clone());
            self.had.insert(id, vec![row.labels.clone()]);
            self.rows.insert(id, row);
        }
        self.note();
        (first..first + count).collect()
    }

    pub fn undo(&mut self) {
        let before: BTreeSet<u64> = held(&self.adapter).unwrap().into_iter().map(|(id, _)| id).collect();
        if self.adapter.undo(1, Durability::Now).is_ok() {
            let now: BTreeSet<u64> = held(&self.adapter).unwrap().into_iter().map(|(id, _)| id).collect();
            before.difference(&now).for_each(|id| drop(self.counted.remove(id)));
        }
        self.note();
    }

    pub fn relabel(&mut self, ids: &[u64], to: &LabelSet) {
        self.adapter.relabel(ids, to, "a person", Durability::Now).unwrap();
        for id in ids {
            self.counted.insert(*id, to.clone());
            self.had.get_mut(id).unwrap().push(to.clone());
        }
        self.note();
    }

    pub fn checkpoint(&mut self) {
        self.adapter.checkpoint().unwrap();
    }

    pub fn image(&self) -> Image {
        self.disk.image()
    }

    pub fn held(&self) -> BTreeMap<u64, Row> {
        held(&self.adapter).unwrap().into_iter().collect()
    }

    /// What was counted at `generation`.
    pub fn counted_at(&self, generation: u64) -> &Counted {
        self.after.range(..=generation).next_back().unwrap().1
    }

    pub fn sums_of(&self, counted: &Counted) -> BTreeMap<BlockKind, Vec<u8>> {
        let labelled: Vec<Row> = counted.iter().map(|(id, labels)| Row { labels: labels.clone(), ..self.rows[id].clone() }).collect();
        sums(&labelled, DIM)
    }

    /// Salvages `image` and checks everything that must hold of whatever came back.
    pub fn salvage(&self, image: Image) -> Salvaged {
        self.salvage_from(&Broken::of(image), None)
    }

    pub fn salvage_from(&self, wreck: &Broken, like: Option<&Adapter>) -> Salvaged {
        self.try_salvage(wreck, like).unwrap_or_else(|e| panic!("{e}"))
    }

    pub fn try_salvage(&self, wreck: &Broken, like: Option<&Adapter>) -> Result<Salvaged> {
        let salvage = Salvage::read(wreck, like)?;
        let report = salvage.report().clone();
        let context = format!("{report:#?}");
        // The statistics are those of the checkpoint and the changes that are named, and both are true.
        let mut counted = report.checkpoint.map_or(Counted::new(), |g| self.counted_at(g).clone());
        for change in salvage.changes() {
            assert_eq!(change.was.as_ref(), counted.get(&change.id), "row {} of the checkpoint: {context}", change.id);
            counted.remove(&change.id);
            if let Some(labels) = &change.now {
                assert!(self.had[&change.id].contains(labels), "row {} never was {labels:?}: {context}", change.id);
                counted.insert(change.id, labels.clone());
            }
        }
        let new = Disk::default();
        drop(salvage.restore_in(new.folder(), NEW_ID, 99).unwrap_or_else(|e| panic!("{e}: {context}")));
        let adapter = new.open(Access::Write).unwrap();
        assert_eq!(sums_of(&adapter), self.sums_of(&counted), "statistics: {context}");
        let rows: BTreeMap<u64, Row> = held(&adapter).unwrap().into_iter().collect();
        assert_eq!(rows.len() as u64, report.held_rows, "{context}");
        for (id, row) in &rows {
            let taught = Row { labels: row.labels.clone(), ..self.rows[id].clone() };
            assert_eq!(row, &taught, "row {id} as it was taught: {context}");
            assert!(self.had[id].contains(&row.labels), "row {id} never was {:?}: {context}", row.labels);
        }
        assert_eq!(report.counted_rows, counted.len() as u64, "{context}");
        if report.exact_to == Some(report.newest_generation) {
            assert_eq!(&counted, self.counted_at(report.newest_generation), "exact: {context}");
        }
        if report.unknown.is_empty() {
            assert!(rows.iter().all(|(id, row)| counted.get(id) == Some(&row.labels)), "what is held is counted: {context}");
        }
        assert!(adapter.generation() > report.newest_generation, "{context}");
        assert_eq!(adapter.origin(), Origin { incarnation: 99, ..ORIGIN }, "a new incarnation: {context}");
        assert!(adapter.blocks().all(|(origin, _)| origin == ORIGIN), "what was learned stays the old one's: {context}");
        Ok(Salvaged { report, adapter, rows, counted })
    }
}

/// What came of a salvage.
pub struct Salvaged {
    pub report: SalvageReport,
    pub adapter: Adapter,
    pub rows: BTreeMap<u64, Row>,
    pub counted: Counted,
}

impl Salvaged {
    pub fn has(&self, what: &Wrong) -> bool {
        self.report.damage.iter().any(|d| d.what == *what)
    }
}

/// A disk of which some bytes cannot be read.
pub struct Broken {
    pub disk: Disk,
    pub unreadable: Vec<(&'static str, Range<u64>)>,
}

impl Broken {
    pub fn of(image: Image) -> Broken {
        Broken { disk: Disk::of(image), unreadable: Vec::new() }
    }
}

struct BrokenFile {
    file: Box<dyn Storage>,
    unreadable: Vec<Range<u64>>,
}

impl Storage for BrokenFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let end = offset + buf.len() as u64;
        if self.unreadable.iter().any(|r| r.start < end && offset < r.end) {
            return Err(Error::io("read", "a bad sector", std::io::Error::from_raw_os_error(5)));
        }
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> Result<()> {
        panic!("a wreck is only read")
    }

    fn sync(&self) -> Result<()> {
        panic!("a wreck is only read")
    }

    fn len_bytes(&self) -> u64 {
        self.file.len_bytes()
    }

    fn mappable(&self) -> Option<&File> {
        None
    }
}

impl Folder for Broken {
    fn names(&self) -> Result<Vec<String>> {
        self.disk.names()
    }

    fn create(&self, _: &str, _: u64) -> Result<Box<dyn Storage>> {
        panic!("a wreck is only read")
    }

    fn open(&self, name: &str, len_bytes: u64, write: bool) -> Result<Box<dyn Storage>> {
        assert!(!write, "a wreck is only read");
        let unreadable = self.unreadable.iter().filter(|(n, _)| *n == name).map(|(_, r)| r.clone()).collect();
        Ok(Box::new(BrokenFile { file: Folder::open(&self.disk, name, len_bytes, false)?, unreadable }))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.disk.read(name)
    }

    fn rename(&self, _: &str, _: &str) -> Result<()> {
        panic!("a wreck is only read")
    }

    fn remove(&self, _: &str) -> Result<()> {
        panic!("a wreck is only read")
    }

    fn sync(&self) -> Result<()> {
        panic!("a wreck is only read")
    }

    fn lock(&self, _: &str) -> Result<Option<File>> {
        panic!("a wreck is only read")
    }

    fn path(&self) -> &Path {
        Path::new("a wreck")
    }
}

/// Three chunks: relabelled, taken back, carried nowhere yet; a checkpoint in the middle.
pub fn life() -> Life {
    let mut life = Life::begin();
    life.learn(2, 9_000);
    let ids = life.learn(3, 9_000);
    life.learn(2, 20_000);
    life.relabel(&ids[..2], &labels(&["jay"], &[]));
    life.checkpoint();
    life.learn(1, 20_000);
    life.undo();
    life.learn(2, 20_000);
    life.relabel(&ids[1..], &labels(&["wren", "robin"], &[]));
    life.checkpoint();
    life.learn(3, 9_000);
    life.learn(2, 9_000);
    life.learn(2, 20_000);
    life
}

/// An adapter that has been through its chunk file several times.
pub fn long_life() -> Life {
    let mut life = Life::begin();
    for step in 0..56u64 {
        let ids = life.learn(1 + step % 3, 6_000 + 900 * (step as usize % 7));
        match step % 5 {
            1 => life.relabel(&ids[..1], &labels(&["jay"], &[])),
            2 => life.undo(),
            _ => {}
        }
        if step % 11 == 10 {
            life.checkpoint();
        }
    }
    life
}

/// Chunk by chunk: sequence, and where the slot begins.
pub fn chunks(image: &mut Image) -> BTreeMap<u64, usize> {
    let bytes = image.file("chunks").clone();
    let named = |slot: usize| {
        let opening = unframe_postcard::<([u8; 16], u64)>(&bytes[slot * CHUNK..], Kind::ChunkOpen);
        opening.ok().map(|(_, sequence)| (sequence, slot * CHUNK))
    };
    (0..bytes.len() / CHUNK).filter_map(named).collect()
}

/// Offsets of the whole records of a chunk from its begin.
pub fn records(image: &mut Image, start: usize) -> Vec<(usize, usize)> {
    let bytes = image.file("chunks");
    let (mut at, mut all) = (512, Vec::new());
    while let Ok(found) = record::decode(&bytes[start + at..start + CHUNK - 512]) {
        all.push((start + at, found.len_bytes));
        at += found.len_bytes;
    }
    all
}
