//! The state file: checkpoints. A root names what makes up one committed state, by extent; extents are written out of
//! place and synced before the root that names them, and the root goes into the slot of the oldest.
//!
//! ```text
//! slots * slot_len   roots, one frame each
//! units * 65536      extents, in fragments of whole units
//! ```

use serde::{Deserialize, Serialize};

use super::chunks::Position;
use super::frame::{Kind, crc64, frame_postcard, unframe_postcard};
use super::header::{Header, UNIT_LEN_BYTES};
use super::storage::Storage;
use crate::learn::{BlockKind, Origin};
use crate::{Error, ErrorKind, Result};

/// What an extent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// A block in canonical form.
    Block(Origin, BlockKind),
    /// Recordings already taught: little-endian u64 each, oldest first.
    Sources,
    /// Rows that left replay one by one.
    Tombstones,
    /// A head's weights.
    Head(HeadRole),
    /// The monitor's state.
    Monitor,
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
    /// Its parts.
    pub extents: Vec<Extent>,
}

/// The state file.
pub struct StateFile {
    storage: Box<dyn Storage>,
    slots: u32,
    slot_len: u64,
    units: u32,
    /// The newest two good roots, newest first, with their slots.
    kept: Vec<(u32, Root)>,
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
    /// `Corrupt` when the file has not the length it was made with; `Mismatch` when a newer version wrote a root.
    pub fn load(storage: Box<dyn Storage>, header: &Header) -> Result<StateFile> {
        if storage.len_bytes() != header.state_file_len_bytes() {
            return Err(Error::new(ErrorKind::Corrupt, "the state file has the wrong length")
                .expected(format!("{} bytes", header.state_file_len_bytes()))
                .found(format!("{} bytes", storage.len_bytes()))
                .cure("restore it from a copy"));
        }
        let slot_len = u64::from(header.slot_len_bytes);
        let mut state = StateFile { storage, slots: header.slots, slot_len, units: header.units, kept: Vec::new() };
        let mut roots = Vec::new();
        let mut slot_bytes = vec![0u8; header.slot_len_bytes as usize];
        for slot in 0..header.slots {
            state.storage.read_at(u64::from(slot) * slot_len, &mut slot_bytes)?;
            match unframe_postcard::<Root>(&slot_bytes, Kind::Root) {
                Ok(root) if root.adapter_id == header.adapter_id => roots.push((slot, root)),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Mismatch => return Err(e),
                Err(_) => {}
            }
        }
        roots.sort_by_key(|(_, r)| std::cmp::Reverse(r.generation));
        for (slot, root) in roots {
            if state.kept.len() < 2 && state.has_room_for(&root) && root.extents.iter().all(|e| state.read_extent(e).is_ok()) {
                state.kept.push((slot, root));
            }
        }
        Ok(state)
    }

    /// False when the parts of `root` together are longer than the file: they were forged, and reading all would take forever.
    fn has_room_for(&self, root: &Root) -> bool {
        let units = root.extents.iter().flat_map(|e| &e.fragments).map(|(_, n)| u64::from(*n)).fold(0, u64::saturating_add);
        units <= u64::from(self.units)
    }

    /// The newest good root.
    pub fn newest(&self) -> Option<&Root> {
        self.kept.first().map(|(_, r)| r)
    }

    /// Reads `part` of the newest root; `None` when it has none.
    ///
    /// # Errors
    /// `Corrupt` when its checksum fails.
    pub fn part(&self, part: Part) -> Result<Option<Vec<u8>>> {
        let extent = self.newest().and_then(|r| r.extents.iter().find(|e| e.part == part));
        extent.map(|e| self.read_extent(e)).transpose()
    }

    fn read_extent(&self, extent: &Extent) -> Result<Vec<u8>> {
        let corrupt =
            |what: &str| Error::new(ErrorKind::Corrupt, format!("a stored part is damaged: {what}")).at(format!("{:?}", extent.part));
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
                NewPart::Keep(part) => match self.newest().and_then(|r| r.extents.iter().find(|e| e.part == part)) {
                    Some(extent) => extent.clone(),
                    None => continue,
                },
                NewPart::Bytes(part, bytes) => {
                    let fragments = allocate(&mut free, bytes.len())?;
                    let mut rest = &bytes[..];
                    for (unit, n) in &fragments {
                        let (now, later) = rest.split_at(rest.len().min(*n as usize * UNIT_LEN_BYTES as usize));
                        self.storage.write_at(self.offset_of(*unit), now)?;
                        rest = later;
                    }
                    Extent { part, fragments, len_bytes: bytes.len() as u64, check: crc64(&[&bytes]) }
                }
            };
            root.extents.push(extent);
        }
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
