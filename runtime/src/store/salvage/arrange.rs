//! Which of the whole records of a wreck belong together: the chunk that each slot holds now, what in it an earlier chunk of
//! the same slot left behind, and the one course of the journal where two claim the same generation.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::scan::{Piece, Run, Slot};
use crate::store::state::{ChunkRows, Root};

/// A whole record of the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub piece: Piece,
    /// It is of the chunk that its slot holds now: what an earlier one left behind had left replay before.
    pub live: bool,
    /// That chunk, when it is known.
    pub sequence: Option<u64>,
    /// Which row of the chunk its first is, when that is known.
    pub first_row: Option<u32>,
}

/// A slot and the chunk that it holds.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    pub slot: &'a Slot,
    pub sequence: Option<u64>,
    /// Those of the slot's runs that are the chunk's, by offset.
    pub runs: Vec<&'a Run>,
}

/// A journal, as far as it is there.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    /// By generation.
    pub records: BTreeMap<u64, Record>,
    pub chunks: Vec<Chunk<'a>>,
    /// Whole records of a course of the journal that was rolled back.
    pub rolled_back: usize,
}

/// Generations between which the records of a chunk must lie: behind the first, up to the second.
type Bounds = (u64, u64);

/// The first and last generation of chunks whose sequence is sure.
struct Anchors<'a> {
    chunks: BTreeMap<u64, (u64, u64)>,
    roots: &'a [Root],
}

impl Anchors<'_> {
    fn bounds(&self, sequence: u64) -> Bounds {
        let roots = || self.roots.iter().map(|r| (r.journal.sequence, r.generation));
        let before = self.chunks.range(..sequence).map(|(_, (_, last))| *last);
        let before = before.chain(roots().filter(|(s, _)| *s < sequence).map(|(_, g)| g));
        let behind = self.chunks.range(sequence.saturating_add(1)..).map(|(_, (first, _))| first.saturating_sub(1));
        let behind = behind.chain(roots().filter(|(s, _)| *s > sequence).map(|(_, g)| g));
        (before.max().unwrap_or(0), behind.min().unwrap_or(u64::MAX))
    }
}

/// Sorts the records of `slots`; `roots` are the whole roots, `listed` the chunks that the newest of them lists.
pub(super) fn arrange<'a>(slots: &'a [Slot], adapter_id: [u8; 16], roots: &[Root], listed: &[ChunkRows]) -> Journal<'a> {
    let own: Vec<&Slot> = slots.iter().filter(|s| s.opening.as_ref().is_none_or(|o| o.adapter_id == adapter_id)).collect();
    let sequences = sequences(&own, roots, listed);
    let mut journal = Journal { records: BTreeMap::new(), chunks: Vec::new(), rolled_back: 0 };
    let mut runs: Vec<(u8, &Run, Record)> = Vec::new();
    for slot in own {
        let sequence = sequences.get(&slot.number);
        let live = match sequence {
            Some((sequence, bounds)) => live(slot, *sequence, *bounds),
            None => slot.runs.iter().map(Run::is_in_place).collect(),
        };
        let sequence = sequence.map(|(s, _)| *s);
        let first_rows = first_rows(slot, sequence, &live);
        for ((run, live), first_row) in slot.runs.iter().zip(&live).zip(first_rows) {
            let rank = if !live { 2 } else { u8::from(!run.is_in_place()) };
            runs.push((rank, run, Record { piece: *run.first(), live: *live, sequence: sequence.filter(|_| *live), first_row }));
        }
        let runs = slot.runs.iter().zip(&live).filter(|(_, live)| **live).map(|(run, _)| run).collect();
        journal.chunks.push(Chunk { slot, sequence, runs });
    }
    // Where two courses contradict one another, what lies where the records of its chunk begin is the later one.
    runs.sort_by_key(|(rank, run, _)| (*rank, std::cmp::Reverse(run.0.len()), run.first().generation()));
    for (_, run, record) in runs {
        if !agrees(&journal.records, roots, run) {
            journal.rolled_back += run.0.len();
            journal.chunks.iter_mut().for_each(|c| c.runs.retain(|r| !std::ptr::eq(*r, run)));
            continue;
        }
        let mut first_row = record.first_row;
        for piece in &run.0 {
            journal.records.insert(piece.generation(), Record { piece: *piece, first_row, ..record });
            first_row = first_row.map(|row| row + piece.rows);
        }
    }
    journal
}

