//! ADWIN: a window over a stream of values in 0..=1 that shrinks when its mean has changed (Bifet & Gavaldà 2007, "Learning from
//! time-changing data with adaptive windowing", algorithm ADWIN2).
//!
//! The window is kept as an exponential histogram: at most [`PER_LEVEL`] buckets of 2^k values for each k below [`LEVELS`], so
//! O(log W) memory. It is cut only between buckets, so a change may be told later than a window of single values would tell it.
//! Past [`WINDOW_MAX`] values the oldest are forgotten.
//!
//! Two parts of n0 and n1 values differ when `|m0 - m1| > sqrt(2 v ln(2 / d') / m) + 2 ln(2 / d') / (3 m)`, with v the variance of the
//! window, `1/m = 1/n0 + 1/n1` and `d' = delta / ln n` (equation 3.1 with the bound for few cuts). The bound leans on the normal
//! approximation: it is no proof, and false alarms are measured in the tests.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Most buckets of one size (the paper's M).
pub const PER_LEVEL: usize = 5;
/// Sizes of buckets: 1 to 2^(LEVELS - 1) values.
pub const LEVELS: usize = 16;
/// Most values in the window; at most 80 buckets of 16 bytes.
pub const WINDOW_MAX: u64 = PER_LEVEL as u64 * ((1 << LEVELS) - 1);
/// Fewest values in a part, so that one odd value is no change.
const PART_MIN: u64 = 5;

/// The mean of the stream is another one than it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Mean of the values that were forgotten, 0 to 1.
    pub before: f64,
    /// Mean of those that are left, 0 to 1.
    pub after: f64,
    /// How many are left: about how long ago it changed.
    pub left: u64,
}

impl Change {
    /// Whether the mean fell.
    pub fn fell(&self) -> bool {
        self.after < self.before
    }
}

/// Values whose number is known from the level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Bucket {
    sum: f64,
    squares: f64,
}

/// The window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Adwin {
    delta: f64,
    /// Buckets of 2^k values, newest first.
    levels: Vec<VecDeque<Bucket>>,
}

#[derive(Deserialize)]
struct Stored {
    delta: f64,
    levels: Vec<VecDeque<Bucket>>,
}

impl TryFrom<Stored> for Adwin {
    type Error = Error;
    fn try_from(stored: Stored) -> Result<Adwin> {
        let adwin = Adwin { levels: stored.levels, ..Adwin::new(stored.delta)? };
        let fits = |(k, b): (usize, &Bucket)| {
            let n = (1u64 << k) as f64;
            (0.0..=n).contains(&b.sum) && (0.0..=n).contains(&b.squares)
        };
        let buckets = adwin.levels.iter().enumerate().flat_map(|(k, level)| level.iter().map(move |b| (k, b)));
        match adwin.levels.len() <= LEVELS && adwin.levels.iter().all(|l| l.len() <= PER_LEVEL) && buckets.into_iter().all(fits) {
            true => Ok(adwin),
            false => Err(Error::new(ErrorKind::Corrupt, "a drift window holds sums that no values have")
                .expected(format!("{LEVELS} sizes of at most {PER_LEVEL} buckets, of values 0 to 1"))),
        }
    }
}

/// What the values of some buckets add up to.
#[derive(Clone, Copy, Default)]
struct Total {
    n: u64,
    sum: f64,
    squares: f64,
}

impl Total {
    fn add(&mut self, n: u64, bucket: &Bucket) {
        self.n += n;
        self.sum += bucket.sum;
        self.squares += bucket.squares;
    }

    fn mean(&self) -> f64 {
        self.sum / self.n.max(1) as f64
    }
}

impl Adwin {
    /// An empty window that calls `delta`, above 0 and below 1, of all tests of one stationary window a change.
    ///
    /// # Errors
    /// `Config` for another delta.
    pub fn new(delta: f64) -> Result<Adwin> {
        match delta > 0.0 && delta < 1.0 {
            true => Ok(Adwin { delta, levels: Vec::new() }),
            false => Err(Error::new(ErrorKind::Config, "the confidence of a drift window is out of range")
                .expected("0 < delta < 1")
                .found(delta)),
        }
    }

    /// Values in the window, at most [`WINDOW_MAX`].
    pub fn width(&self) -> u64 {
        self.total().n
    }

    /// Their mean; 0 for an empty window.
    pub fn mean(&self) -> f64 {
        self.total().mean()
    }

    /// Takes the next value; a change when the window was cut. One that is not a number counts as 0.
    pub fn push(&mut self, value: f64) -> Option<Change> {
        let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        self.insert(Bucket { sum: value, squares: value * value });
        let before = self.total();
        while self.differs() {
            self.forget_oldest();
        }
        let left = self.total();
        let gone = before.n - left.n;
        (gone > 0).then(|| Change { before: (before.sum - left.sum) / gone as f64, after: left.mean(), left: left.n })
    }

    fn insert(&mut self, bucket: Bucket) {
        let mut carried = Some(bucket);
        for k in 0..LEVELS {
            let Some(bucket) = carried.take() else { return };
            if self.levels.len() == k {
                self.levels.push(VecDeque::new());
            }
            let level = &mut self.levels[k];
            level.push_front(bucket);
            if level.len() > PER_LEVEL {
                // The last level has no next one: what it would carry is forgotten.
                let older = level.pop_back().unwrap_or_default();
                if k + 1 < LEVELS {
                    let newer = level.pop_back().unwrap_or_default();
                    carried = Some(Bucket { sum: older.sum + newer.sum, squares: older.squares + newer.squares });
                }
            }
        }
    }

    /// Does any cut between buckets part the window into two means?
    fn differs(&self) -> bool {
        let all = self.total();
        let mut old = Total::default();
        for (n, bucket) in self.oldest_first() {
            old.add(n, bucket);
            let new = Total { n: all.n - old.n, sum: all.sum - old.sum, squares: 0.0 };
            if old.n >= PART_MIN && new.n >= PART_MIN {
                let variance = (all.squares / all.n as f64 - all.mean() * all.mean()).max(0.0);
                if (old.mean() - new.mean()).abs() > bound(old.n, new.n, variance, self.delta) {
                    return true;
                }
            }
        }
        false
    }

    fn forget_oldest(&mut self) {
        if let Some(level) = self.levels.iter_mut().rfind(|l| !l.is_empty()) {
            level.pop_back();
        }
    }

    fn total(&self) -> Total {
        let mut total = Total::default();
        self.oldest_first().for_each(|(n, b)| total.add(n, b));
        total
    }

    fn oldest_first(&self) -> impl Iterator<Item = (u64, &Bucket)> {
        self.levels.iter().enumerate().rev().flat_map(|(k, level)| level.iter().rev().map(move |b| (1u64 << k, b)))
    }
}

/// How far two means may lie apart without a change.
fn bound(n0: u64, n1: u64, variance: f64, delta: f64) -> f64 {
    let inverse = 1.0 / n0 as f64 + 1.0 / n1 as f64;
    let log = (2.0 * ((n0 + n1) as f64).ln() / delta).ln();
    (2.0 * inverse * variance * log).sqrt() + 2.0 / 3.0 * inverse * log
}

#[cfg(test)]
#[path = "adwin_tests.rs"]
mod tests;
