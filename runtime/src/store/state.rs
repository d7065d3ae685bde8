//! The state file: checkpoints. A root names what makes up one committed state, by extent; extents are written out of
//! place and synced before the root that names them, and the root goes into the slot of the oldest.
//!
//! ```text
//! slots * slot_len   roots, one frame each
//! units * 65536      extents, in fragments of whole units
//! ```

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::chunks::Position;
use super::frame::{FRAME_LEN_BYTES, Kind, body_len_bytes, crc64, frame_postcard, unframe_postcard};
use super::header::{Header, UNIT_LEN_BYTES};
use super::record::COUNT_MAX;
use super::storage::Storage;
use super::v1;
use crate::learn::{BlockKind, Origin};
use crate::{Error, ErrorKind, Result};

/// What an extent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// A block in canonical form.
    Block(Origin, BlockKind),
    /// Recordings already taught: little-endian u64 each, oldest first.
    Sources,
    /// The chunks, which of their rows left replay, and which rows were taken back.
    Rows,
    /// A head's weights.
    Head(HeadRole),
    /// The monitor's state.
    Monitor,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Block(origin, BlockKind::Latents) => write!(f, "statistics of {origin}"),
            Part::Block(origin, BlockKind::Mixed) => write!(f, "statistics of several labels of {origin}"),
            Part::Block(origin, BlockKind::Background) => write!(f, "background statistics of {origin}"),
            Part::Sources => f.write_str("known recordings"),
            Part::Rows => f.write_str("list of chunks"),
            Part::Head(_) => f.write_str("a head"),
            Part::Monitor => f.write_str("the monitor's state"),
        }
    }
}

/// Why a head is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HeadRole {
    /// It serves.
    Accepted,
    /// It waits for the guard's verdict.
    Trial,
}

/// Where a part lies, and its checksum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extent {
    /// What it is.
    pub part: Part,
    /// Units it occupies, in order: first unit and number of units.
    fragments: Vec<(u32, u32)>,
    /// Bytes of the part.
    pub len_bytes: u64,
    /// CRC-64/NVME of the part.
    check: u64,
}

/// What is known of an origin whose blocks are held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OriginState {
    /// Who learned them.
    pub origin: Origin,
    /// That origin's own generation: of two states of one origin the later holds all of the earlier.
    pub generation: u64,
    /// Largest relative difference of its backbone's embeddings from the reference graph's, where it was measured.
    pub parity: Option<f32>,
    /// True for the incarnation that learns here now.
    pub own: bool,
}

/// One committed state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// The adapter whose state it is.
    pub adapter_id: [u8; 16],
    /// Generation of the state: the last journal record it covers.
    pub generation: u64,
    /// Checksum of that record.
    pub chain: u64,
    /// Where the record after it goes.
    pub journal: Position,
    /// Oldest chunk that replay holds.
    pub oldest_sequence: u64,
    /// Id of the next row.
    pub next_row: u64,
    /// Rows that left replay with their chunk.
    pub evicted_rows: u64,
    /// The origins of its blocks.
    pub origins: Vec<OriginState>,
    /// Its parts, in their order.
    pub extents: Vec<Extent>,
}

impl Root {
    /// Reads the root in the frame at the start of `bytes`, of an adapter with `header`.
    ///
    /// # Errors
    /// `Corrupt` when it is torn, damaged or impossible; `Mismatch` when a newer version wrote it.
    pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Root> {
        let mut root = match header.format {
            1 => unframe_postcard::<v1::Root>(bytes, Kind::Root)?.into_root(u64::from(header.chunks)),
            _ => unframe_postcard::<Root>(bytes, Kind::Root)?,
        };
        let counts = [root.generation, root.journal.sequence, root.oldest_sequence, root.next_row, root.evicted_rows];
        if root.next_row == 0 || counts.iter().any(|n| *n > COUNT_MAX) {
            return Err(Error::new(ErrorKind::Corrupt, "a root has impossible numbers"));
        }
        root.extents.sort_by_key(|e| e.part);
        Ok(root)
    }

    pub(super) fn extent(&self, part: Part) -> Option<&Extent> {
        self.extents.binary_search_by_key(&part, |e| e.part).ok().map(|i| &self.extents[i])
    }
}

