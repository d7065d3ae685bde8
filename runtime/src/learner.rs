//! What an adapter serves: the head of its statistics, chosen and tried by the rows that replay holds.
//!
//! With [`HeadKind::Auto`] labels that are probably wrong are left out of the head ([`crate::head::doubt`]): their rows stay in the
//! statistics and in replay, and are named, so that a person can relabel them or leave them.

pub mod budget;
pub mod judge;
pub mod mixed;
pub mod standing;
pub mod trial;

pub use budget::Budget;
pub use judge::{Answer, Judge};
pub use standing::{Standing, accept, keep, monitor, newest, settle, stand};
pub use trial::{Answers, Verdict};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::head::auto::{self, Auto, Member};
use crate::head::evidence::{Evidence, Targets};
use crate::head::{Counted, Expanded, Head, HeadKind, LinearHead, Moments, Presence, RandomFeatures, Unknown, doubt, judges};
use crate::learn::{Block, BlockKind, ClassName, LabelSet};
use crate::mix::mix;
use crate::store::{self, Adapter, Batch};
use crate::{Error, ErrorKind, Result};
use trial::Answered;

/// Rounds of finding wrong labels: each is judged by a head without those of the round before.
const ROUNDS: usize = 3;
/// Most background rows that teach what is unknown.
const BACKGROUND_ROWS_MAX: usize = 400;

/// A row of one class that the statistics count.
#[derive(Debug, Clone)]
pub struct LabelledRow {
    /// Its id.
    pub id: u64,
    /// The latent \[D\].
    pub latent: Vec<i8>,
    /// What it was said to be.
    pub class: ClassName,
    /// Rows with the same number are of one recording, or of one moment, and stand for each other.
    pub recording: u64,
}

/// A head with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// What classifies.
    pub head: LinearHead,
    /// Tells windows of no class; none for other kinds than auto, and where there is too little evidence.
    pub unknown: Option<Unknown>,
    /// Which classes are present, and vetoes; of auto alone, where rows of several or negative labels were learned.
    pub presence: Option<Presence>,
    /// Of auto the heads that are pooled.
    pub members: Vec<Member>,
    /// What held rows say of auto; none where none could judge.
    pub evidence: Option<Evidence>,
    /// Rows that were left out of the head since their label is probably wrong.
    pub doubtful: Vec<Doubtful>,
    /// Rows that were looked at for that.
    pub examined: usize,
    /// What it says of the rows that judged it; not kept with an adapter, which has their judgement.
    #[serde(skip)]
    pub answers: Answers,
}

impl Served {
    /// Why what it says is not to be believed: no held row of `adapter` judges it, and so its numbers are no probabilities. None where
    /// some do, and for heads that none judges ever.
    pub fn unjudged(&self, adapter: &Adapter) -> Option<String> {
        if self.members.is_empty() || self.evidence.is_some() {
            return None;
        }
        let cure = match adapter.damaged_chunks() {
            0 => "teach more: it takes two classes, and two recordings of each".to_owned(),
            n => {
                let (folder, s) = (adapter.folder().display(), if n == 1 { "" } else { "s" });
                format!("the rows of {n} damaged chunk{s} left replay: wheatear repair {folder} --out NEW makes a new one of what is whole")
            }
        };
        Some(format!("no held row can judge the head, and how sure it is means nothing; {cure}"))
    }

    /// Checks what was read against D = `dim`.
    ///
    /// # Errors
    /// `Corrupt`, naming what is wrong.
    pub fn validate(&self, dim: usize) -> Result<()> {
        self.head.validate(dim)?;
        self.presence.as_ref().map_or(Ok(()), |p| p.validate(dim))?;
        if self.unknown.as_ref().is_some_and(|u| u.classes() != self.head.classes) {
            return Err(Error::new(ErrorKind::Corrupt, "a stored head and what tells unknown windows know different classes"));
        }
        self.unknown.as_ref().map_or(Ok(()), |u| u.validate(dim))
    }

    /// Forgets the classes for which `keep` is false; false when none is left.
    fn retain(&mut self, keep: impl Fn(&ClassName) -> bool) -> bool {
        self.head.retain(&keep);
        self.unknown.iter_mut().for_each(|u| u.retain(&keep));
        if let Some(presence) = &mut self.presence {
            [&mut presence.present, &mut presence.vetoes].into_iter().for_each(|part| {
                part.iter_mut().for_each(|head| head.retain(&keep));
                part.take_if(|head| head.classes.is_empty());
            });
        }
        self.presence.take_if(|p| p.present.is_none() && p.vetoes.is_none());
        !self.head.classes.is_empty()
    }
}

