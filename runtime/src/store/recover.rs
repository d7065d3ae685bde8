//! Recovery: the newest whole checkpoint, then the journal behind it, record by record, as far as the chain holds.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::PathBuf;

use super::adapter::{Access, Adapter, Recovery, STATE, absorb};
use super::chunks::{Chunks, Position, Tail};
use super::folder::CHUNKS;
use super::frame::Kind;
use super::header::Header;
use super::record::{self, Link};
use super::sources::Sources;
use super::state::{Part, StateFile};
use super::storage::Storage;
use crate::learn::Block;
use crate::{Error, ErrorKind, Result};

/// No adapter lives to count this far: what is larger was forged, and would overflow.
const COUNT_MAX: u64 = u64::MAX >> 2;

impl Adapter {
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
        let chunks = Chunks::new(chunks, &header, access == Access::Write).map_err(|e| e.at(format!("{here}/{CHUNKS}")))?;
        let sources = Sources::new(header.creation.max_sources as usize);
        let mut adapter = Adapter {
            folder,
            access,
            _lock: lock,
            chunks,
            blocks: BTreeMap::new(),
            changed: HashSet::new(),
            sources,
            origins: Vec::new(),
            generation: 0,
            chain: 0,
            next_row: 1,
            oldest_sequence: 0,
            journal_bytes: 0,
            unsynced: false,
            failed: false,
            recovery: Recovery::Clean,
            damaged_chunks: 0,
            header,
            state,
        };
        let newest = adapter.chunks.newest_named()?;
        let from = adapter.restore_checkpoint(newest)?;
        adapter.replay(from)?;
        let tail = adapter.chunks.tail(newest).map_err(|e| e.at(format!("{here}/{CHUNKS}")))?;
        if tail == Tail::Torn {
            adapter.recovery = Recovery::RolledBack { generation: adapter.generation };
        }
        adapter.oldest_sequence = adapter.oldest_sequence.max(adapter.chunks.oldest_with(adapter.chunks.end().sequence));
        adapter.damaged_chunks = adapter.chunks.admit_sealed(adapter.oldest_sequence)?;
        match access {
            Access::Write => adapter.chunks.mend(tail)?,
            Access::Read => {
                let since = adapter.chunks.newest_named()?.filter(|n| Some(*n) != newest);
                adapter.check_not_overtaken(adapter.oldest_sequence, since)?;
            }
        }
        if adapter.damaged_chunks > 0 {
            log::warn!("{here}: {} chunks are damaged: their rows left replay, the statistics still count them", adapter.damaged_chunks);
        }
        Ok(adapter)
    }

    fn restore_checkpoint(&mut self, newest: Option<u64>) -> Result<Position> {
        let Some(root) = self.state.newest().cloned() else {
            self.check_not_overtaken(0, newest)?;
            return Ok(Position::START);
        };
        let counts = [root.generation, root.next_row, root.journal.sequence, root.oldest_sequence, root.evicted_rows];
        if !self.chunks.admits(root.journal) || root.next_row == 0 || counts.iter().any(|n| *n > COUNT_MAX) {
            return Err(Error::new(ErrorKind::Corrupt, "a checkpoint names an impossible place").at(self.folder.display()));
        }
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
        self.oldest_sequence = root.oldest_sequence;
        self.origins = root.origins;
        self.check_not_overtaken(root.journal.sequence, newest)?;
        Ok(root.journal)
    }

    /// Refuses when the slot of the chunk `needed` has been taken by a later one.
    fn check_not_overtaken(&self, needed: u64, newest: Option<u64>) -> Result<()> {
        match newest.filter(|n| *n >= needed.saturating_add(self.chunks.slots())) {
            None => Ok(()),
            Some(newest) => {
                Err(Error::new(ErrorKind::Corrupt, "the newest checkpoints are damaged, and the journal after the older one is gone")
                    .at(self.folder.display())
                    .expected(format!("chunk {needed}"))
                    .found(format!("chunk {newest} in its place or after it"))
                    .cure("restore the adapter from a copy"))
            }
        }
    }

    fn replay(&mut self, from: Position) -> Result<()> {
        let (dim, bits) = (self.dim(), self.header.creation.bits);
        let (generation, chain) = (self.generation, self.chain);
        // The closure needs the blocks while the chunks lend the record.
        let mut blocks = std::mem::take(&mut self.blocks);
        let (mut changed, mut sources) = (std::mem::take(&mut self.changed), self.sources.clone());
        let (mut last, mut next_row, mut bytes) = ((generation, chain), self.next_row, 0u64);
        let next = Link { generation: generation.saturating_add(1), chain };
        self.chunks.replay(from, next, |found| {
            let rows = match found.kind {
                Kind::Learn => {
                    let learned = record::decode_learn(found.payload, dim, bits)?;
                    absorb(&mut blocks, &mut changed, &learned, dim)?;
                    sources.note(&learned.batch, learned.rows.len());
                    if learned.rows.iter().any(|(m, _)| m.id > COUNT_MAX) {
                        return Err(Error::new(ErrorKind::Corrupt, "a row has an impossible id"));
                    }
                    next_row = next_row.max(learned.rows.last().map_or(0, |(m, _)| m.id.saturating_add(1)));
                    learned.rows.len() as u64
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
        Ok(())
    }
}
