//! As fast as the machine allows: a daemon in this process hears clip after clip from a program instead of a microphone, which waits where
//! the daemon is slower, so that no sample may be lost. Labels are given now and then; what the thread that answers windows asks the heap for
//! between two calls of the backbone is counted through all of the sound but that at the labels.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use serde::Serialize;
use wheatear::audio::capture::feed::Feed;
use wheatear::audio::resample::output_len;
use wheatear::backbone::manifest::Manifest;
use wheatear::backbone::session::{OrtBackbone, SessionOptions};
use wheatear::clock::since_boot_ns;
use wheatear::daemon::{Daemon, Settings, Source, Target};
use wheatear::latent::{Quantiser, SpaceId};
use wheatear::learn::{ClassName, LabelSet, Origin};
use wheatear::learner::Budget;
use wheatear::live::learning::Learning;
use wheatear::pipeline::Embedder;
use wheatear::store::{Adapter, Creation};
use wheatear::{Error, ErrorKind, Result};

use super::clips::Clips;
use super::gate::{Allocated, Counting, Gate, HELD, Held, Tally, wait_for_rest, wait_until};
use super::report::least;
use super::tape::Tape;
use crate::usage::Usage;

/// Rate at which the sound comes: another than the backbones', so that it is resampled.
pub const RATE_HZ: u32 = 48_000;
/// Samples that wait to be heard.
const ROOM: usize = 200_000;
/// Blocks in which they come, of lengths that fall anyhow.
const BLOCKS: [usize; 4] = [480, 1023, 4096, 77];

/// A daemon that hears what is fed to it, in this process.
pub struct Fed {
    folder: tempfile::TempDir,
    daemon: Option<Daemon>,
    feed: Feed,
    fed: u64,
    blocks: usize,
    begun_ns: u64,
    hop_s: f64,
    window_s: f64,
    /// Who holds the telling.
    pub gate: Arc<Gate>,
    /// What was counted.
    pub tally: Arc<Tally>,
    allocated: Allocated,
    /// Whether something else may be working.
    is_learning: bool,
}

impl Fed {
    /// With the backbone in `folder`, and an adapter that knows nothing.
    ///
    /// # Errors
    /// Those of backbone, adapter and daemon.
    pub fn start(folder: &Path, allocated: Allocated) -> Result<Fed> {
        let (manifest, folder) = Manifest::load(folder)?;
        let quantiser = Quantiser::from_manifest(&manifest, None)?;
        let origin = Origin { device: [7; 16], incarnation: 1 };
        let (space, dim) = (SpaceId::of(&manifest, None)?, manifest.embedding.dim);
        let creation = Creation::new(space, &manifest.name, dim, quantiser.bits(), quantiser.scale().to_vec(), origin);
        let own = tempfile::tempdir().map_err(|e| Error::io("create", "a folder", e))?;
        let adapter = Adapter::create(&own.path().join("adapter"), creation, [9; 16])?;
        let learning = Learning::new(adapter, 1, Budget::default())?;
        let gate = Arc::new(Gate::default());
        let backbone = OrtBackbone::load(&manifest, &folder, None, &SessionOptions::default())?;
        let (backbone, tally) = Counting::new(Box::new(backbone), gate.clone(), allocated);
        let audio = manifest.audio.clone();
        let seconds = |samples: u32| f64::from(samples) / f64::from(audio.rate_hz);
        let (hop_s, window_s) = (seconds(audio.hop_samples), seconds(audio.window_samples));
        let embedder = Embedder::new(manifest, Box::new(backbone), RATE_HZ)?;
        let (feed, reader) = Feed::new(RATE_HZ, ROOM);
        let source = Source { name: "sound".into(), reader, events: sync_channel(1).1, is_live: false, microphone: None, tap: None };
        let settings = Settings { ask_per_hour: 6.0, picture: true, ..Settings::default() };
        let daemon = Daemon::start(&settings, vec![source], vec![embedder], learning, vec![Box::new(Held(gate.clone()))])?;
        let begun_ns = since_boot_ns();
        Ok(Fed {
            folder: own,
            daemon: Some(daemon),
            feed,
            fed: 0,
            blocks: 0,
            begun_ns,
            hop_s,
            window_s,
            gate,
            tally,
            allocated,
            is_learning: true,
        })
    }

