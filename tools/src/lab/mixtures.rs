//! `wheatear lab mixtures`: how well two classes at once are told. In each split, recordings of two different classes are added at equal
//! power, those that are learned with one another and those that are tested with one another, so that no tested sound was heard. Compared
//! are the pooled head, which knows single windows alone, and presence heads from single windows and ever more mixtures.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use rand_chacha::rand_core::Rng;
use serde::Serialize;
use serde_json::json;
use wheatear::audio::decode::read_file;
use wheatear::audio::resample::Resampler;
use wheatear::backbone::manifest::Manifest;
use wheatear::head::{Head, LabelMoments, Presence, SetRow};
use wheatear::latent::Quantiser;
use wheatear::learn::{Block, BlockKind, LabelSet};
use wheatear::learner::Guard;
use wheatear::pipeline::Embedder;
use wheatear::{Error, ErrorKind, Result};

use super::data::Data;
use super::latents::{Latents, Width};
use super::learner::serve;
use super::metrics::{average_precision, mean, mean_class_accuracy, spread};
use super::split::{Split, generator};
use super::{SetArgs, do_all};
use crate::output::print;

#[derive(Debug, ClapArgs)]
pub struct MixturesArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Mixtures that are learned; 0 for single windows alone
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [0usize, 10, 40, 160])]
    learned: Vec<usize>,
    /// Mixtures that are tested in each split
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tested: u32,
    /// Results as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// What one head gave in one split.
#[derive(Debug, Clone, Copy, Serialize)]
struct Outcome {
    /// Mean over the classes of the average precision on windows of mixtures.
    average_precision: f64,
    /// Share of the two classes of a window that are the two most probable.
    top_2: f64,
    /// F1 of what is said with at least one half, over all windows of mixtures and classes together.
    f1: f64,
    /// The same on windows of one class.
    f1_single: f64,
    /// Mean per-class accuracy of the most probable class on windows of one class.
    accuracy_single: f64,
}

/// A latent of a mixture, and the two classes in it.
type Mixed = (Vec<i8>, [usize; 2]);

/// Runs `wheatear lab mixtures`.
///
/// # Errors
/// Those of the sounds, the backbone and the learner; `Config` without sounds.
pub fn run(args: &MixturesArgs) -> anyhow::Result<()> {
    let Some(folder) = &args.set.audio else {
        let error = Error::new(ErrorKind::Config, "mixtures are made from sounds");
        return Err(error.cure("give --audio FOLDER with --backbone FOLDER").into());
    };
    let backbone = args.set.backbone.choose(&args.set.config.load()?)?;
    let manifest = backbone.manifest()?;
    let set = args.set.load()?;
    let data = &set.data;
    let most = args.learned.iter().copied().max().unwrap_or(0);
    let runs = do_all(&set.splits, &data.name, |split| {
        let mut mixer = Mixer { folder, data, embedder: backbone.open()?, silence: manifest.silence_peak() };
        let latents = Latents::new(data, &split.train, Width::Bits(8))?;
        let learned = mixer.mix(split, &split.train, most, &latents, &manifest)?;
        let tested = mixer.mix(split, &split.test, args.tested as usize, &latents, &manifest)?;
        of_split(data, split, &latents, &learned, &tested.concat(), &args.learned)
    })?;
    let names: Vec<String> = std::iter::once("auto, single windows alone".to_owned())
        .chain(
            args.learned
                .iter()
                .map(|n| if *n == 0 { "presence, single windows alone".to_owned() } else { format!("presence, and {n} mixtures") }),
        )
        .collect();
    if args.json {
        let by_head: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(h, name)| json!({ "head": name, "runs": runs.iter().map(|r| r[h]).collect::<Vec<_>>() }))
            .collect();
        return print(&format!("{}\n", serde_json::to_string_pretty(&json!({ "data": data.name, "heads": by_head }))?));
    }
    let mut text = format!("{}: {} classes, mixtures of two unheard recordings; {} runs\n\n", data.name, data.names.len(), runs.len());
    text += &format!("{:<32} {:<14} {:<14} {:<14} {:<14} accuracy, single\n", "", "mAP", "top 2", "F1", "F1, single");
    for (h, name) in names.iter().enumerate() {
        let of = |f: fn(&Outcome) -> f64| {
            let s = spread(&runs.iter().map(|r| f(&r[h])).collect::<Vec<_>>());
            format!("{:.3} +- {:.3}", s.mean, s.std)
        };
        let [map, top, f1] = [of(|o| o.average_precision), of(|o| o.top_2), of(|o| o.f1)];
        text += &format!("{name:<32} {map:<14} {top:<14} {f1:<14} {:<14} {}\n", of(|o| o.f1_single), of(|o| o.accuracy_single));
    }
    print(&text)
}

