//! What is damaged in a chunk file, found by comparing what is there with what seals, neighbours and checkpoints say.

use std::collections::BTreeMap;

use super::arrange::{Chunk, Journal};
use super::base::Listed;
use super::report::{Damage, Wrong};
use super::scan::Slot;
use super::wreck::ChunkFile;
use crate::Result;
use crate::store::chunks::{CHUNK_EDGE_BYTES, Position};
use crate::store::journal::begins_record;
use crate::store::record::Link;

/// Bytes kept for the frame at either end of a chunk.
const EDGE: u32 = CHUNK_EDGE_BYTES as u32;

impl ChunkFile {
    /// Everything that is damaged in it, save for what its length and its unreadable sectors show alone.
    ///
    /// # Errors
    /// `Storage` when it cannot be read.
    pub fn damage(&mut self, slots: &[Slot], journal: &Journal<'_>, listed: Option<&Listed>) -> Result<Vec<Damage>> {
        let mut found = Vec::new();
        let known: BTreeMap<u64, &Chunk<'_>> = journal.chunks.iter().filter_map(|c| Some((c.sequence?, c))).collect();
        let newest = known.iter().rev().find(|(_, c)| !c.runs.is_empty()).map(|(s, c)| (*s, *c));
        let whole = (0, self.chunk_len);
        for slot in slots.iter().filter(|s| !journal.chunks.iter().any(|c| c.slot.number == s.number)) {
            found.push(self.at(slot.number, None, whole, Wrong::Foreign));
        }
        for (sequence, chunk) in &known {
            let needed = listed.is_none_or(|l| *sequence >= l.journal.sequence || l.chunks.iter().any(|c| c.sequence == *sequence));
            if needed {
                let next = known.get(&sequence.saturating_add(1)).and_then(|c| c.runs.first()).filter(|r| r.is_in_place());
                let gaps = chunk.gaps(next.map(|r| r.first().generation()), listed, self.chunk_len);
                found.extend(gaps.into_iter().map(|gap| self.at(chunk.slot.number, Some(*sequence), gap, Wrong::Records)));
                found.extend(self.frames(*sequence, chunk, newest.is_some_and(|(s, _)| s > *sequence)));
            }
        }
        for chunk in listed.iter().flat_map(|l| &l.chunks).filter(|c| !known.contains_key(&c.sequence)) {
            let end = listed.map(|l| l.journal);
            let taken = known.iter().any(|(s, c)| c.slot.number == chunk.slot && Some(*s) > end.map(|e| e.sequence));
            if !taken && end.is_none_or(|e| e.sequence != chunk.sequence || e.offset > EDGE) {
                found.push(self.at(chunk.slot, Some(chunk.sequence), whole, Wrong::Records));
            }
        }
        if let Some((sequence, newest)) = newest {
            found.extend(self.tail(sequence, newest, &known)?);
        }
        Ok(found)
    }

    fn at(&self, slot: u32, chunk: Option<u64>, (start, end): (u32, u32), what: Wrong) -> Damage {
        let bytes = self.start_of(slot) + u64::from(start)..self.start_of(slot) + u64::from(end);
        Damage::new(&self.name, bytes, what).in_chunk(chunk)
    }

    /// Damage to the frames at either end of a chunk.
    fn frames(&self, sequence: u64, chunk: &Chunk<'_>, is_sealed: bool) -> Vec<Damage> {
        let (slot, here) = (chunk.slot, Some(sequence));
        let opening = slot.opening.is_none().then(|| self.at(slot.number, here, (0, EDGE), Wrong::Opening));
        let lost = is_sealed && slot.seal_of(sequence).is_none();
        let seal = lost.then(|| self.at(slot.number, here, (self.chunk_len - EDGE, self.chunk_len), Wrong::Seal));
        opening.into_iter().chain(seal).collect()
    }

    /// What may have been behind the newest record.
    fn tail(&mut self, sequence: u64, newest: &Chunk<'_>, known: &BTreeMap<u64, &Chunk<'_>>) -> Result<Vec<Damage>> {
        let Some(last) = newest.runs.last().map(|r| *r.last()) else { return Ok(Vec::new()) };
        let (slot, here) = (newest.slot.number, Some(sequence));
        let next = Link { generation: last.generation().wrapping_add(1), chain: last.check };
        let begins = begins_record(&self.slot(slot)?[last.end() as usize..], next);
        let sealed = newest.slot.seal_of(sequence).is_some();
        let begun = sealed || known.contains_key(&sequence.saturating_add(1));
        let mut found = Vec::new();
        if begins || begun {
            found.push(self.at(slot, here, (last.end(), self.chunk_len - EDGE), Wrong::Tail));
        }
        // What is cut off, and what cannot be read in a slot of which nothing is known, may have been the end of the journal.
        if self.len_bytes() < self.made_len && (sealed || self.len_bytes() < self.start_of(slot + 1)) {
            found.push(Damage::new(&self.name, self.len_bytes()..self.made_len, Wrong::Records));
        }
        for bytes in self.unreadable() {
            let mut slots = (0..self.slots).filter(|s| self.start_of(*s) < bytes.end && bytes.start < self.start_of(s + 1));
            if slots.any(|s| !known.values().any(|c| c.slot.number == s)) {
                found.push(Damage::new(&self.name, bytes, Wrong::Records));
            }
        }
        Ok(found)
    }
}

impl Chunk<'_> {
    /// Ranges of the chunk's bytes where records were and no whole one is: as its seal or a checkpoint says, or the next
    /// chunk, which begins with the generation `followed_by`.
    fn gaps(&self, followed_by: Option<u64>, listed: Option<&Listed>, chunk_len: u32) -> Vec<(u32, u32)> {
        let mut gaps = Vec::new();
        let mut end = EDGE;
        for run in &self.runs {
            if run.first().offset > end {
                gaps.push((end, run.first().offset));
            }
            end = run.last().end();
        }
        let full = chunk_len - EDGE;
        let last = self.runs.last().map(|r| r.last().generation());
        let cut = followed_by.zip(last).is_some_and(|(next, last)| next > last.saturating_add(1));
        let open = listed.filter(|l| Some(l.journal.sequence) == self.sequence).map(|l| l.journal.offset);
        let is_sealed = listed.is_some_and(|l| l.chunks.iter().any(|c| Some(c.sequence) == self.sequence));
        let used = match (self.sequence.and_then(|s| self.slot.seal_of(s)), open) {
            (Some(seal), _) => seal.used_bytes,
            (None, Some(open)) if !cut => open,
            // Where it ended nobody knows; that records are missing is sure.
            _ if cut || is_sealed && last.is_none() => full,
            _ => end,
        };
        if used > end && used <= full {
            gaps.push((end, used));
        }
        gaps
    }
}

impl Journal<'_> {
    /// How many rows of its chunk lie before `end`, where that is known.
    pub fn rows_before(&self, end: Position) -> Option<u32> {
        if end.offset == EDGE {
            return Some(0);
        }
        let chunk = self.chunks.iter().find(|c| c.sequence == Some(end.sequence))?;
        let run = chunk.runs.first().filter(|r| r.is_in_place())?;
        let before = run.0.iter().take_while(|p| p.end() <= end.offset);
        let (rows, reached) = before.fold((0, EDGE), |(rows, _), p| (rows + p.rows, p.end()));
        Some(rows).filter(|_| reached == end.offset)
    }
}