    /// Samples that one hold of the gate is good for.
    pub fn held_len(&self) -> usize {
        (HELD as f64 * self.hop_s * f64::from(RATE_HZ)) as usize
    }

    /// Windows that what was fed so far makes, at least: the resampler still holds the end.
    fn windows(&self) -> u64 {
        let heard_s = self.fed as f64 / f64::from(RATE_HZ) - 0.1 - self.window_s;
        if heard_s < 0.0 { 0 } else { (heard_s / self.hop_s) as u64 + 1 }
    }

    /// Feeds `samples`, and waits until they were heard.
    ///
    /// # Errors
    /// `Limit` when that takes too long.
    pub fn hear(&mut self, samples: &[f32]) -> Result<()> {
        let mut rest = samples;
        while !rest.is_empty() {
            let (block, later) = rest.split_at(BLOCKS[self.blocks % BLOCKS.len()].min(rest.len()));
            wait_until("room for sound", || self.feed.has_room(block.len()))?;
            self.feed.push(block, self.begun_ns + self.fed * 1_000_000_000 / u64::from(RATE_HZ));
            self.fed += block.len() as u64;
            self.blocks += 1;
            rest = later;
        }
        let windows = self.windows();
        wait_until("the sound was heard", || self.tally.calls.load(Relaxed) >= windows)
    }

    /// As [`Fed::hear`], while telling is held from the first window on; then it goes on, and everything that waits is told.
    ///
    /// # Errors
    /// As [`Fed::hear`].
    pub fn hear_held(&mut self, samples: &[f32]) -> Result<()> {
        if std::mem::take(&mut self.is_learning) {
            wait_for_rest(self.allocated)?;
        }
        self.gate.close(true);
        let heard = self.hear(samples).and_then(|()| self.gate.wait_held());
        self.gate.close(false);
        heard?;
        let windows = self.windows();
        wait_until("the windows were told", || self.gate.told().windows >= windows)
    }

    /// Says what the samples from `begin` to `end` are; the head that knows it comes by and by.
    ///
    /// # Errors
    /// As the daemon refuses it.
    pub fn learn(&mut self, (begin, end): (u64, u64), labels: LabelSet) -> Result<()> {
        let at = |sample: u64| self.begun_ns + sample * 1_000_000_000 / u64::from(RATE_HZ);
        let target = Target::Span { source: None, begin_ns: at(begin), end_ns: at(end) };
        self.is_learning = true;
        self.daemon()?.handle().label(target, labels, "soak").map(drop)
    }

    /// Takes the newest label back.
    ///
    /// # Errors
    /// As the daemon refuses it.
    pub fn undo(&mut self) -> Result<()> {
        self.is_learning = true;
        self.daemon()?.handle().undo(1, "soak").map(drop)
    }

    /// The daemon.
    ///
    /// # Errors
    /// `Busy` when it was stopped.
    pub fn daemon(&self) -> Result<&Daemon> {
        self.daemon.as_ref().ok_or_else(|| Error::new(ErrorKind::Busy, "the daemon was stopped"))
    }

