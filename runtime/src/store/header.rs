//! The adapter's header: everything fixed at its creation. It is written once and never changed.

use serde::{Deserialize, Serialize};

use super::chunks::CHUNK_EDGE_BYTES;
use super::folder::{CHUNKS, STATE};
use super::frame::{FRAME_LEN_BYTES, Kind, frame_postcard, unframe, unframe_postcard};
use super::kept;
use super::pack::row_stride_bytes;
use super::v1;
use crate::backbone::manifest::Modality;
use crate::latent::SpaceId;
use crate::learn::{BlockKind, Origin};
use crate::units::Moment;
use crate::{Error, ErrorKind, Result};

/// Length of the header's file.
pub const HEADER_LEN_BYTES: usize = 4096;
/// Store format written by this version (docs/format.md).
pub const STORE_FORMAT: u32 = 2;
/// Chunk strides are multiples of this: larger than any page in use, and a multiple of 16 KiB.
pub const CHUNK_STEP_BYTES: u32 = 64 * 1024;
/// Unit of allocation in the state file.
pub const UNIT_LEN_BYTES: u32 = 64 * 1024;
/// What is reckoned beside the latent of a row: its share of a record's header, names, time and place.
const ROW_META_LEN_BYTES: usize = 192;
/// Chunks beside those that rows need: the open one, and room to carry rows before their chunk is taken.
pub const SPARE_CHUNKS: u32 = 4;
/// The chunk file holds this many times what replay may hold. The more, the fewer rows are written again so that their chunk
/// can be taken, and the fewer checkpoints; but the more there is to open.
pub const FILE_OVER_HELD: u32 = 3;
/// Blocks that every origin may have, in the order of the digest.
const BLOCKS: [BlockKind; 3] = [BlockKind::Latents, BlockKind::Mixed, BlockKind::Background];
/// Number of root slots: current, previous, accepted, trial and as many being replaced.
pub const SLOTS: u32 = 8;

/// What a new adapter is bound to and how large it may ever grow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Creation {
    /// The latent space; rows of another space are refused.
    pub space: SpaceId,
    /// Name of the backbone, for a person.
    pub backbone: String,
    /// What the backbone takes.
    pub modality: Modality,
    /// Dimension D of a latent, 1..=8192.
    pub dim: u32,
    /// Bits of a component, 4..=8.
    pub bits: u8,
    /// Value of one latent step, per dimension \[D\].
    pub scale: Vec<f32>,
    /// Who learns here.
    pub origin: Origin,
    /// When the adapter was made.
    pub created: Moment,
    /// Most rows that replay holds; the chunk file is made [`FILE_OVER_HELD`] times as large.
    pub replay_rows: u32,
    /// Most classes.
    pub max_classes: u32,
    /// Most origins whose blocks are held, this one included.
    pub max_origins: u32,
    /// Most recordings remembered as already taught; beyond it the oldest is forgotten.
    pub max_sources: u32,
    /// Seed of everything random in this adapter.
    pub seed: u64,
    /// The newest rows, which never leave replay: undo is exact for them. At most half of `replay_rows`.
    pub undo_rows: u32,
    /// The share of `replay_rows` that background has, and no more. At most half of it.
    pub background_rows: u32,
}

impl Creation {
    /// Default bounds for a space: 16,384 rows of replay, 256 classes, one origin, 16,384 recordings.
    pub fn new(space: SpaceId, backbone: &str, dim: u32, bits: u8, scale: Vec<f32>, origin: Origin) -> Creation {
        Creation {
            space,
            backbone: backbone.to_owned(),
            modality: Modality::Audio,
            dim,
            bits,
            scale,
            origin,
            created: Moment::UNKNOWN,
            replay_rows: 16_384,
            max_classes: 256,
            max_origins: 1,
            max_sources: 16_384,
            seed: 0,
            undo_rows: 256,
            background_rows: 2048,
        }
    }

    /// The same with replay of `replay_rows` rows: a quarter of them, at most 256, within the undo horizon, an eighth background.
    pub fn with_replay_rows(self, replay_rows: u32) -> Creation {
        Creation { replay_rows, undo_rows: (replay_rows / 4).min(256), background_rows: replay_rows / 8, ..self }
    }
}

