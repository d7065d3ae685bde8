//! A daemon that hears what a test feeds it, with a backbone that hears tones.

// Each test uses a part of it.
#![allow(dead_code)]

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use wheatear::audio::capture::feed::Feed;
use wheatear::audio::capture::{CaptureEvent, Reader};
use wheatear::backbone::Backbone;
use wheatear::backbone::manifest::{GraphInput, Manifest};
use wheatear::clock::since_boot_ns;
use wheatear::daemon::{Answered, Daemon, Settings, Sink, Source, Target};
use wheatear::event::{Event, What};
use wheatear::latent::SpaceId;
use wheatear::learn::{ClassName, LabelSet, Origin};
use wheatear::learner::Budget;
use wheatear::live::learning::Learning;
use wheatear::pipeline::Embedder;
use wheatear::store::{Adapter, Creation};
use wheatear::{Error, ErrorKind, Result};

pub const RATE_HZ: u32 = 16_000;
pub const WINDOW: usize = 1600;
pub const HOP: usize = 800;
pub const DIM: usize = 8;
pub const LONG: Duration = Duration::from_secs(30);

/// How strong each of eight tones is, at 250 Hz, 500 Hz and so on; takes so long.
pub struct Tones(pub Duration);

impl Backbone for Tones {
    fn input(&self) -> GraphInput {
        GraphInput::Waveform
    }
    fn input_len(&self) -> usize {
        WINDOW
    }
    fn dim(&self) -> usize {
        DIM
    }
    fn embed(&mut self, input: &[f32], embedding: &mut [f32]) -> Result<()> {
        std::thread::sleep(self.0);
        for (k, y) in embedding.iter_mut().enumerate() {
            let turn = |i: usize| std::f32::consts::TAU * 250.0 * (k + 1) as f32 * i as f32 / RATE_HZ as f32;
            let part = |f: fn(f32) -> f32| input.iter().enumerate().map(|(i, x)| x * f(turn(i))).sum::<f32>();
            *y = part(f32::sin).hypot(part(f32::cos)) / input.len() as f32;
        }
        Ok(())
    }
}

pub fn manifest() -> Manifest {
    let text = r#"
        format = 1
        name = "tones"
        modality = "audio"
        licence = "MIT"
        audio = { rate_hz = 16000, window_samples = 1600, hop_samples = 800 }
        normalise = { kind = "none", gain = 1.0 }
        front_end = { kind = "none" }
        embedding = { dim = 8, scale = "none" }
        [[variant]]
        name = "f32"
        file = "tones.onnx"
        sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
        precision = "f32"
        input = "waveform"
        input_name = "x"
        input_shape = [1, 1600]
        output_name = "y"
    "#;
    Manifest::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

pub struct Told(Sender<Event>);

impl Sink for Told {
    fn take(&mut self, event: &Event) -> Result<()> {
        self.0.send(event.clone()).map_err(|e| Error::new(ErrorKind::Storage, "nobody listens").because(e))
    }
}

/// A daemon that hears what is fed to it.
pub struct Desk {
    pub folder: tempfile::TempDir,
    pub daemon: Option<Daemon>,
    pub feeds: Vec<Feed>,
    pub events: Receiver<Event>,
    /// Samples that were fed to each, and when the first was captured.
    pub fed: Vec<u64>,
    pub begun_ns: u64,
    /// What happens to the microphones.
    pub happens: Vec<SyncSender<CaptureEvent>>,
}

/// What a desk is made of.
pub struct Parts<'a> {
    pub sources: usize,
    pub sinks: Vec<Box<dyn Sink>>,
    pub is_live: bool,
    pub settings: &'a Settings,
    pub backbone: &'a dyn Fn() -> Box<dyn Backbone>,
}

impl Desk {
    pub fn new(sources: usize, more_sinks: Vec<Box<dyn Sink>>) -> Desk {
        Desk::of(sources, more_sinks, false)
    }

    /// Which asks about any window that is the least unsure, very often.
    pub fn asking() -> Desk {
        Desk::with(1, vec![], false, &Settings { ask_per_hour: 3600.0, ask_doubt: 0.02, ..Settings::default() })
    }

    /// With sources that do not wait for the board, which is slow, if `is_live`.
    pub fn of(sources: usize, more_sinks: Vec<Box<dyn Sink>>, is_live: bool) -> Desk {
        Desk::with(sources, more_sinks, is_live, &Settings::default())
    }

    pub fn with(sources: usize, sinks: Vec<Box<dyn Sink>>, is_live: bool, settings: &Settings) -> Desk {
        // Longer than a hop.
        let takes = if is_live { Duration::from_millis(60) } else { Duration::ZERO };
        Desk::from(Parts { sources, sinks, is_live, settings, backbone: &|| Box::new(Tones(takes)) })
    }

