//! `wheatear lab run`: class-incremental evaluation of heads on embeddings, against offline joint training.

mod audio;
mod data;
mod evaluate;
mod latents;
mod metrics;
mod offline;
mod plot;
mod report;
mod results;
mod split;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use faer::Mat;
use indicatif::{ProgressBar, ProgressStyle};
use wheatear::head::SolvedHead;
use wheatear::{Error, ErrorKind, Result};

use crate::embed::{BackboneArgs, ConfigArgs};
use crate::output::print;
use data::Data;
use evaluate::{Candidate, Outcome};
use results::{Results, Settings};
use split::Split;

/// Measure learners on labelled embeddings or sounds
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Class-incremental evaluation: classes arrive a few at a time, in one pass, and all are tested
    Run(Box<RunArgs>),
}

#[derive(Debug, ClapArgs)]
struct RunArgs {
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
    /// Heads to compare
    #[arg(long, value_delimiter = ',', default_value = "naive,ncm,slda,ridge")]
    head: Vec<HeadName>,
    /// New classes in each task
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    classes_per_task: u32,
    /// Rows learned at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=133_000))]
    chunk_rows: u32,
    /// Bits of a latent component: 4 to 8, or 16 to see what quantising costs
    #[arg(long, default_value = "8", value_parser = latent_bits)]
    latent_bits: u8,
    /// Folds, stratified by class, recordings kept whole
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=100))]
    folds: u32,
    /// Repetitions with other folds and another order of classes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// Splits as JSON: read when the file exists, else made and written
    #[arg(long, value_name = "FILE.json")]
    splits: Option<PathBuf>,
    /// Learning rate of the naive head; without it the best of a grid is taken, judged on the test rows in its favour
    #[arg(long, value_name = "RATE", value_parser = positive)]
    naive_lr: Option<f64>,
    /// Results as JSON on stdout
    #[arg(long)]
    json: bool,
    /// Write a self-contained page with curves, matrices, table and settings
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Write the accuracy curves as a picture
    #[arg(long, value_name = "FILE.svg")]
    figure: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HeadName {
    Naive,
    Ncm,
    Slda,
    Ridge,
}

/// Learning rates tried for the naive head, from Adam's usual one upwards. Below, the steps are too small to learn anything:
/// what is left is the nearest of the means imprinted from each class's first chunk, which is not SGD (`--naive-lr` shows
/// it: on 20 instruments .24 at 0.0003, .41 at 0.0001 and .65 at 0.00001).
const NAIVE_RATES: [f64; 6] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3];

fn latent_bits(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(bits @ (4..=8 | 16)) => Ok(bits),
        _ => Err("4 to 8, or 16".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v: &f64| v.is_finite() && *v > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

/// Runs `wheatear lab`.
///
/// # Errors
/// Those of the data, the splits, the learner and the files written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let Command::Run(args) = &args.command;
    let data = match (&args.embeddings, &args.audio) {
        (Some(file), _) => Data::from_npz(file)?,
        (None, Some(folder)) => audio::embed_folder(folder, &args.backbone.choose(&args.config.load()?)?)?,
        (None, None) => {
            let error = Error::new(ErrorKind::Config, "nothing to evaluate is named");
            return Err(error.cure("give --embeddings FILE.npz, or --audio FOLDER with --backbone FOLDER").into());
        }
    };
    let splits = splits(args, &data)?;
    let results = evaluate_all(args, &data, &splits)?;
    // The results first: a picture that cannot be written must not cost them.
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&results.json())?))?;
    } else {
        print(&results.table())?;
    }
    if let Some(path) = &args.figure {
        std::fs::write(path, plot::standalone(&plot::curves(&results)?)).map_err(|e| Error::io("write", path, e))?;
    }
    if let Some(path) = &args.report {
        std::fs::write(path, report::page(&results)?).map_err(|e| Error::io("write", path, e))?;
        log::info!("report: {}", path.display());
    }
    Ok(())
}

fn splits(args: &RunArgs, data: &Data) -> Result<Vec<Split>> {
    match &args.splits {
        Some(path) if path.exists() => split::read(path, data),
        other => {
            let made = split::make(data, args.folds as usize, u64::from(args.seeds), args.classes_per_task as usize);
            if let Some(bad) = made.iter().find(|s| s.test.is_empty() || s.train.is_empty()) {
                return Err(Error::new(ErrorKind::Input, "too few groups (recordings) for this number of folds")
                    .at(format!("{}, fold {}", data.name, bad.fold))
                    .expected(format!("at least {}", args.folds))
                    .cure("lower --folds, or add recordings"));
            }
            if let Some(path) = other {
                split::write(path, &made)?;
            }
            Ok(made)
        }
    }
}

/// One run of one candidate, or of offline training when there is none.
struct Job {
    split: usize,
    candidate: Option<Candidate>,
}

