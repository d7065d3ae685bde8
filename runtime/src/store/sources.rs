//! Recordings that were taught, so that teaching a folder again learns only what is new, and one that was cut off goes on
//! where it stopped. Bounded: beyond the bound the oldest is forgotten, and would be learned again.

use std::collections::{HashMap, VecDeque};

use super::record::Batch;

/// In place of the number of rows: taught to its end.
const FINISHED: u64 = u64::MAX;

/// Digests of recordings; 0 stands for live audio, which is never remembered.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    order: VecDeque<u64>,
    rows: HashMap<u64, u64>,
    most: usize,
}

impl Sources {
    pub(super) fn new(most: usize) -> Sources {
        Sources { order: VecDeque::new(), rows: HashMap::new(), most }
    }

    /// Takes note of a record of `rows` rows.
    pub(super) fn note(&mut self, batch: &Batch, rows: usize) {
        if batch.source == 0 {
            return;
        }
        let before = self.rows.get(&batch.source).copied();
        let after = if batch.source_complete { FINISHED } else { before.unwrap_or(0).saturating_add(rows as u64) };
        self.know(batch.source, after);
    }

    /// Every recording with its rows so far, the longest known first.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.order.iter().map(|s| (*s, self.rows.get(s).copied().unwrap_or(0)))
    }

    /// Takes in a recording with its rows so far, as [`Sources::pairs`] gives them; the oldest makes room for it.
    pub(super) fn know(&mut self, source: u64, rows: u64) {
        if self.rows.insert(source, rows).is_none() {
            self.order.push_back(source);
        }
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.rows.remove(&oldest);
        }
    }

    /// Forgets that a recording was taught, so that it can be taught again.
    pub(super) fn forget(&mut self, source: u64) {
        if self.rows.remove(&source).is_some() {
            self.order.retain(|s| *s != source);
        }
    }

    /// Rows of a recording that was not taught to its end are taken back: it is resumed behind those that are left.
    pub(super) fn take_back(&mut self, source: u64, rows: usize) {
        if let Some(n) = self.rows.get_mut(&source).filter(|n| **n != FINISHED) {
            *n = n.saturating_sub(rows as u64);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.order.iter().copied()
    }

    /// True when anything is known of the recording.
    pub(super) fn knows(&self, source: u64) -> bool {
        self.rows.contains_key(&source)
    }

    pub(super) fn has(&self, source: u64) -> bool {
        self.rows.get(&source) == Some(&FINISHED)
    }

    pub(super) fn rows_of_unfinished(&self, source: u64) -> u64 {
        self.rows.get(&source).copied().filter(|n| *n != FINISHED).unwrap_or(0)
    }

    /// Length of [`Sources::encode`].
    pub(super) fn len_bytes(&self) -> u64 {
        16 * self.order.len() as u64
    }

    /// Recording and rows so far (or all ones when finished), the longest known first: little-endian u64 each.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.pairs().flat_map(|(source, rows)| [source, rows]).flat_map(u64::to_le_bytes).collect()
    }

    pub(super) fn restore(&mut self, bytes: &[u8]) {
        let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap_or_default());
        (self.order, self.rows) = (VecDeque::new(), HashMap::new());
        bytes.chunks_exact(16).for_each(|pair| self.know(word(&pair[..8]), word(&pair[8..])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Origin;
    use crate::units::Moment;

    fn batch(source: u64, source_complete: bool) -> Batch {
        let origin = Origin { device: [1; 16], incarnation: 1 };
        Batch { origin, by: "teach".into(), time: Moment::UNKNOWN, graph: 0, source, source_complete }
    }

    #[test]
    fn the_oldest_is_forgotten_when_full_and_unfinished_ones_are_resumed() {
        let mut sources = Sources::new(3);
        sources.note(&batch(0, true), 1);
        for s in 1..=4 {
            sources.note(&batch(s, false), 5);
            assert_eq!((sources.has(s), sources.rows_of_unfinished(s)), (false, 5));
            sources.note(&batch(s, true), 2);
            assert_eq!((sources.has(s), sources.rows_of_unfinished(s)), (true, 0));
        }
        assert_eq!([1, 2, 3, 4].map(|s| sources.has(s)), [false, true, true, true]);
        // Two recordings that are learned in turns are both resumed.
        for s in [8, 9, 8] {
            sources.note(&batch(s, false), 4);
        }
        let mut again = Sources::new(3);
        again.restore(&sources.encode());
        assert_eq!([4, 8, 9].map(|s| (again.has(s), again.rows_of_unfinished(s))), [(true, 0), (false, 8), (false, 4)]);
        assert_eq!(again.len_bytes(), 48);
    }
}