    pub fn from(Parts { sources, mut sinks, is_live, settings, backbone }: Parts) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin { device: [7; 16], incarnation: 1 };
        let creation = Creation::new(SpaceId([3; 32]), "tones", DIM as u32, 8, vec![0.005; DIM], origin).with_replay_rows(1024);
        let adapter = Adapter::create(&folder.path().join("a"), creation, [9; 16]).unwrap();
        let learning = Learning::new(adapter, 1, Budget::default()).unwrap();
        let (feeds, readers): (Vec<Feed>, Vec<Reader>) = (0..sources).map(|_| Feed::new(RATE_HZ, 40_000)).unzip();
        let (tell, events) = channel();
        let (happens, happenings): (Vec<_>, Vec<_>) = (0..sources).map(|_| sync_channel(64)).unzip();
        let source = |(n, (reader, events))| Source { name: format!("mic {n}"), reader, events, is_live, microphone: None, tap: None };
        let readers: Vec<Source> = readers.into_iter().zip(happenings).enumerate().map(source).collect();
        let embedders = (0..sources).map(|_| Embedder::new(manifest(), backbone(), RATE_HZ).unwrap()).collect();
        sinks.push(Box::new(Told(tell)));
        let daemon = Daemon::start(settings, readers, embedders, learning, sinks).unwrap();
        Desk { folder, daemon: Some(daemon), feeds, events, fed: vec![0; sources], begun_ns: since_boot_ns(), happens }
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Feeds a second of a tone, a little other each time, and waits until it was heard; returns its span.
    pub fn play(&mut self, source: usize, hz: f32) -> (u64, u64) {
        let from = self.fed[source];
        let loud = 0.5 + 0.05 * (from / u64::from(RATE_HZ) % 7) as f32;
        let wobble = |i: usize| 0.02 * ((i * 7919 + from as usize) % 100) as f32 / 100.0;
        let at = |i: usize| loud * (std::f32::consts::TAU * hz * i as f32 / RATE_HZ as f32).sin() + wobble(i);
        let samples: Vec<f32> = (0..RATE_HZ as usize).map(at).collect();
        samples.chunks(480).for_each(|block| self.feed(source, block));
        let span = |n: u64| self.begun_ns + n * 1_000_000_000 / u64::from(RATE_HZ);
        self.wait_until("the sound was heard", |desk| {
            let windows: u64 = desk.fed.iter().map(|n| (n.saturating_sub((WINDOW - HOP) as u64)) / HOP as u64).sum();
            desk.daemon().handle().counts().unwrap().windows >= windows
        });
        (span(from), span(self.fed[source]))
    }

    pub fn feed(&mut self, source: usize, block: &[f32]) {
        let captured_ns = self.begun_ns + self.fed[source] * 1_000_000_000 / u64::from(RATE_HZ);
        let until = Instant::now() + LONG;
        while !self.feeds[source].has_room(block.len()) {
            assert!(Instant::now() < until, "nobody takes the sound");
            std::thread::yield_now();
        }
        self.feeds[source].push(block, captured_ns);
        self.fed[source] += block.len() as u64;
    }

    pub fn wait_until(&self, what: &str, is: impl Fn(&Desk) -> bool) {
        let until = Instant::now() + LONG;
        while !is(self) {
            assert!(Instant::now() < until, "{what}: not in time");
            std::thread::yield_now();
        }
    }

    pub fn label(&self, source: u32, (begin_ns, end_ns): (u64, u64), class: &str) -> Result<Answered> {
        let labels = LabelSet::single(ClassName::new(class).unwrap());
        self.daemon().handle().label(Target::Span { source: Some(source), begin_ns, end_ns }, labels, "test")
    }

    /// The next event that is wanted; the others are passed over.
    pub fn event<T>(&self, what: &str, is: impl Fn(&Event) -> Option<T>) -> T {
        let until = Instant::now() + LONG;
        loop {
            let event = self.events.recv_timeout(until.saturating_duration_since(Instant::now()));
            let event = event.unwrap_or_else(|_| panic!("{what}: not told in time"));
            if let Some(found) = is(&event) {
                return found;
            }
        }
    }

    pub fn learn(&mut self, source: usize, hz: f32, class: &str) -> Answered {
        let span = self.play(source, hz);
        let answered = self.label(source as u32, span, class).unwrap_or_else(|e| panic!("{e}"));
        self.event("a head", |e| matches!(e.what, What::Serving { .. }).then_some(()));
        answered
    }

    /// Stops it; everything that it told since it was last asked.
    pub fn stop(&mut self) -> Vec<Event> {
        self.feeds.clear();
        self.daemon.take().unwrap().stop().unwrap();
        self.events.try_iter().collect()
    }
}

/// Class, id and begin of an event that began.
pub fn began(event: &Event) -> Option<(String, u64, u64)> {
    match &event.what {
        What::Began { class, id, begin, .. } => Some((class.clone(), *id, begin.monotonic_ns)),
        _ => None,
    }
}
