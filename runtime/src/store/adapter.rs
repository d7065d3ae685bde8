//! An adapter: blocks by origin, replay rows and what was taught, bound to one space, durable in one folder.
//!
//! A commit is one journal record and one sync. A failed write or sync latches: nothing more is written until the
//! adapter is opened again, because nothing is known about the file any more.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::chunks::Chunks;
use super::contents::Contents;
use super::header::Header;
use super::kept::Kept;
use super::record::{self, Learned, RowFlags};
use super::rewrite::Anew;
use super::state::{ChunkRows, ListedRows, NewPart, OriginState, Part, Root, StateFile};
use super::storage::Folder;
use crate::latent::{Quantiser, SpaceId};
use crate::learn::{Block, BlockKind, LabelSet, Origin};
use crate::{Error, ErrorKind, Result};

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

/// What opening found. A state that cannot be recovered is refused with an error that says why.
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

impl std::fmt::Display for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Recovery::Clean => f.write_str("clean"),
            Recovery::RolledBack { generation } => write!(f, "rolled back to {generation} (lost: nothing acknowledged)"),
        }
    }
}

/// An open adapter.
pub struct Adapter {
    pub(super) folder: Arc<dyn Folder>,
    pub(super) header: Header,
    pub(super) access: Access,
    pub(super) lock: Option<File>,
    pub(super) chunks: Chunks,
    pub(super) state: StateFile,
    pub(super) contents: Contents,
    pub(super) origins: Vec<OriginState>,
    pub(super) unsynced: bool,
    pub(super) failed: bool,
    pub(super) recovery: Recovery,
    pub(super) damaged_chunks: u64,
    /// Parts that the next checkpoint writes.
    pub(super) kept: Kept,
}

/// A row that replay holds, where it lies.
#[derive(Debug, Clone, Copy)]
pub struct HeldRow<'a> {
    /// Its id.
    pub id: u64,
    /// What it is.
    pub labels: &'a LabelSet,
    /// How it may be used.
    pub flags: RowFlags,
    /// True when it is kept out of training, to judge a trained head.
    pub held_out: bool,
    /// The latent as packed at the adapter's bits (see [`super::pack`]); at 8 bits a byte a component.
    pub packed: &'a [u8],
}

impl Adapter {
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
        for (key, block) in &self.contents.blocks {
            let part = Part::Block(key.0, key.1);
            parts.push(if self.is_due(key) { NewPart::Bytes(part, block.to_canonical_bytes()) } else { NewPart::Keep(part) });
        }
        parts.push(NewPart::Bytes(Part::Sources, self.contents.sources.encode()));
        let rows = ListedRows::new(self.chunk_rows(), self.contents.held.taken_back());
        parts.push(NewPart::Bytes(Part::Rows, rows.encode()?));
        parts.extend(self.kept.iter().map(|(part, bytes)| NewPart::Bytes(*part, bytes.clone())));
        let other = |p: &Part| !matches!(p, Part::Block(..) | Part::Sources | Part::Rows) && !self.kept.contains_key(p);
        parts.extend(self.state.newest().into_iter().flat_map(|r| &r.extents).map(|e| e.part).filter(other).map(NewPart::Keep));
        let root = Root {
            adapter_id: self.header.adapter_id,
            generation: self.contents.generation,
            chain: self.contents.chain,
            journal: self.chunks.end(),
            oldest_sequence: self.chunks.sealed.keys().next().copied().unwrap_or(self.chunks.end().sequence),
            next_row: self.contents.next_row,
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
        self.contents.changed.clear();
        self.contents.journal_bytes = 0;
        self.kept.clear();
        Ok(())
    }

    /// Must the next checkpoint write this block?
    pub(super) fn is_due(&self, key: &(Origin, BlockKind)) -> bool {
        self.contents.changed.contains(key) || self.state.other_copy(Part::Block(key.0, key.1)).is_none()
    }

