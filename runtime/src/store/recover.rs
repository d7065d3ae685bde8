//! Recovery: the newest whole checkpoint, the sealed chunks that it lists, then the journal behind it, record by record, as
//! far as the chain holds.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use super::adapter::{Access, Adapter, Recovery};
use super::chunks::{Chunks, Position};
use super::contents::Contents;
use super::header::Header;
use super::held::{Bounds, Held};
use super::journal::{Edge, Sealed, Tail};
use super::kept::Kept;
use super::record;
use super::sources::Sources;
use super::state::{ChunkRows, ListedRows, Part, Root, StateFile};
use super::storage::Folder;
use crate::learn::Block;
use crate::{Error, ErrorKind, Result};

impl Contents {
    /// What `header` begins with.
    pub(super) fn of(header: &Header) -> Contents {
        let c = &header.creation;
        Contents::new(c.dim as usize, c.bits, header.format, Sources::new(c.max_sources as usize), Held::new(Bounds::of(header)))
    }

    /// What the checkpoint `root` holds, save for the rows, which lie in the chunks that it lists.
    pub(super) fn of_root(header: &Header, state: &StateFile, root: &Root) -> Result<(Contents, Vec<ChunkRows>)> {
        let mut contents = Contents::of(header);
        let mut listed = Vec::new();
        for extent in &root.extents {
            let bytes = state.read(extent)?;
            match extent.part {
                Part::Block(origin, kind) => {
                    let block = Block::from_canonical_bytes(&bytes)?;
                    if block.dim() != contents.dim || block.kind() != kind {
                        return Err(Error::new(ErrorKind::Corrupt, "a stored block has another shape").at(origin));
                    }
                    contents.blocks.insert((origin, kind), block);
                }
                Part::Sources => contents.sources.restore(&bytes),
                Part::Rows => {
                    let rows = ListedRows::decode(&bytes)?;
                    rows.taken_back().for_each(|id| contents.held.take_back(id));
                    listed = rows.chunks;
                }
                // Written by later versions for what this one does not use; carried along at the next checkpoint.
                Part::Head(_) | Part::Monitor => {}
            }
        }
        check_listed(&listed, root.journal)?;
        (contents.generation, contents.chain, contents.next_row) = (root.generation, root.chain, root.next_row);
        Ok((contents, listed))
    }

    /// Adds the rows of a sealed chunk or of the open one that a checkpoint covers.
    pub(super) fn hold_found(&mut self, at: Position, found: &record::Found<'_>) -> Result<()> {
        if found.rows() == 0 {
            return Ok(());
        }
        let (learned, _) = record::decode_labels(found.payload, self.dim, self.bits, self.format)?;
        self.hold(at.sequence, at.offset, &learned)
    }

    /// Lets the rows leave that a checkpoint lists as gone.
    pub(super) fn let_leave(&mut self, chunk: &ChunkRows) {
        let gone = (0..8 * chunk.left.len()).filter(|i| chunk.has_left(*i));
        gone.for_each(|i| {
            self.held.leave(record::Place { sequence: chunk.sequence, index: i as u32 });
        });
    }
}

/// The chunks behind the journal that `root` lists; of format 1, which listed none, those that their first bytes name.
fn listed_by(header: &Header, root: &Root, listed: Vec<ChunkRows>, edges: &[Edge]) -> Vec<ChunkRows> {
    if header.format > 1 {
        return listed;
    }
    let held = root.oldest_sequence..=root.journal.sequence;
    let named = edges.iter().enumerate().filter_map(|(slot, e)| Some((slot as u32, e.named()?)));
    let mut chunks: Vec<_> =
        named.filter(|(_, s)| held.contains(s)).map(|(slot, sequence)| ChunkRows { sequence, slot, left: Vec::new() }).collect();
    chunks.sort_by_key(|c| c.sequence);
    chunks
}

