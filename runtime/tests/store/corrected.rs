//! A life with corrections, and what must hold of it: an adapter in memory beside a list of what it should count.

use std::collections::{BTreeMap, BTreeSet};

use wheatear::learn::{ClassName, LabelSet, Origin};
use wheatear::store::{Access, Acknowledgement, Adapter, Batch, Creation, Durability, Header, Loss};
use wheatear::units::Moment;

use crate::disk::Disk;
use crate::world::{ID, Row, batch, creation, held, sums, sums_of, teach};

pub const DIM: usize = 4;
pub const BITS: u8 = 8;

pub struct Life {
    pub disk: Disk,
    pub adapter: Adapter,
    /// What should be counted, by id.
    pub counted: BTreeMap<u64, Row>,
    acts: u64,
}

impl Life {
    /// Sixteen rows of replay, of which two are background and the newest four can be undone.
    pub fn small() -> Life {
        Life::new(creation(DIM as u32, BITS))
    }

    /// Room for everything that a test teaches.
    pub fn roomy() -> Life {
        Life::new(Creation { max_classes: 16, max_sources: 64, ..creation(DIM as u32, BITS).with_replay_rows(1024) })
    }

    pub fn new(creation: Creation) -> Life {
        let disk = Disk::new(&Header::new(creation, ID).unwrap());
        let adapter = disk.open(Access::Write).unwrap();
        Life { disk, adapter, counted: BTreeMap::new(), acts: 0 }
    }

    /// Live rows, taught at a time of their own.
    pub fn live(&mut self, rows: &[Row]) -> Acknowledgement {
        self.acts += 1;
        let time = Moment { monotonic_ns: self.acts, ..Moment::UNKNOWN };
        self.teach(&Batch { time, origin: self.adapter.origin(), ..batch(0, false) }, rows)
    }

    pub fn recording(&mut self, source: u64, complete: bool, rows: &[Row]) -> Acknowledgement {
        self.acts += 1;
        let time = Moment { monotonic_ns: self.acts, ..Moment::UNKNOWN };
        self.teach(&Batch { time, origin: self.adapter.origin(), ..batch(source, complete) }, rows)
    }

    pub fn teach(&mut self, batch: &Batch, rows: &[Row]) -> Acknowledgement {
        let ack = teach(&mut self.adapter, batch, rows, Durability::Now).unwrap();
        self.counted.extend((ack.first_row..).zip(rows.iter().cloned()));
        ack
    }

    /// What is held, by id.
    pub fn held(&self) -> BTreeMap<u64, Row> {
        held(&self.adapter).unwrap().into_iter().collect()
    }

    pub fn reopen(&mut self) {
        self.adapter = self.disk.open(Access::Write).unwrap();
    }

    /// The digest of an adapter that never learned anything but `rows`, which all came from `origin`.
    pub fn digest_of(rows: &[Row], origin: Origin) -> [u8; 32] {
        let mut life = Life::roomy();
        teach(&mut life.adapter, &Batch { origin, ..batch(0, false) }, rows, Durability::Now).unwrap();
        life.adapter.statistics_digest().unwrap()
    }

    /// Statistics, held rows and generation are as they should be: here, beside it, after reopening and after a checkpoint.
    pub fn check(&self, when: &str) {
        let generation = self.adapter.generation();
        self.check_one(&self.adapter, generation, when);
        self.check_one(&self.disk.open(Access::Read).unwrap(), generation, &format!("{when}, read"));
        let copy = Disk::of(self.disk.image());
        let mut again = copy.open(Access::Write).unwrap();
        self.check_one(&again, generation, &format!("{when}, reopened"));
        again.checkpoint().unwrap();
        self.check_one(&again, generation, &format!("{when}, behind a checkpoint"));
        self.check_one(&copy.open(Access::Write).unwrap(), generation, &format!("{when}, reopened from a checkpoint"));
    }

    pub fn check_one(&self, adapter: &Adapter, generation: u64, when: &str) {
        let counted: Vec<Row> = self.counted.values().cloned().collect();
        assert_eq!(sums_of(adapter), sums(&counted, adapter.dim()), "{when}: statistics");
        let held = held(adapter).unwrap();
        for (id, row) in &held {
            assert_eq!(Some(row), self.counted.get(id), "{when}: held row {id}");
        }
        let ids: BTreeMap<u64, ()> = held.iter().map(|(id, _)| (*id, ())).collect();
        assert_eq!(ids.len(), held.len(), "{when}: each row is held once");
        assert_eq!(ids.keys().copied().collect::<Vec<_>>(), self.held().keys().copied().collect::<Vec<_>>(), "{when}: the same are held");
        assert_eq!(adapter.held_rows(), held.len() as u64, "{when}");
        assert_eq!(adapter.held_rows() + adapter.evicted_rows(), counted.len() as u64, "{when}");
        assert_eq!(adapter.generation(), generation, "{when}");
    }
}

pub fn class(name: &str) -> ClassName {
    ClassName::new(name).unwrap()
}

pub fn names(labels: &LabelSet, class: &ClassName) -> bool {
    labels.positive().contains(class) || labels.negative().contains(class)
}

/// The labels without the class; none when nothing else is left.
pub fn without(labels: &LabelSet, class: &ClassName) -> Option<LabelSet> {
    let less = |names: &BTreeSet<ClassName>| names.iter().filter(|n| *n != class).cloned().collect();
    let left = LabelSet::new(less(labels.positive()), less(labels.negative())).unwrap();
    Some(left.clone()).filter(|left| left == labels || *left != LabelSet::background())
}

/// What forgetting `class` does to rows that are held.
pub fn forgotten(rows: &BTreeMap<u64, Row>, class: &ClassName) -> BTreeMap<u64, Row> {
    rows.iter().filter_map(|(id, row)| Some((*id, Row { labels: without(&row.labels, class)?, ..row.clone() }))).collect()
}

/// What forgetting `class` does to rows that are counted and not held: they keep all they are, under its retired name.
pub fn retired(counted: &BTreeMap<u64, Row>, held: &BTreeMap<u64, Row>, class: &ClassName) -> BTreeMap<u64, Row> {
    let name = |n: &ClassName| if n == class { class.retired() } else { n.clone() };
    let labels = |l: &LabelSet| LabelSet::new(l.positive().iter().map(name).collect(), l.negative().iter().map(name).collect()).unwrap();
    let gone = counted.iter().filter(|(id, _)| !held.contains_key(id));
    gone.map(|(id, row)| (*id, Row { labels: labels(&row.labels), ..row.clone() })).collect()
}

/// Rows that `before` counts and `after` does not, under each class that they name.
pub fn lost(before: &BTreeMap<u64, Row>, after: &BTreeMap<u64, Row>) -> Loss {
    let mut loss = Loss::new();
    for (_, row) in before.iter().filter(|(id, _)| !after.contains_key(id)) {
        let named: Vec<Option<ClassName>> = row.labels.positive().iter().chain(row.labels.negative()).cloned().map(Some).collect();
        for name in if named.is_empty() { vec![None] } else { named } {
            *loss.entry(name).or_default() += 1;
        }
    }
    loss
}
