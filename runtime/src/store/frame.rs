//! Frames: the little-endian header around every body in every file and message, so that each says what it is and
//! carries its own checksum.
//!
//! ```text
//! 0  magic    "WHTR"
//! 4  version  u16
//! 6  kind     u16
//! 8  length   u32   bytes of the body
//! 12 flags    u32   see FLAG_SETTLED; otherwise 0
//! 16 check    u64   CRC-64/NVME of bytes 0..16 and the body
//! 24 body
//! ```

use crc::{CRC_64_NVME, Crc, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// Bytes before the body.
pub const FRAME_LEN_BYTES: usize = 24;
/// Frame format written by this version.
pub const FRAME_VERSION: u16 = 1;
/// Of a journal record: everything before it was durable when it was written.
pub const FLAG_SETTLED: u32 = 1;
/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"WHTR";
static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_NVME);

/// What a frame's body holds. Numbers are never used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// The adapter's header: what was fixed at its creation.
    Header = 1,
    /// A root of the state file: one committed state.
    Root = 2,
    /// The start of a chunk: its place in the order.
    ChunkOpen = 3,
    /// The end of a sealed chunk.
    ChunkSeal = 4,
    /// Journal: labelled rows.
    Learn = 16,
    /// Journal: rows taken back.
    Undo = 17,
    /// Journal: a row's labels replaced.
    Relabel = 18,
    /// Journal: rows that left replay.
    Tombstone = 19,
    /// Journal: a class forgotten.
    Forget = 20,
    /// Journal: a head accepted or refused.
    Verdict = 21,
    /// Journal: the device goes on as a new incarnation.
    Incarnation = 22,
    /// Journal: a part too large for a record was committed with a root; replay needs a root that has it.
    State = 23,
    /// Journal: rows kept in replay that are counted already.
    Carry = 24,
    /// A block in canonical form, inside a bundle or a message.
    Block = 32,
    /// A signature over the digest of what it follows, in a bundle.
    Signature = 33,
}

impl Kind {
    /// True for the kinds that stand in the journal.
    fn is_record(self) -> bool {
        (16..32).contains(&(self as u16))
    }

    fn of(number: u16) -> Option<Kind> {
        use Kind::*;
        [Header, Root, ChunkOpen, ChunkSeal, Learn, Undo, Relabel, Tombstone, Forget, Verdict, Incarnation, State, Carry, Block, Signature]
            .into_iter()
            .find(|k| *k as u16 == number)
    }
}

/// CRC-64/NVME over several pieces as if they were one.
pub fn crc64(pieces: &[&[u8]]) -> u64 {
    let mut digest = CRC64.digest();
    pieces.iter().for_each(|p| digest.update(p));
    digest.finalize()
}

/// Puts a frame around `body`.
///
/// # Errors
/// `Limit` when the body is 4 GiB or longer.
pub fn frame(kind: Kind, body: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(body.len()).map_err(|_| Error::new(ErrorKind::Limit, "a frame holds less than 4 GiB").found(body.len()))?;
    let mut out = Vec::with_capacity(FRAME_LEN_BYTES + body.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&FRAME_VERSION.to_le_bytes());
    out.extend_from_slice(&(kind as u16).to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    let check = crc64(&[&out, body]);
    out.extend_from_slice(&check.to_le_bytes());
    out.extend_from_slice(body);
    Ok(out)
}

/// Sets the flags of a frame that was made by [`frame`], and its checksum with them.
pub fn set_flags(framed: &mut [u8], flags: u32) {
    let end = FRAME_LEN_BYTES + body_len_bytes(framed) as usize;
    framed[12..16].copy_from_slice(&flags.to_le_bytes());
    let check = crc64(&[&framed[..16], &framed[FRAME_LEN_BYTES..end]]);
    framed[16..FRAME_LEN_BYTES].copy_from_slice(&check.to_le_bytes());
}

/// Puts a frame around the postcard form of `value`.
///
/// # Errors
/// As [`frame`].
pub fn frame_postcard(kind: Kind, value: &impl Serialize) -> Result<Vec<u8>> {
    let body = postcard::to_stdvec(value).map_err(|e| Error::new(ErrorKind::Limit, "a value cannot be encoded").because(e))?;
    frame(kind, &body)
}

/// Length of the body of the frame that begins like `head`, which is not checked; 0 when none does.
pub fn body_len_bytes(head: &[u8]) -> u32 {
    let length = head.get(8..12).filter(|_| head[..4] == MAGIC);
    length.map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap_or_default()))
}