impl Adapter {
    /// Recovers the adapter that `header` describes from its files.
    pub(super) fn recover(folder: Arc<dyn Folder>, header: Header, access: Access, lock: Option<File>) -> Result<Adapter> {
        let here = folder.path().display().to_string();
        let (in_chunks, in_state) = (format!("{here}/{}", header.chunk_file()), format!("{here}/{}", header.state_file()));
        let write = access == Access::Write;
        let open_chunks = |write| folder.open(&header.chunk_file(), header.chunk_file_len_bytes(), write);
        if write && open_chunks(false).is_ok_and(|chunks| chunks.found_bytes() < chunks.len_bytes()) {
            // The writer makes it as long as it was. Should the end of the journal be missing, nothing may hide that.
            Adapter::recover(Arc::clone(&folder), header.clone(), Access::Read, None)?;
        }
        let chunks = open_chunks(write)?;
        let state = folder.open(&header.state_file(), header.state_file_len_bytes(), write)?;
        let state = StateFile::load(state, &header).map_err(|e| e.within(&in_state))?;
        let mut chunks = Chunks::new(chunks, &header, write).map_err(|e| e.within(&in_chunks))?;
        let edges = chunks.survey().map_err(|e| e.within(&in_chunks))?;
        let unreadable = edges.iter().enumerate().filter(|(_, e)| matches!(e, Edge::Unreadable));
        chunks.unreadable = unreadable.map(|(slot, _)| slot as u32).collect();
        let (mut contents, mut listed, mut origins, mut from) = (Contents::of(&header), Vec::new(), Vec::new(), Position::START);
        if let Some(root) = state.newest() {
            if !chunks.admits(root.journal) {
                return Err(Error::new(ErrorKind::Corrupt, "a checkpoint names an impossible place").at(here));
            }
            let (restored, chunks) = Contents::of_root(&header, &state, root).map_err(|e| e.within(&in_state))?;
            (contents, listed) = (restored, listed_by(&header, root, chunks, &edges));
            (origins, from) = (root.origins.clone(), root.journal);
        } else if header.epoch > 0 {
            return Err(Error::new(ErrorKind::Corrupt, "no checkpoint is whole")
                .at(&in_state)
                .cure("restore the adapter from a copy, or salvage its rows: wheatear repair"));
        }
        admit(&mut chunks, &mut contents, &listed, from, &edges)?;
        check_not_overtaken(&edges, from, &here)?;
        let next = contents.next();
        contents.let_rows_wait(true);
        let damaged = chunks.follow(&edges, from, next, &mut |at, found, new| match new {
            true => contents.apply(at, found),
            false => contents.hold_found(at, found),
        })?;
        contents.let_rows_wait(false);
        contents.add_waiting()?;
        if damaged {
            contents.held.lose(from.sequence, chunks.rows_max);
        }
        if let Some(open) = listed.iter().find(|c| c.sequence == from.sequence) {
            contents.let_leave(open);
        }
        contents.held.settle(contents.next_row);
        let damaged = contents.held.chunks_with_missing_rows();
        check_readable(&chunks, &listed, &in_chunks)?;
        let tail = chunks.tail(&edges).map_err(|e| e.within(&in_chunks))?;
        let recovery = match tail {
            Tail::Torn => Recovery::RolledBack { generation: contents.generation },
            Tail::Clean => Recovery::Clean,
        };
        match access {
            Access::Write if header.format > 1 => chunks.mend(&edges, tail).and_then(|()| chunks.seal_again())?,
            _ => check_undisturbed(&chunks, &edges, &in_chunks)?,
        }
        if write {
            // What a writer that was killed had not synced may be in memory alone, and all that follows rests on it.
            chunks.sync()?;
            state.sync()?;
        }
        Ok(Adapter {
            folder,
            header,
            access,
            lock,
            chunks,
            state,
            contents,
            origins,
            unsynced: false,
            failed: false,
            kept: Kept::new(),
            recovery,
            damaged_chunks: damaged,
        })
    }
}

/// Takes in the rows of the sealed chunks that the checkpoint lists. A slot that was taken since holds a later chunk: its rows have left or were carried, which the journal tells.
/// One that was being taken when the power went looks damaged: then too the journal tells that nothing is missing.
fn admit(chunks: &mut Chunks, contents: &mut Contents, listed: &[ChunkRows], from: Position, edges: &[Edge]) -> Result<()> {
    for chunk in listed.iter().filter(|c| c.sequence < from.sequence) {
        let Some(edge) = edges.get(chunk.slot as usize) else {
            return Err(Error::new(ErrorKind::Corrupt, "a checkpoint names an impossible slot").found(chunk.slot));
        };
        if edge.named().is_some_and(|named| named > from.sequence) {
            continue;
        }
        let after = if chunk.sequence + 1 == from.sequence {
            Some(from.slot)
        } else {
            listed.iter().find(|c| c.sequence == chunk.sequence + 1).map(|c| c.slot)
        };
        let follower = after.and_then(|slot| edges.get(slot as usize));
        let sequence = chunk.sequence;
        let sealed = chunks.admit(sequence, chunk.slot, follower, &mut |offset, found| {
            contents.hold_found(Position { sequence, offset, slot: chunk.slot }, found)
        })?;
        match sealed {
            Sealed::Whole => {}
            // Or as many as there can be, so that none that has left or leaves comes back when the chunk can be read again.
            Sealed::Damaged { rows } => contents.held.lose(sequence, rows.unwrap_or(chunks.rows_max)),
        }
        contents.let_leave(chunk);
    }
    Ok(())
}

