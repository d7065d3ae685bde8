//! A life with an adapter and the diary kept beside it: a model that knows, row by row and from what was called alone, which
//! states the adapter goes through. Only which rows have left replay is taken from the adapter, since that is its choice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use wheatear::Result;
use wheatear::learn::{BlockKind, ClassName, LabelSet, Origin};
use wheatear::store::{Access, Adapter, Batch, Durability, Header};
use wheatear::units::Moment;

use crate::disk::Disk;
use crate::world::{Row, batch, held, row, sums, sums_of, teach};

pub const BITS: u8 = 6;

/// Blocks in canonical form.
pub type Sums = BTreeMap<BlockKind, Vec<u8>>;

/// A row that the statistics count, as it is labelled now.
#[derive(Clone)]
pub struct Known {
    pub row: Row,
    origin: Origin,
    source: u64,
    /// When it was taught, and who said what it is.
    time_ns: u64,
    by: String,
}

pub type Rows = BTreeMap<u64, Arc<Known>>;

/// What the statistics count at one moment.
#[derive(Default)]
pub struct State {
    pub rows: Rows,
    sums: OnceLock<Sums>,
    with_more: OnceLock<Sums>,
}

impl State {
    fn of(rows: Rows) -> Arc<State> {
        Arc::new(State { rows, ..State::default() })
    }

    pub fn sums(&self, dim: usize) -> &Sums {
        self.sums.get_or_init(|| sums(&self.all(), dim))
    }

    /// The blocks with one row more, which is always the same.
    pub fn sums_with(&self, more: &Row, dim: usize) -> &Sums {
        self.with_more.get_or_init(|| sums(&[self.all(), vec![more.clone()]].concat(), dim))
    }

    fn all(&self) -> Vec<Row> {
        self.rows.values().map(|k| k.row.clone()).collect()
    }
}

/// One call of the adapter, and what may be seen while it runs.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    /// Operations of the disk before it and after it.
    pub events: (usize, usize),
    /// The state before it, and after it; those between may be seen too.
    pub states: (usize, usize),
    pub generations: (u64, u64),
    /// True when all that it did was acknowledged as durable.
    pub durable: bool,
    /// It makes new files beside the old ones.
    pub rewrites: bool,
}

/// What was done, and what must be there.
#[derive(Clone)]
pub struct Diary {
    pub dim: usize,
    pub states: Vec<Arc<State>>,
    pub calls: Vec<Call>,
    /// Rows of each label that can be taken back, with its recording.
    acts: Vec<(u64, Vec<u64>)>,
    /// Generations of checkpoints, and the state of each.
    checkpoints: Vec<(u64, usize)>,
    next_row: u64,
    /// Id of the first row taught in this volume.
    first_row: u64,
    pub generation: u64,
    /// The adapter was there before the first call.
    pub stands: bool,
}

impl Diary {
    /// Before there is an adapter.
    pub fn blank(dim: usize) -> Diary {
        let states = vec![State::of(Rows::new())];
        let (calls, acts, checkpoints) = (Vec::new(), Vec::new(), Vec::new());
        Diary { dim, states, calls, acts, checkpoints, next_row: 1, first_row: 1, generation: 0, stands: false }
    }

    /// An adapter that was taught these rows before the first call.
    pub fn of(taught: &[Row], dim: usize, origin: Origin) -> Diary {
        let known = |row: &Row| Arc::new(Known { row: row.clone(), origin, source: 0, time_ns: 0, by: "teach".into() });
        let rows: Rows = (1..).zip(taught.iter().map(known)).collect();
        let next_row = taught.len() as u64 + 1;
        Diary { states: vec![State::of(rows)], next_row, first_row: next_row, stands: true, ..Diary::blank(dim) }
    }

