//! `wheatear lab guard`: labels are right for the first part of a stream and wrong for a share of the rest. What is served at its end is
//! compared, on the same rows: believing all, doubting labels, trying heads, and both; with right labels to the end as what could be had.

use clap::Args as ClapArgs;
use rand_chacha::rand_core::Rng;
use serde::Serialize;
use serde_json::json;
use wheatear::Result;
use wheatear::learner::trial::{self, Judgement};
use wheatear::learner::{Guard, Served};

use super::data::Data;
use super::evaluate::predict;
use super::latents::{Latents, Width};
use super::learner::serve;
use super::metrics::{Difference, mean, mean_class_accuracy, paired_difference};
use super::split::{self, Split, generator, shuffle};
use super::{SetArgs, do_all};
use crate::output::print;

#[derive(Debug, ClapArgs)]
pub struct GuardArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Shares of the later recordings that are said to be some other class
    #[arg(long, value_delimiter = ',', default_value = "0.1,0.2,0.4", value_parser = share)]
    label_noise: Vec<f64>,
    /// Share of the stream before, where all labels are right
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    right_first: f64,
    /// Results as JSON on stdout
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v| (0.0..=0.9).contains(v)).ok_or_else(|| "0 to 0.9".to_owned())
}

/// What is wrong with the later labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Wrong {
    /// Nothing.
    None,
    /// A share of the recordings, each said to be any other class.
    Share(f64),
    /// Every recording of one class is said to be another one and the other way round: someone takes them for each other.
    Exchanged,
}

/// How heads are guarded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Guarding {
    doubts: bool,
    tries: bool,
}

const GUARDINGS: [Guarding; 4] = [
    Guarding { doubts: false, tries: false },
    Guarding { doubts: true, tries: false },
    Guarding { doubts: false, tries: true },
    Guarding { doubts: true, tries: true },
];

impl Guarding {
    fn name(self) -> &'static str {
        match (self.doubts, self.tries) {
            (false, false) => "believing",
            (true, false) => "doubting labels",
            (false, true) => "trying heads",
            (true, true) => "both",
        }
    }
}

/// What one run of one way gave.
#[derive(Debug, Clone, Copy, Serialize)]
struct Run {
    /// Mean per-class accuracy of what is served at the end.
    accuracy: f64,
    /// Heads that were tried, one a chunk, and those that were refused.
    tried: usize,
    refused: usize,
}

#[derive(Debug, Serialize)]
struct Outcome {
    wrong: Wrong,
    guarding: &'static str,
    accuracy: f64,
    tried: usize,
    refused: usize,
    /// Accuracy minus that of believing right labels to the end.
    difference: Difference,
    runs: Vec<Run>,
}

/// Runs `wheatear lab guard`.
///
/// # Errors
/// Those of the data, the splits and the learner.
pub fn run(args: &GuardArgs) -> anyhow::Result<()> {
    let set = args.set.load()?;
    let wrongs: Vec<Wrong> =
        [Wrong::None].into_iter().chain(args.label_noise.iter().map(|s| Wrong::Share(*s))).chain([Wrong::Exchanged]).collect();
    let done = do_all(&set.splits, &set.data.name, |split| of_split(args, &set.data, split, &wrongs))?;
    let ratio = set.test_over_train();
    let right: Vec<f64> = done.iter().map(|runs| runs[0][0].accuracy).collect();
    let mut outcomes = Vec::new();
    for (w, wrong) in wrongs.iter().enumerate() {
        for (g, guarding) in GUARDINGS.iter().enumerate() {
            let runs: Vec<Run> = done.iter().map(|all| all[w][g]).collect();
            let accuracy: Vec<f64> = runs.iter().map(|r| r.accuracy).collect();
            outcomes.push(Outcome {
                wrong: *wrong,
                guarding: guarding.name(),
                accuracy: mean(accuracy.iter().copied()).unwrap_or(f64::NAN),
                tried: runs.iter().map(|r| r.tried).sum(),
                refused: runs.iter().map(|r| r.refused).sum(),
                difference: paired_difference(&accuracy, &right, "right labels", ratio),
                runs,
            });
        }
    }
    if args.json {
        let settings =
            json!({"right_first": args.right_first, "chunk_rows": args.set.chunk_rows, "folds": args.set.folds, "seeds": args.set.seeds});
        return print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&json!({"data": set.data.name, "settings": settings, "outcomes": outcomes}))?
        ));
    }
    let mut text = format!("{}: {} rows, {} classes; {} runs\n", set.data.name, set.data.rows(), set.data.names.len(), set.splits.len());
    text += "accuracy of what is served, difference to right labels with a 95 % interval, heads refused of those tried\n";
    for o in &outcomes {
        let wrong = match o.wrong {
            Wrong::None => "right labels".to_owned(),
            Wrong::Share(s) => format!("{:.0} % wrong", 100.0 * s),
            Wrong::Exchanged => "two exchanged".to_owned(),
        };
        let d = &o.difference;
        text += &format!("{wrong:<14} {:<16} {:.3}  {:+.3} [{:+.3}, {:+.3}]  ", o.guarding, o.accuracy, d.mean, d.low, d.high);
        text += &if o.guarding == "believing" || o.guarding == "doubting labels" {
            "\n".to_owned()
        } else {
            format!("{} of {}\n", o.refused, o.tried)
        };
    }
    print(&text)
}

