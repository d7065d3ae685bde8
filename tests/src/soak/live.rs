//! Real time, through a sound server: a process `wheateard` with page, database and file of events hears clip after clip, takes labels and
//! gives them back, and then is watched by many at once. Meanwhile it is asked what it has counted, and the system what it takes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use wheatear::clock::since_boot_ns;
use wheatear::{Error, ErrorKind, Result};

use super::alone::{self, Alone};
use super::clips::Clips;
use super::process::Daemon;
use super::watchers::{self, Got, Notebook, Notes};
use crate::http;
use crate::sound_server::SoundServer;
use crate::usage::Usage;

/// A plan's time is so many ticks: at each, and at its begin, what the daemon takes is looked at.
pub const PLANNED: u32 = 180;
/// When start-up is over.
pub const STARTED: u32 = 12;
/// While many watch, after that time: what they leave behind is told apart from what time does.
pub const CROWDED: Range<u32> = PLANNED..PLANNED + 24;
/// All of them.
pub const TICKS: u32 = CROWDED.end + 12;
/// Classes that are taught.
const CLASSES: usize = 8;
/// Ticks between two labels after start-up; of so many labels the last is taken back.
const LABEL: u32 = 6;
const UNDONE: u32 = 5;
/// Windows that the backbone answers alone.
const ALONE: u32 = 1000;

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program.
    pub wheateard: PathBuf,
    /// Folder of the backbone.
    pub backbone: PathBuf,
    /// Folders of folders of clips.
    pub sounds: Vec<PathBuf>,
    /// Where everything is written: an empty folder with a short path.
    pub folder: PathBuf,
    /// How long it hears before many watch.
    pub time: Duration,
    /// Who watch at once.
    pub crowd: usize,
    /// Of the clips' order.
    pub seed: u64,
}

/// What was seen at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// When, in ns since boot.
    pub at_ns: u64,
    /// What the daemon takes.
    pub usage: Usage,
    /// What it has counted.
    pub counts: Value,
}

/// What was played and said.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Spoken {
    /// Clips that were played.
    pub clips: u64,
    /// Labels that were learned.
    pub labels: u64,
    /// Labels that were taken back.
    pub undone: u64,
    /// What was refused, and why.
    pub refused: Vec<String>,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Seen {
    /// What the backbone takes alone.
    pub alone: Alone,
    /// Rate of the sound in hertz.
    pub rate_hz: f64,
    /// At the begin and each tick.
    pub samples: Vec<Sample>,
    /// What one who watched all the time has noted.
    pub notes: Notes,
    /// What each of the crowd got.
    pub crowd: Vec<Got>,
    /// What was played and said.
    pub spoken: Spoken,
}

/// Runs it; `each` is shown each sample with its number.
///
/// # Errors
/// Where something does not start, ends by itself, or does not answer.
pub fn run(plan: &Plan, mut each: impl FnMut(u32, &Sample)) -> Result<Seen> {
    let alone = alone::in_a_process(&plan.backbone, ALONE)?;
    let home = plan.folder.join("home");
    std::fs::create_dir_all(&home).map_err(|e| Error::io("create", &home, e))?;
    let server = SoundServer::start(&home)?;
    let config = format!(
        "[backbone]\nfolder = {:?}\n[adapter]\nfolder = \"adapter\"\n[serve]\naddress = \"127.0.0.1:0\"\n[listen]\nask_per_hour = 6\n\
         [events]\njsonl = \"events.jsonl\"\nsqlite = \"events.db\"\n",
        plan.backbone
    );
    let daemon = Daemon::start(&plan.wheateard, &plan.folder, &config, &server)?;
    let address = daemon.address();
    let rate_hz = daemon.status()?["backbone"]["rate_hz"].as_f64().unwrap_or(0.0);
    let (notebook, stop) = (Notebook::default(), AtomicBool::new(false));
    let time = Time { begun: Instant::now(), tick: plan.time / PLANNED };
    let (samples, noted, spoken, crowd) = thread::scope(|scope| {
        let noting = scope.spawn(|| notebook.watch(address, &stop));
        let playing = scope.spawn(|| play(plan, &server, address, time, &stop));
        let watching = scope.spawn(|| crowd(plan.crowd, address, time, &stop));
        let sample = |n| {
            time.wait_for(n);
            let sample = Sample { at_ns: since_boot_ns(), usage: daemon.usage()?, counts: daemon.status()?["counts"].take() };
            if (noting.is_finished() || playing.is_finished()) && n < TICKS {
                return Err(Error::new(ErrorKind::Storage, "nobody plays or watches any more").found(&sample.counts));
            }
            each(n, &sample);
            Ok(sample)
        };
        let samples = (0..=TICKS).map(sample).collect::<Result<Vec<Sample>>>();
        // Also where it failed.
        stop.store(true, Relaxed);
        (samples, ended(noting.join()), ended(playing.join()), ended(watching.join()))
    });
    let ends = daemon.stop();
    // Why nobody plays or watches says more than that nobody does.
    let (spoken, crowd) = noted.and(spoken).and_then(|spoken| Ok((spoken, crowd?)))?;
    let (samples, notes) = (samples?, notebook.with(std::mem::take));
    ends?;
    Ok(Seen { alone, rate_hz, samples, notes, crowd, spoken })
}