    /// A diary that begins with the state that this one ends with.
    pub fn next_volume(&self) -> Diary {
        let last = self.states.len() - 1;
        let checkpoints = self.checkpoints.iter().filter(|(_, state)| *state == last).map(|(g, _)| (*g, 0)).collect();
        Diary {
            states: vec![Arc::clone(self.last())],
            calls: Vec::new(),
            checkpoints,
            first_row: self.next_row,
            stands: true,
            ..self.clone()
        }
    }

    pub fn last(&self) -> &Arc<State> {
        &self.states[self.states.len() - 1]
    }

    /// The state and generation that must be there at least when the disk had done `events` operations; of a power cut, or of
    /// a process that was `killed` alone.
    pub fn promised(&self, events: usize, killed: bool) -> Option<(usize, u64)> {
        let finished = self.calls.iter().filter(|c| c.events.1 <= events && (c.durable || killed));
        finished.map(|c| (c.states.1, c.generations.1)).max().or(self.stands.then_some((0, 0)))
    }

    /// What was being done when the disk had done `events` operations.
    pub fn doing(&self, events: usize) -> String {
        let doing = self.calls.iter().enumerate().rfind(|(_, c)| c.events.0 <= events);
        doing.map_or_else(String::new, |(n, c)| format!("call {n}, {}", c.name))
    }

    /// The latest state that may be there when the disk had done `events` operations.
    pub fn attempted(&self, events: usize) -> usize {
        self.calls.iter().filter(|c| c.events.0 <= events).map(|c| c.states.1).max().unwrap_or(0)
    }

    /// The latest state with the statistics of `adapter` that could be seen at its generation, none behind `attempted`.
    pub fn find(&self, adapter: &Adapter, attempted: usize) -> Option<usize> {
        let (sums, generation) = (sums_of(adapter), adapter.generation());
        let rows = (adapter.held_rows() + adapter.evicted_rows()) as usize;
        let seen_in = |s: usize, c: &Call| {
            let first = c.generations.0 + u64::from(s > c.states.0);
            (c.states.0..=c.states.1).contains(&s) && (first..=c.generations.1).contains(&generation)
        };
        let alike = |s: &State| s.rows.len() == rows && *s.sums(self.dim) == sums;
        (0..=attempted).rev().find(|s| alike(&self.states[*s]) && self.calls.iter().any(|c| seen_in(*s, c)))
    }

    fn begin(&mut self, name: String, events: usize, steps: Vec<Rows>) {
        let from = self.states.len() - 1;
        self.states.extend(steps.into_iter().map(State::of));
        let (states, generations) = ((from, self.states.len() - 1), (self.generation, u64::MAX));
        let rewrites = ["forget hard", "roll back", "compact"].contains(&name.as_str());
        self.calls.push(Call { name, events: (events, usize::MAX), states, generations, durable: false, rewrites });
    }

    fn end(&mut self, events: usize, generation: u64, durable: bool) {
        if let Some(call) = self.calls.last_mut() {
            (call.events.1, call.generations.1, call.durable) = (events, generation, durable);
        }
        self.generation = generation;
    }

    /// The same when operations are counted anew from the `events`-th: what was promised by then holds from the start.
    pub fn forgets_time(&self, events: usize) -> Diary {
        let mut calls = self.calls.clone();
        for call in &mut calls {
            call.events = (0, if call.events.1 <= events { 0 } else { usize::MAX });
        }
        Diary { calls, ..self.clone() }
    }

    /// The diary of one who was interrupted when the disk had done `events` operations, and finds the adapter in state `state`
    /// of `generation`.
    pub fn interrupted(&self, events: usize, state: usize, generation: u64) -> Diary {
        let mut calls: Vec<Call> = self.calls.iter().filter(|c| c.events.0 <= events && c.states.0 <= state).cloned().collect();
        for call in &mut calls {
            call.states.1 = call.states.1.min(state);
            if call.events.1 > events {
                (call.events.1, call.generations.1, call.durable) = (usize::MAX, generation, false);
            }
        }
        let states = self.states[..=state].to_vec();
        let newest = states.iter().filter_map(|s| s.rows.keys().next_back()).max().copied().unwrap_or(0);
        let next_row = self.first_row.max(newest + 1);
        Diary { states, calls, acts: Vec::new(), checkpoints: Vec::new(), next_row, generation, ..self.clone() }
    }
}

