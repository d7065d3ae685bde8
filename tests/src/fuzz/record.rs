//! Journal records of labelled rows: any rows come back as they were, and any payload gives rows that come back from what is
//! written for them.

use wheatear::store::NewRow;
use wheatear::store::frame::{FRAME_LEN_BYTES, Kind, unframe};
use wheatear::store::header::STORE_FORMAT;
use wheatear::store::pack::row_stride_bytes;
use wheatear::store::record::{ALIGN_BYTES, Draft, Learned, Link, decode, decode_rows, encode, encode_rows};

use super::lives::{OWN, batch};
use super::rows::{draft, rows, some};

/// Bytes of a record before its payload: the frame's header, its generation and the checksum of the record before.
const PAYLOAD_AT: usize = FRAME_LEN_BYTES + 16;
/// More rows than this many bytes hold find nothing more.
const ROWS_LEN_MAX_BYTES: usize = 256;
const LINK: Link = Link { generation: 5, chain: 0x1234_5678_9abc_def0 };

/// Takes `data` as a dimension, bits and what to do with the rest: a record, a payload, the meta of a payload, or rows.
pub fn run(data: &[u8]) {
    let Some((&[dim, form, count], rest)) = data.split_first_chunk() else { return };
    let (dim, bits) = (1 + usize::from(dim) % 40, 4 + form % 5);
    match form / 5 % 4 {
        0 => drop(decode(rest).map(|found| decode_rows(found.payload, dim, bits, STORE_FORMAT).map(|l| check(&l, dim, bits)))),
        1 => payload(rest, dim, bits),
        2 => payload(&around(rest, usize::from(count), dim, bits), dim, bits),
        _ => round(&rest[..rest.len().min(ROWS_LEN_MAX_BYTES)], dim, bits),
    }
}

/// The payload with this meta and latents of zeros.
fn around(meta: &[u8], count: usize, dim: usize, bits: u8) -> Vec<u8> {
    let mut payload = [&(meta.len() as u32).to_le_bytes()[..], &(count as u32).to_le_bytes(), meta].concat();
    payload.resize((PAYLOAD_AT + payload.len()).next_multiple_of(ALIGN_BYTES) - PAYLOAD_AT, 0);
    payload.resize(payload.len() + count * row_stride_bytes(dim, bits), 0);
    payload
}

fn payload(payload: &[u8], dim: usize, bits: u8) {
    let record = encode(Kind::Learn, LINK, payload).expect("a short payload");
    // It may say that it has more rows than it has room for.
    let Ok(found) = decode(&record) else {
        return assert!(decode_rows(payload, dim, bits, STORE_FORMAT).is_err(), "a record without its rows");
    };
    assert_eq!((found.kind, found.link, found.payload, found.len_bytes), (Kind::Learn, LINK, payload, record.len()));
    assert_eq!((found.following().generation, found.following().chain), (LINK.generation + 1, found.check));
    if let Ok(learned) = decode_rows(payload, dim, bits, STORE_FORMAT) {
        check(&learned, dim, bits);
        let written = written(&learned, dim, bits);
        assert_eq!(decode(&written).expect("a record just made").payload, payload, "another payload gives the same rows");
    }
}

fn written(learned: &Learned, dim: usize, bits: u8) -> Vec<u8> {
    let rows = learned.rows.iter().zip(learned.latents.chunks_exact(dim)).map(|((meta, labels), latent)| {
        let (time_delta_ns, start_sample, flags) = (meta.time_delta_ns, meta.start_sample, meta.flags);
        (meta.id, NewRow { latent, labels, time_delta_ns, start_sample, flags })
    });
    let (before, left) = (learned.before.clone(), learned.left.clone());
    let draft = Draft { kind: Kind::Learn, batch: learned.batch.clone(), rows: rows.collect(), before, left };
    encode_rows(LINK, &draft, dim, bits).expect("as long as it was")
}

/// Rows that were read are read again from what is written for them.
fn check(learned: &Learned, dim: usize, bits: u8) {
    assert_eq!(learned.latents.len(), learned.rows.len() * dim);
    let record = written(learned, dim, bits);
    let again = decode_rows(decode(&record).expect("a record just made").payload, dim, bits, STORE_FORMAT).expect("a record just made");
    assert_eq!((&again.batch, &again.latents), (&learned.batch, &learned.latents));
    assert!(again.rows.iter().map(|(_, l)| l).eq(learned.rows.iter().map(|(_, l)| l)), "labels");
    assert_eq!(written(&again, dim, bits), record);
}

fn round(bytes: &[u8], dim: usize, bits: u8) {
    let rows = rows(bytes, dim, bits);
    let batch = batch(OWN, 77, "teach");
    let record = encode_rows(LINK, &draft(&batch, 9, &rows), dim, bits).expect("short enough");
    assert!(record.len().is_multiple_of(ALIGN_BYTES));
    let learned = decode_rows(decode(&record).expect("a record just made").payload, dim, bits, STORE_FORMAT).expect("a record just made");
    assert_eq!((&learned.batch, learned.rows.len()), (&batch, rows.len()));
    for (i, ((meta, labels), latent)) in learned.rows.iter().zip(learned.latents.chunks_exact(dim)).enumerate() {
        let row = &rows[i];
        assert_eq!((meta.id, labels, latent), (9 + i as u64, &row.labels, &row.latent[..]));
        assert_eq!((meta.time_delta_ns, meta.start_sample, meta.flags), (row.time_delta_ns, row.start_sample, row.flags));
    }
    assert_eq!(written(&learned, dim, bits), record);
}

/// Rows, records, payloads and metas of a few dimensions and bits.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (dim, bits, count) in [(1, 4, 2), (4, 8, 0), (6, 7, 3), (33, 5, 1)] {
        let bytes = some(count, dim);
        let record = encode_rows(LINK, &draft(&batch(OWN, 77, "teach"), 9, &rows(&bytes, dim, bits)), dim, bits).expect("short enough");
        let payload = unframe(&record).expect("a record just made").1[PAYLOAD_AT - FRAME_LEN_BYTES..].to_vec();
        let meta_len = u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]) as usize;
        let meta = payload[8..8 + meta_len].to_vec();
        // The incarnation, behind the 16 bytes of the device, in two bytes where one is enough.
        let long = [&meta[..16], &[meta[16] | 0x80, 0], &meta[17..]].concat();
        for (form, name, rest) in [(0, "record", record), (1, "payload", payload), (2, "meta", meta), (2, "long", long), (3, "rows", bytes)]
        {
            let start = [dim as u8 - 1, form * 5 + bits - 4, count as u8];
            seeds.push((format!("{name}-{count}-of-{dim}-by-{bits}"), [&start[..], &rest].concat()));
        }
    }
    seeds
}