/// A row whose label is probably wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Doubtful {
    /// Its id.
    pub id: u64,
    /// What it was said to be.
    pub said: ClassName,
    /// What it sounds like to a head that did not learn it.
    pub sounds_like: ClassName,
    /// Probability that the label is wrong, 0.5 to 1.
    pub wrong: f64,
}

/// Whether labels are doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Rows whose label is probably wrong are left out of the head.
    On,
    /// Every label is believed.
    Off,
}

/// Random features of the rows, for a third head in the pool of [`HeadKind::Auto`].
#[derive(Debug, Clone, Copy)]
pub struct FeatureBlock<'a> {
    /// Which.
    pub features: &'a RandomFeatures,
    /// Their statistics, of the same rows as those of the latents.
    pub block: &'a Block,
}

/// The head that `adapter` serves, at no more than `budget`.
///
/// # Errors
/// `Learn` when nothing was learned yet; `Limit` when the budget has too little memory for it; those of reading its rows.
pub fn serve(adapter: &Adapter, kind: HeadKind, budget: &Budget) -> Result<Served> {
    let block = adapter.block(BlockKind::Latents)?.map_or_else(|| Err(nothing_learned(adapter)), Ok)?;
    let (rows, background) = if kind == HeadKind::Auto { judging(adapter, &block, budget)? } else { Default::default() };
    let background: Vec<(u64, &[i8])> = background.iter().map(|(id, latent)| (*id, latent.as_slice())).collect();
    let scale = &adapter.header().creation.scale;
    let sources = Sources { block: &block, scale, rows: &rows, background: &background, expanded: None };
    let mut served = solve(kind, Guard::On, sources, budget)?;
    if kind == HeadKind::Auto {
        served.presence = mixed::presence(adapter, &block, &served.doubtful, budget)?;
    }
    Ok(served)
}

/// Whether there is anything to solve a head from: a class with rows of that one label.
///
/// # Errors
/// `Limit` when the sums of the origins overflow.
pub fn can_serve(adapter: &Adapter) -> Result<bool> {
    Ok(adapter.block(BlockKind::Latents)?.is_some_and(|b| b.classes().iter().any(|(class, sums)| !class.is_retired() && sums.n > 0)))
}

fn nothing_learned(adapter: &Adapter) -> Error {
    let error = match adapter.block(BlockKind::Mixed) {
        Ok(Some(mixed)) if mixed.rows() > 0 => Error::new(ErrorKind::Learn, "the adapter has learned no sound of one class alone yet")
            .found("rows of several labels, or of what is not")
            .cure("teach it some sounds of one class each: wheatear teach FOLDER ..."),
        _ => Error::new(ErrorKind::Learn, "the adapter has learned nothing yet").cure("teach it: wheatear teach FOLDER ..."),
    };
    error.at(adapter.folder().display())
}

/// What a row was recorded with: its recording, or, of a live microphone, the label that it was learned by.
fn recording(learned: &store::record::Learned, id: u64) -> u64 {
    let Batch { source, time, .. } = &learned.batch;
    match (source, time.monotonic_ns) {
        (0, 0) => id,
        (0, ns) => time.boot_id.chunks_exact(8).fold(ns, |all, part| mix(all ^ part.iter().fold(0, |n, b| n << 8 | u64::from(*b)))),
        (source, _) => *source,
    }
}

/// Id and latent of a row that nobody named.
type BackgroundRow = (u64, Vec<i8>);

/// Those of the rows that replay holds which judge a head, and background rows. What they are is seen first, so that only their latents
/// are copied.
fn judging(adapter: &Adapter, block: &Block, budget: &Budget) -> Result<(Vec<LabelledRow>, Vec<BackgroundRow>)> {
    let classes: Vec<&ClassName> = block.classes().keys().collect();
    let single = |labels: &LabelSet| labels.positive().first().filter(|_| labels.block_kind() == BlockKind::Latents).cloned();
    let mut places = Vec::new();
    adapter.rows(|learned| {
        for (meta, labels) in &learned.rows {
            if let Some(class) = single(labels) {
                places.push((classes.binary_search(&&class).unwrap_or(usize::MAX), recording(&learned, meta.id)));
            }
        }
        Ok(())
    })?;
    let chosen = judges::choose(&places, budget.judge_rows as usize, budget.rows_max(adapter.dim(), classes.len())?);
    let (mut rows, mut background, mut place) = (Vec::new(), Vec::new(), 0);
    adapter.rows(|learned| {
        for ((meta, labels), latent) in learned.rows.iter().zip(learned.latents.chunks_exact(adapter.dim())) {
            if let Some(class) = single(labels) {
                if chosen.binary_search(&place).is_ok() {
                    rows.push(LabelledRow { id: meta.id, latent: latent.to_vec(), class, recording: recording(&learned, meta.id) });
                }
                place += 1;
            } else if *labels == LabelSet::background() && background.len() < BACKGROUND_ROWS_MAX {
                background.push((meta.id, latent.to_vec()));
            }
        }
        Ok(())
    })?;
    Ok((rows, background))
}

