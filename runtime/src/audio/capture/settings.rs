//! What a microphone is asked for.

use std::time::Duration;

use super::convert::Channel;
use super::devices::CAPTURE_RATES_HZ;
use super::ring::MAX_BLOCK_FRAMES;
use crate::{Error, ErrorKind, Result};

/// Frames that a ring may hold.
pub const RING_FRAMES: std::ops::RangeInclusive<usize> = 2 * MAX_BLOCK_FRAMES..=1 << 26;

/// What is to be captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicrophoneSettings {
    /// Id, name or a part of the name, as [`choose`](super::devices::choose) takes it; the default microphone when none is given.
    pub device: Option<String>,
    /// Rate to ask for in hertz, 8000 to 384000; the device's own where it is left out or the device has no such rate.
    pub rate_hz: Option<u32>,
    /// Which channel is heard.
    pub channel: Channel,
    /// Frames that may wait for the reader ([`RING_FRAMES`]); what comes on top is lost and counted. 4 bytes each.
    pub ring_frames: usize,
    /// Sound that may wait at least, at whatever rate the device has: where that is more, there are more frames.
    pub ring_time: Duration,
    /// Hears only now and then, so that the device and the board may rest; all the time when there is none.
    pub duty: Option<Duty>,
}

/// Hears for a while, and rests until its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duty {
    /// How long sound is heard, from its first frame on.
    pub on: Duration,
    /// From one turn's begin to the next; where hearing takes longer, one begins at once.
    pub every: Duration,
}

impl Default for MicrophoneSettings {
    /// The default microphone at its own rate, all channels, ten seconds at 48 kHz and two at any rate.
    fn default() -> Self {
        let ring_time = Duration::from_secs(2);
        MicrophoneSettings { device: None, rate_hz: None, channel: Channel::Mean, ring_frames: 480_000, ring_time, duty: None }
    }
}

impl MicrophoneSettings {
    /// Frames that may wait at a rate.
    pub(super) fn frames(&self, rate_hz: u32) -> usize {
        let least = (self.ring_time.as_secs_f64() * f64::from(rate_hz)).ceil() as usize;
        least.max(self.ring_frames).min(*RING_FRAMES.end())
    }

    /// # Errors
    /// `Config` for a rate or a ring that is out of range.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(rate) = self.rate_hz.filter(|rate| !CAPTURE_RATES_HZ.contains(rate)) {
            return Err(Error::new(ErrorKind::Config, "no microphone has such a rate")
                .expected(format!("{} to {} Hz", CAPTURE_RATES_HZ.start(), CAPTURE_RATES_HZ.end()))
                .found(format!("{rate} Hz"))
                .cure("leave it out for the device's own rate"));
        }
        if !RING_FRAMES.contains(&self.ring_frames) {
            return Err(Error::new(ErrorKind::Config, "the ring of a microphone cannot be that long")
                .expected(format!("{} to {} frames", RING_FRAMES.start(), RING_FRAMES.end()))
                .found(self.ring_frames)
                .cure("ten seconds are 480000 frames at 48 kHz"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::capture::Microphone;

    #[test]
    fn rates_and_rings_out_of_range_are_refused_with_what_is_allowed() {
        let rates = [7999, 384_001].map(|rate| MicrophoneSettings { rate_hz: Some(rate), ..MicrophoneSettings::default() });
        let rings = [16_383, (1 << 26) + 1].map(|ring_frames| MicrophoneSettings { ring_frames, ..MicrophoneSettings::default() });
        for (bad, allowed) in rates.iter().map(|s| (s, "8000 to 384000 Hz")).chain(rings.iter().map(|s| (s, "16384 to 67108864 frames"))) {
            let e = Microphone::start(bad.clone()).map(drop).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Config);
            assert!(e.to_string().contains(allowed), "{e}");
        }
    }

    #[test]
    fn a_ring_holds_its_time_at_any_rate() {
        let settings = MicrophoneSettings { ring_time: Duration::from_secs(4), ..MicrophoneSettings::default() };
        let frames = [16_000, 120_000, 384_000].map(|rate| settings.frames(rate));
        assert_eq!(frames, [480_000, 480_000, 1_536_000]);
        assert_eq!(MicrophoneSettings { ring_time: Duration::from_secs(1 << 20), ..settings }.frames(384_000), 1 << 26);
    }
}
