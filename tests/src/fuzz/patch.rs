//! Bytes read as a damaged adapter: which life, which checksums are put right, then one change after another.
//!
//! ```text
//! 0  life
//! 1  bit 0: leave frames unsealed, bit 1: leave the chain, bit 2: leave the parts' checksums, bit 3: go on correcting
//! 2  changes: operation | piece | place u16 | length (at most 31) | bytes
//! ```

use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wheatear::store::Header;
use wheatear::store::frame::{FRAME_LEN_BYTES, Kind, frame_postcard, unframe_postcard};
use wheatear::store::state::Root;

use super::lives::{self, Life};
use super::memory::{CHUNKS, Memory, STATE};
use super::pieces::{Piece, Role, Seals, apart, together};

/// Of the second byte: go on with corrections.
pub const CORRECTS: u8 = 8;
/// Most changes of one input.
const CHANGES: usize = 24;

/// What is done to a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// The bytes replace as many at the place.
    Overwrite,
    /// The bytes are put in at the place.
    Insert,
    /// As many as the first byte says are taken out.
    Delete,
    /// The first byte is added to the one at the place.
    Add,
    /// It ends at the place.
    Truncate,
    /// Its bytes from the place on are those of the piece that the first byte names.
    Become,
    /// A number of a root or of the header, counted by the place, gets another value: see [`VALUES`].
    Number,
    /// The bytes are written into the chunk file, the place counted in steps of 16: no checksum is put right.
    RawChunks,
    /// The same in the state file, in steps of 64.
    RawState,
}

const OPERATIONS: [Operation; 9] = {
    use Operation::*;
    [Overwrite, Insert, Delete, Add, Truncate, Become, Number, RawChunks, RawState]
};

/// Values that a number may get; a byte past them is added to what it is.
pub const VALUES: [u64; 16] = [
    0,
    1,
    2,
    255,
    512,
    65_535,
    65_536,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 8,
    u64::MAX - 2,
    u64::MAX - 1,
    u64::MAX,
];

/// The files of an adapter, good or bad.
#[derive(Debug, Clone)]
pub struct Case {
    /// The header's file.
    pub header: Vec<u8>,
    /// Chunk file and state file.
    pub files: [Memory; 2],
    /// Checksums were put right, or pieces moved: no medium damages like that.
    pub forged: bool,
    /// What opens is corrected and rewritten too.
    pub corrects: bool,
}

/// The lives with their pieces, taken apart once.
pub fn whole() -> &'static [(Life, Vec<Piece>)] {
    static WHOLE: OnceLock<Vec<(Life, Vec<Piece>)>> = OnceLock::new();
    WHOLE.get_or_init(|| lives::all().iter().map(|life| (life.clone(), apart(life))).collect())
}

/// The adapter that `data` describes.
pub fn case(data: &[u8]) -> Case {
    let (&[life, flags], mut rest) = data.split_first_chunk().unwrap_or((&[0, 0], &[]));
    let (life, old) = &whole()[usize::from(life) % whole().len()];
    let seals = Seals { frames: flags & 1 == 0, chain: flags & 2 == 0, parts: flags & 4 == 0 };
    let (mut pieces, mut raw, mut forged) = (old.clone(), Vec::new(), false);
    for _ in 0..CHANGES {
        let Some((&[operation, piece, low, high, len], after)) = rest.split_first_chunk() else { break };
        let (bytes, after) = after.split_at(after.len().min(usize::from(len) % 32));
        rest = after;
        let operation = OPERATIONS[usize::from(operation) % OPERATIONS.len()];
        let place = usize::from(u16::from_le_bytes([low, high]));
        use Operation::*;
        forged |= flags & 7 != 7 || !matches!(operation, Overwrite | Add | RawChunks | RawState);
        match operation {
            RawChunks => raw.push((CHUNKS, 16 * place, bytes)),
            RawState => raw.push((STATE, 64 * place, bytes)),
            _ => {
                let n = usize::from(piece) % pieces.len();
                let first = bytes.first().copied().unwrap_or(0);
                let other = old[usize::from(first) % old.len()].bytes.clone();
                change(&mut pieces[n], operation, place, bytes, &other);
            }
        }
    }
    let (header, mut files) = together(life, old, pieces, seals);
    for (file, offset, bytes) in raw {
        let len = files[file].len();
        let offset = offset % len;
        files[file].write(offset, &bytes[..bytes.len().min(len - offset)]);
    }
    Case { header, files, forged, corrects: flags & CORRECTS != 0 }
}

