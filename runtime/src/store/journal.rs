//! Reading a chunk file that was closed by a power cut: what lies in which slot, how far the journal goes, what was being
//! written behind it, and which sealed chunks are whole.

use std::collections::HashSet;

use super::chunks::{CHUNK_EDGE_BYTES, Chunk, Chunks, Position, Records};
use super::frame::{FRAME_LEN_BYTES, MAGIC};
use super::record::{self, ALIGN_BYTES, Found, Link};
use crate::{Error, ErrorKind, Result};

/// Bytes of the first record that [`Chunks::survey`] looks at: as far as its generation and chain.
const HEAD_LEN_BYTES: usize = FRAME_LEN_BYTES + 16;
/// Bytes wiped at the start of a chunk that was being begun.
const BEGUN_LEN_BYTES: usize = 2 * CHUNK_EDGE_BYTES;

/// What the first bytes of a slot say.
#[derive(Debug, Clone)]
pub(super) enum Edge {
    /// They cannot be read.
    Unreadable,
    /// The sequence they name, if they are whole, and the head of the first record.
    Read { named: Option<u64>, head: [u8; HEAD_LEN_BYTES] },
}

impl Edge {
    pub fn named(&self) -> Option<u64> {
        match self {
            Edge::Read { named, .. } => *named,
            Edge::Unreadable => None,
        }
    }

    fn head(&self) -> &[u8] {
        match self {
            Edge::Read { head, .. } => head,
            Edge::Unreadable => &[],
        }
    }

    /// The place of the first record, whose checksum is not looked at.
    fn first(&self) -> Option<Link> {
        link_of(self.head())
    }
}

/// What a sealed chunk turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sealed {
    /// Every record is there.
    Whole,
    /// Its rows cannot be read; so many they were, if the seal can.
    Damaged { rows: Option<u32> },
}

/// What a scan of a journal found at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing was being written.
    Clean,
    /// Bytes of a record that was never acknowledged.
    Torn,
}

impl Chunks {
    /// Reads the first bytes of every slot.
    ///
    /// # Errors
    /// `Corrupt` when a chunk belongs to another adapter.
    pub(super) fn survey(&self) -> Result<Vec<Edge>> {
        let mut first = [0u8; CHUNK_EDGE_BYTES + HEAD_LEN_BYTES];
        let mut edge = |slot| {
            if self.storage.read_at(self.start_of(slot), &mut first).is_err() {
                return Ok(Edge::Unreadable);
            }
            let mut head = [0u8; HEAD_LEN_BYTES];
            head.copy_from_slice(&first[CHUNK_EDGE_BYTES..]);
            Ok(Edge::Read { named: self.named(&first)?, head })
        };
        (0..self.slots).map(&mut edge).collect()
    }

    /// Can a journal end there?
    pub(super) fn admits(&self, position: Position) -> bool {
        let offset = position.offset as usize;
        (CHUNK_EDGE_BYTES..=self.chunk_len - CHUNK_EDGE_BYTES).contains(&offset)
            && offset.is_multiple_of(ALIGN_BYTES)
            && position.slot < self.slots
    }

