//! Journal records: one a commit. Each names its generation and the checksum of the record before it, so that a stale
//! record left behind by an earlier life of the same bytes can never follow a new one. Records of rows hold all that they
//! need, the latents included, so that replaying them reads nothing else. A record says whether all before it was durable
//! when it was written: a power cut cannot take what lies before such a one.
//!
//! ```text
//! frame (24) | generation u64 | chain u64 | payload | zeros to a multiple of 16
//! payload of rows: meta length u32 | rows u32 | meta (postcard) | zeros to a multiple of 16 from the record's start |
//!                  packed latents, one stride a row
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::frame::{FLAG_SETTLED, FRAME_LEN_BYTES, Kind, frame, unframe};
use super::pack::{pack, row_stride_bytes, unpack};
use crate::learn::{ClassName, LabelSet, Origin};
use crate::units::Moment;
use crate::{Error, ErrorKind, Result};

/// Records start at multiples of this, and so do latents inside them.
pub const ALIGN_BYTES: usize = 16;
const PREFIX_LEN_BYTES: usize = FRAME_LEN_BYTES + 16;
/// No adapter lives to count this far: what is larger was forged, and would overflow.
pub(super) const COUNT_MAX: u64 = u64::MAX >> 2;

/// Where a row lies: chunk, and which of its rows, counted from 0 over all its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Sequence of the chunk.
    pub sequence: u64,
    /// Number of the row in it.
    pub index: u32,
}

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

/// Who gave a label that nobody gave: windows that no one named, learned as background. Undo passes them over.
pub const ORDINARY: &str = "ordinary sound";

/// What is known of the rows of one record together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
struct RowsMeta {
    batch: Batch,
    dim: u32,
    bits: u8,
    names: Vec<ClassName>,
    rows: Vec<RowMeta>,
}

/// What follows [`RowsMeta`] since format 2.
#[derive(Default, Serialize, Deserialize)]
struct RowsTail {
    before: Vec<(Vec<u16>, Vec<u16>)>,
    left: Vec<Place>,
}

/// Place of a record in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The adapter's generation after this record.
    pub generation: u64,
    /// Checksum of the record before it.
    pub chain: u64,
}

/// A record of rows to be written.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// [`Kind::Learn`], [`Kind::Undo`], [`Kind::Relabel`] or [`Kind::Carry`].
    pub kind: Kind,
    /// What is known of the rows together.
    pub batch: Batch,
    /// Ids and rows.
    pub rows: Vec<(u64, NewRow<'a>)>,
    /// Of a relabel: the labels that the rows had, one a row.
    pub before: Vec<LabelSet>,
    /// Rows that leave replay with this commit; those first, in their order, that its own take the place of.
    pub left: Vec<Place>,
}

impl Link {
    /// Place of an adapter's first record.
    pub const FIRST: Link = Link { generation: 1, chain: 0 };
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
    /// Of a relabel: the labels that the rows had, one a row.
    pub before: Vec<LabelSet>,
    /// Rows that leave replay with this commit.
    pub left: Vec<Place>,
    /// Where the first packed latent begins, from the start of the record.
    pub latents_at: usize,
}

