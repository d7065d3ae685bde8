//! What lies in the slots of a wrecked chunk file: every whole record, at whatever multiple of 16 bytes it begins.

use crate::store::chunks::{CHUNK_EDGE_BYTES, ChunkOpen, ChunkSeal};
use crate::store::frame::{Kind, MAGIC};
use crate::store::record::{self, ALIGN_BYTES, Link};
use crate::{Error, ErrorKind, Result};

/// A whole record: where it lies, and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub slot: u32,
    pub offset: u32,
    pub len_bytes: u32,
    pub kind: Kind,
    pub link: Link,
    pub check: u64,
    /// Rows that it adds to its chunk.
    pub rows: u32,
}

impl Piece {
    pub fn generation(&self) -> u64 {
        self.link.generation
    }

    pub fn end(&self) -> u32 {
        self.offset + self.len_bytes
    }

    /// True when it is the record that came after `before`.
    pub fn follows(&self, before: &Piece) -> bool {
        self.link == Link { generation: before.link.generation.wrapping_add(1), chain: before.check }
    }
}

/// Records one behind the other, each the one that came after the one before it. Never empty.
#[derive(Debug, Clone)]
pub(super) struct Run(pub Vec<Piece>);

impl Run {
    pub fn first(&self) -> &Piece {
        &self.0[0]
    }

    pub fn last(&self) -> &Piece {
        &self.0[self.0.len() - 1]
    }

    pub fn rows(&self) -> u32 {
        self.0.iter().map(|p| p.rows).sum()
    }

    /// True when it begins where the records of a chunk do.
    pub fn is_in_place(&self) -> bool {
        self.first().offset as usize == CHUNK_EDGE_BYTES
    }
}

/// A slot of the chunk file.
#[derive(Debug)]
pub(super) struct Slot {
    pub number: u32,
    /// What its first bytes say, when they are whole.
    pub opening: Option<ChunkOpen>,
    /// What its last bytes say, when they are whole; an open chunk has the seal of the slot's earlier one.
    pub seal: Option<ChunkSeal>,
    /// By offset.
    pub runs: Vec<Run>,
}

impl Slot {
    /// Looks at the bytes of slot `number`.
    ///
    /// # Errors
    /// `Mismatch` when a newer version wrote one of its records.
    pub fn scan(number: u32, bytes: &[u8]) -> Result<Slot> {
        let limit = bytes.len() - CHUNK_EDGE_BYTES;
        let mut runs: Vec<Run> = Vec::new();
        let mut at = CHUNK_EDGE_BYTES;
        while at + ALIGN_BYTES <= limit {
            let Some(piece) = piece(number, bytes, at, limit)? else {
                at += ALIGN_BYTES;
                continue;
            };
            at += piece.len_bytes as usize;
            match runs.last_mut() {
                Some(run) if run.last().end() == piece.offset && piece.follows(run.last()) => run.0.push(piece),
                _ => runs.push(Run(vec![piece])),
            }
        }
        let opening = ChunkOpen::decode(&bytes[..CHUNK_EDGE_BYTES]).ok();
        let seal = ChunkSeal::decode(&bytes[limit..]).ok();
        Ok(Slot { number, opening, seal, runs })
    }

    /// The records that begin where those of a chunk do.
    pub fn in_place(&self) -> Option<&Run> {
        self.runs.first().filter(|r| r.is_in_place())
    }

    pub fn records(&self) -> usize {
        self.runs.iter().map(|r| r.0.len()).sum()
    }

    /// Its seal, when it is that of chunk `sequence`.
    pub fn seal_of(&self, sequence: u64) -> Option<&ChunkSeal> {
        self.seal.as_ref().filter(|s| s.sequence == sequence)
    }
}

fn piece(slot: u32, bytes: &[u8], at: usize, limit: usize) -> Result<Option<Piece>> {
    if bytes[at..at + MAGIC.len()] != MAGIC {
        return Ok(None);
    }
    let found = match record::decode(&bytes[at..limit]) {
        Ok(found) => found,
        Err(e) if e.kind() == ErrorKind::Mismatch => return Err(e),
        Err(_) => return Ok(None),
    };
    match found.kind {
        Kind::Learn | Kind::Undo | Kind::Relabel | Kind::Forget | Kind::Carry => {}
        Kind::Header | Kind::Root | Kind::ChunkOpen | Kind::ChunkSeal | Kind::Block | Kind::Signature => return Ok(None),
        other => {
            return Err(Error::new(ErrorKind::Mismatch, "a newer version wrote this journal")
                .found(format!("{other:?}"))
                .cure("update wheatear"));
        }
    }
    let len_bytes = found.len_bytes.min(limit - at) as u32;
    let (kind, link, check, rows) = (found.kind, found.link, found.check, found.rows() as u32);
    Ok(Some(Piece { slot, offset: at as u32, len_bytes, kind, link, check, rows }))
}