/// What a head is solved from. Only auto looks at more than the block and its scale.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// Statistics.
    pub block: &'a Block,
    /// Value of a latent step \[D\].
    pub scale: &'a [f32],
    /// Some of the rows that the block counts.
    pub rows: &'a [LabelledRow],
    /// Ids and latents of rows that nobody named.
    pub background: &'a [(u64, &'a [i8])],
    /// Random features of the same rows.
    pub expanded: Option<FeatureBlock<'a>>,
}

/// The head of `sources`, at no more than `budget`.
///
/// # Errors
/// `Learn` when there are no rows; `Mismatch` or `Learn` for rows that the block, or that of the features, does not count; `Limit` when
/// the budget has too little memory for auto.
pub fn solve(kind: HeadKind, guard: Guard, sources: Sources<'_>, budget: &Budget) -> Result<Served> {
    let Sources { block, scale, rows, background, expanded } = sources;
    if let Some(kind) = kind.solved() {
        let head = kind.solve(&Moments::new(block, scale)?)?;
        return Ok(Served {
            head,
            unknown: None,
            presence: None,
            members: vec![],
            evidence: None,
            doubtful: vec![],
            examined: 0,
            answers: Answers::default(),
        });
    }
    let classes: Vec<&ClassName> = block.classes().keys().collect();
    let place = |row: &LabelledRow| (classes.binary_search(&&row.class).unwrap_or(usize::MAX), row.recording);
    let places: Vec<_> = rows.iter().map(place).collect();
    let judges = judges::choose(&places, budget.judge_rows as usize, budget.rows_max(block.dim(), classes.len())?);
    let judges: Vec<&LabelledRow> = judges.into_iter().map(|i| &rows[i]).collect();
    let latents: Vec<&[i8]> = background.iter().map(|(_, latent)| *latent).collect();
    let learned = Learned { block, scale, judges: &judges, background: &latents, expanded };
    let mut doubtful = BTreeMap::new();
    let mut auto = learned.pool(&doubtful)?;
    for _ in 0..if guard == Guard::On { ROUNDS } else { 0 } {
        let found = learned.doubt(&auto, &doubtful);
        if found.keys().eq(doubtful.keys()) {
            break;
        }
        doubtful = found;
        auto = learned.pool(&doubtful)?;
    }
    let answers = learned.answers(&auto, &doubtful, background);
    let examined = auto.judged.rows.len() + doubtful.len();
    let Auto { head, members, evidence, unknown, .. } = auto;
    Ok(Served { head, unknown, presence: None, members, evidence, doubtful: doubtful.into_values().collect(), examined, answers })
}

/// What heads are solved and judged from.
struct Learned<'a> {
    block: &'a Block,
    scale: &'a [f32],
    judges: &'a [&'a LabelledRow],
    background: &'a [&'a [i8]],
    expanded: Option<FeatureBlock<'a>>,
}

