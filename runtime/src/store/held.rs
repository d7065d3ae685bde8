//! Rows that replay holds: where they lie, and which of them leave when it is full.
//!
//! A class-balanced reservoir (Vitter 1985, "Random sampling with a reservoir"; balanced by class as in Chrysakis & Moens
//! 2020, "Online continual learning from imbalanced data"). Each row has a fixed random priority, drawn from the adapter's
//! seed and the row's id; when there are too many, the row of highest priority leaves, from the class that holds the most.
//! So what is kept of a class is a uniform sample of its rows but the newest, a class with few rows keeps them all, and the
//! choice depends on the rows and not on chance. A row of several classes is worth as much as the rarest of them makes it.
//! Background has a share of its own. The newest rows never leave: undo needs them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::header::Header;
use super::record::{Place, RowFlags};
use crate::learn::{ClassName, LabelSet};
use crate::mix::{GOLDEN, mix};

/// One in this many rows is kept out of training, to judge a trained head.
const HELD_OUT_EVERY: u64 = 8;

/// A row in its chunk.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub id: u64,
    /// Where its packed latent begins, from the start of the chunk.
    pub latent_at: u32,
    /// Bytes that its record would take alone.
    pub cost_bytes: u32,
    pub flags: RowFlags,
    pub labels: Arc<LabelSet>,
    pub held: bool,
    /// It should be held and cannot be read.
    pub missing: bool,
    /// It cannot be read, and is not held any more.
    pub given_up: bool,
}

/// Rows of one label set.
#[derive(Debug, Default)]
struct Group {
    rows: u64,
    /// Those that may leave, by priority.
    settled: BTreeSet<(u64, Place)>,
}

/// How many rows may be held, and the seed of their priorities.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub rows: u64,
    pub background_rows: u64,
    pub bytes: u64,
    pub undo_rows: u64,
    pub seed: u64,
}

impl Bounds {
    pub fn of(header: &Header) -> Bounds {
        let c = &header.creation;
        let (rows, background_rows) = (u64::from(c.replay_rows), u64::from(c.background_rows));
        Bounds { rows, background_rows, bytes: header.held_bytes_max(), undo_rows: u64::from(c.undo_rows), seed: c.seed }
    }

    /// A random number of the row, by SplitMix64 (Steele, Lea & Flood 2014).
    fn priority(&self, id: u64) -> u64 {
        mix(self.seed ^ id.wrapping_mul(GOLDEN))
    }

    /// True for the rows that judge a trained head: those flagged so, and one in eight by its id.
    pub fn held_out(&self, id: u64, flags: RowFlags) -> bool {
        flags.0 & RowFlags::HELD_OUT.0 != 0 || self.priority(!id).is_multiple_of(HELD_OUT_EVERY)
    }
}

/// The index of the rows that replay holds.
#[derive(Debug)]
pub(super) struct Held {
    pub bounds: Bounds,
    chunks: BTreeMap<u64, Vec<Entry>>,
    groups: BTreeMap<Arc<LabelSet>, Group>,
    classes: BTreeMap<ClassName, u64>,
    /// The newest rows, by id: the undo horizon.
    fresh: BTreeMap<u64, (Place, u32)>,
    fresh_bytes: u64,
    /// Rows that are new enough for it, but older ones than half of the bytes hold.
    crowded_out: BTreeMap<u64, (Place, u32)>,
    /// Ids that are new enough for it, of rows that were taken back: they are missing, and did not leave.
    taken_back: BTreeSet<u64>,
    /// Ids of rows that must not leave, because they are being corrected.
    pub wanted: HashSet<u64>,
    rows: u64,
    background: u64,
    bytes: u64,
}

impl Held {
    pub fn new(bounds: Bounds) -> Held {
        Held {
            bounds,
            chunks: BTreeMap::new(),
            groups: BTreeMap::new(),
            classes: BTreeMap::new(),
            fresh: BTreeMap::new(),
            fresh_bytes: 0,
            crowded_out: BTreeMap::new(),
            taken_back: BTreeSet::new(),
            wanted: HashSet::new(),
            rows: 0,
            background: 0,
            bytes: 0,
        }
    }

