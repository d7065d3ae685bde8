//! How long things took: the newest of them, summed up.

use std::collections::VecDeque;

/// Times that are summed up.
const KEPT: usize = 1000;

/// The newest times.
#[derive(Debug, Clone)]
pub struct Times {
    ns: VecDeque<u64>,
}

impl Default for Times {
    fn default() -> Times {
        Times { ns: VecDeque::with_capacity(KEPT) }
    }
}

impl Times {
    /// Takes one, in ns, in place of the oldest where there is no room.
    pub fn push(&mut self, ns: u64) {
        if self.ns.len() == KEPT {
            self.ns.pop_front();
        }
        self.ns.push_back(ns);
    }

    /// Median and 99 in 100, in ms; none before the first.
    pub fn percentiles_ms(&self) -> Option<(f64, f64)> {
        let mut sorted: Vec<u64> = self.ns.iter().copied().collect();
        sorted.sort_unstable();
        let at = |share: f64| sorted.get(((sorted.len() as f64 - 1.0) * share).round() as usize).map(|ns| *ns as f64 * 1e-6);
        if sorted.is_empty() { None } else { at(0.5).zip(at(0.99)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_summed_up() {
        let mut times = Times::default();
        assert_eq!(times.percentiles_ms(), None);
        (0..2001).for_each(|n| times.push(n * 1_000_000));
        // 1001 to 2000 ms.
        let (median, most) = times.percentiles_ms().unwrap();
        assert!((median - 1501.0).abs() < 1.5 && (most - 1990.0).abs() < 1.5, "{median} {most}");
    }
}