impl Creation {
    fn validate(&self, kind: ErrorKind) -> Result<()> {
        let check = |what: &str, ok: bool, allowed: &str, found: String| check(kind, what, ok, allowed, found);
        check("dim", (1..=8192).contains(&self.dim), "1 to 8192", self.dim.to_string())?;
        check("bits", (4..=8).contains(&self.bits), "4 to 8", self.bits.to_string())?;
        check("scale", self.scale.len() == self.dim as usize, "one value a dimension", self.scale.len().to_string())?;
        check("scale", self.scale.iter().all(|s| s.is_finite() && *s > 0.0), "finite values above 0", "another".into())?;
        check("replay_rows", (16..=100_000_000).contains(&self.replay_rows), "16 to 100000000", self.replay_rows.to_string())?;
        let half = self.replay_rows / 2;
        check("undo_rows", self.undo_rows <= half, &format!("at most {half}, half of replay_rows"), self.undo_rows.to_string())?;
        check("background_rows", self.background_rows <= half, &format!("at most {half}"), self.background_rows.to_string())?;
        check("max_classes", (1..=65_535).contains(&self.max_classes), "1 to 65535", self.max_classes.to_string())?;
        check("max_origins", (1..=100_000).contains(&self.max_origins), "1 to 100000", self.max_origins.to_string())?;
        check("max_sources", (1..=10_000_000).contains(&self.max_sources), "1 to 10000000", self.max_sources.to_string())
    }
}

fn check(kind: ErrorKind, what: &str, ok: bool, allowed: &str, found: String) -> Result<()> {
    if ok { Ok(()) } else { Err(Error::new(kind, "a value of the adapter is not allowed").at(what).expected(allowed).found(found)) }
}

/// The header as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`STORE_FORMAT`].
    pub format: u32,
    /// Identifies this adapter's files: every chunk names it.
    pub adapter_id: [u8; 16],
    /// What it is bound to.
    pub creation: Creation,
    /// Blocks that an origin may have.
    pub blocks: Vec<BlockKind>,
    /// Stride of the chunk file.
    pub chunk_len_bytes: u32,
    /// Chunks in the chunk file.
    pub chunks: u32,
    /// Root slots in the state file.
    pub slots: u32,
    /// Length of one slot.
    pub slot_len_bytes: u32,
    /// Units in the state file, after the slots.
    pub units: u32,
    /// Which set of files it stands for: rewriting an adapter makes a new set, and this header names it.
    pub epoch: u32,
}

impl Header {
    /// Works out the geometry of a new adapter.
    ///
    /// # Errors
    /// `Config` when a bound is out of range.
    pub fn new(creation: Creation, adapter_id: [u8; 16]) -> Result<Header> {
        creation.validate(ErrorKind::Config)?;
        let stride = row_stride_bytes(creation.dim as usize, creation.bits);
        let per_row = stride + ROW_META_LEN_BYTES;
        let mut chunk_len_bytes = CHUNK_STEP_BYTES;
        while (chunk_len_bytes as usize) < 24 * per_row {
            chunk_len_bytes += CHUNK_STEP_BYTES;
        }
        let rows_per_chunk = (chunk_len_bytes as usize - 2 * CHUNK_EDGE_BYTES) / per_row;
        let chunks = FILE_OVER_HELD * (creation.replay_rows as usize).div_ceil(rows_per_chunk).max(2) as u32 + SPARE_CHUNKS;
        let (d, c) = (u64::from(creation.dim), u64::from(creation.max_classes));
        let name = 2 + crate::learn::class::NAME_LEN_MAX_BYTES as u64;
        let base = 32 + 8 * d + 4 * d * (d + 1);
        let latents = base + c * (name + 8 + 8 * d);
        let mixed = base + c * (name + 16 + 16 * d);
        let units_of = |bytes: u64| bytes.div_ceil(u64::from(UNIT_LEN_BYTES));
        let origin_units = units_of(latents) + units_of(mixed) + units_of(base);
        let own_units = origin_units + units_of(16 * u64::from(creation.max_sources) + 64) + units_of(u64::from(chunks) * 512 + 64);
        let own_units = own_units + units_of(kept::head_room_bytes(&creation)) + units_of(kept::monitor_room_bytes(&creation));
        // Current, previous, and the one being written; foreign origins change one at a time, but may all be replaced by one merge.
        let units = 3 * (own_units + u64::from(creation.max_origins.saturating_sub(1)) * origin_units);
        let slot_len_bytes = (4096 + 256 * creation.max_origins.max(1)).next_multiple_of(UNIT_LEN_BYTES);
        let units = u32::try_from(units).map_err(|_| Error::new(ErrorKind::Config, "the adapter would be too large").found(units))?;
        let header = Header {
            format: STORE_FORMAT,
            adapter_id,
            creation,
            blocks: BLOCKS.to_vec(),
            chunk_len_bytes,
            chunks,
            slots: SLOTS,
            slot_len_bytes,
            units,
            epoch: 0,
        };
        header.validate(ErrorKind::Config)?;
        Ok(header)
    }