/// Somebody who calls the adapter and writes down first what it will do.
pub struct Life {
    pub disk: Disk,
    pub adapter: Option<Adapter>,
    pub diary: Diary,
    /// Chunks that were damaged when it was opened.
    pub damaged_chunks: u64,
}

impl Life {
    fn adapter(&mut self) -> &mut Adapter {
        self.adapter.as_mut().expect("the adapter is open")
    }

    /// Calls the adapter, which is to go through `steps`; `act` returns whether all is durable.
    fn call(&mut self, name: String, steps: Vec<Rows>, act: impl FnOnce(&mut Adapter) -> Result<bool>) -> Result<()> {
        self.diary.begin(name, self.disk.operations(), steps);
        let durable = act(self.adapter())?;
        self.note(durable);
        Ok(())
    }

    fn note(&mut self, durable: bool) {
        let adapter = self.adapter.as_ref().expect("the adapter is open");
        assert!(sums_of(adapter) == *self.diary.last().sums(self.diary.dim), "{:?}", self.diary.calls.last());
        let (events, generation) = (self.disk.operations(), adapter.generation());
        self.diary.end(events, generation, durable);
    }

    pub fn create(&mut self, header: Header) -> Result<()> {
        self.diary.begin("create".into(), self.disk.operations(), Vec::new());
        self.adapter = Some(Adapter::create_in(self.disk.folder(), header)?);
        self.note(true);
        Ok(())
    }

    /// Opens the adapter for writing; one that is open already is left without a word, as by a process that is killed.
    pub fn open(&mut self) -> Result<()> {
        self.adapter = None;
        self.diary.begin("open".into(), self.disk.operations(), Vec::new());
        let adapter = self.disk.open(Access::Write)?;
        self.damaged_chunks += adapter.damaged_chunks();
        self.adapter = Some(adapter);
        self.note(true);
        Ok(())
    }

    pub fn learn(&mut self, count: u64, batch: Batch, durability: Durability) -> Result<()> {
        let rows = self.new_rows(count);
        self.learn_rows(rows, batch, durability, false)
    }

    pub fn learn_as(&mut self, count: u64, labels: &LabelSet, batch: Batch, durability: Durability) -> Result<()> {
        let rows = self.new_rows(count).into_iter().map(|row| Row { labels: labels.clone(), ..row }).collect();
        self.learn_rows(rows, batch, durability, false)
    }

    fn new_rows(&self, count: u64) -> Vec<Row> {
        let first = self.diary.next_row;
        (first..first + count).map(|n| row(n, self.diary.dim, BITS)).collect()
    }

    /// As [`Life::learn`], of so many rows that they need several commits: some of them, in order, may be seen alone.
    pub fn learn_many(&mut self, count: u64) -> Result<()> {
        let rows = self.new_rows(count);
        self.learn_rows(rows, batch(0, false), Durability::Now, true)
    }

