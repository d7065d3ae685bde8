//! `wheatear lab`: measure learners on labelled embeddings or sounds, over the same grouped splits.

mod audio;
mod bits;
mod data;
mod drift;
mod embed;
mod evaluate;
mod guard;
mod latents;
mod learner;
mod metrics;
mod mixtures;
mod offline;
mod plot;
mod random;
mod rejections;
mod report;
mod reservoir;
mod results;
mod ring;
mod run;
mod shift;
mod split;
mod unknown;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use wheatear::{Error, ErrorKind, Result};

use crate::embed::{BackboneArgs, ConfigArgs};
use data::Data;
use split::{Split, Stream};

/// Measure learners on labelled embeddings or sounds
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Class-incremental evaluation: classes arrive a few at a time, in one pass, and all are tested
    Run(Box<run::RunArgs>),
    /// Embeddings of labelled sounds as a file, to evaluate on or for other programs
    Embed(Box<embed::EmbedArgs>),
    /// What latents of few bits cost: each width against the unquantised embeddings, paired on the same runs
    Bits(Box<bits::BitsArgs>),
    /// How well windows of classes that were never taught are told from the others
    Unknown(Box<unknown::UnknownArgs>),
    /// What saying that a window is not a class is worth, and what it costs
    Rejections(Box<rejections::RejectionsArgs>),
    /// How well two classes at once are told, on mixtures of recordings
    Mixtures(Box<mixtures::MixturesArgs>),
    /// What weighing old rows less is worth where the embeddings change, and what it costs where they do not
    Drift(Box<drift::DriftArgs>),
    /// What doubting labels and trying heads is worth where labels are wrong, and what it refuses where they are right
    Guard(Box<guard::GuardArgs>),
}

/// What is learned and tested, and how it is split.
#[derive(Debug, ClapArgs)]
struct SetArgs {
    /// Embeddings: npz with X f32 (n, D), y integer (n), names (C), group (n)
    #[arg(long, value_name = "FILE.npz", conflicts_with = "audio")]
    embeddings: Option<PathBuf>,
    /// Sounds: one sub-folder a class
    #[arg(long, value_name = "FOLDER")]
    audio: Option<PathBuf>,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the quantiser's scales come from; without it the manifest, and for --embeddings each run's training rows
    #[arg(long, value_name = "SOURCE")]
    scales: Option<ScaleSource>,
    /// New classes in each task
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    classes_per_task: u32,
    /// Rows learned at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=133_000))]
    chunk_rows: u32,
    /// Folds, stratified by class, recordings kept whole
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=100))]
    folds: u32,
    /// Repetitions with other folds and another order of classes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// Splits as JSON: read when the file exists, else made and written
    #[arg(long, value_name = "FILE.json")]
    splits: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScaleSource {
    /// The quantiser of the backbone's manifest, calibrated on other sounds: what a device uses
    Manifest,
    /// The training rows of each run
    Training,
}

/// Runs `wheatear lab`.
///
/// # Errors
/// Those of the data, the splits, the learner and the files written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Run(args) => run::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Bits(args) => bits::run(args),
        Command::Unknown(args) => unknown::run(args),
        Command::Rejections(args) => rejections::run(args),
        Command::Mixtures(args) => mixtures::run(args),
        Command::Drift(args) => drift::run(args),
        Command::Guard(args) => guard::run(args),
    }
}

/// A set with its splits and their streams.
struct Set {
    data: Data,
    splits: Vec<Split>,
    streams: Vec<Stream>,
}

impl SetArgs {
    fn load(&self) -> Result<Set> {
        let mut data = match (&self.embeddings, &self.audio) {
            (Some(file), _) => Data::from_npz(file)?,
            (None, Some(folder)) => audio::embed_folder(folder, &self.backbone.choose(&self.config.load()?)?)?,
            (None, None) => {
                let error = Error::new(ErrorKind::Config, "nothing to evaluate is named");
                return Err(error.cure("give --embeddings FILE.npz, or --audio FOLDER with --backbone FOLDER"));
            }
        };
        match self.scales {
            Some(ScaleSource::Training) => data.scale = None,
            Some(ScaleSource::Manifest) if data.scale.is_none() => {
                return Err(Error::new(ErrorKind::Config, "an npz file brings no scales of a manifest")
                    .at(&data.name)
                    .cure("leave --scales manifest out, or evaluate sounds: --audio FOLDER with --backbone FOLDER"));
            }
            Some(ScaleSource::Manifest) | None => {}
        }
        let splits = self.splits(&data)?;
        let stream = |s: &Split| split::stream(s, &data.y, self.classes_per_task as usize, self.chunk_rows as usize);
        let streams = splits.iter().map(stream).collect::<Result<_>>()?;
        Ok(Set { data, splits, streams })
    }

    fn splits(&self, data: &Data) -> Result<Vec<Split>> {
        match &self.splits {
            Some(path) if path.exists() => split::read(path, data),
            other => {
                let made = split::make(data, self.folds as usize, u64::from(self.seeds), self.classes_per_task as usize);
                if let Some(bad) = made.iter().find(|s| s.test.is_empty() || s.train.is_empty()) {
                    return Err(Error::new(ErrorKind::Input, "too few groups (recordings) for this number of folds")
                        .at(format!("{}, fold {}", data.name, bad.fold))
                        .expected(format!("at least {}", self.folds))
                        .cure("lower --folds, or add recordings"));
                }
                if let Some(path) = other {
                    split::write(path, &made)?;
                }
                Ok(made)
            }
        }
    }
}

impl Set {
    /// Where the quantiser's scales come from.
    fn scale_source(&self) -> &'static str {
        if self.data.scale.is_some() { "the backbone's manifest" } else { "each run's training rows" }
    }

    /// Test rows for each training row, for the corrected interval.
    fn test_over_train(&self) -> f64 {
        self.splits.iter().map(|s| s.test.len() as f64 / s.train.len() as f64).sum::<f64>() / self.splits.len() as f64
    }
}

/// Does every job, as many at a time as there are cores, with a progress bar; results in the order of the jobs.
fn do_all<J: Sync, T: Send>(jobs: &[J], what: &str, work: impl Fn(&J) -> Result<T> + Sync) -> Result<Vec<T>> {
    let bar = ProgressBar::new(jobs.len() as u64).with_message(what.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::new(Vec::new());
    let worker = || {
        while let Some((n, job)) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(n).map(|j| (n, j))
        } {
            let out = work(job);
            bar.inc(1);
            done.lock().unwrap_or_else(|e| e.into_inner()).push((n, out));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(jobs.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}
