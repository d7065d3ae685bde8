//! Back-pressure: a board that is slower than its microphones answers every second window, then every third and so on, and says so; when
//! there is room again, more.
//!
//! The sound that waits is measured in hops, after each window. The stride grows by one when more than [`BEHIND_HOPS`] wait and windows take
//! so long that they would not catch up (sound may come in bursts), and shrinks when the time that windows took says that a smaller one would do, which must hold for [`CALM_WINDOWS`] windows.

/// Hops of waiting sound from which a board is behind.
pub const BEHIND_HOPS: f64 = 2.0;
/// Windows in a row that must be light before the stride shrinks.
pub const CALM_WINDOWS: u32 = 20;
/// Largest stride.
pub const STRIDE_MAX: u32 = 32;
/// Share of the time that windows may take, by the next smaller stride, before it is taken.
const LOAD_MAX: f64 = 0.8;

/// Which windows are answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Below this it never is.
    least: u32,
    stride: u32,
    calm: u32,
    /// Windows until the stride may grow again: what waits takes that long to go down.
    wait: u32,
}

impl Pace {
    /// One window in at least `least` is passed to the backbone: 1 answers all.
    pub fn new(least: u32) -> Pace {
        let least = least.clamp(1, STRIDE_MAX);
        Pace { least, stride: least, calm: 0, wait: 0 }
    }

    /// One window in so many is answered.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// After a window that took `took_s` of hops of `hop_s`, with `waiting_s` of its microphone's sound not looked at yet; `microphones`
    /// share the board. The new stride where it changed.
    pub fn step(&mut self, took_s: f64, hop_s: f64, waiting_s: f64, microphones: u32) -> Option<u32> {
        let load = |stride: u32| took_s * f64::from(microphones) / (hop_s * f64::from(stride));
        self.wait = self.wait.saturating_sub(1);
        let is_slow = load(self.stride) > LOAD_MAX;
        if waiting_s > BEHIND_HOPS * hop_s && is_slow && self.wait == 0 && self.stride < STRIDE_MAX {
            (self.calm, self.wait) = (0, 3);
            self.stride += 1;
            return Some(self.stride);
        }
        self.calm = if self.stride > self.least && waiting_s <= hop_s && load(self.stride - 1) < LOAD_MAX { self.calm + 1 } else { 0 };
        if self.calm < CALM_WINDOWS {
            return None;
        }
        (self.calm, self.stride) = (0, self.stride - 1);
        Some(self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board on which a window takes `took` of a hop, for as many windows; the strides that it came to, and what waits at the end.
    fn run(pace: &mut Pace, took: f64, windows: usize) -> (Vec<u32>, f64) {
        let (mut strides, mut waiting) = (Vec::new(), 0f64);
        for _ in 0..windows {
            let stride = f64::from(pace.stride());
            waiting = (waiting + took - stride).max(0.0);
            strides.extend(pace.step(took * 0.5, 0.5, waiting * 0.5, 1));
        }
        (strides, waiting)
    }

    #[test]
    fn a_fast_board_answers_every_window() {
        assert_eq!(run(&mut Pace::new(1), 0.9, 1000), (vec![], 0.0));
    }

    #[test]
    fn a_burst_of_sound_does_not_make_a_fast_board_slow() {
        let mut pace = Pace::new(1);
        assert!((0..100).all(|_| pace.step(0.05, 0.5, 5.0, 1).is_none()));
    }

    #[test]
    fn a_slow_board_answers_fewer_and_what_waits_stays_small() {
        let mut pace = Pace::new(1);
        let (strides, waiting) = run(&mut pace, 2.6, 500);
        assert!(pace.stride() >= 3 && waiting < 6.0, "{strides:?} {waiting}");
        let (later, waiting) = run(&mut pace, 2.6, 500);
        assert!(later.is_empty() && waiting < 3.0, "it does not swing: {later:?} {waiting}");
    }

    #[test]
    fn when_the_board_is_free_again_every_window_is_answered() {
        let mut pace = Pace::new(1);
        run(&mut pace, 3.5, 500);
        let slow = pace.stride();
        let (strides, _) = run(&mut pace, 0.5, 500);
        assert_eq!(strides, (1..slow).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_board_that_never_keeps_up_stops_at_the_largest_stride() {
        let mut pace = Pace::new(1);
        run(&mut pace, 1000.0, 1000);
        assert_eq!(pace.stride(), STRIDE_MAX);
    }
}
