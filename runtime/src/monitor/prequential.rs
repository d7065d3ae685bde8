//! Prequential evaluation: each labelled window is answered before it is learned, and old answers fade (Gama, Sebastião & Rodrigues 2013,
//! "On evaluating stream learning algorithms", equation 6). Overall and for each class: accuracy, calibration, forgetting, and how far
//! the embeddings have moved from what was learned.
//!
//! Bounded by [`CLASSES_MAX`] classes and D: a class beyond that counts overall alone, and the report says how many answers did. The
//! forgetting of a class is its best accuracy so far minus the one now; the best of a noisy series is too high, so it is above 0 even
//! where nothing is forgotten.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::learn::ClassName;
use crate::{Error, ErrorKind, Result};

/// Most classes that are followed.
pub const CLASSES_MAX: usize = 4096;
/// Ranges of confidence over which calibration is measured.
const RANGES: usize = 15;
/// Fewest answers (faded) for which the accuracy of a class can be its best.
const ANSWERS_MIN: f64 = 10.0;

/// A faded mean: `S = v + a S`, `B = 1 + a B`, and the mean is S / B.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Faded {
    sum: f64,
    weight: f64,
}

impl Faded {
    fn push(&mut self, value: f64, fading: f64) {
        self.sum = value + fading * self.sum;
        self.weight = 1.0 + fading * self.weight;
    }

    /// Whether it can be a mean of values within -1 to 1.
    fn is_sound(&self) -> bool {
        self.weight >= 0.0 && self.weight.is_finite() && self.sum.abs() <= self.weight * (1.0 + 1e-9)
    }

    fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct ClassAnswers {
    right: Faded,
    best: Option<f64>,
}

/// Faded answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prequential {
    fading: f64,
    right: Faded,
    confidence: Faded,
    /// Confidence minus right, and answers, of each range.
    gaps: [Faded; RANGES],
    classes: BTreeMap<ClassName, ClassAnswers>,
    unfollowed: u64,
    /// Faded sum of embeddings \[D\] and its weight.
    embedding: Vec<f64>,
    embedding_weight: f64,
}

/// What was learned, to measure embeddings against.
#[derive(Debug, Clone, Copy)]
pub struct Learned<'a> {
    /// Mean of the learned embeddings \[D\].
    pub mean: &'a [f64],
    /// Root of the trace of the within-class covariance.
    pub spread: f64,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Share of answers that were right, 0 to 1; none before the first.
    pub accuracy: Option<f64>,
    /// Mean of the accuracies of the classes.
    pub class_accuracy: Option<f64>,
    /// Mean probability of the answers that were given.
    pub confidence: Option<f64>,
    /// Expected calibration error over 15 ranges, 0 to 1.
    pub ece: Option<f64>,
    /// Distance of the faded mean embedding from the learned mean, in within-class spreads.
    pub drift: Option<f64>,
    /// Mean over the classes of best earlier accuracy minus the one now.
    pub forgetting: Option<f64>,
    /// Classes with what they lost, most first; those alone that lost something.
    pub fell: Vec<(ClassName, f64)>,
    /// Answers whose class is not followed for want of room.
    pub unfollowed: u64,
}

impl Prequential {
    /// Nothing answered yet. An answer that is k answers old weighs `fading^k`, so about `1 / (1 - fading)` answers count.
    ///
    /// # Errors
    /// `Config` unless `0 < fading <= 1`.
    pub fn new(fading: f64, dim: usize) -> Result<Prequential> {
        if !(fading > 0.0 && fading <= 1.0) {
            return Err(Error::new(ErrorKind::Config, "the fading factor is out of range").expected("0 < fading <= 1").found(fading));
        }
        Ok(Prequential {
            fading,
            right: Faded::default(),
            confidence: Faded::default(),
            gaps: [Faded::default(); RANGES],
            classes: BTreeMap::new(),
            unfollowed: 0,
            embedding: vec![0.0; dim],
            embedding_weight: 0.0,
        })
    }

