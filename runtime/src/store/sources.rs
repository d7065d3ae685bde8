//! Recordings taught to their end, so that teaching a folder again learns only what is new. Bounded: beyond the bound the
//! oldest is forgotten, and would be learned again.

use std::collections::{HashSet, VecDeque};

use super::record::Batch;

/// Digests of recordings; 0 stands for live audio, which is never remembered.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    order: VecDeque<u64>,
    complete: HashSet<u64>,
    /// The recording being taught, and its rows so far.
    unfinished: (u64, u64),
    most: usize,
}

impl Sources {
    pub(super) fn new(most: usize) -> Sources {
        Sources { order: VecDeque::new(), complete: HashSet::new(), unfinished: (0, 0), most }
    }

    /// Takes note of a record of `rows` rows.
    pub(super) fn note(&mut self, batch: &Batch, rows: usize) {
        if batch.source == 0 {
            return;
        }
        let before = if self.unfinished.0 == batch.source { self.unfinished.1 } else { 0 };
        self.unfinished = if batch.source_complete { (0, 0) } else { (batch.source, before + rows as u64) };
        if !batch.source_complete || !self.complete.insert(batch.source) {
            return;
        }
        self.order.push_back(batch.source);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.complete.remove(&oldest);
        }
    }

    pub(super) fn has(&self, source: u64) -> bool {
        self.complete.contains(&source)
    }

    pub(super) fn rows_of_unfinished(&self, source: u64) -> u64 {
        if self.unfinished.0 == source { self.unfinished.1 } else { 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// The unfinished recording, its rows, then the finished ones, oldest first: little-endian u64 each.
    pub(super) fn encode(&self) -> Vec<u8> {
        let words = [self.unfinished.0, self.unfinished.1];
        words.iter().chain(&self.order).flat_map(|s| s.to_le_bytes()).collect()
    }

    pub(super) fn restore(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default()));
        self.unfinished = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        self.order = words.collect();
        self.complete = self.order.iter().copied().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Origin;
    use crate::units::Moment;

    fn batch(source: u64, source_complete: bool) -> Batch {
        let origin = Origin { device: [1; 16], incarnation: 1 };
        Batch { origin, by: "teach".into(), time: Moment::UNKNOWN, source, source_complete }
    }

    #[test]
    fn the_oldest_is_forgotten_when_full_and_an_unfinished_one_is_resumed() {
        let mut sources = Sources::new(2);
        sources.note(&batch(0, true), 1);
        for s in 1..=3 {
            sources.note(&batch(s, false), 5);
            assert_eq!((sources.has(s), sources.rows_of_unfinished(s)), (false, 5));
            sources.note(&batch(s, true), 2);
            assert_eq!((sources.has(s), sources.rows_of_unfinished(s)), (true, 0));
        }
        assert_eq!([1, 2, 3].map(|s| sources.has(s)), [false, true, true]);
        sources.note(&batch(9, false), 4);
        sources.note(&batch(9, false), 4);
        let mut again = Sources::new(2);
        again.restore(&sources.encode());
        assert_eq!(([1, 2, 3].map(|s| again.has(s)), again.rows_of_unfinished(9), again.len()), ([false, true, true], 8, 2));
    }
}
