//! Watches how loud a microphone is, and tells when it goes silent, sounds again, clips, and clips no more: each once.
//!
//! Silence is every sample within the floor for so many seconds; 0 for digital silence, as a muted or unplugged microphone
//! gives it. Clipping is a share of samples at full scale within one second of sound. Time is counted in frames: frames that
//! were lost count neither as silence nor as sound. Limits: an input that is dead but hums, or stands off zero by more than
//! the floor, is not silent; a limiter that holds loud sound below full scale hides clipping.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A sample of at least this size is at full scale: the largest of 16 bits.
pub const FULL_SCALE: f32 = 32767.0 / 32768.0;

/// When to tell what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelLimits {
    /// Largest sample of silence, 0 to 1.
    pub silence_floor: f32,
    /// Seconds without anything louder, after which the microphone is silent.
    pub silent_after_s: u32,
    /// Share of samples at full scale within a second, above which it clips: 0 to 1.
    pub clipped_share: f32,
}

impl Default for LevelLimits {
    fn default() -> Self {
        LevelLimits { silence_floor: 0.0, silent_after_s: 10, clipped_share: 0.001 }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "level", rename_all = "kebab-case")]
pub enum LevelChange {
    /// Nothing was above the floor for the time that makes silence.
    Silent,
    /// After silence, there is sound again.
    Sounding,
    /// This share of the last second's samples was at full scale.
    Clipping {
        /// 0 to 1.
        share: f32,
    },
    /// After clipping, a whole second had less than a quarter of the share that is told.
    Unclipped,
}

impl fmt::Display for LevelChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LevelChange::Silent => f.write_str("silent: is the microphone muted, or unplugged?"),
            LevelChange::Sounding => f.write_str("there is sound again"),
            LevelChange::Clipping { share } => write!(f, "clipping ({:.1} % of the last second): turn the gain down", 100.0 * share),
            LevelChange::Unclipped => f.write_str("no longer clipping"),
        }
    }
}

/// The watch over one microphone.
#[derive(Debug, Clone)]
pub struct LevelWatch {
    limits: LevelLimits,
    rate_hz: u32,
    /// Frames in a row within the floor.
    quiet: u64,
    silent: bool,
    /// Frames of the running second, and how many of them are at full scale.
    heard: u32,
    full: u32,
    clipping: bool,
}

impl LevelWatch {
    /// A watch over sound at `rate_hz`, which begins as sounding and not clipping.
    pub fn new(limits: LevelLimits, rate_hz: u32) -> LevelWatch {
        LevelWatch { limits, rate_hz: rate_hz.max(1), quiet: 0, silent: false, heard: 0, full: 0, clipping: false }
    }

    /// Goes on with sound at another rate; what was told stays told.
    pub fn set_rate(&mut self, rate_hz: u32) {
        if rate_hz.max(1) != self.rate_hz {
            self.rate_hz = rate_hz.max(1);
            (self.quiet, self.heard, self.full) = (0, 0, 0);
        }
    }

    /// Takes the next block, of any length, that begins at `first_frame`; tells each change with the frame behind the last
    /// one that it rests on.
    pub fn push(&mut self, first_frame: u64, samples: &[f32], tell: &mut dyn FnMut(u64, LevelChange)) {
        for (frame, x) in (first_frame + 1..).zip(samples) {
            self.watch_silence(frame, x.abs(), tell);
            self.watch_clipping(frame, x.abs(), tell);
        }
    }

    fn watch_silence(&mut self, frame: u64, level: f32, tell: &mut dyn FnMut(u64, LevelChange)) {
        // Silence once told ends at twice the floor only, so that noise at the floor does not tell one after the other.
        let bar = if self.silent { 2.0 * self.limits.silence_floor } else { self.limits.silence_floor };
        if level > bar {
            self.quiet = 0;
            if std::mem::take(&mut self.silent) {
                tell(frame, LevelChange::Sounding);
            }
            return;
        }
        self.quiet += 1;
        if !self.silent && self.quiet >= u64::from(self.limits.silent_after_s) * u64::from(self.rate_hz) {
            self.silent = true;
            tell(frame, LevelChange::Silent);
        }
    }

