//! Corrections: labels taken back, changed or forgotten. Each is one or more commits of records that hold all they need; the
//! statistics lose exactly what they had gained.

use std::collections::{BTreeMap, BTreeSet};

use super::adapter::{Acknowledgement, Adapter, Durability};
use super::frame::Kind;
use super::record::{self, Batch, Draft, Learned};
use crate::learn::{BlockKind, ClassName, LabelSet};
use crate::{Error, ErrorKind, Result};

/// A held row with what is known of it.
struct Found {
    id: u64,
    /// Index of its record in [`Records::all`], and of the row in it.
    record: usize,
    row: usize,
}

/// Held rows, read back.
struct Records {
    all: Vec<Learned>,
    found: Vec<Found>,
}

impl Adapter {
    /// Takes back the last `labels` labels: a recording, or of live sound what was taught with one call. Returns how many rows
    /// that were.
    ///
    /// # Errors
    /// `Input` when there are not so many and `Limit` when one reaches behind the undo horizon, where rows may have left
    /// replay: nothing is taken back then; `Storage` as [`Adapter::learn`].
    pub fn undo(&mut self, labels: usize, durability: Durability) -> Result<(u64, Acknowledgement)> {
        self.check_writable()?;
        let records = self.held_records(|_| true)?;
        let mut undone = BTreeSet::new();
        for act in self.newest_acts(&records, labels)? {
            undone.extend(act.iter().copied());
            let batch = &records.all[records.found[act[0]].record].batch;
            let others = records.found.iter().enumerate().filter(|(i, _)| !undone.contains(i));
            let mut sources = others.map(|(_, f)| records.all[f.record].batch.source);
            let forgotten = batch.source != 0 && !sources.any(|s| s == batch.source);
            let batch = Batch { source_complete: forgotten, ..batch.clone() };
            self.write_rows(Kind::Undo, &batch, &records, &act, None)?;
        }
        Ok((undone.len() as u64, self.acknowledge(self.contents.next_row, durability)?))
    }

    /// Gives held rows other labels; `by` is who says so. Rows of different recordings are separate commits.
    ///
    /// # Errors
    /// `Input` when a row is not held (it left replay, or there is none); `Limit` and `Storage` as [`Adapter::learn`].
    pub fn relabel(&mut self, ids: &[u64], labels: &LabelSet, by: &str, durability: Durability) -> Result<Acknowledgement> {
        self.check_writable()?;
        let wanted: BTreeSet<u64> = ids.iter().copied().collect();
        let records = self.held_records(|id| wanted.contains(&id))?;
        if let Some(id) = wanted.iter().find(|id| !records.found.iter().any(|f| f.id == **id)) {
            return Err(Error::new(ErrorKind::Input, "a row is not held: it left replay, was taken back, or never was")
                .at(self.folder().display())
                .found(format!("row {id}"))
                .cure("wheatear inspect --rows lists those that are"));
        }
        if let Some(first) = records.found.first() {
            self.check_bounds(&records.all[first.record].batch, std::iter::once(labels), 0)?;
        }
        for group in records.groups(|b| (b.origin, b.source)) {
            let batch = Batch { by: by.to_owned(), source_complete: false, ..records.all[records.found[group[0]].record].batch.clone() };
            self.write_rows(Kind::Relabel, &batch, &records, &group, Some(&|_: &LabelSet| labels.clone()))?;
        }
        self.acknowledge(self.contents.next_row, durability)
    }

