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
//! Chunks carry a sequence number; the chunk of sequence n lies in slot n mod slots. When the file is full the oldest
//! chunk's slot is taken, after a checkpoint that covers it: its rows leave replay and stay counted in the blocks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::frame::{FRAME_LEN_BYTES, Kind, MAGIC, crc64, frame_postcard, unframe_postcard};
use super::header::Header;
use super::map::ChunkMap;
use super::record::{self, ALIGN_BYTES, Found, Link};
use super::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// Bytes kept for the frame at either end of a chunk.
pub const CHUNK_EDGE_BYTES: usize = 512;

#[derive(Debug, Serialize, Deserialize)]
struct ChunkOpen {
    adapter_id: [u8; 16],
    sequence: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct ChunkSeal {
    sequence: u64,
    used_bytes: u32,
    rows: u32,
    content: u64,
}

/// Where the next record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Sequence of the open chunk.
    pub sequence: u64,
    /// Offset inside it.
    pub offset: u32,
}

impl Position {
    /// The first record of an adapter.
    pub const START: Position = Position { sequence: 0, offset: CHUNK_EDGE_BYTES as u32 };
}

/// What a scan of a journal found at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing was being written.
    Clean,
    /// Bytes of a record that was never acknowledged.
    Torn,
}

/// The chunk file.
pub struct Chunks {
    storage: Box<dyn Storage>,
    map: Option<ChunkMap>,
    adapter_id: [u8; 16],
    chunk_len: usize,
    slots: u64,
    write: bool,
    /// Sealed chunks that replay holds and that are whole.
    held: BTreeMap<u64, Held>,
    end: Position,
    /// What the next record will be linked to.
    next: Link,
    rows_in_open: u64,
    /// The open chunk has a damaged record before the checkpoint: its rows left replay, and the next record begins a new one.
    open_damaged: bool,
}

/// A sealed chunk as it was found or made; a reader tells by it that the writer has taken the chunk since.
#[derive(Debug, Clone, Copy)]
struct Held {
    rows: u64,
    end: u32,
    next: Link,
}

/// The records of one chunk from `offset` to `limit`, as long as each continues the one before it: what an earlier life of
/// the slot left behind does not.
struct Records<'a> {
    bytes: &'a [u8],
    offset: usize,
    limit: usize,
    next: Option<Link>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Found<'a>;
    fn next(&mut self) -> Option<Found<'a>> {
        let found = record::decode(self.bytes.get(self.offset..self.limit)?).ok()?;
        if self.next.is_some_and(|next| next != found.link) {
            return None;
        }
        self.offset += found.len_bytes;
        self.next = Some(found.following());
        Some(found)
    }
}

