//! `wheatear lab rejections`: what "that is not a wren" is worth. In each split half of the classes are taught. Of each other class some
//! recordings for which the head says a taught class c are said not to be c; tested is how often its other recordings still pass for c,
//! and how many true rows of c are lost, on the same rows before and after.

use std::collections::BTreeMap;

use clap::Args as ClapArgs;
use serde::Serialize;
use serde_json::json;
use wheatear::Result;
use wheatear::head::{Head, Presence, argmax};
use wheatear::learn::{Block, BlockKind, LabelSet};
use wheatear::learner::Guard;
use wheatear::learner::mixed::{self, Blocks};

use super::data::Data;
use super::latents::{Latents, Width};
use super::learner::serve;
use super::metrics::{mean, paired_difference, spread};
use super::split::{Split, generator, shuffle};
use super::{SetArgs, do_all};
use crate::output::print;

#[derive(Debug, ClapArgs)]
pub struct RejectionsArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Recordings of a class that are rejected
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1usize, 2, 4])]
    recordings: Vec<usize>,
    /// Results as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// One split and number of recordings: means over the classes that were never taught.
#[derive(Debug, Clone, Serialize)]
struct Run {
    seed: u64,
    fold: u32,
    recordings: usize,
    /// Classes that were rejected.
    cases: usize,
    /// Share of the rejected class's other rows that are said to be c with at least one half.
    false_before: f64,
    false_after: f64,
    /// Share of true rows of c that are.
    recall_before: f64,
    recall_after: f64,
}

/// Runs `wheatear lab rejections`.
///
/// # Errors
/// Those of the data, the splits and the learner.
pub fn run(args: &RejectionsArgs) -> anyhow::Result<()> {
    let set = args.set.load()?;
    let data = &set.data;
    let runs = do_all(&set.splits, &data.name, |split| of_split(data, split, &args.recordings))?.concat();
    let ratio = set.test_over_train();
    let mut text = format!("{}: {} rows, {} classes, one half taught\n\n", data.name, data.rows(), data.names.len());
    text += "rejected   cases   passes for c          difference [95 %]        recall of c           difference [95 %]\n";
    let mut all = Vec::new();
    for n in &args.recordings {
        let of = |f: fn(&Run) -> f64| runs.iter().filter(|r| r.recordings == *n).map(f).collect::<Vec<f64>>();
        let (before, after) = (of(|r| r.false_before), of(|r| r.false_after));
        let (recall_before, recall_after) = (of(|r| r.recall_before), of(|r| r.recall_after));
        let differences =
            [paired_difference(&after, &before, "before", ratio), paired_difference(&recall_after, &recall_before, "before", ratio)];
        let cases = of(|r| r.cases as f64).iter().sum::<f64>();
        let means = [&before, &after, &recall_before, &recall_after].map(|v| spread(v).mean);
        let [passes, recall] = &differences;
        text += &format!(
            "{n:>8}   {cases:>5}   {:.3} -> {:.3}   {:+.3} [{:+.3}, {:+.3}]   {:.3} -> {:.3}   {:+.3} [{:+.3}, {:+.3}]\n",
            means[0], means[1], passes.mean, passes.low, passes.high, means[2], means[3], recall.mean, recall.low, recall.high
        );
        all.push(json!({ "recordings": n, "cases": cases, "false_before": means[0], "false_after": means[1],
            "recall_before": means[2], "recall_after": means[3], "false_difference": passes, "recall_difference": recall }));
    }
    if args.json {
        let interval = "95 %, corrected resampled t (Nadeau & Bengio 2003): the runs share rows";
        let result = json!({ "data": data.name, "by_recordings": all, "differences_interval": interval, "runs": runs });
        return print(&format!("{}\n", serde_json::to_string_pretty(&result)?));
    }
    print(&text)
}

