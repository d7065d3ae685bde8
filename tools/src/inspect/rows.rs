//! The rows that replay holds, one a line: what `wheatear relabel` needs to name them.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use wheatear::learn::{ClassName, LabelSet};
use wheatear::store::record::RowMeta;
use wheatear::store::{Adapter, Batch, RowFlags};
use wheatear::{Error, ErrorKind, Result};

use crate::opened::reading;
use crate::output::{print, print_facts};
use crate::sounds::BACKGROUND_FOLDER;
use crate::tally::names;
use wheatear::learn::label_text::class_line;

/// A held row. In CSV `is` and `not` are lists of classes, as `relabel --is` takes them.
#[derive(Serialize)]
struct Row {
    id: u64,
    is: Vec<ClassName>,
    not: Vec<ClassName>,
    by: String,
    /// UTC, where the device knew it.
    time: Option<String>,
    /// Digest of the recording, 16 hexadecimal digits; none when live.
    source: Option<String>,
    first_sample: u64,
    flags: Vec<&'static str>,
    held_out: bool,
    undoable: bool,
    chunk: u64,
    origin: String,
}

#[derive(Serialize)]
struct Listed {
    held_rows: u64,
    rows: Vec<Row>,
}

/// Lists the held rows of the adapter in `folder` by id: those of `class` only, and only the newest `limit`.
///
/// # Errors
/// `Input` when it knows no such class; those of opening and reading.
pub fn run(folder: &Path, class: Option<&ClassName>, limit: Option<usize>, json: bool) -> anyhow::Result<()> {
    let listed = reading(folder, |adapter| {
        let background = class.map_or(Ok(false), |c| is_background(adapter, c))?;
        let none = LabelSet::background();
        let mut rows = rows(adapter, |l| if background { *l == none } else { class.is_none_or(|c| names(l, c)) })?;
        rows.sort_by_key(|r| r.id);
        rows.drain(..rows.len().saturating_sub(limit.unwrap_or(usize::MAX)));
        Ok(Listed { held_rows: adapter.held_rows(), rows })
    })?;
    if json { print_facts(true, &listed, |_| String::new()) } else { print(&csv(&listed.rows)?) }
}

/// Whether `class` stands for rows of no class, as the folder of background does, where there is no class of that name.
fn is_background(adapter: &Adapter, class: &ClassName) -> Result<bool> {
    match adapter.tally().contains_key(&Some(class.clone())) {
        true => Ok(false),
        false if class.as_str() == BACKGROUND_FOLDER => Ok(true),
        false => Err(Error::new(ErrorKind::Input, "the adapter knows no such class")
            .at(adapter.folder().display())
            .found(format!("{class:?}"))
            .cure(format!("wheatear inspect lists those that it knows; {BACKGROUND_FOLDER} stands for rows of none"))),
    }
}

fn rows(adapter: &Adapter, is_wanted: impl Fn(&LabelSet) -> bool) -> Result<Vec<Row>> {
    let oldest = adapter.oldest_undoable_row().unwrap_or(u64::MAX);
    let mut rows = Vec::new();
    adapter.rows_by_chunk(|chunk, learned| {
        for (meta, labels) in learned.rows.iter().filter(|(_, l)| is_wanted(l)) {
            let held_out = adapter.is_held_out(meta.id, meta.flags);
            rows.push(Row { held_out, undoable: meta.id >= oldest, chunk, ..row(&learned.batch, meta, labels) });
        }
        Ok(())
    })?;
    Ok(rows)
}

fn row(batch: &Batch, meta: &RowMeta, labels: &LabelSet) -> Row {
    let flags = [(RowFlags::HELD_OUT, "held-out"), (RowFlags::WEAK, "weak")];
    let wall_ms = batch.time.wall_ms.and_then(|ms| ms.checked_add(meta.time_delta_ns / 1_000_000));
    Row {
        id: meta.id,
        is: labels.positive().iter().cloned().collect(),
        not: labels.negative().iter().cloned().collect(),
        by: batch.by.clone(),
        time: wall_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(|t| t.to_string()),
        source: Some(batch.source).filter(|s| *s != 0).map(|s| format!("{s:016x}")),
        first_sample: meta.start_sample,
        flags: flags.iter().filter(|(bit, _)| meta.flags.0 & bit.0 != 0).map(|(_, name)| *name).collect(),
        held_out: false,
        undoable: false,
        chunk: 0,
        origin: batch.origin.to_string(),
    }
}

fn csv(rows: &[Row]) -> anyhow::Result<String> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let head = ["id", "is", "not", "by", "time", "source", "first_sample", "flags", "held_out", "undoable", "chunk", "origin"];
    out.write_record(head)?;
    for r in rows {
        let (is, not, flags) = (class_line(&r.is), class_line(&r.not), r.flags.join(" "));
        let (id, sample, chunk) = (r.id.to_string(), r.first_sample.to_string(), r.chunk.to_string());
        let (time, source) = (r.time.as_deref().unwrap_or_default(), r.source.as_deref().unwrap_or_default());
        let yes = |b: bool| if b { "yes" } else { "" };
        out.write_record([&id, &is, &not, &r.by, time, source, &sample, &flags, yes(r.held_out), yes(r.undoable), &chunk, &r.origin])?;
    }
    Ok(String::from_utf8(out.into_inner().map_err(|e| e.into_error())?)?)
}
