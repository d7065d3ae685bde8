//! The hand-over from the device's callback to one reader: a bounded ring of samples beside a bounded ring of block headers,
//! both without locks.
//!
//! Where there is no room the newest block is dropped whole; its frames keep their numbers, so that the next header shows the
//! gap, and are counted. A block longer than [`MAX_BLOCK_FRAMES`] is handed over in pieces. Where a writer hangs in a sound
//! system that does not come back, a new ring takes the place of its own, behind what that one holds. Limits: one writer and
//! one reader; nothing wakes the reader, who asks again when there was nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use rtrb::{Consumer, Producer, RingBuffer};

/// Most frames in one block that a reader gets.
pub const MAX_BLOCK_FRAMES: usize = 8192;

/// What comes with the samples of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockHeader {
    /// Which opening of the device it is of, counted from 1. Between two of them time passed that no frame counts.
    pub stream: u32,
    /// Rate of its samples in hertz; it changes with `stream` only.
    pub rate_hz: u32,
    /// Number of frames: of mono samples.
    pub frames: u32,
    /// Times that the device itself had lost sound since the start, without saying how much. More than in the header before:
    /// sound is missing between the two.
    pub xruns: u32,
    /// Number of the first frame, counted over all streams from the start, lost frames included.
    pub first_frame: u64,
    /// When the first frame was captured, in nanoseconds since boot, sleep included (`CLOCK_BOOTTIME`).
    pub captured_ns: u64,
}

/// What has been counted so far; all of it can be read at any time from any thread.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Frames that the device gave, those lost since included.
    pub captured: AtomicU64,
    /// Frames of these for which there was no room.
    pub lost: AtomicU64,
    /// Samples that were no numbers.
    pub not_numbers: AtomicU64,
    /// Times that the device itself lost sound.
    pub xruns: AtomicU32,
    /// The stream that may write; callbacks of others come too late.
    pub live: AtomicU32,
}

/// The end in the callback. It allocates nothing, locks nothing and calls nothing of the system.
#[derive(Debug)]
pub(super) struct Writer {
    samples: Producer<f32>,
    headers: Producer<BlockHeader>,
    counters: Arc<Counters>,
    next_frame: u64,
    number: u32,
}

/// What a reader reads from.
type Ends = (Consumer<f32>, Consumer<BlockHeader>);

/// The reader's end.
#[derive(Debug)]
pub struct Reader {
    samples: Consumer<f32>,
    headers: Consumer<BlockHeader>,
    next: Receiver<Ends>,
    /// The next ring, for when this one is empty.
    waiting: Option<Ends>,
    counters: Arc<Counters>,
}

/// Makes rings, one in place of the other, all for one reader. The reader's sound ends when this is gone.
#[derive(Debug)]
pub(super) struct Rings {
    frames: usize,
    blocks: usize,
    counters: Arc<Counters>,
    next: SyncSender<Ends>,
    number: u32,
}

/// A ring for `frames` samples in at most `blocks` blocks, and what makes others in its place.
pub(super) fn ring(frames: usize, blocks: usize, counters: Arc<Counters>) -> (Writer, Reader, Rings) {
    let (tell, next) = sync_channel(1);
    let rings = Rings { frames, blocks, counters, next: tell, number: 0 };
    let (writer, (samples, headers)) = rings.one(0);
    let counters = rings.counters.clone();
    (writer, Reader { samples, headers, next, waiting: None, counters }, rings)
}

impl Rings {
    fn one(&self, number: u32) -> (Writer, Ends) {
        let (samples, samples_out) = RingBuffer::new(self.frames);
        let (headers, headers_out) = RingBuffer::new(self.blocks);
        let counters = self.counters.clone();
        // Every frame that was captured has had a number.
        let next_frame = counters.captured.load(Relaxed);
        (Writer { samples, headers, counters, next_frame, number }, (samples_out, headers_out))
    }

