//! `wheatear lab bits`: what latents of few bits cost. Each width is paired with the unquantised embeddings on the same runs,
//! whose statistics are then sums in f64.

use std::fmt::Write;

use clap::Args as ClapArgs;
use serde::Serialize;
use serde_json::{Value, json};
use wheatear::Result;
use wheatear::head::SolvedHead;

use super::evaluate::final_predictions;
use super::latents::{Latents, Width};
use super::metrics::{Difference, mean, mean_class_accuracy, paired_difference, spread};
use super::{Set, SetArgs, do_all};
use crate::output::print;

/// Points of accuracy that a width may cost against unquantised embeddings, on average over the runs.
const TARGETS_POINTS: [(u8, f64); 3] = [(8, 0.3), (7, 1.0), (6, 2.0)];

#[derive(Debug, ClapArgs)]
pub struct BitsArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Heads to compare
    #[arg(long, value_delimiter = ',', default_value = "ncm,slda,ridge", value_parser = solved)]
    head: Vec<SolvedHead>,
    /// Bits of a latent component: 4 to 8, or 16; f32 (unquantised) is always there to compare with
    #[arg(long, value_delimiter = ',', default_value = "8,7,6,5,4")]
    latent_bits: Vec<Width>,
    /// Results as JSON on stdout
    #[arg(long)]
    json: bool,
}

fn solved(text: &str) -> Result<SolvedHead, String> {
    SolvedHead::ALL.into_iter().find(|h| h.name() == text).ok_or_else(|| "ncm, slda or ridge".to_owned())
}

/// Runs `wheatear lab bits`.
///
/// # Errors
/// Those of the data, the splits and the learner.
pub fn run(args: &BitsArgs) -> anyhow::Result<()> {
    let set = args.set.load()?;
    let mut heads: Vec<SolvedHead> = Vec::new();
    for head in args.head.iter().copied() {
        if !heads.contains(&head) {
            heads.push(head);
        }
    }
    let mut widths = vec![Width::F32];
    for width in &args.latent_bits {
        if !widths.contains(width) {
            widths.push(*width);
        }
    }
    let costs = compare(&set, &heads, &widths)?;
    match args.json {
        true => print(&format!("{}\n", serde_json::to_string_pretty(&as_json(args, &set, &costs))?)),
        false => print(&table(&set, &costs)),
    }
}

/// One head at one width.
struct Cost {
    head: SolvedHead,
    width: Width,
    /// Mean per-class accuracy after the stream, in the order of the splits.
    runs: Vec<f64>,
    /// Share of the values that were clipped, mean over the runs.
    clip_rate: f64,
    /// Against unquantised embeddings; none for these themselves.
    minus_f32: Option<Change>,
}

/// What quantising changed.
struct Change {
    /// Points of accuracy.
    points: Difference,
    /// Test rows, over all runs, that only the unquantised embeddings named right.
    lost_rows: usize,
    /// Test rows, over all runs, that only the latents named right.
    won_rows: usize,
}

/// Every head at every width on every split; `widths` starts with f32, which the others are compared with.
fn compare(set: &Set, heads: &[SolvedHead], widths: &[Width]) -> Result<Vec<Cost>> {
    let Set { data, splits, streams } = set;
    let jobs: Vec<(Width, usize)> = widths.iter().flat_map(|w| (0..splits.len()).map(|s| (*w, s))).collect();
    let done = do_all(&jobs, &data.name, |(width, s)| {
        let latents = Latents::new(data, &splits[*s].train, *width)?;
        Ok((final_predictions(heads, data, &splits[*s], &streams[*s], &latents)?, latents.clip_rate))
    })?;
    let truth: Vec<Vec<usize>> = splits.iter().map(|s| s.test.iter().map(|i| data.y[*i]).collect()).collect();
    let mut costs: Vec<Cost> = Vec::new();
    for (h, head) in heads.iter().enumerate() {
        let of_head = |w: usize| -> Vec<&[usize]> { done[w * splits.len()..][..splits.len()].iter().map(|(p, _)| &p[h][..]).collect() };
        let accuracies = |predicted: &[&[usize]]| -> Vec<f64> {
            predicted.iter().zip(&truth).map(|(p, t)| mean_class_accuracy(p, t, data.names.len())).collect()
        };
        let unquantised = of_head(0);
        let base = accuracies(&unquantised);
        for (w, width) in widths.iter().enumerate() {
            let predicted = of_head(w);
            let runs = accuracies(&predicted);
            let minus_f32 = matches!(width, Width::Bits(_)).then(|| Change {
                points: points(&runs, &base, set.test_over_train()),
                lost_rows: only_first_right(&unquantised, &predicted, &truth),
                won_rows: only_first_right(&predicted, &unquantised, &truth),
            });
            let clip_rate = mean(done[w * splits.len()..][..splits.len()].iter().map(|(_, rate)| *rate)).unwrap_or(f64::NAN);
            costs.push(Cost { head: *head, width: *width, runs, clip_rate, minus_f32 });
        }
    }
    Ok(costs)
}

