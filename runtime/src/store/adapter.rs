//! An adapter: blocks by origin, replay rows and what was taught, bound to one space, durable in one folder.
//!
//! A commit is one journal record and one sync. A failed write or sync latches: nothing more is written until the
//! adapter is opened again, because nothing is known about the file any more.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::chunks::{Chunks, Position, Tail};
use super::frame::Kind;
use super::header::{Creation, Header};
use super::record::{self, Batch, Learned, Link, NewRow};
use super::sources::Sources;
use super::state::{NewPart, Part, Root, StateFile};
use super::storage::{FileStorage, Storage};
use crate::latent::{Quantiser, SpaceId};
use crate::learn::{Block, BlockKind, ClassName, Origin};
use crate::{Error, ErrorKind, Result};

const HEADER: &str = "header";
const CHUNKS: &str = "chunks";
const STATE: &str = "state";
const LOCK: &str = "lock";
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
    folder: PathBuf,
    header: Header,
    access: Access,
    _lock: Option<File>,
    chunks: Chunks,
    state: StateFile,
    blocks: BTreeMap<(Origin, BlockKind), Block>,
    changed: HashSet<(Origin, BlockKind)>,
    sources: Sources,
    generation: u64,
    chain: u64,
    next_row: u64,
    oldest_sequence: u64,
    evicted_rows: u64,
    journal_bytes: u64,
    unsynced: bool,
    failed: bool,
    recovery: Recovery,
    damaged_chunks: u64,
}

impl Adapter {
    /// Creates an adapter in `folder`, which must not exist or be empty, and opens it for writing.
    ///
    /// The files are made beside it and renamed, so a failure leaves nothing behind.
    ///
    /// # Errors
    /// `Storage` when there is no room or the place cannot be written, `Config` when a bound is out of range, `Input`
    /// when something is there already.
    pub fn create(folder: &Path, creation: Creation, adapter_id: [u8; 16]) -> Result<Adapter> {
        let header = Header::new(creation, adapter_id)?;
        let occupied = std::fs::read_dir(folder).map(|mut d| d.next().is_some()).unwrap_or(folder.exists());
        if occupied {
            return Err(Error::new(ErrorKind::Input, "there is something in the adapter's place already")
                .at(folder.display())
                .cure("choose another folder, or remove this one"));
        }
        let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        let name = folder.file_name().and_then(|n| n.to_str()).unwrap_or("adapter");
        let building = parent.join(format!(".{name}.{}.new", std::process::id()));
        let made = Adapter::build(&building, &header).and_then(|()| {
            let _ = std::fs::remove_dir(folder);
            std::fs::rename(&building, folder).map_err(|e| Error::io("create", folder, e))?;
            let handle = File::open(parent).map_err(|e| Error::io("open", parent, e))?;
            handle.sync_all().map_err(|e| Error::io("sync", parent, e))
        });
        if made.is_err() {
            let _ = std::fs::remove_dir_all(&building);
        }
        made?;
        Adapter::open(folder, Access::Write)
    }

    fn build(folder: &Path, header: &Header) -> Result<()> {
        std::fs::create_dir(folder).map_err(|e| Error::io("create", folder, e))?;
        let encoded = header.encode()?;
        let files =
            [(HEADER, encoded.len() as u64), (CHUNKS, header.chunk_file_len_bytes()), (STATE, header.state_file_len_bytes()), (LOCK, 0)];
        for (name, len_bytes) in files.into_iter().filter(|(_, len)| *len > 0) {
            let file = FileStorage::create(&folder.join(name), len_bytes)?;
            if name == HEADER {
                file.write_at(0, &encoded)?;
            }
            file.sync()?;
        }
        File::create(folder.join(LOCK)).map_err(|e| Error::io("create", folder.join(LOCK), e))?;
        let handle = File::open(folder).map_err(|e| Error::io("open", folder, e))?;
        handle.sync_all().map_err(|e| Error::io("sync", folder, e))
    }

    /// Opens the adapter in `folder` and recovers its newest state.
    ///
    /// # Errors
    /// `Missing` when there is none, `Busy` when another process writes it, `Corrupt` when no state is whole, `Mismatch`
    /// when a newer version wrote it, `Storage` when it cannot be read.
    pub fn open(folder: &Path, access: Access) -> Result<Adapter> {
        let path = folder.join(HEADER);
        let bytes = std::fs::read(&path).map_err(|e| {
            let error = Error::io("open the adapter", &path, e);
            if error.kind() == ErrorKind::Missing { error.cure("make one: wheatear teach FOLDER --backbone B --adapter A") } else { error }
        })?;
        let header = Header::decode(&bytes).map_err(|e| e.at(path.display()))?;
        let write = access == Access::Write;
        let lock = if write { Some(take_lock(&folder.join(LOCK))?) } else { None };
        let chunks = Box::new(FileStorage::open(&folder.join(CHUNKS), write)?);
        let state = Box::new(FileStorage::open(&folder.join(STATE), write)?);
        Adapter::recover(folder.to_path_buf(), header, access, lock, chunks, state)
    }