/// When each tick is.
#[derive(Debug, Clone, Copy)]
struct Time {
    begun: Instant,
    tick: Duration,
}

impl Time {
    fn wait_for(self, tick: u32) {
        thread::sleep((self.begun + self.tick * tick).saturating_duration_since(Instant::now()));
    }

    fn now(self) -> u32 {
        (self.begun.elapsed().as_nanos() / self.tick.as_nanos().max(1)) as u32
    }
}

/// Plays clip after clip and says now and then what one was.
fn play(plan: &Plan, server: &SoundServer, address: &str, time: Time, stop: &AtomicBool) -> Result<Spoken> {
    let (mut spoken, mut classes, mut next) = (Spoken::default(), BTreeSet::new(), STARTED);
    for clip in Clips::new(&plan.sounds, plan.seed)? {
        if stop.load(Relaxed) {
            break;
        }
        let is_taught = classes.contains(&clip.class) || classes.len() < CLASSES;
        let (is_start, is_due) = (time.now() < STARTED, time.now() >= next);
        // Until some classes are known nothing else is played.
        if is_start && !is_taught {
            continue;
        }
        let begun = Instant::now();
        let ended = server.play(&clip.path)?.wait().map_err(|e| Error::io("play", &clip.path, e))?;
        if !ended.success() {
            return Err(Error::new(ErrorKind::Input, "the sound was not played").at(clip.path.display()).found(ended));
        }
        spoken.clips += 1;
        if !is_taught || !(is_start || is_due) {
            continue;
        }
        let label = json!({"target": {"last_ms": begun.elapsed().as_millis() as u64}, "labels": clip.class, "by": "soak"});
        match http::json(address, "POST", "/api/v1/labels", &label.to_string())? {
            (200, _) => {
                spoken.labels += 1;
                classes.insert(clip.class);
            }
            (_, why) => spoken.refused.push(format!("{}: {}", clip.class, why["error"]["text"])),
        }
        if is_start {
            continue;
        }
        next = time.now() + LABEL;
        if spoken.labels % u64::from(UNDONE) == 0 {
            match http::json(address, "POST", "/api/v1/undo", "{}")? {
                (200, _) => spoken.undone += 1,
                (_, why) => spoken.refused.push(format!("undo: {}", why["error"]["text"])),
            }
        }
    }
    Ok(spoken)
}

/// Watches with so many at once, while it is their time.
fn crowd(count: usize, address: &str, time: Time, stop: &AtomicBool) -> Result<Vec<Got>> {
    while time.now() < CROWDED.start {
        if stop.load(Relaxed) {
            return Ok(Vec::new());
        }
        thread::sleep(time.tick / 10);
    }
    let gone = AtomicBool::new(false);
    thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|_| scope.spawn(|| watchers::count(address, &gone))).collect();
        while time.now() < CROWDED.end && !stop.load(Relaxed) {
            thread::sleep(time.tick / 10);
        }
        gone.store(true, Relaxed);
        all.into_iter().map(|one| ended(one.join())).collect()
    })
}

fn ended<T>(joined: thread::Result<Result<T>>) -> Result<T> {
    joined.unwrap_or_else(|_| Err(Error::new(ErrorKind::Storage, "a thread of the proof failed").cure("see what it said above")))
}