fn change(piece: &mut Piece, operation: Operation, place: usize, new: &[u8], other: &[u8]) {
    let len = piece.bytes.len();
    let place = if operation == Operation::Number { place } else { place % (len + 1) };
    let first = new.first().copied().unwrap_or(0);
    let bytes = &mut piece.bytes;
    match operation {
        Operation::Overwrite => bytes[place..].iter_mut().zip(new).for_each(|(b, n)| *b = *n),
        Operation::Insert => drop(bytes.splice(place..place, new.iter().copied())),
        Operation::Delete => drop(bytes.drain(place..len.min(place + usize::from(first)))),
        Operation::Add => bytes[place..].iter_mut().take(1).for_each(|b| *b = b.wrapping_add(first)),
        Operation::Truncate => bytes.truncate(place),
        Operation::Become => drop(bytes.splice(place.., other.iter().skip(place).copied())),
        Operation::Number => {
            let new = match piece.role {
                Role::Root => number::<Root>(bytes, Kind::Root, place, first),
                Role::Header => number::<Header>(bytes, Kind::Header, place, first),
                _ => None,
            };
            *bytes = new.unwrap_or(std::mem::take(bytes));
        }
        Operation::RawChunks | Operation::RawState => {}
    }
    // A part is as long as its root says.
    if piece.role == Role::Part {
        piece.bytes.resize(len, 0);
    }
}

/// The places of the numbers called `name` of a root or the header, as [`Operation::Number`] counts them.
pub fn numbers_called(life: usize, piece: usize, name: &str) -> Vec<usize> {
    let Piece { role, bytes, .. } = &whole()[life].1[piece];
    let mut json = match role {
        Role::Root => unframe_postcard::<Root>(bytes, Kind::Root).map(serde_json::to_value),
        _ => unframe_postcard::<Header>(bytes, Kind::Header).map(serde_json::to_value),
    }
    .expect("a good root or header")
    .expect("numbers and texts");
    // Marked, counted, and told from the others by the mark.
    mark(&mut json, name);
    let mut numbers = Vec::new();
    numbers_of(&mut json, &mut numbers);
    (0..numbers.len()).filter(|i| numbers[*i].is_f64()).collect()
}

fn mark(json: &mut Value, name: &str) {
    match json {
        Value::Array(all) => all.iter_mut().for_each(|v| mark(v, name)),
        Value::Object(all) => all.iter_mut().for_each(|(key, v)| match v {
            Value::Number(_) if key == name => *v = Value::from(0.5),
            _ => mark(v, name),
        }),
        _ => {}
    }
}

/// The frame with its number at `place` changed; `None` when it cannot be read, or the number has no room for the value.
fn number<T: Serialize + DeserializeOwned>(frame: &[u8], kind: Kind, place: usize, value: u8) -> Option<Vec<u8>> {
    let mut json = serde_json::to_value(unframe_postcard::<T>(frame, kind).ok()?).ok()?;
    let mut numbers = Vec::new();
    numbers_of(&mut json, &mut numbers);
    let at = place % numbers.len().max(1);
    let number = numbers.into_iter().nth(at)?;
    *number = match VALUES.get(usize::from(value)) {
        Some(value) => Value::from(*value),
        None => Value::from(number.as_u64()?.wrapping_add_signed(i64::from(value as i8))),
    };
    frame_postcard(kind, &serde_json::from_value::<T>(json).ok()?).ok()
}

