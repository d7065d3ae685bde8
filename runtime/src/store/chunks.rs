//! The chunk file: fixed-size chunks in one preallocated file. The newest chunk is open and is the journal: records are
//! appended to it, one a commit. When the next record does not fit, the chunk is sealed where it lies, so that a row is
//! written once; sealed chunks are read through a read-only map.
//!
//! ```text
//! 0    frame ChunkOpen   (padded to 512)
//! 512  records, each a multiple of 16 bytes
//! end - 512  frame ChunkSeal, zeros while the chunk is open
//! ```
//!
//! Chunks carry a sequence number; the chunk of sequence n lies in slot n mod slots. When the file is full the oldest
//! chunk's slot is taken, after a checkpoint that covers it: its rows leave replay and stay counted in the blocks.

use serde::{Deserialize, Serialize};

use super::frame::{FRAME_LEN_BYTES, Kind, crc64, frame_postcard, unframe_postcard};
use super::header::Header;
use super::map::ChunkMap;
use super::record::{self, Found};
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
    end: Position,
    rows_in_open: u32,
}

impl Chunks {
    /// The chunk file of `header`; `end` is set by recovery.
    ///
    /// # Errors
    /// `Corrupt` when the file has not the length it was made with; `Storage` when it cannot be mapped.
    pub fn new(storage: Box<dyn Storage>, header: &Header) -> Result<Chunks> {
        if storage.len_bytes() != header.chunk_file_len_bytes() {
            return Err(Error::new(ErrorKind::Corrupt, "the chunk file has the wrong length")
                .expected(format!("{} bytes", header.chunk_file_len_bytes()))
                .found(format!("{} bytes", storage.len_bytes()))
                .cure("restore it from a copy"));
        }
        let map = storage.mappable().map(ChunkMap::new).transpose()?;
        let (chunk_len, slots) = (header.chunk_len_bytes as usize, u64::from(header.chunks));
        Ok(Chunks { storage, map, adapter_id: header.adapter_id, chunk_len, slots, end: Position::START, rows_in_open: 0 })
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

    fn start_of(&self, sequence: u64) -> u64 {
        (sequence % self.slots) * self.chunk_len as u64
    }

    /// True when a record of `len_bytes` needs a new chunk.
    pub fn needs_chunk(&self, len_bytes: usize) -> bool {
        self.end.offset as usize + len_bytes > self.chunk_len - CHUNK_EDGE_BYTES
    }

    /// Appends a record of `rows` rows; durable only after [`Chunks::sync`].
    ///
    /// # Errors
    /// `Limit` when it is longer than a chunk; `Storage` when a write fails.
    pub fn append(&mut self, record: &[u8], rows: u32) -> Result<()> {
        if record.len() > self.record_len_max_bytes() {
            return Err(Error::new(ErrorKind::Limit, "a record is longer than a chunk")
                .expected(self.record_len_max_bytes())
                .found(record.len()));
        }
        if self.needs_chunk(record.len()) {
            self.seal()?;
            self.end = Position { sequence: self.end.sequence + 1, offset: CHUNK_EDGE_BYTES as u32 };
            self.rows_in_open = 0;
        }
        let start = self.start_of(self.end.sequence);
        if self.end.offset as usize == CHUNK_EDGE_BYTES {
            if let Some(map) = &mut self.map {
                map.withdraw(start as usize);
            }
            // The new chunk's first page and its cleared seal go out with the record, under the same sync.
            let open = ChunkOpen { adapter_id: self.adapter_id, sequence: self.end.sequence };
            let mut first = frame_postcard(Kind::ChunkOpen, &open)?;
            first.resize(CHUNK_EDGE_BYTES, 0);
            first.extend_from_slice(record);
            self.storage.write_at(start + (self.chunk_len - CHUNK_EDGE_BYTES) as u64, &[0; CHUNK_EDGE_BYTES])?;
            self.storage.write_at(start, &first)?;
        } else {
            self.storage.write_at(start + u64::from(self.end.offset), record)?;
        }
        self.end.offset += record.len() as u32;
        self.rows_in_open += rows;
        Ok(())
    }

    fn seal(&mut self) -> Result<()> {
        let start = self.start_of(self.end.sequence);
        let mut content = vec![0u8; self.end.offset as usize];
        self.storage.read_at(start, &mut content)?;
        let seal =
            ChunkSeal { sequence: self.end.sequence, used_bytes: self.end.offset, rows: self.rows_in_open, content: crc64(&[&content]) };
        let mut footer = frame_postcard(Kind::ChunkSeal, &seal)?;
        footer.resize(CHUNK_EDGE_BYTES, 0);
        self.storage.write_at(start + (self.chunk_len - CHUNK_EDGE_BYTES) as u64, &footer)?;
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

    /// The chunk of `sequence`, when its slot holds it: from the map when sealed in this process, else copied to `buffer`.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub fn chunk<'a>(&'a self, sequence: u64, buffer: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>> {
        let start = self.start_of(sequence);
        let bytes = match self.map.as_ref().and_then(|m| m.sealed(start as usize)) {
            Some(mapped) => mapped,
            None => {
                buffer.resize(self.chunk_len, 0);
                self.storage.read_at(start, buffer)?;
                &buffer[..]
            }
        };
        let open = unframe_postcard::<ChunkOpen>(bytes, Kind::ChunkOpen).ok();
        Ok(open.filter(|o| o.adapter_id == self.adapter_id && o.sequence == sequence).map(|_| bytes))
    }

    /// The sequence that the slot of `sequence` holds now, if any.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub fn held_in_slot_of(&self, sequence: u64) -> Result<Option<u64>> {
        let mut first = vec![0u8; CHUNK_EDGE_BYTES];
        self.storage.read_at(self.start_of(sequence), &mut first)?;
        let open = unframe_postcard::<ChunkOpen>(&first, Kind::ChunkOpen).ok();
        Ok(open.filter(|o| o.adapter_id == self.adapter_id).map(|o| o.sequence))
    }

