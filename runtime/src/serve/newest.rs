//! The newest events as JSON, in memory that is taken once: a daemon that hears for weeks is no larger at their end.

use std::collections::VecDeque;

/// Texts with numbers, the newest: as many and as many bytes as there is room for, the oldest make room.
pub(super) struct Newest {
    /// Number and length of each, the oldest first.
    entries: VecDeque<(u64, usize)>,
    /// The texts, one after another.
    bytes: VecDeque<u8>,
    count_max: usize,
    bytes_max: usize,
}

impl Newest {
    /// With room for `count_max` texts of `bytes_max` bytes together.
    pub fn new(count_max: usize, bytes_max: usize) -> Newest {
        Newest { entries: resident((0, 0), count_max), bytes: resident(1, bytes_max), count_max, bytes_max }
    }

    /// Holds a text, unless it is longer than all the room there is.
    pub fn push(&mut self, number: u64, text: &str) {
        if text.len() > self.bytes_max {
            return;
        }
        while !self.entries.is_empty() && (self.entries.len() == self.count_max || self.bytes.len() + text.len() > self.bytes_max) {
            let oldest = self.entries.pop_front();
            self.bytes.drain(..oldest.map_or(0, |(_, len)| len));
        }
        self.entries.push_back((number, text.len()));
        self.bytes.extend(text.as_bytes());
    }

    /// Numbers and texts, the newest first.
    pub fn rev(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let mut end = self.bytes.len();
        self.entries.iter().rev().map(move |(number, len)| {
            let begin = end - len;
            let text = self.bytes.range(begin..end).copied().collect();
            end = begin;
            (*number, text)
        })
    }
}

/// An empty queue whose memory is resident from the start on: what was never written is given by the system when it is written first.
pub(super) fn resident<T: Clone>(any: T, capacity: usize) -> VecDeque<T> {
    let mut queue = VecDeque::from(vec![any; capacity]);
    queue.clear();
    queue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(newest: &Newest) -> Vec<(u64, String)> {
        newest.rev().map(|(n, text)| (n, String::from_utf8(text).unwrap())).collect()
    }

    #[test]
    fn the_oldest_make_room_by_count_and_by_bytes() {
        let mut newest = Newest::new(3, 10);
        let held = |newest: &Newest| held(newest).iter().map(|(n, text)| format!("{n}{text}")).collect::<Vec<_>>().join(" ");
        (1..=4).for_each(|n| newest.push(n, &"a".repeat(n as usize)));
        assert_eq!(held(&newest), "4aaaa 3aaa 2aa");
        newest.push(5, "bé");
        assert_eq!(held(&newest), "5bé 4aaaa 3aaa");
        newest.push(6, "cccccc");
        assert_eq!(held(&newest), "6cccccc 5bé");
        newest.push(7, &"d".repeat(10));
        assert_eq!(held(&newest), "7dddddddddd");
        newest.push(8, &"e".repeat(11));
        assert_eq!(held(&newest), "7dddddddddd");
        newest.push(9, "f");
        assert_eq!(held(&newest), "9f");
    }

    #[test]
    fn a_full_one_asks_for_no_memory() {
        let mut newest = Newest::new(100, 4096);
        let room = (newest.entries.capacity(), newest.bytes.capacity());
        (0..10_000).for_each(|n| newest.push(n, &"x".repeat((n % 90) as usize)));
        assert_eq!((newest.entries.capacity(), newest.bytes.capacity()), room);
    }
}
