//! What an adapter keeps beside its rows and statistics: the head that serves, and the monitor's state. Both can be made again or begun
//! anew, so the store looks at neither: they are bytes that go into the next checkpoint, within a room that the header's geometry has.

use std::collections::BTreeMap;

use super::adapter::Adapter;
use super::frame::Kind;
use super::header::{Creation, Header};
use super::record::{Batch, Draft};
use super::state::{HeadRole, Part, Root};
use crate::units::Moment;
use crate::{Error, ErrorKind, Result};

/// Parts with their bytes.
pub(super) type Kept = BTreeMap<Part, Vec<u8>>;

/// Judging rows and all that does not grow with D or the classes.
const FIXED_BYTES: u64 = 2 * 65_536;
/// What a class takes beside its name and weights.
const OF_CLASS_BYTES: u64 = 64 + 4 * 32;

fn name_bytes() -> u64 {
    2 + crate::learn::class::NAME_LEN_MAX_BYTES as u64
}

/// A pool of heads, what tells unknown windows (a head, and a triangle of D (D + 1) / 2 numbers), and which classes are present (two
/// heads): weights are f32.
pub(super) fn head_room_bytes(creation: &Creation) -> u64 {
    let (d, c) = (u64::from(creation.dim), u64::from(creation.max_classes));
    c * (5 * (name_bytes() + 4 * (d + 1)) + OF_CLASS_BYTES) + 2 * d * (d + 1) + FIXED_BYTES
}

/// Sums of embeddings, and some numbers a class.
pub(super) fn monitor_room_bytes(creation: &Creation) -> u64 {
    let (d, c) = (u64::from(creation.dim), u64::from(creation.max_classes));
    c * (name_bytes() + OF_CLASS_BYTES) + 16 * d + FIXED_BYTES
}

impl Adapter {
    /// The head that serves, as the newest state has it; none when none was kept.
    ///
    /// # Errors
    /// `Storage` or `Corrupt` when it cannot be read.
    pub fn kept_head(&self) -> Result<Option<Vec<u8>>> {
        self.kept_part(Part::Head(HeadRole::Accepted))
    }

    /// The monitor's state, likewise.
    ///
    /// # Errors
    /// As [`Adapter::kept_head`].
    pub fn kept_monitor(&self) -> Result<Option<Vec<u8>>> {
        self.kept_part(Part::Monitor)
    }

    /// Begins a generation, where the newest checkpoint is of this one: of two checkpoints of one generation with different parts nobody
    /// could tell which is the later.
    ///
    /// # Errors
    /// As [`Adapter::learn`].
    pub fn fresh_generation(&mut self) -> Result<()> {
        self.check_writable()?;
        if self.checkpoint_generation() < self.generation() {
            return Ok(());
        }
        let batch = Batch { origin: self.origin(), by: String::new(), time: Moment::UNKNOWN, graph: 0, source: 0, source_complete: false };
        self.commit(Draft { kind: Kind::Carry, batch, rows: Vec::new(), before: Vec::new(), left: Vec::new() })
    }

    /// Lets the next checkpoint write the head that serves.
    ///
    /// # Errors
    /// `Limit` when there is no room for it; `Storage` when nothing can be written.
    pub fn keep_head(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.keep(Part::Head(HeadRole::Accepted), bytes, head_room_bytes(&self.header.creation))
    }

    /// Lets the next checkpoint write the monitor's state.
    ///
    /// # Errors
    /// As [`Adapter::keep_head`].
    pub fn keep_monitor(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.keep(Part::Monitor, bytes, monitor_room_bytes(&self.header.creation))
    }

    fn kept_part(&self, part: Part) -> Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.kept.get(&part) {
            return Ok(Some(bytes.clone()));
        }
        self.state.newest().and_then(|root| root.extent(part)).map(|extent| self.state.read(extent)).transpose()
    }

    fn keep(&mut self, part: Part, bytes: Vec<u8>, room_bytes: u64) -> Result<()> {
        self.check_writable()?;
        let geometry = Header::new(self.header.creation.clone(), self.header.adapter_id)?;
        if self.header.units < geometry.units {
            return Err(Error::new(ErrorKind::Limit, "the adapter was made without room for this")
                .at(part)
                .cure("wheatear compact makes its files anew, with room"));
        }
        if bytes.len() as u64 > room_bytes {
            return Err(Error::new(ErrorKind::Limit, "there is no room to keep this").at(part).expected(room_bytes).found(bytes.len()));
        }
        self.fresh_generation()?;
        self.kept.insert(part, bytes);
        Ok(())
    }

    /// What the state of `root` had kept.
    pub(super) fn kept_by(&self, root: &Root) -> Result<Kept> {
        let parts = [Part::Head(HeadRole::Accepted), Part::Monitor].into_iter().filter_map(|part| Some((part, root.extent(part)?)));
        parts.map(|(part, extent)| Ok((part, self.state.read(extent)?))).collect()
    }

    /// All of it, for another set of files of this adapter.
    pub(super) fn kept_parts(&self) -> Result<Kept> {
        let mut kept = Kept::new();
        for part in [Part::Head(HeadRole::Accepted), Part::Monitor] {
            kept.extend(self.kept_part(part)?.map(|bytes| (part, bytes)));
        }
        Ok(kept)
    }
}