    /// Adds the next row of chunk `sequence`.
    pub fn push(&mut self, sequence: u64, id: u64, latent_at: u32, cost_bytes: u32, flags: RowFlags, labels: &LabelSet) {
        let chunk = self.chunks.entry(sequence).or_default();
        let place = Place { sequence, index: chunk.len() as u32 };
        let labels = match self.groups.get_key_value(labels) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(labels.clone()),
        };
        chunk.push(Entry { id, latent_at, cost_bytes, flags, labels: Arc::clone(&labels), held: true, missing: false, given_up: false });
        for class in labels.positive() {
            *self.classes.entry(class.clone()).or_default() += 1;
        }
        self.rows += 1;
        self.background += u64::from(is_background(&labels));
        self.bytes += u64::from(cost_bytes);
        self.groups.entry(labels).or_default().rows += 1;
        let replaced = self.fresh.insert(id, (place, cost_bytes)).map_or(0, |(_, bytes)| u64::from(bytes));
        self.fresh_bytes = self.fresh_bytes + u64::from(cost_bytes) - replaced;
    }

    /// Takes note that a chunk of `rows` rows cannot be read: those that do not leave after this are missing.
    pub fn lose(&mut self, sequence: u64, rows: u32) {
        for index in 0..self.rows_of(sequence).len() {
            self.leave(Place { sequence, index: index as u32 });
        }
        let labels = Arc::new(LabelSet::background());
        let entry =
            Entry { id: 0, latent_at: 0, cost_bytes: 0, flags: RowFlags::default(), labels, held: false, missing: true, given_up: false };
        self.chunks.insert(sequence, vec![entry; rows as usize]);
    }

    /// Chunks with rows that should be held, or should have been, and cannot be read.
    pub fn chunks_with_missing_rows(&self) -> u64 {
        self.chunks.values().filter(|c| c.iter().any(|e| e.missing || e.given_up)).count() as u64
    }

    /// Lets the rows go of the class whose retired name is `retired`. Of those that cannot be read it is not known what they
    /// are: none of them may come back.
    pub fn retire(&mut self, retired: &ClassName) {
        let its = |l: &LabelSet| l.positive().iter().chain(l.negative()).any(|c| c.retired() == *retired);
        let places: Vec<Place> = self.iter().filter(|(_, e)| its(&e.labels)).map(|(place, _)| place).collect();
        places.into_iter().for_each(|place| {
            self.leave(place);
        });
        for entry in self.chunks.values_mut().flatten().filter(|e| e.missing) {
            (entry.missing, entry.given_up) = (false, true);
        }
    }

    /// Lets a row leave; false when it is not held.
    pub fn leave(&mut self, place: Place) -> bool {
        let Some(entry) = self.chunks.get_mut(&place.sequence).and_then(|c| c.get_mut(place.index as usize)) else { return false };
        entry.given_up = false;
        if std::mem::take(&mut entry.missing) || !entry.held {
            return false;
        }
        entry.held = false;
        let entry = entry.clone();
        if self.fresh.get(&entry.id).is_some_and(|(p, _)| *p == place) {
            self.fresh.remove(&entry.id);
            self.fresh_bytes -= u64::from(entry.cost_bytes);
        }
        if self.crowded_out.get(&entry.id).is_some_and(|(p, _)| *p == place) {
            self.crowded_out.remove(&entry.id);
        }
        for class in entry.labels.positive() {
            if let Some(n) = self.classes.get_mut(class) {
                *n -= 1;
                if *n == 0 {
                    self.classes.remove(class);
                }
            }
        }
        self.rows -= 1;
        self.background -= u64::from(is_background(&entry.labels));
        self.bytes -= u64::from(entry.cost_bytes);
        if let Some(group) = self.groups.get_mut(&entry.labels) {
            group.rows -= 1;
            group.settled.remove(&(self.bounds.priority(entry.id), place));
            if group.rows == 0 {
                self.groups.remove(&entry.labels);
            }
        }
        true
    }

    /// Works out the undo horizon: of the rows with the last ids before `next_row` that it is long, the newest, as many as
    /// half of the bytes hold. It depends on what is held alone, so that it is the same after reopening.
    pub fn settle(&mut self, next_row: u64) {
        let first = next_row.saturating_sub(self.bounds.undo_rows);
        self.taken_back = self.taken_back.split_off(&first);
        self.crowded_out = self.crowded_out.split_off(&first);
        for (id, (place, cost_bytes)) in std::mem::take(&mut self.crowded_out) {
            self.group_of(place, |group, priority| group.settled.remove(&(priority, place)));
            self.fresh.insert(id, (place, cost_bytes));
            self.fresh_bytes += u64::from(cost_bytes);
        }
        while let Some((id, (place, cost_bytes))) = self.fresh.first_key_value().map(|(id, fresh)| (*id, *fresh)) {
            if id >= first && self.fresh_bytes <= self.bounds.bytes / 2 {
                break;
            }
            if id >= first {
                self.crowded_out.insert(id, (place, cost_bytes));
            }
            self.fresh.remove(&id);
            self.fresh_bytes -= u64::from(cost_bytes);
            self.group_of(place, |group, priority| group.settled.insert((priority, place)));
        }
    }

    fn group_of(&mut self, place: Place, change: impl FnOnce(&mut Group, u64) -> bool) {
        let known = self.entry(place).map(|e| (Arc::clone(&e.labels), self.bounds.priority(e.id)));
        if let Some((labels, priority)) = known
            && let Some(group) = self.groups.get_mut(&labels)
        {
            change(group, priority);
        }
    }

    /// The rows that must leave so that rows with `incoming` labels, of `incoming_bytes` in all, have room, which take the
    /// place of the held rows `replaced`. Rows that are wanted and those within the undo horizon stay, so there may be fewer
    /// than are too many.
    pub fn leaving(&self, incoming: &[&LabelSet], incoming_bytes: u64, replaced: &[Place]) -> Vec<Place> {
        let new_background = incoming.iter().filter(|l| is_background(l)).count() as u64;
        let new_rows = incoming.len() as u64 - new_background;
        let outgoing = || replaced.iter().filter_map(|place| self.entry(*place)).filter(|e| e.held);
        let old_background = outgoing().filter(|e| is_background(&e.labels)).count() as u64;
        let old_rows = outgoing().count() as u64 - old_background;
        let old_bytes: u64 = outgoing().map(|e| u64::from(e.cost_bytes)).sum();
        let bounds = &self.bounds;
        let mut background = (self.background - old_background + new_background).saturating_sub(bounds.background_rows);
        let mut rows = (self.rows - self.background - old_rows + new_rows).saturating_sub(bounds.rows - bounds.background_rows);
        let mut bytes = (self.bytes - old_bytes + incoming_bytes).saturating_sub(bounds.bytes);
        if background + rows + bytes == 0 {
            return Vec::new();
        }
        let mut counts = self.classes.clone();
        for class in incoming.iter().flat_map(|l| l.positive()) {
            *counts.entry(class.clone()).or_default() += 1;
        }
        for class in outgoing().flat_map(|e| e.labels.positive()) {
            counts.entry(class.clone()).and_modify(|n| *n -= 1);
        }
        let stays = |place: &Place| !self.wanted.is_empty() && self.entry(*place).is_some_and(|e| self.wanted.contains(&e.id));
        let mut candidates: Vec<_> =
            self.groups.iter().map(|(l, g)| (l, g.rows, g.settled.iter().rev().filter(|(_, place)| !stays(place)).peekable())).collect();
        let mut left = Vec::new();
        while background + rows + bytes > 0 {
            // Background leaves for background; the rest, and what must go for its length, comes from the largest class.
            let mut choice: Option<(u64, u64, usize)> = None;
            for (i, (labels, group_rows, settled)) in candidates.iter_mut().enumerate() {
                let Some((priority, _)) = settled.peek() else { continue };
                let worth = match (is_background(labels), background > 0) {
                    (true, true) => u64::MAX,
                    (true, false) if bytes == 0 => continue,
                    (true, false) => 0,
                    (false, _) if rows + bytes == 0 => continue,
                    (false, _) => labels.positive().iter().filter_map(|c| counts.get(c)).min().copied().unwrap_or(*group_rows),
                };
                if choice.is_none_or(|(w, p, _)| (worth, *priority) > (w, p)) {
                    choice = Some((worth, *priority, i));
                }
            }
            let Some((_, _, i)) = choice else { break };
            let (labels, group_rows, settled) = &mut candidates[i];
            let Some((_, place)) = settled.next() else { break };
            *group_rows -= 1;
            labels.positive().iter().for_each(|c| {
                counts.entry(c.clone()).and_modify(|n| *n -= 1);
            });
            let kind = if is_background(labels) { &mut background } else { &mut rows };
            *kind = kind.saturating_sub(1);
            bytes = bytes.saturating_sub(self.entry(*place).map_or(0, |e| u64::from(e.cost_bytes)));
            left.push(*place);
        }
        left
    }

    /// The rows of a chunk in order, those that left among them.
    pub fn rows_of(&self, sequence: u64) -> &[Entry] {
        self.chunks.get(&sequence).map_or(&[], Vec::as_slice)
    }

    fn entry(&self, place: Place) -> Option<&Entry> {
        self.rows_of(place.sequence).get(place.index as usize)
    }

    /// Places of held rows with their entries, by chunk and order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Place, &Entry)> {
        let place = |sequence: u64, index: usize| Place { sequence, index: index as u32 };
        let all = self.chunks.iter().flat_map(move |(s, rows)| rows.iter().enumerate().map(move |(i, e)| (place(*s, i), e)));
        all.filter(|(_, e)| e.held)
    }

    /// Bytes that the held rows of a chunk would take if they had to move.
    pub fn cost_bytes_of(&self, sequence: u64) -> u64 {
        self.rows_of(sequence).iter().filter(|e| e.held).map(|e| u64::from(e.cost_bytes)).sum()
    }

    /// Forgets where the rows of a chunk without held rows were.
    pub fn drop_chunk(&mut self, sequence: u64) {
        self.chunks.remove(&sequence);
    }

    /// Number of held rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that the held rows count for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes note that a row was taken back, which `leave` alone does not tell from one that made room.
    pub fn take_back(&mut self, id: u64) {
        self.taken_back.insert(id);
    }

    /// Of a row that is not held: true unless it was taken back.
    pub fn may_have_left(&self, id: u64) -> bool {
        id > 0 && !self.taken_back.contains(&id)
    }

    /// Id of the oldest row that undo still reaches: none that is newer, of those before `next_row`, has left. `None` when
    /// there is none.
    pub fn oldest_undoable(&self, next_row: u64) -> Option<u64> {
        let mut oldest = None;
        for id in self.fresh.keys().rev() {
            if (id + 1..oldest.unwrap_or(next_row)).any(|missing| self.may_have_left(missing)) {
                break;
            }
            oldest = Some(*id);
        }
        oldest
    }

    /// Id of the oldest row that never leaves.
    pub fn oldest_fresh(&self) -> Option<u64> {
        self.fresh.keys().next().copied()
    }

    /// The ids that were taken back, as far as undo reaches.
    pub fn taken_back(&self) -> &BTreeSet<u64> {
        &self.taken_back
    }
}

fn is_background(labels: &LabelSet) -> bool {
    labels.positive().is_empty() && labels.negative().is_empty()
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
