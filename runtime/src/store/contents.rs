//! What an adapter has learned, in memory, and what each journal record does to it. Committing and recovering apply records
//! through the same function, so that what is recovered is what was.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use super::chunks::Position;
use super::frame::Kind;
use super::held::Held;
use super::pack::row_stride_bytes;
use super::record::{self, Found, Learned, Link};
use super::sources::Sources;
use crate::learn::{Block, BlockKind, ClassName, LabelSet, Origin};
use crate::{Error, ErrorKind, Result};

/// Statistics, held rows and known recordings after a number of commits.
pub(super) struct Contents {
    pub dim: usize,
    pub bits: u8,
    pub format: u32,
    pub blocks: BTreeMap<(Origin, BlockKind), Block>,
    /// Blocks that are not as in the newest checkpoint.
    pub changed: HashSet<(Origin, BlockKind)>,
    pub sources: Sources,
    pub held: Held,
    pub generation: u64,
    /// Checksum of the newest record.
    pub chain: u64,
    pub next_row: u64,
    /// Bytes of records since the newest checkpoint.
    pub journal_bytes: u64,
    /// Rows that are still to be added to the blocks: a block is long, and is better gone through once for many rows.
    waiting: BTreeMap<(Origin, BlockKind), (Vec<i8>, Vec<LabelSet>)>,
    /// How many rows may wait.
    waiting_rows_max: usize,
}

/// Rows that wait while a journal is replayed.
const REPLAYED_TOGETHER_ROWS: usize = 1024;

impl Contents {
    pub fn new(dim: usize, bits: u8, format: u32, sources: Sources, held: Held) -> Contents {
        Contents {
            dim,
            bits,
            format,
            blocks: BTreeMap::new(),
            changed: HashSet::new(),
            sources,
            held,
            generation: 0,
            chain: 0,
            next_row: 1,
            journal_bytes: 0,
            waiting: BTreeMap::new(),
            waiting_rows_max: 0,
        }
    }

    /// Lets rows wait from now on, until [`Contents::add_waiting`], or no more.
    pub fn let_rows_wait(&mut self, wait: bool) {
        self.waiting_rows_max = if wait { REPLAYED_TOGETHER_ROWS } else { 0 };
    }

    /// What the next record is linked to.
    pub fn next(&self) -> Link {
        Link { generation: self.generation.saturating_add(1), chain: self.chain }
    }

    /// Does what the record `found` says, which lies `at`.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be decoded; `Learn` when it takes back what was never learned; `Mismatch` for a record that
    /// only a newer version knows.
    pub fn apply(&mut self, at: Position, found: &Found<'_>) -> Result<()> {
        match found.kind {
            Kind::Learn | Kind::Undo | Kind::Relabel | Kind::Carry => {
                let learned = record::decode_rows(found.payload, self.dim, self.bits, self.format)?;
                self.count(found.kind, &learned)?;
                learned.left.iter().for_each(|place| {
                    self.held.leave(*place);
                });
                match found.kind {
                    Kind::Undo => learned.rows.iter().for_each(|(meta, _)| self.held.take_back(meta.id)),
                    _ => self.hold(at.sequence, at.offset, &learned)?,
                }
                if found.kind == Kind::Learn {
                    self.next_row = self.next_row.max(learned.rows.last().map_or(0, |(m, _)| m.id.saturating_add(1)));
                }
                self.held.settle(self.next_row);
            }
            Kind::Forget => {
                let damaged = |e| Error::new(ErrorKind::Corrupt, "a record of forgetting is damaged").because(e);
                let retired: ClassName = postcard::from_bytes(found.payload).map_err(damaged)?;
                self.add_waiting()?;
                let retire = |(key, block): (&(Origin, BlockKind), &mut Block)| block.retire(&retired).then_some(*key);
                self.changed.extend(self.blocks.iter_mut().filter_map(retire));
                self.held.retire(&retired);
                self.held.settle(self.next_row);
            }
            other => {
                return Err(Error::new(ErrorKind::Mismatch, "a newer version wrote this journal")
                    .found(format!("{other:?}"))
                    .cure("update wheatear"));
            }
        }
        (self.generation, self.chain) = (found.link.generation, found.check);
        self.journal_bytes += found.len_bytes as u64;
        Ok(())
    }

