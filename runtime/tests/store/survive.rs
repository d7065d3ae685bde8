//! What must hold of an adapter that is opened after a power cut.

use std::collections::BTreeMap;

use wheatear::ErrorKind;
use wheatear::store::pack::unpack;
use wheatear::store::{Access, Adapter, Durability, Header, Recovery};

use crate::diary::{BITS, Diary, State, Sums};
use crate::disk::Disk;
use crate::pages::Snapshot;
use crate::world::{Row, batch, held, row, sums_of, teach};

/// What an adapter shows beside its statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    held: Vec<(u64, Row)>,
    /// Recordings: whether they were finished, and rows of those that were not.
    sources: Vec<(u64, bool, u64)>,
    oldest_undoable: Option<u64>,
}

/// What is expected of the survivors of one life.
pub struct Expected<'a> {
    pub diary: &'a Diary,
    /// What the adapter showed at each generation when nothing was lost; empty where that is not known.
    pub seen: BTreeMap<u64, Seen>,
    /// The adapter may not be there at all: this one was being made.
    pub creating: Option<Header>,
}

pub type Check<T> = Result<T, String>;

pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Check<()> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Looks at an adapter: each row is held once, where it lies as when it is read, and as often as it is counted.
pub fn look(adapter: &Adapter) -> Check<Seen> {
    let mut rows = held(adapter).map_err(|e| format!("rows cannot be read: {e}"))?;
    let mut in_place = Vec::new();
    let looked = adapter.rows_in_place(|row| {
        let mut latent = vec![0i8; adapter.dim()];
        unpack(row.packed, adapter.header().creation.bits, &mut latent)?;
        in_place.push((row.id, latent, row.labels.clone()));
        Ok(())
    });
    looked.map_err(|e| format!("rows cannot be read in place: {e}"))?;
    let alike =
        |((id, row), (other, latent, labels)): (&(u64, Row), &(u64, Vec<i8>, _))| (id, &row.latent, &row.labels) == (other, latent, labels);
    ensure(rows.len() == in_place.len() && rows.iter().zip(&in_place).all(alike), || "rows differ where they lie".into())?;
    ensure(adapter.held_rows() == rows.len() as u64, || format!("{} rows held, {} found", adapter.held_rows(), rows.len()))?;
    rows.sort_by_key(|(id, _)| *id);
    ensure(rows.windows(2).all(|w| w[0].0 != w[1].0), || "a row is held twice".into())?;
    let mut sources: Vec<_> = adapter.sources().map(|s| (s, adapter.has_source(s), adapter.rows_of_unfinished(s))).collect();
    sources.sort();
    Ok(Seen { held: rows, sources, oldest_undoable: adapter.oldest_undoable_row() })
}