fn of_split(data: &Data, split: &Split, numbers: &[usize]) -> Result<Vec<Run>> {
    let mut classes: Vec<usize> = (0..data.names.len()).collect();
    shuffle(&mut classes, &mut generator(split.seed, 3 << 32 | u64::from(split.fold)));
    let (first, second) = classes.split_at(classes.len() / 2);
    let mut cases = of_half(data, split, first, second, numbers)?;
    cases.extend(of_half(data, split, second, first, numbers)?);
    let of_number = |n: &usize| {
        let of = |f: fn(&Case) -> f64| mean(cases.iter().filter(|c| c.recordings == *n).map(f));
        Some(Run {
            seed: split.seed,
            fold: split.fold,
            recordings: *n,
            cases: cases.iter().filter(|c| c.recordings == *n).count(),
            false_before: of(|c| c.passes.0)?,
            false_after: of(|c| c.passes.1)?,
            recall_before: of(|c| c.recall.0)?,
            recall_after: of(|c| c.recall.1)?,
        })
    };
    Ok(numbers.iter().filter_map(of_number).collect())
}

/// One class that was rejected: shares before and after.
struct Case {
    recordings: usize,
    passes: (f64, f64),
    recall: (f64, f64),
}

fn of_half(data: &Data, split: &Split, taught: &[usize], hidden: &[usize], numbers: &[usize]) -> Result<Vec<Case>> {
    let train: Vec<usize> = split.train.iter().copied().filter(|i| taught.contains(&data.y[*i])).collect();
    let latents = Latents::new(data, &train, Width::Bits(8))?;
    let mut statistics = latents.statistics(data.names.len())?;
    latents.learn(&mut statistics, data, &train)?;
    let head = serve(Guard::On, &statistics, data, &latents, &train, None)?.head;
    let x = |i: usize| &latents.values[i * data.dim..(i + 1) * data.dim];
    let mut p = vec![0.0; head.classes.len()];
    let mut says = |i: usize, presence: Option<&Presence>| {
        head.probabilities(x(i), &mut p);
        if let Some(presence) = presence {
            presence.veto(x(i), &head.classes, &mut p);
        }
        let best = argmax(&p);
        (p[best] >= 0.5).then_some(best)
    };
    let mut cases = Vec::new();
    for class in hidden {
        let mut recordings: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for i in split.train.iter().filter(|i| data.y[**i] == *class) {
            if let Some(said) = says(*i, None) {
                recordings.entry(data.recording[*i]).or_default().push((*i, said));
            }
        }
        let mut order: Vec<Vec<(usize, usize)>> = recordings.into_values().collect();
        shuffle(&mut order, &mut generator(split.seed, 4 << 32 | (*class as u64) << 16 | u64::from(split.fold)));
        // What the class passes for most.
        let mut counts = vec![0; head.classes.len()];
        order.iter().flatten().for_each(|(_, said)| counts[*said] += 1);
        let Some(wrong) = (0..counts.len()).max_by_key(|c| counts[*c]).filter(|c| counts[*c] > 0) else { continue };
        order.iter_mut().for_each(|rows| rows.retain(|(_, said)| *said == wrong));
        order.retain(|rows| !rows.is_empty());
        let labels = LabelSet::new([].into(), [head.classes[wrong].clone()].into())?;
        let truth = data.names.binary_search(&head.classes[wrong]).unwrap_or(0);
        let of_class = |class: usize| split.test.iter().copied().filter(move |i| data.y[*i] == class);
        for n in numbers.iter().filter(|n| **n <= order.len()) {
            let mut block = Block::new(BlockKind::Mixed, data.dim)?;
            for (i, _) in order[..*n].iter().flatten() {
                block.add(latents.steps(*i)?, &labels)?;
            }
            let blocks = Blocks { latents: latents.block(&statistics)?, mixed: &block, background: None, holds_several: false };
            let presence = mixed::solve(blocks, latents.scale(), &[], &[])?;
            let mut share =
                |class: usize, with: Option<&Presence>| mean(of_class(class).map(|i| f64::from(u8::from(says(i, with) == Some(wrong)))));
            let shares = (share(*class, None), share(*class, presence.as_ref()), share(truth, None), share(truth, presence.as_ref()));
            if let (Some(a), Some(b), Some(c), Some(d)) = shares {
                cases.push(Case { recordings: *n, passes: (a, b), recall: (c, d) });
            }
        }
    }
    Ok(cases)
}
