//! Sound from a program in the place of a microphone: a file played, a network stream, a test; and sound that is passed on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::ring::{BlockHeader, Counters, Reader, Rings, Writer, ring};

/// The end that a program writes to. The reader's sound ends when this is gone.
#[derive(Debug)]
pub struct Feed {
    writer: Writer,
    counters: Arc<Counters>,
    rate_hz: u32,
    _rings: Rings,
}

impl Feed {
    /// Sound at `rate_hz` with room for `frames` that were not read yet.
    pub fn new(rate_hz: u32, frames: usize) -> (Feed, Reader) {
        let counters = Arc::new(Counters::default());
        let (writer, reader, rings) = ring(frames, frames / 64 + 16, counters.clone());
        (Feed { writer, counters, rate_hz, _rings: rings }, reader)
    }

    /// Writes samples, the first of which was captured at `captured_ns` of the clock since boot. What has no room is lost and counted.
    pub fn push(&mut self, samples: &[f32], captured_ns: u64) {
        self.writer.push(1, self.rate_hz, samples.len(), captured_ns, |at, out| {
            out.copy_from_slice(&samples[at..at + out.len()]);
            0
        });
    }

    /// Whether there is room for a block of so many samples.
    pub fn has_room(&self, samples: usize) -> bool {
        self.writer.has_room(samples)
    }

    /// Samples that found no room.
    pub fn lost(&self) -> u64 {
        self.counters.lost.load(Relaxed)
    }
}

/// Passes blocks that were read on to another reader.
#[derive(Debug)]
pub struct Tap {
    writer: Writer,
    counters: Arc<Counters>,
    _rings: Rings,
}

impl Tap {
    /// With room for `frames` that were not read yet; what has none is lost to the other reader, whose counts tell.
    pub fn new(frames: usize) -> (Tap, Reader) {
        let counters = Arc::new(Counters::default());
        let (writer, reader, rings) = ring(frames, frames / 64 + 16, counters.clone());
        (Tap { writer, counters, _rings: rings }, reader)
    }

    /// Passes a block on as it is; its reader sees by the numbers of frames what is missing before it. Allocates nothing.
    pub fn pass(&mut self, header: &BlockHeader, block: &[f32]) {
        let had_room = self.writer.push_block(*header, |at, out| {
            out.copy_from_slice(&block[at..at + out.len()]);
            0
        });
        if !had_room {
            self.counters.lost.fetch_add(block.len() as u64, Relaxed);
        }
    }
}
