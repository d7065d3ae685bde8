//! What an evaluation found, as JSON and as a table.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};
use wheatear::head::softmax::SoftmaxConfig;

use super::evaluate::{Candidate, Doubted, Outcome};
use super::latents::Width;
use super::metrics::{Difference, Spread, ece, mean, paired_difference, spread};
use super::reservoir::Replay;

/// Everything an evaluation found.
pub struct Results {
    /// Name of the data.
    pub data: String,
    /// Rows n.
    pub rows: usize,
    /// Components D.
    pub dim: usize,
    /// Class names in canonical order.
    pub classes: Vec<String>,
    /// Accuracy of offline joint training in each run; empty when it was left out.
    pub offline: Vec<f64>,
    /// The C it chose in each run.
    pub offline_c: Vec<f64>,
    /// Each head with its runs, in the order of the splits.
    pub heads: Vec<(Candidate, Vec<Outcome>)>,
    /// How it was run.
    pub settings: Settings,
}

/// How an evaluation was run.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// The command line.
    pub command: String,
    /// Bits of a latent component.
    pub latent_bits: Width,
    /// New classes in each task.
    pub classes_per_task: u32,
    /// Rows learned at once.
    pub chunk_rows: u32,
    /// Share of the recordings that were taught with a wrong label.
    pub label_noise: f64,
    /// Number of runs (folds times seeds).
    pub runs: usize,
    /// Where the quantiser's scales come from.
    pub scale_source: &'static str,
    /// Learning rates of the naive head with their accuracies.
    pub naive_rates: Vec<(f64, f64)>,
    /// Replay of the softmax head, where that was run.
    pub replay: Option<Replay>,
    /// How it learns in the first run; the others have other seeds.
    pub softmax: Option<SoftmaxConfig>,
    /// Test rows for each training row, for the corrected interval.
    pub test_over_train: f64,
}

/// One head's summary.
pub struct Summary {
    /// The head's name.
    pub head: &'static str,
    /// Mean per-class accuracy after the stream.
    pub accuracy: Spread,
    /// Mean over the tasks of the accuracy on all classes seen so far.
    pub average_incremental: f64,
    /// Against joint training of the same head.
    pub forgetting: f64,
    /// Chaudhry 2018.
    pub forgetting_max: f64,
    /// Lopez-Paz & Ranzato 2017.
    pub backward_transfer: f64,
    /// Expected calibration error after the stream, over the tested rows of all runs together: a run alone has too few rows to
    /// tell it from chance.
    pub ece: f64,
    /// The same of each run alone, averaged: above 0 for the surest probabilities, the more so the fewer rows a run tests.
    pub ece_of_runs: f64,
    /// Rows learned a second, solves included.
    pub rows_per_s: f64,
    /// Paired differences with offline training and the other heads.
    pub differences: Vec<Difference>,
}

impl Results {
    /// Summaries in the order of the heads.
    pub fn summaries(&self) -> Vec<Summary> {
        let accuracies = |runs: &[Outcome]| runs.iter().map(|o| o.accuracy).collect::<Vec<f64>>();
        let average = |runs: &[Outcome], f: fn(&Outcome) -> f64| mean(runs.iter().map(f)).unwrap_or(f64::NAN);
        self.heads
            .iter()
            .map(|(candidate, runs)| {
                let own = accuracies(runs);
                let ratio = self.settings.test_over_train;
                let mut differences = Vec::new();
                if !self.offline.is_empty() {
                    differences.push(paired_difference(&own, &self.offline, "offline", ratio));
                }
                for (other, other_runs) in self.heads.iter().filter(|(c, _)| c != candidate) {
                    differences.push(paired_difference(&own, &accuracies(other_runs), other.name(), ratio));
                }
                Summary {
                    head: candidate.name(),
                    accuracy: spread(&own),
                    average_incremental: average(runs, |o| mean(o.curve.iter().copied().filter(|v| v.is_finite())).unwrap_or(f64::NAN)),
                    forgetting: average(runs, |o| o.forgetting),
                    forgetting_max: average(runs, |o| o.forgetting_max),
                    backward_transfer: average(runs, |o| o.backward_transfer),
                    ece: ece(runs.iter().flat_map(|o| o.answers.iter().copied())),
                    ece_of_runs: average(runs, |o| o.ece),
                    rows_per_s: runs.iter().map(|o| o.rows).sum::<usize>() as f64 / runs.iter().map(|o| o.learn_s).sum::<f64>(),
                    differences,
                }
            })
            .collect()
    }