    /// Ends the sound and stops the daemon: frames that were heard, and those that were lost.
    ///
    /// # Errors
    /// `Limit` when it does not end; as [`Daemon::stop`].
    pub fn end(mut self) -> Result<(u64, u64)> {
        let Some(daemon) = self.daemon.take() else { return Ok((0, 0)) };
        let handle = daemon.handle().clone();
        let mut counts = handle.counts()?;
        wait_until("all samples were heard", || {
            counts = handle.counts().unwrap_or_else(|_| counts.clone());
            counts.frames + counts.frames_lost >= self.fed
        })?;
        let lost = counts.frames_lost.max(self.feed.lost()) + counts.windows_dropped + counts.windows_skipped;
        drop(self.feed);
        wait_until("the sound has ended", || daemon.has_ended())?;
        daemon.stop()?;
        drop(self.folder);
        Ok((counts.frames, lost))
    }
}

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Folder of the backbone.
    pub backbone: PathBuf,
    /// Folders of folders of clips.
    pub sounds: Vec<PathBuf>,
    /// How much sound.
    pub seconds: f64,
    /// Of the clips' order.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Seconds of sound.
    pub sound_s: f64,
    /// Seconds that hearing it took, and of the processor.
    pub wall_s: f64,
    /// All of it, this program's decoding too.
    pub cpu_s: f64,
    /// Frames given and heard.
    pub frames: [u64; 2],
    /// Frames lost and windows dropped.
    pub lost: u64,
    /// Windows that the sound makes, and that were answered.
    pub windows: [u64; 2],
    /// Labels that were learned and taken back.
    pub labels: [u64; 2],
    /// Events that were told.
    pub events: u64,
    /// Resident memory after start-up and at the end, in KiB.
    pub rss_kib: [u64; 2],
    /// Of that, memory of no file.
    pub anonymous_kib: [u64; 2],
    /// The least of the first third after start-up, and of the last: without what a head in the making holds for a while.
    pub least_kib: [u64; 2],
    /// The most that it ever was.
    pub peak_kib: u64,
    /// Stretches between two calls of the backbone that were counted, and bytes asked for in all of them.
    pub outside: [u64; 2],
    /// Least and most bytes asked for in a call.
    pub inside: [u64; 2],
}

/// Rounds of start-up: two minutes with the windows of aisfx.
const TEACHING: u32 = 5;
/// Classes that are taught.
const CLASSES: usize = 8;
/// Rounds between two labels afterwards; of so many the last is taken back.
const LABEL: u32 = 5;
const UNDONE: u64 = 5;

/// Runs it; `each` is shown seconds of sound, seconds that passed and KiB resident now and then.
///
/// # Errors
/// Where something fails.
pub fn run(plan: &Plan, allocated: Allocated, mut each: impl FnMut(f64, f64, u64)) -> Result<Report> {
    let begun = Instant::now();
    let own = || Usage::of(std::process::id());
    let mut fed = Fed::start(&plan.backbone, allocated)?;
    let mut tape = Tape::new(Clips::new(&plan.sounds, plan.seed)?, RATE_HZ);
    let mut samples = vec![0.0; fed.held_len()];
    let (mut report, mut classes) = (Report::default(), std::collections::BTreeSet::new());
    let (rounds, mut started) = ((plan.seconds * f64::from(RATE_HZ) / samples.len() as f64).ceil() as u32, own()?);
    let mut resident = Vec::new();
    for round in 0..rounds {
        tape.fill(&mut samples)?;
        // What is taught changes the heads all the while.
        if round < TEACHING {
            fed.hear(&samples)?
        } else {
            fed.hear_held(&samples)?
        }
        let labels = if round < TEACHING { usize::MAX } else { usize::from(round % LABEL == 0) };
        for (class, clip) in tape.ended(samples.len()).take(labels) {
            let is_taught = classes.contains(class) || classes.len() < CLASSES;
            // A clip may be silent, or shorter than a window.
            if is_taught && fed.learn((clip.start, clip.end), LabelSet::single(ClassName::new(class)?)).is_ok() {
                report.labels[0] += 1;
                classes.insert(class.clone());
            }
        }
        if round > TEACHING && round % LABEL == 0 && report.labels[0] % UNDONE == 0 {
            fed.undo()?;
            report.labels[1] += 1;
        }
        let usage = own()?;
        resident.push(usage.rss_kib);
        if round % 10 == 0 {
            each(fed.fed as f64 / f64::from(RATE_HZ), begun.elapsed().as_secs_f64(), usage.rss_kib);
        }
        if round + 1 == TEACHING {
            (started, resident) = (usage, Vec::with_capacity(rounds as usize));
        }
    }
    wait_for_rest(allocated)?;
    let ended = own()?;
    report.events = fed.gate.told().events;
    let (tally, given, audio) = (fed.tally.clone(), fed.fed, Manifest::load(&plan.backbone)?.0.audio);
    let (heard, lost) = fed.end()?;
    let of = |n: &std::sync::atomic::AtomicUsize| n.load(Relaxed) as u64;
    Ok(Report {
        sound_s: given as f64 / f64::from(RATE_HZ),
        wall_s: begun.elapsed().as_secs_f64(),
        cpu_s: ended.cpu_s,
        frames: [given, heard],
        lost,
        windows: [
            windows(output_len(given, RATE_HZ, audio.rate_hz), audio.window_samples.into(), audio.hop_samples.into()),
            tally.calls.load(Relaxed),
        ],
        rss_kib: [started.rss_kib, ended.rss_kib],
        anonymous_kib: [started.anonymous_kib, ended.anonymous_kib],
        least_kib: least(resident.into_iter()),
        peak_kib: ended.peak_kib,
        outside: [tally.stretches.load(Relaxed), of(&tally.outside)],
        inside: [of(&tally.inside.0), of(&tally.inside.1)],
        ..report
    })
}

