//! Which of the salvaged rows replay will hold: of each row the newest version, unless something that was salvaged says that
//! it left or was taken back; and no more than there is room for.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::arrange::Record;
use super::base::Listed;
use super::ledger::Key;
use crate::Result;
use crate::learn::{ClassName, LabelSet};
use crate::store::frame::Kind;
use crate::store::held::{Bounds, Held};
use crate::store::pack::row_stride_bytes;
use crate::store::record::{Learned, Place, RowFlags};
use crate::store::state::ChunkRows;

/// The newest version of a row so far.
struct Version {
    generation: u64,
    /// Which row of its record it is.
    row: usize,
    live: bool,
    /// Its chunk, and which of the chunk's rows it is, where they are known.
    sequence: Option<u64>,
    index: Option<u32>,
    flags: RowFlags,
    /// Bytes that its record would take alone, and takes with the others.
    cost_bytes: u32,
    record_len_bytes: u32,
    labels: LabelSet,
}

/// Rows by who learned them and id.
#[derive(Default)]
pub(super) struct Holding {
    versions: HashMap<Key, Version>,
    left: HashSet<Place>,
    /// Where the rows are of which that is known.
    placed: HashSet<Place>,
    /// Ids of rows that were taken back.
    pub taken_back: Vec<u64>,
    /// Id of the next row.
    pub next_row: u64,
}

/// Rows of records that replay will hold, by generation: which of the record's rows.
pub(super) type Chosen = BTreeMap<u64, Vec<usize>>;

/// What [`Candidates::within`] chose.
pub(super) struct Choice {
    pub chosen: Chosen,
    /// Their labels.
    pub labels: Vec<LabelSet>,
    /// Rows of which it is not known whether they had left.
    pub uncertain: u64,
    /// Rows for which there is no room.
    pub surplus: u64,
}

impl Holding {
    /// Takes note of a record of rows; records come by generation.
    ///
    /// # Errors
    /// `Limit` when a row's labels cannot be encoded.
    pub fn note(&mut self, record: &Record, learned: &Learned, dim: usize, bits: u8) -> Result<()> {
        self.left.extend(learned.left.iter().copied());
        let keys = learned.rows.iter().map(|(meta, _)| (learned.batch.origin, meta.id));
        self.next_row = keys.clone().map(|(_, id)| id.saturating_add(1)).fold(self.next_row, u64::max);
        if record.piece.kind == Kind::Undo {
            keys.for_each(|key| {
                self.versions.remove(&key);
                self.taken_back.push(key.1);
            });
            return Ok(());
        }
        let costs = learned.alone_len_bytes(row_stride_bytes(dim, bits))?;
        for ((row, key), cost_bytes) in keys.enumerate().zip(costs) {
            let (meta, labels) = &learned.rows[row];
            let version = Version {
                generation: record.piece.generation(),
                row,
                live: record.live,
                sequence: record.sequence,
                index: record.first_row.map(|first| first.saturating_add(row as u32)),
                flags: meta.flags,
                cost_bytes,
                record_len_bytes: record.piece.len_bytes,
                labels: labels.clone(),
            };
            self.placed.extend(version.place().filter(|_| record.live));
            self.versions.insert(key, version);
        }
        Ok(())
    }

    /// Lets the rows go of a class that is forgotten.
    pub fn retire(&mut self, retired: &ClassName) {
        let its = |l: &LabelSet| l.positive().iter().chain(l.negative()).any(|c| c.retired() == *retired);
        self.versions.retain(|_, v| !its(&v.labels));
    }

    /// The rows that may be held: of each the newest version, if nothing says that it left. `unsure` are those whose counted
    /// labels are not known.
    pub fn candidates(&self, listed: Option<&Listed>, unsure: &HashSet<Key>) -> Candidates<'_> {
        let chunks: HashMap<u64, &ChunkRows> = listed.iter().flat_map(|l| &l.chunks).map(|c| (c.sequence, c)).collect();
        let covered = |v: &Version| listed.is_some_and(|l| v.generation <= l.generation);
        let in_list = |v: &Version| {
            let chunk = v.sequence.and_then(|s| chunks.get(&s));
            chunk.is_some_and(|c| v.index.is_none_or(|i| !c.has_left(i as usize)))
        };
        let stays = |(key, v): &(&Key, &Version)| {
            let left = v.place().is_some_and(|p| self.left.contains(&p));
            v.live && !left && !unsure.contains(*key) && (!covered(v) || in_list(v))
        };
        let mut rows: Vec<(u64, &Version)> = self.versions.iter().filter(stays).map(|(key, v)| (key.1, v)).collect();
        rows.sort_by_key(|(id, v)| (v.generation, v.row, *id));
        let bits = |c: &ChunkRows| {
            let sequence = c.sequence;
            let left: Vec<u32> = (0..8 * c.left.len()).filter(|i| c.has_left(*i)).map(|i| i as u32).collect();
            left.into_iter().map(move |index| Place { sequence, index })
        };
        let left = self.left.iter().copied().chain(chunks.values().flat_map(|c| bits(c)));
        let unmatched = left.filter(|place| !self.placed.contains(place)).map(|place| place.sequence).collect();
        Candidates { rows, next_row: self.next_row, unmatched }
    }
}

/// Rows that may be held, by generation.
pub(super) struct Candidates<'a> {
    rows: Vec<(u64, &'a Version)>,
    next_row: u64,
    /// Chunks of which rows have left that were not found, or of which it is not known where they are.
    unmatched: HashSet<u64>,
}

impl Candidates<'_> {
    /// All of them, and those among them that are background.
    pub fn count(&self) -> (usize, usize) {
        let background = self.rows.iter().filter(|(_, v)| v.labels == LabelSet::background());
        (self.rows.len(), background.count())
    }

    /// As many as there is room for. An adapter holds somewhat more than its bounds at times, and comes back within them as it
    /// learns: only where many rows are back that had left are there too many.
    pub fn within(&self, bounds: Bounds) -> Choice {
        let mut held = Held::new(bounds);
        self.rows.iter().for_each(|(id, v)| held.push(0, *id, 0, v.cost_bytes, v.flags, &v.labels));
        held.settle(self.next_row);
        let mut records: HashMap<u64, (u64, u64)> = HashMap::new();
        for (_, v) in &self.rows {
            let (alone, together) = records.entry(v.generation).or_default();
            (*alone, *together) = (*alone + u64::from(v.cost_bytes), u64::from(v.record_len_bytes));
        }
        let len_bytes: u64 = records.values().map(|(alone, together)| alone.min(together)).sum();
        let fits = 2 * len_bytes <= 3 * bounds.bytes && 2 * self.rows.len() as u64 <= 3 * bounds.rows;
        let leaving = if fits { Vec::new() } else { held.leaving(&[], 0, &[]) };
        let surplus: HashSet<usize> = leaving.into_iter().map(|place| place.index as usize).collect();
        let mut choice = Choice { chosen: Chosen::new(), labels: Vec::new(), uncertain: 0, surplus: surplus.len() as u64 };
        for (_, (_, v)) in self.rows.iter().enumerate().filter(|(i, _)| !surplus.contains(i)) {
            choice.chosen.entry(v.generation).or_default().push(v.row);
            choice.labels.push(v.labels.clone());
            choice.uncertain += u64::from(v.place().is_none() && v.sequence.is_none_or(|s| self.unmatched.contains(&s)));
        }
        choice
    }
}

impl Version {
    fn place(&self) -> Option<Place> {
        self.sequence.zip(self.index).map(|(sequence, index)| Place { sequence, index })
    }
}
