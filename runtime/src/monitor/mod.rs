//! Monitor: how well an adapter answers as its world changes. Nothing here holds a clock or reads data: answers and embeddings are
//! arguments, and what it knows is bytes that the store keeps with a checkpoint.
//!
//! It tells and does not act: actions on a drifted stream were measured and gained nothing (`wheatear lab drift`).

pub mod adwin;
pub mod prequential;

pub use adwin::{Adwin, Change};
pub use prequential::{Prequential, Report};

use serde::{Deserialize, Serialize};

use crate::head::{Head, LinearHead, argmax, softmax};
use crate::learn::ClassName;
use crate::{Error, ErrorKind, Result};

/// About the last 200 answers count.
const FADING: f64 = 0.995;
/// Chance of a change told where there is none.
const DELTA: f64 = 0.05;
/// A change within this many answers after one of the same kind is the same one.
const SAME_FALL: u64 = 30;
/// Changes with the bytes.
const VERSION: u8 = 1;

/// What labelled windows say of the head that answered them before it learned them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    prequential: Prequential,
    right: Adwin,
    confidence: Adwin,
    answers: u64,
    right_answers: u64,
    last_fall: Option<Fall>,
}

/// A time when accuracy or confidence fell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fall {
    /// Of what.
    pub of: Falling,
    /// How much.
    pub change: Change,
    /// Answers until it was told.
    pub at_answer: u64,
    /// Answers until it was last seen to go on.
    pub seen_until: u64,
}

/// What fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Falling {
    /// Share of right answers.
    Accuracy,
    /// Probability of the answers.
    Confidence,
}

impl Monitor {
    /// Nothing answered yet, over embeddings of D = `dim`.
    ///
    /// # Errors
    /// None that a usable D has.
    pub fn new(dim: usize) -> Result<Monitor> {
        Ok(Monitor {
            prequential: Prequential::new(FADING, dim)?,
            right: Adwin::new(DELTA)?,
            confidence: Adwin::new(DELTA)?,
            answers: 0,
            right_answers: 0,
            last_fall: None,
        })
    }

    /// Lets `head` answer a window `x` \[D\] that is about to be learned as `class`; `scores` \[C\] is scratch. A class that the head does
    /// not know is no question to it. Tells when accuracy or confidence fell.
    ///
    /// # Errors
    /// As [`Prequential::embedding`].
    ///
    /// # Panics
    /// When a slice has another length than the head's.
    pub fn ask(&mut self, head: &LinearHead, class: &ClassName, x: &[f32], scores: &mut [f32]) -> Result<Option<Fall>> {
        self.prequential.embedding(x)?;
        let Ok(own) = head.classes.binary_search(class) else { return Ok(None) };
        head.scores(x, scores);
        let best = argmax(scores);
        softmax(scores, head.temperature);
        self.answers = self.answers.saturating_add(1);
        self.right_answers = self.right_answers.saturating_add(u64::from(best == own));
        self.prequential.answer(class, best == own, scores[best]);
        let accuracy = self.right.push(f64::from(u8::from(best == own))).map(|change| (Falling::Accuracy, change));
        let confidence = self.confidence.push(f64::from(scores[best])).map(|change| (Falling::Confidence, change));
        let fell = accuracy.into_iter().chain(confidence).find(|(_, change)| change.fell());
        let Some((of, change)) = fell else { return Ok(None) };
        // The window goes on shrinking for a while: that is the same fall, seen better.
        let goes_on = self.last_fall.filter(|last| last.of == of && self.answers.saturating_sub(last.seen_until) < SAME_FALL);
        let told = goes_on.map_or(self.answers, |last| last.at_answer);
        let before = goes_on.map_or(change.before, |last| last.change.before);
        let fall = Fall { of, change: Change { before, ..change }, at_answer: told, seen_until: self.answers };
        self.last_fall = Some(fall);
        Ok(Some(fall).filter(|_| goes_on.is_none()))
    }

    /// Answers so far.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Those of them that were right.
    pub fn right(&self) -> u64 {
        self.right_answers
    }

    /// The last fall that was told.
    pub fn last_fall(&self) -> Option<Fall> {
        self.last_fall
    }

    /// How it stands, as [`Prequential::report`].
    pub fn report(&self, learned: Option<prequential::Learned<'_>>) -> Report {
        self.prequential.report(learned)
    }

    /// As bytes for [`crate::store::Adapter::keep_monitor`].
    ///
    /// # Errors
    /// `Limit` when it cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let body = postcard::to_stdvec(self).map_err(|e| Error::new(ErrorKind::Limit, "the monitor cannot be encoded").because(e))?;
        Ok([vec![VERSION], body].concat())
    }

    /// Reads it back for embeddings of D = `dim`; none when the bytes are of another version or make no sense: a monitor begins anew then.
    pub fn decode(bytes: &[u8], dim: usize) -> Option<Monitor> {
        let (version, body) = bytes.split_first()?;
        let monitor: Monitor = postcard::from_bytes(body).ok().filter(|_| *version == VERSION)?;
        monitor.prequential.is_sound(dim).then_some(monitor)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