/// The chunk that each slot holds, and its bounds: its first bytes say so, or what lies around it does.
fn sequences(slots: &[&Slot], roots: &[Root], listed: &[ChunkRows]) -> HashMap<u32, (u64, Bounds)> {
    let mut named: BTreeMap<u64, &Slot> = BTreeMap::new();
    for slot in slots {
        let Some(opening) = &slot.opening else { continue };
        let other = named.get(&opening.sequence);
        if other.is_none_or(|o| slot.records() > o.records()) {
            named.insert(opening.sequence, slot);
        }
    }
    let edges = |run: &Run| (run.first().generation(), run.last().generation());
    let in_place = |slot: &Slot| slot.in_place().map(edges);
    let mut anchors = Anchors { chunks: named.iter().filter_map(|(s, slot)| Some((*s, in_place(slot)?))).collect(), roots };
    // Power cut while a chunk was begun: its first bytes are there, and its records are still those of the slot's earlier one.
    if let Some((newest, edges)) = anchors.chunks.pop_last()
        && anchors.chunks.values().all(|(_, last)| *last < edges.0)
    {
        anchors.chunks.insert(newest, edges);
    }
    let mut taken: HashSet<u64> = named.keys().copied().collect();
    let mut found: HashMap<u32, u64> = named.iter().map(|(s, slot)| (slot.number, *s)).collect();
    let mut ends = Ends::default();
    named.iter().for_each(|(sequence, slot)| ends.note(*sequence, slot));
    loop {
        let nameless = slots.iter().filter(|s| !s.runs.is_empty() && !found.contains_key(&s.number));
        let next = nameless.into_iter().find_map(|slot| {
            let listed = listed.iter().find(|c| c.slot == slot.number).map(|c| c.sequence);
            let sealed = slot.seal.as_ref().filter(|s| slot.runs.iter().any(|r| r.last().end() == s.used_bytes)).map(|s| s.sequence);
            let fits = |s: &u64| !taken.contains(s) && live(slot, *s, anchors.bounds(*s)).contains(&true);
            [ends.behind(slot), ends.before(slot), listed, sealed].into_iter().flatten().find(fits).map(|s| (*slot, s))
        });
        let Some((slot, sequence)) = next else { break };
        found.insert(slot.number, sequence);
        taken.insert(sequence);
        ends.note(sequence, slot);
        if let Some(edges) = in_place(slot) {
            anchors.chunks.insert(sequence, edges);
        }
    }
    found.into_iter().map(|(slot, sequence)| (slot, (sequence, anchors.bounds(sequence)))).collect()
}

/// How chunks end and begin, so that one whose first bytes are damaged is known by its neighbours.
#[derive(Default)]
struct Ends {
    /// Chunk by the checksum of its last record.
    last: HashMap<u64, u64>,
    /// Chunk by the checksum that its first record is linked to.
    first: HashMap<u64, u64>,
}

impl Ends {
    fn note(&mut self, sequence: u64, slot: &Slot) {
        if let Some(run) = slot.in_place() {
            self.last.insert(run.last().check, sequence);
            self.first.insert(run.first().link.chain, sequence);
        }
    }

    fn behind(&self, slot: &Slot) -> Option<u64> {
        self.last.get(&slot.in_place()?.first().link.chain)?.checked_add(1)
    }

    fn before(&self, slot: &Slot) -> Option<u64> {
        slot.runs.iter().find_map(|r| self.first.get(&r.last().check))?.checked_sub(1)
    }
}

/// Which runs of a slot are of the chunk `sequence`: their generations go up, lie within `bounds`, and the seal covers them.
fn live(slot: &Slot, sequence: u64, bounds: Bounds) -> Vec<bool> {
    let (mut last, mut before) = (bounds.0, None::<&Piece>);
    let used_bytes = slot.seal_of(sequence).map_or(u32::MAX, |s| s.used_bytes);
    let mut all = Vec::new();
    for run in &slot.runs {
        let (first, end) = (run.first(), run.last());
        let next = first.generation() == last.wrapping_add(1);
        let contradicts = next && before.is_some_and(|b| first.link.chain != b.check);
        let fits = first.generation() > last && end.generation() <= bounds.1 && end.end() <= used_bytes && !contradicts;
        if fits {
            (last, before) = (end.generation(), Some(end));
        }
        all.push(fits);
    }
    all
}

/// Which row of its chunk the first of each run is: counted from the chunk's begin, or behind a gap from its end.
fn first_rows(slot: &Slot, sequence: Option<u64>, live: &[bool]) -> Vec<Option<u32>> {
    let last = live.iter().rposition(|l| *l);
    let seal = sequence.and_then(|s| slot.seal_of(s));
    let of = |(i, run): (usize, &Run)| {
        let from_end = || seal.filter(|s| Some(i) == last && run.last().end() == s.used_bytes)?.rows.checked_sub(run.rows());
        if !live[i] {
            None
        } else if run.is_in_place() {
            Some(0)
        } else {
            from_end()
        }
    };
    slot.runs.iter().enumerate().map(of).collect()
}

/// True when a run can be of the same course of the journal as the records so far and the roots.
fn agrees(records: &BTreeMap<u64, Record>, roots: &[Root], run: &Run) -> bool {
    let (first, last) = (run.first(), run.last());
    let follows = |before: u64| first.link.chain == before;
    let at = |generation: u64| records.get(&generation).map(|r| &r.piece);
    let free = records.range(first.generation()..=last.generation()).next().is_none();
    let behind = at(first.generation().wrapping_sub(1)).is_none_or(|p| follows(p.check));
    let before = at(last.generation().wrapping_add(1)).is_none_or(|p| p.link.chain == last.check);
    let by_root = |root: &Root| match root.generation {
        g if g == first.generation().wrapping_sub(1) => follows(root.chain),
        g if (first.generation()..=last.generation()).contains(&g) => run.0[(g - first.generation()) as usize].check == root.chain,
        _ => true,
    };
    free && behind && before && roots.iter().all(by_root)
}
