//! The files of an adapter taken apart into what stands under a checksum of its own, and put together again with checksums
//! that are right for what was changed.

use std::collections::HashMap;

use serde_json::Value;
use wheatear::store::Header;
use wheatear::store::chunks::CHUNK_EDGE_BYTES;
use wheatear::store::frame::{FRAME_LEN_BYTES, Kind, MAGIC, crc64, frame_postcard, unframe_postcard};
use wheatear::store::header::{HEADER_LEN_BYTES, UNIT_LEN_BYTES};
use wheatear::store::record::ALIGN_BYTES;
use wheatear::store::state::Root;

use super::lives::Life;
use super::memory::{CHUNKS, Memory, STATE};

/// Where the length stands in a frame.
const LENGTH_AT: usize = 8;
/// Where the checksum stands in a frame.
const CHECK_AT: usize = 16;
/// Where the checksum of the record before stands in a record.
const CHAIN_AT: usize = FRAME_LEN_BYTES + 8;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The header's file.
    Header,
    /// A root, in a slot of the state file.
    Root,
    /// A part that a root names: no frame, its checksum stands in the root.
    Part,
    /// The first or the last bytes of a chunk.
    Edge,
    /// A record of the journal; the one behind it names its checksum.
    Record,
}

/// Bytes under a checksum.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// What it is.
    pub role: Role,
    /// The bytes; a frame's begin with its header.
    pub bytes: Vec<u8>,
    /// Its file and place there; of the header the place alone.
    file: usize,
    offset: usize,
    /// The chunk it lies in.
    chunk: usize,
    /// Bytes there are for it.
    room: usize,
}

/// Which checksums are put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seals {
    /// Of frames, with their length.
    pub frames: bool,
    /// In the records and roots that name a record's.
    pub chain: bool,
    /// Of parts, in the roots that name them.
    pub parts: bool,
}

/// Takes `life` apart; the pieces come in an order of their own, the header first.
pub fn apart(life: &Life) -> Vec<Piece> {
    let header = &life.header;
    let bytes = framed(&header.encode().expect("a good header")).expect("a good header").to_vec();
    let mut pieces = vec![Piece { role: Role::Header, bytes, file: CHUNKS, offset: 0, chunk: 0, room: usize::MAX }];
    let state = &life.files[STATE];
    let slot_len = header.slot_len_bytes as usize;
    for slot in 0..header.slots as usize {
        let Some(bytes) = framed(&state.read(slot * slot_len, slot_len)).map(<[u8]>::to_vec) else { continue };
        pieces.push(Piece { role: Role::Root, bytes, file: STATE, offset: slot * slot_len, chunk: 0, room: slot_len });
    }
    let roots: Vec<Value> = pieces.iter().filter_map(|p| root_of(&p.bytes)).collect();
    for (offset, len) in roots.iter().flat_map(parts).filter_map(|p| p.whole(header)) {
        if !pieces.iter().any(|p| p.role == Role::Part && p.offset == offset) {
            pieces.push(Piece { role: Role::Part, bytes: state.read(offset, len), file: STATE, offset, chunk: 0, room: len });
        }
    }
    (0..header.chunks as usize).for_each(|chunk| chunk_apart(&life.files[CHUNKS], header, chunk, &mut pieces));
    pieces
}

fn chunk_apart(chunks: &Memory, header: &Header, chunk: usize, pieces: &mut Vec<Piece>) {
    let (start, len) = (chunk * header.chunk_len_bytes as usize, header.chunk_len_bytes as usize);
    let bytes = chunks.read(start, len);
    let last = len - CHUNK_EDGE_BYTES;
    let mut piece = |role, from: usize, to: usize| {
        let frame = framed(&bytes[from..to])?.to_vec();
        let len = frame.len();
        pieces.push(Piece { role, bytes: frame, file: CHUNKS, offset: start + from, chunk, room: to - from });
        Some(from + len.next_multiple_of(ALIGN_BYTES))
    };
    piece(Role::Edge, 0, CHUNK_EDGE_BYTES);
    piece(Role::Edge, last, len);
    let mut at = CHUNK_EDGE_BYTES;
    while let Some(next) = piece(Role::Record, at, last) {
        at = next;
    }
}

/// The frame at the start of `bytes`, if one seems to begin there.
fn framed(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.get(LENGTH_AT..LENGTH_AT + 4).filter(|_| bytes.starts_with(&MAGIC))?;
    bytes.get(..FRAME_LEN_BYTES + u32::from_le_bytes(length.try_into().ok()?) as usize)
}

