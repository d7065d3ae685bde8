//! A microphone that stays open: a thread of its own opens the device, watches that sound comes, and opens it again after
//! every loss (unplugged, sound server gone, another format, no sound for two seconds), until it is stopped.
//!
//! What happens is told as [`CaptureEvent`]s and counted. Limits: losses within the device (xruns) are told but not how much
//! was lost; a rate is believed as the sound system says it; where the sound system itself panics for want of threads or
//! pipes, capture ends without [`CaptureEvent::Stopped`]. A stream that hangs while it is closed (PulseAudio's library does
//! when its server is killed) is left behind with its thread and ring and counted, up to [`MOST_HUNG`] times.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{BufferSize, Data, InputCallbackInfo, StreamConfig, SupportedStreamConfigRange};

use super::block::{block, drives, rest};
use super::convert::{Channel, Interleaved};
use super::devices::{self, Input, InputFormat, Opening, refused};
use super::retry::{Backoff, Flow, StallWatch};
use super::ring::{Counters, Reader, Rings, Writer, ring};
use super::settings::MicrophoneSettings;
use super::told::{CaptureCounts, CaptureEvent};
use crate::clock::since_boot_ns;
use crate::{Error, ErrorKind, Result};

/// Events that wait to be read; further ones are dropped and counted.
pub const WAITING_EVENTS: usize = 64;
/// Headers are made for callbacks of at least this many frames on average.
const MEAN_BLOCK_FRAMES: usize = 64;
/// How often the thread looks after the stream.
const LOOK: Duration = Duration::from_millis(50);
/// Losses are told at most this often, summed up.
const TELL_EVERY_MS: u64 = 1000;
/// How long a stream may take to close before it is left behind.
const CLOSING: Duration = Duration::from_secs(2);
/// Streams that may be left behind because they hang; from then on the microphone waits for one of them.
pub const MOST_HUNG: u32 = 64;

/// What the callbacks, the thread and the owner share.
#[derive(Debug, Default)]
struct Shared {
    counters: Arc<Counters>,
    reopened: AtomicU32,
    hung: AtomicU32,
    dropped_events: AtomicU64,
    stop: AtomicBool,
}