    fn validate(&self, kind: ErrorKind) -> Result<()> {
        self.creation.validate(kind)?;
        let check = |what: &str, ok: bool, allowed: &str, found: String| check(kind, what, ok, allowed, found);
        check("blocks", self.blocks == BLOCKS, &format!("{BLOCKS:?}"), format!("{:?}", self.blocks))?;
        let step = self.chunk_len_bytes > 0 && self.chunk_len_bytes.is_multiple_of(CHUNK_STEP_BYTES);
        check("chunk_len_bytes", step, "a multiple of 65536", self.chunk_len_bytes.to_string())?;
        check("chunks", (2..=50_000_000).contains(&self.chunks), "2 to 50000000", self.chunks.to_string())?;
        check("slots", (2..=64).contains(&self.slots), "2 to 64", self.slots.to_string())?;
        let slot_ok = self.slot_len_bytes >= 4096 && self.slot_len_bytes.is_multiple_of(4096);
        check("slot_len_bytes", slot_ok, "a multiple of 4096", self.slot_len_bytes.to_string())?;
        check("units", self.units >= 3, "at least 3", self.units.to_string())
    }

    /// Length of the chunk file.
    pub fn chunk_file_len_bytes(&self) -> u64 {
        u64::from(self.chunks) * u64::from(self.chunk_len_bytes)
    }

    /// Length of the state file.
    pub fn state_file_len_bytes(&self) -> u64 {
        u64::from(self.slots) * u64::from(self.slot_len_bytes) + u64::from(self.units) * u64::from(UNIT_LEN_BYTES)
    }

    /// Bytes that the records of held rows may take.
    pub fn held_bytes_max(&self) -> u64 {
        let data = (self.chunks.saturating_sub(SPARE_CHUNKS) / FILE_OVER_HELD).max(1);
        u64::from(data) * u64::from(self.chunk_len_bytes - 2 * CHUNK_EDGE_BYTES as u32)
    }

    /// Name of the chunk file.
    pub fn chunk_file(&self) -> String {
        file_of(CHUNKS, self.epoch)
    }

    /// Name of the state file.
    pub fn state_file(&self) -> String {
        file_of(STATE, self.epoch)
    }