    /// Whether what was read can be answers to windows of D = `dim`.
    pub(crate) fn is_sound(&self, dim: usize) -> bool {
        let of_class = |c: &ClassAnswers| c.right.is_sound() && c.best.is_none_or(|b| (0.0..=1.0).contains(&b));
        let fadeds = self.gaps.iter().chain([&self.right, &self.confidence]);
        self.fading > 0.0
            && self.fading <= 1.0
            && fadeds.into_iter().all(Faded::is_sound)
            && self.classes.len() <= CLASSES_MAX
            && self.classes.values().all(of_class)
            && self.embedding.len() == dim
            && self.embedding.iter().chain([&self.embedding_weight]).all(|v| v.is_finite())
    }

    /// One with more right answers than answers.
    #[cfg(test)]
    pub(crate) fn impossible(mut self) -> Prequential {
        self.right.sum = 2.0 * self.right.weight + 1.0;
        self
    }

    /// Takes an answer with its probability 0 to 1, for a window whose class is known by now.
    pub fn answer(&mut self, class: &ClassName, right: bool, confidence: f32) {
        let hit = f64::from(u8::from(right));
        let confidence = if confidence.is_nan() { 0.0 } else { f64::from(confidence).clamp(0.0, 1.0) };
        self.right.push(hit, self.fading);
        self.confidence.push(confidence, self.fading);
        let range = ((confidence * RANGES as f64).ceil() as usize).clamp(1, RANGES) - 1;
        for (k, gap) in self.gaps.iter_mut().enumerate() {
            match k == range {
                true => gap.push(confidence - hit, self.fading),
                false => (gap.sum, gap.weight) = (gap.sum * self.fading, gap.weight * self.fading),
            }
        }
        if !self.classes.contains_key(class) && self.classes.len() == CLASSES_MAX {
            self.unfollowed = self.unfollowed.saturating_add(1);
            return;
        }
        let own = self.classes.entry(class.clone()).or_default();
        own.right.push(hit, self.fading);
        if own.right.weight >= ANSWERS_MIN.min(0.9 / (1.0 - self.fading)) {
            own.best = own.right.mean().into_iter().chain(own.best).reduce(f64::max);
        }
    }

    /// Takes the embedding \[D\] of any window, labelled or not.
    ///
    /// # Errors
    /// `Mismatch` for another dimension, `Input` for a value that is not a number; nothing has changed.
    pub fn embedding(&mut self, x: &[f32]) -> Result<()> {
        if x.len() != self.embedding.len() {
            return Err(Error::new(ErrorKind::Mismatch, "the embedding has another dimension")
                .expected(self.embedding.len())
                .found(x.len()));
        }
        if let Some(i) = x.iter().position(|v| !v.is_finite()) {
            return Err(Error::new(ErrorKind::Input, "an embedding holds a value that is not a number").at(i).found(x[i]));
        }
        self.embedding.iter_mut().zip(x).for_each(|(s, v)| *s = f64::from(*v) + self.fading * *s);
        self.embedding_weight = 1.0 + self.fading * self.embedding_weight;
        Ok(())
    }

    /// How it stands against what was learned; without that, or with a spread of 0, no drift is told.
    pub fn report(&self, learned: Option<Learned<'_>>) -> Report {
        let mean = |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let lost = |c: &ClassAnswers| Some(c.best? - c.right.mean()?);
        let answers: f64 = self.gaps.iter().map(|g| g.weight).sum();
        let mut fell: Vec<_> = self.classes.iter().filter_map(|(name, c)| Some((name.clone(), lost(c).filter(|l| *l > 0.0)?))).collect();
        fell.sort_by(|a, b| b.1.total_cmp(&a.1));
        let drift = learned.filter(|l| self.embedding_weight > 0.0 && l.spread > 0.0 && l.mean.len() == self.embedding.len()).map(|l| {
            let away = self.embedding.iter().zip(l.mean).map(|(s, m)| (s / self.embedding_weight - m).powi(2));
            away.sum::<f64>().sqrt() / l.spread
        });
        Report {
            accuracy: self.right.mean(),
            class_accuracy: mean(self.classes.values().filter_map(|c| c.right.mean()).collect()),
            confidence: self.confidence.mean(),
            ece: (answers > 0.0).then(|| self.gaps.iter().map(|g| g.sum.abs()).sum::<f64>() / answers),
            drift,
            forgetting: mean(self.classes.values().filter_map(lost).collect()),
            fell,
            unfollowed: self.unfollowed,
        }
    }
}

#[cfg(test)]
#[path = "prequential_tests.rs"]
mod tests;
