//! The statistics of a wreck: those of its newest whole checkpoint, and what the salvaged records behind it changed.
//!
//! A gap in the journal may hide what a later record goes back on. So it is kept which rows were added, and with which labels
//! they are counted: a correction takes out exactly what is counted, and one of which that cannot be known is left out.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::report::Skipped;
use crate::learn::{BlockKind, ClassName, LabelSet, Origin};
use crate::store::chunks::Position;
use crate::store::contents::Contents;
use crate::store::frame::Kind;
use crate::store::record::{Batch, Learned, Place};

/// A row: who learned it, and its id.
pub(super) type Key = (Origin, u64);

/// What the statistics of a salvage count of a row beside the checkpoint that they began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who learned the row.
    pub origin: Origin,
    /// Its id.
    pub id: u64,
    /// The labels that the checkpoint counts it with; none when it does not.
    pub was: Option<LabelSet>,
    /// The labels that it is counted with now; none when it is not.
    pub now: Option<LabelSet>,
}

/// How a row stands in the statistics.
enum Standing {
    Counted(LabelSet),
    Absent,
    TakenBack,
    Unsure,
}

/// One row of a record: what is counted of it, and what shall be.
struct Shift<'a> {
    key: Key,
    was: Option<LabelSet>,
    now: Option<LabelSet>,
    latent: &'a [i8],
}

/// Statistics in the making.
pub(super) struct Ledger {
    pub contents: Contents,
    changes: BTreeMap<Key, (Option<LabelSet>, Option<LabelSet>)>,
    /// Rows before this one are in the checkpoint's statistics, if they were not taken back.
    first_new_row: u64,
    /// Where the checkpoint's journal ended, and the rows of that chunk before, where they are known.
    end: Option<(Position, Option<u32>)>,
    /// Generation of the newest record that was applied.
    last: u64,
    /// The generation to which the statistics are exact so far.
    pub exact_to: Option<u64>,
    pub missing: Vec<(u64, u64)>,
    pub skipped: Vec<Skipped>,
    /// Rows whose counted labels are not known.
    pub unsure: HashSet<Key>,
    /// Recordings of which a gap in the journal may hide a part.
    torn: BTreeSet<u64>,
}

impl Ledger {
    /// Begins with `contents`, exact at `generation` when there is one.
    pub fn new(contents: Contents, generation: Option<u64>, end: Option<(Position, Option<u32>)>) -> Ledger {
        Ledger {
            first_new_row: contents.next_row,
            last: generation.unwrap_or(0),
            exact_to: generation,
            contents,
            changes: BTreeMap::new(),
            end,
            missing: Vec::new(),
            skipped: Vec::new(),
            unsure: HashSet::new(),
            torn: BTreeSet::new(),
        }
    }

