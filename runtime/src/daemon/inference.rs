//! The thread that answers windows: blocks of all microphones in, windows with their latents and answers out. While sound goes on it
//! allocates nothing outside the backbone's call, holds no lock and waits for no one; only where a microphone comes back at another rate, or
//! the backbone fails, does it allocate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Relaxed};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use rtrb::{Consumer, Producer};

use super::{Counters, LiveWindow, Published, Signal};
use crate::audio::capture::feed::Tap;
use crate::audio::capture::level::{LevelLimits, LevelWatch};
use crate::audio::capture::{BlockHeader, Reader};
use crate::latent::Quantiser;
use crate::live::pace::{Load, Pace};
use crate::live::picture::{Column, Picture};
use crate::live::recent::Place;
use crate::live::timeline::Timeline;
use crate::pipeline::{Embedder, Window};
use crate::{Error, Result};

/// How long the thread sleeps when no sound waits.
const NAP: Duration = Duration::from_millis(4);
/// Blocks of one microphone before the next has its turn.
const TURN: usize = 16;

/// The ends that this thread holds.
pub(super) struct Ends {
    /// To the thread that tells; the oldest of them makes room where there is none.
    pub windows: Arc<ArrayQueue<Box<LiveWindow>>>,
    pub free: Consumer<Box<LiveWindow>>,
    pub signals: Producer<Signal>,
    /// With the number of the microphone.
    pub columns: Producer<(u32, Column)>,
    pub heads: Consumer<Box<Published>>,
    pub worn: Producer<Box<Published>>,
    pub teller: Thread,
    pub counters: Arc<Counters>,
}

/// One microphone.
struct Ear {
    source: u32,
    reader: Reader,
    embedder: Embedder,
    block: Vec<f32>,
    level: LevelWatch,
    picture: Option<Picture>,
    tap: Option<Tap>,
    /// Sound without a gap since this block; none before the first.
    stream: Option<Stream>,
    /// Streams so far.
    streams: u32,
    /// Whether windows are passed over when the board is too slow.
    is_live: bool,
    /// One window in so many is to be answered.
    least_stride: u64,
    window_s: f64,
    window_rate_hz: f64,
    /// What its sound took since its last window, and how much it was, in s.
    busy: Duration,
    heard_s: f64,
}

struct Stream {
    number: u32,
    xruns: u32,
    next_frame: u64,
    /// Number of its next window in the embedder.
    next_index: u64,
    timeline: Timeline,
}

/// What is heard, by what it is embedded, whether windows are passed over when the board is too slow, and who else gets it.
type Heard = (Reader, Embedder, bool, Option<Tap>);

pub(super) struct Inference {
    ears: Vec<Ear>,
    work: Work,
    pace: Pace,
    hop_s: f64,
}

/// What turns an embedding into an answer.
struct Work {
    quantiser: Quantiser,
    silence: f32,
    head: Option<Box<Published>>,
    next_window: u64,
    ends: Ends,
    /// What the last window took, and when the last block was begun.
    took_ns: u64,
    begun: Instant,
}

impl Inference {
    pub fn new(sources: Vec<Heard>, quantiser: Quantiser, (hop_s, least_stride): (f64, u32), is_shown: bool, ends: Ends) -> Inference {
        let silence = sources.first().map_or(0.0, |(_, e, ..)| e.manifest().silence_peak());
        let ear = |(n, (reader, mut embedder, is_live, tap)): (usize, Heard)| {
            embedder.set_stride(least_stride);
            let audio = &embedder.manifest().audio;
            let window_rate_hz = f64::from(audio.rate_hz);
            let window_s = f64::from(audio.window_samples) / window_rate_hz;
            let level = LevelWatch::new(LevelLimits::default(), embedder.source_rate_hz());
            let picture = is_shown.then(|| Picture::new(embedder.source_rate_hz()));
            Ear {
                source: n as u32,
                block: reader.buffer(),
                reader,
                embedder,
                level,
                picture,
                tap,
                stream: None,
                streams: 0,
                is_live,
                least_stride: u64::from(least_stride),
                window_s,
                window_rate_hz,
                busy: Duration::ZERO,
                heard_s: 0.0,
            }
        };
        let ears = sources.into_iter().enumerate().map(ear).collect();
        let work = Work { quantiser, silence, head: None, next_window: 1, ends, took_ns: 0, begun: Instant::now() };
        Inference { ears, work, pace: Pace::new(least_stride), hop_s }
    }

