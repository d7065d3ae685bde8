//! The files of a wreck: whichever are there, as far as they can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::base::{Checkpoints, Listed, roots};
use super::report::{Damage, HeaderFound, Wrong};
use super::scan::{Piece, Slot};
use super::sectors::Sectors;
use crate::learn::ClassName;
use crate::store::folder::{CHUNKS, HEADER, HEADER_NEW, STATE};
use crate::store::frame::Kind;
use crate::store::header::{Header, UNIT_LEN_BYTES};
use crate::store::record::{self, Learned};
use crate::store::state::ChunkRows;
use crate::store::storage::{Folder, Storage};
use crate::{Error, ErrorKind, Result};

/// More than any header takes.
const HEADER_MAX_BYTES: u64 = 1 << 20;

/// The headers that may be the adapter's, of which the one that gives most is: its own, or such as `like` would have.
pub(super) fn headers(folder: &dyn Folder, like: Option<&Header>) -> Result<(Vec<Header>, HeaderFound, Vec<Damage>)> {
    let names = folder.names()?;
    let mut damage = Vec::new();
    for (name, found) in [(HEADER, HeaderFound::Whole), (HEADER_NEW, HeaderFound::Rewritten)] {
        let copies = copies(folder, name, &mut damage)?;
        if let Some(header) = copies.first() {
            let expected = if header.format == 1 { 1 } else { 2 };
            let whole = copies.len() >= expected && copies.iter().all(|c| c == header);
            let found = if whole || found == HeaderFound::Rewritten { found } else { HeaderFound::OneCopy };
            return Ok((vec![header.clone()], found, damage));
        }
    }
    let Some(like) = like else {
        return Err(Error::new(ErrorKind::Corrupt, "no copy of the adapter's header is whole")
            .at(folder.path().join(HEADER).display())
            .cure("give the header of a copy of it, or of another adapter of the same backbone: --like ADAPTER"));
    };
    let epoch = |name: &String| {
        let of = |file: &str| {
            name.strip_prefix(file).and_then(|n| if n.is_empty() { Some(0) } else { n.strip_prefix('.')?.parse::<u32>().ok() })
        };
        of(CHUNKS).or_else(|| of(STATE))
    };
    let epochs: BTreeSet<u32> = names.iter().filter_map(epoch).collect();
    let mut forms = vec![like.clone()];
    if like.format == 1 {
        forms.push(Header::new(like.creation.clone(), like.adapter_id)?);
    }
    let all = epochs.iter().flat_map(|epoch| forms.iter().map(|form| Header { epoch: *epoch, ..form.clone() })).collect();
    Ok((all, HeaderFound::Like, damage))
}

/// The whole copies in a header's file.
fn copies(folder: &dyn Folder, name: &str, damage: &mut Vec<Damage>) -> Result<Vec<Header>> {
    let of_header = name == HEADER;
    let Ok(file) = Sectors::open(folder, name) else {
        damage.extend(of_header.then(|| Damage::new(name, 0..0, Wrong::Missing)));
        return Ok(Vec::new());
    };
    let mut bytes = vec![0u8; file.len_bytes().min(HEADER_MAX_BYTES) as usize];
    file.read_at(0, &mut bytes)?;
    let copies = Header::whole_copies(&bytes)?;
    let whole = copies.first().map(Header::encode).transpose()?;
    if of_header && whole.is_none_or(|whole| whole != bytes) {
        damage.push(Damage::new(name, 0..bytes.len() as u64, Wrong::Header));
    }
    Ok(copies)
}

/// The chunk file.
pub(super) struct ChunkFile {
    sectors: Option<Sectors>,
    pub name: String,
    pub chunk_len: u32,
    pub slots: u32,
    /// Its length as it was made.
    pub made_len: u64,
    buffer: Vec<u8>,
    buffered: Option<u32>,
}

impl ChunkFile {
    /// The bytes of a slot; zeros where they cannot be read.
    pub fn slot(&mut self, slot: u32) -> Result<&[u8]> {
        if self.buffered != Some(slot) {
            self.buffered = None;
            self.buffer.resize(self.chunk_len as usize, 0);
            match &self.sectors {
                Some(sectors) => sectors.read_at(self.start_of(slot), &mut self.buffer)?,
                None => self.buffer.fill(0),
            }
            self.buffered = Some(slot);
        }
        Ok(&self.buffer)
    }

    /// Its length as it is.
    pub fn len_bytes(&self) -> u64 {
        self.sectors.as_ref().map_or(0, Sectors::len_bytes)
    }

    /// Ranges that could not be read so far.
    pub fn unreadable(&self) -> Vec<Range<u64>> {
        self.sectors.as_ref().map_or(Vec::new(), |s| s.unreadable().ranges())
    }

    pub fn start_of(&self, slot: u32) -> u64 {
        u64::from(slot) * u64::from(self.chunk_len)
    }

    /// The payload of a record that was found whole.
    fn payload(&mut self, piece: &Piece) -> Result<&[u8]> {
        let bytes = self.slot(piece.slot)?;
        let found = record::decode(&bytes[piece.offset as usize..])?;
        match found.check == piece.check {
            true => Ok(found.payload),
            false => Err(Error::new(ErrorKind::Storage, "a record reads otherwise than before").cure("check the disk (dmesg, SMART)")),
        }
    }