    fn learn_rows(&mut self, new: Vec<Row>, batch: Batch, durability: Durability, in_parts: bool) -> Result<()> {
        let origin = self.adapter().origin();
        // A moment of its own for each call, so that each is a label of its own; parts of one recording are one.
        let monotonic_ns = if batch.source == 0 { self.diary.next_row } else { batch.source };
        let batch = Batch { origin, time: Moment { monotonic_ns, ..Moment::UNKNOWN }, ..batch };
        let first = self.diary.next_row;
        let ids: Vec<u64> = (first..first + new.len() as u64).collect();
        let mut rows = self.diary.last().rows.clone();
        let mut steps = Vec::new();
        for (id, row) in ids.iter().zip(&new) {
            let (source, time_ns, by) = (batch.source, monotonic_ns, batch.by.clone());
            rows.insert(*id, Arc::new(Known { row: row.clone(), origin, source, time_ns, by }));
            if in_parts {
                steps.push(rows.clone());
            }
        }
        if !in_parts {
            steps.push(rows);
        }
        self.diary.next_row += new.len() as u64;
        match self.diary.acts.last_mut() {
            Some((source, act)) if *source != 0 && *source == batch.source && act.last() == Some(&(first - 1)) => act.extend(&ids),
            _ if ids.is_empty() => {}
            _ => self.diary.acts.push((batch.source, ids)),
        }
        let name = format!("learn {} rows, {durability:?}, by {} bytes", new.len(), batch.by.len());
        self.call(name, steps, |adapter| {
            let ack = teach(adapter, &batch, &new, durability)?;
            assert_eq!(ack.first_row, first);
            Ok(ack.durable)
        })
    }

    pub fn undo(&mut self, labels: usize) -> Result<()> {
        let mut rows = self.diary.last().rows.clone();
        let mut steps = Vec::new();
        for _ in 0..labels {
            let (_, act) = self.diary.acts.pop().expect("a label to take back");
            act.iter().for_each(|id| {
                rows.remove(id).expect("a row that is counted");
            });
            steps.push(rows.clone());
        }
        self.call(format!("undo {labels}"), steps, |adapter| Ok(adapter.undo(labels, Durability::Now)?.1.durable))
    }

    /// Relabels the held rows at these positions among them, oldest first.
    pub fn relabel(&mut self, positions: &[usize], labels: &LabelSet, durability: Durability) -> Result<()> {
        let held = self.held()?;
        let ids: Vec<u64> = positions.iter().map(|i| held[*i]).collect();
        let steps = self.relabelled(&ids, Some("a person"), |_| labels.clone());
        self.call(format!("relabel {ids:?}"), steps, |a| Ok(a.relabel(&ids, labels, "a person", durability)?.durable))
    }

    /// Rows of different recordings or moments are relabelled one after another, by a person or by whom they were.
    fn relabelled(&self, ids: &[u64], by: Option<&str>, labels: impl Fn(&LabelSet) -> LabelSet) -> Vec<Rows> {
        let mut rows = self.diary.last().rows.clone();
        let mut steps = Vec::new();
        let key = |k: &Known| (k.origin, k.source, k.time_ns, by.map_or_else(|| k.by.clone(), str::to_owned));
        for group in groups(&rows, ids, key) {
            for id in group {
                let known = Arc::make_mut(rows.get_mut(&id).expect("a row that is counted"));
                known.row.labels = labels(&known.row.labels);
                known.by = by.map_or_else(|| known.by.clone(), str::to_owned);
            }
            steps.push(rows.clone());
        }
        steps
    }

    /// What forgetting `class` does to rows that are something else beside.
    fn stripped(&self, class: &ClassName, held: &[u64]) -> Vec<Rows> {
        let rows = &self.diary.last().rows;
        let mixed = |id: &&u64| names(&rows[*id].row.labels, class) && without(&rows[*id].row.labels, class) != LabelSet::background();
        let ids: Vec<u64> = held.iter().filter(mixed).copied().collect();
        self.relabelled(&ids, None, |labels| without(labels, class))
    }