/// Puts length and checksum of a frame right; what is too short for one stays as it is.
pub fn seal(frame: &mut [u8]) {
    if frame.len() < FRAME_LEN_BYTES {
        return;
    }
    let length = (frame.len() - FRAME_LEN_BYTES) as u32;
    frame[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
    let check = crc64(&[&frame[..CHECK_AT], &frame[FRAME_LEN_BYTES..]]);
    frame[CHECK_AT..FRAME_LEN_BYTES].copy_from_slice(&check.to_le_bytes());
}

/// A part as a root names it: its fragments (first unit and number of units), its length and its checksum.
struct Named<'a> {
    value: &'a Value,
}

impl Named<'_> {
    fn fragments(&self) -> Vec<(u64, u64)> {
        serde_json::from_value(self.value["fragments"].clone()).expect("fragments of an extent")
    }

    fn len(&self) -> u64 {
        self.value["len_bytes"].as_u64().expect("length of an extent")
    }

    /// Offset and length in the state file, when it lies there in one piece.
    fn whole(&self, header: &Header) -> Option<(usize, usize)> {
        let [(unit, _)] = self.fragments()[..] else { return None };
        Some((units_at(header) + unit as usize * UNIT_LEN_BYTES as usize, self.len() as usize))
    }

    /// The checksum that it should have.
    fn check(&self, header: &Header, state: &Memory) -> Option<u64> {
        let unit_len = u64::from(UNIT_LEN_BYTES);
        let (mut rest, mut bytes) = (self.len(), Vec::new());
        for (unit, n) in self.fragments() {
            let (at, len) = ((units_at(header) as u64).checked_add(unit.checked_mul(unit_len)?)?, n.checked_mul(unit_len)?.min(rest));
            at.checked_add(len).filter(|end| *end <= state.len() as u64 && bytes.len() as u64 + len <= state.len() as u64)?;
            bytes.extend(state.read(at as usize, len as usize));
            rest -= len;
        }
        (rest == 0).then(|| crc64(&[&bytes]))
    }
}

fn units_at(header: &Header) -> usize {
    header.slots as usize * header.slot_len_bytes as usize
}

fn root_of(frame: &[u8]) -> Option<Value> {
    let root = unframe_postcard::<Root>(frame, Kind::Root).ok()?;
    serde_json::to_value(root).ok()
}

fn parts(root: &Value) -> impl Iterator<Item = Named<'_>> {
    root["extents"].as_array().expect("extents of a root").iter().map(|value| Named { value })
}

/// Writes `pieces` (`old`, which [`apart`] gave, changed) into the files of `life`, and puts the checksums right that `seals`
/// says. Returns the header's file with the others. What does not fit in its place any more is cut off there.
pub fn together(life: &Life, old: &[Piece], mut pieces: Vec<Piece>, seals: Seals) -> (Vec<u8>, [Memory; 2]) {
    let mut files = life.files.clone();
    assert_eq!(old.len(), pieces.len(), "pieces are changed, never added or taken away");
    if seals.frames {
        let framed = pieces.iter_mut().zip(old).filter(|(p, o)| p != o && p.role != Role::Part);
        framed.for_each(|(p, _)| seal(&mut p.bytes));
    }
    let mut moved = HashMap::new();
    if seals.chain {
        moved = chain(&mut pieces, old);
    }
    let changed: Vec<usize> = (0..pieces.len()).filter(|i| pieces[*i] != old[*i]).collect();
    for i in changed.iter().copied().filter(|i| !matches!(pieces[*i].role, Role::Header | Role::Root | Role::Record)) {
        put(&mut files, &pieces[i], pieces[i].offset, pieces[i].room);
    }
    for chunk in 0..life.header.chunks as usize {
        if changed.iter().any(|i| pieces[*i].role == Role::Record && pieces[*i].chunk == chunk) {
            put_records(&mut files, &life.header, pieces.iter().filter(|p| p.role == Role::Record && p.chunk == chunk));
        }
    }
    // An older root may name units that were written anew since: it stays so unless something was changed.
    let part_changed = changed.iter().any(|i| pieces[*i].role == Role::Part);
    for (i, root) in pieces.iter_mut().enumerate().filter(|(_, p)| p.role == Role::Root) {
        let seals = Seals { parts: seals.parts && (part_changed || changed.contains(&i)), ..seals };
        if let Some(bytes) = reseal(&root.bytes, &life.header, &files[STATE], &moved, seals) {
            root.bytes = bytes;
        }
        put(&mut files, root, root.offset, root.room);
    }
    let mut header = pieces[0].bytes.clone();
    header.resize(header.len().next_multiple_of(HEADER_LEN_BYTES), 0);
    (header.repeat(if life.header.format == 1 { 1 } else { 2 }), files)
}