    /// Frames that the newest ring holds.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// A writer of a ring for `frames` samples in at most `blocks` blocks, in place of the last; none while the reader has not yet taken that.
    pub fn resize(&mut self, frames: usize, blocks: usize) -> Option<Writer> {
        let before = (self.frames, self.blocks);
        (self.frames, self.blocks) = (frames, blocks);
        let writer = self.replace();
        if writer.is_none() {
            (self.frames, self.blocks) = before;
        }
        writer
    }

    /// A writer of a new ring, in place of one that does not come back; none while the reader has not yet taken the last.
    pub fn replace(&mut self) -> Option<Writer> {
        let number = self.number.wrapping_add(1);
        let (writer, ends) = self.one(number);
        self.next.try_send(ends).ok()?;
        self.number = number;
        Some(writer)
    }

    /// Whether it writes into the ring that is read.
    pub fn has(&self, writer: &Writer) -> bool {
        writer.number == self.number
    }
}

impl Writer {
    /// Hands `frames` frames over, the first captured at `captured_ns`. `fill` writes the mono samples from a given frame on
    /// and returns how many were no numbers; it is called twice a block where the ring's end lies inside it.
    pub fn push(&mut self, stream: u32, rate_hz: u32, frames: usize, captured_ns: u64, mut fill: impl FnMut(usize, &mut [f32]) -> u32) {
        let xruns = self.counters.xruns.load(Relaxed);
        self.counters.captured.fetch_add(frames as u64, Relaxed);
        let mut done = 0;
        while done < frames {
            let n = (frames - done).min(MAX_BLOCK_FRAMES);
            let later_ns = done as u64 * 1_000_000_000 / u64::from(rate_hz.max(1));
            let header = BlockHeader {
                stream,
                rate_hz,
                frames: n as u32,
                xruns,
                first_frame: self.next_frame,
                captured_ns: captured_ns.saturating_add(later_ns),
            };
            if !self.push_block(header, |at, out| fill(done + at, out)) {
                self.counters.lost.fetch_add(n as u64, Relaxed);
            }
            self.next_frame += n as u64;
            done += n;
        }
    }

    /// Whether there is room for so many samples, in blocks of [`MAX_BLOCK_FRAMES`].
    pub fn has_room(&self, samples: usize) -> bool {
        self.samples.slots() >= samples && self.headers.slots() >= samples.div_ceil(MAX_BLOCK_FRAMES)
    }

    /// Hands one block over; whether there was room.
    pub(super) fn push_block(&mut self, header: BlockHeader, mut fill: impl FnMut(usize, &mut [f32]) -> u32) -> bool {
        if self.headers.is_full() {
            return false;
        }
        let Ok(mut chunk) = self.samples.write_chunk(header.frames as usize) else { return false };
        let (front, back) = chunk.as_mut_slices();
        let mut not_numbers = fill(0, front);
        if !back.is_empty() {
            not_numbers += fill(front.len(), back);
        }
        if not_numbers > 0 {
            self.counters.not_numbers.fetch_add(u64::from(not_numbers), Relaxed);
        }
        // The samples first: whoever sees the header finds them.
        chunk.commit_all();
        self.headers.push(header).is_ok()
    }
}

impl Reader {
    /// A buffer that holds any block: with it [`Reader::next`] never allocates.
    pub fn buffer(&self) -> Vec<f32> {
        Vec::with_capacity(MAX_BLOCK_FRAMES)
    }

    /// Takes the next block: puts its samples into `samples`, in place of what was there, and returns its header; none where
    /// no block is ready.
    pub fn next(&mut self, samples: &mut Vec<f32>) -> Option<BlockHeader> {
        self.advance().ok()?;
        let header = self.headers.pop().ok()?;
        let chunk = self.samples.read_chunk(header.frames as usize).ok()?;
        samples.clear();
        let (front, back) = chunk.as_slices();
        samples.extend_from_slice(front);
        samples.extend_from_slice(back);
        chunk.commit_all();
        Some(header)
    }

    /// Frames so far for which there was no room.
    pub fn lost(&self) -> u64 {
        self.counters.lost.load(Relaxed)
    }

