//! Verifying the chunk file: the first bytes, the records and the seal of every chunk, also of those whose rows have left.

use super::adapter::{Adapter, Recovery};
use super::chunks::{CHUNK_EDGE_BYTES, Chunk, Records};
use super::frame::{Kind, crc64};
use super::record::{self, Found};
use super::verify::Verified;
use crate::Result;
use crate::learn::ClassName;

const NOTHING_LOST: &str = "nothing is lost";
const LEFT: &str = "rows that it held left replay; the statistics count them still";

impl Adapter {
    pub(super) fn look_at_chunks(&self, seen: &mut Verified) {
        let mut buffer = Vec::new();
        for slot in 0..self.header.chunks {
            let at = format!("{}, slot {slot}", self.header.chunk_file());
            seen.bytes += u64::from(self.header.chunk_len_bytes);
            let bytes = match self.chunks.raw(slot, &mut buffer) {
                Ok(bytes) => bytes,
                Err(e) => {
                    seen.find(format!("a chunk cannot be read: {e}"), at, "it is left alone; rows that it held left replay");
                    continue;
                }
            };
            let sealed = self.chunks.sealed.iter().find(|(_, chunk)| chunk.slot == slot);
            match sealed {
                Some((sequence, chunk)) => self.look_at_sealed(bytes, *sequence, chunk, &at, seen),
                None if slot == self.chunks.end.slot => self.look_at_open(bytes, &at, seen),
                None => self.look_at_free(bytes, &at, seen),
            }
        }
    }

    fn look_at_sealed(&self, bytes: &[u8], sequence: u64, chunk: &Chunk, at: &str, seen: &mut Verified) {
        seen.chunks += 1;
        let Some((end, _)) = chunk.whole else {
            // Whoever knows from the seal how many rows there were knows whether one is missing.
            let missing = self.contents.held.rows_of(sequence).iter().any(|e| e.missing);
            return match missing || self.chunks.seal_of(bytes, sequence).is_none() {
                true => seen.find("a chunk is damaged", at, LEFT),
                false => seen.find("a chunk whose rows have left is damaged", at, NOTHING_LOST),
            };
        };
        let rows = self.look_at_records(bytes, end as usize, at, seen);
        self.look_at_edges(bytes, sequence, Some((end, rows)), at, seen);
    }

    fn look_at_open(&self, bytes: &[u8], at: &str, seen: &mut Verified) {
        let end = self.chunks.end;
        if end.offset as usize == CHUNK_EDGE_BYTES {
            return;
        }
        seen.chunks += 1;
        if self.chunks.open_damaged {
            return seen.find("the open chunk is damaged", at, LEFT);
        }
        self.look_at_records(bytes, end.offset as usize, at, seen);
        if self.chunks.named(bytes).ok().flatten() != Some(end.sequence) {
            seen.find("the first bytes of the open chunk are damaged", at, NOTHING_LOST);
        }
    }

    /// A slot that may be taken: zeros, or a chunk whose rows have left.
    fn look_at_free(&self, bytes: &[u8], at: &str, seen: &mut Verified) {
        // What a torn write had begun is wiped as far as this when the adapter is next opened for writing.
        if bytes[..2 * CHUNK_EDGE_BYTES].iter().all(|b| *b == 0) {
            return;
        }
        let named = self.chunks.named(bytes).ok().flatten();
        let begun = self.recovery != Recovery::Clean && named.is_none_or(|n| n > self.chunks.end.sequence);
        if begun {
            return;
        }
        seen.chunks += 1;
        match named {
            None => seen.find("the first bytes of a chunk whose rows have left are damaged", at, NOTHING_LOST),
            Some(sequence) => self.look_at_edges(bytes, sequence, None, at, seen),
        }
    }

    /// Compares a chunk with its first bytes and its seal; `records` are their end and the rows they brought, where known.
    fn look_at_edges(&self, bytes: &[u8], sequence: u64, records: Option<(u32, usize)>, at: &str, seen: &mut Verified) {
        if self.chunks.named(bytes).ok().flatten() != Some(sequence) {
            return seen.find("the first bytes of a chunk are damaged", at, NOTHING_LOST);
        }
        let Some(seal) = self.chunks.seal_of(bytes, sequence) else {
            return seen.find("the seal of a chunk is torn or damaged", at, NOTHING_LOST);
        };
        let agrees = records.is_none_or(|(end, rows)| (end, rows) == (seal.used_bytes, seal.rows as usize));
        if !agrees || bytes.get(..seal.used_bytes as usize).map(|used| crc64(&[used])) != Some(seal.content) {
            seen.find("a chunk is not what its seal says", at, NOTHING_LOST);
        }
    }

    /// Decodes all records before `end`; returns how many rows they brought.
    fn look_at_records(&self, bytes: &[u8], end: usize, at: &str, seen: &mut Verified) -> usize {
        let mut rows = 0;
        for (offset, found) in (Records { bytes, offset: CHUNK_EDGE_BYTES, limit: end, next: None }) {
            (seen.records, rows) = (seen.records + 1, rows + found.rows());
            if let Err(e) = self.decode_whole(&found) {
                seen.find(format!("a record cannot be decoded: {e}"), format!("{at}, byte {offset}"), "its rows cannot be read");
            }
        }
        rows
    }

    fn decode_whole(&self, found: &Found<'_>) -> Result<()> {
        if found.kind == Kind::Forget {
            let damaged = |e| crate::Error::new(crate::ErrorKind::Corrupt, "a record of forgetting is damaged").because(e);
            return postcard::from_bytes::<ClassName>(found.payload).map(drop).map_err(damaged);
        }
        record::decode_rows(found.payload, self.dim(), self.header.creation.bits, self.header.format).map(drop)
    }
}
