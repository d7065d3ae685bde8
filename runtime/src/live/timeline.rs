//! When a sample was captured: the device's clock counts frames, the system's tells nanoseconds, and neither is quite right.
//!
//! A block's own time jitters with the system's load, and the rates of the two clocks differ by some tens of parts in a million. So the
//! place of the first frame is taken from the first block and moved by a small share of what later blocks say.

/// Share of a block's difference that moves the place.
const FOLLOW: f64 = 1.0 / 64.0;

/// Places the samples of one stream without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    rate_hz: f64,
    /// Time of frame 0 of the stream, in ns.
    origin_ns: f64,
    frames: u64,
}

impl Timeline {
    /// A stream at `rate_hz` whose first frame was captured at `captured_ns`.
    pub fn new(rate_hz: u32, captured_ns: u64) -> Timeline {
        Timeline { rate_hz: f64::from(rate_hz.max(1)), origin_ns: captured_ns as f64, frames: 0 }
    }

    /// Takes the next block of `frames`, the first of which was captured at `captured_ns` by the system's clock.
    pub fn push(&mut self, frames: usize, captured_ns: u64) {
        let expected = self.origin_ns + self.frames as f64 / self.rate_hz * 1e9;
        self.origin_ns += FOLLOW * (captured_ns as f64 - expected);
        self.frames += frames as u64;
    }

    /// When the moment `seconds` after the stream's begin was, in ns of the system's clock.
    pub fn at_ns(&self, seconds: f64) -> u64 {
        (self.origin_ns + seconds * 1e9).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_of_the_blocks_hardly_moves_a_sample_and_drift_is_followed() {
        // A device that runs 100 ppm fast, with blocks of 10 ms that are told up to 8 ms late, for an hour.
        let mut line = Timeline::new(48_000, 1_000_000_000);
        let true_ns = |n: u64| 1_000_000_000.0 + n as f64 * 0.01e9 * (1.0 - 100e-6);
        for n in 0..360_000u64 {
            line.push(480, true_ns(n) as u64 + (n * 7919 % 8_000) * 1000);
        }
        let off_ms = (line.at_ns(3600.0) as f64 - true_ns(360_000)) / 1e6;
        assert!((0.0..8.0).contains(&off_ms), "{off_ms} ms");
    }
}
