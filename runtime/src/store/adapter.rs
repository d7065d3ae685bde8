//! An adapter: blocks by origin, replay rows and what was taught, bound to one space, durable in one folder.
//!
//! A commit is one journal record and one sync. A failed write or sync latches: nothing more is written until the
//! adapter is opened again, because nothing is known about the file any more.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::chunks::Chunks;
use super::frame::Kind;
use super::header::Header;
use super::pack::row_stride_bytes;
use super::record::{self, Batch, Learned, Link, NewRow};
use super::sources::Sources;
use super::state::{NewPart, OriginState, Part, Root, StateFile};
use crate::latent::{Quantiser, SpaceId, limit};
use crate::learn::{Block, BlockKind, ClassName, Origin};
use crate::{Error, ErrorKind, Result};

pub(super) const STATE: &str = "state";
/// A checkpoint is due when the journal has grown by this many times what a checkpoint writes.
const CHECKPOINT_RATIO: u64 = 4;

/// How an adapter is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The one writer; refused while another has it.
    Write,
    /// Beside a writer: a consistent state of the moment it was opened.
    Read,
}

/// When an acknowledged row is safe from a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the acknowledgement.
    Now,
    /// At the next sync: a crash may lose it, in order from the end.
    Later,
}

/// What a commit answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The adapter's generation with these rows.
    pub generation: u64,
    /// Id of the first row.
    pub first_row: u64,
    /// True when the rows survive a power cut from now on.
    pub durable: bool,
}

/// What opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Everything written was whole.
    Clean,
    /// A record was being written when the power went: it was never acknowledged, and is gone.
    RolledBack {
        /// The generation that was recovered.
        generation: u64,
    },
}

/// An open adapter.
pub struct Adapter {
    pub(super) folder: PathBuf,
    pub(super) header: Header,
    pub(super) access: Access,
    pub(super) _lock: Option<File>,
    pub(super) chunks: Chunks,
    pub(super) state: StateFile,
    pub(super) blocks: BTreeMap<(Origin, BlockKind), Block>,
    pub(super) changed: HashSet<(Origin, BlockKind)>,
    pub(super) sources: Sources,
    pub(super) origins: Vec<OriginState>,
    pub(super) generation: u64,
    pub(super) chain: u64,
    pub(super) next_row: u64,
    pub(super) oldest_sequence: u64,
    pub(super) journal_bytes: u64,
    pub(super) unsynced: bool,
    pub(super) failed: bool,
    pub(super) recovery: Recovery,
    pub(super) damaged_chunks: u64,
}

