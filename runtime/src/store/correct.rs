//! Corrections: labels taken back, changed or forgotten. Each is one or more commits of records that hold all they need; the
//! statistics lose exactly what they had gained.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use super::adapter::{Acknowledgement, Adapter, Durability};
use super::frame::Kind;
use super::pack::row_stride_bytes;
use super::record::{Batch, Draft, Learned, ORDINARY};
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
    /// Takes back the last `labels` labels: a recording, or of live sound what was taught with one call; [`ORDINARY`] sound, which nobody
    /// labelled, is passed over. Returns how many rows that were.
    ///
    /// # Errors
    /// `Input` when there are not so many and `Limit` when one reaches behind the undo horizon, where rows may have left
    /// replay: nothing is taken back then; `Storage` as [`Adapter::learn`].
    pub fn undo(&mut self, labels: usize, durability: Durability) -> Result<(u64, Acknowledgement)> {
        self.check_writable()?;
        let records = self.held_records(|_| true)?;
        let (mut undone, mut acts) = (BTreeSet::new(), Vec::new());
        for act in self.newest_acts(&records, labels)? {
            undone.extend(act.iter().copied());
            let batch = records.batch(act[0]);
            let mut others = (0..records.found.len()).filter(|i| !undone.contains(i)).map(|i| records.batch(i).source);
            let source_complete = batch.source != 0 && !others.any(|s| s == batch.source);
            acts.push((Batch { source_complete, ..batch.clone() }, act));
        }
        self.write_rows(Kind::Undo, acts, &records, None)?;
        Ok((undone.len() as u64, self.acknowledge(self.contents.next_row, durability)?))
    }

    /// Gives held rows other labels; `by` is who says so. Rows of different recordings and moments are separate commits.
    /// Where longer names need it, other rows leave replay.
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
        if !records.found.is_empty() {
            self.check_bounds(records.batch(0), std::iter::once(labels), 0)?;
        }
        let groups = records.groups(|b| Batch { by: by.to_owned(), source_complete: false, ..b.clone() });
        self.write_rows(Kind::Relabel, groups, &records, Some(&|_: &LabelSet| labels.clone()))?;
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
        let its = |i: &usize| names(records.labels(&records.found[*i]), class);
        let others: BTreeSet<u64> = (0..records.found.len()).filter(|i| !its(i)).map(|i| records.batch(i).source).collect();
        let mut groups = Vec::new();
        for ((_, source), mut group) in records.groups(|b| (b.origin, b.source)) {
            group.retain(its);
            if let Some(first) = group.first() {
                // Of a recording that goes on being known, what was taught of it stays so.
                let known = others.contains(&source);
                let batch = records.batch(*first).clone();
                let batch = Batch { source: if known { 0 } else { source }, source_complete: !known && source != 0, ..batch };
                groups.push((batch, group));
            }
        }
        self.write_rows(Kind::Undo, groups, &records, None)?;
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
        let mixed = |i: &usize| {
            let labels = records.labels(&records.found[*i]);
            names(labels, class) && without(labels, class).is_some()
        };
        let mut groups = records.groups(|b| Batch { source_complete: false, ..b.clone() });
        groups.iter_mut().for_each(|(_, group)| group.retain(mixed));
        groups.retain(|(_, group)| !group.is_empty());
        self.write_rows(Kind::Relabel, groups, &records, Some(&|l: &LabelSet| without(l, class).unwrap_or_default()))
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
        let all: Vec<usize> = (0..records.found.len()).rev().collect();
        let key = |i: &usize| {
            let batch = records.batch(*i);
            (batch.origin, batch.source, Some((&batch.by, batch.time)).filter(|_| batch.source == 0))
        };
        let together = |pair: &[usize]| key(&pair[0]) == key(&pair[1]) && id(&pair[0]) == id(&pair[1]) + 1;
        let horizon = self.oldest_undoable_row().unwrap_or(u64::MAX);
        let (mut acts, mut rest) = (Vec::<Vec<usize>>::new(), &all[..]);
        let mut after = self.contents.next_row;
        while acts.len() < labels {
            if rest.is_empty() && self.evicted_rows() == 0 {
                return Err(Error::new(ErrorKind::Input, "there are not so many labels that could be taken back")
                    .at(self.folder().display())
                    .expected(format!("at most {}", acts.len()))
                    .found(labels)
                    .cure(match acts.len() {
                        0 => "there is nothing to take back".to_owned(),
                        n => format!("wheatear undo --labels {n} takes all of them back"),
                    }));
            }
            let more = rest.windows(2).take_while(|pair| together(pair)).count();
            let (act, before) = rest.split_at(rest.len().min(more + 1));
            let (oldest, newest) = (act.last().map_or(0, id), act.first().map_or(0, id));
            // The rows on either side are held, were taken back, or never were: then all of the label's rows are here.
            let whole = (before.first().is_some_and(|i| id(i) + 1 == oldest) || !self.may_have_left(oldest.saturating_sub(1)))
                && (newest + 1 == after || !self.may_have_left(newest + 1));
            let is_ordinary = |i: &usize| records.batch(*i).by == ORDINARY && *records.labels(&records.found[*i]) == LabelSet::default();
            if act.first().is_some_and(is_ordinary) {
                (rest, after) = (before, oldest);
                continue;
            }
            if act.first().is_none_or(|i| id(i) < horizon) || !whole {
                return Err(Error::new(ErrorKind::Limit, "a label reaches behind the undo horizon: some of its rows may have left replay")
                    .at(self.folder().display())
                    .expected(format!("at most {} labels", acts.len()))
                    .found(labels)
                    .cure("relabel its held rows, or forget the class"));
            }
            acts.push(act.to_vec());
            (rest, after) = (before, oldest);
        }
        Ok(acts)
    }

    /// True when a row that is not held may still be counted.
    fn may_have_left(&self, id: u64) -> bool {
        self.evicted_rows() > 0 && self.contents.held.may_have_left(id)
    }

    /// Reads the held rows whose id is `wanted`, by id.
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
        records.found.sort_by_key(|f| f.id);
        Ok(records)
    }

    /// Commits records of the rows of each group, in as many parts as chunks need; with `relabel` under other labels. What
    /// cannot be stored is found before the first is written.
    fn write_rows(
        &mut self,
        kind: Kind,
        mut groups: Vec<(Batch, Vec<usize>)>,
        records: &Records,
        relabel: Option<&dyn Fn(&LabelSet) -> LabelSet>,
    ) -> Result<()> {
        let dim = self.dim();
        let new = |i: &usize| relabel.map(|f| f(records.labels(&records.found[*i])));
        let relabelled = |(_, rows): &(Batch, Vec<usize>)| rows.iter().filter_map(new).collect();
        groups.iter_mut().for_each(|(_, rows)| rows.sort_unstable());
        let relabelled: Vec<Vec<LabelSet>> = groups.iter().map(relabelled).collect();
        let stride = row_stride_bytes(dim, self.header.creation.bits);
        let (mut parts, mut new_len_bytes) = (Vec::new(), 0u64);
        for ((batch, rows), relabelled) in groups.into_iter().zip(&relabelled) {
            let found = rows.iter().map(|i| &records.found[*i]);
            let mut rows: Vec<_> = found.map(|f| records.all[f.record].new_row(f.row, dim)).collect();
            let before = relabelled.iter().zip(&rows).map(|(_, (_, row))| row.labels.clone()).collect();
            rows.iter_mut().zip(relabelled).for_each(|((_, row), new)| row.labels = new);
            new_len_bytes += if relabel.is_some() {
                Learned::new(batch.clone(), &rows).alone_len_bytes(stride)?.into_iter().map(u64::from).sum()
            } else {
                0
            };
            parts.extend(self.parts(Draft { kind, batch, rows, before, left: Vec::new() })?);
        }
        self.check_room(&parts, new_len_bytes)?;
        self.contents.held.wanted = parts.iter().flat_map(|part| part.rows.iter().map(|(id, _)| *id)).collect();
        let done = parts.into_iter().try_for_each(|part| self.commit(part));
        self.contents.held.wanted.clear();
        done
    }

    /// Refuses rows that cannot be held under their new labels, since they would take `len_bytes` and none of them may leave.
    fn check_room(&self, parts: &[Draft<'_>], len_bytes: u64) -> Result<()> {
        let held = &self.contents.held;
        let ids: BTreeSet<u64> = parts.iter().flat_map(|part| part.rows.iter().map(|(id, _)| *id)).collect();
        let before: u64 = held.iter().filter(|(_, e)| ids.contains(&e.id)).map(|(_, e)| u64::from(e.cost_bytes)).sum();
        // Undo keeps at most the other half.
        let most = before.max(held.bounds.bytes / 2);
        if len_bytes > most && held.bytes() - before + len_bytes > held.bounds.bytes {
            return Err(Error::new(ErrorKind::Limit, "replay has no room for these rows under such long names")
                .at(self.folder().display())
                .expected(format!("at most {most} bytes"))
                .found(len_bytes)
                .cure("relabel fewer rows at once, or shorten the names"));
        }
        Ok(())
    }
}

impl Records {
    fn labels(&self, found: &Found) -> &LabelSet {
        &self.all[found.record].rows[found.row].1
    }

    /// What is known of row `i` with those that were learned with it.
    fn batch(&self, i: usize) -> &Batch {
        &self.all[self.found[i].record].batch
    }

    /// Indices of rows that agree in `key`, in the order of their first.
    fn groups<K: Clone + Eq + Hash>(&self, key: impl Fn(&Batch) -> K) -> Vec<(K, Vec<usize>)> {
        let (mut groups, mut known) = (Vec::<(K, Vec<usize>)>::new(), HashMap::new());
        for i in 0..self.found.len() {
            let key = key(self.batch(i));
            let at = *known.entry(key.clone()).or_insert(groups.len());
            match groups.get_mut(at) {
                Some((_, group)) => group.push(i),
                None => groups.push((key, vec![i])),
            }
        }
        groups
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
