//! `wheatear lab unknown`: how well windows of classes that were never taught are told from those of classes that were, against the
//! two usual baselines. In each split the classes are halved at random: one half is taught, rows of the other are unknown; then the
//! other way round.

use clap::Args as ClapArgs;
use serde::Serialize;
use serde_json::json;
use wheatear::head::{Head, SolvedHead, softmax};
use wheatear::learner::{Guard, Served};
use wheatear::{Error, ErrorKind, Result};

use super::data::Data;
use super::latents::{Latents, Width};
use super::learner::serve;
use super::metrics::{Spread, auroc, ece, mean, paired_difference, spread};
use super::split::{Split, generator, shuffle};
use super::{SetArgs, do_all};
use crate::output::print;

#[derive(Debug, ClapArgs)]
pub struct UnknownArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Results as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// What one split gave, each the mean over its two halves.
#[derive(Debug, Clone, Serialize)]
struct Run {
    seed: u64,
    fold: u32,
    /// Area under the ROC curve of the runtime's distance.
    auroc: f64,
    /// Of one minus the largest probability of the pooled head (Hendrycks & Gimpel 2017).
    max_softmax: f64,
    /// Of the energy of slda's scores at temperature 1 (Liu 2020).
    energy: f64,
    /// Of the energy of the pooled head's scores.
    energy_auto: f64,
    /// Share of unknown windows that pass for known where 95 % of the known ones do.
    false_known_at_95: f64,
    #[serde(skip)]
    answers: Vec<(f32, bool)>,
}

/// Runs `wheatear lab unknown`.
///
/// # Errors
/// Those of the data, the splits and the learner; `Input` with fewer than four classes.
pub fn run(args: &UnknownArgs) -> anyhow::Result<()> {
    let set = args.set.load()?;
    let data = &set.data;
    if data.names.len() < 4 {
        return Err(Error::new(ErrorKind::Input, "too few classes to teach one half and hide the other")
            .at(&data.name)
            .expected("at least 4")
            .found(data.names.len())
            .into());
    }
    let runs = do_all(&set.splits, &data.name, |split| of_split(data, split))?;
    let of = |f: fn(&Run) -> f64| runs.iter().map(f).collect::<Vec<f64>>();
    let ratio = set.test_over_train();
    let (own, softmax, energy, energy_auto) = (of(|r| r.auroc), of(|r| r.max_softmax), of(|r| r.energy), of(|r| r.energy_auto));
    let differences = [
        paired_difference(&own, &softmax, "max_softmax", ratio),
        paired_difference(&own, &energy, "energy", ratio),
        paired_difference(&own, &energy_auto, "energy_auto", ratio),
    ];
    let at_95 = mean(of(|r| r.false_known_at_95)).unwrap_or(f64::NAN);
    let calibration = ece(runs.iter().flat_map(|r| r.answers.iter().copied()));
    if args.json {
        let means = |values: &[f64]| mean(values.iter().copied());
        let result = json!({
            "data": data.name,
            "auroc": means(&own),
            "auroc_max_softmax": means(&softmax),
            "auroc_energy": means(&energy),
            "auroc_energy_auto": means(&energy_auto),
            "auroc_std": spread(&own).std,
            "false_known_at_95_known": at_95,
            "ece": calibration,
            "differences": differences,
            "differences_interval": "95 %, corrected resampled t (Nadeau & Bengio 2003): the runs share rows",
            "runs": runs,
        });
        return print(&format!("{}\n", serde_json::to_string_pretty(&result)?));
    }
    let mut text = format!("{}: {} rows, {} classes, one half taught; {} runs\n\n", data.name, data.rows(), data.names.len(), runs.len());
    let mut line = |name: &str, s: Spread, than: Option<&super::metrics::Difference>| {
        let than = than.map_or(String::new(), |d| format!("   {:+.3} [{:+.3}, {:+.3}]", d.mean, d.low, d.high));
        text += &format!("{name:<28} {:.3} +- {:.3}{than}\n", s.mean, s.std);
    };
    line("AUROC", spread(&own), None);
    line("of the largest probability", spread(&softmax), Some(&differences[0]));
    line("of the energy, slda", spread(&energy), Some(&differences[1]));
    line("of the energy, auto", spread(&energy_auto), Some(&differences[2]));
    text += &format!(
        "\nwhere 95 % of known windows pass, {:.1} % of unknown ones do; ECE of the probability {calibration:.3}\n",
        100.0 * at_95
    );
    text += "right: how much better ours is, paired, with a 95 % interval\n";
    print(&text)
}

