//! A real daemon in memory that a client may speak to: it has heard a second of a tone, and one label is learned. It is served twice over
//! real connections, with a token and without.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use wheatear::audio::capture::feed::Feed;
use wheatear::backbone::Backbone;
use wheatear::backbone::manifest::{GraphInput, Manifest};
use wheatear::clock::since_boot_ns;
use wheatear::daemon::{Daemon, Settings, Source, Target};
use wheatear::event::{Event, Level, Sink, What};
use wheatear::latent::SpaceId;
use wheatear::learn::{ClassName, LabelSet};
use wheatear::learner::Budget;
use wheatear::live::learning::Learning;
use wheatear::pipeline::Embedder;
use wheatear::serve::watch::Watch;
use wheatear::serve::{About, BackboneFacts, ServeSettings, Server};
use wheatear::store::{Adapter, Creation, Header};
use wheatear::units::Moment;
use wheatear::{ErrorKind, Result};

use super::lives::OWN;
use super::memory::Disk;

/// What the one server's requests must bring.
pub const TOKEN: &str = "a-token-of-some-length";
/// Windows that were heard.
const WINDOWS: u64 = 19;
/// How long anything may take.
pub const LONG: Duration = Duration::from_secs(20);

const RATE_HZ: u32 = 16_000;
const WINDOW: usize = 1600;
const DIM: usize = 8;
/// Who taught the label that is always there.
const OWNER: &str = "the owner of this desk";
/// More labels than there ever are.
const ALL: usize = 1_000_000;

/// How loud each of eight parts of a window is.
struct Parts;

impl Backbone for Parts {
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
        for (part, y) in input.chunks(WINDOW / DIM).zip(embedding) {
            *y = part.iter().map(|x| x.abs()).sum::<f32>() / part.len() as f32;
        }
        Ok(())
    }
}

const MANIFEST: &str = r#"
    format = 1
    name = "parts"
    modality = "audio"
    licence = "MIT"
    audio = { rate_hz = 16000, window_samples = 1600, hop_samples = 800 }
    normalise = { kind = "none", gain = 1.0 }
    front_end = { kind = "none" }
    embedding = { dim = 8, scale = "none" }
    [[variant]]
    name = "f32"
    file = "parts.onnx"
    sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
    precision = "f32"
    input = "waveform"
    input_name = "x"
    input_shape = [1, 1600]
    output_name = "y"
"#;

/// Counts what others than the owner have taught or taken back.
struct Changes(Arc<AtomicU64>);

impl Sink for Changes {
    fn take(&mut self, event: &Event) -> Result<()> {
        if matches!(&event.what, What::Learned { by, .. } | What::Undone { by, .. } if by != OWNER) {
            self.0.fetch_add(1, SeqCst);
        }
        Ok(())
    }
}

/// A daemon and its servers.
pub struct Desk {
    daemon: Daemon,
    watch: Watch,
    changes: Arc<AtomicU64>,
    /// With a token, and without.
    servers: [Server; 2],
    // The sound goes on, with nothing in it.
    _feed: Feed,
}

impl Desk {
    /// Starts one.
    pub fn new() -> Result<Desk> {
        let creation = Creation::new(SpaceId([3; 32]), "parts", DIM as u32, 8, vec![0.005; DIM], OWN).with_replay_rows(1024);
        let adapter = Adapter::create_in(Disk::default().folder(), Header::new(creation, *b"adapter to fuzz.")?)?;
        let (mut feed, reader) = Feed::new(RATE_HZ, 4 * RATE_HZ as usize);
        let source = Source { name: "mic".into(), reader, events: sync_channel(1).1, is_live: false, microphone: None, tap: None };
        let embedder = Embedder::new(Manifest::parse(MANIFEST)?, Box::new(Parts), RATE_HZ)?;
        let (watch, changes) = (Watch::new(), Arc::<AtomicU64>::default());
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(watch.clone()), Box::new(Changes(changes.clone()))];
        let settings = Settings { ask_per_hour: 3600.0, ask_doubt: 0.0, ..Settings::default() };
        let daemon = Daemon::start(&settings, vec![source], vec![embedder], Learning::new(adapter, 1, Budget::default())?, sinks)?;
        let tone = |i: usize| (i as f32 * 0.2).sin() * (0.3 + i as f32 / 40_000.0);
        let samples: Vec<f32> = (0..RATE_HZ as usize).map(tone).collect();
        // All of it has sounded when the first asks.
        let begun_ns = since_boot_ns().saturating_sub(1_000_000_000);
        samples.chunks(400).enumerate().for_each(|(n, block)| feed.push(block, begun_ns + n as u64 * 25_000_000));
        let until = Instant::now() + LONG;
        while daemon.handle().counts()?.windows < WINDOWS {
            assert!(Instant::now() < until, "the sound is not heard");
            std::thread::yield_now();
        }
        let backbone = BackboneFacts {
            name: "parts".into(),
            dim: DIM as u32,
            rate_hz: RATE_HZ,
            window_ms: 100.0,
            hop_ms: 50.0,
            provider: "none".into(),
        };
        let about = About { backbone, microphones: vec!["mic".into()], rest: Duration::ZERO };
        let serve = |token: Option<&str>| {
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let settings = ServeSettings { address, hosts: vec!["box.local".into()], token: token.map(str::to_owned), tls: None };
            Server::start(&settings, watch.clone(), daemon.handle().clone(), about.clone(), None)
        };
        let servers = [serve(Some(TOKEN))?, serve(None)?];
        let desk = Desk { daemon, watch, changes, servers, _feed: feed };
        desk.settle();
        Ok(desk)
    }

    /// Where it is served, with a token or without.
    pub fn address(&self, with_token: bool) -> SocketAddr {
        self.servers[usize::from(!with_token)].address()
    }

    /// Labels that were taught, and times that some were taken back.
    pub fn changes(&self) -> u64 {
        self.changes.load(SeqCst)
    }

    /// Waits until everything that was asked so far is done and told.
    pub fn wait(&self) {
        let handle = self.daemon.handle();
        // Refused by the thread that learns, behind what was asked of it before.
        let refused = handle.undo(ALL, OWNER).expect_err("there are not so many labels");
        assert_ne!(refused.kind(), ErrorKind::Busy, "{refused}");
        // The first may be answered before that thread's news are looked at.
        for _ in 0..2 {
            handle.counts().expect("the daemon runs");
        }
    }

    /// Takes all labels back and teaches one, so that the next client finds it as the first one did.
    pub fn settle(&self) {
        let handle = self.daemon.handle();
        while handle.undo(1, OWNER).is_ok() {}
        let labels = LabelSet::single(ClassName::new("wren").expect("a name"));
        handle.label(Target::Window(WINDOWS), labels, OWNER).expect("a window that sounds");
    }

    /// Tells something to whoever watches: one that has gone is noticed.
    pub fn tell(&self) {
        let what = What::Notice { level: Level::Info, source: "desk".into(), text: "a notice".into() };
        (0..2).for_each(|_| drop(self.watch.clone().take(&Event::new(Moment::UNKNOWN, 0, what.clone()))));
    }

    /// Whether it still runs and is served.
    pub fn check(&self) -> Result<()> {
        self.daemon.check()?;
        self.servers.iter().try_for_each(Server::check)
    }
}
