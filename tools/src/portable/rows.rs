//! The held rows as tensors, ordered by origin and id: equal rows are equal files, however they lie in their adapter.

use std::collections::{BTreeMap, HashMap, HashSet};

use wheatear::latent::limit;
use wheatear::learn::{LabelSet, Origin};
use wheatear::store::record::RowMeta;
use wheatear::store::{Adapter, Batch, Learned, NewRow, RowFlags};
use wheatear::{Error, ErrorKind, Result};

use super::ROWS;
use super::json::{Json, Labels, Together};
use super::tensors::{Tensor, Tensors};

/// Bits of [`RowFlags`] that have a meaning.
const KNOWN_FLAGS: u8 = RowFlags::HELD_OUT.0 | RowFlags::WEAK.0;

/// Rows, column by column.
#[derive(Debug, Default)]
pub struct Rows {
    dim: usize,
    latents: Vec<i8>,
    id: Vec<u64>,
    labels: Vec<u32>,
    batch: Vec<u32>,
    time_delta_ns: Vec<i64>,
    start_sample: Vec<u64>,
    flags: Vec<u8>,
    /// Follows from seed and id; for readers.
    held_out: Vec<u8>,
}

/// Things in the order in which they were first named.
struct Numbered<T> {
    all: Vec<T>,
    numbers: HashMap<usize, u32>,
}

impl<T: Clone> Numbered<T> {
    fn number(&mut self, key: usize, of: &[T]) -> u32 {
        *self.numbers.entry(key).or_insert_with(|| {
            self.all.push(of[key].clone());
            self.all.len() as u32 - 1
        })
    }
}

/// The held rows of `adapter`, with the batches and label sets that they name; `origins` are numbered as they stand.
///
/// # Errors
/// Those of reading the rows.
pub fn gather(adapter: &Adapter, origins: &[Origin]) -> Result<(Rows, Vec<Together>, Vec<Labels>)> {
    let dim = adapter.dim();
    let (mut found, mut batches, mut sets) = (Vec::new(), Vec::new(), Vec::new());
    let (mut batch_keys, mut set_keys): (HashMap<String, usize>, BTreeMap<LabelSet, usize>) = Default::default();
    let mut latents: Vec<i8> = Vec::new();
    adapter.rows(|learned| {
        let origin = learned.batch.origin;
        let number = origins.iter().position(|o| *o == origin).ok_or_else(|| Error::new(ErrorKind::Corrupt, "a row is of no origin"))?;
        let batch = Together::of(&learned.batch, number);
        let key = serde_json::to_string(&batch).map_err(|e| Error::new(ErrorKind::Limit, "a batch cannot be written").because(e))?;
        let batch = *batch_keys.entry(key).or_insert_with(|| {
            batches.push(batch);
            batches.len() - 1
        });
        for (i, (meta, labels)) in learned.rows.iter().enumerate() {
            let labels = *set_keys.entry(labels.clone()).or_insert_with(|| {
                sets.push(Labels::of(labels));
                sets.len() - 1
            });
            found.push((origin, meta.id, meta.clone(), batch, labels, latents.len()));
            latents.extend_from_slice(&learned.latents[i * dim..(i + 1) * dim]);
        }
        Ok(())
    })?;
    found.sort_by_key(|(origin, id, ..)| (*origin, *id));
    let mut rows = Rows { dim, ..Rows::default() };
    let mut named = Numbered { all: Vec::new(), numbers: HashMap::new() };
    let mut together = Numbered { all: Vec::new(), numbers: HashMap::new() };
    for (_, id, meta, batch, labels, at) in found {
        rows.id.push(id);
        rows.batch.push(together.number(batch, &batches));
        rows.labels.push(named.number(labels, &sets));
        rows.push(&meta, adapter.is_held_out(id, meta.flags), &latents[at..at + dim]);
    }
    Ok((rows, together.all, named.all))
}

impl Rows {
    fn push(&mut self, meta: &RowMeta, held_out: bool, latent: &[i8]) {
        self.time_delta_ns.push(meta.time_delta_ns);
        self.start_sample.push(meta.start_sample);
        self.flags.push(meta.flags.0);
        self.held_out.push(u8::from(held_out));
        self.latents.extend_from_slice(latent);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.id.len()
    }

    /// All columns.
    pub fn tensors(&self) -> Vec<(String, Tensor<'_>)> {
        let n = [self.len()];
        vec![
            ("latents".to_owned(), Tensor::new(&[self.len(), self.dim], &self.latents)),
            ("id".to_owned(), Tensor::new(&n, &self.id)),
            ("labels".to_owned(), Tensor::new(&n, &self.labels)),
            ("batch".to_owned(), Tensor::new(&n, &self.batch)),
            ("time_delta_ns".to_owned(), Tensor::new(&n, &self.time_delta_ns)),
            ("start_sample".to_owned(), Tensor::new(&n, &self.start_sample)),
            ("flags".to_owned(), Tensor::new(&n, &self.flags)),
            ("held_out".to_owned(), Tensor::new(&n, &self.held_out)),
        ]
    }
}

