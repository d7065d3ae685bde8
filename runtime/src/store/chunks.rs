//! The chunk file: fixed-size chunks in one preallocated file. The newest chunk is open and is the journal: records are
//! appended to it, one a commit. When the next record does not fit, the chunk is sealed where it lies, so that a row is
//! written once; sealed chunks are read through a read-only map.
//!
//! ```text
//! 0    frame ChunkOpen   (padded to 512)
//! 512  records, each a multiple of 16 bytes
//! end - 512  frame ChunkSeal; while the chunk is open zeros, or the seal of the slot's earlier chunk
//! ```
//!
//! Chunks carry a sequence number, which is the order of the journal; they lie in whatever slot was free. Which slots are
//! free is the caller's part (`clean`): only it knows which rows are held and what a checkpoint covers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::frame::{Kind, crc64, frame_postcard, unframe_postcard};
use super::header::Header;
use super::journal::heads_from;
use super::map::ChunkMap;
use super::pack::row_stride_bytes;
use super::record::{self, COUNT_MAX, Found, Link};
use super::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// Bytes kept for the frame at either end of a chunk.
pub const CHUNK_EDGE_BYTES: usize = 512;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChunkOpen {
    pub adapter_id: [u8; 16],
    pub sequence: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ChunkSeal {
    pub sequence: u64,
    pub used_bytes: u32,
    pub rows: u32,
    pub content: u64,
}

impl ChunkOpen {
    /// The one in the frame at the start of `bytes`.
    ///
    /// # Errors
    /// `Corrupt` when it is torn, damaged or impossible; `Mismatch` when a newer version wrote it.
    pub fn decode(bytes: &[u8]) -> Result<ChunkOpen> {
        unframe_postcard(bytes, Kind::ChunkOpen).and_then(|open: ChunkOpen| check_sequence(open.sequence).map(|()| open))
    }
}

impl ChunkSeal {
    /// The seal of a chunk with `rows` rows in `content`, all that was written of it.
    fn of(sequence: u64, rows: u32, content: &[u8]) -> ChunkSeal {
        ChunkSeal { sequence, used_bytes: content.len() as u32, rows, content: crc64(&[content]) }
    }

    /// As [`ChunkOpen::decode`].
    pub fn decode(bytes: &[u8]) -> Result<ChunkSeal> {
        unframe_postcard(bytes, Kind::ChunkSeal).and_then(|seal: ChunkSeal| check_sequence(seal.sequence).map(|()| seal))
    }
}

fn check_sequence(sequence: u64) -> Result<()> {
    match sequence <= COUNT_MAX {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Corrupt, "a chunk has an impossible sequence").found(sequence)),
    }
}

/// Where the next record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Sequence of the open chunk.
    pub sequence: u64,
    /// Offset inside it.
    pub offset: u32,
    /// The slot it lies in.
    pub slot: u32,
}

impl Position {
    /// The first record of an adapter.
    pub const START: Position = Position { sequence: 0, offset: CHUNK_EDGE_BYTES as u32, slot: 0 };
}

/// A chunk behind which the journal has gone on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub slot: u32,
    /// Where its records end and what follows them; `None` when it is damaged and its rows have left replay.
    pub whole: Option<(u32, Link)>,
}

/// The chunk file.
pub struct Chunks {
    pub(super) storage: Box<dyn Storage>,
    pub(super) map: Option<ChunkMap>,
    adapter_id: [u8; 16],
    pub(super) chunk_len: usize,
    /// More rows than fit in a chunk.
    pub(super) rows_max: u32,
    pub(super) slots: u32,
    write: bool,
    /// Sealed chunks whose slots may not be taken yet.
    pub(super) sealed: BTreeMap<u64, Chunk>,
    /// Of them, those whose seal is torn or damaged, and which the chunk behind proved whole.
    pub(super) torn_seals: Vec<u64>,
    /// Slots that could not be read when the file was opened: nothing is written there.
    pub(super) unreadable: Vec<u32>,
    pub(super) end: Position,
    /// What the next record will be linked to.
    pub(super) next: Link,
    pub(super) rows_in_open: u32,
    /// The open chunk has a damaged record before the checkpoint: its rows left replay, and the next record begins a new one.
    pub(super) open_damaged: bool,
}