    /// Until it is stopped, or every source has ended.
    pub fn run(mut self, stop: &AtomicBool) {
        loop {
            // What was captured before the stop is heard.
            let is_last = stop.load(Acquire) || self.ears.iter_mut().all(|ear| ear.reader.has_ended());
            self.work.take_head();
            let mut heard = false;
            for n in 0..self.ears.len() {
                heard |= self.turn(n);
            }
            let lost = self.ears.iter().map(|ear| ear.reader.lost()).sum();
            self.work.ends.counters.frames_lost.store(lost, Relaxed);
            let backbone_ns = self.ears.iter().map(|ear| ear.embedder.backbone_ns()).sum();
            self.work.ends.counters.backbone_ns.store(backbone_ns, Relaxed);
            if is_last && !heard {
                self.ears.iter_mut().for_each(|ear| ear.finish(&mut self.work));
                return;
            }
            if !heard {
                std::thread::sleep(NAP);
            }
        }
    }

    /// Some blocks of one microphone; whether there were any.
    fn turn(&mut self, n: usize) -> bool {
        let microphones = self.ears.len() as u32;
        let ear = &mut self.ears[n];
        for done in 0..TURN {
            let Some(header) = ear.reader.next(&mut ear.block) else { return done > 0 };
            let (before, begun) = (self.work.next_window, Instant::now());
            ear.hear(header, &mut self.work);
            ear.busy += begun.elapsed();
            ear.heard_s += f64::from(header.frames) / f64::from(header.rate_hz.max(1));
            if self.work.next_window == before || !ear.is_live {
                continue;
            }
            if let Some(stride) =
                self.pace.step(ear.load(header.rate_hz, &self.work, self.work.next_window - before, microphones), self.hop_s)
            {
                self.work.signal(Signal::Stride(stride));
                self.work.ends.counters.stride.store(u64::from(stride), Relaxed);
            }
            ear.embedder.set_stride(self.pace.stride());
        }
        true
    }
}

impl Ear {
    /// Takes a block, and hands on the windows that it completes.
    fn hear(&mut self, header: BlockHeader, work: &mut Work) {
        let source = self.source;
        self.mind_gap(&header, work);
        let Some(stream) = &mut self.stream else { return };
        stream.timeline.push(header.frames as usize, header.captured_ns);
        stream.next_frame = header.first_frame + u64::from(header.frames);
        work.ends.counters.frames.fetch_add(u64::from(header.frames), Relaxed);
        self.level.push(header.first_frame, &self.block, &mut |_, change| work.signal(Signal::Level { source, change }));
        if let Some(tap) = &mut self.tap {
            tap.pass(&header, &self.block);
        }
        if let Some(picture) = &mut self.picture {
            // What finds no room is not seen.
            picture.push(&self.block, &mut |column| _ = work.ends.columns.push((source, column)));
        }
        work.begun = Instant::now();
        if let Err(why) = self.embed(work, false) {
            // A window without an answer; the next one begins anew.
            self.stream = None;
            work.failed(source, why);
        }
    }

    /// What the last of so many windows took, and what the sound since those before did; the next one's begins.
    fn load(&mut self, rate_hz: u32, work: &Work, windows: u64, microphones: u32) -> Load {
        let seconds = |frames: usize| frames as f64 / f64::from(rate_hz.max(1));
        let window_s = work.took_ns as f64 * 1e-9;
        let (busy_s, heard_s) = (std::mem::take(&mut self.busy).as_secs_f64(), std::mem::take(&mut self.heard_s));
        let sound_share = (busy_s - window_s * windows as f64).max(0.0) / heard_s.max(f64::MIN_POSITIVE);
        Load { window_s, sound_share, waiting_s: seconds(self.reader.waiting()), room_s: seconds(self.reader.room()), microphones }
    }

    /// The sound is over: its last window may be padded.
    fn finish(&mut self, work: &mut Work) {
        work.begun = Instant::now();
        if self.stream.is_some()
            && let Err(why) = self.embed(work, true)
        {
            work.failed(self.source, why);
        }
    }

