//! What the daemon counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::audio::capture::CaptureCounts;

/// What the daemon has counted.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Counts {
    /// Windows that were answered.
    pub windows: u64,
    /// Windows that were answered and found no room on their way: the oldest of those that waited.
    pub windows_dropped: u64,
    /// Windows that were passed over because the board was too slow.
    pub windows_skipped: u64,
    /// Windows that the backbone could not answer.
    pub windows_failed: u64,
    /// One window in so many is answered.
    pub stride: u64,
    /// Frames that were heard.
    pub frames: u64,
    /// Frames that microphones gave beside and that found no room.
    pub frames_lost: u64,
    /// Components of embeddings that were clipped to a latent's range.
    pub clipped: u64,
    /// What inference had to tell and found no room for.
    pub signals_dropped: u64,
    /// Generation of the head that serves; 0 for none.
    pub serving: u64,
    /// Events, clips and messages that were lost to sinks.
    pub events_lost: u64,
    /// From the end of the window that decided to the event, in ms: median and 99 in 100 of the last thousand.
    pub event_ms: Option<(f64, f64)>,
    /// Of that, the backbone and the head, in ms.
    pub answer_ms: Option<(f64, f64)>,
    /// Processor time of all calls of the backbone so far, in s.
    pub backbone_cpu_s: f64,
    /// Of each source, in their order.
    #[serde(skip)]
    pub sources: Vec<SourceCounts>,
}

/// What was counted of one source.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct SourceCounts {
    /// Its name.
    pub name: String,
    /// How long ago its newest window was answered, in ms; none before the first.
    pub answered_ms_ago: Option<u64>,
    /// What its microphone has counted, where it is one.
    #[serde(flatten)]
    pub capture: Option<CaptureCounts>,
}

/// What the threads add to.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub windows: AtomicU64,
    pub windows_dropped: AtomicU64,
    pub windows_skipped: AtomicU64,
    pub windows_failed: AtomicU64,
    pub signals_dropped: AtomicU64,
    pub stride: AtomicU64,
    pub serving: AtomicU64,
    pub frames: AtomicU64,
    pub frames_lost: AtomicU64,
    pub clipped: AtomicU64,
    pub backbone_ns: AtomicU64,
}

impl Counters {
    /// What they come to; what else is counted is added by who knows it.
    pub fn read(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Counts {
            windows: of(&self.windows),
            windows_dropped: of(&self.windows_dropped),
            windows_skipped: of(&self.windows_skipped),
            windows_failed: of(&self.windows_failed),
            stride: of(&self.stride),
            frames: of(&self.frames),
            frames_lost: of(&self.frames_lost),
            clipped: of(&self.clipped),
            signals_dropped: of(&self.signals_dropped),
            serving: of(&self.serving),
            backbone_cpu_s: of(&self.backbone_ns) as f64 * 1e-9,
            ..Counts::default()
        }
    }
}
