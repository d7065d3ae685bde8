//! Journal records: one a commit. Each names its generation and the checksum of the record before it, so that a stale
//! record left behind by an earlier life of the same bytes can never follow a new one.
//!
//! ```text
//! frame (24) | generation u64 | chain u64 | payload | zeros to a multiple of 16
//! payload of Learn: meta length u32 | rows u32 | meta (postcard) | zeros to a multiple of 16 from the record's start |
//!                   packed latents, one stride a row
//! ```

use serde::{Deserialize, Serialize};

use super::frame::{FRAME_LEN_BYTES, Kind, frame, unframe};
use super::pack::{pack, row_stride_bytes, unpack};
use crate::learn::{ClassName, LabelSet, Origin};
use crate::units::Moment;
use crate::{Error, ErrorKind, Result};

/// Records start at multiples of this, and so do latents inside them.
pub const ALIGN_BYTES: usize = 16;
const PREFIX_LEN_BYTES: usize = FRAME_LEN_BYTES + 16;

/// One row to be learned.
#[derive(Debug, Clone)]
pub struct NewRow<'a> {
    /// The latent \[D\].
    pub latent: &'a [i8],
    /// What it is.
    pub labels: &'a LabelSet,
    /// See [`RowMeta::time_delta_ns`].
    pub time_delta_ns: i64,
    /// First sample of the window in its recording, at the backbone's rate.
    pub start_sample: u64,
    /// See [`RowFlags`].
    pub flags: RowFlags,
}

/// Bits that say how a row may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowFlags(pub u8);

impl RowFlags {
    /// Kept out of training by its id, to judge a trained head.
    pub const HELD_OUT: RowFlags = RowFlags(1);
    /// The label covers a span of windows, of which this may be the wrong one.
    pub const WEAK: RowFlags = RowFlags(2);
}

/// What is known of the rows of one record together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Who learned them.
    pub origin: Origin,
    /// Who gave the labels ("teach", a person's name).
    pub by: String,
    /// When the labels were given.
    pub time: Moment,
    /// First eight bytes of the SHA-256 of the graph that embedded them, big-endian; 0 when unknown.
    pub graph: u64,
    /// Digest of the recording, 0 when live.
    pub source: u64,
    /// True when this record ends its recording.
    pub source_complete: bool,
}

/// Stored beside each latent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowMeta {
    /// Number of the row within its origin; it only grows.
    pub id: u64,
    /// Indices of its positive classes in the record's names.
    positive: Vec<u16>,
    /// Indices of its negative classes.
    negative: Vec<u16>,
    /// Time of the window relative to the batch's time.
    pub time_delta_ns: i64,
    /// First sample of the window in its recording.
    pub start_sample: u64,
    /// How it may be used.
    pub flags: RowFlags,
}

#[derive(Serialize, Deserialize)]
struct LearnMeta {
    batch: Batch,
    dim: u32,
    bits: u8,
    names: Vec<ClassName>,
    rows: Vec<RowMeta>,
}

/// Place of a record in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The adapter's generation after this record.
    pub generation: u64,
    /// Checksum of the record before it.
    pub chain: u64,
}

/// Labelled rows as read back.
#[derive(Debug, Clone)]
pub struct Learned {
    /// What is known of them together.
    pub batch: Batch,
    /// One entry a row.
    pub rows: Vec<(RowMeta, LabelSet)>,
    /// Latents, row-major \[rows, D\].
    pub latents: Vec<i8>,
}

/// Encodes a Learn record; `first_id` is the id of the first row.
///
/// # Errors
/// `Limit` when it cannot be encoded.
pub fn encode_learn(link: Link, batch: &Batch, first_id: u64, rows: &[NewRow<'_>], dim: usize, bits: u8) -> Result<Vec<u8>> {
    let mut names: Vec<ClassName> = rows.iter().flat_map(|r| r.labels.positive().iter().chain(r.labels.negative())).cloned().collect();
    names.sort();
    names.dedup();
    let too_many = || Error::new(ErrorKind::Limit, "a record holds at most 65535 classes");
    let index = |c: &ClassName| names.binary_search(c).ok().and_then(|i| u16::try_from(i).ok()).ok_or_else(too_many);
    let metas = rows.iter().zip(first_id..).map(|(r, id)| {
        Ok(RowMeta {
            id,
            positive: r.labels.positive().iter().map(index).collect::<Result<_>>()?,
            negative: r.labels.negative().iter().map(index).collect::<Result<_>>()?,
            time_delta_ns: r.time_delta_ns,
            start_sample: r.start_sample,
            flags: r.flags,
        })
    });
    let meta = LearnMeta { batch: batch.clone(), dim: dim as u32, bits, rows: metas.collect::<Result<_>>()?, names };
    let meta = postcard::to_stdvec(&meta).map_err(|e| Error::new(ErrorKind::Limit, "a record cannot be encoded").because(e))?;
    let mut payload = Vec::with_capacity(meta.len() + 32 + rows.len() * row_stride_bytes(dim, bits));
    payload.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    payload.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    payload.extend_from_slice(&meta);
    payload.resize((PREFIX_LEN_BYTES + payload.len()).next_multiple_of(ALIGN_BYTES) - PREFIX_LEN_BYTES, 0);
    rows.iter().for_each(|r| pack(r.latent, bits, &mut payload));
    encode(Kind::Learn, link, &payload)
}

/// Encodes a record of any kind.
///
/// # Errors
/// `Limit` when it is too long.
pub fn encode(kind: Kind, link: Link, payload: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::with_capacity(16 + payload.len());
    body.extend_from_slice(&link.generation.to_le_bytes());
    body.extend_from_slice(&link.chain.to_le_bytes());
    body.extend_from_slice(payload);
    let mut record = frame(kind, &body)?;
    record.resize(record.len().next_multiple_of(ALIGN_BYTES), 0);
    Ok(record)
}

/// A record as found in a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its place.
    pub link: Link,
    /// Its own checksum: the chain of the next.
    pub check: u64,
    /// The payload, from byte 40 of the record.
    pub payload: &'a [u8],
    /// Bytes to the next record.
    pub len_bytes: usize,
}

