//! Replay as the store keeps it: a class-balanced reservoir of a fixed number of rows, of which some only judge.
//!
//! Each row has a random priority; when there are too many, the row of highest priority leaves, from the class that holds the
//! most (Chrysakis & Moens 2020, "Online continual learning from imbalanced data"). While few classes are known each may hold
//! more than its share of the end. Of a class every n-th row is held out of training; the store goes by id instead.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// How much replay there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Replay {
    /// Rows held for each class of the set, those that judge among them; all classes share them.
    pub per_class: u32,
    /// Bits of a component of a held row.
    pub bits: u8,
    /// One row in this many of a class judges and is never trained on; 0 for none.
    pub held_out_every: u32,
}

/// Rows that replay holds.
pub struct Reservoir {
    held_out_every: u32,
    capacity: usize,
    rng: ChaCha8Rng,
    /// Rows seen of each class.
    seen: Vec<u32>,
    held: Vec<Held>,
}

/// A row that is held.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Its number in the data.
    pub row: usize,
    /// Its class.
    pub class: usize,
    /// Whether it judges.
    pub held_out: bool,
    priority: u64,
}

impl Reservoir {
    /// An empty one for a set of `classes`.
    pub fn new(replay: Replay, classes: usize, rng: ChaCha8Rng) -> Reservoir {
        let capacity = replay.per_class as usize * classes;
        Reservoir { held_out_every: replay.held_out_every, capacity, rng, seen: vec![0; classes], held: Vec::new() }
    }

    /// Takes a row; true when it is to be trained on.
    pub fn push(&mut self, row: usize, class: usize) -> bool {
        self.seen[class] += 1;
        let held_out = self.held_out_every > 0 && self.seen[class].is_multiple_of(self.held_out_every);
        self.held.push(Held { row, class, held_out, priority: self.rng.next_u64() });
        if self.held.len() > self.capacity {
            let of_class = |class: usize| self.held.iter().filter(|h| h.class == class).count();
            let leaves = (0..self.held.len()).max_by_key(|i| (of_class(self.held[*i].class), self.held[*i].priority));
            leaves.map(|i| self.held.remove(i));
        }
        !held_out
    }

    /// What is held, in the order in which it came.
    pub fn held(&self) -> &[Held] {
        &self.held
    }
}

#[cfg(test)]
mod tests {
    use super::super::split::generator;
    use super::*;

    fn reservoir(per_class: u32, held_out_every: u32) -> Reservoir {
        Reservoir::new(Replay { per_class, bits: 8, held_out_every }, 3, generator(1, 2))
    }

    #[test]
    fn classes_share_the_rows_evenly_and_a_rare_one_keeps_all() {
        let mut r = reservoir(4, 0);
        let count = |r: &Reservoir, class: usize| r.held().iter().filter(|h| h.class == class).count();
        (0..40).for_each(|row| assert!(r.push(row, 0)));
        assert_eq!(count(&r, 0), 12);
        (40..42).for_each(|row| assert!(r.push(row, 1)));
        (42..80).for_each(|row| assert!(r.push(row, 2)));
        assert_eq!([count(&r, 0), count(&r, 1), count(&r, 2)], [5, 2, 5]);
    }

    #[test]
    fn every_eighth_row_of_a_class_is_held_out_and_its_first_is_not() {
        let mut r = reservoir(20, 8);
        let trained: Vec<bool> = (0..32).map(|row| r.push(row, row % 2)).collect();
        let out: Vec<usize> = (0..32).filter(|row| !trained[*row]).collect();
        assert_eq!(out, [14, 15, 30, 31]);
        assert!(r.held().iter().all(|h| h.held_out != trained[h.row]));
    }
}