/// A microphone that is being captured. Dropping it stops it.
#[derive(Debug)]
pub struct Microphone {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Reads what a microphone counts; also once that has stopped.
#[derive(Debug, Clone)]
pub struct Counting {
    shared: Arc<Shared>,
}

impl Counting {
    /// What has been counted so far.
    pub fn counts(&self) -> CaptureCounts {
        let Shared { counters, reopened, hung, dropped_events, .. } = &*self.shared;
        // Lost before captured: what is lost meanwhile is not more than was captured.
        let lost_frames = counters.lost.load(Relaxed);
        CaptureCounts {
            captured_frames: counters.captured.load(Relaxed),
            lost_frames,
            not_numbers: counters.not_numbers.load(Relaxed),
            xruns: counters.xruns.load(Relaxed),
            reopened: reopened.load(Relaxed),
            hung: hung.load(Relaxed),
            dropped_events: dropped_events.load(Relaxed),
        }
    }
}

/// A started microphone with the ends that its owner reads.
#[derive(Debug)]
pub struct Running {
    /// Stops it and knows its counts.
    pub microphone: Microphone,
    /// Its sound.
    pub reader: Reader,
    /// What happens to it; the other end is gone when it has stopped.
    pub events: Receiver<CaptureEvent>,
}

impl Microphone {
    /// Begins to capture. It returns at once: whether sound comes, the first event says.
    ///
    /// # Errors
    /// `Config` for a rate or a ring that is out of range, `Limit` when the system gives no thread. A device that is not
    /// there is no error here, but a [`CaptureEvent::Lost`]: it may come.
    pub fn start(settings: MicrophoneSettings) -> Result<Running> {
        settings.check()?;
        let shared = Arc::new(Shared::default());
        // For the rate that is asked for; one that is higher takes another ring.
        let frames = settings.frames(settings.rate_hz.unwrap_or(0));
        let (writer, reader, rings) = ring(frames, frames / MEAN_BLOCK_FRAMES, shared.counters.clone());
        let (tell, events) = sync_channel(WAITING_EVENTS);
        let (home, returned) = sync_channel(MOST_HUNG as usize + 1);
        // The only writer there is fits in: this cannot fail.
        let _ = home.try_send(writer);
        let mut supervisor = Supervisor {
            settings,
            shared: shared.clone(),
            events: tell,
            rings,
            home,
            returned,
            stream: 0,
            backoff: Backoff::new(),
            told: Told::default(),
            is_plain: false,
            before_rest: None,
            has_sounded: false,
            is_lost: false,
            begun: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("capture".into()).spawn(move || supervisor.run()).map_err(|e| {
            let error = Error::new(ErrorKind::Limit, "cannot start the thread of a microphone");
            error.found(e.to_string()).cure("raise the number of threads this user may have (ulimit -u), or end other programs").because(e)
        })?;
        Ok(Running { microphone: Microphone { shared, thread: Some(thread) }, reader, events })
    }

    /// What has been counted so far.
    pub fn counts(&self) -> CaptureCounts {
        self.counting().counts()
    }

    /// Reads its counts wherever it is given to.
    pub fn counting(&self) -> Counting {
        Counting { shared: self.shared.clone() }
    }

    /// Closes the device and waits until that is done, at most some seconds. What was captured before can still be read.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A thread that panicked has said so, and has stopped too.
            let _ = thread.join();
        }
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The writer while a stream has it; it goes home when the stream's callback is dropped.
struct Lent {
    writer: Option<Writer>,
    home: SyncSender<Writer>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            // There is room for every writer; without a supervisor nobody needs it any more.
            let _ = self.home.try_send(writer);
        }
    }
}

/// An open stream.
struct Open {
    // The stream is dropped, and with it its callbacks, when this is.
    _stream: cpal::Stream,
    failed: Arc<OnceLock<cpal::Error>>,
    input: Input,
    opening: Opening,
}

/// What was counted when it was last told.
#[derive(Default)]
struct Told {
    at_ms: u64,
    lost: u64,
    xruns: u32,
    not_numbers: u64,
}

/// The thread that keeps the device open.
struct Supervisor {
    settings: MicrophoneSettings,
    shared: Arc<Shared>,
    events: SyncSender<CaptureEvent>,
    rings: Rings,
    home: SyncSender<Writer>,
    returned: Receiver<Writer>,
    stream: u32,
    backoff: Backoff,
    told: Told,
    /// Whether it has refused a block that it said to have.
    is_plain: bool,
    /// What it was opened as before it rested.
    before_rest: Option<CaptureEvent>,
    /// Whether it ever gave sound, and was lost since.
    has_sounded: bool,
    is_lost: bool,
    begun: Instant,
}

/// Why a stream is watched no more.
enum Ended {
    Lost(Error),
    /// Its turn is over.
    Rests,
    Stopped,
}

impl Supervisor {
    fn run(&mut self) {
        while !self.is_stopped() {
            let turn = Instant::now();
            let ended = match self.open() {
                Ok(open) => {
                    let ended = self.watch(&open);
                    self.close(open);
                    ended
                }
                Err(e) => Ended::Lost(e),
            };
            let why = match ended {
                Ended::Lost(why) => why,
                Ended::Rests => {
                    let every = self.settings.duty.map_or(Duration::ZERO, |d| d.every);
                    let rest = (turn + every).saturating_duration_since(Instant::now());
                    self.tell_losses(true);
                    self.tell(CaptureEvent::Resting { for_ms: rest.as_millis() as u64 });
                    self.wait(rest);
                    continue;
                }
                Ended::Stopped => break,
            };
            self.before_rest = None;
            self.is_lost = true;
            let retry_in_ms = self.backoff.lost(self.now_ms());
            self.tell_losses(true);
            self.tell(CaptureEvent::Lost { why: why.to_string(), retry_in_ms });
            self.wait(Duration::from_millis(retry_in_ms));
        }
        self.tell_losses(true);
        self.tell(CaptureEvent::Stopped);
    }