    /// The rows of a record that was found whole.
    ///
    /// # Errors
    /// `Corrupt` when it is not a record of rows of the header's dimension and bits.
    pub fn rows(&mut self, piece: &Piece, header: &Header) -> Result<Learned> {
        let (dim, bits) = (header.creation.dim as usize, header.creation.bits);
        let learned = record::decode_rows(self.payload(piece)?, dim, bits, header.format)?;
        let complete = piece.kind != Kind::Relabel || learned.before.len() == learned.rows.len();
        if complete { Ok(learned) } else { Err(Error::new(ErrorKind::Corrupt, "a record does not say what the labels were")) }
    }

    /// The retired name of the class that a record forgets.
    ///
    /// # Errors
    /// `Corrupt` when it is no such record.
    pub fn forgotten(&mut self, piece: &Piece) -> Result<ClassName> {
        let damaged = |e| Error::new(ErrorKind::Corrupt, "a record of forgetting is damaged").because(e);
        postcard::from_bytes(self.payload(piece)?).map_err(damaged)
    }
}

/// What is there of an adapter.
pub(super) struct Wreck {
    pub header: Header,
    pub file: ChunkFile,
    pub slots: Vec<Slot>,
    pub checkpoints: Checkpoints,
    pub damage: Vec<Damage>,
}

impl Wreck {
    /// Reads the files that `header` names.
    ///
    /// # Errors
    /// `Mismatch` when a newer version wrote them.
    pub fn read(folder: &dyn Folder, mut header: Header, found: HeaderFound) -> Result<Wreck> {
        let mut damage = Vec::new();
        let like = found == HeaderFound::Like;
        let (chunk_name, state_name) = (header.chunk_file(), header.state_file());
        let chunks = open(folder, &chunk_name, Some(header.chunk_file_len_bytes()).filter(|_| !like), &mut damage);
        let state = open(folder, &state_name, Some(header.state_file_len_bytes()).filter(|_| !like), &mut damage);
        let len = |file: &Option<Sectors>| file.as_ref().map_or(0, Sectors::len_bytes);
        if like {
            // Bounds of the other adapter say nothing of how long this one's files were.
            let slots = len(&chunks).div_ceil(u64::from(header.chunk_len_bytes));
            let units = len(&state).saturating_sub(u64::from(header.slots) * u64::from(header.slot_len_bytes));
            header.chunks = u32::try_from(slots).unwrap_or(u32::MAX);
            header.units = u32::try_from(units.div_ceil(u64::from(UNIT_LEN_BYTES))).unwrap_or(u32::MAX);
        }
        let slots = len(&chunks).div_ceil(u64::from(header.chunk_len_bytes)).min(u64::from(header.chunks)) as u32;
        let made_len = if like { len(&chunks) } else { header.chunk_file_len_bytes() };
        let (chunk_len, name) = (header.chunk_len_bytes, chunk_name);
        let mut file = ChunkFile { sectors: chunks, name, chunk_len, slots, made_len, buffer: Vec::new(), buffered: None };
        let scanned = (0..slots).map(|slot| Slot::scan(slot, file.slot(slot)?)).collect::<Result<Vec<Slot>>>()?;
        let (roots, damaged) = state.as_ref().map_or(Ok((Vec::new(), Vec::new())), |s| roots(s, &header, &state_name))?;
        if like && let Some(id) = most_named(&scanned, roots.iter().map(|r| r.adapter_id)) {
            header.adapter_id = id;
        }
        let unreadable = state.as_ref().map(Sectors::unreadable).unwrap_or_default();
        let mut checkpoints = match state {
            Some(state) => Checkpoints::of(state, &header, &state_name, &roots, damaged)?,
            None => Checkpoints::default(),
        };
        if header.format == 1 {
            checkpoints.listed = checkpoints.statistics.as_ref().map(|(root, _)| {
                let held = root.oldest_sequence..=root.journal.sequence;
                let named = scanned.iter().filter_map(|s| Some((s.number, s.opening.as_ref()?.sequence)));
                let chunks = named.filter(|(_, s)| held.contains(s)).map(|(slot, sequence)| ChunkRows { sequence, slot, left: Vec::new() });
                Listed { generation: root.generation, journal: root.journal, taken_back: Vec::new(), chunks: chunks.collect() }
            });
        }
        damage.append(&mut checkpoints.damage);
        damage.extend(unreadable.ranges().into_iter().map(|bytes| Damage::new(&state_name, bytes, Wrong::Unreadable)));
        damage.extend(file.unreadable().into_iter().map(|bytes| Damage::new(&file.name, bytes, Wrong::Unreadable)));
        Ok(Wreck { header, file, slots: scanned, checkpoints, damage })
    }
}

/// Opens a file of a wreck, and says what is wrong with its length.
fn open(folder: &dyn Folder, name: &str, made_len: Option<u64>, damage: &mut Vec<Damage>) -> Option<Sectors> {
    let Ok(file) = Sectors::open(folder, name) else {
        damage.push(Damage::new(name, 0..0, Wrong::Missing));
        return None;
    };
    let found = file.len_bytes();
    if let Some(made) = made_len.filter(|made| *made != found) {
        let (bytes, what) = if found < made { (found..made, Wrong::CutShort) } else { (made..found, Wrong::TooLong) };
        damage.push(Damage::new(name, bytes, what));
    }
    Some(file)
}

/// The adapter that most chunks and roots name.
fn most_named(slots: &[Slot], roots: impl Iterator<Item = [u8; 16]>) -> Option<[u8; 16]> {
    let mut names: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    slots.iter().filter_map(|s| s.opening.as_ref().map(|o| o.adapter_id)).chain(roots).for_each(|id| *names.entry(id).or_default() += 1);
    names.into_iter().max_by_key(|(_, n)| *n).map(|(id, _)| id)
}
