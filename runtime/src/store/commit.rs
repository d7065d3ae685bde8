//! Commits: rows become one journal record, which is applied and appended; and the making of room for it, by sealing chunks,
//! carrying held rows out of chunks that hold few, and checkpoints.

use std::collections::{HashMap, HashSet};

use super::adapter::{Acknowledgement, Adapter, Durability};
use super::frame::{FLAG_SETTLED, Kind, set_flags};
use super::record::{self, Batch, Draft, Learned, NewRow, Place};
use crate::latent::limit;
use crate::learn::{Block, ClassName, LabelSet};
use crate::{Error, ErrorKind, Result};

/// A checkpoint is due when the journal has grown by this many times what a checkpoint writes.
const CHECKPOINT_RATIO: u64 = 4;
/// Free slots that there must be before a new chunk is begun.
const RESERVE_SLOTS: usize = 3;
/// A record lists at most this many more leaving rows than it brings new ones.
const LEAVING_BESIDE: usize = 8;
/// Longest postcard form of a [`Place`].
const PLACE_LEN_MAX_BYTES: usize = 15;

impl Adapter {
    /// Learns rows of one recording (or one moment): they are in the journal and in the blocks when this returns.
    /// Rows that do not fit in one record become several commits. No rows at all are a commit only when they end a recording,
    /// so that a silent one is known as taught. When replay is full, others leave it.
    ///
    /// # Errors
    /// `Storage` when it cannot be written (then reopen), `Input` for a row of another dimension, a component outside the
    /// range of the adapter's bits or an impossible label, `Limit` when a new class or origin would exceed the adapter's bound
    /// or one row's record a chunk. On an error before writing, nothing is learned.
    pub fn learn(&mut self, batch: &Batch, rows: &[NewRow<'_>], durability: Durability) -> Result<Acknowledgement> {
        self.check_writable()?;
        self.check_rows(rows)?;
        self.check_bounds(batch, rows.iter().map(|r| r.labels), rows.len())?;
        let first_row = self.contents.next_row;
        if rows.is_empty() && (batch.source == 0 || !batch.source_complete || self.has_source(batch.source)) {
            return self.acknowledge(first_row, durability);
        }
        let rows = (first_row..).zip(rows.iter().cloned()).collect();
        let draft = Draft { kind: Kind::Learn, batch: batch.clone(), rows, before: Vec::new(), left: Vec::new() };
        for part in self.parts(draft)? {
            self.commit(part)?;
        }
        self.acknowledge(first_row, durability)
    }

    /// The rows in as many records as leave chunks well filled; the last ends the recording if the draft does. All are encoded
    /// once before anything is written, so that what cannot be stored is found first.
    ///
    /// # Errors
    /// `Limit` when one row's record would not fit in a chunk.
    pub(super) fn parts<'a>(&self, draft: Draft<'a>) -> Result<Vec<Draft<'a>>> {
        let len_bytes = record::encode_rows(self.contents.next(), &draft, self.dim(), self.header.creation.bits)?.len();
        let most = self.chunks.record_len_max_bytes();
        // Rows that leave with it take some room too.
        let whole = len_bytes + PLACE_LEN_MAX_BYTES * (2 * draft.rows.len() + LEAVING_BESIDE);
        match draft.rows.len() {
            0 => return Ok(vec![draft]),
            1 if whole > most => {
                return Err(Error::new(ErrorKind::Limit, "a row's names and notes do not fit in a chunk")
                    .expected(format!("at most {most} bytes"))
                    .found(whole)
                    .cure("shorten the names"));
            }
            1 => return Ok(vec![draft]),
            _ if len_bytes <= most / 2 && whole <= most => return Ok(vec![draft]),
            _ => {}
        }
        let (middle, mut first, mut second) = (draft.rows.len() / 2, draft.clone(), draft);
        first.batch.source_complete = false;
        second.rows = first.rows.split_off(middle);
        second.before = first.before.split_off(middle.min(first.before.len()));
        let mut parts = self.parts(first)?;
        parts.extend(self.parts(second)?);
        Ok(parts)
    }

    pub(super) fn acknowledge(&mut self, first_row: u64, durability: Durability) -> Result<Acknowledgement> {
        if durability == Durability::Now {
            self.sync()?;
        }
        if self.contents.journal_bytes >= CHECKPOINT_RATIO * self.checkpoint_len_bytes() {
            match self.checkpoint() {
                // The rows are learned: no room for a checkpoint is an error only where one is needed, before writing.
                Err(e) if e.kind() == ErrorKind::Limit => log::warn!("{e}"),
                done => done?,
            }
        }
        Ok(Acknowledgement { generation: self.generation(), first_row, durable: !self.unsynced })
    }

    /// Commits one record of rows. With it leave the rows that it takes the place of, or those that make room for its own.
    pub(super) fn commit(&mut self, mut draft: Draft<'_>) -> Result<()> {
        let (dim, bits) = (self.dim(), self.header.creation.bits);
        loop {
            let mut beside = Vec::new();
            match draft.kind {
                Kind::Learn => beside = self.make_way(&mut draft, Vec::new())?,
                Kind::Relabel => {
                    let replaced = self.places_of(draft.rows.iter().map(|(id, _)| *id))?;
                    beside = self.make_way(&mut draft, replaced)?;
                }
                Kind::Undo => draft.left = self.places_of(draft.rows.iter().map(|(id, _)| *id))?,
                _ => {}
            }
            if !beside.is_empty() {
                beside.truncate(self.chunks.record_len_max_bytes() / 4 / PLACE_LEN_MAX_BYTES);
                // Of no recording: nothing of the one that is being taught is learned by it.
                let batch = Batch { by: String::new(), source: 0, source_complete: false, ..draft.batch };
                self.commit(Draft { kind: Kind::Carry, batch, rows: Vec::new(), before: Vec::new(), left: beside })?;
                continue;
            }
            let bytes = record::encode_rows(self.contents.next(), &draft, dim, bits)?;
            if self.chunks.fits(bytes.len()) {
                return self.put(bytes);
            }
            // Rows may move meanwhile, so that their places must be looked up again.
            self.make_room(bytes.len())?;
        }
    }

    /// Has a record list the rows `replaced` and, behind them, those that make room for its own. Returns those for which it has
    /// no place.
    fn make_way(&self, draft: &mut Draft<'_>, replaced: Vec<Place>) -> Result<Vec<Place>> {
        draft.left = replaced;
        let len_bytes = record::encode_rows(self.contents.next(), draft, self.dim(), self.header.creation.bits)?.len();
        let labels: Vec<&LabelSet> = draft.rows.iter().map(|(_, r)| r.labels).collect();
        let mut leaving = self.contents.held.leaving(&labels, len_bytes as u64, &draft.left);
        // A long record may take the place of many short ones.
        let beside = leaving.split_off(leaving.len().min(draft.rows.len() + LEAVING_BESIDE));
        draft.left.append(&mut leaving);
        Ok(beside)
    }

    /// Commits a record that holds no rows.
    pub(super) fn commit_other(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        loop {
            let bytes = record::encode(kind, self.contents.next(), payload)?;
            if self.chunks.fits(bytes.len()) {
                return self.put(bytes);
            }
            self.make_room(bytes.len())?;
        }
    }

    /// Where held rows lie.
    fn places_of(&self, ids: impl Iterator<Item = u64>) -> Result<Vec<Place>> {
        let ids: Vec<u64> = ids.collect();
        let wanted: HashSet<u64> = ids.iter().copied().collect();
        let held = self.contents.held.iter().filter(|(_, e)| wanted.contains(&e.id));
        let places: HashMap<u64, Place> = held.map(|(place, e)| (e.id, place)).collect();
        let place = |id: &u64| places.get(id).copied().ok_or_else(|| Error::new(ErrorKind::Input, "a row is not held").found(id));
        ids.iter().map(place).collect()
    }

    /// Applies a record and appends it to the open chunk.
    pub(super) fn put(&mut self, mut bytes: Vec<u8>) -> Result<()> {
        if !self.unsynced {
            set_flags(&mut bytes, FLAG_SETTLED);
        }
        let found = record::decode(&bytes)?;
        let at = self.chunks.end();
        self.failed = true;
        self.contents.apply(at, &found)?;
        self.unsynced = true;
        self.chunks.append(&bytes, found.rows())?;
        self.failed = false;
        Ok(())
    }

    /// Begins a chunk. It is begun only when all before it is durable, and only in a slot that nothing needs.
    fn make_room(&mut self, len_bytes: usize) -> Result<()> {
        if len_bytes > self.chunks.record_len_max_bytes() {
            return Err(Error::new(ErrorKind::Limit, "a record is longer than a chunk")
                .expected(self.chunks.record_len_max_bytes())
                .found(len_bytes));
        }
        let full = self.chunks.end().sequence;
        self.sync()?;
        // Each turn frees at least a quarter of a chunk, or writes one of the two checkpoints that free what is empty.
        for _ in 0..4 * self.header.chunks + 2 {
            self.release();
            let free = self.chunks.free_slots().len();
            if free >= RESERVE_SLOTS {
                break;
            }
            let covered = self.state.covered_before();
            let (waiting, cheapest) = self.cheapest(covered);
            let usable = self.chunks.record_len_max_bytes() as u64;
            // Carried rows go into a free slot before theirs comes free.
            let victim = cheapest.filter(|(_, cost)| 4 * cost <= 3 * usable && free > 0);
            // Bytes written for each slot that comes free.
            let by_checkpoint = self.checkpoint_len_bytes() / waiting.max(1);
            match victim {
                Some((sequence, cost)) if waiting == 0 || usable * cost / (usable - cost) < by_checkpoint => self.carry(sequence)?,
                _ if waiting > 0 || covered < full => self.checkpoint()?,
                _ => break,
            }
        }
        self.sync()?;
        if self.chunks.end().sequence == full {
            self.begin()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        let slot = self.chunks.free_slots().first().copied().ok_or_else(|| self.no_room())?;
        self.failed = true;
        self.chunks.begin(slot)?;
        self.failed = false;
        Ok(())
    }

    fn no_room(&self) -> Error {
        Error::new(ErrorKind::Limit, "the adapter's chunk file is full of rows that are held")
            .at(self.folder.path().display())
            .cure("make an adapter with more replay_rows, or shorten the names that come with the rows")
    }

    /// Lets chunks go that hold no row and that no kept checkpoint needs.
    fn release(&mut self) {
        let covered = self.state.covered_before();
        let empty = |s: &u64| *s < covered && self.contents.held.cost_bytes_of(*s) == 0;
        let sequences: Vec<u64> = self.chunks.sealed.keys().copied().filter(empty).collect();
        for sequence in sequences {
            self.chunks.release(sequence);
            self.contents.held.drop_chunk(sequence);
        }
    }

    /// How many empty chunks come free with the next checkpoint, and of the chunks before `covered`, whose slots come free as
    /// soon as they are empty, the one whose rows are cheapest to move, with what they cost.
    fn cheapest(&self, covered: u64) -> (u64, Option<(u64, u64)>) {
        let next_covered = self.state.newest().map_or(0, |r| r.journal.sequence);
        let cost = |s: &u64| self.contents.held.cost_bytes_of(*s);
        let waiting = self.chunks.sealed.range(..next_covered).filter(|(s, _)| cost(s) == 0).count() as u64;
        let costs = self.chunks.sealed.range(..covered).map(|(s, _)| (*s, cost(s))).filter(|(_, cost)| *cost > 0);
        (waiting, costs.min_by_key(|(sequence, cost)| (*cost, *sequence)))
    }

    /// Writes the held rows of a chunk anew at the end of the journal, so that its slot comes free.
    pub(super) fn carry(&mut self, sequence: u64) -> Result<()> {
        let mut records: Vec<Learned> = Vec::new();
        self.rows_of(sequence, &mut |learned| {
            records.push(learned);
            Ok(())
        })?;
        let held: Vec<Place> = self.contents.held.iter().filter(|(p, _)| p.sequence == sequence).map(|(p, _)| p).collect();
        let mut places = held.into_iter();
        let dim = self.dim();
        for learned in records {
            let rows = learned.new_rows(dim);
            let left = places.by_ref().take(rows.len()).collect();
            let draft = Draft { kind: Kind::Carry, batch: learned.batch.clone(), rows, before: Vec::new(), left };
            self.carry_record(draft)?;
        }
        Ok(())
    }

    /// Commits carried rows, in as many records as chunks need.
    fn carry_record(&mut self, draft: Draft<'_>) -> Result<()> {
        let bytes = record::encode_rows(self.contents.next(), &draft, self.dim(), self.header.creation.bits)?;
        if self.chunks.fits(bytes.len()) {
            return self.put(bytes);
        }
        let most = self.chunks.record_len_max_bytes();
        if draft.rows.len() > 1 && bytes.len() > most / 4 {
            let (count, middle) = (draft.rows.len(), draft.rows.len() / 2);
            for range in [0..middle, middle..count] {
                let (rows, left) = (draft.rows[range.clone()].to_vec(), draft.left[range].to_vec());
                self.carry_record(Draft { rows, left, ..draft.clone() })?;
            }
            return Ok(());
        }
        if bytes.len() > most {
            return Err(Error::new(ErrorKind::Limit, "a carried record does not fit in a chunk").found(bytes.len()));
        }
        self.sync()?;
        self.begin()?;
        self.carry_record(draft)
    }

    fn check_rows(&self, rows: &[NewRow<'_>]) -> Result<()> {
        let (dim, most) = (self.dim(), limit(self.header.creation.bits));
        for (i, row) in rows.iter().enumerate() {
            if row.latent.len() != dim {
                return Err(Error::new(ErrorKind::Input, "a row has another dimension")
                    .at(format!("row {i}"))
                    .expected(dim)
                    .found(row.latent.len()));
            }
            if let Some(d) = row.latent.iter().position(|q| i32::from(*q).abs() > most) {
                return Err(Error::new(ErrorKind::Input, "a latent component lies outside its range")
                    .at(format!("row {i}, component {d}"))
                    .expected(format!("-{most} to {most}"))
                    .found(row.latent[d])
                    .cure("quantise with the adapter's own quantiser"));
            }
        }
        Ok(())
    }

    /// Refuses labels that would exceed the adapter's bounds.
    pub(super) fn check_bounds<'a>(&self, batch: &Batch, labels: impl Iterator<Item = &'a LabelSet>, rows: usize) -> Result<()> {
        let learned = self.contents.blocks.values().map(Block::rows).max().unwrap_or(0);
        if learned.saturating_add(rows as u64) > crate::learn::block::ROWS_MAX {
            return Err(Error::new(ErrorKind::Limit, "the adapter has no room for another row").found(learned));
        }
        let mut origins = self.origins();
        origins.push(batch.origin);
        origins.sort();
        origins.dedup();
        let allowed = self.header.creation.max_origins as usize;
        if origins.len() > allowed {
            return Err(Error::new(ErrorKind::Limit, "the adapter has no room for another origin")
                .at(batch.origin)
                .expected(format!("at most {allowed}"))
                .cure("create an adapter with a larger max_origins"));
        }
        let mut classes: HashSet<&ClassName> = self.contents.blocks.values().flat_map(|b| b.classes().keys()).collect();
        classes.extend(labels.flat_map(|l| l.positive().iter().chain(l.negative())));
        let allowed = self.header.creation.max_classes as usize;
        if classes.len() > allowed {
            return Err(Error::new(ErrorKind::Limit, "the adapter has no room for another class")
                .expected(format!("at most {allowed}"))
                .found(classes.len())
                .cure("create an adapter with a larger max_classes"));
        }
        Ok(())
    }

    /// What a checkpoint would write; never less than a page.
    fn checkpoint_len_bytes(&self) -> u64 {
        let dim = self.dim() as u64;
        let block = |b: &Block| 8 * (dim + dim * (dim + 1) / 2 + b.classes().len() as u64 * (dim + 8));
        let contents = &self.contents;
        contents.blocks.iter().filter(|(k, _)| self.is_due(k)).map(|(_, b)| block(b)).sum::<u64>() + contents.sources.len_bytes().max(4096)
    }
}