impl Adapter {
    /// Learns rows of one recording (or one moment): they are in the journal and in the blocks when this returns.
    /// Rows that do not fit in one record become several commits. No rows at all are a commit only when they end a recording,
    /// so that a silent one is known as taught.
    ///
    /// # Errors
    /// `Storage` when it cannot be written (then reopen), `Input` for a row of another dimension, a component outside the
    /// range of the adapter's bits or an impossible label, `Limit` when a new class or origin would exceed the adapter's bound
    /// or one row's record a chunk. On an error before writing, nothing is learned.
    pub fn learn(&mut self, batch: &Batch, rows: &[NewRow<'_>], durability: Durability) -> Result<Acknowledgement> {
        self.check_writable()?;
        self.check_rows(rows)?;
        self.check_bounds(batch, rows)?;
        let first_row = self.next_row;
        for record in self.encode(batch, rows)? {
            self.commit_learn(&record)?;
        }
        if durability == Durability::Now {
            self.sync()?;
        }
        if self.journal_bytes >= CHECKPOINT_RATIO * self.checkpoint_len_bytes() {
            match self.checkpoint() {
                // The rows are learned: no room for a checkpoint is an error only where one is needed, before writing.
                Err(e) if e.kind() == ErrorKind::Limit => log::warn!("{e}"),
                done => done?,
            }
        }
        Ok(Acknowledgement { generation: self.generation, first_row, durable: !self.unsynced })
    }

    /// The records of `rows`, each short enough for a chunk, linked to one another and read back as replay would.
    fn encode(&self, batch: &Batch, rows: &[NewRow<'_>]) -> Result<Vec<(Vec<u8>, Learned)>> {
        let (dim, bits, most) = (self.dim(), self.header.creation.bits, self.chunks.record_len_max_bytes());
        let mut records = Vec::new();
        if rows.is_empty() && (batch.source == 0 || !batch.source_complete || self.has_source(batch.source)) {
            return Ok(records);
        }
        let mut link = Link { generation: self.generation + 1, chain: self.chain };
        let (mut rest, mut next_row) = (rows, self.next_row);
        let mut count = (most / 2 / row_stride_bytes(dim, bits).max(64)).max(1);
        loop {
            count = count.min(rest.len());
            let source_complete = batch.source_complete && count == rest.len();
            let record = record::encode_learn(link, &Batch { source_complete, ..batch.clone() }, next_row, &rest[..count], dim, bits)?;
            if record.len() > most {
                if count <= 1 {
                    return Err(Error::new(ErrorKind::Limit, "a row's names and notes do not fit in a chunk")
                        .expected(format!("at most {most} bytes"))
                        .found(record.len())
                        .cure("shorten the names"));
                }
                count /= 2;
                continue;
            }
            let found = record::decode(&record)?;
            let learned = record::decode_learn(found.payload, dim, bits)?;
            link = found.following();
            records.push((record, learned));
            (rest, next_row) = (&rest[count..], next_row + count as u64);
            if rest.is_empty() {
                return Ok(records);
            }
        }
    }

    fn commit_learn(&mut self, (record, learned): &(Vec<u8>, Learned)) -> Result<()> {
        let following = record::decode(record)?.following();
        self.make_room(record.len())?;
        self.failed = true;
        self.unsynced = true;
        self.chunks.append(record, learned.rows.len() as u64)?;
        absorb(&mut self.blocks, &mut self.changed, learned, self.header.creation.dim as usize)?;
        self.failed = false;
        self.sources.note(&learned.batch, learned.rows.len());
        (self.generation, self.chain) = (following.generation - 1, following.chain);
        self.next_row += learned.rows.len() as u64;
        self.journal_bytes += record.len() as u64;
        Ok(())
    }

    /// A chunk is begun only when all before it is durable, and its slot taken only when a durable checkpoint covers every
    /// row that lies there.
    fn make_room(&mut self, len_bytes: usize) -> Result<()> {
        if !self.chunks.needs_chunk(len_bytes) {
            return Ok(());
        }
        self.sync()?;
        let oldest = self.chunks.oldest_with(self.chunks.end().sequence + 1);
        if oldest > 0 && self.state.newest().is_none_or(|r| r.journal.sequence < oldest) {
            self.checkpoint()?;
        }
        self.oldest_sequence = self.oldest_sequence.max(oldest);
        Ok(())
    }

    /// Makes every acknowledged row durable.
    ///
    /// # Errors
    /// `Storage`; nothing more is written then until the adapter is reopened.
    pub fn sync(&mut self) -> Result<()> {
        self.check_writable()?;
        if self.unsynced {
            self.failed = true;
            self.chunks.sync()?;
            self.failed = false;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Writes the blocks out, so that opening need not replay what came before.
    ///
    /// # Errors
    /// `Storage` (then reopen) or `Limit`.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.sync()?;
        let mut parts = Vec::new();
        for (key, block) in &self.blocks {
            let part = Part::Block(key.0, key.1);
            parts.push(if self.changed.contains(key) { NewPart::Bytes(part, block.to_canonical_bytes()) } else { NewPart::Keep(part) });
        }
        parts.push(NewPart::Bytes(Part::Sources, self.sources.encode()));
        let other = |p: &Part| !matches!(p, Part::Block(..) | Part::Sources);
        parts.extend(self.state.newest().into_iter().flat_map(|r| &r.extents).map(|e| e.part).filter(other).map(NewPart::Keep));
        let root = Root {
            adapter_id: self.header.adapter_id,
            generation: self.generation,
            chain: self.chain,
            journal: self.chunks.end(),
            oldest_sequence: self.oldest_sequence,
            next_row: self.next_row,
            evicted_rows: self.evicted_rows(),
            origins: self.origin_states(),
            extents: Vec::new(),
        };
        let origins = root.origins.clone();
        self.failed = true;
        let done = self.state.commit(root, parts);
        // Running out of units is found before anything that matters is written.
        self.failed = done.as_ref().is_err_and(|e| e.kind() != ErrorKind::Limit);
        done?;
        self.origins = origins;
        self.changed.clear();
        self.journal_bytes = 0;
        Ok(())
    }

    fn check_writable(&self) -> Result<()> {
        if self.failed {
            return Err(Error::new(ErrorKind::Storage, "the adapter stopped writing after a failed write or sync")
                .at(self.folder.display())
                .cure("free space or check the disk, then open it again: everything acknowledged as durable is there"));
        }
        if self.access == Access::Read {
            return Err(Error::new(ErrorKind::Storage, "the adapter was opened for reading")
                .at(self.folder.display())
                .cure("open it for writing"));
        }
        Ok(())
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

    fn check_bounds(&self, batch: &Batch, rows: &[NewRow<'_>]) -> Result<()> {
        let learned = self.blocks.values().map(Block::rows).max().unwrap_or(0);
        if learned.saturating_add(rows.len() as u64) > crate::learn::block::ROWS_MAX {
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
        let mut classes: HashSet<&ClassName> = self.blocks.values().flat_map(|b| b.classes().keys()).collect();
        classes.extend(rows.iter().flat_map(|r| r.labels.positive().iter().chain(r.labels.negative())));
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
        self.blocks.iter().filter(|(k, _)| self.changed.contains(k)).map(|(_, b)| block(b)).sum::<u64>()
            + (self.sources.len_bytes()).max(4096)
    }

    fn rows_of(&self, sequence: u64, dim: usize, bits: u8, visit: &mut dyn FnMut(Learned) -> Result<()>) -> Result<()> {
        self.chunks.records(sequence, |found| match found.kind {
            Kind::Learn => visit(record::decode_learn(found.payload, dim, bits)?),
            _ => Ok(()),
        })
    }

    /// Hands every row that replay holds to `visit`, record by record, oldest first.
    ///
    /// # Errors
    /// What `visit` returns; `Storage` or `Corrupt` when a chunk cannot be read.
    pub fn rows(&self, mut visit: impl FnMut(Learned) -> Result<()>) -> Result<()> {
        let (dim, bits) = (self.dim(), self.header.creation.bits);
        for sequence in self.oldest_sequence..=self.chunks.end().sequence {
            self.rows_of(sequence, dim, bits, &mut visit)?;
        }
        Ok(())
    }

    /// The sum over origins of the blocks of `kind`; `None` when no row of that kind was learned.
    ///
    /// # Errors
    /// `Limit` when the sums would overflow.
    pub fn block(&self, kind: BlockKind) -> Result<Option<Block>> {
        let mut blocks = self.blocks.iter().filter(|((_, k), _)| *k == kind).map(|(_, b)| b);
        let Some(mut sum) = blocks.next().cloned() else { return Ok(None) };
        blocks.try_for_each(|b| sum.merge(b))?;
        Ok(Some(sum))
    }

    /// SHA-256 over the canonical form of the summed blocks, kind by kind: equal for equal rows, whatever their order,
    /// origin or number of parts.
    ///
    /// # Errors
    /// As [`Adapter::block`].
    pub fn statistics_digest(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        for kind in &self.header.blocks {
            if let Some(block) = self.block(*kind)? {
                hash.update(block.to_canonical_bytes());
            }
        }
        Ok(hash.finalize().into())
    }

    /// Digests of the recordings remembered as taught, wholly or in part.
    pub fn sources(&self) -> impl Iterator<Item = u64> {
        self.sources.iter()
    }

    /// True when the recording of this digest was taught to its end.
    pub fn has_source(&self, source: u64) -> bool {
        self.sources.has(source)
    }

    /// Rows of the recording of this digest that were learned before its teaching was cut off: resume behind them.
    pub fn rows_of_unfinished(&self, source: u64) -> u64 {
        self.sources.rows_of_unfinished(source)
    }

    /// Refuses a backbone whose space is not the adapter's.
    ///
    /// # Errors
    /// `Mismatch`, with both.
    pub fn check_space(&self, space: SpaceId, backbone: &str) -> Result<()> {
        let own = &self.header.creation;
        if own.space == space {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Mismatch, "the adapter belongs to another backbone")
            .at(self.folder.display())
            .expected(format!("{} with space {}", own.backbone, &own.space.to_string()[..16]))
            .found(format!("{backbone} with space {}", &space.to_string()[..16]))
            .cure("give the backbone it was taught with, or teach a new adapter"))
    }

    /// The quantiser of the adapter's space.
    ///
    /// # Errors
    /// `Config` when the stored scales are unusable.
    pub fn quantiser(&self) -> Result<Quantiser> {
        Quantiser::new(self.header.creation.bits, self.header.creation.scale.clone())
    }

    /// What was fixed at creation.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Dimension D.
    pub fn dim(&self) -> usize {
        self.header.creation.dim as usize
    }

    /// The generation: number of commits since creation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Generation of the newest checkpoint.
    pub fn checkpoint_generation(&self) -> u64 {
        self.state.newest().map_or(0, |r| r.generation)
    }

    /// Rows that left replay; the statistics count them still.
    pub fn evicted_rows(&self) -> u64 {
        (self.next_row - 1).saturating_sub(self.chunks.held_rows())
    }

    /// Who learns here now.
    pub fn origin(&self) -> Origin {
        self.origins.iter().find(|o| o.own).map_or(self.header.creation.origin, |o| o.origin)
    }

    fn origin_states(&self) -> Vec<OriginState> {
        let own = self.origin();
        let known = |origin: &Origin| self.origins.iter().find(|o| o.origin == *origin).cloned();
        let state = |origin: Origin| match known(&origin) {
            Some(state) if origin != own => state,
            other => OriginState { origin, generation: self.generation, parity: other.and_then(|o| o.parity), own: origin == own },
        };
        let mut all = self.origins();
        all.extend(self.origins.iter().map(|o| o.origin).chain([own]).filter(|o| !self.blocks.keys().any(|(b, _)| b == o)));
        all.sort();
        all.dedup();
        all.into_iter().map(state).collect()
    }

    /// Origins that have blocks here.
    pub fn origins(&self) -> Vec<Origin> {
        let mut origins: Vec<Origin> = self.blocks.keys().map(|(o, _)| *o).collect();
        origins.dedup();
        origins
    }

    /// What opening found.
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Chunks that were damaged when it was opened: their rows left replay, the statistics count them still.
    pub fn damaged_chunks(&self) -> u64 {
        self.damaged_chunks
    }
}

/// Adds rows to the blocks of their origin and kinds.
pub(super) fn absorb(
    blocks: &mut BTreeMap<(Origin, BlockKind), Block>,
    changed: &mut HashSet<(Origin, BlockKind)>,
    learned: &Learned,
    dim: usize,
) -> Result<()> {
    for kind in [BlockKind::Latents, BlockKind::Mixed, BlockKind::Background] {
        let mut latents = Vec::new();
        let mut labels = Vec::new();
        for ((_, l), latent) in learned.rows.iter().zip(learned.latents.chunks_exact(dim)) {
            if l.block_kind() == kind {
                latents.extend_from_slice(latent);
                labels.push(l.clone());
            }
        }
        if labels.is_empty() {
            continue;
        }
        let key = (learned.batch.origin, kind);
        let block = match blocks.entry(key) {
            std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::btree_map::Entry::Vacant(e) => e.insert(Block::new(kind, dim)?),
        };
        block.add_chunk(&latents, &labels)?;
        changed.insert(key);
    }
    Ok(())
}