    /// Follows the journal from `from`, whose record must be `next`, and hands each record with its place to `visit`, with
    /// `false` those of the first chunk that lie before `from`. Leaves the end of the journal behind the last whole record.
    /// The chain alone decides, so the damaged first bytes of a chunk lose nothing. Returns whether a record before `from` is
    /// damaged: then none of those before is handed out, and the rows of that chunk cannot be told apart.
    ///
    /// # Errors
    /// What `visit` returns; `Mismatch` when a newer version wrote a record; `Storage` when a chunk cannot be read.
    pub(super) fn follow(
        &mut self,
        edges: &[Edge],
        from: Position,
        next: Link,
        visit: &mut dyn FnMut(Position, &Found<'_>, bool) -> Result<()>,
    ) -> Result<bool> {
        let (mut position, mut next, mut buffer, mut any_damaged) = (from, next, Vec::new(), false);
        loop {
            let bytes = self.raw(position.slot, &mut buffer)?;
            let offset = position.offset as usize;
            let (mut damaged, mut rows) = (false, 0);
            if offset > CHUNK_EDGE_BYTES {
                let before = || Records { bytes, offset: CHUNK_EDGE_BYTES, limit: offset, next: None };
                let mut all = before();
                (&mut all).for_each(drop);
                damaged = all.offset != offset || all.next != Some(next);
                if !damaged {
                    rows += before().map(|(_, found)| found.rows()).sum::<usize>();
                    damaged = !readable(before().try_for_each(|(at, found)| visit(Position { offset: at, ..position }, &found, false)))?;
                }
            }
            let mut records = self.records_in(bytes, offset, Some(next));
            for (at, found) in &mut records {
                rows += found.rows();
                visit(Position { offset: at, ..position }, &found, true)?;
            }
            if let Err(e) = record::decode(bytes.get(records.offset..records.limit).unwrap_or_default())
                && e.kind() == ErrorKind::Mismatch
            {
                return Err(e);
            }
            next = records.next.unwrap_or(next);
            position.offset = records.offset as u32;
            let sealed = self.seal_of(bytes, position.sequence).is_some_and(|seal| seal.used_bytes == position.offset);
            (self.end, self.next, self.rows_in_open, self.open_damaged) = (position, next, rows as u32, damaged);
            any_damaged |= damaged;
            let Some(slot) = self.slot_of_next(edges, from.sequence) else { return Ok(any_damaged) };
            let bytes = self.raw(slot, &mut buffer)?;
            if self.records_in(bytes, CHUNK_EDGE_BYTES, Some(next)).next().is_none() {
                return Ok(any_damaged);
            }
            let whole = Some((position.offset, next)).filter(|_| !damaged);
            self.torn_seals.extend(Some(position.sequence).filter(|_| !sealed && !damaged));
            self.keep(position.sequence, Chunk { slot: position.slot, whole })?;
            position = Position { sequence: position.sequence + 1, offset: CHUNK_EDGE_BYTES as u32, slot };
        }
    }

    /// Where the chunk behind the end lies: it says so, or its first bytes are damaged and its first record follows the last.
    /// Never where the journal has been since chunk `first`.
    fn slot_of_next(&self, edges: &[Edge], first: u64) -> Option<u32> {
        let been: HashSet<u32> = self.sealed.range(first..).map(|(_, c)| c.slot).chain([self.end.slot]).collect();
        let others = || (0..).zip(edges).filter(|(slot, _)| !been.contains(slot));
        let wanted = self.end.sequence + 1;
        let named = others().find(|(_, e)| e.named() == Some(wanted));
        let unnamed = || others().find(|(_, e)| e.named().is_none() && e.first() == Some(self.next));
        named.or_else(unnamed).map(|(slot, _)| slot)
    }

    /// After [`Chunks::follow`]: was the last chunk that was found sealed? Then another one was begun behind it.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub(super) fn end_is_sealed(&self) -> Result<bool> {
        let mut buffer = Vec::new();
        Ok(self.seal_of(self.raw(self.end.slot, &mut buffer)?, self.end.sequence).is_some())
    }