/// The state file.
pub struct StateFile {
    pub(super) storage: Box<dyn Storage>,
    slots: u32,
    slot_len: u64,
    units: u32,
    /// The newest two good roots, newest first, with their slots.
    kept: Vec<(u32, Root)>,
}

/// A chunk behind the journal, as the part [`Part::Rows`] lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRows {
    /// Its place in the journal.
    pub sequence: u64,
    /// Where it lies.
    pub slot: u32,
    /// One bit a row, least significant first: 1 when the row left replay. Shorter than the rows where the last ones are held.
    pub left: Vec<u8>,
}

impl ChunkRows {
    /// Whether row `index` has left.
    pub fn has_left(&self, index: usize) -> bool {
        self.left.get(index / 8).is_some_and(|b| b >> (index % 8) & 1 == 1)
    }
}

/// What the part [`Part::Rows`] holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ListedRows {
    /// The chunks behind the journal, and the open one.
    pub chunks: Vec<ChunkRows>,
    /// The rows that were taken back, as far as undo reaches: the first id, then how much more each is than the one before.
    taken_back: Vec<u64>,
}

impl ListedRows {
    pub fn new(chunks: Vec<ChunkRows>, taken_back: &BTreeSet<u64>) -> ListedRows {
        let mut last = 0;
        let taken_back = taken_back.iter().map(|id| id - std::mem::replace(&mut last, *id)).collect();
        ListedRows { chunks, taken_back }
    }

    /// Ids of the rows that were taken back.
    pub fn taken_back(&self) -> impl Iterator<Item = u64> {
        self.taken_back.iter().scan(0u64, |id, more| {
            *id = id.saturating_add(*more);
            Some(*id)
        })
    }

    /// # Errors
    /// `Corrupt` when that is not what the bytes are.
    pub fn decode(bytes: &[u8]) -> Result<ListedRows> {
        let damaged = |e| Error::new(ErrorKind::Corrupt, "the list of chunks cannot be decoded").because(e);
        let (chunks, rest) = postcard::take_from_bytes(bytes).map_err(damaged)?;
        // The first adapters of format 2 listed no rows that were taken back.
        let taken_back = if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest).map_err(damaged)? };
        Ok(ListedRows { chunks, taken_back })
    }

    /// # Errors
    /// `Limit` when it is too long.
    pub fn encode(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(|e| Error::new(ErrorKind::Limit, "the list of chunks cannot be encoded").because(e))
    }
}

/// A part of a new state: new bytes, or as it was in the root before.
pub enum NewPart {
    /// To be written.
    Bytes(Part, Vec<u8>),
    /// Unchanged since the newest root.
    Keep(Part),
}

impl StateFile {
    /// Reads the roots of `header`'s state file and keeps the newest two whose extents are whole.
    ///
    /// # Errors
    /// `Mismatch` when a newer version wrote a root, `Storage` when there must be one and none can be read.
    pub fn load(storage: Box<dyn Storage>, header: &Header) -> Result<StateFile> {
        let slot_len = u64::from(header.slot_len_bytes);
        let mut state = StateFile { storage, slots: header.slots, slot_len, units: header.units, kept: Vec::new() };
        let (mut roots, mut unreadable) = (Vec::new(), None);
        for slot in 0..header.slots {
            match state.root_in(slot, header) {
                Ok(Some(root)) => roots.push((slot, root)),
                // A root that cannot be read is as good as none: each of the newest two can be opened from.
                Err(e) if e.kind() == ErrorKind::Storage => {
                    log::warn!("{e}");
                    unreadable = Some(e);
                }
                Err(e) if e.kind() == ErrorKind::Mismatch => return Err(e),
                Ok(None) | Err(_) => {}
            }
        }
        roots.sort_by_key(|(_, r)| std::cmp::Reverse(r.generation));
        for (slot, root) in roots {
            if state.kept.len() == 2 {
                break;
            }
            if !state.has_room_for(&root) {
                continue;
            }
            match root.extents.iter().try_for_each(|e| state.read(e).map(drop)) {
                Ok(()) => state.kept.push((slot, root)),
                Err(e) if e.kind() == ErrorKind::Storage => unreadable = Some(e),
                Err(_) => {}
            }
        }
        match unreadable {
            // The first files of an adapter have none at first; what rewriting made always has.
            Some(e) if state.kept.is_empty() && header.epoch > 0 => Err(e),
            _ => Ok(state),
        }
    }

