//! What of an adapter can be computed again with another backbone: the recordings whose clips are there, with the labels that
//! their rows have; and what cannot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::Serialize;
use wheatear::Result;
use wheatear::backbone::manifest::Manifest;
use wheatear::learn::{ClassName, LabelSet};
use wheatear::store::tally::fewer;
use wheatear::store::{Adapter, RowFlags, Tally};
use wheatear::units::Moment;

use super::count::Counter;
use super::windows::{Given, OldRow, is_uniform};
use crate::embed::progress;
use crate::recording::{recording_in, recording_of, source_of};
use crate::sounds::sounds_in;
use crate::tally::{ClassRows, list};

/// A recording to be learned again.
pub struct Planned {
    /// Where it is.
    pub clip: PathBuf,
    /// How the adapter knows it.
    pub source: u64,
    /// What it is.
    pub given: WhatItIs,
}

/// What a recording is.
pub enum WhatItIs {
    /// All of it this.
    Whole(Given),
    /// What its rows are, by their begin.
    Rows(Vec<OldRow>),
}

/// What cannot be computed again.
#[derive(Debug, Default, Serialize)]
pub struct Lost {
    /// Rows by class that the statistics count.
    pub rows: Vec<ClassRows>,
    /// Held rows of live sound, of which there is no clip.
    pub live_rows: u64,
    /// Recordings whose clip was not found.
    pub recordings_without_clip: u64,
    /// Recordings whose clip is there and of which nothing tells any more what they are.
    pub recordings_without_label: u64,
}

impl Lost {
    /// True when nothing is lost.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.live_rows + self.recordings_without_clip + self.recordings_without_label == 0
    }
}

/// What an adapter holds and remembers of recordings.
pub struct Taught {
    /// Rows of each source by their begin; none where all have left replay. In the order in which they were taught.
    sources: Vec<(u64, Vec<OldRow>)>,
    live_rows: u64,
    counted: Tally,
    evicted_rows: u64,
    unfinished: HashMap<u64, u64>,
    classes: Vec<ClassName>,
}

impl Taught {
    /// Reads what `adapter` holds.
    ///
    /// # Errors
    /// Those of reading its rows.
    pub fn read(adapter: &Adapter) -> Result<Taught> {
        let mut rows: BTreeMap<u64, Vec<OldRow>> = BTreeMap::new();
        let mut live_rows = 0;
        adapter.rows(|learned| {
            let batch = &learned.batch;
            if batch.source == 0 {
                live_rows += learned.rows.len() as u64;
                return Ok(());
            }
            let given =
                |labels: &LabelSet, flags: RowFlags| Given { labels: labels.clone(), by: batch.by.clone(), time: batch.time, flags };
            let its =
                learned.rows.iter().map(|(meta, labels)| OldRow { start_sample: meta.start_sample, given: given(labels, meta.flags) });
            rows.entry(batch.source).or_default().extend(its);
            Ok(())
        })?;
        rows.values_mut().for_each(|rows| rows.sort_by_key(|r| r.start_sample));
        let known: Vec<u64> = adapter.sources().collect();
        let remembered: BTreeSet<u64> = known.iter().copied().collect();
        let forgotten = rows.keys().filter(|s| !remembered.contains(s)).copied();
        let order: Vec<u64> = forgotten.chain(known.iter().copied()).collect();
        let sources = order.into_iter().map(|s| (s, rows.remove(&s).unwrap_or_default())).collect();
        let unfinished = known.iter().filter(|s| !adapter.has_source(**s)).map(|s| (*s, adapter.rows_of_unfinished(*s))).collect();
        let counted = adapter.tally();
        let classes = counted.keys().flatten().filter(|c| !c.is_retired()).cloned().collect();
        Ok(Taught { sources, live_rows, counted, evicted_rows: adapter.evicted_rows(), unfinished, classes })
    }

    /// True when the windows of the backbone that it was taught with must be known: where rows of one recording differ, and
    /// to count those that have left replay.
    pub fn needs_windows(&self) -> bool {
        self.evicted_rows > 0 || self.sources.iter().any(|(_, rows)| !is_uniform(rows))
    }

    /// Rows that its statistics count, by class.
    pub fn counted(&self) -> &Tally {
        &self.counted
    }

    /// Plans what is learned again from `clips`; `manifest` is that of the backbone before.
    ///
    /// # Errors
    /// `Config` when that manifest's windows cannot be made.
    pub fn plan(self, clips: &Clips, manifest: Option<&Manifest>) -> Result<(Vec<Planned>, Lost)> {
        let mut counter = manifest.filter(|_| self.evicted_rows > 0).map(Counter::new).transpose()?;
        let mut again = Tally::new();
        let mut lost = Lost { live_rows: self.live_rows, ..Lost::default() };
        let mut planned = Vec::new();
        for (source, rows) in self.sources {
            let Some(clip) = clips.0.get(&recording_in(source)) else {
                lost.recordings_without_clip += 1;
                continue;
            };
            let recording = recording_in(source);
            let mut singles = self.classes.iter().map(|class| LabelSet::single(class.clone()));
            let as_taught = singles.find(|labels| source_of(recording, labels) == source);
            if rows.is_empty() && as_taught.is_none() {
                lost.recordings_without_label += 1;
                continue;
            }
            let mut count = |labels: &LabelSet, n: u64| {
                for class in labels.positive().iter().chain(labels.negative()) {
                    *again.entry(Some(class.clone())).or_default() += n;
                }
                if *labels == LabelSet::background() {
                    *again.entry(None).or_default() += n;
                }
            };
            rows.iter().for_each(|row| count(&row.given.labels, 1));
            let labels = as_taught.as_ref().or(rows.first().map(|r| &r.given.labels));
            if let (Some(counter), Some(labels)) = (&mut counter, labels) {
                // A clip that cannot be read is found when it is embedded.
                let taught = self.unfinished.get(&source).copied().unwrap_or_else(|| counter.rows_of(clip).unwrap_or(0));
                count(labels, taught.saturating_sub(rows.len() as u64));
            }
            let given = match (rows.first(), as_taught) {
                (Some(first), _) if is_uniform(&rows) => WhatItIs::Whole(first.given.clone()),
                (None, Some(labels)) => {
                    let given = Given { labels, by: "teach".to_owned(), time: Moment::UNKNOWN, flags: RowFlags::default() };
                    WhatItIs::Whole(given)
                }
                _ => WhatItIs::Rows(rows),
            };
            planned.push(Planned { clip: clip.clone(), source, given });
        }
        lost.rows = list(&fewer(&self.counted, &again));
        Ok((planned, lost))
    }
}

/// Clips by recording.
pub struct Clips(HashMap<u64, PathBuf>);

impl Clips {
    /// The sounds in `folders` and below; of several alike the first.
    ///
    /// # Errors
    /// `Missing` or `Storage` when a folder or a file cannot be read, `Input` when there are no sounds in one.
    pub fn find(folders: &[PathBuf]) -> Result<Clips> {
        let mut clips = HashMap::new();
        let files = folders.iter().map(|f| sounds_in(f)).collect::<Result<Vec<_>>>()?.concat();
        let bar = progress("reading", files.len());
        for file in files {
            clips.entry(recording_of(&file)?).or_insert(file);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Clips(clips))
    }
}

/// True when `folder` is not there or is empty.
pub fn is_free(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or_else(|e| e.kind() == std::io::ErrorKind::NotFound, |mut d| d.next().is_none())
}
