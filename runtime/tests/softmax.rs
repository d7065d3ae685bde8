//! The softmax head on the committed real clips: against an independent numpy implementation (tests/golden/softmax.py), and
//! against forgetting.

use std::path::PathBuf;

use wheatear::head::naive::{NaiveConfig, NaiveHead};
use wheatear::head::softmax::{Exemplar, SoftmaxConfig, SoftmaxHead};
use wheatear::head::{Head, argmax};
use wheatear::learn::ClassName;

const DIM: usize = 512;

#[derive(serde::Deserialize)]
struct Clips {
    names: Vec<String>,
    y: Vec<usize>,
    scale: Vec<f32>,
    chunks: Vec<Vec<usize>>,
}

#[derive(serde::Deserialize)]
struct Golden {
    settings: Settings,
    updates: Vec<Rows>,
    test: Vec<usize>,
    scores: Vec<Vec<f64>>,
}

#[derive(serde::Deserialize)]
struct Settings {
    learning_rate: f32,
    weight_decay: f32,
    consolidation: f32,
    scale: f32,
    smoothing: f32,
    steps: u32,
}

#[derive(serde::Deserialize)]
struct Rows {
    fresh: Vec<usize>,
    replay: Vec<usize>,
}

struct Real {
    clips: Clips,
    classes: Vec<ClassName>,
    latents: Vec<i8>,
}

fn golden<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Real {
    fn load() -> Real {
        let clips: Clips = golden("heads.json");
        let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/sonicpi.i8");
        let latents = std::fs::read(data).unwrap().into_iter().map(|b| b as i8).collect();
        let classes = clips.names.iter().map(|n| ClassName::new(n).unwrap()).collect();
        Real { clips, classes, latents }
    }

    fn label(&self, row: usize) -> &ClassName {
        &self.classes[self.clips.y[row]]
    }

    fn latent(&self, row: usize) -> &[i8] {
        &self.latents[row * DIM..(row + 1) * DIM]
    }

    fn values(&self, rows: &[usize]) -> Vec<f32> {
        let of_row = |row: &usize| self.latent(*row).iter().zip(&self.clips.scale).map(|(q, s)| f32::from(*q) * s);
        rows.iter().flat_map(of_row).collect()
    }

    fn learn(&self, head: &mut SoftmaxHead, fresh: &[usize], replay: &[usize]) {
        let labels: Vec<ClassName> = fresh.iter().map(|row| self.label(*row).clone()).collect();
        let held: Vec<Exemplar<'_>> = replay.iter().map(|row| Exemplar { latent: self.latent(*row), class: self.label(*row) }).collect();
        head.learn(&self.values(fresh), &labels, &held).unwrap();
    }

    fn scores(&self, head: &dyn Head, row: usize) -> Vec<f32> {
        let mut z = vec![0.0; head.classes().len()];
        head.scores(&self.values(&[row]), &mut z);
        z
    }

    /// Share of the rows of a class, of those never learned, that are named right; mean over the classes.
    fn accuracy(&self, head: &dyn Head, classes: &[usize]) -> f64 {
        let learned = self.clips.chunks.concat();
        let of_class = |class: &usize| {
            let rows: Vec<usize> = (0..self.clips.y.len()).filter(|r| self.clips.y[*r] == *class && !learned.contains(r)).collect();
            let right = rows.iter().filter(|r| head.classes()[argmax(&self.scores(head, **r))] == *self.label(**r)).count();
            right as f64 / rows.len() as f64
        };
        classes.iter().map(of_class).sum::<f64>() / classes.len() as f64
    }
}

#[test]
fn two_updates_follow_the_numpy_reference_step_by_step() {
    let (real, golden): (Real, Golden) = (Real::load(), golden("softmax.json"));
    let Settings { learning_rate, weight_decay, consolidation, scale, smoothing, steps } = golden.settings;
    // Every batch holds every row of an update once.
    let config = SoftmaxConfig { learning_rate, weight_decay, consolidation, scale, smoothing, steps, ..SoftmaxConfig::default() };
    let config = SoftmaxConfig { batch_rows: 12, classes_max: 3, rows_max: 12, ..config };
    let mut head = SoftmaxHead::new(&real.clips.scale, config).unwrap();
    golden.updates.iter().for_each(|u| real.learn(&mut head, &u.fresh, &u.replay));
    for (row, expected) in golden.test.iter().zip(&golden.scores) {
        for (z, expected) in real.scores(&head, *row).iter().zip(expected) {
            assert!((f64::from(*z) - expected).abs() < 2e-4, "row {row}: {z} {expected}");
        }
    }
}

#[test]
fn five_rows_of_replay_keep_old_classes_that_naive_sgd_loses_on_real_clips() {
    let real = Real::load();
    let config = SoftmaxConfig { classes_max: 8, rows_max: 80, ..SoftmaxConfig::default() };
    let (mut head, mut forgetful) =
        (SoftmaxHead::new(&real.clips.scale, config).unwrap(), SoftmaxHead::new(&real.clips.scale, config).unwrap());
    let mut naive = NaiveHead::new(DIM, NaiveConfig::default());
    let mut held: Vec<usize> = Vec::new();
    for chunk in &real.clips.chunks {
        real.learn(&mut head, chunk, &held);
        real.learn(&mut forgetful, chunk, &[]);
        naive.learn_chunk(&real.values(chunk), &chunk.iter().map(|r| real.label(*r).clone()).collect::<Vec<_>>()).unwrap();
        for row in chunk {
            if held.iter().filter(|h| real.clips.y[**h] == real.clips.y[*row]).count() < 5 {
                held.push(*row);
            }
        }
    }
    let newest = real.clips.y[real.clips.chunks[7][0]];
    let last: Vec<usize> = real.clips.chunks[6..].concat().iter().map(|r| real.clips.y[*r]).collect();
    let old: Vec<usize> = (0..8).filter(|c| !last.contains(c)).collect();
    assert!(old.len() == 6 && !old.contains(&newest));
    let of = |head: &dyn Head| real.accuracy(head, &old);
    assert!(of(&head) > 0.6, "{}", of(&head));
    assert!(of(&naive) < 0.2 && of(&forgetful) < of(&head) - 0.1, "{} {}", of(&naive), of(&forgetful));
}