    /// The results as JSON: an array with one object a head.
    pub fn json(&self) -> Value {
        let offline = spread(&self.offline);
        let of_head = |(s, (candidate, runs)): (Summary, &(Candidate, Vec<Outcome>))| {
            json!({
                "data": self.data,
                "head": s.head,
                "rows": self.rows,
                "dim": self.dim,
                "classes": self.classes.len(),
                "accuracy": s.accuracy,
                "offline_accuracy": offline.mean,
                "forgetting": s.forgetting,
                "backward_transfer": s.backward_transfer,
                "learn_rows_per_s": s.rows_per_s,
                "ece": s.ece,
                "ece_of_runs": s.ece_of_runs,
                "guard": guard(runs),
                "average_incremental_accuracy": s.average_incremental,
                "forgetting_max": s.forgetting_max,
                "offline": { "accuracy": offline, "runs": self.offline, "c": self.offline_c },
                "differences": s.differences,
                "differences_interval": "95 %, corrected resampled t (Nadeau & Bengio 2003): the runs share rows",
                "learning_rate": match candidate { Candidate::Naive(rate) => Some(*rate), _ => None },
                "settings": self.settings,
                "runs": runs,
            })
        };
        Value::Array(self.summaries().into_iter().zip(&self.heads).map(of_head).collect())
    }

    /// What guards did, a line a head.
    fn guards(&self) -> String {
        let of_head = |(candidate, runs): &(Candidate, Vec<Outcome>)| {
            let g = guard(runs)?;
            Some(format!(
                "{}: of {} labels looked at after the stream {} were wrong; {} of these were left out, and {} right ones\n",
                candidate.name(),
                g.examined,
                g.wrong,
                g.caught,
                g.refused
            ))
        };
        self.heads.iter().filter_map(of_head).collect()
    }

    /// The results as a table for a terminal.
    pub fn table(&self) -> String {
        let s = &self.settings;
        let offline = spread(&self.offline);
        let mut out = format!(
            "{}: {} rows, {} classes, D = {}; {} runs, {} classes a task, chunks of {}, {}\n\n",
            self.data,
            self.rows,
            self.classes.len(),
            self.dim,
            s.runs,
            s.classes_per_task,
            s.chunk_rows,
            s.latent_bits.describe()
        );
        let _ = writeln!(
            out,
            "{:<14} {:>14} {:>26} {:>10} {:>10} {:>6} {:>10}",
            "head", "accuracy", "minus offline [95 %]", "forgetting", "transfer", "ECE", "rows/s"
        );
        for h in self.summaries() {
            let offline = h.differences.iter().find(|d| d.minus == "offline");
            let _ = writeln!(
                out,
                "{:<14} {:>6.3} +- {:.3} {:>26} {:>10.3} {:>+10.3} {:>6.3} {:>10.0}",
                h.head,
                h.accuracy.mean,
                h.accuracy.std,
                offline.map_or_else(|| "-".to_owned(), |d| format!("{:+.3} [{:+.3}, {:+.3}]", d.mean, d.low, d.high)),
                h.forgetting,
                h.backward_transfer,
                h.ece,
                h.rows_per_s
            );
        }
        match self.offline.is_empty() {
            true => out.push_str("offline joint training: left out\n"),
            false => {
                let _ = writeln!(out, "{:<14} {:>6.3} +- {:.3}", "offline", offline.mean, offline.std);
            }
        }
        let guards = self.guards();
        if !guards.is_empty() {
            let _ = write!(out, "\n{guards}");
        }
        if s.naive_rates.len() > 1 {
            let tried: Vec<String> = s.naive_rates.iter().map(|(rate, a)| format!("{rate}: {a:.3}")).collect();
            let _ = writeln!(out, "\nnaive: the best of the learning rates {}", tried.join(", "));
        }
        out
    }
}

/// What the guard did after the whole stream, in all runs; none without one.
fn guard(runs: &[Outcome]) -> Option<Doubted> {
    let add = |a: Doubted, b: Doubted| Doubted {
        examined: a.examined + b.examined,
        wrong: a.wrong + b.wrong,
        caught: a.caught + b.caught,
        refused: a.refused + b.refused,
    };
    runs.iter().filter_map(|o| o.doubted).reduce(add)
}