    /// Forgets a class. Its held rows are taken back exactly; what rows that had left replay added stays as an anonymous
    /// retired class, which no head scores, so that the shared scatter stays right. Rows that are something else beside stay
    /// that. Should it be cut off, part of the rows are gone: forget it again. Returns how many rows are retired.
    ///
    /// # Errors
    /// `Input` when there is no such class; `Storage` as [`Adapter::learn`].
    pub fn forget(&mut self, class: &ClassName, durability: Durability) -> Result<(u64, Acknowledgement)> {
        self.check_writable()?;
        self.check_known(class, &[class])?;
        self.strip(class)?;
        let records = self.held_records(|_| true)?;
        let its = |f: &&Found| names(records.labels(f), class);
        let sources: BTreeSet<u64> = records.found.iter().filter(|f| !its(f)).map(|f| records.all[f.record].batch.source).collect();
        for group in records.groups(|b| (b.origin, b.source)) {
            let group: Vec<usize> = group.into_iter().filter(|i| its(&&records.found[*i])).collect();
            if let Some(first) = group.first() {
                let batch = &records.all[records.found[*first].record].batch;
                let batch = Batch { source_complete: batch.source != 0 && !sources.contains(&batch.source), ..batch.clone() };
                self.write_rows(Kind::Undo, &batch, &records, &group, None)?;
            }
        }
        let blocks = self.contents.blocks.values().filter(|b| b.kind() != BlockKind::Background);
        let retired: u64 = blocks.filter_map(|b| b.classes().get(class)).map(|sums| sums.n + sums.negative_n).sum();
        if retired > 0 {
            let payload = postcard::to_stdvec(&class.retired());
            let payload = payload.map_err(|e| Error::new(ErrorKind::Limit, "a record cannot be encoded").because(e))?;
            self.commit_other(Kind::Forget, &payload)?;
        }
        Ok((retired, self.acknowledge(self.contents.next_row, durability)?))
    }

    /// Takes a class from the labels of held rows that are something else beside.
    fn strip(&mut self, class: &ClassName) -> Result<()> {
        let records = self.held_records(|_| true)?;
        for group in records.groups(|b| (b.origin, b.source)) {
            let mixed = |i: &usize| {
                let labels = records.labels(&records.found[*i]);
                names(labels, class) && without(labels, class).is_some()
            };
            let group: Vec<usize> = group.into_iter().filter(mixed).collect();
            if let Some(first) = group.first() {
                let batch = Batch { source_complete: false, ..records.all[records.found[*first].record].batch.clone() };
                let new = |l: &LabelSet| without(l, class).unwrap_or_default();
                self.write_rows(Kind::Relabel, &batch, &records, &group, Some(&new))?;
            }
        }
        Ok(())
    }