/// Windows of so many samples, a padded one among them where half a hop is left (see [`wheatear::pipeline`]).
fn windows(samples: u64, window: u64, hop: u64) -> u64 {
    let whole = if samples < window { 0 } else { (samples - window) / hop + 1 };
    let covered = if whole == 0 { 0 } else { (whole - 1) * hop + window };
    let left = samples - covered;
    whole + u64::from(left > 0 && (whole == 0 || 2 * left >= hop))
}

fn grown([begin, end]: [u64; 2]) -> i64 {
    end as i64 - begin as i64
}

impl Report {
    /// What does not hold that must.
    pub fn missed(&self) -> Vec<String> {
        let (growth, windows) = (grown(self.rss_kib), self.windows[1]);
        let musts = [
            (self.frames[0] == self.frames[1] && self.lost == 0, format!("{:?} frames given and heard, lost {}", self.frames, self.lost)),
            (self.windows[0] == windows, format!("{:?} windows expected and answered", self.windows)),
            (growth < 1024, format!("resident memory grew by {growth} KiB, less than 1024")),
            (self.outside[1] == 0, format!("{} bytes were asked for outside the backbone's calls", self.outside[1])),
            (self.inside[0] == self.inside[1], format!("{:?} bytes, least and most, were asked for in a call", self.inside)),
            // But for the rounds of start-up and some windows of each other round.
            (
                self.outside[0] * 10 >= windows.saturating_sub(u64::from(TEACHING) * HELD as u64) * 9,
                format!("{} of {windows} stretches were counted", self.outside[0]),
            ),
        ];
        musts.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| what).collect()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Report {
            sound_s,
            wall_s,
            cpu_s,
            frames,
            lost,
            windows,
            labels,
            events,
            rss_kib,
            anonymous_kib,
            least_kib,
            peak_kib,
            outside,
            inside,
        } = self;
        let faster = sound_s / wall_s;
        writeln!(f, "  {sound_s:.0} s of sound in {wall_s:.0} s ({faster:.1} times real time, {cpu_s:.0} s of processor)")?;
        writeln!(f, "  frames given {}, heard {}; windows expected {}, answered {}", frames[0], frames[1], windows[0], windows[1])?;
        writeln!(f, "  labels {}, taken back {}; events {events}; most memory {peak_kib} KiB", labels[0], labels[1])?;
        writeln!(f, "  resident {rss_kib:?} KiB after start-up and at the end, of no file {anonymous_kib:?}")?;
        writeln!(f, "  least of its first third {} KiB, of its last {} KiB", least_kib[0], least_kib[1])?;
        writeln!(f, "  asked for in {} stretches outside the backbone's calls: {} bytes; in a call {inside:?}", outside[0], outside[1])?;
        let [growth, of_no_file] = [*rss_kib, *anonymous_kib].map(|kib| grown(kib) * 1024 / 1000);
        write!(
            f,
            "hour: {sound_s:.0} s, {faster:.1} times real time, lost samples {lost}, RSS growth {growth} kB (of no file {of_no_file} kB), \
             allocated {} bytes",
            outside[1]
        )
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn windows_of_a_sound_are_counted_as_the_pipeline_makes_them() {
        for (samples, wanted) in [(0, 0), (1, 1), (1000, 1), (1199, 1), (1200, 2), (1400, 2), (1600, 3), (1799, 3), (1800, 3)] {
            let whole = super::windows(samples, 1000, 400);
            assert_eq!(whole, wanted, "{samples}");
        }
    }
}