/// Checks the frame at the start of `bytes`; returns its kind and body.
///
/// # Errors
/// `Corrupt` when magic, length or checksum are wrong; `Mismatch` when a newer version wrote it.
pub fn unframe(bytes: &[u8]) -> Result<(Kind, &[u8])> {
    let corrupt = |what: &str| Error::new(ErrorKind::Corrupt, format!("a stored frame is damaged: {what}"));
    let word = |at: usize| -> [u8; 4] { bytes[at..at + 4].try_into().unwrap_or_default() };
    if bytes.len() < FRAME_LEN_BYTES {
        return Err(corrupt("too short"));
    }
    if bytes[..4] != MAGIC {
        return Err(corrupt("no magic"));
    }
    let version = u16::from_le_bytes([bytes[4], bytes[5]]);
    let number = u16::from_le_bytes([bytes[6], bytes[7]]);
    let end = FRAME_LEN_BYTES.checked_add(u32::from_le_bytes(word(8)) as usize).filter(|end| *end <= bytes.len());
    let body = &bytes[FRAME_LEN_BYTES..end.ok_or_else(|| corrupt("length past the end"))?];
    let mut check = [0u8; 8];
    check.copy_from_slice(&bytes[16..24]);
    if crc64(&[&bytes[..16], body]) != u64::from_le_bytes(check) {
        return Err(corrupt("checksum"));
    }
    let newer = |found: String| Error::new(ErrorKind::Mismatch, "a newer version wrote this").found(found).cure("update wheatear");
    if version != FRAME_VERSION {
        return Err(newer(format!("frame version {version}")));
    }
    let kind = Kind::of(number).ok_or_else(|| newer(format!("frame kind {number}")))?;
    let (flags, known) = (u32::from_le_bytes(word(12)), if kind.is_record() { FLAG_SETTLED } else { 0 });
    if flags & !known != 0 {
        return Err(newer(format!("frame flags {flags:#x}")));
    }
    Ok((kind, body))
}

/// Checks the frame, its kind, and decodes its postcard body.
///
/// # Errors
/// As [`unframe`], and `Corrupt` when the body is not the value of that kind.
pub fn unframe_postcard<T: DeserializeOwned>(bytes: &[u8], kind: Kind) -> Result<T> {
    let (found, body) = unframe(bytes)?;
    if found != kind {
        return Err(Error::new(ErrorKind::Corrupt, "a stored frame is of another kind")
            .expected(format!("{kind:?}"))
            .found(format!("{found:?}")));
    }
    let (value, rest) = postcard::take_from_bytes(body)
        .map_err(|e| Error::new(ErrorKind::Corrupt, "a stored frame cannot be decoded").at(format!("{kind:?}")).because(e))?;
    if !rest.is_empty() {
        return Err(Error::new(ErrorKind::Corrupt, "a stored frame has bytes left over").at(format!("{kind:?}")).found(rest.len()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let whole = frame(Kind::Undo, b"a body of some length").unwrap();
        assert_eq!(unframe(&whole).unwrap(), (Kind::Undo, &b"a body of some length"[..]));
        for bit in 0..whole.len() * 8 {
            let mut bad = whole.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unframe(&bad).is_err(), "bit {bit}");
        }
        for n in 0..whole.len() {
            assert!(unframe(&whole[..n]).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn the_checksum_is_crc_64_nvme() {
        // Check value of the catalogue of parametrised CRC algorithms for "123456789".
        assert_eq!(crc64(&[b"12345", b"6789"]), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn a_newer_version_is_named_as_such() {
        let mut newer = frame(Kind::Root, b"x").unwrap();
        newer[4] = 2;
        set_flags(&mut newer, 0);
        assert_eq!(unframe(&newer).unwrap_err().kind(), ErrorKind::Mismatch);
    }

    #[test]
    fn a_flag_that_is_not_known_is_a_newer_version_too() {
        for (kind, flags, good) in [(Kind::Learn, FLAG_SETTLED, true), (Kind::Learn, 2, false), (Kind::Root, FLAG_SETTLED, false)] {
            let mut flagged = frame(kind, b"x").unwrap();
            set_flags(&mut flagged, flags);
            let read = unframe(&flagged).map(|(kind, _)| kind).map_err(|e| e.kind());
            assert_eq!(read, if good { Ok(kind) } else { Err(ErrorKind::Mismatch) }, "{kind:?} {flags}");
        }
    }
}