impl Learned {
    /// Rows with their ids, as they would be read back.
    pub fn new(batch: Batch, rows: &[(u64, NewRow<'_>)]) -> Learned {
        let meta = |(id, r): &(u64, NewRow<'_>)| {
            let (time_delta_ns, start_sample, flags) = (r.time_delta_ns, r.start_sample, r.flags);
            (RowMeta { id: *id, positive: Vec::new(), negative: Vec::new(), time_delta_ns, start_sample, flags }, r.labels.clone())
        };
        let latents = rows.iter().flat_map(|(_, r)| r.latent).copied().collect();
        Learned { batch, rows: rows.iter().map(meta).collect(), latents, before: Vec::new(), left: Vec::new(), latents_at: 0 }
    }

    /// Leaves out the rows for which `keep`, of one value a row, is false.
    pub(super) fn retain(&mut self, keep: &[bool], dim: usize) {
        fn kept<T>(values: &mut Vec<T>, keep: &[bool], each: usize) {
            let mut i = 0;
            values.retain(|_| {
                i += 1;
                keep.get((i - 1) / each).copied().unwrap_or(false)
            });
        }
        kept(&mut self.rows, keep, 1);
        kept(&mut self.before, keep, 1);
        kept(&mut self.latents, keep, dim.max(1));
    }

    /// Its rows as they would be written again.
    pub(super) fn new_rows(&self, dim: usize) -> Vec<(u64, NewRow<'_>)> {
        (0..self.rows.len()).map(|i| self.new_row(i, dim)).collect()
    }

    /// Row `i`, of `dim` components, as it would be written again.
    pub(super) fn new_row(&self, i: usize, dim: usize) -> (u64, NewRow<'_>) {
        let (meta, labels) = &self.rows[i];
        let (time_delta_ns, start_sample, flags) = (meta.time_delta_ns, meta.start_sample, meta.flags);
        (meta.id, NewRow { latent: &self.latents[i * dim..(i + 1) * dim], labels, time_delta_ns, start_sample, flags })
    }

    /// Bytes that a record of each of its rows alone would take: what keeping the row can cost at most.
    pub fn alone_len_bytes(&self, stride: usize) -> Result<Vec<u32>> {
        let fixed = PREFIX_LEN_BYTES + 8 + ALIGN_BYTES + 24 + encoded_len_bytes(&self.batch)?;
        let labels = |l: &LabelSet| l.positive().iter().chain(l.negative()).map(|n| n.as_str().len() + 2).sum::<usize>();
        self.rows.iter().map(|(meta, l)| Ok((fixed + labels(l) + encoded_len_bytes(meta)? + stride) as u32)).collect()
    }
}

fn encoded_len_bytes(value: &impl Serialize) -> Result<usize> {
    let size = postcard::serialize_with_flavor(value, postcard::ser_flavors::Size::default());
    size.map_err(|e| Error::new(ErrorKind::Limit, "a record cannot be encoded").because(e))
}

/// Encodes a record of rows.
///
/// # Errors
/// `Limit` when it cannot be encoded.
pub fn encode_rows(link: Link, draft: &Draft<'_>, dim: usize, bits: u8) -> Result<Vec<u8>> {
    let sets = || draft.rows.iter().map(|(_, r)| r.labels).chain(&draft.before);
    let mut names: Vec<ClassName> = sets().flat_map(|l| l.positive().iter().chain(l.negative())).cloned().collect();
    names.sort();
    names.dedup();
    let too_many = || Error::new(ErrorKind::Limit, "a record holds at most 65535 classes");
    let index = |c: &ClassName| names.binary_search(c).ok().and_then(|i| u16::try_from(i).ok()).ok_or_else(too_many);
    let indices = |l: &LabelSet| -> Result<(Vec<u16>, Vec<u16>)> {
        Ok((l.positive().iter().map(index).collect::<Result<_>>()?, l.negative().iter().map(index).collect::<Result<_>>()?))
    };
    let metas = draft.rows.iter().map(|(id, r)| {
        let (positive, negative) = indices(r.labels)?;
        Ok(RowMeta { id: *id, positive, negative, time_delta_ns: r.time_delta_ns, start_sample: r.start_sample, flags: r.flags })
    });
    let rows = metas.collect::<Result<_>>()?;
    let tail = RowsTail { before: draft.before.iter().map(indices).collect::<Result<_>>()?, left: draft.left.clone() };
    let meta = (RowsMeta { batch: draft.batch.clone(), dim: dim as u32, bits, rows, names }, tail);
    let meta = postcard::to_stdvec(&meta).map_err(|e| Error::new(ErrorKind::Limit, "a record cannot be encoded").because(e))?;
    let mut payload = Vec::with_capacity(meta.len() + 32 + draft.rows.len() * row_stride_bytes(dim, bits));
    payload.extend_from_slice(&(meta.len() as u32).to_le_bytes());
    payload.extend_from_slice(&(draft.rows.len() as u32).to_le_bytes());
    payload.extend_from_slice(&meta);
    payload.resize((PREFIX_LEN_BYTES + payload.len()).next_multiple_of(ALIGN_BYTES) - PREFIX_LEN_BYTES, 0);
    draft.rows.iter().for_each(|(_, r)| pack(r.latent, bits, &mut payload));
    encode(draft.kind, link, &payload)
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
    /// All before it was durable when it was written, so that what is missing there is damage and not a torn write.
    pub settled: bool,
}

impl Found<'_> {
    /// The place of the record after it.
    pub fn following(&self) -> Link {
        Link { generation: self.link.generation + 1, chain: self.check }
    }

    /// Rows that it adds to its chunk.
    pub fn rows(&self) -> usize {
        rows_of(self.kind, self.payload) as usize
    }
}

/// Reads the record at the start of `bytes`.
///
/// # Errors
/// `Corrupt` when none that is whole and possible starts here; `Mismatch` when a newer version wrote it.
pub fn decode(bytes: &[u8]) -> Result<Found<'_>> {
    let (kind, body) = unframe(bytes)?;
    let bad = |what: &str| Error::new(ErrorKind::Corrupt, format!("a journal record is damaged: {what}"));
    let (head, payload) = body.split_at_checked(16).ok_or_else(|| bad("too short"))?;
    let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap_or_default());
    let len_bytes = (FRAME_LEN_BYTES + body.len()).next_multiple_of(ALIGN_BYTES);
    let link = Link { generation: word(&head[..8]), chain: word(&head[8..]) };
    if !(1..=COUNT_MAX).contains(&link.generation) {
        return Err(bad("generation").found(link.generation));
    }
    // No row takes less than the smallest stride.
    if rows_of(kind, payload) as usize > payload.len() / ALIGN_BYTES {
        return Err(bad("more rows than bytes"));
    }
    let settled = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) & FLAG_SETTLED != 0;
    Ok(Found { kind, link, check: word(&bytes[16..24]), payload, len_bytes, settled })
}