impl Learned<'_> {
    /// The pool of all rows but those in doubt.
    fn pool(&self, doubtful: &BTreeMap<usize, Doubtful>) -> Result<Auto> {
        let mut trusted = self.block.clone();
        for row in doubtful.keys().map(|i| self.judges[*i]) {
            trusted.subtract(&row.latent, &LabelSet::single(row.class.clone()))?;
        }
        let moments = Moments::new(&trusted, self.scale)?;
        let expanded = self.expanded(doubtful)?;
        let class = |row: &LabelledRow| {
            moments.classes().binary_search(&row.class).map_err(|_| {
                Error::new(ErrorKind::Mismatch, "a held row is of a class that the statistics do not know").at(row.id).found(&row.class)
            })
        };
        let rows = self.trusted(doubtful).map(|(_, row)| row);
        let counted = rows.map(|row| Ok(Counted { latent: &row.latent, class: class(row)?, recording: row.recording }));
        auto::solve(&moments, &counted.collect::<Result<Vec<_>>>()?, self.background, expanded.as_ref())
    }

    /// Statistics of the random features of the same rows.
    fn expanded(&self, doubtful: &BTreeMap<usize, Doubtful>) -> Result<Option<Expanded<'_>>> {
        let Some(FeatureBlock { features, block }) = self.expanded else { return Ok(None) };
        let mut trusted = block.clone();
        let mut expanded = vec![0; features.features()];
        for row in doubtful.keys().map(|i| self.judges[*i]) {
            features.check(&row.latent)?;
            features.expand(&row.latent, &mut expanded);
            trusted.subtract(&expanded, &LabelSet::single(row.class.clone()))?;
        }
        Expanded::new(features, &trusted, self.scale).map(Some)
    }

    fn trusted(&self, doubtful: &BTreeMap<usize, Doubtful>) -> impl Iterator<Item = (usize, &LabelledRow)> {
        self.judges.iter().enumerate().filter(|(i, _)| !doubtful.contains_key(i)).map(|(i, row)| (i, *row))
    }

    /// The judges, and what the pool says of each without its recording \[n, C\]; those in `doubt` it learned neither way.
    fn scored(&self, auto: &Auto, doubt: &BTreeMap<usize, Doubtful>) -> (Vec<usize>, Vec<f64>) {
        let trusted: Vec<usize> = self.trusted(doubt).map(|(i, _)| i).collect();
        let mut rows: Vec<usize> = auto.judged.rows.iter().map(|n| trusted[*n]).collect();
        let mut z = auto.judged.z.clone();
        let mut scores = vec![0f32; auto.head.classes().len()];
        for i in doubt.keys() {
            auto.head.scores(&self.values(&self.judges[*i].latent), &mut scores);
            z.extend(scores.iter().map(|z| f64::from(*z)));
            rows.push(*i);
        }
        (rows, z)
    }

    fn values(&self, latent: &[i8]) -> Vec<f32> {
        latent.iter().zip(self.scale).map(|(q, s)| f32::from(*q) * s).collect()
    }

    /// What the pool says of all that judged it.
    fn answers(&self, auto: &Auto, doubtful: &BTreeMap<usize, Doubtful>, background: &[(u64, &[i8])]) -> Answers {
        let classes = auto.head.classes();
        let (judges, scores) = self.scored(auto, doubtful);
        let (mut rows, mut z) = (Vec::new(), Vec::new());
        for (i, of_row) in judges.iter().zip(scores.chunks_exact(classes.len())) {
            let LabelledRow { id, recording, class, .. } = self.judges[*i];
            if let Ok(label) = classes.binary_search(class) {
                rows.push(Answered { id: *id, recording: *recording, label: label as u32 });
                z.extend(of_row);
            }
        }
        let mut scratch = vec![0f32; classes.len()];
        let unknown = auto.unknown.iter().flat_map(|unknown| background.iter().map(move |(id, latent)| (unknown, id, latent)));
        let background = unknown.map(|(unknown, id, latent)| (*id, unknown.probability(&self.values(latent), &mut scratch))).collect();
        Answers { classes: classes.to_vec(), rows, z, background }
    }

    /// The judges whose label is probably wrong, by a head that learned neither them nor those that were in doubt before.
    fn doubt(&self, auto: &Auto, before: &BTreeMap<usize, Doubtful>) -> BTreeMap<usize, Doubtful> {
        let classes = auto.head.classes();
        let (rows, z) = self.scored(auto, before);
        let own = |i: &usize| classes.binary_search(&self.judges[*i].class).ok();
        let targets: Vec<usize> = rows.iter().filter_map(own).collect();
        // A class that lost its name cannot be judged.
        if targets.len() != rows.len() || rows.is_empty() {
            return BTreeMap::new();
        }
        let recordings = rows.iter().map(|i| self.judges[*i].recording).collect::<BTreeSet<_>>().len();
        // Labels are doubted row by row, so each row weighs the same here: by recordings, five right labels of the demo were doubted.
        let each: Vec<u64> = rows.iter().map(|i| *i as u64).collect();
        let targets = Targets::new(targets, &each, classes.len());
        let Some(found) = doubt::find(&z, &targets, recordings) else { return BTreeMap::new() };
        let mut doubtful = BTreeMap::new();
        for ((i, wrong), z) in rows.iter().zip(found.wrong).zip(z.chunks_exact(classes.len())).filter(|((_, wrong), _)| *wrong > 0.5) {
            let best = (0..z.len()).fold(0, |best, k| if z[k] > z[best] { k } else { best });
            let row = self.judges[*i];
            doubtful.insert(*i, Doubtful { id: row.id, said: row.class.clone(), sounds_like: classes[best].clone(), wrong });
        }
        // What is left of a class must be able to speak for it.
        for class in classes {
            let of_class = |i: &usize| self.judges[*i].class == *class;
            if (0..self.judges.len()).filter(|i| of_class(i) && !doubtful.contains_key(i)).count() < 2 {
                doubtful.retain(|i, _| !of_class(i));
            }
        }
        doubtful
    }
}

#[cfg(test)]
#[path = "learner_tests.rs"]
mod tests;