/// Makes mixtures and embeds them.
struct Mixer<'a> {
    folder: &'a PathBuf,
    data: &'a Data,
    embedder: Embedder,
    silence: f32,
}

impl Mixer<'_> {
    /// Latents of `count` mixtures of recordings that `rows` are of, by mixture.
    fn mix(&mut self, split: &Split, rows: &[usize], count: usize, latents: &Latents, manifest: &Manifest) -> Result<Vec<Vec<Mixed>>> {
        let mut rng = generator(split.seed, 5 << 32 | u64::from(split.fold) << 1 | u64::from(std::ptr::eq(rows, split.test.as_slice())));
        let mut draw = |from: usize| (rng.next_u64() % from.max(1) as u64) as usize;
        let quantiser = Quantiser::new(8, latents.scale().to_vec())?;
        let mut out = Vec::with_capacity(count);
        if rows.iter().all(|row| self.data.y[*row] == self.data.y[rows[0]]) {
            return Err(Error::new(ErrorKind::Input, "a fold has sounds of one class only, so that nothing can be mixed")
                .at(format!("{}, fold {}", self.data.name, split.fold))
                .cure("lower --folds, or add recordings"));
        }
        while out.len() < count {
            let [a, b] = [rows[draw(rows.len())], rows[draw(rows.len())]];
            if self.data.y[a] == self.data.y[b] {
                continue;
            }
            let sounds = [a, b].map(|row| self.sound(row, manifest.audio.rate_hz));
            let [first, second] = sounds;
            let mixed = add(&first?, &second?);
            let mut windows = Vec::new();
            let silence = self.silence;
            let mut keep = |w: wheatear::pipeline::Window<'_>| {
                if w.peak >= silence {
                    let mut latent = vec![0; quantiser.dim()];
                    quantiser.quantise(w.embedding, &mut latent)?;
                    windows.push((latent, [self.data.y[a], self.data.y[b]]));
                }
                Ok(())
            };
            self.embedder.reset(manifest.audio.rate_hz)?;
            self.embedder.push(&mixed, &mut keep)?;
            self.embedder.finish(&mut keep)?;
            out.push(windows);
        }
        Ok(out)
    }

    /// The recording of a row at the backbone's rate.
    fn sound(&self, row: usize, rate_hz: u32) -> Result<Vec<f32>> {
        let (samples, from_hz, _) = read_file(&self.folder.join(&self.data.group[row]))?;
        let mut out = Vec::new();
        let mut resampler = Resampler::new(from_hz, rate_hz)?;
        let mut keep = |x: &[f32]| {
            out.extend_from_slice(x);
            Ok(())
        };
        resampler.push(&samples, &mut keep)?;
        resampler.finish(&mut keep)?;
        Ok(out)
    }
}

/// The sum at equal power over the length of the shorter, its peak at .9.
fn add(a: &[f32], b: &[f32]) -> Vec<f32> {
    let len = a.len().min(b.len());
    let level = |x: &[f32]| (x[..len].iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / len.max(1) as f64).sqrt().max(1e-9) as f32;
    let (a_level, b_level) = (level(a), level(b));
    let mut sum: Vec<f32> = a.iter().zip(b).map(|(a, b)| a / a_level + b / b_level).collect();
    let peak = sum.iter().fold(1e-9f32, |peak, v| peak.max(v.abs()));
    sum.iter_mut().for_each(|v| *v *= 0.9 / peak);
    sum
}