fn put(files: &mut [Memory; 2], piece: &Piece, offset: usize, room: usize) {
    files[piece.file].write(offset, &piece.bytes[..piece.bytes.len().min(room)]);
}

/// Lays records of one chunk one behind the other.
fn put_records<'a>(files: &mut [Memory; 2], header: &Header, records: impl Iterator<Item = &'a Piece>) {
    let mut at = None;
    for record in records {
        let start = record.chunk * header.chunk_len_bytes as usize;
        let end = start + header.chunk_len_bytes as usize - CHUNK_EDGE_BYTES;
        let offset = at.unwrap_or(start + CHUNK_EDGE_BYTES).min(end);
        put(files, record, offset, end - offset);
        at = Some(offset + record.bytes.len().next_multiple_of(ALIGN_BYTES));
    }
}

/// Lets each record name the checksum that the one before it has now; returns the new checksums by the old ones.
fn chain(pieces: &mut [Piece], old: &[Piece]) -> HashMap<u64, u64> {
    let word = |bytes: &[u8], at: usize| bytes.get(at..at + 8).and_then(|w| w.try_into().ok()).map(u64::from_le_bytes);
    let mut moved = HashMap::new();
    let mut records: Vec<usize> = (0..old.len()).filter(|i| old[*i].role == Role::Record).collect();
    // In the order of their generations, as they were made.
    records.sort_by_key(|i| word(&old[*i].bytes, FRAME_LEN_BYTES));
    for i in records {
        let bytes = &mut pieces[i].bytes;
        if let Some(new) = word(bytes, CHAIN_AT).and_then(|before| moved.get(&before).copied()) {
            bytes[CHAIN_AT..CHAIN_AT + 8].copy_from_slice(&u64::to_le_bytes(new));
            seal(bytes);
        }
        if let (Some(before), Some(now)) = (word(&old[i].bytes, CHECK_AT), word(bytes, CHECK_AT)) {
            moved.extend((before != now).then_some((before, now)));
        }
    }
    moved
}

/// A root that can be read, with the checksums that it names put right.
fn reseal(frame: &[u8], header: &Header, state: &Memory, moved: &HashMap<u64, u64>, seals: Seals) -> Option<Vec<u8>> {
    let before = root_of(frame)?;
    let mut root = before.clone();
    if let Some(new) = root["chain"].as_u64().and_then(|chain| moved.get(&chain)) {
        root["chain"] = Value::from(*new);
    }
    if seals.parts {
        let checks: Vec<Option<u64>> = parts(&root).map(|p| p.check(header, state)).collect();
        for (extent, check) in root["extents"].as_array_mut()?.iter_mut().zip(checks) {
            if let Some(check) = check {
                extent["check"] = Value::from(check);
            }
        }
    }
    if root == before {
        return None;
    }
    let root: Root = serde_json::from_value(root).ok()?;
    frame_postcard(Kind::Root, &root).ok()
}

#[cfg(test)]
mod tests {
    use super::super::lives::all;
    use super::*;

    const ALL: Seals = Seals { frames: true, chain: true, parts: true };

    #[test]
    fn what_is_taken_apart_and_put_together_is_as_it_was() {
        for life in all() {
            let (header, files) = together(life, &apart(life), apart(life), ALL);
            assert_eq!(header, life.header.encode().unwrap(), "{}", life.name);
            assert!(files == life.files, "{}", life.name);
        }
    }

    #[test]
    fn every_role_is_found() {
        let young = apart(&all()[0]);
        let count = |role| young.iter().filter(|p| p.role == role).count();
        assert_eq!([Role::Header, Role::Root, Role::Edge, Role::Record].map(count), [1, 2, 1, 3]);
        assert!(count(Role::Part) >= 4, "{}", count(Role::Part));
        assert!(apart(&all()[1]).iter().filter(|p| p.role == Role::Edge).count() >= 7, "sealed chunks have two edges");
    }
}