enum Done {
    Head(Candidate, Outcome),
    Offline { accuracy: f64, c: f64 },
}

fn evaluate_all(args: &RunArgs, data: &Data, splits: &[Split]) -> Result<Results> {
    let mut candidates = Vec::new();
    for (i, head) in args.head.iter().enumerate() {
        if args.head[..i].contains(head) {
            continue;
        }
        match head {
            HeadName::Naive => match args.naive_lr {
                Some(rate) => candidates.push(Candidate::Naive(rate)),
                None => candidates.extend(NAIVE_RATES.map(Candidate::Naive)),
            },
            HeadName::Ncm => candidates.push(Candidate::Solved(SolvedHead::Ncm)),
            HeadName::Slda => candidates.push(Candidate::Solved(SolvedHead::Slda)),
            HeadName::Ridge => candidates.push(Candidate::Solved(SolvedHead::Ridge)),
        }
    }
    let mut jobs: Vec<Job> = (0..splits.len()).map(|split| Job { split, candidate: None }).collect();
    for candidate in &candidates {
        jobs.extend((0..splits.len()).map(|split| Job { split, candidate: Some(*candidate) }));
    }
    let streams = splits
        .iter()
        .map(|s| split::stream(s, &data.y, args.classes_per_task as usize, args.chunk_rows as usize))
        .collect::<Result<Vec<_>>>()?;
    let latents = splits.iter().map(|s| latents::Latents::new(data, &s.train, args.latent_bits)).collect::<Result<Vec<_>>>()?;

    let bar = ProgressBar::new(jobs.len() as u64).with_message(data.name.clone());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Done>)>> = Mutex::new(Vec::new());
    let worker = || {
        while let Some((n, job)) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(n).map(|j| (n, j))
        } {
            let split = &splits[job.split];
            let out = match job.candidate {
                Some(candidate) => {
                    evaluate::run(candidate, data, split, &streams[job.split], &latents[job.split]).map(|o| Done::Head(candidate, o))
                }
                None => Ok(offline_run(data, split)),
            };
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

    let (mut offline, mut offline_c) = (Vec::new(), Vec::new());
    let mut heads: Vec<(Candidate, Vec<Outcome>)> = candidates.iter().map(|c| (*c, Vec::new())).collect();
    for (_, result) in done {
        match result? {
            Done::Offline { accuracy, c } => {
                offline.push(accuracy);
                offline_c.push(c);
            }
            Done::Head(candidate, outcome) => {
                if let Some((_, runs)) = heads.iter_mut().find(|(c, _)| *c == candidate) {
                    runs.push(outcome);
                }
            }
        }
    }
    // Of the naive head's learning rates the best is shown.
    let rates: Vec<(f64, f64)> = heads
        .iter()
        .filter_map(|(c, runs)| match c {
            Candidate::Naive(rate) => Some((*rate, evaluate::mean_accuracy(runs))),
            Candidate::Solved(_) => None,
        })
        .collect();
    let best = rates.iter().fold(None, |best: Option<(f64, f64)>, r| if best.is_none_or(|b| r.1 > b.1) { Some(*r) } else { best });
    heads.retain(|(c, _)| !matches!(c, Candidate::Naive(rate) if best.is_some_and(|b| b.0 != *rate)));

    let test_over_train = splits.iter().map(|s| s.test.len() as f64 / s.train.len() as f64).sum::<f64>() / splits.len() as f64;
    let settings = Settings {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        latent_bits: args.latent_bits,
        classes_per_task: args.classes_per_task,
        chunk_rows: args.chunk_rows,
        runs: splits.len(),
        scale_source: if data.scale.is_some() { "the backbone's manifest" } else { "each run's training rows" },
        naive_rates: rates,
        test_over_train,
    };
    Ok(Results {
        data: data.name.clone(),
        rows: data.rows(),
        dim: data.dim,
        classes: data.names.iter().map(|n| n.to_string()).collect(),
        offline,
        offline_c,
        heads,
        settings,
    })
}

fn offline_run(data: &Data, split: &Split) -> Done {
    let matrix = |rows: &[usize]| Mat::from_fn(rows.len(), data.dim, |i, j| f64::from(data.x[rows[i] * data.dim + j]));
    let groups = data.group_ids();
    // In the order of the data: the stream's order must not matter here.
    let mut train = split.train.clone();
    train.sort_unstable();
    let pick = |from: &[usize], rows: &[usize]| rows.iter().map(|i| from[*i]).collect::<Vec<usize>>();
    let (x, xt) = (matrix(&train), matrix(&split.test));
    let (predicted, c) =
        offline::fit_and_predict(x.as_ref(), &pick(&data.y, &train), &pick(&groups, &train), xt.as_ref(), data.names.len());
    Done::Offline { accuracy: metrics::mean_class_accuracy(&predicted, &pick(&data.y, &split.test), data.names.len()), c }
}
