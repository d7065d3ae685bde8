//! `wheatear lab drift`: what weighing old rows less is worth where the embeddings change at half of the stream, and what it costs
//! where they do not. Accuracy is prequential: a chunk of whole recordings is answered, then learned (test-then-train).
//!
//! Every run has another order of the recordings and another change. The runs share all rows, so the intervals are corrected with one
//! row tested for each row learned before (Nadeau & Bengio 2003); they say nothing about other data or other changes.

use clap::Args as ClapArgs;
use serde::Serialize;
use serde_json::json;
use wheatear::Result;
use wheatear::head::{Head, SolvedHead, argmax};
use wheatear::learn::LabelSet;
use wheatear::monitor::Adwin;

use super::data::Data;
use super::latents::{Latents, Width};
use super::metrics::{Difference, mean, paired_difference};
use super::ring::Ring;
use super::shift::Shift;
use super::split::{self, generator};
use super::{SetArgs, do_all};
use crate::output::print;

#[derive(Debug, ClapArgs)]
pub struct DriftArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Runs, each with another order and another change
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..=1000))]
    runs: u32,
    /// Blocks of the ring beside its base
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    blocks: u32,
    /// Most rows of a block
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    block_rows: u32,
    /// Delta of ADWIN over right and wrong answers
    #[arg(long, default_value_t = 0.05)]
    delta: f64,
    /// Results as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// How old rows weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Policy {
    /// As much as new ones.
    Plain,
    /// Each block this much of the next newer one.
    Age(f64),
    /// This much when ADWIN told that accuracy fell since.
    Triggered(f64),
    /// This much when the embeddings have changed since, which no device knows: the most that a trigger can be worth.
    Known(f64),
}

const POLICIES: [Policy; 6] =
    [Policy::Plain, Policy::Age(0.8), Policy::Age(0.5), Policy::Triggered(0.1), Policy::Triggered(0.01), Policy::Known(0.01)];

impl Policy {
    fn name(self) -> String {
        match self {
            Policy::Plain => "slda".to_owned(),
            Policy::Age(w) => format!("by age, {w}"),
            Policy::Triggered(w) => format!("on a change, {w}"),
            Policy::Known(w) => format!("change known, {w}"),
        }
    }
}

/// What one run of one policy gave.
#[derive(Debug, Clone, Copy, Serialize)]
struct Run {
    /// Accuracy before the half, 0 to 1.
    before: f64,
    /// Accuracy after it.
    after: f64,
    /// Falls that ADWIN told before the half: all of them false.
    alarms_before: usize,
    /// Falls that it told after it.
    alarms_after: usize,
    /// Answers from the half to the first fall told after it.
    delay: Option<usize>,
}

/// The runs of one policy on one kind of stream.
#[derive(Debug, Serialize)]
struct Outcome {
    shift: Shift,
    policy: String,
    /// Means over the runs.
    before: f64,
    after: f64,
    alarms_before: f64,
    alarms_after: f64,
    /// Runs in which a fall was told after the half, and after how many answers on average.
    told: usize,
    delay: Option<f64>,
    /// Accuracy after the half minus that of slda.
    difference: Difference,
    runs: Vec<Run>,
}

/// Runs `wheatear lab drift`.
///
/// # Errors
/// Those of the data and the learner.
pub fn run(args: &DriftArgs) -> anyhow::Result<()> {
    let data = args.set.load()?.data;
    let jobs: Vec<(Shift, u64)> = Shift::ALL.iter().flat_map(|s| (0..u64::from(args.runs)).map(move |seed| (*s, seed))).collect();
    let done = do_all(&jobs, &data.name, |(shift, seed)| one(args, &data, *shift, *seed))?;
    let mut outcomes = Vec::new();
    for (shift, of_shift) in Shift::ALL.iter().zip(done.chunks(args.runs as usize)) {
        let plain: Vec<f64> = of_shift.iter().map(|run| run[0].after).collect();
        for (k, policy) in POLICIES.iter().enumerate() {
            let runs: Vec<Run> = of_shift.iter().map(|run| run[k]).collect();
            let of = |f: fn(&Run) -> f64| mean(runs.iter().map(f)).unwrap_or(f64::NAN);
            let after: Vec<f64> = runs.iter().map(|r| r.after).collect();
            outcomes.push(Outcome {
                shift: *shift,
                policy: policy.name(),
                before: of(|r| r.before),
                after: of(|r| r.after),
                alarms_before: of(|r| r.alarms_before as f64),
                alarms_after: of(|r| r.alarms_after as f64),
                told: runs.iter().filter(|r| r.delay.is_some()).count(),
                delay: mean(runs.iter().filter_map(|r| r.delay).map(|d| d as f64)),
                difference: paired_difference(&after, &plain, "slda", 1.0),
                runs,
            });
        }
    }
    if args.json {
        let settings = json!({"runs": args.runs, "blocks": args.blocks, "block_rows": args.block_rows, "delta": args.delta,
            "chunk_rows": args.set.chunk_rows});
        let result = json!({"data": data.name, "settings": settings, "outcomes": outcomes});
        return print(&format!("{}\n", serde_json::to_string_pretty(&result)?));
    }
    let mut text = format!("{}: {} rows, {} classes; {} runs\n", data.name, data.rows(), data.names.len(), args.runs);
    text += "accuracy before and after the half, difference to slda after it; falls told before and after, mean delay in answers\n";
    for o in &outcomes {
        let d = &o.difference;
        text += &format!(
            "{:<11} {:<18} {:.3} {:.3}  {:+.3} [{:+.3}, {:+.3}]  {:.2} {:.2}  {}\n",
            format!("{:?}", o.shift),
            o.policy,
            o.before,
            o.after,
            d.mean,
            d.low,
            d.high,
            o.alarms_before,
            o.alarms_after,
            o.delay.map_or("-".to_owned(), |d| format!("{d:.0} in {} runs", o.told)),
        );
    }
    print(&text)
}