    /// What the statistics count beside the checkpoint's.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        self.changes.iter().filter(|(_, (was, now))| was != now).map(|((origin, id), (was, now))| Change {
            origin: *origin,
            id: *id,
            was: was.clone(),
            now: now.clone(),
        })
    }

    /// Takes note that the next record is that of `generation`, which is later than all before.
    pub fn reach(&mut self, generation: u64, batch: Option<&Batch>) {
        if self.last > 0 || self.exact_to.is_some() {
            if generation > self.last + 1 {
                self.missing.push((self.last + 1, generation - 1));
                let unfinished = self.contents.sources.pairs().filter(|(_, rows)| *rows != u64::MAX).map(|(source, _)| source);
                self.torn.extend(unfinished.chain(batch.map(|b| b.source)));
            } else if self.exact_to == Some(self.last) && self.skipped.is_empty() {
                self.exact_to = Some(generation);
            }
        }
        self.last = generation;
    }

    /// Notes a record that could not be applied; what is exact ends before it.
    pub fn skip(&mut self, generation: u64, rows: u64, why: impl ToString) {
        self.skipped.push(Skipped { generation, rows, why: why.to_string() });
        self.exact_to = self.exact_to.map(|g| g.min(generation - 1));
    }

    /// Does to the statistics what a record of rows says.
    pub fn apply(&mut self, kind: Kind, learned: &Learned, generation: u64) {
        let (dim, origin) = (self.contents.dim, learned.batch.origin);
        let mut shifts = Vec::new();
        let mut unsure = 0;
        for (i, (meta, labels)) in learned.rows.iter().enumerate() {
            let key = (origin, meta.id);
            let latent = &learned.latents[i * dim..(i + 1) * dim];
            let before = if kind == Kind::Relabel { learned.before.get(i) } else { Some(labels) };
            let standing = self.standing(&key, before, learned.left.get(i).filter(|_| kind != Kind::Learn));
            let now = Some(labels.clone()).filter(|_| kind != Kind::Undo);
            match (kind, standing) {
                // Whatever shows a row that nothing counts yet shows one that was learned in a gap.
                (Kind::Learn | Kind::Carry | Kind::Relabel, Standing::Absent) => shifts.push(Shift { key, was: None, now, latent }),
                (Kind::Relabel | Kind::Undo, Standing::Counted(was)) => shifts.push(Shift { key, was: Some(was), now, latent }),
                (Kind::Relabel | Kind::Undo, Standing::Unsure) => {
                    unsure += 1;
                    self.unsure.insert(key);
                }
                _ => {}
            }
        }
        if unsure > 0 {
            self.skip(generation, unsure, "it corrects rows of which a gap in the journal hides what they are counted as");
        }
        for kind in [None, Some(BlockKind::Latents), Some(BlockKind::Mixed), Some(BlockKind::Background)] {
            let alike: Vec<&Shift<'_>> = shifts.iter().filter(|s| s.was.as_ref().map(LabelSet::block_kind) == kind).collect();
            self.shift(origin, &alike, generation);
        }
    }

    /// Takes rows out of the statistics with the labels that they had, all of one kind of block, and adds them with the new.
    fn shift(&mut self, origin: Origin, shifts: &[&Shift<'_>], generation: u64) {
        if shifts.is_empty() {
            return;
        }
        let latents: Vec<i8> = shifts.iter().flat_map(|s| s.latent).copied().collect();
        if shifts[0].was.is_some()
            && let Err(e) = self.contents.subtract(origin, shifts.iter().filter_map(|s| s.was.as_ref()), &latents)
        {
            self.unsure.extend(shifts.iter().map(|s| s.key));
            return self.skip(generation, shifts.len() as u64, e);
        }
        let (labels, rows): (Vec<&LabelSet>, Vec<&[i8]>) = shifts.iter().filter_map(|s| Some((s.now.as_ref()?, s.latent))).unzip();
        let added = self.contents.add(origin, labels.iter().copied(), &rows.concat());
        for s in shifts {
            let entry = self.changes.entry(s.key).or_insert_with(|| (s.was.clone(), None));
            entry.1 = s.now.clone().filter(|_| added.is_ok());
        }
        if let Err(e) = added {
            self.unsure.extend(shifts.iter().map(|s| s.key));
            self.skip(generation, shifts.len() as u64, e);
        }
    }

    fn standing(&self, key: &Key, before: Option<&LabelSet>, replaced: Option<&Place>) -> Standing {
        if let Some((_, now)) = self.changes.get(key) {
            return now.clone().map_or(Standing::TakenBack, Standing::Counted);
        }
        if key.1 >= self.first_new_row {
            return Standing::Absent;
        }
        // Counted by the checkpoint: with the labels that the record names, if nothing lies between.
        let covered = replaced.zip(self.end).is_some_and(|(place, (end, rows))| {
            place.sequence < end.sequence || place.sequence == end.sequence && rows.is_some_and(|rows| place.index < rows)
        });
        match before.filter(|_| covered || self.missing.is_empty()) {
            Some(before) => Standing::Counted(before.clone()),
            None => Standing::Unsure,
        }
    }

    /// Puts a forgotten class under its retired name.
    pub fn retire(&mut self, retired: &ClassName) {
        self.contents.blocks.values_mut().for_each(|block| {
            block.retire(retired);
        });
        let its = |labels: &LabelSet| labels.positive().iter().chain(labels.negative()).any(|c| !c.is_retired() && c.retired() == *retired);
        for labels in self.changes.values_mut().filter_map(|(_, now)| now.as_mut()).filter(|l| its(l)) {
            *labels = renamed(labels, retired);
        }
    }

    /// Takes note of the recording that a record is of.
    pub fn note_source(&mut self, kind: Kind, learned: &Learned) {
        let sources = &mut self.contents.sources;
        let batch = &learned.batch;
        match kind {
            // What a gap hides of a recording must not be learned twice.
            Kind::Learn if self.torn.contains(&batch.source) => sources.note(&Batch { source_complete: true, ..batch.clone() }, 0),
            Kind::Learn => sources.note(batch, learned.rows.len()),
            Kind::Undo if batch.source_complete => sources.forget(batch.source),
            Kind::Undo => sources.take_back(batch.source, learned.rows.len()),
            Kind::Carry | Kind::Relabel if !sources.knows(batch.source) => {
                sources.note(&Batch { source_complete: true, ..batch.clone() }, 0);
            }
            _ => {}
        }
    }
}

/// The labels with the class whose retired name is `retired` under that name.
fn renamed(labels: &LabelSet, retired: &ClassName) -> LabelSet {
    let of = |classes: &BTreeSet<ClassName>| {
        classes.iter().map(|c| if !c.is_retired() && c.retired() == *retired { retired.clone() } else { c.clone() }).collect()
    };
    LabelSet::new(of(labels.positive()), of(labels.negative())).unwrap_or_else(|_| labels.clone())
}