    fn open(&mut self) -> Result<Open> {
        let (input, device) = devices::device(self.settings.device.as_deref())?;
        let cannot = |e| refused("open the microphone", &format!("{} ({})", input.id, input.name), e);
        let ranges: Vec<SupportedStreamConfigRange> = device.supported_input_configs().map_err(cannot)?.collect();
        let formats: Vec<InputFormat> = ranges.iter().copied().map(InputFormat::from).collect();
        let opening = devices::opening(&formats, self.settings.channel, self.settings.rate_hz).map_err(|e| e.within(&input.id))?;
        let writer = self.writer(self.settings.frames(opening.rate_hz)).ok_or_else(|| {
            let error = Error::new(ErrorKind::Busy, "the microphone cannot be closed").at(&input.id);
            error.cure("restart the sound server, or this program: its sound system hangs")
        })?;
        self.stream = self.stream.saturating_add(1);
        let lent = Lent { writer: Some(writer), home: self.home.clone() };
        let failed = Arc::new(OnceLock::new());
        let buffer_size = if self.is_plain { BufferSize::Default } else { block(&ranges, opening) };
        let config = StreamConfig { channels: opening.channels, sample_rate: opening.rate_hz, buffer_size };
        self.shared.counters.live.store(self.stream, Relaxed);
        let rests = !drives(&input.id);
        let on_data = give(lent, self.shared.counters.clone(), self.stream, opening, self.settings.channel, rests);
        let on_error = note(self.shared.counters.clone(), failed.clone(), std::thread::current());
        let built = device.build_input_stream_raw(config, opening.samples, on_data, on_error, Some(POLL));
        // The next try asks for nothing.
        self.is_plain |= built.is_err();
        let stream = built.map_err(cannot)?;
        stream.play().map_err(cannot)?;
        Ok(Open { _stream: stream, failed, input, opening })
    }