impl Found<'_> {
    /// The place of the record after it.
    pub fn following(&self) -> Link {
        Link { generation: self.link.generation.wrapping_add(1), chain: self.check }
    }
}

/// Reads the record at the start of `bytes`.
///
/// # Errors
/// `Corrupt` when none that is whole starts here; `Mismatch` when a newer version wrote it.
pub fn decode(bytes: &[u8]) -> Result<Found<'_>> {
    let (kind, body) = unframe(bytes)?;
    let short = || Error::new(ErrorKind::Corrupt, "a journal record is too short");
    let (head, payload) = body.split_at_checked(16).ok_or_else(short)?;
    let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap_or_default());
    let len_bytes = (FRAME_LEN_BYTES + body.len()).next_multiple_of(ALIGN_BYTES);
    let link = Link { generation: word(&head[..8]), chain: word(&head[8..]) };
    Ok(Found { kind, link, check: word(&bytes[16..24]), payload, len_bytes })
}

/// Reads the rows of a Learn record's payload for latents of `dim` and `bits`.
///
/// # Errors
/// `Corrupt` when the payload is not what [`encode_learn`] writes.
pub fn decode_learn(payload: &[u8], dim: usize, bits: u8) -> Result<Learned> {
    let bad = |what: &str| Error::new(ErrorKind::Corrupt, format!("a learn record is damaged: {what}"));
    let (lens, rest) = payload.split_at_checked(8).ok_or_else(|| bad("too short"))?;
    let meta_len = u32::from_le_bytes([lens[0], lens[1], lens[2], lens[3]]) as usize;
    let count = u32::from_le_bytes([lens[4], lens[5], lens[6], lens[7]]) as usize;
    let stored = rest.get(..meta_len).ok_or_else(|| bad("meta past the end"))?;
    let meta: LearnMeta = postcard::from_bytes(stored).map_err(|e| bad("meta").because(e))?;
    if postcard::to_stdvec(&meta).map_err(|e| bad("meta").because(e))? != stored {
        return Err(bad("meta in another form"));
    }
    if (meta.dim as usize, meta.bits, meta.rows.len()) != (dim, bits, count) {
        return Err(bad("shape")
            .expected(format!("{count} rows of D={dim}, {bits} bits"))
            .found(format!("D={}, {} bits", meta.dim, meta.bits)));
    }
    let start = (PREFIX_LEN_BYTES + 8 + meta_len).next_multiple_of(ALIGN_BYTES) - PREFIX_LEN_BYTES;
    let stride = row_stride_bytes(dim, bits);
    let packed = payload.get(start..).filter(|p| count.checked_mul(stride) == Some(p.len())).ok_or_else(|| bad("length of the latents"))?;
    if payload[8 + meta_len..start].iter().any(|b| *b != 0) {
        return Err(bad("padding"));
    }
    let mut latents = vec![0i8; count * dim];
    for (row, packed) in latents.chunks_exact_mut(dim.max(1)).zip(packed.chunks_exact(stride)) {
        unpack(packed, bits, row)?;
        let mut again = Vec::with_capacity(stride);
        pack(row, bits, &mut again);
        if again != packed {
            return Err(bad("padding of a latent"));
        }
    }
    // Each name is there once, in order, because a row has it; and so are the names of a row.
    let used: std::collections::BTreeSet<u16> = meta.rows.iter().flat_map(|r| r.positive.iter().chain(&r.negative)).copied().collect();
    let ascending = |list: &[u16]| list.is_sorted_by(|a, b| a < b);
    if !meta.names.is_sorted_by(|a, b| a < b)
        || used.len() != meta.names.len()
        || !meta.rows.iter().all(|r| ascending(&r.positive) && ascending(&r.negative))
    {
        return Err(bad("order of the names"));
    }
    let name = |i: &u16| meta.names.get(usize::from(*i)).cloned().ok_or_else(|| bad("class index"));
    let labels = |r: &RowMeta| {
        LabelSet::new(r.positive.iter().map(name).collect::<Result<_>>()?, r.negative.iter().map(name).collect::<Result<_>>()?)
            .map_err(|e| bad("labels").because(e))
    };
    let rows = meta.rows.into_iter().map(|r| labels(&r).map(|l| (r, l))).collect::<Result<_>>()?;
    Ok(Learned { batch: meta.batch, rows, latents })
}
