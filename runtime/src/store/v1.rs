//! Format 1 as it was on disk: chunk n lay in slot n mod chunks, rows left replay with the oldest chunk, the header stood once.
//! It is read as it is; opening it for writing rewrites it first.

use serde::{Deserialize, Serialize};

use super::chunks::Position;
use super::header;
use super::state::{self, Extent, OriginState};
use crate::backbone::manifest::Modality;
use crate::latent::SpaceId;
use crate::learn::{BlockKind, Origin};
use crate::units::Moment;

#[derive(Serialize, Deserialize)]
struct Creation {
    space: SpaceId,
    backbone: String,
    modality: Modality,
    dim: u32,
    bits: u8,
    scale: Vec<f32>,
    origin: Origin,
    created: Moment,
    replay_rows: u32,
    max_classes: u32,
    max_origins: u32,
    max_sources: u32,
    seed: u64,
}

/// The header of format 1.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    adapter_id: [u8; 16],
    creation: Creation,
    blocks: Vec<BlockKind>,
    chunk_len_bytes: u32,
    chunks: u32,
    slots: u32,
    slot_len_bytes: u32,
    units: u32,
}

impl From<Header> for header::Header {
    fn from(h: Header) -> header::Header {
        let c = h.creation;
        let creation = header::Creation {
            modality: c.modality,
            created: c.created,
            max_classes: c.max_classes,
            max_origins: c.max_origins,
            max_sources: c.max_sources,
            seed: c.seed,
            ..header::Creation::new(c.space, &c.backbone, c.dim, c.bits, c.scale, c.origin).with_replay_rows(c.replay_rows)
        };
        header::Header {
            format: h.format,
            adapter_id: h.adapter_id,
            creation,
            blocks: h.blocks,
            chunk_len_bytes: h.chunk_len_bytes,
            chunks: h.chunks,
            slots: h.slots,
            slot_len_bytes: h.slot_len_bytes,
            units: h.units,
            epoch: 0,
        }
    }
}

impl From<header::Header> for Header {
    fn from(h: header::Header) -> Header {
        let c = h.creation;
        let creation = Creation {
            space: c.space,
            backbone: c.backbone,
            modality: c.modality,
            dim: c.dim,
            bits: c.bits,
            scale: c.scale,
            origin: c.origin,
            created: c.created,
            replay_rows: c.replay_rows,
            max_classes: c.max_classes,
            max_origins: c.max_origins,
            max_sources: c.max_sources,
            seed: c.seed,
        };
        Header {
            format: h.format,
            adapter_id: h.adapter_id,
            creation,
            blocks: h.blocks,
            chunk_len_bytes: h.chunk_len_bytes,
            chunks: h.chunks,
            slots: h.slots,
            slot_len_bytes: h.slot_len_bytes,
            units: h.units,
        }
    }
}

/// A root of format 1.
#[derive(Deserialize)]
pub(super) struct Root {
    adapter_id: [u8; 16],
    generation: u64,
    chain: u64,
    journal: (u64, u32),
    oldest_sequence: u64,
    next_row: u64,
    evicted_rows: u64,
    origins: Vec<OriginState>,
    extents: Vec<Extent>,
}

impl Root {
    /// The root as it is held now; `chunks` are the slots of the chunk file.
    pub fn into_root(self, chunks: u64) -> state::Root {
        let (sequence, offset) = self.journal;
        state::Root {
            adapter_id: self.adapter_id,
            generation: self.generation,
            chain: self.chain,
            journal: Position { sequence, offset, slot: (sequence % chunks.max(1)) as u32 },
            oldest_sequence: self.oldest_sequence,
            next_row: self.next_row,
            evicted_rows: self.evicted_rows,
            origins: self.origins,
            extents: self.extents,
        }
    }
}