    /// After [`Chunks::follow`]: was something being written behind the end?
    ///
    /// # Errors
    /// `Corrupt` when what is missing had been durable: a chunk is begun only behind durable ones. And when the file was cut
    /// short and the end with it, since what stood there may have been durable.
    pub(super) fn tail(&self, edges: &[Edge]) -> Result<Tail> {
        let mut buffer = Vec::new();
        let bytes = self.raw(self.end.slot, &mut buffer)?;
        let end = self.end.offset as usize;
        let seal = self.seal_of(bytes, self.end.sequence);
        let (found, whole) = (self.storage.found_bytes(), self.storage.len_bytes());
        // A sealed chunk has one behind it, unless the power went just then.
        if found < whole && (found < self.start_of(self.end.slot + 1) || seal.is_some()) {
            return Err(Error::new(ErrorKind::Corrupt, "the chunk file was cut short, and the end of the journal with it")
                .expected(format!("{whole} bytes"))
                .found(format!("{found} bytes"))
                .cure("restore the adapter from a copy, or salvage its rows: wheatear repair"));
        }
        let newest = edges.iter().filter_map(Edge::named).max();
        let mut lost = newest.is_some_and(|n| n > self.end.sequence + 1) || seal.as_ref().is_some_and(|s| s.used_bytes > self.end.offset);
        // Of several records that were being written the first may be missing, and those behind it torn.
        let behind = heads_from(bytes, end, self.next.generation);
        let mut begun = seal.is_some() || begins_record(&bytes[end..], self.next) || !behind.is_empty();
        lost |= self.proves_loss(bytes, &behind);
        for (slot, edge) in self.begun_behind(edges) {
            let mut buffer = Vec::new();
            let bytes = self.raw(slot, &mut buffer)?;
            lost |= self.proves_loss(bytes, &heads_from(bytes, CHUNK_EDGE_BYTES, self.next.generation));
            let first = self.records_in(bytes, CHUNK_EDGE_BYTES, None).next().map(|(_, f)| f.link.generation);
            begun |= self.is_next(edge) || first.is_some();
            // The very next one is whole where only its chunk's first bytes were torn away.
            lost |= first.is_some_and(|generation| generation > self.next.generation);
        }
        if lost {
            return Err(Error::new(ErrorKind::Corrupt, "a record in the middle of the journal is damaged")
                .at(format!("chunk {}, byte {end}", self.end.sequence))
                .expected(format!("generation {}", self.next.generation))
                .cure("restore the adapter from a copy, or salvage its rows: wheatear repair"));
        }
        Ok(if begun { Tail::Torn } else { Tail::Clean })
    }

    /// True when one of the records that begin at `heads` stands behind a missing one that was durable when it was written.
    fn proves_loss(&self, bytes: &[u8], heads: &[usize]) -> bool {
        let proves = |f: Found<'_>| f.settled && f.link.generation > self.next.generation;
        heads.iter().any(|at| record::decode(&bytes[*at..self.chunk_len - CHUNK_EDGE_BYTES]).is_ok_and(proves))
    }

    /// True when the chunk behind the end of the journal seems to begin there.
    fn is_next(&self, edge: &Edge) -> bool {
        edge.named() == Some(self.end.sequence + 1) || begins_record(edge.head(), self.next)
    }