    /// Samples that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.samples.slots()
    }

    /// Samples that may wait.
    pub fn room(&self) -> usize {
        self.samples.buffer().capacity()
    }

    /// Whether the microphone has stopped and everything was taken.
    pub fn has_ended(&mut self) -> bool {
        // What was pushed before the end is seen by now.
        self.advance() == Err(TryRecvError::Disconnected) && self.headers.is_empty()
    }

    /// Goes on to the next ring where this one is empty; whether there is a block, or can be one.
    fn advance(&mut self) -> Result<(), TryRecvError> {
        while self.headers.is_empty() {
            let ends = match self.waiting.take() {
                Some(ends) => ends,
                None => self.next.try_recv()?,
            };
            // What its writer wrote before the next one came is seen by now, and goes first.
            match self.headers.is_empty() {
                true => (self.samples, self.headers) = ends,
                false => self.waiting = Some(ends),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(frames: usize, blocks: usize) -> (Writer, Reader, Arc<Counters>, Rings) {
        let counters = Arc::new(Counters::default());
        let (writer, reader, rings) = ring(frames, blocks, counters.clone());
        (writer, reader, counters, rings)
    }

    /// Pushes `n` frames whose samples are the numbers of the frames.
    fn push(w: &mut Writer, n: usize) {
        let start = w.next_frame;
        w.push(1, 48_000, n, 0, |at, out| {
            out.iter_mut().enumerate().for_each(|(i, y)| *y = (start + (at + i) as u64) as f32);
            0
        });
    }

    #[test]
    fn a_block_without_room_is_dropped_whole_and_the_next_header_shows_the_gap() {
        let (mut w, mut r, counters, _rings) = pair(10, 4);
        let mut x = r.buffer();
        [6, 6, 3].into_iter().for_each(|n| push(&mut w, n));
        assert_eq!(r.next(&mut x).map(|h| (h.first_frame, h.frames)), Some((0, 6)));
        assert_eq!(x, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(r.next(&mut x).map(|h| (h.first_frame, h.frames)), Some((12, 3)));
        assert_eq!(x, [12.0, 13.0, 14.0]);
        assert_eq!(r.next(&mut x), None);
        assert_eq!((counters.captured.load(Relaxed), counters.lost.load(Relaxed)), (15, 6));
    }

    #[test]
    fn headers_are_bounded_as_samples_are() {
        let (mut w, mut r, counters, _rings) = pair(100, 2);
        [1, 1, 1].into_iter().for_each(|n| push(&mut w, n));
        assert_eq!(counters.lost.load(Relaxed), 1);
        let mut x = r.buffer();
        assert_eq!((0..3).map(|_| r.next(&mut x).is_some()).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_long_block_comes_in_pieces_each_with_its_own_time() {
        let (mut w, mut r, _, _rings) = pair(3 * MAX_BLOCK_FRAMES, 8);
        w.push(2, 8192, 2 * MAX_BLOCK_FRAMES + 5, 7, |_, _| 0);
        let mut x = r.buffer();
        let capacity = x.capacity();
        let mut got = Vec::new();
        while let Some(h) = r.next(&mut x) {
            got.push((h.stream, h.rate_hz, h.first_frame, h.frames, h.captured_ns));
        }
        let n = MAX_BLOCK_FRAMES as u64;
        assert_eq!(got, [(2, 8192, 0, 8192, 7), (2, 8192, n, 8192, 1_000_000_007), (2, 8192, 2 * n, 5, 2_000_000_007)]);
        assert_eq!(x.capacity(), capacity, "the buffer was long enough");
    }

    #[test]
    fn a_reader_learns_that_the_microphone_has_stopped_after_the_last_block() {
        let (mut w, mut r, _, rings) = pair(10, 4);
        assert!(!r.has_ended());
        push(&mut w, 3);
        assert!(!r.has_ended());
        drop(rings);
        assert!(!r.has_ended());
        let mut x = r.buffer();
        assert!(r.next(&mut x).is_some() && r.has_ended());
    }

    #[test]
    fn another_thread_gets_every_frame_in_order_or_sees_the_gap() {
        let (mut w, mut r, counters, rings) = pair(4096, 64);
        let writing = std::thread::spawn(move || {
            (0..20_000).for_each(|i| push(&mut w, 1 + i * 37 % 300));
            drop(rings);
        });
        let (mut x, mut next, mut received, mut gaps) = (r.buffer(), 0u64, 0u64, 0u64);
        while !r.has_ended() {
            let Some(h) = r.next(&mut x) else {
                std::thread::yield_now();
                continue;
            };
            assert!(h.first_frame >= next, "order is kept");
            assert!(x.iter().zip(h.first_frame..).all(|(x, i)| *x == i as f32), "{h:?}");
            gaps += h.first_frame - next;
            received += x.len() as u64;
            next = h.first_frame + u64::from(h.frames);
        }
        writing.join().unwrap();
        let (captured, lost) = (counters.captured.load(Relaxed), counters.lost.load(Relaxed));
        assert_eq!(received + lost, captured);
        assert_eq!(gaps + (captured - next), lost);
    }

    #[test]
    fn a_new_ring_goes_on_behind_what_a_hanging_writer_had_written() {
        let (mut hangs, mut r, _, mut rings) = pair(10, 4);
        push(&mut hangs, 3);
        push(&mut hangs, 8);
        let mut w = rings.replace().unwrap();
        assert!(rings.has(&w) && !rings.has(&hangs));
        assert!(rings.replace().is_none() && rings.has(&w), "the reader has not yet taken the last");
        push(&mut w, 2);
        let mut x = r.buffer();
        let got: Vec<_> = (0..3).map(|_| r.next(&mut x).map(|h| (h.first_frame, h.frames))).collect();
        assert_eq!(got, [Some((0, 3)), Some((11, 2)), None]);
        assert!(!r.has_ended() && rings.replace().is_some());
        drop(rings);
        assert!(r.has_ended());
    }

    #[test]
    fn a_longer_ring_takes_the_place_of_a_shorter_one_once_the_reader_has_the_last() {
        let (mut w, mut r, _, mut rings) = pair(10, 4);
        push(&mut w, 6);
        let mut longer = rings.resize(100, 40).unwrap();
        assert!(rings.resize(1000, 400).is_none() && rings.frames() == 100, "the reader has not yet taken the last");
        drop(w);
        (0..4).for_each(|_| push(&mut longer, 25));
        let mut x = r.buffer();
        let got: Vec<_> = (0..6).map(|_| r.next(&mut x).map(|h| (h.first_frame, h.frames))).collect();
        assert_eq!(got, [Some((0, 6)), Some((6, 25)), Some((31, 25)), Some((56, 25)), Some((81, 25)), None]);
        assert_eq!(r.room(), 100);
    }

    proptest! {
        #[test]
        fn what_is_received_and_what_is_lost_make_what_was_pushed(
            frames in 1usize..400,
            blocks in 1usize..12,
            steps in prop::collection::vec((0usize..500, 0usize..4), 1..60),
        ) {
            let (mut w, mut r, counters, _rings) = pair(frames, blocks);
            let (mut x, mut next, mut received, mut gaps) = (r.buffer(), 0u64, 0u64, 0u64);
            let mut take = |r: &mut Reader, most: usize| {
                for _ in 0..most {
                    let Some(h) = r.next(&mut x) else { break };
                    assert!(h.first_frame >= next && h.frames as usize == x.len());
                    assert!(x.iter().zip(h.first_frame..).all(|(x, i)| *x == i as f32));
                    gaps += h.first_frame - next;
                    received += x.len() as u64;
                    next = h.first_frame + u64::from(h.frames);
                }
            };
            for (n, taken) in &steps {
                push(&mut w, *n);
                take(&mut r, *taken);
            }
            take(&mut r, usize::MAX);
            let pushed: u64 = steps.iter().map(|s| s.0 as u64).sum();
            let lost = counters.lost.load(Relaxed);
            prop_assert_eq!(counters.captured.load(Relaxed), pushed);
            prop_assert_eq!(received + lost, pushed);
            prop_assert_eq!(gaps + (pushed - next), lost);
        }
    }
}