fn of_split(data: &Data, split: &Split) -> Result<Run> {
    let mut classes: Vec<usize> = (0..data.names.len()).collect();
    shuffle(&mut classes, &mut generator(split.seed, 2 << 32 | u64::from(split.fold)));
    let (first, second) = classes.split_at(classes.len() / 2);
    let halves = [of_half(data, split, first)?, of_half(data, split, second)?];
    let of = |f: fn(&Run) -> f64| halves.iter().map(f).sum::<f64>() / 2.0;
    Ok(Run {
        seed: split.seed,
        fold: split.fold,
        auroc: of(|r| r.auroc),
        max_softmax: of(|r| r.max_softmax),
        energy: of(|r| r.energy),
        energy_auto: of(|r| r.energy_auto),
        false_known_at_95: of(|r| r.false_known_at_95),
        answers: halves.iter().flat_map(|r| r.answers.clone()).collect(),
    })
}

fn of_half(data: &Data, split: &Split, taught: &[usize]) -> Result<Run> {
    let train: Vec<usize> = split.train.iter().copied().filter(|i| taught.contains(&data.y[*i])).collect();
    let latents = Latents::new(data, &train, Width::Bits(8))?;
    let mut statistics = latents.statistics(data.names.len())?;
    latents.learn(&mut statistics, data, &train)?;
    let moments = latents.moments(&statistics, data)?;
    let Served { head, unknown: Some(unknown), .. } = serve(Guard::On, &statistics, data, &latents, &train, None)? else {
        return Err(Error::new(ErrorKind::Learn, "too few recordings a class to judge by")
            .at(&data.name)
            .expected("two or more of each class")
            .cure("add recordings"));
    };
    let slda = SolvedHead::Slda.solve(&moments)?;
    let energy = |z: &[f32]| {
        let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        -f64::from(top) - z.iter().map(|z| f64::from(z - top).exp()).sum::<f64>().ln()
    };
    let mut z = vec![0.0; head.classes.len()];
    let (mut scores, mut is_new, mut answers) = ([const { Vec::new() }; 4], Vec::new(), Vec::new());
    for i in &split.test {
        let x = &latents.values[i * data.dim..(i + 1) * data.dim];
        is_new.push(!taught.contains(&data.y[*i]));
        scores[0].push(f64::from(unknown.distance(x, &mut z)));
        let p = unknown.probability(x, &mut z);
        answers.push((p.max(1.0 - p), (p > 0.5) == is_new[is_new.len() - 1]));
        slda.scores(x, &mut z);
        scores[2].push(energy(&z));
        head.scores(x, &mut z);
        scores[3].push(energy(&z));
        softmax(&mut z, head.temperature());
        scores[1].push(-f64::from(z.iter().copied().fold(0.0, f32::max)));
    }
    let mut known: Vec<f64> = scores[0].iter().zip(&is_new).filter(|(_, new)| !**new).map(|(u, _)| *u).collect();
    known.sort_by(f64::total_cmp);
    let limit = known.get((known.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::INFINITY);
    let new = scores[0].iter().zip(&is_new).filter(|(_, new)| **new);
    let [own, softmax, energy, energy_auto] = scores.each_ref().map(|s| auroc(s, &is_new));
    Ok(Run {
        seed: split.seed,
        fold: split.fold,
        auroc: own,
        max_softmax: softmax,
        energy,
        energy_auto,
        false_known_at_95: new.clone().filter(|(u, _)| **u <= limit).count() as f64 / new.count() as f64,
        answers,
    })
}
