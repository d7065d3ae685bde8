//! The guard: a new head is tried on the rows that judge it, each left out with its recording, and compared with what was said of the same
//! rows when they were first judged. It is refused when it is worse by more than a limit, and by more than chance.
//!
//! Three things are compared, over rows whose label is the same: accuracy among the classes that were known when the row was first
//! judged (that rows of an old class are taken for a new one is what adding classes costs, and is only told), how far confidence lies
//! above accuracy (a head that learned a new class may well be less sure than it could be), and how many background windows pass for known (which what tells them apart was fitted on, then as now). The first
//! answer stands, and not that of the head before: else many small losses, each within the limit, would add up unseen.
//!
//! Rows of a recording stand for each other, so the unit of chance is the recording: with `d_r` the loss over the rows of recording r,
//! each class weighing the same, a loss stands out when `sum d_r > SIGMAS sqrt(sum d_r^2)` (a sign test with weights; Fisher 1935's
//! randomisation, in the normal limit).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::learn::ClassName;
use crate::{Error, ErrorKind, Result};

/// Standard deviations from which a loss is more than chance: one in a hundred.
pub const SIGMAS: f64 = 2.33;
/// Most rows whose first answers are kept.
pub const ROWS_MAX: usize = 3000;
/// Loss of accuracy that is let pass.
pub const ACCURACY_LIMIT: f64 = 0.02;
/// More confidence above accuracy that is let pass.
pub const CALIBRATION_LIMIT: f64 = 0.05;
/// More background windows taken for known that are let pass, as a share.
pub const FALSE_ALARM_LIMIT: f64 = 0.05;

/// What a head says of the rows that judge it, each without its recording.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// The classes that it knows \[C\].
    pub classes: Vec<ClassName>,
    /// The rows \[n\].
    pub rows: Vec<Answered>,
    /// Logits, row-major \[n, C\]: their softmax is the probability of each class.
    pub z: Vec<f64>,
    /// Background rows by their id, with the probability that they are of no known class.
    pub background: BTreeMap<u64, f32>,
}

/// A row that judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Its id.
    pub id: u64,
    /// Its recording.
    pub recording: u64,
    /// What it is said to be: an index of the classes.
    pub label: u32,
}

/// What was said of rows when they were first judged by a head that served: what the next head is compared with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Heads that served.
    heads: u32,
    /// The classes, each with the first head that knew it.
    classes: Vec<(ClassName, u32)>,
    rows: Vec<First>,
    background: BTreeMap<u64, f32>,
}

/// The first answer to a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct First {
    row: Answered,
    answer: Answer,
    /// The head that gave it.
    head: u32,
}

/// Whether a row was named right, and the probability of the class that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Answer {
    right: bool,
    confidence: f32,
}

impl Answers {
    /// What is kept when this head serves: the first answers of `before`, and these where there were none.
    pub fn judgement(&self, before: Option<&Judgement>) -> Judgement {
        let head = before.map_or(0, |b| b.heads.saturating_add(1));
        let since = |class: &ClassName| before.and_then(|b| b.since(class)).unwrap_or(head);
        let first = before.map_or_else(BTreeMap::new, Judgement::by_id);
        let all = vec![true; self.classes.len()];
        let rows = self.rows.iter().zip(self.z.chunks_exact(self.classes.len().max(1))).map(|(row, z)| {
            match first.get(&row.id).filter(|(label, _)| **label == self.classes[row.label as usize]) {
                Some((_, first)) => First { row: *row, ..**first },
                None => First { row: *row, answer: among(z, row.label, &all), head },
            }
        });
        let known = |id: &u64| before.and_then(|b| b.background.get(id));
        let mut rows: Vec<First> = rows.collect();
        let judging: BTreeSet<u64> = rows.iter().map(|first| first.row.id).collect();
        // Other rows judge by and by: the first answers to those that may judge again stay, the newest rows first where there are too many.
        let others = first.iter().rev().filter(|(id, _)| !judging.contains(id));
        let others = others.filter_map(|(_, (class, first))| {
            let label = self.classes.binary_search(class).ok()? as u32;
            Some(First { row: Answered { label, ..first.row }, ..**first })
        });
        rows.truncate(ROWS_MAX);
        rows.extend(others.take(ROWS_MAX - rows.len()));
        Judgement {
            heads: head,
            classes: self.classes.iter().map(|c| (c.clone(), since(c))).collect(),
            rows,
            background: self.background.iter().map(|(id, p)| (*id, *known(id).unwrap_or(p))).collect(),
        }
    }