    /// Refuses a class of which the statistics have none of its `names`.
    pub(super) fn check_known(&self, class: &ClassName, names: &[&ClassName]) -> Result<()> {
        if !class.is_retired() && self.contents.blocks.values().any(|b| names.iter().any(|n| b.classes().contains_key(*n))) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Input, "the adapter knows no such class")
            .at(self.folder().display())
            .found(format!("{class:?}"))
            .cure("wheatear inspect lists those that it knows"))
    }

    /// The newest `labels` labels, the newest first: of each the indices of its rows, the newest first.
    fn newest_acts(&self, records: &Records, labels: usize) -> Result<Vec<Vec<usize>>> {
        let id = |i: &usize| records.found[*i].id;
        let mut all: Vec<usize> = (0..records.found.len()).collect();
        all.sort_by_key(|i| std::cmp::Reverse(id(i)));
        let key = |i: &usize| {
            let batch = &records.all[records.found[*i].record].batch;
            (batch.origin, batch.source, Some((&batch.by, batch.time)).filter(|_| batch.source == 0))
        };
        let together = |pair: &[usize]| key(&pair[0]) == key(&pair[1]) && id(&pair[0]) == id(&pair[1]) + 1;
        let horizon = self.oldest_undoable_row().unwrap_or(u64::MAX);
        let (mut acts, mut rest) = (Vec::new(), &all[..]);
        while acts.len() < labels {
            if rest.is_empty() && self.evicted_rows() == 0 {
                return Err(Error::new(ErrorKind::Input, "there are not so many labels that could be taken back")
                    .at(self.folder().display())
                    .expected(format!("{labels} labels"))
                    .found(acts.len()));
            }
            let more = rest.windows(2).take_while(|pair| together(pair)).count();
            let (act, before) = rest.split_at(rest.len().min(more + 1));
            let (oldest, newest) = (act.last().map_or(0, id), act.first().map_or(0, id));
            let after = acts.last().and_then(|a: &Vec<usize>| a.last()).map_or(self.contents.next_row, id);
            // The rows on either side are held, were taken back, or never were: then all of the label's rows are here.
            let whole = (before.first().is_some_and(|i| id(i) + 1 == oldest) || !self.may_have_left(oldest.saturating_sub(1)))
                && (newest + 1 == after || !self.may_have_left(newest + 1));
            if act.first().is_none_or(|i| id(i) < horizon) || !whole {
                return Err(Error::new(ErrorKind::Limit, "a label reaches behind the undo horizon: some of its rows may have left replay")
                    .at(self.folder().display())
                    .expected(format!("at most {} labels", acts.len()))
                    .found(labels)
                    .cure("relabel its held rows, or forget the class"));
            }
            acts.push(act.to_vec());
            rest = before;
        }
        Ok(acts)
    }

    /// True when a row that is not held may still be counted.
    fn may_have_left(&self, id: u64) -> bool {
        self.evicted_rows() > 0 && self.contents.held.may_have_left(id)
    }

    /// Reads the held rows whose id is `wanted`.
    fn held_records(&self, wanted: impl Fn(u64) -> bool) -> Result<Records> {
        let mut records = Records { all: Vec::new(), found: Vec::new() };
        self.rows(|learned| {
            let record = records.all.len();
            let rows = learned.rows.iter().enumerate().filter(|(_, (meta, _))| wanted(meta.id));
            records.found.extend(rows.map(|(row, (meta, _))| Found { id: meta.id, record, row }));
            if records.found.last().is_some_and(|f| f.record == record) {
                records.all.push(learned);
            }
            Ok(())
        })?;
        Ok(records)
    }

    /// Commits a record of the rows `chosen`, in as many parts as chunks need; with `relabel` under other labels.
    fn write_rows(
        &mut self,
        kind: Kind,
        batch: &Batch,
        records: &Records,
        chosen: &[usize],
        relabel: Option<&dyn Fn(&LabelSet) -> LabelSet>,
    ) -> Result<()> {
        let dim = self.dim();
        let mut chosen = chosen.to_vec();
        chosen.sort_by_key(|i| records.found[*i].id);
        let new: Vec<LabelSet> =
            chosen.iter().map(|i| relabel.map_or_else(LabelSet::background, |f| f(records.labels(&records.found[*i])))).collect();
        let (mut rows, mut before) = (Vec::new(), Vec::new());
        for (i, new) in chosen.iter().zip(&new) {
            let found = &records.found[*i];
            let (id, mut row) = records.all[found.record].new_row(found.row, dim);
            if relabel.is_some() {
                before.push(row.labels.clone());
                row.labels = new;
            }
            rows.push((id, row));
        }
        let whole = Draft { kind, batch: batch.clone(), rows, before, left: Vec::new() };
        let len_bytes = record::encode_rows(self.contents.next(), &whole, dim, self.header.creation.bits)?.len();
        let parts = len_bytes.div_ceil(self.chunks.record_len_max_bytes() / 2).max(1);
        let each = whole.rows.len().div_ceil(parts).max(1);
        for (n, rows) in whole.rows.chunks(each).enumerate() {
            let last = (n + 1) * each >= whole.rows.len();
            let batch = Batch { source_complete: batch.source_complete && last, ..batch.clone() };
            let before = whole.before.iter().skip(n * each).take(if relabel.is_some() { rows.len() } else { 0 }).cloned().collect();
            self.commit(Draft { kind, batch, rows: rows.to_vec(), before, left: Vec::new() })?;
        }
        Ok(())
    }
}

impl Records {
    fn labels(&self, found: &Found) -> &LabelSet {
        &self.all[found.record].rows[found.row].1
    }

    /// Indices of rows that agree in `key`, in the order of their first.
    fn groups<K: Ord>(&self, key: impl Fn(&Batch) -> K) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
        for (i, found) in self.found.iter().enumerate() {
            groups.entry(key(&self.all[found.record].batch)).or_default().push(i);
        }
        groups.into_values().collect()
    }
}

/// True when the labels name the class, as heard or as not heard.
fn names(labels: &LabelSet, class: &ClassName) -> bool {
    labels.positive().contains(class) || labels.negative().contains(class)
}

/// The labels without the class; `None` when they name nothing else.
pub(super) fn without(labels: &LabelSet, class: &ClassName) -> Option<LabelSet> {
    if !names(labels, class) {
        return Some(labels.clone());
    }
    let less = |c: &BTreeSet<ClassName>| c.iter().filter(|c| *c != class).cloned().collect();
    LabelSet::new(less(labels.positive()), less(labels.negative())).ok().filter(|l| *l != LabelSet::background())
}