/// Rows that the payload of a record says it adds to its chunk.
fn rows_of(kind: Kind, payload: &[u8]) -> u32 {
    let count = payload.get(4..8).filter(|_| matches!(kind, Kind::Learn | Kind::Relabel | Kind::Carry));
    count.map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap_or_default()))
}

/// Reads the payload of a record of rows, of latents of `dim` and `bits`, as `format` has it.
///
/// # Errors
/// `Corrupt` when the payload is not what [`encode_rows`] writes.
pub fn decode_rows(payload: &[u8], dim: usize, bits: u8, format: u32) -> Result<Learned> {
    let (mut learned, packed) = decode_labels(payload, dim, bits, format)?;
    let stride = row_stride_bytes(dim, bits);
    learned.latents = vec![0i8; learned.rows.len() * dim];
    for (row, packed) in learned.latents.chunks_exact_mut(dim.max(1)).zip(packed.chunks_exact(stride)) {
        unpack(packed, bits, row)?;
    }
    Ok(learned)
}

/// As [`decode_rows`], with the latents left packed: they are returned beside an empty [`Learned::latents`].
///
/// # Errors
/// As [`decode_rows`], save for components out of range.
pub fn decode_labels(payload: &[u8], dim: usize, bits: u8, format: u32) -> Result<(Learned, &[u8])> {
    let bad = |what: &str| Error::new(ErrorKind::Corrupt, format!("a record of rows is damaged: {what}"));
    let (lens, rest) = payload.split_at_checked(8).ok_or_else(|| bad("too short"))?;
    let meta_len = u32::from_le_bytes([lens[0], lens[1], lens[2], lens[3]]) as usize;
    let count = u32::from_le_bytes([lens[4], lens[5], lens[6], lens[7]]) as usize;
    let stored = rest.get(..meta_len).ok_or_else(|| bad("meta past the end"))?;
    let (meta, after): (RowsMeta, &[u8]) = postcard::take_from_bytes(stored).map_err(|e| bad("meta").because(e))?;
    let (tail, after): (RowsTail, &[u8]) = match format {
        1 => (RowsTail::default(), after),
        _ => postcard::take_from_bytes(after).map_err(|e| bad("meta").because(e))?,
    };
    // A number has longer forms too, which nobody writes.
    let shortest = encoded_len_bytes(&meta)? + if format == 1 { 0 } else { encoded_len_bytes(&tail)? };
    if !after.is_empty() || shortest != meta_len {
        return Err(bad("meta is longer than what it says").expected(shortest).found(meta_len));
    }
    if meta.rows.iter().any(|row| row.id > COUNT_MAX) {
        return Err(bad("row id"));
    }
    if (meta.dim as usize, meta.bits, meta.rows.len()) != (dim, bits, count) || !(tail.before.is_empty() || tail.before.len() == count) {
        return Err(bad("shape")
            .expected(format!("{count} rows of D={dim}, {bits} bits"))
            .found(format!("D={}, {} bits", meta.dim, meta.bits)));
    }
    let latents_at = (PREFIX_LEN_BYTES + 8 + meta_len).next_multiple_of(ALIGN_BYTES);
    let packed = payload.get(latents_at - PREFIX_LEN_BYTES..).ok_or_else(|| bad("latents past the end"))?;
    if count.checked_mul(row_stride_bytes(dim, bits)) != Some(packed.len()) {
        return Err(bad("length of the latents").found(packed.len()));
    }
    if rest[meta_len..latents_at - PREFIX_LEN_BYTES - 8].iter().any(|b| *b != 0) {
        return Err(bad("padding"));
    }
    // Each name is there once, in order, because a row has it or had it; and so are the names of a row.
    let sets = || meta.rows.iter().map(|r| (&r.positive, &r.negative)).chain(tail.before.iter().map(|(p, n)| (p, n)));
    let used: BTreeSet<u16> = sets().flat_map(|(p, n)| p.iter().chain(n)).copied().collect();
    let ascending = |list: &[u16]| list.is_sorted_by(|a, b| a < b);
    let in_order = meta.names.is_sorted_by(|a, b| a < b) && sets().all(|(p, n)| ascending(p) && ascending(n));
    if !in_order || used.len() != meta.names.len() {
        return Err(bad("order of the names"));
    }
    let name = |i: &u16| meta.names.get(usize::from(*i)).cloned().ok_or_else(|| bad("class index"));
    let labels = |positive: &[u16], negative: &[u16]| {
        LabelSet::new(positive.iter().map(name).collect::<Result<_>>()?, negative.iter().map(name).collect::<Result<_>>()?)
            .map_err(|e| bad("labels").because(e))
    };
    let before = tail.before.iter().map(|(p, n)| labels(p, n)).collect::<Result<_>>()?;
    let rows = meta.rows.into_iter().map(|r| labels(&r.positive, &r.negative).map(|l| (r, l))).collect::<Result<_>>()?;
    Ok((Learned { batch: meta.batch, rows, latents: Vec::new(), before, left: tail.left, latents_at }, packed))
}