    /// False when the parts of `root` together are longer than the file: it was forged, and reading all would take for ever.
    fn has_room_for(&self, root: &Root) -> bool {
        let units = root.extents.iter().flat_map(|e| &e.fragments).map(|(_, n)| u64::from(*n));
        units.sum::<u64>() <= u64::from(self.units)
    }

    /// The root in `slot`; `None` when nothing was written there, or by another adapter.
    ///
    /// # Errors
    /// `Corrupt` when it is torn or damaged; `Mismatch` when a newer version wrote it; `Storage` when it cannot be read.
    pub(super) fn root_in(&self, slot: u32, header: &Header) -> Result<Option<Root>> {
        let bytes = self.frame_in(slot)?;
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let root = Root::decode(&bytes, header)?;
        Ok(Some(root).filter(|root| root.adapter_id == header.adapter_id))
    }

    /// The bytes of the frame in a slot, or as much of it as fits.
    fn frame_in(&self, slot: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0u8; FRAME_LEN_BYTES];
        let start = u64::from(slot) * self.slot_len;
        self.storage.read_at(start, &mut bytes)?;
        let body = u64::from(body_len_bytes(&bytes)).min(self.slot_len - FRAME_LEN_BYTES as u64);
        bytes.resize(FRAME_LEN_BYTES + body as usize, 0);
        self.storage.read_at(start + FRAME_LEN_BYTES as u64, &mut bytes[FRAME_LEN_BYTES..])?;
        Ok(bytes)
    }

    /// The newest good root.
    pub fn newest(&self) -> Option<&Root> {
        self.kept.first().map(|(_, r)| r)
    }

    /// The newest two good roots, newest first.
    pub fn kept(&self) -> impl Iterator<Item = &Root> {
        self.kept.iter().map(|(_, root)| root)
    }

    /// The chunk before which no kept root needs any: both of the newest two stand, and a fault may take one.
    pub fn covered_before(&self) -> u64 {
        if self.kept.len() < 2 { 0 } else { self.kept().map(|r| r.journal.sequence).min().unwrap_or(0) }
    }

    /// Reads a part that a kept root names.
    ///
    /// # Errors
    /// `Corrupt` when it lies outside the file or its checksum fails; `Storage` when it cannot be read.
    pub fn read(&self, extent: &Extent) -> Result<Vec<u8>> {
        let corrupt = |what: &str| Error::new(ErrorKind::Corrupt, format!("a stored part is damaged: {what}")).at(extent.part);
        let units: u64 = extent.fragments.iter().map(|(_, n)| u64::from(*n)).sum();
        // No part names a unit twice, so none is longer than the file: a forged length takes no memory.
        if units > u64::from(self.units)
            || extent.len_bytes > units * u64::from(UNIT_LEN_BYTES)
            || extent.fragments.iter().any(|(u, n)| u64::from(*u) + u64::from(*n) > u64::from(self.units))
        {
            return Err(corrupt("outside the file"));
        }
        let mut bytes = vec![0u8; extent.len_bytes as usize];
        let mut rest = &mut bytes[..];
        for (unit, n) in &extent.fragments {
            let len = rest.len().min(*n as usize * UNIT_LEN_BYTES as usize);
            let (now, later) = rest.split_at_mut(len);
            self.storage.read_at(self.offset_of(*unit), now)?;
            rest = later;
        }
        if crc64(&[&bytes]) != extent.check { Err(corrupt("checksum")) } else { Ok(bytes) }
    }

    /// Of a part that both kept roots have alike, the copy of the older: the next root names that one, so that each of the
    /// newest two has one of its own, and no single fault takes the part from both.
    pub fn other_copy(&self, part: Part) -> Option<&Extent> {
        let [newest, older] = [self.kept.first()?.1.extent(part)?, self.kept.get(1)?.1.extent(part)?];
        let alike = (newest.check, newest.len_bytes) == (older.check, older.len_bytes);
        Some(older).filter(|_| alike && newest.fragments != older.fragments)
    }

    fn write(&self, part: Part, bytes: &[u8], free: &mut [bool]) -> Result<Extent> {
        let fragments = allocate(free, bytes.len())?;
        let mut rest = bytes;
        for (unit, n) in &fragments {
            let (now, later) = rest.split_at(rest.len().min(*n as usize * UNIT_LEN_BYTES as usize));
            self.storage.write_at(self.offset_of(*unit), now)?;
            rest = later;
        }
        Ok(Extent { part, fragments, len_bytes: bytes.len() as u64, check: crc64(&[bytes]) })
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// `Storage`; nothing more may be written then.
    pub fn sync(&self) -> Result<()> {
        self.storage.sync()
    }

    fn offset_of(&self, unit: u32) -> u64 {
        u64::from(self.slots) * self.slot_len + u64::from(unit) * u64::from(UNIT_LEN_BYTES)
    }

    /// Writes a checkpoint: new extents, sync, root, sync. `root.extents` is filled in here.
    ///
    /// # Errors
    /// `Limit` when there is no room; `Storage` when a write or sync fails, and the state before it stays the newest.
    pub fn commit(&mut self, mut root: Root, parts: Vec<NewPart>) -> Result<()> {
        let mut free = vec![true; self.units as usize];
        for (unit, n) in self.kept.iter().flat_map(|(_, r)| &r.extents).flat_map(|e| &e.fragments) {
            free[*unit as usize..(*unit + *n) as usize].fill(false);
        }
        root.extents.clear();
        for part in parts {
            let extent = match part {
                NewPart::Keep(part) => match (self.other_copy(part), self.newest().and_then(|r| r.extent(part))) {
                    (Some(extent), _) => extent.clone(),
                    (None, Some(extent)) => self.write(part, &self.read(extent)?, &mut free)?,
                    (None, None) => continue,
                },
                NewPart::Bytes(part, bytes) => self.write(part, &bytes, &mut free)?,
            };
            root.extents.push(extent);
        }
        root.extents.sort_by_key(|e| e.part);
        let bytes = frame_postcard(Kind::Root, &root)?;
        if bytes.len() as u64 > self.slot_len {
            return Err(Error::new(ErrorKind::Limit, "a root is longer than its slot").expected(self.slot_len).found(bytes.len()));
        }
        let in_use = |slot: u32| self.kept.iter().any(|(s, _)| *s == slot);
        let after = self.kept.first().map_or(0, |(s, _)| s + 1);
        let slot = (0..self.slots).map(|i| (after + i) % self.slots).find(|s| !in_use(*s)).unwrap_or(0);
        self.storage.sync()?;
        self.storage.write_at(u64::from(slot) * self.slot_len, &bytes)?;
        self.storage.sync()?;
        self.kept.insert(0, (slot, root));
        self.kept.truncate(2);
        Ok(())
    }
}