    /// Bytes of the header's file: the same frame twice, each padded to a multiple of [`HEADER_LEN_BYTES`], so that one of
    /// them may be damaged.
    ///
    /// # Errors
    /// `Limit` when it cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>> {
        Ok(self.copy()?.repeat(if self.format == 1 { 1 } else { 2 }))
    }

    /// Reads and checks the header's file; one damaged copy of two is as good as none.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged, `Mismatch` when a newer version wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Header> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let single = Header::decode_copy(bytes, 1);
        if single.as_ref().map_or_else(|e| e.kind() == ErrorKind::Mismatch, |_| true) {
            return single;
        }
        match (Header::decode_copy(first, 2), Header::decode_copy(second, 2)) {
            _ if first.len() != second.len() => {
                Err(damaged("the adapter's header has the wrong length").found(format!("{} bytes", bytes.len())))
            }
            (Ok(header), Ok(copy)) if header == copy => Ok(header),
            (Ok(_), Ok(_)) => Err(damaged("the two copies of the adapter's header differ")),
            (Err(e), _) | (_, Err(e)) if e.kind() == ErrorKind::Mismatch => Err(e),
            (Ok(header), Err(_)) | (Err(_), Ok(header)) => Ok(header),
            (Err(e), Err(_)) => Err(damaged("no copy of the adapter's header is whole").found(&e).because(e)),
        }
    }

    /// Every whole copy in the file of a wreck, whatever its length has become and whatever lies between and behind them.
    ///
    /// # Errors
    /// `Mismatch` when a newer version wrote one.
    pub(super) fn whole_copies(bytes: &[u8]) -> Result<Vec<Header>> {
        let mut copies = Vec::new();
        for at in (0..bytes.len()).step_by(HEADER_LEN_BYTES) {
            match Header::decode_frame(&bytes[at..]) {
                Ok(header) => copies.push(header),
                Err(e) if e.kind() == ErrorKind::Mismatch => return Err(e),
                Err(_) => {}
            }
        }
        Ok(copies)
    }

    /// The header in the frame at the start of `bytes`, whatever follows.
    fn decode_frame(bytes: &[u8]) -> Result<Header> {
        let (kind, body) = unframe(bytes)?;
        // The format comes first: a later one may have other fields behind it.
        let found = postcard::take_from_bytes::<u32>(body).map_or(0, |(format, _)| format);
        if kind == Kind::Header && found > STORE_FORMAT {
            let newer = Error::new(ErrorKind::Mismatch, "the adapter has another format");
            return Err(newer.expected(format!("at most {STORE_FORMAT}")).found(found).cure("update wheatear"));
        }
        let header: Header = match found {
            1 => unframe_postcard::<v1::Header>(bytes, Kind::Header)?.into(),
            2 => unframe_postcard::<Header>(bytes, Kind::Header)?,
            _ => return Err(damaged("the adapter's header has no format").found(found)),
        };
        header.validate(ErrorKind::Corrupt)?;
        Ok(header)
    }

    /// How many of the copies in the header's file are whole, and how many there should be.
    pub(super) fn copies(&self, bytes: &[u8]) -> (usize, usize) {
        let copies = if self.format == 1 { 1 } else { 2 };
        let whole = bytes.chunks(bytes.len().div_ceil(copies).max(1)).filter(|c| Header::decode_copy(c, self.format).is_ok());
        (whole.count(), copies)
    }

    fn decode_copy(bytes: &[u8], format: u32) -> Result<Header> {
        if bytes.len() < FRAME_LEN_BYTES {
            return Err(damaged("the adapter's header is too short").found(format!("{} bytes", bytes.len())));
        }
        let header = Header::decode_frame(bytes)?;
        if header.format != format {
            return Err(damaged("the adapter's header has the wrong length").found(format!("format {}", header.format)));
        }
        // The padding lies outside the checksum: it must be what was written.
        if header.copy()? != bytes {
            return Err(damaged("the adapter's header is followed by other bytes"));
        }
        Ok(header)
    }

    fn copy(&self) -> Result<Vec<u8>> {
        let mut bytes = if self.format == 1 {
            frame_postcard(Kind::Header, &v1::Header::from(self.clone()))?
        } else {
            frame_postcard(Kind::Header, self)?
        };
        bytes.resize(bytes.len().next_multiple_of(HEADER_LEN_BYTES), 0);
        Ok(bytes)
    }
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, what).cure("restore the adapter from a copy, or salvage its rows: wheatear repair")
}

fn file_of(name: &str, epoch: u32) -> String {
    if epoch == 0 { name.to_owned() } else { format!("{name}.{epoch}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::frame::frame;

    #[test]
    fn a_header_of_a_later_format_is_named_as_such_whatever_follows() {
        let mut body = postcard::to_stdvec(&3u32).unwrap_or_default();
        body.extend_from_slice(b"fields that this version has never heard of");
        let bytes = frame(Kind::Header, &body).unwrap();
        let error = Header::decode(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
        assert!(error.to_string().contains("update"), "{error}");
    }
}
