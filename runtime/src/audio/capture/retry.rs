//! When to give a stream up that no longer gives sound, and how long to wait before the microphone is opened again: a quarter
//! of a second, then twice as long each time, at most half a minute; from the start again once a stream had lasted.
//!
//! Pure: time is an argument, in milliseconds on any clock that only grows.

/// The first wait.
pub const FIRST_MS: u64 = 250;
/// The longest wait.
pub const LONGEST_MS: u64 = 30_000;
/// A stream that gave sound for so long was a good one: the next wait is the first again.
pub const LASTING_MS: u64 = 10_000;

/// Waits before each try to open again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    next_ms: u64,
    sounding_since_ms: Option<u64>,
}

impl Backoff {
    /// Nothing was tried yet.
    pub fn new() -> Backoff {
        Backoff { next_ms: FIRST_MS, sounding_since_ms: None }
    }

    /// The device gives sound from `now_ms` on.
    pub fn sounding(&mut self, now_ms: u64) {
        self.sounding_since_ms.get_or_insert(now_ms);
    }

    /// It was lost, or could not be opened, at `now_ms`; returns how long to wait before the next try.
    pub fn lost(&mut self, now_ms: u64) -> u64 {
        if self.sounding_since_ms.take().is_some_and(|since| now_ms.saturating_sub(since) >= LASTING_MS) {
            self.next_ms = FIRST_MS;
        }
        let wait = self.next_ms;
        self.next_ms = (2 * wait).min(LONGEST_MS);
        wait
    }
}

/// A stream that gave sound has stalled when none came for so long.
pub const STALL_MS: u64 = 2000;
/// How long a stream may take to its first sound; some sound servers take 2 seconds.
pub const FIRST_SOUND_MS: u64 = 5000;

/// What a look at a stream shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// No sound came yet.
    Starting,
    /// Sound comes.
    Sounding,
    /// None came for this long, in milliseconds.
    Stalled(u64),
}

/// Watches that a stream goes on giving frames.
#[derive(Debug, Clone)]
pub struct StallWatch {
    frames: u64,
    grew_ms: u64,
    sounding: bool,
}

impl StallWatch {
    /// A stream started at `now_ms`, when `frames` frames had been captured.
    pub fn new(frames: u64, now_ms: u64) -> StallWatch {
        StallWatch { frames, grew_ms: now_ms, sounding: false }
    }

    /// `frames` frames have been captured by `now_ms`.
    pub fn look(&mut self, frames: u64, now_ms: u64) -> Flow {
        if frames != self.frames {
            (self.frames, self.grew_ms, self.sounding) = (frames, now_ms, true);
        }
        let without = now_ms.saturating_sub(self.grew_ms);
        match (self.sounding, without) {
            (true, STALL_MS..) | (false, FIRST_SOUND_MS..) => Flow::Stalled(without),
            (true, _) => Flow::Sounding,
            (false, _) => Flow::Starting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_frames_for_two_seconds_has_stalled_and_a_new_one_has_five() {
        let mut watch = StallWatch::new(100, 0);
        let looks = [(100, 4999), (480, 4999), (480, 6998), (481, 6998), (481, 8997), (481, 8998)].map(|(n, t)| watch.look(n, t));
        let (starting, sounding) = (Flow::Starting, Flow::Sounding);
        assert_eq!(looks, [starting, sounding, sounding, sounding, sounding, Flow::Stalled(2000)]);
        assert_eq!(StallWatch::new(7, 1000).look(7, 6000), Flow::Stalled(5000));
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_stay_there() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> = (0..10).map(|i| backoff.lost(i)).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_stream_that_lasted_begins_the_waits_anew_and_a_short_one_does_not() {
        let mut backoff = Backoff::new();
        (0..3).for_each(|t| assert!(backoff.lost(t) > 0));
        backoff.sounding(1_000);
        backoff.sounding(5_000);
        assert_eq!(backoff.lost(10_999), 2000, "a millisecond short of lasting");
        backoff.sounding(20_000);
        assert_eq!(backoff.lost(30_000), 250);
        assert_eq!(backoff.lost(90_000), 500, "it gave no sound in between");
    }
}