/// The rows in `bytes`, checked, as records of rows that have their batch in common.
///
/// # Errors
/// `Input`, saying which row is wrong and how.
pub fn read(bytes: &[u8], json: &Json) -> Result<Vec<Learned>> {
    let mut tensors = Tensors::new(bytes, ROWS)?;
    let (count, dim) = (tensors.len_of("id")?, json.dim as usize);
    let n = [count];
    let rows = Rows {
        dim,
        latents: tensors.take("latents", &[count, dim])?,
        id: tensors.take("id", &n)?,
        labels: tensors.take("labels", &n)?,
        batch: tensors.take("batch", &n)?,
        time_delta_ns: tensors.take("time_delta_ns", &n)?,
        start_sample: tensors.take("start_sample", &n)?,
        flags: tensors.take("flags", &n)?,
        held_out: tensors.take("held_out", &n)?,
    };
    tensors.end()?;
    let labels: Vec<LabelSet> = json.labels.iter().map(label_set).collect::<Result<_>>()?;
    let batches: Vec<Batch> = json.batches.iter().map(|b| batch(b, json)).collect::<Result<_>>()?;
    check(&rows, json, &labels, &batches)?;
    let mut records = Vec::new();
    let mut first = 0;
    while first < count {
        let last = (first..count).take_while(|i| rows.batch[*i] == rows.batch[first]).count() + first;
        let row = |i: usize| {
            let (latent, labels) = (&rows.latents[i * dim..(i + 1) * dim], &labels[rows.labels[i] as usize]);
            let (time_delta_ns, start_sample, flags) = (rows.time_delta_ns[i], rows.start_sample[i], RowFlags(rows.flags[i]));
            (rows.id[i], NewRow { latent, labels, time_delta_ns, start_sample, flags })
        };
        let together: Vec<_> = (first..last).map(row).collect();
        records.push(Learned::new(batches[rows.batch[first] as usize].clone(), &together));
        first = last;
    }
    Ok(records)
}

fn label_set(labels: &Labels) -> Result<LabelSet> {
    let (is, not) = (labels.is.iter().cloned().collect(), labels.not.iter().cloned().collect());
    let set = LabelSet::new(is, not)?;
    match labels.is.iter().chain(&labels.not).find(|c| c.is_retired()) {
        Some(class) => Err(Error::new(ErrorKind::Input, "a row cannot be of a retired class").at(format!("{class:?}"))),
        None => Ok(set),
    }
}

fn batch(batch: &Together, json: &Json) -> Result<Batch> {
    let origin =
        json.origins.get(batch.origin).ok_or_else(|| Error::new(ErrorKind::Input, "a batch names no origin").found(batch.origin))?;
    Ok(batch.batch(origin.origin()))
}

fn check(rows: &Rows, json: &Json, labels: &[LabelSet], batches: &[Batch]) -> Result<()> {
    let most = limit(json.bits);
    let mut ids = HashSet::new();
    for i in 0..rows.len() {
        let bad = |what: &str, allowed: String, found: u64| {
            Error::new(ErrorKind::Input, format!("a row's {what} is impossible"))
                .at(format!("{ROWS}, row {i}"))
                .expected(allowed)
                .found(found)
        };
        let index = |what: &str, value: u32, len: usize| match (value as usize) < len {
            true => Ok(()),
            false => Err(bad(what, format!("below {len}"), u64::from(value))),
        };
        index("batch", rows.batch[i], batches.len())?;
        index("labels", rows.labels[i], labels.len())?;
        if rows.id[i] == 0 || rows.id[i] >= json.next_row {
            return Err(bad("id", format!("1 to {}, below next_row", json.next_row.saturating_sub(1)), rows.id[i]));
        }
        if !ids.insert((batches[rows.batch[i] as usize].origin, rows.id[i])) {
            return Err(bad("id", "each once".to_owned(), rows.id[i]));
        }
        if rows.flags[i] & !KNOWN_FLAGS != 0 {
            return Err(bad("flags", format!("at most {KNOWN_FLAGS}"), u64::from(rows.flags[i])));
        }
    }
    match rows.latents.iter().position(|q| i32::from(*q).abs() > most) {
        None => Ok(()),
        Some(i) => Err(Error::new(ErrorKind::Input, "a latent component lies outside its range")
            .at(format!("{ROWS}, row {}, component {}", i / rows.dim, i % rows.dim))
            .expected(format!("-{most} to {most}"))
            .found(rows.latents[i])),
    }
}