    /// The writer of the ring that is read, which holds `frames` at least: the one that came home, or of a new ring where that hangs or its
    /// ring is too short.
    fn writer(&mut self, frames: usize) -> Option<Writer> {
        let frames = frames.max(self.rings.frames());
        let until = Instant::now() + CLOSING;
        while let Ok(writer) = self.returned.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if self.rings.has(&writer) {
                let longer = if frames > self.rings.frames() { self.rings.resize(frames, frames / MEAN_BLOCK_FRAMES) } else { None };
                return longer.or(Some(writer));
            }
        }
        if self.shared.hung.load(Relaxed) >= MOST_HUNG {
            return None;
        }
        let writer = self.rings.resize(frames, frames / MEAN_BLOCK_FRAMES)?;
        self.shared.hung.fetch_add(1, Relaxed);
        Some(writer)
    }

    /// Closes a stream, in a thread of its own since it may hang, and waits a while for it.
    fn close(&self, open: Open) {
        self.shared.counters.live.store(0, Relaxed);
        // Without a thread the stream is closed here.
        let Ok(closing) = std::thread::Builder::new().name("capture-close".into()).spawn(move || drop(open)) else { return };
        let until = Instant::now() + CLOSING;
        while !closing.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Looks after the stream until it is lost, its turn is over, or it was stopped.
    fn watch(&mut self, open: &Open) -> Ended {
        let mut stall = StallWatch::new(self.captured(), self.now_ms());
        let mut sounding: Option<Instant> = None;
        loop {
            std::thread::park_timeout(LOOK);
            let flow = stall.look(self.captured(), self.now_ms());
            if flow == Flow::Sounding && sounding.is_none() {
                sounding = Some(Instant::now());
                self.announce(open);
            }
            if self.is_stopped() {
                return Ended::Stopped;
            }
            if self.settings.duty.zip(sounding).is_some_and(|(duty, since)| since.elapsed() >= duty.on) {
                return Ended::Rests;
            }
            let at = format!("{} ({})", open.input.id, open.input.name);
            if let Some(e) = open.failed.get() {
                return Ended::Lost(refused("go on capturing", &at, e.clone()));
            }
            if let Flow::Stalled(ms) = flow {
                let error = Error::new(ErrorKind::Missing, "the microphone gives no sound any more").at(at);
                let error = error.expected("frames all the time").found(format!("none for {:.0} s", ms as f64 / 1e3));
                return Ended::Lost(error.cure("plug it in again, or restart the sound server"));
            }
            self.tell_losses(false);
        }
    }

    fn announce(&mut self, open: &Open) {
        self.backoff.sounding(self.now_ms());
        // After a rest it is opened as planned.
        self.shared.reopened.fetch_add(u32::from(std::mem::take(&mut self.is_lost) && self.has_sounded), Relaxed);
        self.has_sounded = true;
        let opened = CaptureEvent::Opened {
            device: open.input.name.clone(),
            id: open.input.id.clone(),
            format: open.opening.samples.to_string(),
            channels: open.opening.channels,
            rate_hz: open.opening.rate_hz,
            asked_rate_hz: self.settings.rate_hz,
            stream: 0,
        };
        // After a rest all is as before, and no news.
        if self.before_rest.as_ref() != Some(&opened) {
            self.before_rest = self.settings.duty.map(|_| opened.clone());
            self.tell(opened.of_stream(self.stream));
        }
    }

    /// Tells what was lost since it was last told; not too often unless `now`.
    fn tell_losses(&mut self, now: bool) {
        let at_ms = self.now_ms();
        if !now && at_ms < self.told.at_ms + TELL_EVERY_MS {
            return;
        }
        let counters = &self.shared.counters;
        let (lost, xruns) = (counters.lost.load(Relaxed), counters.xruns.load(Relaxed));
        let not_numbers = counters.not_numbers.load(Relaxed);
        let before = std::mem::replace(&mut self.told, Told { at_ms, lost, xruns, not_numbers });
        if lost > before.lost {
            self.tell(CaptureEvent::Overrun { frames: lost - before.lost });
        }
        if xruns > before.xruns {
            self.tell(CaptureEvent::Xrun { times: xruns - before.xruns });
        }
        if not_numbers > before.not_numbers {
            self.tell(CaptureEvent::NotNumbers { samples: not_numbers - before.not_numbers });
        }
    }

    fn tell(&self, event: CaptureEvent) {
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            self.shared.dropped_events.fetch_add(1, Relaxed);
        }
    }

    /// Waits so long, or until it is stopped.
    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    fn captured(&self) -> u64 {
        self.shared.counters.captured.load(Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Relaxed)
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

/// How long the sound system's thread waits for sound before it looks whether the device is still there.
const POLL: Duration = Duration::from_millis(500);

/// The device's callback: converts into the ring, and nothing else; where `rests`, the thread that called has nothing to do until the next
/// block.
fn give(
    mut lent: Lent,
    counters: Arc<Counters>,
    stream: u32,
    opening: Opening,
    channel: Channel,
    rests: bool,
) -> impl FnMut(&Data, &InputCallbackInfo) + Send + 'static {
    let channels = opening.channels;
    move |data, info| {
        if counters.live.load(Relaxed) != stream {
            return;
        }
        let now_ns = since_boot_ns();
        let (Some(writer), Some(samples)) = (&mut lent.writer, Interleaved::of(data)) else { return };
        let times = info.timestamp();
        // How long ago the first frame was captured: both times are on the stream's own clock.
        let ago_ns = times.callback.saturating_duration_since(times.capture).as_nanos() as u64;
        let frames = samples.len() / usize::from(channels.max(1));
        writer.push(stream, opening.rate_hz, frames, now_ns.saturating_sub(ago_ns), |at, out| samples.mono(channels, channel, at, out));
        if rests {
            std::thread::sleep(rest(Duration::from_nanos(ago_ns), frames, opening.rate_hz));
        }
    }
}