    /// Follows the journal from `from`, whose record must continue `chain` and `generation`, and hands each record to
    /// `apply`. Leaves the end of the journal behind the last whole record.
    ///
    /// # Errors
    /// What `apply` returns; `Mismatch` when a newer version wrote a record; `Storage` when a chunk cannot be read.
    pub fn replay(
        &mut self,
        from: Position,
        mut generation: u64,
        mut chain: u64,
        mut apply: impl FnMut(&Found<'_>) -> Result<u32>,
    ) -> Result<Tail> {
        let mut position = from;
        let mut tail = Tail::Clean;
        let mut buffer = Vec::new();
        self.rows_in_open = 0;
        'chunks: while let Some(bytes) = self.chunk(position.sequence, &mut buffer)? {
            let limit = self.chunk_len - CHUNK_EDGE_BYTES;
            let mut rows = 0;
            if position.offset as usize > CHUNK_EDGE_BYTES {
                rows = rows_before(bytes, position.offset as usize);
            }
            loop {
                let rest = bytes.get(position.offset as usize..limit).unwrap_or_default();
                let found = match record::decode(rest) {
                    Ok(found) if found.link == (record::Link { generation: generation + 1, chain }) => found,
                    Ok(_) => break,
                    Err(e) if e.kind() == ErrorKind::Mismatch => return Err(e),
                    Err(_) => {
                        if begins_record(rest, generation + 1, chain) {
                            tail = Tail::Torn;
                        }
                        break;
                    }
                };
                rows += apply(&found)?;
                (generation, chain) = (found.link.generation, found.check);
                position.offset += found.len_bytes as u32;
                tail = Tail::Clean;
            }
            self.end = position;
            self.rows_in_open = rows;
            let next = Position { sequence: position.sequence + 1, offset: CHUNK_EDGE_BYTES as u32 };
            let follows = match self.chunk(next.sequence, &mut Vec::new())? {
                Some(bytes) => record::decode(&bytes[CHUNK_EDGE_BYTES..limit])
                    .is_ok_and(|r| r.link.generation == generation + 1 && r.link.chain == chain),
                None => false,
            };
            if !follows {
                break 'chunks;
            }
            position = next;
        }
        self.end = position;
        Ok(tail)
    }

    /// Maps the sealed chunks that are whole, from `oldest` on, and seals again the ones whose seal was torn.
    /// Returns how many of them are damaged.
    ///
    /// # Errors
    /// `Storage` when a chunk cannot be read or sealed.
    pub fn admit_sealed(&mut self, oldest: u64) -> Result<u64> {
        let mut damaged = 0;
        let mut buffer = Vec::new();
        for sequence in oldest..self.end.sequence {
            let start = self.start_of(sequence);
            let whole = match self.chunk(sequence, &mut buffer)? {
                None => false,
                Some(bytes) => {
                    let seal = unframe_postcard::<ChunkSeal>(&bytes[self.chunk_len - CHUNK_EDGE_BYTES..], Kind::ChunkSeal).ok();
                    let content = |s: &ChunkSeal| bytes.get(..s.used_bytes as usize).map(|b| crc64(&[b]));
                    // A seal that was lost with the power is no loss: every record carries its own checksum.
                    seal.map_or_else(
                        || rows_before(bytes, self.chunk_len) > 0,
                        |s| s.sequence == sequence && content(&s) == Some(s.content),
                    )
                }
            };
            match (&mut self.map, whole) {
                (Some(map), true) => map.seal(start as usize, self.chunk_len)?,
                (None, true) => {}
                (_, false) => damaged += 1,
            }
        }
        Ok(damaged)
    }

    /// Hands every whole record of the chunk `sequence` to `visit`; none when its slot holds another.
    ///
    /// # Errors
    /// What `visit` returns, or `Storage`.
    pub fn records(&self, sequence: u64, mut visit: impl FnMut(&Found<'_>) -> Result<()>) -> Result<()> {
        let mut buffer = Vec::new();
        let limit = if sequence == self.end.sequence { self.end.offset as usize } else { self.chunk_len - CHUNK_EDGE_BYTES };
        let Some(bytes) = self.chunk(sequence, &mut buffer)? else { return Ok(()) };
        let mut offset = CHUNK_EDGE_BYTES;
        while let Ok(found) = record::decode(bytes.get(offset..limit).unwrap_or_default()) {
            visit(&found)?;
            offset += found.len_bytes;
        }
        Ok(())
    }
}

/// True when `bytes` begin like the record that would follow, of which the rest was never written.
fn begins_record(bytes: &[u8], generation: u64, chain: u64) -> bool {
    let wanted: Vec<u8> = generation.to_le_bytes().into_iter().chain(chain.to_le_bytes()).collect();
    bytes.get(FRAME_LEN_BYTES..FRAME_LEN_BYTES + 16) == Some(&wanted[..])
}

fn rows_before(bytes: &[u8], end: usize) -> u32 {
    let (mut offset, mut rows) = (CHUNK_EDGE_BYTES, 0u32);
    while let Some(found) = bytes.get(offset..end).and_then(|rest| record::decode(rest).ok()) {
        if found.kind == Kind::Learn {
            rows += found.payload.get(4..8).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        }
        offset += found.len_bytes;
    }
    rows
}