    /// The slots where a chunk may have been begun behind the end of the journal; never those of its own chunks.
    fn begun_behind<'a>(&self, edges: &'a [Edge]) -> Vec<(u32, &'a Edge)> {
        let own: HashSet<u32> = self.sealed.values().map(|c| c.slot).chain([self.end.slot]).collect();
        let later = |edge: &Edge| edge.first().is_some_and(|link| link.generation >= self.next.generation);
        (0..).zip(edges).filter(|(slot, edge)| !own.contains(slot) && (self.is_next(edge) || later(edge))).collect()
    }

    /// Makes the bytes behind the end as if nothing had ever been written there, so that no stale record can follow a new one
    /// that is equal to the one it once followed; and writes the first bytes of the open chunk again if they are damaged.
    /// Durable only after [`Chunks::sync`].
    ///
    /// # Errors
    /// `Storage` when a write fails.
    pub(super) fn mend(&mut self, edges: &[Edge], tail: Tail) -> Result<()> {
        let start = self.start_of(self.end.slot);
        let begun = self.end.offset as usize > CHUNK_EDGE_BYTES;
        let nameless = begun && edges[self.end.slot as usize].named() != Some(self.end.sequence);
        if nameless {
            self.storage.write_at(start, &self.opening()?)?;
        }
        if tail == Tail::Torn {
            for (slot, _) in self.begun_behind(edges) {
                self.storage.write_at(self.start_of(slot), &[0; BEGUN_LEN_BYTES])?;
            }
            let rest = vec![0u8; self.chunk_len - self.end.offset as usize];
            self.storage.write_at(start + u64::from(self.end.offset), &rest)?;
        }
        Ok(())
    }

    /// Looks at the sealed chunk `sequence` in `slot`, keeps it, and hands its records to `visit` when it is whole: each has
    /// its checksum, and the last is where the seal says or, the seal being lost, what the first of `follower` is linked to.
    /// Returns what it turned out to be.
    ///
    /// # Errors
    /// What `visit` returns, save for `Corrupt`: then it is damaged.
    pub(super) fn admit(
        &mut self,
        sequence: u64,
        slot: u32,
        follower: Option<&Edge>,
        visit: &mut dyn FnMut(u32, &Found<'_>) -> Result<()>,
    ) -> Result<Sealed> {
        let mut buffer = Vec::new();
        let (mut whole, mut rows, mut torn) = (None, None, false);
        // What cannot be read is damaged: the checkpoint covers it.
        if let Ok(bytes) = self.raw(slot, &mut buffer) {
            let mut all = self.records_in(bytes, CHUNK_EDGE_BYTES, None);
            let records: Vec<_> = (&mut all).collect();
            let (end, next) = (all.offset, all.next);
            let sealed = self.seal_of(bytes, sequence);
            let by_seal = sealed.as_ref().is_some_and(|s| s.used_bytes as usize == end);
            rows = sealed.map(|s| s.rows).filter(|n| *n <= self.rows_max);
            let by_chain = next.is_some() && follower.and_then(Edge::first) == next;
            if (by_seal || by_chain) && readable(records.iter().try_for_each(|(at, found)| visit(*at, found)))? {
                whole = next.map(|next| (end as u32, next));
                torn = whole.is_some() && !by_seal;
            }
        }
        self.torn_seals.extend(Some(sequence).filter(|_| torn));
        self.keep(sequence, Chunk { slot, whole })?;
        Ok(if whole.is_some() { Sealed::Whole } else { Sealed::Damaged { rows } })
    }
}

/// False when a whole record that the checkpoint covers says what makes no sense: it is damage like any other.
fn readable(visited: Result<()>) -> Result<bool> {
    match visited {
        Err(e) if e.kind() == ErrorKind::Corrupt => Ok(false),
        visited => visited.map(|()| true),
    }
}

/// The place of the record whose first bytes these are; its checksum is not looked at.
fn link_of(head: &[u8]) -> Option<Link> {
    let word = |at: usize| head.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default()));
    Some(Link { generation: word(FRAME_LEN_BYTES)?, chain: word(FRAME_LEN_BYTES + 8)? }).filter(|_| head[..4] == MAGIC)
}

/// Where from `from` on records of a chunk seem to begin whose generation is `generation` or a later one.
pub(super) fn heads_from(bytes: &[u8], from: usize, generation: u64) -> Vec<usize> {
    let limit = bytes.len() - CHUNK_EDGE_BYTES;
    let later = |at: &usize| link_of(&bytes[*at..limit]).is_some_and(|link| link.generation >= generation);
    (from..limit).step_by(ALIGN_BYTES).filter(later).collect()
}

/// True when `bytes` begin like the record that would follow: two of magic, generation and chain are its own, so that
/// damage to any one of them does not hide it. A stale record has the magic alone.
pub(super) fn begins_record(bytes: &[u8], next: Link) -> bool {
    let at = |from: usize, wanted: &[u8]| bytes.get(from..from + wanted.len()) == Some(wanted);
    let signs = [at(0, &MAGIC), at(FRAME_LEN_BYTES, &next.generation.to_le_bytes()), at(FRAME_LEN_BYTES + 8, &next.chain.to_le_bytes())];
    signs.into_iter().filter(|s| *s).count() >= 2
}