fn allocate(free: &mut [bool], len_bytes: usize) -> Result<Vec<(u32, u32)>> {
    let mut needed = len_bytes.div_ceil(UNIT_LEN_BYTES as usize);
    let mut fragments: Vec<(u32, u32)> = Vec::new();
    for (unit, free) in free.iter_mut().enumerate() {
        if needed == 0 {
            break;
        }
        if !std::mem::take(free) {
            continue;
        }
        needed -= 1;
        match fragments.last_mut() {
            Some((first, n)) if *first + *n == unit as u32 => *n += 1,
            _ => fragments.push((unit as u32, 1)),
        }
    }
    if needed > 0 {
        return Err(Error::new(ErrorKind::Limit, "the adapter's state file is full")
            .found(format!("{needed} units of 64 KiB too few"))
            .cure("create an adapter with larger bounds (max_classes, max_origins) and merge this one into it"));
    }
    Ok(fragments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_chunks_is_read_as_written_and_as_the_first_adapters_wrote_it() {
        let chunks = vec![ChunkRows { sequence: 4, slot: 2, left: vec![5] }, ChunkRows { sequence: 5, slot: 0, left: Vec::new() }];
        let taken_back = BTreeSet::from([3, 4, 90]);
        let bytes = ListedRows::new(chunks.clone(), &taken_back).encode().unwrap();
        let read = ListedRows::decode(&bytes).unwrap();
        assert_eq!((&read.chunks, read.taken_back().collect()), (&chunks, taken_back));
        let first = ListedRows::decode(&postcard::to_stdvec(&chunks).unwrap()).unwrap();
        assert_eq!((first.chunks, first.taken_back), (chunks, Vec::new()));
        assert_eq!(ListedRows::decode(&bytes[..bytes.len() - 1]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