/// By what is wrong, then by guarding.
fn of_split(args: &GuardArgs, data: &Data, split: &Split, wrongs: &[Wrong]) -> Result<Vec<Vec<Run>>> {
    let chunks = split::whole_recordings(
        &split.train,
        data,
        args.set.chunk_rows as usize,
        &mut generator(split.seed, 6 << 32 | u64::from(split.fold)),
    );
    let first = ((chunks.len() as f64 * args.right_first) as usize).max(1);
    let latents = Latents::new(data, &split.train, Width::Bits(8))?;
    let one = |wrong: &Wrong| {
        let mut said = data.clone();
        wrong.mislabel(&mut said, &chunks[first.min(chunks.len())..].concat(), split);
        GUARDINGS.iter().map(|guarding| stream(*guarding, &said, split, &latents, &chunks, first)).collect()
    };
    wrongs.iter().map(one).collect()
}

impl Wrong {
    fn mislabel(self, data: &mut Data, rows: &[usize], split: &Split) {
        let mut rng = generator(split.seed, 7 << 32 | u64::from(split.fold));
        let classes = data.names.len();
        match self {
            Wrong::None => {}
            Wrong::Share(share) => {
                let mut recordings: Vec<usize> = rows.iter().map(|i| data.recording[*i]).collect();
                recordings.sort_unstable();
                recordings.dedup();
                for recording in recordings {
                    let draw = rng.next_u64() as f64 / u64::MAX as f64;
                    let shift = 1 + (rng.next_u64() % (classes as u64 - 1)) as usize;
                    for i in rows.iter().filter(|i| draw < share && data.recording[**i] == recording) {
                        data.y[*i] = (data.truth[*i] + shift) % classes;
                    }
                }
            }
            Wrong::Exchanged => {
                let mut of: Vec<usize> = (0..classes).collect();
                shuffle(&mut of, &mut rng);
                for i in rows {
                    data.y[*i] = match data.truth[*i] {
                        a if a == of[0] => of[1],
                        b if b == of[1] => of[0],
                        other => other,
                    };
                }
            }
        }
    }
}

/// Learns chunk by chunk and makes a head after each, from the last of the right ones on.
fn stream(guarding: Guarding, data: &Data, split: &Split, latents: &Latents, chunks: &[Vec<usize>], first: usize) -> Result<Run> {
    let guard = if guarding.doubts { Guard::On } else { Guard::Off };
    let mut statistics = latents.statistics(data.names.len())?;
    let mut learned: Vec<usize> = Vec::new();
    let (mut tried, mut refused) = (0, 0);
    let mut serving: Option<(Served, Judgement)> = None;
    for (n, chunk) in chunks.iter().enumerate() {
        latents.learn(&mut statistics, data, chunk)?;
        learned.extend(chunk);
        // Where nothing is tried, no head before the last one matters.
        if n + 1 < chunks.len() && (!guarding.tries || n + 1 < first) {
            continue;
        }
        let newest = serve(guard, &statistics, data, latents, &learned, None)?;
        let verdict = serving.as_ref().filter(|_| guarding.tries).map(|(_, before)| trial::compare(before, &newest.answers));
        tried += usize::from(verdict.is_some());
        if verdict.is_some_and(|v| !v.accepts()) {
            refused += 1;
            continue;
        }
        let judgement = newest.answers.judgement(serving.as_ref().map(|(_, first)| first));
        serving = Some((newest, judgement));
    }
    let truth: Vec<usize> = split.test.iter().map(|i| data.truth[*i]).collect();
    let accuracy = serving.map_or(f64::NAN, |(served, _)| {
        let (predicted, _) = predict(&served.head, data, &split.test, latents);
        mean_class_accuracy(&predicted, &truth, data.names.len())
    });
    Ok(Run { accuracy, tried, refused })
}
