//! `wheatear lab run`: class-incremental evaluation of heads on embeddings, against offline joint training.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use faer::Mat;
use wheatear::head::SolvedHead;
use wheatear::learner::Guard;
use wheatear::{Error, Result};

use super::data::Data;
use super::evaluate::{self, Candidate, Outcome};
use super::latents::{Latents, Width};
use super::reservoir::Replay;
use super::results::{Results, Settings};
use super::split::{Split, generator};
use super::{Set, SetArgs, do_all, metrics, offline, plot, report};
use crate::output::print;

#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Heads to compare
    #[arg(long, value_delimiter = ',', default_value = "naive,ncm,slda,ridge")]
    head: Vec<HeadName>,
    /// Bits of a latent component: 4 to 8, or 16 or f32 (unquantised) to see what quantising costs
    #[arg(long, default_value = "8")]
    latent_bits: Width,
    /// Learning rate of the naive head; without it the best of a grid is taken, judged on the test rows in its favour
    #[arg(long, value_name = "RATE", value_parser = positive)]
    naive_lr: Option<f64>,
    /// Share of the recordings that are taught with a wrong label, 0 to 0.9; what is tested is labelled right
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    label_noise: f64,
    /// Rows of replay for each class of the set, for the softmax head
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    replay_per_class: u32,
    /// Bits of a component of a replayed row
    #[arg(long, value_name = "BITS", default_value_t = 8, value_parser = clap::value_parser!(u8).range(4..=8))]
    replay_bits: u8,
    /// One row in this many of a class judges the softmax head and is never trained on; 0 for none
    #[arg(long, value_name = "N", default_value_t = 8)]
    held_out_every: u32,
    /// Leave offline joint training out: quicker, and the process takes no more memory than learning does
    #[arg(long, conflicts_with_all = ["report", "figure"])]
    no_offline: bool,
    /// Random features: auto is run once more with ridge over them as a third head; 0 for none (1024 for rf)
    #[arg(long, value_name = "F", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=8192))]
    random_features: u32,
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
    /// slda, its shrinkage and temperature chosen by leaving out rows
    SldaLoo,
    /// ridge, its lambda and temperature chosen by leaving out rows
    RidgeLoo,
    /// slda and ridge, pooled with weights that leaving out rows speaks for; labels that are probably wrong are left out
    Auto,
    /// The same, every label believed
    AutoUnguarded,
    /// ridge over random features, its lambda and temperature chosen by leaving out rows
    Rf,
    /// A cosine classifier trained over replay
    Softmax,
}

/// Learning rates tried for the naive head, from Adam's usual one upwards. Below, the steps are too small to learn anything:
/// what is left is the nearest of the means imprinted from each class's first chunk, which is not SGD (`--naive-lr` shows
/// it: on 20 instruments .24 at 0.0003, .41 at 0.0001 and .65 at 0.00001).
const NAIVE_RATES: [f64; 6] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3];

/// Features of `rf` unless others are asked for.
const RANDOM_FEATURES: u32 = 1024;

/// auto, and again with random features when there are any, so that the two are compared on the same runs.
fn autos(guard: Guard, features: u32) -> impl Iterator<Item = Candidate> {
    [0, features].into_iter().take(if features == 0 { 1 } else { 2 }).map(move |features| Candidate::Auto(guard, features))
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v: &f64| v.is_finite() && *v > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v| (0.0..=0.9).contains(v)).ok_or_else(|| "0 to 0.9".to_owned())
}

/// Runs `wheatear lab run`.
///
/// # Errors
/// Those of the data, the splits, the learner and the files written.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let mut set = args.set.load()?;
    set.data.mislabel(args.label_noise, &mut generator(0, 3 << 32));
    let results = evaluate_all(args, &set)?;
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

/// One run of one candidate, or of offline training when there is none.
struct Job {
    split: usize,
    candidate: Option<Candidate>,
}

enum Done {
    Head(Candidate, Box<Outcome>),
    Offline { accuracy: f64, c: f64 },
}