    /// Gives the block to the embedder, or ends its sound, and hands on the windows that come of it.
    fn embed(&mut self, work: &mut Work, is_end: bool) -> Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let (timeline, next_index) = (&stream.timeline, &mut stream.next_index);
        let (source, window_s, rate_hz) = (self.source, self.window_s, self.window_rate_hz);
        let (number, waits, least_stride) = (self.streams, !self.is_live, self.least_stride);
        let mut sink = |w: Window<'_>| {
            work.ends.counters.windows_skipped.fetch_add(w.index.saturating_sub(*next_index) / least_stride, Relaxed);
            *next_index = w.index + least_stride;
            let begin_s = w.start as f64 / rate_hz;
            let (begin_ns, end_ns) = (timeline.at_ns(begin_s), timeline.at_ns(begin_s + window_s));
            work.answer(Place { source, begin_ns, end_ns, start_sample: w.start, stream: number, ..Place::default() }, &w, waits);
            Ok(())
        };
        if is_end { self.embedder.finish(&mut sink).map(drop) } else { self.embedder.push(&self.block, &mut sink) }
    }

    /// Begins anew where sound is missing before this block: a window never spans a gap.
    fn mind_gap(&mut self, header: &BlockHeader, work: &mut Work) {
        let goes_on = |s: &Stream| (s.number, s.xruns, s.next_frame) == (header.stream, header.xruns, header.first_frame);
        if self.stream.as_ref().is_some_and(goes_on) {
            return;
        }
        // That it was opened again the microphone says, and why.
        if let Some(before) = self.stream.as_ref().filter(|before| before.number == header.stream) {
            let missing = header.first_frame.saturating_sub(before.next_frame);
            work.signal(Signal::Gap { source: self.source, frames: (missing > 0).then_some(missing) });
        }
        // The rate is one that a microphone has.
        let reset = self.embedder.reset(header.rate_hz);
        self.level.set_rate(header.rate_hz);
        self.picture = self.picture.take().map(|p| p.at_rate(header.rate_hz));
        let stream = || Stream {
            number: header.stream,
            xruns: header.xruns,
            next_frame: header.first_frame,
            next_index: 0,
            timeline: Timeline::new(header.rate_hz, header.captured_ns),
        };
        (self.busy, self.heard_s) = (Duration::ZERO, 0.0);
        self.stream = reset.is_ok().then(stream);
        self.streams += 1;
        if let Err(why) = reset {
            work.failed(self.source, why);
        }
    }
}

impl Work {
    /// The newest head that was published; the one before goes back to be dropped.
    fn take_head(&mut self) {
        while let Ok(head) = self.ends.heads.pop() {
            if let Some(worn) = self.head.replace(head) {
                // The ring has room for all heads that there can be.
                drop(self.ends.worn.push(worn));
            }
        }
    }

    /// Hands a window on. Where there is no room it waits if it `waits`; else the oldest window that waits to be told makes room.
    fn answer(&mut self, place: Place, w: &Window<'_>, waits: bool) {
        let number = self.next_window;
        self.next_window += 1;
        self.ends.counters.windows.fetch_add(1, Relaxed);
        self.take_head();
        while waits && self.ends.free.is_empty() && !self.ends.free.is_abandoned() {
            std::thread::sleep(NAP);
        }
        let free = self.ends.free.pop().ok();
        if free.is_none() {
            self.ends.counters.windows_dropped.fetch_add(1, Relaxed);
        }
        let Some(mut out) = free.or_else(|| self.ends.windows.pop()) else {
            self.clock();
            return;
        };
        // The embedding is finite: the pipeline has checked it.
        let clipped = self.quantiser.quantise(w.embedding, &mut out.latent).unwrap_or(0);
        self.ends.counters.clipped.fetch_add(u64::from(clipped), Relaxed);
        out.place = Place { number, is_silent: w.peak < self.silence, ..place };
        let head = self.head.as_mut().filter(|_| !out.place.is_silent);
        out.head = head.as_ref().map_or(0, |h| h.serial);
        out.answer = head.and_then(|h| h.judge.as_mut()).map(|judge| judge.judge(&out.latent));
        self.clock();
        out.took_ns = self.took_ns;
        // As many windows as there are have room.
        drop(self.ends.windows.push(out));
        self.ends.teller.unpark();
    }

    /// Notes what a window took since the one before, or since its block came.
    fn clock(&mut self) {
        let now = Instant::now();
        self.took_ns = now.duration_since(self.begun).as_nanos() as u64;
        self.begun = now;
    }

    fn failed(&mut self, source: u32, why: Error) {
        self.ends.counters.windows_failed.fetch_add(1, Relaxed);
        self.signal(Signal::Failed { source, why });
    }

    fn signal(&mut self, signal: Signal) {
        if self.ends.signals.push(signal).is_err() {
            self.ends.counters.signals_dropped.fetch_add(1, Relaxed);
        }
    }
}