    /// Recovers an adapter from its files; [`Adapter::open`] calls it with those of a folder.
    ///
    /// # Errors
    /// As [`Adapter::open`].
    pub fn recover(
        folder: PathBuf,
        header: Header,
        access: Access,
        lock: Option<File>,
        chunks: Box<dyn Storage>,
        state: Box<dyn Storage>,
    ) -> Result<Adapter> {
        let here = folder.display().to_string();
        let state = StateFile::load(state, &header).map_err(|e| e.at(format!("{here}/{STATE}")))?;
        let chunks = Chunks::new(chunks, &header).map_err(|e| e.at(format!("{here}/{CHUNKS}")))?;
        let sources = Sources::new(header.creation.max_sources as usize);
        let mut adapter = Adapter {
            folder,
            access,
            _lock: lock,
            chunks,
            blocks: BTreeMap::new(),
            changed: HashSet::new(),
            sources,
            generation: 0,
            chain: 0,
            next_row: 1,
            oldest_sequence: 0,
            evicted_rows: 0,
            journal_bytes: 0,
            unsynced: false,
            failed: false,
            recovery: Recovery::Clean,
            damaged_chunks: 0,
            header,
            state,
        };
        let from = adapter.restore_checkpoint()?;
        let tail = adapter.replay(from)?;
        if tail == Tail::Torn {
            adapter.recovery = Recovery::RolledBack { generation: adapter.generation };
        }
        adapter.oldest_sequence = adapter.oldest_sequence.max(adapter.chunks.oldest_with(adapter.chunks.end().sequence));
        adapter.damaged_chunks = adapter.chunks.admit_sealed(adapter.oldest_sequence)?;
        if adapter.damaged_chunks > 0 {
            log::warn!(
                "{here}: {} sealed chunks are damaged: their rows left replay, the statistics still count them",
                adapter.damaged_chunks
            );
        }
        Ok(adapter)
    }

    fn restore_checkpoint(&mut self) -> Result<Position> {
        let Some(root) = self.state.newest().cloned() else { return Ok(Position::START) };
        for extent in &root.extents {
            let Some(bytes) = self.state.part(extent.part)? else { continue };
            match extent.part {
                Part::Block(origin, kind) => {
                    let block = Block::from_canonical_bytes(&bytes)?;
                    if block.dim() != self.dim() || block.kind() != kind {
                        return Err(Error::new(ErrorKind::Corrupt, "a stored block has another shape").at(self.folder.display()));
                    }
                    self.blocks.insert((origin, kind), block);
                }
                Part::Sources => self.sources.restore(&bytes),
                // Written by later versions for what this one does not use; carried along at the next checkpoint.
                Part::Tombstones | Part::Head(_) | Part::Monitor => {}
            }
        }
        (self.generation, self.chain, self.next_row) = (root.generation, root.chain, root.next_row);
        (self.oldest_sequence, self.evicted_rows) = (root.oldest_sequence, root.evicted_rows);
        if let Some(found) = self.chunks.held_in_slot_of(root.journal.sequence)?.filter(|s| *s > root.journal.sequence) {
            return Err(Error::new(ErrorKind::Corrupt, "the newest checkpoints are damaged, and the journal after the older one is gone")
                .at(self.folder.display())
                .expected(format!("chunk {}", root.journal.sequence))
                .found(format!("chunk {found}"))
                .cure("restore the adapter from a copy"));
        }
        Ok(root.journal)
    }

    fn replay(&mut self, from: Position) -> Result<Tail> {
        let (dim, bits) = (self.dim(), self.header.creation.bits);
        let (generation, chain) = (self.generation, self.chain);
        // The closure needs the blocks while the chunks lend the record.
        let mut blocks = std::mem::take(&mut self.blocks);
        let (mut changed, mut sources) = (std::mem::take(&mut self.changed), self.sources.clone());
        let (mut last, mut next_row, mut bytes) = ((generation, chain), self.next_row, 0u64);
        let tail = self.chunks.replay(from, generation, chain, |found| {
            let rows = match found.kind {
                Kind::Learn => {
                    let learned = record::decode_learn(found.payload, dim, bits)?;
                    absorb(&mut blocks, &mut changed, &learned, dim)?;
                    sources.note(&learned.batch, learned.rows.len());
                    next_row = next_row.max(learned.rows.last().map_or(0, |(m, _)| m.id + 1));
                    learned.rows.len() as u32
                }
                other => {
                    return Err(Error::new(ErrorKind::Mismatch, "a newer version wrote this journal")
                        .found(format!("{other:?}"))
                        .cure("update wheatear"));
                }
            };
            last = (found.link.generation, found.check);
            bytes += found.len_bytes as u64;
            Ok(rows)
        })?;
        (self.blocks, self.changed, self.sources) = (blocks, changed, sources);
        (self.generation, self.chain) = last;
        (self.next_row, self.journal_bytes) = (next_row, bytes);
        Ok(tail)
    }