/// The callback for errors: counts lost sound, and keeps the first error that ends the stream.
fn note(counters: Arc<Counters>, failed: Arc<OnceLock<cpal::Error>>, supervisor: Thread) -> impl FnMut(cpal::Error) + Send + 'static {
    move |e| match e.kind() {
        cpal::ErrorKind::Xrun => {
            counters.xruns.fetch_add(1, Relaxed);
        }
        // The stream goes on, on another device or without priority.
        cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::RealtimeDenied => {}
        _ => {
            if failed.set(e).is_ok() {
                supervisor.unpark();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn settings() -> MicrophoneSettings {
        MicrophoneSettings { device: Some("no microphone is called so".into()), ..MicrophoneSettings::default() }
    }

    #[test]
    fn a_microphone_that_is_not_there_is_told_and_tried_again_until_it_is_stopped() {
        let Running { mut microphone, mut reader, events } = Microphone::start(settings()).unwrap();
        for wait in [250, 500] {
            let CaptureEvent::Lost { why, retry_in_ms } = events.recv_timeout(LONG).unwrap() else { panic!("not lost") };
            assert!(why.contains("no microphone is called so") && why.contains("wheatear devices"), "{why}");
            assert_eq!(retry_in_ms, wait);
        }
        microphone.stop();
        assert_eq!(events.iter().last(), Some(CaptureEvent::Stopped));
        assert!(reader.has_ended() && reader.next(&mut Vec::new()).is_none());
        assert_eq!(microphone.counts(), CaptureCounts::default());
        microphone.stop();
    }

    #[test]
    fn dropping_a_microphone_stops_it() {
        let Running { microphone, events, .. } = Microphone::start(settings()).unwrap();
        drop(microphone);
        assert_eq!(events.iter().last(), Some(CaptureEvent::Stopped));
    }

    #[test]
    fn events_that_nobody_reads_are_counted_and_the_newest_are_dropped() {
        let shared = Arc::new(Shared::default());
        let (tell, events) = sync_channel(1);
        let (home, returned) = sync_channel(1);
        let (_, _, rings) = ring(1, 1, shared.counters.clone());
        let (backoff, told, begun) = (Backoff::new(), Told::default(), Instant::now());
        let s = Supervisor {
            settings: settings(),
            shared: shared.clone(),
            events: tell,
            rings,
            home,
            returned,
            stream: 0,
            backoff,
            told,
            is_plain: false,
            before_rest: None,
            has_sounded: false,
            is_lost: false,
            begun,
        };
        [1, 2, 3].into_iter().for_each(|times| s.tell(CaptureEvent::Xrun { times }));
        assert_eq!(shared.dropped_events.load(Relaxed), 2);
        drop(s);
        assert_eq!(events.iter().collect::<Vec<_>>(), [CaptureEvent::Xrun { times: 1 }]);
    }

    #[test]
    fn only_the_first_error_that_ends_a_stream_is_kept_and_xruns_do_not_end_it() {
        use cpal::ErrorKind as Cpal;
        let (counters, failed) = (Arc::new(Counters::default()), Arc::new(OnceLock::new()));
        let mut note = note(counters.clone(), failed.clone(), std::thread::current());
        [Cpal::Xrun, Cpal::DeviceChanged, Cpal::RealtimeDenied, Cpal::Xrun].into_iter().for_each(|kind| note(kind.into()));
        assert_eq!((counters.xruns.load(Relaxed), failed.get()), (2, None));
        [Cpal::StreamInvalidated, Cpal::BackendError].into_iter().for_each(|kind| note(kind.into()));
        assert_eq!(failed.get().map(|e| e.kind()), Some(Cpal::StreamInvalidated));
    }
}