fn of_split(
    data: &Data,
    split: &Split,
    latents: &Latents,
    learned: &[Vec<Mixed>],
    tested: &[Mixed],
    numbers: &[usize],
) -> Result<Vec<Outcome>> {
    let mut statistics = latents.statistics(data.names.len())?;
    latents.learn(&mut statistics, data, &split.train)?;
    let served = serve(Guard::On, &statistics, data, latents, &split.train, None)?;
    let (block, moments) = (latents.block(&statistics)?, latents.moments(&statistics, data)?);
    let of_classes = |classes: &[wheatear::learn::ClassName]| -> Vec<usize> {
        classes.iter().map(|c| data.names.binary_search(c).unwrap_or(0)).collect()
    };
    let judge = |classes: &[usize], tell: &dyn Fn(&[f32], &mut [f32])| {
        let mut out = vec![0.0; classes.len()];
        let mut tell = |x: &[f32]| {
            tell(x, &mut out);
            let mut p = vec![0.0; data.names.len()];
            classes.iter().zip(&out).for_each(|(c, v)| p[*c] = *v);
            p
        };
        let value = |q: &[i8]| q.iter().zip(latents.scale()).map(|(q, s)| f32::from(*q) * s).collect::<Vec<f32>>();
        let mixed: Vec<(Vec<f32>, Vec<usize>)> = tested.iter().map(|(q, both)| (tell(&value(q)), both.to_vec())).collect();
        let single: Vec<(Vec<f32>, Vec<usize>)> =
            split.test.iter().map(|i| (tell(&latents.values[i * data.dim..(i + 1) * data.dim]), vec![data.y[*i]])).collect();
        outcome(&mixed, &single, data.names.len())
    };
    let mut out = vec![judge(&of_classes(&served.head.classes), &|x, p| served.head.probabilities(x, p))];
    let singles: Vec<LabelSet> = data.names.iter().map(|c| LabelSet::single(c.clone())).collect();
    for n in numbers {
        let mut mixed = Block::new(BlockKind::Mixed, data.dim)?;
        let mut rows = Vec::new();
        for i in &split.train {
            rows.push((latents.steps(*i)?, singles[data.y[*i]].clone(), data.recording[*i] as u64));
        }
        for (m, (latent, both)) in learned[..*n].iter().enumerate().flat_map(|(m, windows)| windows.iter().map(move |w| (m, w))) {
            let labels = LabelSet::new(both.iter().map(|c| data.names[*c].clone()).collect(), [].into())?;
            mixed.add(latent, &labels)?;
            rows.push((latent, labels, u64::MAX - m as u64));
        }
        let rows: Vec<SetRow<'_>> =
            rows.iter().map(|(latent, labels, recording)| SetRow { latent, labels, recording: *recording }).collect();
        let sums = LabelMoments::new(&[block, &mixed], latents.scale())?;
        let presence = Presence::solve(&sums, &moments, &rows, true)?;
        let presence = presence.ok_or_else(|| Error::new(ErrorKind::Learn, "too few classes to tell any").at(&data.name))?;
        out.push(judge(&of_classes(presence.classes()), &|x, p| presence.probabilities(x, p)));
    }
    Ok(out)
}

/// Measures of probabilities \[C\] of windows, each with the classes in it.
fn outcome(mixed: &[(Vec<f32>, Vec<usize>)], single: &[(Vec<f32>, Vec<usize>)], classes: usize) -> Outcome {
    let of_class = |c: usize| {
        let scores: Vec<f64> = mixed.iter().map(|(p, _)| f64::from(p[c])).collect();
        average_precision(&scores, &mixed.iter().map(|(_, is)| is.contains(&c)).collect::<Vec<_>>())
    };
    let ranked = |p: &[f32]| {
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|a, b| p[*b].total_cmp(&p[*a]));
        order
    };
    let f1 = |windows: &[(Vec<f32>, Vec<usize>)]| {
        let said = |(p, is): &(Vec<f32>, Vec<usize>)| (0..classes).filter(|c| p[*c] >= 0.5).map(|c| is.contains(&c)).collect::<Vec<_>>();
        let all: Vec<bool> = windows.iter().flat_map(said).collect();
        let wanted = windows.iter().map(|(_, is)| is.len()).sum::<usize>();
        2.0 * all.iter().filter(|right| **right).count() as f64 / (all.len() + wanted).max(1) as f64
    };
    let in_top = |(p, is): &(Vec<f32>, Vec<usize>)| ranked(p)[..2].iter().filter(|c| is.contains(c)).count() as f64 / 2.0;
    let (predicted, truth): (Vec<usize>, Vec<usize>) = single.iter().map(|(p, is)| (ranked(p)[0], is[0])).unzip();
    Outcome {
        average_precision: mean((0..classes).filter_map(of_class)).unwrap_or(f64::NAN),
        top_2: mean(mixed.iter().map(in_top)).unwrap_or(f64::NAN),
        f1: f1(mixed),
        f1_single: f1(single),
        accuracy_single: mean_class_accuracy(&predicted, &truth, classes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_has_both_at_equal_power_whatever_their_level() {
        let (loud, soft) = ([1.0, -1.0, 1.0, -1.0, 9.0], [0.01, 0.01, -0.01, -0.01]);
        let mixed = add(&loud, &soft);
        assert_eq!(mixed.len(), 4);
        assert!(mixed.iter().zip([0.9, 0.0, 0.0, -0.9]).all(|(a, b)| (a - b).abs() < 1e-6), "{mixed:?}");
    }

    #[test]
    fn measures_follow_their_definitions() {
        let mixed = [(vec![0.9, 0.6, 0.1], vec![0, 1]), (vec![0.2, 0.7, 0.4], vec![1, 2]), (vec![0.8, 0.1, 0.6], vec![0, 2])];
        let single = [(vec![0.9, 0.6, 0.0], vec![0]), (vec![0.3, 0.4, 0.0], vec![1])];
        let found = outcome(&mixed, &single, 3);
        assert_eq!((found.average_precision, found.top_2, found.accuracy_single), (1.0, 1.0, 1.0));
        // Five said, all right, of six; then two said, one right, of two.
        assert!((found.f1 - 10.0 / 11.0).abs() < 1e-12 && (found.f1_single - 0.5).abs() < 1e-12, "{found:?}");
    }
}