    /// Share of rows of `classes`, each class weighing the same, that get another class.
    fn renamed(&self, classes: &[ClassName]) -> f64 {
        let rows = self.rows.iter().zip(self.z.chunks_exact(self.classes.len().max(1)));
        let mut of_class: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (row, z) in rows.filter(|(row, _)| classes.binary_search(&self.classes[row.label as usize]).is_ok()) {
            let best = (0..z.len()).fold(0, |best, k| if z[k] > z[best] { k } else { best });
            let counts = of_class.entry(row.label).or_default();
            counts.0 += f64::from(u8::from(classes.binary_search(&self.classes[best]).is_err()));
            counts.1 += 1.0;
        }
        of_class.values().map(|(new, all)| new / all).sum::<f64>() / of_class.len().max(1) as f64
    }
}

/// The answer to a row with logits `z` \[C\] as if there were only the classes that are `asked` \[C\].
fn among(z: &[f64], label: u32, asked: &[bool]) -> Answer {
    let seen = || z.iter().zip(asked).enumerate().filter(|(_, (_, asked))| **asked).map(|(class, (z, _))| (class, *z));
    let best = seen().fold((usize::MAX, f64::NEG_INFINITY), |best, at| if at.1 > best.1 { at } else { best });
    let total: f64 = seen().map(|(_, z)| (z - best.1).exp()).sum();
    Answer { right: best.0 == label as usize, confidence: (1.0 / total) as f32 }
}

impl Judgement {
    fn since(&self, class: &ClassName) -> Option<u32> {
        self.classes.binary_search_by(|(c, _)| c.cmp(class)).ok().map(|i| self.classes[i].1)
    }

    fn by_id(&self) -> BTreeMap<u64, (&ClassName, &First)> {
        self.rows.iter().map(|first| (first.row.id, (&self.classes[first.row.label as usize].0, first))).collect()
    }

    /// Checks what was read.
    ///
    /// # Errors
    /// `Corrupt` for classes out of order, a row of no class, or a probability that is none.
    pub fn validate(&self) -> Result<()> {
        let probable = |p: f32| (0.0..=1.0).contains(&p);
        let row = |first: &First| (first.row.label as usize) < self.classes.len() && probable(first.answer.confidence);
        let sound =
            self.classes.is_sorted_by(|a, b| a.0 < b.0) && self.rows.iter().all(row) && self.background.values().all(|p| probable(*p));
        if sound { Ok(()) } else { Err(Error::new(ErrorKind::Corrupt, "the answers kept with a head make no sense")) }
    }
}

/// What a trial found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Rows that were compared.
    pub rows: usize,
    /// Recordings that they are of.
    pub recordings: usize,
    /// Background rows that were compared.
    pub background_rows: usize,
    /// Mean accuracy over the classes that the old head knows.
    pub accuracy: Compared,
    /// Mean confidence less accuracy; 0 where it is less sure than right.
    pub calibration: Compared,
    /// Share of background rows that are more probably known than not.
    pub false_alarms: Compared,
    /// Share of rows of old classes that are taken for new ones.
    pub renamed: f64,
    /// What is worse than is let pass; the head is refused for any.
    pub worse: Vec<Worse>,
}

/// What was said first, and what the new head says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Compared {
    /// At first.
    pub before: f64,
    /// By the head that is tried.
    pub after: f64,
}

/// What made a head fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worse {
    /// Old classes are named right less often.
    Accuracy,
    /// It is surer than there is reason for.
    Calibration,
    /// Background passes for known more often.
    FalseAlarms,
}

impl Verdict {
    /// Whether the new head may serve.
    pub fn accepts(&self) -> bool {
        self.worse.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |c: Compared| format!("{:.1} % to {:.1} %", 100.0 * c.before, 100.0 * c.after);
        let reason = |worse: &Worse| match worse {
            Worse::Accuracy => format!("old classes are named right less often: {}", percent(self.accuracy)),
            Worse::Calibration => format!("it is surer than it is right, by: {}", percent(self.calibration)),
            Worse::FalseAlarms => format!("background passes for known more often: {}", percent(self.false_alarms)),
        };
        match self.accepts() {
            true => write!(f, "no worse on {} rows of {} recordings", self.rows, self.recordings),
            false => f.write_str(&self.worse.iter().map(reason).collect::<Vec<_>>().join("; ")),
        }
    }
}