impl Chunks {
    /// The chunk file of `header`; `end` is set by recovery. A writer maps it; a reader copies, since the writer beside it
    /// takes chunks when it likes.
    ///
    /// # Errors
    /// `Corrupt` when the file has not the length it was made with; `Storage` when it cannot be mapped.
    pub fn new(storage: Box<dyn Storage>, header: &Header, write: bool) -> Result<Chunks> {
        if storage.len_bytes() != header.chunk_file_len_bytes() {
            return Err(Error::new(ErrorKind::Corrupt, "the chunk file has the wrong length")
                .expected(format!("{} bytes", header.chunk_file_len_bytes()))
                .found(format!("{} bytes", storage.len_bytes()))
                .cure("restore it from a copy"));
        }
        let map = storage.mappable().filter(|_| write).map(ChunkMap::new).transpose()?;
        let (chunk_len, slots) = (header.chunk_len_bytes as usize, u64::from(header.chunks));
        let (adapter_id, next) = (header.adapter_id, Link { generation: 1, chain: 0 });
        Ok(Chunks {
            storage,
            map,
            adapter_id,
            chunk_len,
            slots,
            write,
            held: BTreeMap::new(),
            end: Position::START,
            next,
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

    /// The oldest sequence that can still be held once the chunk `sequence` is open.
    pub fn oldest_with(&self, sequence: u64) -> u64 {
        (sequence + 1).saturating_sub(self.slots)
    }

    /// Can a journal end there?
    pub fn admits(&self, position: Position) -> bool {
        let offset = position.offset as usize;
        (CHUNK_EDGE_BYTES..=self.chunk_len - CHUNK_EDGE_BYTES).contains(&offset)
            && offset.is_multiple_of(ALIGN_BYTES)
            && position.sequence < u64::MAX - self.slots - 1
    }

    fn start_of(&self, sequence: u64) -> u64 {
        (sequence % self.slots) * self.chunk_len as u64
    }

    /// True when a record of `len_bytes` needs a new chunk.
    pub fn needs_chunk(&self, len_bytes: usize) -> bool {
        self.open_damaged || self.end.offset as usize + len_bytes > self.chunk_len - CHUNK_EDGE_BYTES
    }

    /// Number of chunks in the file.
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// Rows that replay holds.
    pub fn held_rows(&self) -> u64 {
        self.held.values().map(|h| h.rows).sum::<u64>() + self.rows_in_open
    }

    /// Lets the chunks before `oldest` go: their slots may be taken.
    pub fn release_before(&mut self, oldest: u64) {
        self.held = self.held.split_off(&oldest);
    }

    /// Appends a record of `rows` rows; durable only after [`Chunks::sync`]. A new chunk is begun only when all before it is
    /// durable, which is the caller's part.
    ///
    /// # Errors
    /// `Limit` when it is longer than a chunk; `Storage` when a write fails.
    pub fn append(&mut self, record: &[u8], rows: u64) -> Result<()> {
        if record.len() > self.record_len_max_bytes() {
            return Err(Error::new(ErrorKind::Limit, "a record is longer than a chunk")
                .expected(self.record_len_max_bytes())
                .found(record.len()));
        }
        let next = record::decode(record)?.following();
        if self.needs_chunk(record.len()) {
            self.seal()?;
            self.end = Position { sequence: self.end.sequence + 1, offset: CHUNK_EDGE_BYTES as u32 };
            (self.rows_in_open, self.open_damaged) = (0, false);
        }
        let start = self.start_of(self.end.sequence);
        if self.end.offset as usize == CHUNK_EDGE_BYTES {
            self.release_before(self.oldest_with(self.end.sequence));
            if let Some(map) = &mut self.map {
                map.withdraw(start as usize);
            }
            // The seal of the slot's earlier life stays until this chunk's own replaces it: its sequence tells.
            let mut first = self.opening()?;
            first.extend_from_slice(record);
            self.storage.write_at(start, &first)?;
        } else {
            self.storage.write_at(start + u64::from(self.end.offset), record)?;
        }
        self.end.offset += record.len() as u32;
        self.rows_in_open += rows;
        self.next = next;
        Ok(())
    }

    fn opening(&self) -> Result<Vec<u8>> {
        let open = ChunkOpen { adapter_id: self.adapter_id, sequence: self.end.sequence };
        let mut first = frame_postcard(Kind::ChunkOpen, &open)?;
        first.resize(CHUNK_EDGE_BYTES, 0);
        Ok(first)
    }

    fn seal(&mut self) -> Result<()> {
        let start = self.start_of(self.end.sequence);
        let mut content = vec![0u8; self.end.offset as usize];
        self.storage.read_at(start, &mut content)?;
        let rows = self.rows_in_open as u32;
        let seal = ChunkSeal { sequence: self.end.sequence, used_bytes: self.end.offset, rows, content: crc64(&[&content]) };
        let mut footer = frame_postcard(Kind::ChunkSeal, &seal)?;
        footer.resize(CHUNK_EDGE_BYTES, 0);
        self.storage.write_at(start + (self.chunk_len - CHUNK_EDGE_BYTES) as u64, &footer)?;
        if self.open_damaged {
            return Ok(());
        }
        self.held.insert(self.end.sequence, Held { rows: self.rows_in_open, end: self.end.offset, next: self.next });
        if let Some(map) = &mut self.map {
            map.seal(start as usize, self.chunk_len)?;
        }
        Ok(())
    }

    /// Makes every record so far durable.
    ///
    /// # Errors
    /// `Storage`; nothing more may be written then.
    pub fn sync(&self) -> Result<()> {
        self.storage.sync()
    }

    /// The slot of `sequence`, whatever it holds: from the map when sealed in this process, else copied to `buffer`.
    fn raw<'a>(&'a self, sequence: u64, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        let start = self.start_of(sequence);
        if let Some(mapped) = self.map.as_ref().and_then(|m| m.sealed(start as usize)) {
            return Ok(mapped);
        }
        buffer.resize(self.chunk_len, 0);
        self.storage.read_at(start, buffer)?;
        Ok(&buffer[..])
    }

    /// The sequence that a chunk's first bytes name, if they are whole.
    fn named(&self, bytes: &[u8]) -> Result<Option<u64>> {
        let Ok(open) = unframe_postcard::<ChunkOpen>(&bytes[..CHUNK_EDGE_BYTES], Kind::ChunkOpen) else { return Ok(None) };
        if open.adapter_id != self.adapter_id {
            return Err(Error::new(ErrorKind::Corrupt, "the chunk file belongs to another adapter").cure("restore it from a copy"));
        }
        Ok(Some(open.sequence))
    }

    fn seal_of(&self, bytes: &[u8], sequence: u64) -> Option<ChunkSeal> {
        let seal = unframe_postcard::<ChunkSeal>(&bytes[self.chunk_len - CHUNK_EDGE_BYTES..], Kind::ChunkSeal).ok();
        seal.filter(|s| s.sequence == sequence)
    }

    fn records_in<'a>(&self, bytes: &'a [u8], from: usize, next: Option<Link>) -> Records<'a> {
        Records { bytes, offset: from, limit: self.chunk_len - CHUNK_EDGE_BYTES, next }
    }