/// Paired difference of accuracies in points.
fn points(runs: &[f64], base: &[f64], test_over_train: f64) -> Difference {
    let percent = |all: &[f64]| all.iter().map(|a| 100.0 * a).collect::<Vec<f64>>();
    paired_difference(&percent(runs), &percent(base), "f32", test_over_train)
}

/// Rows over all runs that `a` names right and `b` does not.
fn only_first_right(a: &[&[usize]], b: &[&[usize]], truth: &[Vec<usize>]) -> usize {
    let of_run = |((a, b), t): ((&&[usize], &&[usize]), &Vec<usize>)| (0..t.len()).filter(|i| a[*i] == t[*i] && b[*i] != t[*i]).count();
    a.iter().zip(b).zip(truth).map(of_run).sum()
}

/// How a difference stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// The whole interval keeps it.
    Met,
    /// The mean keeps it, the interval reaches beyond.
    MetOnAverage,
    /// The mean breaks it, the interval reaches back.
    MissedOnAverage,
    /// The whole interval breaks it.
    Missed,
}

impl Verdict {
    fn of(d: &Difference, target_points: f64) -> Verdict {
        match (d.low >= -target_points, d.mean >= -target_points, d.high >= -target_points) {
            (true, ..) => Verdict::Met,
            (_, true, _) => Verdict::MetOnAverage,
            (.., true) => Verdict::MissedOnAverage,
            _ => Verdict::Missed,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::MetOnAverage => "met on average",
            Verdict::MissedOnAverage => "MISSED on average",
            Verdict::Missed => "MISSED",
        }
    }
}

impl Cost {
    /// The target of its width, and how it is kept.
    fn target(&self) -> Option<(f64, Verdict)> {
        let (_, points) = TARGETS_POINTS.iter().find(|(bits, _)| self.width == Width::Bits(*bits))?;
        Some((*points, Verdict::of(&self.minus_f32.as_ref()?.points, *points)))
    }
}

fn as_json(args: &BitsArgs, set: &Set, costs: &[Cost]) -> Value {
    let settings = json!({
        "command": std::env::args().collect::<Vec<_>>().join(" "),
        "classes_per_task": args.set.classes_per_task,
        "chunk_rows": args.set.chunk_rows,
        "runs": set.splits.len(),
        "scale_source": set.scale_source(),
        "test_over_train": set.test_over_train(),
        "interval": "95 %, corrected resampled t (Nadeau & Bengio 2003): the runs share rows",
    });
    let of_cost = |c: &Cost| {
        json!({
            "data": set.data.name,
            "head": c.head.name(),
            "latent_bits": c.width,
            "rows": set.data.rows(),
            "tested_rows": tested_rows(set),
            "dim": set.data.dim,
            "classes": set.data.names.len(),
            "accuracy": spread(&c.runs),
            "runs": c.runs,
            "clip_rate": c.clip_rate,
            "minus_f32_points": c.minus_f32.as_ref().map(|m| &m.points),
            "lost_rows": c.minus_f32.as_ref().map(|m| m.lost_rows),
            "won_rows": c.minus_f32.as_ref().map(|m| m.won_rows),
            "target_points": c.target().map(|(points, _)| -points),
            "verdict": c.target().map(|(_, verdict)| verdict),
            "settings": settings,
        })
    };
    Value::Array(costs.iter().map(of_cost).collect())
}

/// Rows tested over all runs.
fn tested_rows(set: &Set) -> usize {
    set.splits.iter().map(|s| s.test.len()).sum()
}

fn table(set: &Set, costs: &[Cost]) -> String {
    let mut out = format!(
        "{}: {} rows, {} classes, D = {}; {} runs, {} rows tested in all; scales from {}\n\
         accuracy in %, differences in points, paired over the runs; rows that only f32 (lost) or only the latents (won) name right\n\n",
        set.data.name,
        set.data.rows(),
        set.data.names.len(),
        set.data.dim,
        set.splits.len(),
        tested_rows(set),
        set.scale_source()
    );
    let _ = writeln!(
        out,
        "{:<6} {:>4} {:>15} {:>24} {:>5} {:>5} {:>9} {:>7}  verdict",
        "head", "bits", "accuracy", "minus f32 [95 %]", "lost", "won", "clipped", "target"
    );
    for c in costs {
        let accuracy = spread(&c.runs);
        let _ = write!(out, "{:<6} {:>4} {:>8.2} +- {:>3.1}", c.head.name(), c.width, 100.0 * accuracy.mean, 100.0 * accuracy.std);
        if let Some(Change { points: d, lost_rows, won_rows }) = &c.minus_f32 {
            let difference = format!("{:+.2} [{:+.2}, {:+.2}]", d.mean, d.low, d.high);
            let _ = write!(out, " {difference:>24} {lost_rows:>5} {won_rows:>5} {:>7.4} %", 100.0 * c.clip_rate);
        }
        if let Some((target, verdict)) = c.target() {
            let _ = write!(out, " {:>+7.1}  {}", -target, verdict.words());
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
#[path = "bits_tests.rs"]
mod tests;