/// Refuses a list that has two chunks in one slot, or any behind the end of the journal.
fn check_listed(listed: &[ChunkRows], end: Position) -> Result<()> {
    let mut slots = HashSet::new();
    let fits = |c: &ChunkRows| c.sequence <= end.sequence && (c.sequence == end.sequence) == (c.slot == end.slot) && slots.insert(c.slot);
    match listed.is_sorted_by(|a, b| a.sequence < b.sequence) && listed.iter().all(fits) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Corrupt, "a checkpoint lists its chunks in an impossible way")),
    }
}

/// Refuses when the slot in which the journal goes on has been taken by a later chunk.
fn check_not_overtaken(edges: &[Edge], from: Position, here: &str) -> Result<()> {
    match edges.get(from.slot as usize).and_then(Edge::named).filter(|named| *named > from.sequence) {
        None => Ok(()),
        Some(named) => {
            Err(Error::new(ErrorKind::Corrupt, "the newest checkpoints are damaged, and the journal after the older one is gone")
                .at(here)
                .expected(format!("chunk {}", from.sequence))
                .found(format!("chunk {named} in its place"))
                .cure("restore the adapter from a copy, or salvage its rows: wheatear repair"))
        }
    }
}

/// Refuses when a slot cannot be read that may hold the end of the journal: one that nothing is known of, or any, when the
/// journal goes on behind the chunk where it was last seen. A slot that is listed may have been taken for that.
fn check_readable(chunks: &Chunks, listed: &[ChunkRows], in_chunks: &str) -> Result<()> {
    if chunks.unreadable.is_empty() {
        return Ok(());
    }
    let goes_on = chunks.open_damaged || chunks.end_is_sealed()?;
    match chunks.unreadable.iter().find(|slot| goes_on || !listed.iter().any(|c| c.slot == **slot)) {
        None => Ok(()),
        Some(slot) => Err(unreadable(*slot, in_chunks)),
    }
}

fn unreadable(slot: u32, in_chunks: &str) -> Error {
    Error::new(ErrorKind::Storage, "a chunk that may hold the newest rows cannot be read")
        .at(format!("{in_chunks}, slot {slot}"))
        .cure("check the disk (dmesg, SMART) and try again; if it stays so, salvage the rows: wheatear repair")
}

/// For a reader: refuses what it read when the writer beside it took one of the chunks meanwhile.
fn check_undisturbed(chunks: &Chunks, edges: &[Edge], in_chunks: &str) -> Result<()> {
    let now = chunks.survey()?;
    let used = chunks.sealed.values().map(|c| c.slot).chain([chunks.end.slot]);
    let mut moved = used.filter(|slot| now[*slot as usize].named() != edges[*slot as usize].named());
    match moved.next() {
        None => Ok(()),
        Some(slot) if matches!(now[slot as usize], Edge::Unreadable) => Err(unreadable(slot, in_chunks)),
        Some(slot) => Err(Error::new(ErrorKind::Corrupt, "a chunk was taken while it was read").at(format!("{in_chunks}, slot {slot}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_checkpoint_lists_two_chunks_in_one_slot_or_any_behind_its_end() {
        let list = |chunks: &[(u64, u32)]| {
            let chunk = |(sequence, slot): &(u64, u32)| ChunkRows { sequence: *sequence, slot: *slot, left: Vec::new() };
            check_listed(&chunks.iter().map(chunk).collect::<Vec<_>>(), Position { sequence: 5, offset: 512, slot: 0 })
        };
        for good in [&[][..], &[(5, 0)], &[(2, 3), (4, 1), (5, 0)], &[(2, 3)]] {
            list(good).unwrap();
        }
        for bad in [
            &[(2, 3), (4, 3), (5, 0)][..],
            &[(4, 0), (5, 0)],
            &[(5, 1)],
            &[(3, 0)],
            &[(5, 0), (6, 1)],
            &[(4, 1), (4, 2)],
            &[(4, 1), (3, 2)],
        ] {
            assert_eq!(list(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad:?}");
        }
    }
}