    /// The largest sequence that any chunk names.
    ///
    /// # Errors
    /// `Corrupt` when a chunk belongs to another adapter; `Storage` when it cannot be read.
    pub fn newest_named(&self) -> Result<Option<u64>> {
        let mut first = [0u8; CHUNK_EDGE_BYTES];
        let mut newest = None;
        for slot in 0..self.slots {
            self.storage.read_at(self.start_of(slot), &mut first)?;
            newest = newest.max(self.named(&first)?);
        }
        Ok(newest)
    }

    /// Follows the journal from `from`, whose record must be `next`, and hands each record to `apply`, which returns how many
    /// rows it has. Leaves the end of the journal behind the last whole record. The chain alone decides, so the damaged first
    /// bytes of a chunk lose nothing.
    ///
    /// # Errors
    /// What `apply` returns; `Mismatch` when a newer version wrote a record; `Storage` when a chunk cannot be read.
    pub fn replay(&mut self, from: Position, next: Link, mut apply: impl FnMut(&Found<'_>) -> Result<u64>) -> Result<()> {
        let (mut position, mut next, mut buffer) = (from, next, Vec::new());
        loop {
            let bytes = self.raw(position.sequence, &mut buffer)?;
            let offset = position.offset as usize;
            let mut before = Records { bytes, offset: CHUNK_EDGE_BYTES, limit: offset, next: None };
            let mut rows: u64 = (&mut before).map(|found| rows_in(&found)).sum();
            let damaged = before.offset != offset || before.next.is_some_and(|n| n != next);
            let mut records = self.records_in(bytes, offset, Some(next));
            for found in &mut records {
                rows += apply(&found)?;
            }
            if let Err(e) = record::decode(bytes.get(records.offset..records.limit).unwrap_or_default())
                && e.kind() == ErrorKind::Mismatch
            {
                return Err(e);
            }
            next = records.next.unwrap_or(next);
            position.offset = records.offset as u32;
            (self.end, self.next, self.rows_in_open, self.open_damaged) = (position, next, if damaged { 0 } else { rows }, damaged);
            position = Position { sequence: position.sequence + 1, offset: CHUNK_EDGE_BYTES as u32 };
            let bytes = self.raw(position.sequence, &mut buffer)?;
            if self.records_in(bytes, CHUNK_EDGE_BYTES, Some(next)).next().is_none() {
                return Ok(());
            }
        }
    }

    /// After [`Chunks::replay`]: was something being written behind the end? `newest` is what [`Chunks::newest_named`] found.
    ///
    /// # Errors
    /// `Corrupt` when what is missing had been durable: a chunk is begun only behind durable ones.
    pub fn tail(&self, newest: Option<u64>) -> Result<Tail> {
        let mut buffer = Vec::new();
        let bytes = self.raw(self.end.sequence, &mut buffer)?;
        let end = self.end.offset as usize;
        let seal = self.seal_of(bytes, self.end.sequence);
        let lost = newest.is_some_and(|n| n > self.end.sequence + 1) || seal.as_ref().is_some_and(|s| s.used_bytes > self.end.offset);
        let later = |f: &Found<'_>| f.link.generation >= self.next.generation;
        let rest = (end..self.chunk_len - CHUNK_EDGE_BYTES).step_by(ALIGN_BYTES).filter(|at| bytes[*at..].starts_with(&MAGIC));
        let mut whole = rest.filter_map(|at| record::decode(&bytes[at..self.chunk_len - CHUNK_EDGE_BYTES]).ok());
        let begun = seal.is_some() || begins_record(&bytes[end..], self.next) || whole.any(|f| later(&f));
        let mut buffer = Vec::new();
        let bytes = self.raw(self.end.sequence + 1, &mut buffer)?;
        let lost = lost || self.records_in(bytes, CHUNK_EDGE_BYTES, None).next().is_some_and(|f| later(&f));
        if lost {
            return Err(Error::new(ErrorKind::Corrupt, "a record in the middle of the journal is damaged")
                .at(format!("chunk {}, byte {end}", self.end.sequence))
                .expected(format!("generation {}", self.next.generation))
                .cure("restore the adapter from a copy"));
        }
        let begun = begun || newest > Some(self.end.sequence) || begins_record(&bytes[CHUNK_EDGE_BYTES..], self.next);
        Ok(if begun { Tail::Torn } else { Tail::Clean })
    }

    /// Makes the bytes behind the end as if nothing had ever been written there, so that no stale record can follow a new one
    /// that is equal to the one it once followed; and writes the first bytes of the open chunk again if they are damaged.
    ///
    /// # Errors
    /// `Storage` when a write or sync fails.
    pub fn mend(&mut self, tail: Tail) -> Result<()> {
        let start = self.start_of(self.end.sequence);
        let mut first = vec![0u8; CHUNK_EDGE_BYTES];
        self.storage.read_at(start, &mut first)?;
        let nameless = self.end.offset as usize > CHUNK_EDGE_BYTES && self.named(&first)? != Some(self.end.sequence);
        if nameless {
            self.storage.write_at(start, &self.opening()?)?;
        }
        if tail == Tail::Torn {
            // Of a chunk that was being begun, the name and what begins like its first record.
            let next = self.start_of(self.end.sequence + 1);
            let mut begun = [0u8; CHUNK_EDGE_BYTES + FRAME_LEN_BYTES + 16];
            self.storage.read_at(next, &mut begun)?;
            if self.named(&begun)? == Some(self.end.sequence + 1) || begins_record(&begun[CHUNK_EDGE_BYTES..], self.next) {
                self.storage.write_at(next, &[0; CHUNK_EDGE_BYTES + FRAME_LEN_BYTES + 16])?;
            }
            let rest = vec![0u8; self.chunk_len - self.end.offset as usize];
            self.storage.write_at(start + u64::from(self.end.offset), &rest)?;
        }
        if nameless || tail == Tail::Torn { self.storage.sync() } else { Ok(()) }
    }

    /// Holds, and maps for a writer, the sealed chunks from `oldest` on that are whole; returns how many are damaged. The
    /// records decide, from the newest chunk back: the last of each must be what the first of the next was linked to. The
    /// seal serves where the next chunk is damaged, and one that was lost with the power is no loss.
    ///
    /// # Errors
    /// `Storage` when a chunk cannot be read.
    pub fn admit_sealed(&mut self, oldest: u64) -> Result<u64> {
        let (mut damaged, mut buffer) = (u64::from(self.open_damaged), Vec::new());
        let bytes = self.raw(self.end.sequence, &mut buffer)?;
        let first = self.records_in(bytes, CHUNK_EDGE_BYTES, None).next();
        let mut follower = first.filter(|_| !self.open_damaged).map(|f| f.link);
        for sequence in (oldest..self.end.sequence).rev() {
            let mut buffer = Vec::new();
            let bytes = self.raw(sequence, &mut buffer)?;
            let mut records = self.records_in(bytes, CHUNK_EDGE_BYTES, None);
            let first = records.next();
            let rows = first.iter().map(rows_in).sum::<u64>() + (&mut records).map(|f| rows_in(&f)).sum::<u64>();
            let ends_well = match follower {
                Some(link) => records.next == Some(link),
                None => self.seal_of(bytes, sequence).is_some_and(|s| s.used_bytes as usize == records.offset),
            };
            let whole = self.named(bytes)? == Some(sequence) && ends_well;
            follower = first.filter(|_| whole).map(|f| f.link);
            // The oldest may have been in the middle of being overwritten: it has left.
            let taken = sequence == oldest && (self.end.sequence + 1 - sequence).is_multiple_of(self.slots);
            damaged += u64::from(!whole && !taken);
            if let (true, Some(next)) = (whole, records.next) {
                self.held.insert(sequence, Held { rows, end: records.offset as u32, next });
                let start = self.start_of(sequence) as usize;
                if let Some(map) = &mut self.map {
                    map.seal(start, self.chunk_len)?;
                }
            }
        }
        Ok(damaged)
    }

    /// Hands every record of the chunk `sequence` to `visit`; none when it left replay or was damaged when opened.
    ///
    /// # Errors
    /// What `visit` returns, `Storage`, `Busy` for a reader when the writer has taken the chunk since, `Corrupt` for a writer
    /// when it was damaged since.
    pub fn records(&self, sequence: u64, mut visit: impl FnMut(&Found<'_>) -> Result<()>) -> Result<()> {
        let open = Held { rows: self.rows_in_open, end: self.end.offset, next: self.next };
        let held =
            if sequence == self.end.sequence { Some(open).filter(|_| !self.open_damaged) } else { self.held.get(&sequence).copied() };
        let Some(held) = held.filter(|h| h.end as usize > CHUNK_EDGE_BYTES) else { return Ok(()) };
        let mut buffer = Vec::new();
        let bytes = self.raw(sequence, &mut buffer)?;
        let records = || Records { bytes, offset: CHUNK_EDGE_BYTES, limit: held.end as usize, next: None };
        let mut all = records();
        (&mut all).for_each(drop);
        if (all.offset, all.next) != (held.end as usize, Some(held.next)) {
            let at = format!("chunk {sequence}");
            return Err(if self.write {
                Error::new(ErrorKind::Corrupt, "a chunk was damaged while the adapter was open").at(at).cure("open it again")
            } else {
                Error::new(ErrorKind::Busy, "the adapter's writer has taken a chunk since it was opened").at(at).cure("open it again")
            });
        }
        records().try_for_each(|found| visit(&found))
    }
}

/// True when `bytes` begin like the record that would follow: two of magic, generation and chain are its own, so that
/// damage to any one of them does not hide it. A stale record has the magic alone.
fn begins_record(bytes: &[u8], next: Link) -> bool {
    let at = |from: usize, wanted: &[u8]| bytes.get(from..from + wanted.len()) == Some(wanted);
    let signs = [at(0, &MAGIC), at(FRAME_LEN_BYTES, &next.generation.to_le_bytes()), at(FRAME_LEN_BYTES + 8, &next.chain.to_le_bytes())];
    signs.into_iter().filter(|s| *s).count() >= 2
}

fn rows_in(found: &Found<'_>) -> u64 {
    let count = found.payload.get(4..8).filter(|_| found.kind == Kind::Learn);
    count.map_or(0, |b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
}