/// One order of the recordings and one change, under every policy.
fn one(args: &DriftArgs, data: &Data, shift: Shift, seed: u64) -> Result<Vec<Run>> {
    let all: Vec<usize> = (0..data.rows()).collect();
    let chunks = split::whole_recordings(&all, data, args.set.chunk_rows as usize, &mut generator(seed, 4 << 32));
    let half = chunks.len() / 2;
    let mut changed = data.clone();
    shift.apply(&mut changed, &chunks[half..].concat(), &mut generator(seed, 5 << 32))?;
    let latents = Latents::new(&changed, &chunks[..half].concat(), Width::Bits(8))?;
    POLICIES.iter().map(|policy| answer_and_learn(args, &changed, &latents, &chunks, *policy)).collect()
}

fn answer_and_learn(args: &DriftArgs, data: &Data, latents: &Latents, chunks: &[Vec<usize>], policy: Policy) -> Result<Run> {
    let half = chunks.len() / 2;
    let mut ring = Ring::new(data.dim, args.blocks as usize, u64::from(args.block_rows))?;
    let mut adwin = Adwin::new(args.delta)?;
    // Rows learned since the change that is reacted to.
    let mut since: Option<u64> = None;
    let (mut right, mut answers, mut alarms, mut delay) = ([0usize; 2], [0usize; 2], [0usize; 2], None);
    for (n, chunk) in chunks.iter().enumerate() {
        let part = usize::from(n >= half);
        let mut reacts = n == half && matches!(policy, Policy::Known(_));
        if n > 0 {
            let weight = |age: usize, newer: u64| match policy {
                Policy::Plain => 1.0,
                Policy::Age(w) => w.powi(age as i32),
                Policy::Triggered(w) | Policy::Known(w) => since.map_or(1.0, |rows| if newer >= rows && rows > 0 { w } else { 1.0 }),
            };
            let head = SolvedHead::Slda.solve(&ring.moments(latents.scale(), weight)?)?;
            let mut z = vec![0.0; head.classes().len()];
            // A class that was never learned cannot be answered: it says nothing about a change.
            for i in chunk.iter().filter(|i| head.classes().contains(&data.names[data.y[**i]])) {
                head.scores(&latents.values[i * data.dim..(i + 1) * data.dim], &mut z);
                let hit = head.classes()[argmax(&z)] == data.names[data.y[*i]];
                right[part] += usize::from(hit);
                answers[part] += 1;
                if adwin.push(f64::from(u8::from(hit))).is_some_and(|change| change.fell()) {
                    alarms[part] += 1;
                    if part == 1 {
                        delay = delay.or(Some(answers[1]));
                    }
                    reacts |= matches!(policy, Policy::Triggered(_));
                }
            }
        }
        if reacts {
            ring.begin()?;
            since = Some(0);
        }
        let rows = chunk.iter().map(|i| latents.steps(*i)).collect::<Result<Vec<_>>>()?.concat();
        let labels: Vec<LabelSet> = chunk.iter().map(|i| LabelSet::single(data.names[data.y[*i]].clone())).collect();
        ring.add_chunk(&rows, &labels)?;
        since = since.map(|rows| rows + chunk.len() as u64);
    }
    let share = |k: usize| right[k] as f64 / answers[k].max(1) as f64;
    Ok(Run { before: share(0), after: share(1), alarms_before: alarms[0], alarms_after: alarms[1], delay })
}