    pub fn forget(&mut self, class: &str) -> Result<()> {
        let class = ClassName::new(class)?;
        let held = self.held()?;
        let mut steps = self.stripped(&class, &held);
        let mut rows = steps.last().unwrap_or(&self.diary.last().rows).clone();
        let its: Vec<u64> = held.iter().filter(|id| names(&rows[*id].row.labels, &class)).copied().collect();
        for group in groups(&rows, &its, |k| (k.origin, k.source)) {
            group.iter().for_each(|id| {
                rows.remove(id);
            });
            steps.push(rows.clone());
        }
        let retired = rows.values_mut().filter(|k| names(&k.row.labels, &class)).map(Arc::make_mut).map(|k| {
            let name = |c: &ClassName| if *c == class { class.retired() } else { c.clone() };
            let labels = &k.row.labels;
            k.row.labels = LabelSet::new(labels.positive().iter().map(name).collect(), labels.negative().iter().map(name).collect())
                .expect("labels that do not contradict each other");
        });
        if retired.count() > 0 {
            steps.push(rows);
        }
        self.diary.acts.clear();
        self.call(format!("forget {class}"), steps, |adapter| Ok(adapter.forget(&class, Durability::Now)?.1.durable))
    }

    pub fn forget_hard(&mut self, class: &str) -> Result<()> {
        let class = ClassName::new(class)?;
        let held = self.held()?;
        let mut steps = self.stripped(&class, &held);
        let mut rows = steps.last().unwrap_or(&self.diary.last().rows).clone();
        rows.retain(|id, known| held.contains(id) && !names(&known.row.labels, &class));
        steps.push(rows);
        self.diary.acts.clear();
        self.diary.checkpoints.clear();
        self.call("forget hard".into(), steps, |adapter| adapter.forget_hard(&class).map(|_| true))
    }

    /// Goes back to the older one of the two checkpoints that stand.
    pub fn roll_back(&mut self, incarnation: u64) -> Result<()> {
        let generation = self.adapter().generations()[1];
        let known = self.diary.checkpoints.iter().rev().find(|(g, _)| *g == generation);
        let (_, state) = *known.expect("a checkpoint that the diary knows");
        let rows = self.diary.states[state].rows.clone();
        self.diary.acts.clear();
        self.diary.checkpoints.clear();
        self.call("roll back".into(), vec![rows], |a| a.roll_back(generation, incarnation).map(|_| true))
    }

    pub fn compact(&mut self) -> Result<()> {
        self.diary.checkpoints.clear();
        self.call("compact".into(), Vec::new(), |adapter| adapter.compact().map(|()| true))
    }

    pub fn sync(&mut self) -> Result<()> {
        self.call("sync".into(), Vec::new(), |adapter| adapter.sync().map(|()| true))
    }

    pub fn checkpoint(&mut self) -> Result<()> {
        self.diary.checkpoints.push((self.diary.generation, self.diary.states.len() - 1));
        self.call("checkpoint".into(), Vec::new(), |adapter| adapter.checkpoint().map(|()| true))
    }

    /// Ids of the held rows, oldest first.
    fn held(&mut self) -> Result<Vec<u64>> {
        let mut ids: Vec<u64> = held(self.adapter())?.iter().map(|(id, _)| *id).collect();
        ids.sort();
        Ok(ids)
    }
}

fn names(labels: &LabelSet, class: &ClassName) -> bool {
    labels.positive().contains(class) || labels.negative().contains(class)
}

fn without(labels: &LabelSet, class: &ClassName) -> LabelSet {
    let less = |c: &BTreeSet<ClassName>| c.iter().filter(|c| *c != class).cloned().collect();
    LabelSet::new(less(labels.positive()), less(labels.negative())).expect("labels that do not contradict each other")
}

/// Ids by what corrections commit together, in the order of the first of each.
fn groups<K: Ord>(rows: &Rows, ids: &[u64], key: impl Fn(&Known) -> K) -> Vec<Vec<u64>> {
    let mut ids = ids.to_vec();
    ids.sort();
    let mut groups: BTreeMap<K, Vec<u64>> = BTreeMap::new();
    ids.iter().for_each(|id| groups.entry(key(&rows[id])).or_default().push(*id));
    let mut groups: Vec<Vec<u64>> = groups.into_values().collect();
    groups.sort();
    groups
}