    /// Adds the rows of a record, which lies at `offset` of chunk `sequence`, to the held ones.
    ///
    /// # Errors
    /// `Limit` when a row's labels cannot be encoded.
    pub fn hold(&mut self, sequence: u64, offset: u32, learned: &Learned) -> Result<()> {
        let stride = row_stride_bytes(self.dim, self.bits);
        let costs = learned.alone_len_bytes(stride)?;
        for (i, ((meta, labels), cost)) in learned.rows.iter().zip(costs).enumerate() {
            let latent_at = offset + (learned.latents_at + i * stride) as u32;
            self.held.push(sequence, meta.id, latent_at, cost, meta.flags, labels);
        }
        Ok(())
    }

    /// What the record does to statistics and recordings.
    fn count(&mut self, kind: Kind, learned: &Learned) -> Result<()> {
        let (origin, latents) = (learned.batch.origin, &learned.latents);
        let labels = || learned.rows.iter().map(|(_, l)| l);
        match kind {
            Kind::Learn => {
                self.add(origin, labels(), latents)?;
                self.sources.note(&learned.batch, learned.rows.len());
            }
            Kind::Undo => {
                self.subtract(origin, labels(), latents)?;
                match learned.batch.source_complete {
                    true => self.sources.forget(learned.batch.source),
                    false => self.sources.take_back(learned.batch.source, learned.rows.len()),
                }
            }
            Kind::Relabel => {
                self.subtract(origin, learned.before.iter(), latents)?;
                self.add(origin, labels(), latents)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds rows to the blocks of `origin` and their kinds, at once or when enough of them wait.
    pub fn add<'a>(&mut self, origin: Origin, labels: impl Iterator<Item = &'a LabelSet> + Clone, latents: &[i8]) -> Result<()> {
        for (kind, latents, labels) in by_kind(labels, latents, self.dim) {
            let (waiting, its_labels) = self.waiting.entry((origin, kind)).or_default();
            waiting.extend(latents);
            its_labels.extend(labels);
        }
        let waiting: usize = self.waiting.values().map(|(_, labels)| labels.len()).sum();
        if waiting > self.waiting_rows_max { self.add_waiting() } else { Ok(()) }
    }

    /// Adds the rows that wait.
    pub fn add_waiting(&mut self) -> Result<()> {
        for ((origin, kind), (latents, labels)) in std::mem::take(&mut self.waiting) {
            let block = match self.blocks.entry((origin, kind)) {
                Entry::Occupied(e) => e.into_mut(),
                Entry::Vacant(e) => e.insert(Block::new(kind, self.dim)?),
            };
            block.add_chunk(&latents, &labels)?;
            self.changed.insert((origin, kind));
        }
        Ok(())
    }

    /// Takes rows out of the blocks of `origin` and their kinds; a block without rows is as if it had never been.
    pub fn subtract<'a>(&mut self, origin: Origin, labels: impl Iterator<Item = &'a LabelSet> + Clone, latents: &[i8]) -> Result<()> {
        self.add_waiting()?;
        for (kind, latents, labels) in by_kind(labels, latents, self.dim) {
            let foreign = || Error::new(ErrorKind::Learn, "rows that were never learned cannot be taken back").at(origin);
            let block = self.blocks.get_mut(&(origin, kind)).ok_or_else(foreign)?;
            block.subtract_chunk(&latents, &labels)?;
            if block.rows() == 0 {
                self.blocks.remove(&(origin, kind));
            }
            self.changed.insert((origin, kind));
        }
        Ok(())
    }
}

/// Rows sorted into the kinds of block that they belong to.
fn by_kind<'a>(labels: impl Iterator<Item = &'a LabelSet> + Clone, latents: &[i8], dim: usize) -> Vec<(BlockKind, Vec<i8>, Vec<LabelSet>)> {
    let sorted = [BlockKind::Latents, BlockKind::Mixed, BlockKind::Background].map(|kind| {
        let mine = labels.clone().zip(latents.chunks_exact(dim)).filter(|(l, _)| l.block_kind() == kind);
        let (labels, rows): (Vec<LabelSet>, Vec<&[i8]>) = mine.map(|(l, row)| (l.clone(), row)).unzip();
        (kind, rows.concat(), labels)
    });
    sorted.into_iter().filter(|(_, _, labels)| !labels.is_empty()).collect()
}