    /// Learns rows of one recording (or one moment): they are in the journal and in the blocks when this returns.
    /// Rows that do not fit in one chunk become several commits.
    ///
    /// # Errors
    /// `Storage` when it cannot be written (then reopen), `Input` for a row of another dimension or an impossible label,
    /// `Limit` when a new class would exceed the adapter's bound. On an error before writing, nothing is learned.
    pub fn learn(&mut self, batch: &Batch, rows: &[NewRow<'_>], durability: Durability) -> Result<Acknowledgement> {
        self.check_writable()?;
        let dim = self.dim();
        for (i, row) in rows.iter().enumerate() {
            if row.latent.len() != dim {
                return Err(Error::new(ErrorKind::Input, "a row has another dimension")
                    .at(format!("row {i}"))
                    .expected(dim)
                    .found(row.latent.len()));
            }
        }
        self.check_class_bound(rows)?;
        let first_row = self.next_row;
        let fit = (self.chunks.record_len_max_bytes() / 2 / super::pack::row_stride_bytes(dim, self.header.creation.bits).max(64)).max(1);
        let parts = rows.len().div_ceil(fit).max(1);
        for (i, rows) in rows.chunks(fit).enumerate() {
            let complete = batch.source_complete && i + 1 == parts;
            self.commit_learn(&Batch { source_complete: complete, ..batch.clone() }, rows)?;
        }
        if durability == Durability::Now {
            self.sync()?;
        }
        if self.journal_bytes >= CHECKPOINT_RATIO * self.checkpoint_len_bytes() {
            self.checkpoint()?;
        }
        Ok(Acknowledgement { generation: self.generation, first_row, durable: !self.unsynced })
    }

    fn commit_learn(&mut self, batch: &Batch, rows: &[NewRow<'_>]) -> Result<()> {
        let link = Link { generation: self.generation + 1, chain: self.chain };
        let (dim, bits) = (self.dim(), self.header.creation.bits);
        let record = record::encode_learn(link, batch, self.next_row, rows, dim, bits)?;
        self.make_room(record.len())?;
        // Blocks first: they can refuse, the journal then holds nothing that cannot be replayed.
        let found = record::decode(&record)?;
        let learned = record::decode_learn(found.payload, dim, bits)?;
        let check = found.check;
        absorb(&mut self.blocks, &mut self.changed, &learned, dim)?;
        self.failed = true;
        self.chunks.append(&record, rows.len() as u32)?;
        self.failed = false;
        self.sources.note(batch, rows.len());
        self.unsynced = true;
        self.generation = link.generation;
        self.chain = check;
        self.next_row += rows.len() as u64;
        self.journal_bytes += record.len() as u64;
        Ok(())
    }

    /// A chunk's slot is taken again only when a durable checkpoint covers every row in it.
    fn make_room(&mut self, len_bytes: usize) -> Result<()> {
        if !self.chunks.needs_chunk(len_bytes) {
            return Ok(());
        }
        let oldest = self.chunks.oldest_with(self.chunks.end().sequence + 1);
        if oldest <= self.oldest_sequence {
            return Ok(());
        }
        let mut leaving = 0;
        let (dim, bits) = (self.dim(), self.header.creation.bits);
        for sequence in self.oldest_sequence..oldest {
            self.rows_of(sequence, dim, bits, &mut |learned| {
                leaving += learned.rows.len() as u64;
                Ok(())
            })?;
        }
        self.evicted_rows += leaving;
        self.oldest_sequence = oldest;
        let covered = self.state.newest().is_some_and(|r| r.journal.sequence >= oldest);
        if covered { Ok(()) } else { self.checkpoint() }
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
            evicted_rows: self.evicted_rows,
            extents: Vec::new(),
        };
        self.failed = true;
        let done = self.state.commit(root, parts);
        // Running out of units is found before anything that matters is written.
        self.failed = done.as_ref().is_err_and(|e| e.kind() != ErrorKind::Limit);
        done?;
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

    fn check_class_bound(&self, rows: &[NewRow<'_>]) -> Result<()> {
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

    fn checkpoint_len_bytes(&self) -> u64 {
        let dim = self.dim() as u64;
        let block = |b: &Block| 8 * (dim + dim * (dim + 1) / 2 + b.classes().len() as u64 * (dim + 8));
        self.blocks.iter().filter(|(k, _)| self.changed.contains(k)).map(|(_, b)| block(b)).sum::<u64>() + 8 * self.sources.len() as u64
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
        self.evicted_rows
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

    /// Sealed chunks whose checksum fails.
    pub fn damaged_chunks(&self) -> u64 {
        self.damaged_chunks
    }
}

fn absorb(
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

fn take_lock(path: &Path) -> Result<File> {
    let file = File::options().write(true).open(path).map_err(|e| Error::io("open", path, e))?;
    match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::new(ErrorKind::Busy, "another process is writing this adapter")
            .at(path.display())
            .cure("wait for it or stop it; reading commands work meanwhile")),
        Err(e) => Err(Error::io("lock", path, e.into())),
    }
}
