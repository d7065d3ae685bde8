//! Back-pressure: a board that is slower than its microphones answers every second window, then every third and so on, and says so; when
//! there is room again, more.
//!
//! The sound that waits is measured after each window. The stride grows by one when more than [`BEHIND_HOPS`] wait, or half of what may wait
//! before sound is lost, and sound takes so long that it would not catch up (it may come in bursts). It shrinks when what sound took says that
//! a smaller one would do, which must hold for [`CALM_WINDOWS`] windows. Only windows become fewer: where resampling alone takes too long, the
//! largest stride does not help.

/// Hops of waiting sound from which a board is behind.
pub const BEHIND_HOPS: f64 = 2.0;
/// Windows in a row that must be light before the stride shrinks.
pub const CALM_WINDOWS: u32 = 20;
/// Largest stride.
pub const STRIDE_MAX: u32 = 32;
/// Share of the time that windows may take, by the next smaller stride, before it is taken.
const LOAD_MAX: f64 = 0.8;

/// What a window and the sound since the one before took, and what waits behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Backbone and head, in s.
    pub window_s: f64,
    /// All else, which no stride spares (resampling, levels, the picture): share of the sound's own time.
    pub sound_share: f64,
    /// Sound that was not looked at yet, in s.
    pub waiting_s: f64,
    /// Sound that may wait before some is lost, in s.
    pub room_s: f64,
    /// Microphones that share the board.
    pub microphones: u32,
}

impl Load {
    /// Share of the time that the sound of all microphones takes by `stride`.
    fn share(&self, hop_s: f64, stride: u32) -> f64 {
        (self.window_s / (hop_s * f64::from(stride)) + self.sound_share) * f64::from(self.microphones)
    }
}

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

    /// After a window, where hops are of `hop_s`. The new stride where it changed.
    pub fn step(&mut self, load: Load, hop_s: f64) -> Option<u32> {
        let share = |stride: u32| load.share(hop_s, stride);
        self.wait = self.wait.saturating_sub(1);
        let is_slow = share(self.stride) > LOAD_MAX;
        let is_behind = load.waiting_s > (BEHIND_HOPS * hop_s).min(load.room_s / 2.0);
        if is_behind && is_slow && self.wait == 0 && self.stride < STRIDE_MAX {
            (self.calm, self.wait) = (0, 3);
            self.stride += 1;
            return Some(self.stride);
        }
        let is_calm = self.stride > self.least && load.waiting_s <= hop_s && share(self.stride - 1) < LOAD_MAX;
        self.calm = if is_calm { self.calm + 1 } else { 0 };
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
        run_with(pace, (took, 0.0), windows)
    }

    /// And the sound of each hop takes `sound` of one.
    fn run_with(pace: &mut Pace, (took, sound): (f64, f64), windows: usize) -> (Vec<u32>, f64) {
        let (mut strides, mut waiting) = (Vec::new(), 0f64);
        for _ in 0..windows {
            let stride = f64::from(pace.stride());
            waiting = (waiting + took + sound * stride - stride).max(0.0);
            let load = Load { window_s: took * 0.5, sound_share: sound, waiting_s: waiting * 0.5, room_s: 10.0, microphones: 1 };
            strides.extend(pace.step(load, 0.5));
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
        let load = Load { window_s: 0.05, sound_share: 0.0, waiting_s: 5.0, room_s: 10.0, microphones: 1 };
        assert!((0..100).all(|_| pace.step(load, 0.5).is_none()));
    }

    #[test]
    fn what_sound_takes_beside_the_backbone_counts_and_does_not_keep_a_free_board_slow() {
        let mut pace = Pace::new(1);
        let (strides, waiting) = run_with(&mut pace, (0.6, 0.6), 500);
        assert!(pace.stride() >= 2 && waiting < 6.0, "{strides:?} {waiting}");
        let slow = pace.stride();
        let (strides, _) = run_with(&mut pace, (0.2, 0.5), 500);
        assert_eq!(strides, (1..slow).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_ring_that_holds_less_than_two_hops_is_not_waited_for_until_it_is_full() {
        let mut pace = Pace::new(1);
        let load = Load { window_s: 0.6, sound_share: 0.0, waiting_s: 0.7, room_s: 0.9, microphones: 1 };
        assert_eq!(pace.step(load, 0.5), Some(2));
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