/// The records of one chunk from `offset` to `limit`, as long as each continues the one before it: what an earlier life of
/// the slot left behind does not.
pub(super) struct Records<'a> {
    pub bytes: &'a [u8],
    pub offset: usize,
    pub limit: usize,
    pub next: Option<Link>,
}

impl<'a> Iterator for Records<'a> {
    type Item = (u32, Found<'a>);
    fn next(&mut self) -> Option<(u32, Found<'a>)> {
        let found = record::decode(self.bytes.get(self.offset..self.limit)?).ok()?;
        if self.next.is_some_and(|next| next != found.link) {
            return None;
        }
        let at = self.offset as u32;
        self.offset += found.len_bytes;
        self.next = Some(found.following());
        Some((at, found))
    }
}

impl Chunks {
    /// The chunk file of `header`; recovery finds what is in it. A writer maps it; a reader copies, since the writer beside
    /// it takes chunks when it likes.
    ///
    /// # Errors
    /// `Storage` when it cannot be mapped.
    pub fn new(storage: Box<dyn Storage>, header: &Header, write: bool) -> Result<Chunks> {
        let map = storage.mappable().filter(|_| write).map(ChunkMap::new).transpose()?;
        let creation = &header.creation;
        let rows_max = header.chunk_len_bytes / row_stride_bytes(creation.dim as usize, creation.bits) as u32;
        Ok(Chunks {
            rows_max,
            storage,
            map,
            adapter_id: header.adapter_id,
            chunk_len: header.chunk_len_bytes as usize,
            slots: header.chunks,
            write,
            sealed: BTreeMap::new(),
            torn_seals: Vec::new(),
            unreadable: Vec::new(),
            end: Position::START,
            next: Link::FIRST,
            rows_in_open: 0,
            open_damaged: false,
        })
    }

    /// Longest record that fits in a chunk.
    pub fn record_len_max_bytes(&self) -> usize {
        self.chunk_len - 2 * CHUNK_EDGE_BYTES
    }

    /// Where the next record goes.
    pub fn end(&self) -> Position {
        self.end
    }

    /// What the next record will be linked to.
    pub fn next(&self) -> Link {
        self.next
    }

    pub(super) fn start_of(&self, slot: u32) -> u64 {
        u64::from(slot) * self.chunk_len as u64
    }

    /// True when a record of `len_bytes` goes into the open chunk.
    pub fn fits(&self, len_bytes: usize) -> bool {
        !self.open_damaged && self.end.offset as usize + len_bytes <= self.chunk_len - CHUNK_EDGE_BYTES
    }

    /// Slots that hold nothing that is needed and can be read, from the one behind the open chunk on, so that all wear alike.
    pub fn free_slots(&self) -> Vec<u32> {
        let mut free = vec![true; self.slots as usize];
        let used = self.sealed.values().map(|c| c.slot).chain([self.end.slot]);
        used.chain(self.unreadable.iter().copied()).for_each(|slot| free[slot as usize] = false);
        (1..=self.slots).map(|i| (self.end.slot + i) % self.slots).filter(|s| free[*s as usize]).collect()
    }

    /// Lets a sealed chunk go: its slot may be taken.
    pub fn release(&mut self, sequence: u64) {
        if let (Some(chunk), Some(map)) = (self.sealed.remove(&sequence), &mut self.map) {
            map.withdraw(chunk.slot as usize * self.chunk_len);
        }
    }

    /// Seals the open chunk and begins another in the free slot `slot`. All before it must be durable. What lies there of a
    /// chunk that was begun when the power went, and that opening could not know of, is wiped first: were its first record
    /// written again byte for byte, those that once followed it would follow it again.
    ///
    /// # Errors
    /// `Storage` when the slot cannot be read or written.
    pub fn begin(&mut self, slot: u32) -> Result<()> {
        let mut bytes = vec![0u8; self.chunk_len];
        self.storage.read_at(self.start_of(slot), &mut bytes)?;
        if !heads_from(&bytes, CHUNK_EDGE_BYTES, self.next.generation).is_empty() {
            // All but the seal, which says how many rows there were while the newest checkpoint lists this chunk still.
            self.storage.write_at(self.start_of(slot), &vec![0; self.chunk_len - CHUNK_EDGE_BYTES])?;
            self.sync()?;
        }
        self.seal()?;
        self.end = Position { sequence: self.end.sequence + 1, offset: CHUNK_EDGE_BYTES as u32, slot };
        (self.rows_in_open, self.open_damaged) = (0, false);
        Ok(())
    }