    fn watch_clipping(&mut self, frame: u64, level: f32, tell: &mut dyn FnMut(u64, LevelChange)) {
        self.heard += 1;
        self.full += u32::from(level >= FULL_SCALE);
        if self.heard < self.rate_hz {
            return;
        }
        let share = self.full as f32 / self.heard as f32;
        (self.heard, self.full) = (0, 0);
        if !self.clipping && share > self.limits.clipped_share {
            self.clipping = true;
            tell(frame, LevelChange::Clipping { share });
        } else if self.clipping && share < self.limits.clipped_share / 4.0 {
            self.clipping = false;
            tell(frame, LevelChange::Unclipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 1000;

    /// What a watch tells of `parts`, each so many frames of one level, pushed in pieces of `piece` frames.
    fn told(limits: LevelLimits, parts: &[(usize, f32)], piece: usize) -> Vec<(u64, LevelChange)> {
        let samples: Vec<f32> = parts.iter().flat_map(|(n, x)| std::iter::repeat_n(*x, *n)).collect();
        let mut watch = LevelWatch::new(limits, RATE as u32);
        let mut all = Vec::new();
        for (i, block) in samples.chunks(piece).enumerate() {
            watch.push((i * piece) as u64, block, &mut |frame, change| all.push((frame, change)));
        }
        all
    }

    fn limits() -> LevelLimits {
        LevelLimits { silence_floor: 0.01, silent_after_s: 2, clipped_share: 0.1 }
    }

    #[test]
    fn silence_and_its_end_are_told_once_each_whatever_the_pieces() {
        let parts = [(500, 0.5), (1999, 0.0), (1, 0.5), (2000, 0.01), (5000, 0.0), (3, -0.5), (100, 0.0)];
        for piece in [1, 7, 480, 100_000] {
            assert_eq!(told(limits(), &parts, piece), [(4500, LevelChange::Silent), (9501, LevelChange::Sounding)]);
        }
    }

    #[test]
    fn noise_at_the_floor_does_not_end_a_silence() {
        assert_eq!(told(limits(), &[(3000, 0.0), (10, 0.019), (10, 0.021)], 480).len(), 2);
        assert_eq!(told(limits(), &[(3000, 0.0), (10, 0.019)], 480).len(), 1);
    }

    #[test]
    fn without_a_floor_the_smallest_sample_is_sound() {
        let digital = LevelLimits { silence_floor: 0.0, ..limits() };
        let told = told(digital, &[(1000, 0.0), (1, 1e-9), (2000, 0.0), (1, -1e-9)], 480);
        assert_eq!(told, [(3001, LevelChange::Silent), (3002, LevelChange::Sounding)]);
    }

    #[test]
    fn clipping_is_told_of_a_second_and_ends_with_one_that_hardly_clips() {
        let second = |full: usize| [(full, 1.0), (RATE - full, 0.5)];
        let parts = [second(100), second(101), second(900), second(50), second(25), second(24), second(101)].concat();
        let want = [
            (2000, LevelChange::Clipping { share: 0.101 }),
            (6000, LevelChange::Unclipped),
            (7000, LevelChange::Clipping { share: 0.101 }),
        ];
        assert_eq!(told(limits(), &parts, 333), want);
    }

    #[test]
    fn both_ends_of_16_bits_are_full_scale_and_the_step_below_is_not() {
        for (level, clips) in [(-1.0, true), (32767.0 / 32768.0, true), (1.0, true), (32766.0 / 32768.0, false)] {
            assert_eq!(told(limits(), &[(RATE, level)], 100).len(), usize::from(clips), "{level}");
        }
    }

    #[test]
    fn frames_that_were_lost_are_no_silence() {
        let mut watch = LevelWatch::new(limits(), RATE as u32);
        let mut told = Vec::new();
        for first_frame in [0, 1_000_000] {
            watch.push(first_frame, &[0.0; 999], &mut |frame, change| told.push((frame, change)));
        }
        assert_eq!(told, []);
        watch.push(2_000_000, &[0.0; 2], &mut |frame, change| told.push((frame, change)));
        assert_eq!(told, [(2_000_002, LevelChange::Silent)]);
    }

    #[test]
    fn another_rate_begins_the_second_anew_and_keeps_what_was_told() {
        let mut watch = LevelWatch::new(limits(), RATE as u32);
        let mut told = Vec::new();
        watch.push(0, &[1.0; RATE], &mut |_, change| told.push(change));
        watch.set_rate(10);
        watch.push(0, &[0.5; 10], &mut |_, change| told.push(change));
        assert_eq!(told, [LevelChange::Clipping { share: 1.0 }, LevelChange::Unclipped]);
    }
}