/// Compares the answers of a new head with the first ones. Classes that the new head does not know a person took away: what was said
/// of their rows does not count.
pub fn compare(first: &Judgement, tried: &Answers) -> Verdict {
    let old: Vec<ClassName> = first.classes.iter().map(|(c, _)| c.clone()).collect();
    let since: Vec<Option<u32>> = tried.classes.iter().map(|c| first.since(c)).collect();
    let mut asked: BTreeMap<u32, Vec<bool>> = BTreeMap::new();
    let before = first.by_id();
    let mut both: Vec<(Answered, Answer, Answer)> = Vec::new();
    for (row, z) in tried.rows.iter().zip(tried.z.chunks_exact(tried.classes.len().max(1))) {
        let same = before.get(&row.id).filter(|(label, _)| **label == tried.classes[row.label as usize]);
        let Some((_, first)) = same else { continue };
        let asked = asked.entry(first.head).or_insert_with(|| since.iter().map(|s| s.is_some_and(|s| s <= first.head)).collect());
        both.push((*row, first.answer, among(z, row.label, asked)));
    }
    let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
    both.iter().for_each(|(row, ..)| *counts.entry(row.label).or_default() += 1.0);
    let weight = |row: &Answered| 1.0 / (counts[&row.label] * counts.len() as f64);
    let hit = |a: &Answer| f64::from(u8::from(a.right));
    let gap = |a: &Answer| f64::from(a.confidence) - hit(a);
    let total = |of: &dyn Fn(&(Answered, Answer, Answer)) -> f64| both.iter().map(|both| weight(&both.0) * of(both)).sum::<f64>();
    let accuracy = Compared { before: total(&|b| hit(&b.1)), after: total(&|b| hit(&b.2)) };
    let (gap_before, gap_after) = (total(&|b| gap(&b.1)), total(&|b| gap(&b.2)));
    let calibration = Compared { before: gap_before.max(0.0), after: gap_after.max(0.0) };
    let losses = |of: &dyn Fn(&(Answered, Answer, Answer)) -> f64| {
        let mut by_recording: BTreeMap<u64, f64> = BTreeMap::new();
        both.iter().for_each(|both| *by_recording.entry(both.0.recording).or_default() += weight(&both.0) * of(both));
        by_recording
    };
    let known = |p: f32| f64::from(u8::from(p <= 0.5));
    // A head that cannot tell unknown windows lets all background pass.
    let after = |id: &u64| if tried.background.is_empty() { Some(&0.0) } else { tried.background.get(id) };
    let background: Vec<(f64, f64)> =
        first.background.iter().filter_map(|(id, before)| Some((known(*before), known(*after(id)?)))).collect();
    let share = |sum: f64| if background.is_empty() { 0.0 } else { sum / background.len() as f64 };
    let false_alarms = Compared { before: share(background.iter().map(|b| b.0).sum()), after: share(background.iter().map(|b| b.1).sum()) };

    let mut worse = Vec::new();
    if stands_out(losses(&|b| hit(&b.1) - hit(&b.2)).into_values(), ACCURACY_LIMIT) {
        worse.push(Worse::Accuracy);
    }
    let counted = f64::from(u8::from(gap_before > 0.0));
    if stands_out(losses(&|b| gap(&b.2) - counted * gap(&b.1)).into_values(), CALIBRATION_LIMIT) {
        worse.push(Worse::Calibration);
    }
    if stands_out(background.iter().map(|(before, after)| share(after - before)), FALSE_ALARM_LIMIT) {
        worse.push(Worse::FalseAlarms);
    }
    Verdict {
        rows: both.len(),
        recordings: both.iter().map(|(row, ..)| row.recording).collect::<BTreeSet<_>>().len(),
        background_rows: background.len(),
        accuracy,
        calibration,
        false_alarms,
        renamed: tried.renamed(&old),
        worse,
    }
}

/// Whether the losses together are above `limit`, and more than chance.
fn stands_out(losses: impl Iterator<Item = f64>, limit: f64) -> bool {
    let (sum, squares) = losses.fold((0.0, 0.0), |(sum, squares), d| (sum + d, squares + d * d));
    sum > limit && sum > SIGMAS * f64::sqrt(squares)
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