    /// Appends a record of `rows` rows to the open chunk; durable only after [`Chunks::sync`].
    ///
    /// # Errors
    /// `Limit` when it does not fit; `Storage` when a write fails.
    pub fn append(&mut self, record: &[u8], rows: usize) -> Result<()> {
        if !self.fits(record.len()) {
            return Err(Error::new(ErrorKind::Limit, "a record does not fit in its chunk")
                .expected(self.record_len_max_bytes())
                .found(record.len()));
        }
        let next = record::decode(record)?.following();
        let start = self.start_of(self.end.slot);
        if self.end.offset as usize == CHUNK_EDGE_BYTES {
            // The seal of the slot's earlier life stays until this chunk's own replaces it: its sequence tells.
            let mut first = self.opening()?;
            first.extend_from_slice(record);
            self.storage.write_at(start, &first)?;
        } else {
            self.storage.write_at(start + u64::from(self.end.offset), record)?;
        }
        self.end.offset += record.len() as u32;
        self.rows_in_open += rows as u32;
        self.next = next;
        Ok(())
    }

    pub(super) fn opening(&self) -> Result<Vec<u8>> {
        let open = ChunkOpen { adapter_id: self.adapter_id, sequence: self.end.sequence };
        let mut first = frame_postcard(Kind::ChunkOpen, &open)?;
        first.resize(CHUNK_EDGE_BYTES, 0);
        Ok(first)
    }

    fn seal(&mut self) -> Result<()> {
        if self.open_damaged {
            // Nobody knows how many rows it had; without a seal it stays damaged.
            return self.keep(self.end.sequence, Chunk { slot: self.end.slot, whole: None });
        }
        let mut content = vec![0u8; self.end.offset as usize];
        self.storage.read_at(self.start_of(self.end.slot), &mut content)?;
        let Position { sequence, offset, slot } = self.end;
        self.write_seal(slot, ChunkSeal::of(sequence, self.rows_in_open, &content))?;
        self.keep(sequence, Chunk { slot, whole: Some((offset, self.next)) })
    }

    fn write_seal(&self, slot: u32, seal: ChunkSeal) -> Result<()> {
        let mut footer = frame_postcard(Kind::ChunkSeal, &seal)?;
        footer.resize(CHUNK_EDGE_BYTES, 0);
        self.storage.write_at(self.start_of(slot) + (self.chunk_len - CHUNK_EDGE_BYTES) as u64, &footer)
    }

    /// Seals the chunks of `torn_seals` again: once the chunk behind is taken, nothing else proves them whole. Durable only after [`Chunks::sync`].
    ///
    /// # Errors
    /// `Storage` when one cannot be read or written.
    pub(super) fn seal_again(&mut self) -> Result<()> {
        let mut buffer = Vec::new();
        for sequence in std::mem::take(&mut self.torn_seals) {
            let Some((slot, end, _)) = self.extent(sequence) else { continue };
            let content = &self.raw(slot, &mut buffer)?[..end as usize];
            let records = Records { bytes: content, offset: CHUNK_EDGE_BYTES, limit: content.len(), next: None };
            let rows: usize = records.map(|(_, found)| found.rows()).sum();
            self.write_seal(slot, ChunkSeal::of(sequence, rows as u32, content))?;
        }
        Ok(())
    }

    /// Counts a chunk among the sealed ones, and lets a writer see it through the map when it is whole.
    pub(super) fn keep(&mut self, sequence: u64, chunk: Chunk) -> Result<()> {
        self.sealed.insert(sequence, chunk);
        match &mut self.map {
            Some(map) if chunk.whole.is_some() => map.seal(chunk.slot as usize * self.chunk_len, self.chunk_len),
            _ => Ok(()),
        }
    }