/// The numbers of `json`, in its order; of bytes (identifiers, digests) only the first.
fn numbers_of<'a>(json: &'a mut Value, numbers: &mut Vec<&'a mut Value>) {
    match json {
        Value::Number(_) => numbers.push(json),
        Value::Array(all) => {
            let bytes = all.len() >= 16 && all[0].is_number();
            all.iter_mut().take(if bytes { 1 } else { usize::MAX }).for_each(|v| numbers_of(v, numbers));
        }
        Value::Object(all) => all.values_mut().for_each(|v| numbers_of(v, numbers)),
        _ => {}
    }
}

/// One change as an input has it.
pub fn encoded(operation: Operation, piece: usize, place: usize, bytes: &[u8]) -> Vec<u8> {
    let place = (place as u16).to_le_bytes();
    [&[operation as u8, piece as u8, place[0], place[1], bytes.len() as u8], bytes].concat()
}

/// The changes after which a piece holds `bytes` from `place` on.
pub fn replaced(piece: usize, place: usize, bytes: &[u8]) -> Vec<Vec<u8>> {
    let inserted = bytes.chunks(31).enumerate().map(|(i, part)| encoded(Operation::Insert, piece, place + 31 * i, part));
    std::iter::once(encoded(Operation::Truncate, piece, place, &[])).chain(inserted).collect()
}

/// The root of the life `life` that has the largest generation.
pub fn newest_root(life: usize) -> usize {
    let generation = |p: &Piece| unframe_postcard::<Root>(&p.bytes, Kind::Root).ok().map(|r| r.generation);
    let pieces = whole()[life].1.iter().enumerate();
    pieces.filter(|(_, p)| p.role == Role::Root).max_by_key(|(_, p)| generation(p)).map(|(i, _)| i).expect("a life with a checkpoint")
}

/// The first piece of `role` in the life `life`, and how many bytes of it lie under its frame's header.
pub fn first(life: usize, role: Role) -> (usize, usize) {
    let pieces = &whole()[life].1;
    let at = pieces.iter().position(|p| p.role == role).expect("every life that is asked for has one");
    (at, pieces[at].bytes.len().saturating_sub(FRAME_LEN_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_without_changes_is_the_life_as_it_was() {
        for (i, (life, _)) in whole().iter().enumerate() {
            let case = case(&[i as u8, 0]);
            assert_eq!(case.header, life.header.encode().unwrap());
            assert!(case.files == life.files, "{}", life.name);
        }
    }

    #[test]
    fn a_number_of_a_root_gets_another_value_under_a_good_checksum() {
        let root = first(0, Role::Root).0;
        let [place] = numbers_called(0, root, "next_row")[..] else { panic!("a root has one next row") };
        let next_row = |value: u8| {
            let case = case(&[&[0, 0][..], &encoded(Operation::Number, root, place, &[value])].concat());
            unframe_postcard::<Root>(&case.files[STATE].read(0, 4096), Kind::Root).unwrap().next_row
        };
        assert_eq!([5, 15, 17, 255].map(next_row), [65_535, u64::MAX, 6 + 17, 6 - 1]);
    }

    #[test]
    fn a_changed_record_keeps_its_place_in_the_chain_where_the_chain_is_put_right() {
        use super::super::memory::Disk;
        use wheatear::store::Access;
        let (record, body) = first(0, Role::Record);
        // The last latent component of the first record, which only the checkpoint covers.
        let change = encoded(Operation::Overwrite, record, FRAME_LEN_BYTES + body - 16, &[1]);
        let header = &whole()[0].0.header;
        let damaged = |flags: u8| {
            let case = case(&[&[0, flags][..], &change].concat());
            Disk::of(header, &case.header, case.files).open(Access::Read).unwrap().damaged_chunks()
        };
        assert_eq!((damaged(0), damaged(2), damaged(3)), (0, 1, 1));
    }
}
