//! What a microphone tells of itself: what happens to it, and what it has counted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What happened to a microphone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum CaptureEvent {
    /// Sound comes, for the first time or again.
    Opened {
        /// Name of the device.
        device: String,
        /// Its id.
        id: String,
        /// Format of its samples.
        format: String,
        /// Number of its channels.
        channels: u16,
        /// Its rate in hertz.
        rate_hz: u32,
        /// The rate that was asked for; where it is another, the device has no such rate.
        asked_rate_hz: Option<u32>,
        /// Number of this opening, as in [`BlockHeader`](super::BlockHeader).
        stream: u32,
    },
    /// No sound comes any more, or it could not be opened; it is tried again by itself.
    Lost {
        /// What happened and what may mend it.
        why: String,
        /// When it is tried again, in milliseconds from now.
        retry_in_ms: u64,
    },
    /// The device lost sound by itself since this was last told; it does not say how much.
    Xrun {
        /// How often.
        times: u32,
    },
    /// The reader was too slow: frames were dropped since this was last told.
    Overrun {
        /// How many.
        frames: u64,
    },
    /// Samples that were no numbers came since this was last told; they were made 0.
    NotNumbers {
        /// How many.
        samples: u64,
    },
    /// Its turn is over, and the device is closed until the next.
    Resting {
        /// When that is, in milliseconds from now.
        for_ms: u64,
    },
    /// It was stopped; nothing more comes.
    Stopped,
}

impl CaptureEvent {
    /// The same of another opening.
    pub(super) fn of_stream(mut self, number: u32) -> CaptureEvent {
        if let CaptureEvent::Opened { stream, .. } = &mut self {
            *stream = number;
        }
        self
    }
}

impl fmt::Display for CaptureEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureEvent::Opened { device, id, format, channels, rate_hz, asked_rate_hz, .. } => {
                let s = if *channels == 1 { "" } else { "s" };
                write!(f, "hears {device} ({id}): {format}, {channels} channel{s}, {rate_hz} Hz")?;
                asked_rate_hz.filter(|asked| asked != rate_hz).map_or(Ok(()), |asked| write!(f, " (it has no {asked} Hz)"))
            }
            CaptureEvent::Lost { why, retry_in_ms } => write!(f, "lost: {why} (tried again in {:.2} s)", *retry_in_ms as f64 / 1e3),
            CaptureEvent::Xrun { times } => write!(f, "the device lost sound by itself, {times} times"),
            CaptureEvent::Overrun { frames } => write!(f, "{frames} frames were lost: this machine is too slow"),
            CaptureEvent::NotNumbers { samples } => write!(f, "{samples} samples were no numbers, and became 0"),
            CaptureEvent::Resting { for_ms } => write!(f, "rests for {:.1} s", *for_ms as f64 / 1e3),
            CaptureEvent::Stopped => f.write_str("stopped"),
        }
    }
}

/// What a microphone has counted since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CaptureCounts {
    /// Frames that the device gave.
    pub captured_frames: u64,
    /// Frames of these that were dropped because the reader was too slow.
    pub lost_frames: u64,
    /// Samples that were no numbers and were made 0.
    pub not_numbers: u64,
    /// Times that the device itself lost sound.
    pub xruns: u32,
    /// Times that it came back after it was lost.
    pub reopened: u32,
    /// Streams that hung when they were closed, and were left behind.
    pub hung: u32,
    /// Events that nobody read in time.
    pub dropped_events: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object_and_comes_back() {
        let event = CaptureEvent::Lost { why: "unplugged".into(), retry_in_ms: 250 };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"event":"lost","why":"unplugged","retry_in_ms":250}"#);
        assert_eq!(serde_json::from_str::<CaptureEvent>(&text).unwrap(), event);
    }
}