    /// The sealed chunks with the rows that left, and the open one.
    fn chunk_rows(&self) -> Vec<ChunkRows> {
        let slots = self.chunks.sealed.iter().map(|(sequence, c)| (*sequence, c.slot));
        let end = self.chunks.end();
        let rows = |(sequence, slot)| {
            let mut left = vec![0u8; self.contents.held.rows_of(sequence).len().div_ceil(8)];
            for (i, _) in self.contents.held.rows_of(sequence).iter().enumerate().filter(|(_, e)| !e.held && !e.missing) {
                left[i / 8] |= 1 << (i % 8);
            }
            left.truncate(left.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1));
            ChunkRows { sequence, slot, left }
        };
        slots.chain([(end.sequence, end.slot)]).map(rows).collect()
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        if self.failed {
            return Err(Error::new(ErrorKind::Storage, "the adapter stopped writing after a failed write or sync")
                .at(self.folder.path().display())
                .cure("free space or check the disk, then open it again: everything acknowledged as durable is there"));
        }
        if self.access == Access::Read {
            return Err(Error::new(ErrorKind::Storage, "the adapter was opened for reading")
                .at(self.folder.path().display())
                .cure("open it for writing"));
        }
        Ok(())
    }

    /// Hands every row that replay holds to `visit`, by chunk and record, oldest first, its latent unpacked.
    ///
    /// # Errors
    /// What `visit` returns; `Storage` or `Corrupt` when a chunk cannot be read, `Busy` for a reader when the writer has
    /// taken one since.
    pub fn rows(&self, mut visit: impl FnMut(Learned) -> Result<()>) -> Result<()> {
        self.rows_by_chunk(|_, learned| visit(learned))
    }

    /// As [`Adapter::rows`], each record with the sequence of its chunk.
    ///
    /// # Errors
    /// As [`Adapter::rows`].
    pub fn rows_by_chunk(&self, mut visit: impl FnMut(u64, Learned) -> Result<()>) -> Result<()> {
        for sequence in self.sequences() {
            self.rows_of(sequence, &mut |learned| visit(sequence, learned))?;
        }
        Ok(())
    }

    /// Every row that replay holds, where it lies: those of sealed chunks are not copied by a writer, whose map shows them.
    /// Each chunk is checked before its rows are handed out.
    ///
    /// # Errors
    /// As [`Adapter::rows`].
    pub fn rows_in_place(&self, mut visit: impl FnMut(HeldRow<'_>) -> Result<()>) -> Result<()> {
        let stride = super::pack::row_stride_bytes(self.dim(), self.header.creation.bits);
        let mut buffer = Vec::new();
        for sequence in self.sequences() {
            let held = &self.contents.held;
            let entries = held.rows_of(sequence).iter().filter(|e| e.held);
            if entries.clone().next().is_none() {
                continue;
            }
            let Some(bytes) = self.chunks.checked(sequence, &mut buffer)? else { continue };
            for e in entries {
                let start = e.latent_at as usize;
                let packed = bytes.get(start..start + stride);
                let packed = packed.ok_or_else(|| Error::new(ErrorKind::Corrupt, "a held row lies outside its chunk").at(e.id))?;
                let held_out = held.bounds.held_out(e.id, e.flags);
                visit(HeldRow { id: e.id, labels: &e.labels, flags: e.flags, held_out, packed })?;
            }
        }
        Ok(())
    }

    /// The sequences of all chunks that may hold rows.
    pub(super) fn sequences(&self) -> Vec<u64> {
        self.chunks.sealed.keys().copied().chain([self.chunks.end().sequence]).collect()
    }

    /// The held rows of one chunk, record by record.
    pub(super) fn rows_of(&self, sequence: u64, visit: &mut dyn FnMut(Learned) -> Result<()>) -> Result<()> {
        let (dim, bits, format) = (self.dim(), self.header.creation.bits, self.header.format);
        let entries = self.contents.held.rows_of(sequence);
        let mut first = 0;
        self.chunks.records(sequence, |_, found| {
            let count = found.rows();
            let held: Vec<bool> = (first..first + count).map(|i| entries.get(i).is_some_and(|e| e.held)).collect();
            first += count;
            if held.iter().any(|h| *h) {
                let mut learned = record::decode_rows(found.payload, dim, bits, format)?;
                learned.retain(&held, dim);
                visit(learned)?;
            }
            Ok(())
        })
    }

    /// The sum over origins of the blocks of `kind`; `None` when no row of that kind was learned.
    ///
    /// # Errors
    /// `Limit` when the sums would overflow.
    pub fn block(&self, kind: BlockKind) -> Result<Option<Block>> {
        let mut blocks = self.contents.blocks.iter().filter(|((_, k), _)| *k == kind).map(|(_, b)| b);
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

    /// The blocks of each origin and kind.
    pub fn blocks(&self) -> impl Iterator<Item = (Origin, &Block)> {
        self.contents.blocks.iter().map(|((origin, _), block)| (*origin, block))
    }

    /// Everything but the rows, as it would go into a new set of files.
    pub fn as_it_is(&self) -> Anew {
        Anew {
            creation: self.header.creation.clone(),
            statistics: self.contents.blocks.clone(),
            origins: self.origin_states(),
            sources: self.contents.sources.pairs().collect(),
            next_row: self.contents.next_row,
            taken_back: self.contents.held.taken_back().iter().copied().collect(),
            generation: self.generation() + 1,
        }
    }

    /// Digests of the recordings remembered as taught, wholly or in part.
    pub fn sources(&self) -> impl Iterator<Item = u64> {
        self.contents.sources.iter()
    }

    /// True when the recording of this digest was taught to its end.
    pub fn has_source(&self, source: u64) -> bool {
        self.contents.sources.has(source)
    }

    /// Rows of the recording of this digest that were learned before its teaching was cut off: resume behind them.
    pub fn rows_of_unfinished(&self, source: u64) -> u64 {
        self.contents.sources.rows_of_unfinished(source)
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
            .at(self.folder.path().display())
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
        self.folder.path()
    }

    /// Dimension D.
    pub fn dim(&self) -> usize {
        self.header.creation.dim as usize
    }

    /// The generation: number of commits since creation.
    pub fn generation(&self) -> u64 {
        self.contents.generation
    }

    /// Generation of the newest checkpoint.
    pub fn checkpoint_generation(&self) -> u64 {
        self.state.newest().map_or(0, |r| r.generation)
    }

    /// Rows that replay holds.
    pub fn held_rows(&self) -> u64 {
        self.contents.held.rows()
    }

    /// Every row that replay holds, by chunk and order: its id, what it is, and whether it is kept out of training. Nothing
    /// is read.
    pub fn held_labels(&self) -> impl Iterator<Item = (u64, &LabelSet, bool)> {
        let held = &self.contents.held;
        held.iter().map(|(_, e)| (e.id, &*e.labels, held.bounds.held_out(e.id, e.flags)))
    }

    /// True for rows that are kept out of training, to judge a trained head: those flagged so, and one in eight by its id.
    pub fn is_held_out(&self, id: u64, flags: RowFlags) -> bool {
        self.contents.held.bounds.held_out(id, flags)
    }

    /// Chunks that hold rows or that a checkpoint still needs, the open one among them.
    pub fn chunks_in_use(&self) -> u64 {
        self.chunks.sealed.len() as u64 + 1
    }

    /// True when everything acknowledged so far survives a power cut. A reader cannot know.
    pub fn is_durable(&self) -> bool {
        self.access == Access::Write && !self.unsynced && !self.failed
    }

    /// Id of the oldest row that undo reaches; `None` when there is none.
    pub fn oldest_undoable_row(&self) -> Option<u64> {
        match self.evicted_rows() {
            0 => self.contents.held.oldest_fresh(),
            _ => self.contents.held.oldest_undoable(self.contents.next_row),
        }
    }

    /// Rows that left replay; the statistics count them still.
    pub fn evicted_rows(&self) -> u64 {
        self.contents.blocks.values().map(Block::rows).sum::<u64>().saturating_sub(self.held_rows())
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
            other => OriginState { origin, generation: self.contents.generation, parity: other.and_then(|o| o.parity), own: origin == own },
        };
        let mut all = self.origins();
        all.extend(self.origins.iter().map(|o| o.origin).chain([own]).filter(|o| !self.contents.blocks.keys().any(|(b, _)| b == o)));
        all.sort();
        all.dedup();
        all.into_iter().map(state).collect()
    }

    /// Origins that have blocks here.
    pub fn origins(&self) -> Vec<Origin> {
        let mut origins: Vec<Origin> = self.contents.blocks.keys().map(|(o, _)| *o).collect();
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