    /// Makes every record so far durable.
    ///
    /// # Errors
    /// `Storage`; nothing more may be written then.
    pub fn sync(&self) -> Result<()> {
        self.storage.sync()
    }

    /// The slot, whatever it holds: from the map when it is sealed in this process, else copied to `buffer`.
    pub(super) fn raw<'a>(&'a self, slot: u32, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        let start = self.start_of(slot);
        if let Some(mapped) = self.map.as_ref().and_then(|m| m.sealed(start as usize)) {
            return Ok(mapped);
        }
        buffer.resize(self.chunk_len, 0);
        self.storage.read_at(start, buffer)?;
        Ok(&buffer[..])
    }

    /// The sequence that a chunk's first bytes name, if they are whole.
    pub(super) fn named(&self, bytes: &[u8]) -> Result<Option<u64>> {
        let Ok(open) = ChunkOpen::decode(&bytes[..CHUNK_EDGE_BYTES]) else { return Ok(None) };
        if open.adapter_id != self.adapter_id {
            return Err(Error::new(ErrorKind::Corrupt, "the chunk file belongs to another adapter").cure("restore it from a copy"));
        }
        Ok(Some(open.sequence))
    }

    pub(super) fn seal_of(&self, bytes: &[u8], sequence: u64) -> Option<ChunkSeal> {
        let seal = ChunkSeal::decode(&bytes[self.chunk_len - CHUNK_EDGE_BYTES..]).ok();
        seal.filter(|s| s.sequence == sequence)
    }

    pub(super) fn records_in<'a>(&self, bytes: &'a [u8], from: usize, next: Option<Link>) -> Records<'a> {
        Records { bytes, offset: from, limit: self.chunk_len - CHUNK_EDGE_BYTES, next }
    }

    /// Where the records of chunk `sequence` lie, end, and what follows them; `None` when it has left or is damaged.
    fn extent(&self, sequence: u64) -> Option<(u32, u32, Link)> {
        if sequence == self.end.sequence {
            let begun = self.end.offset as usize > CHUNK_EDGE_BYTES && !self.open_damaged;
            return begun.then_some((self.end.slot, self.end.offset, self.next));
        }
        let chunk = self.sealed.get(&sequence)?;
        chunk.whole.map(|(end, next)| (chunk.slot, end, next))
    }

    /// The bytes of a chunk with all of its records, each checked again; `None` when it left replay or was damaged when
    /// opened. A sealed chunk is not copied by a writer.
    ///
    /// # Errors
    /// `Storage`, `Busy` for a reader when the writer has taken the chunk since, `Corrupt` for a writer when it was damaged
    /// since.
    pub fn checked<'a>(&'a self, sequence: u64, buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>> {
        let Some((slot, end, next)) = self.extent(sequence) else { return Ok(None) };
        let bytes = self.raw(slot, buffer)?;
        let mut all = Records { bytes, offset: CHUNK_EDGE_BYTES, limit: end as usize, next: None };
        (&mut all).for_each(drop);
        if (all.offset, all.next) != (end as usize, Some(next)) {
            let at = format!("chunk {sequence}");
            return Err(if self.write {
                Error::new(ErrorKind::Corrupt, "a chunk was damaged while the adapter was open").at(at).cure("open it again")
            } else {
                Error::new(ErrorKind::Busy, "the adapter's writer has taken a chunk since it was opened").at(at).cure("open it again")
            });
        }
        Ok(Some(&bytes[..end as usize]))
    }

    /// Hands every record of the chunk `sequence` to `visit`, with its offset.
    ///
    /// # Errors
    /// What `visit` returns, and those of [`Chunks::checked`].
    pub fn records(&self, sequence: u64, mut visit: impl FnMut(u32, &Found<'_>) -> Result<()>) -> Result<()> {
        let mut buffer = Vec::new();
        let Some(bytes) = self.checked(sequence, &mut buffer)? else { return Ok(()) };
        let mut records = Records { bytes, offset: CHUNK_EDGE_BYTES, limit: bytes.len(), next: None };
        records.try_for_each(|(at, found)| visit(at, &found))
    }
}