fn evaluate_all(args: &RunArgs, set: &Set) -> Result<Results> {
    let Set { data, splits, streams } = set;
    let replay = Replay { per_class: args.replay_per_class, bits: args.replay_bits, held_out_every: args.held_out_every };
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
            HeadName::SldaLoo => candidates.push(Candidate::Evidence(SolvedHead::Slda)),
            HeadName::RidgeLoo => candidates.push(Candidate::Evidence(SolvedHead::Ridge)),
            HeadName::Auto => candidates.extend(autos(Guard::On, args.random_features)),
            HeadName::AutoUnguarded => candidates.extend(autos(Guard::Off, args.random_features)),
            HeadName::Rf => {
                candidates.push(Candidate::Random(if args.random_features == 0 { RANDOM_FEATURES } else { args.random_features }))
            }
            HeadName::Softmax => candidates.push(Candidate::Softmax(replay)),
        }
    }
    let offline_runs = if args.no_offline { 0 } else { splits.len() };
    let mut jobs: Vec<Job> = (0..offline_runs).map(|split| Job { split, candidate: None }).collect();
    for candidate in &candidates {
        jobs.extend((0..splits.len()).map(|split| Job { split, candidate: Some(*candidate) }));
    }
    let done = do_all(&jobs, &data.name, |job| {
        let split = &splits[job.split];
        match job.candidate {
            Some(candidate) => {
                // Made anew for each job: those of all runs at once would take more memory than learning does.
                let latents = Latents::new(data, &split.train, args.latent_bits)?;
                evaluate::run(candidate, data, split, &streams[job.split], &latents).map(|o| Done::Head(candidate, Box::new(o)))
            }
            None => Ok(offline_run(data, split)),
        }
    })?;

    let (mut offline, mut offline_c) = (Vec::new(), Vec::new());
    let mut heads: Vec<(Candidate, Vec<Outcome>)> = candidates.iter().map(|c| (*c, Vec::new())).collect();
    for result in done {
        match result {
            Done::Offline { accuracy, c } => {
                offline.push(accuracy);
                offline_c.push(c);
            }
            Done::Head(candidate, outcome) => {
                if let Some((_, runs)) = heads.iter_mut().find(|(c, _)| *c == candidate) {
                    runs.push(*outcome);
                }
            }
        }
    }
    // Of the naive head's learning rates the best is shown.
    let rates: Vec<(f64, f64)> = heads
        .iter()
        .filter_map(|(c, runs)| match c {
            Candidate::Naive(rate) => Some((*rate, evaluate::mean_accuracy(runs))),
            Candidate::Solved(_) | Candidate::Evidence(_) | Candidate::Random(_) | Candidate::Auto(..) | Candidate::Softmax(_) => None,
        })
        .collect();
    let best = rates.iter().fold(None, |best: Option<(f64, f64)>, r| if best.is_none_or(|b| r.1 > b.1) { Some(*r) } else { best });
    heads.retain(|(c, _)| !matches!(c, Candidate::Naive(rate) if best.is_some_and(|b| b.0 != *rate)));

    let settings = Settings {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        latent_bits: args.latent_bits,
        classes_per_task: args.set.classes_per_task,
        chunk_rows: args.set.chunk_rows,
        label_noise: args.label_noise,
        runs: splits.len(),
        scale_source: set.scale_source(),
        naive_rates: rates,
        replay: candidates.contains(&Candidate::Softmax(replay)).then_some(replay),
        softmax: candidates.contains(&Candidate::Softmax(replay)).then(|| evaluate::softmax_config(replay, data, &splits[0])),
        test_over_train: set.test_over_train(),
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
    // In the order of the data: the stream's order must not matter here.
    let mut train = split.train.clone();
    train.sort_unstable();
    let pick = |from: &[usize], rows: &[usize]| rows.iter().map(|i| from[*i]).collect::<Vec<usize>>();
    let (x, xt) = (matrix(&train), matrix(&split.test));
    let (predicted, c) =
        offline::fit_and_predict(x.as_ref(), &pick(&data.y, &train), &pick(&data.recording, &train), xt.as_ref(), data.names.len());
    Done::Offline { accuracy: metrics::mean_class_accuracy(&predicted, &pick(&data.truth, &split.test), data.names.len()), c }
}