impl Expected<'_> {
    /// Opens what a power cut left, reading and writing, compares it with the diary, teaches on, and opens it again. Returns
    /// the state in which it was; `None` when there was no adapter yet.
    pub fn check(&self, image: &Snapshot, promised: Option<(usize, u64)>, attempted: usize) -> Check<Option<usize>> {
        let disk = Disk::at(image.clone());
        let reader = match disk.open(Access::Read) {
            Err(e) if promised.is_none() && e.kind() == ErrorKind::Missing && !image.names.contains_key("header") => {
                return self.make_again(&disk).map(|()| None);
            }
            opened => opened.map_err(|e| format!("reading: {e}"))?,
        };
        let state = self.examine(&reader, attempted)?;
        let generation = reader.generation();
        let promised = promised.unwrap_or((0, 0));
        let short = state < promised.0 || generation < promised.1;
        ensure(!short, || format!("state {state} of generation {generation}, but {promised:?} was durable"))?;
        ensure(disk.operations() == 0, || "a reader wrote".into())?;
        let old = reader.header().format == 1;
        let before = look(&reader)?;
        drop(reader);
        let mut writer = disk.open(Access::Write).map_err(|e| format!("writing: {e}"))?;
        ensure(old || writer.generation() == generation, || format!("reader at {generation}, writer at {}", writer.generation()))?;
        ensure(sums_of(&writer) == *self.diary.states[state].sums(self.diary.dim), || "the writer has other statistics".into())?;
        ensure(look(&writer)? == before, || "the writer holds other rows".into())?;
        self.teach_on(&disk, &mut writer, state)?;
        drop(writer);
        Ok(Some(state))
    }

    /// Finds the state that an adapter is in, and compares it.
    fn examine(&self, adapter: &Adapter, attempted: usize) -> Check<usize> {
        let generation = adapter.generation();
        let state = self.diary.find(adapter, attempted);
        let state = state.ok_or_else(|| format!("statistics that never were, at generation {generation}: {}", counts(adapter)))?;
        ensure(adapter.damaged_chunks() == 0, || format!("{} damaged chunks", adapter.damaged_chunks()))?;
        let seen = look(adapter)?;
        compare(&seen, &self.diary.states[state], adapter)?;
        if !self.seen.is_empty() {
            let then = self.seen.get(&generation).ok_or_else(|| format!("generation {generation} never was"))?;
            ensure(*then == seen, || format!("generation {generation} showed {then:?}, shows {seen:?}"))?;
        }
        Ok(state)
    }

    /// One more row is learned and is there when it is opened again, and nothing else comes with it.
    fn teach_on(&self, disk: &Disk, writer: &mut Adapter, state: usize) -> Check<()> {
        let names: Vec<String> = disk.snapshot().names.into_keys().collect();
        let header = writer.header();
        ensure(names == [header.chunk_file(), "header".into(), header.state_file()], || format!("files {names:?}"))?;
        let state = &self.diary.states[state];
        let more = one_more(self.diary.dim);
        let batch = wheatear::store::Batch { origin: writer.origin(), ..batch(0, false) };
        let ack = teach(writer, &batch, std::slice::from_ref(&more), Durability::Now).map_err(|e| format!("teaching on: {e}"))?;
        ensure(ack.durable && !state.rows.contains_key(&ack.first_row), || format!("{ack:?}"))?;
        let after = state.sums_with(&more, self.diary.dim);
        ensure(sums_of(writer) == *after, || "teaching on gave other statistics".into())?;
        let seen = look(writer)?;
        for access in [Access::Read, Access::Write] {
            let again = disk.open(access).map_err(|e| format!("opening again ({access:?}): {e}"))?;
            ensure(sums_of(&again) == *after, || format!("after teaching on and opening ({access:?}): {}", counts(&again)))?;
            ensure(again.recovery() == Recovery::Clean && again.damaged_chunks() == 0, || "not clean after teaching on".into())?;
            ensure(look(&again)? == seen, || "other rows after teaching on".into())?;
        }
        ensure(seen.held.iter().any(|(id, row)| *id == ack.first_row && *row == more), || "the new row is not held".into())
    }

    /// The making was cut off: it is begun again, and what was left is no hindrance.
    fn make_again(&self, disk: &Disk) -> Check<()> {
        let header = self.creating.clone().ok_or("there is no adapter any more")?;
        let mut adapter = Adapter::create_in(disk.folder(), header).map_err(|e| format!("making it again: {e}"))?;
        self.teach_on(disk, &mut adapter, 0)
    }
}

/// The row that is taught to survivors.
pub fn one_more(dim: usize) -> Row {
    row(100_003, dim, BITS)
}

/// The held rows are among those that are counted, labelled as they are now, and none is missing that undo reaches.
fn compare(seen: &Seen, state: &State, adapter: &Adapter) -> Check<()> {
    for (id, row) in &seen.held {
        let known = state.rows.get(id).ok_or_else(|| format!("row {id} is held and not counted"))?;
        ensure(known.row == *row, || format!("row {id} is {row:?}, was {:?}", known.row))?;
    }
    let evicted = (state.rows.len() - seen.held.len()) as u64;
    ensure(adapter.evicted_rows() == evicted, || format!("{} rows evicted, {evicted} missing", adapter.evicted_rows()))?;
    let undoable = seen.oldest_undoable.unwrap_or(u64::MAX);
    let missing = state.rows.keys().find(|id| **id >= undoable && seen.held.binary_search_by_key(*id, |(id, _)| *id).is_err());
    ensure(missing.is_none(), || format!("row {missing:?} is within the undo horizon and not held"))
}

fn counts(adapter: &Adapter) -> String {
    let count = |sums: &Sums| sums.keys().map(|kind| (*kind, adapter.block(*kind).ok().flatten().map(|b| b.rows()))).collect::<Vec<_>>();
    format!("{:?}", count(&sums_of(adapter)))
}
