//! The softmax head: a cosine classifier trained over fresh rows and replay, so that what it learned before is not forgotten.
//!
//! `z_c = a w_c^T u + b_c` with `u = (x - m) / |x - m|`, m the mean of the class means (embeddings that come out of a ReLU all
//! point one way: uncentred, all cosines are near 1). A new class is imprinted, `w_c = u` of its mean (Qi 2018, "Low-shot
//! learning with imprinted weights"). Each update is a warm restart (Loshchilov & Hutter 2017): a fixed number of AdamW steps
//! (Loshchilov & Hutter 2019) whose rate falls to 0 along a half cosine, on batches that take every class in turn, with label
//! smoothing (Szegedy 2016). Replay is latents (Pellegrini 2020) of few bits (Ravaglia 2021). Besides decaying, the weights of a
//! class are drawn to where they were before the update (Li 2018, L2-SP) by the share of its rows that replay no longer holds.
//!
//! Limits: it depends on the order of the rows; with fewer than about 5 held rows a class it forgets; one update costs
//! `4 steps batch_rows C D` operations whatever the number of fresh rows. The optimiser keeps nothing between updates.

use crate::head::Head;
use crate::head::softmax_update::{Update, centred};
use crate::kernel::scalar::dot;
use crate::learn::ClassName;
use crate::{Error, ErrorKind, Result};

/// Largest magnitude of a component, so that no sum overflows.
const COMPONENT_MAX: f32 = 1e15;
/// Temperature without held-out rows: label smoothing leaves the scores too flat. It counts as much as a row or two: its log has
/// a normal prior with a variance of 1/2.
const TEMPERATURE: f64 = 0.5;
/// Temperatures that are tried: `exp(n / 20)`.
const LOG_TEMPERATURES: std::ops::RangeInclusive<i32> = -50..=40;

/// How it learns. The defaults were chosen on made-up mixtures and the committed clips.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SoftmaxConfig {
    /// Step size at the start of an update.
    pub learning_rate: f32,
    /// Decoupled decay of the weights to 0, which bounds them.
    pub weight_decay: f32,
    /// Decoupled decay to the weights before the update, for a class of which replay holds no row.
    pub consolidation: f32,
    /// Factor a on the cosine.
    pub scale: f32,
    /// Probability that the target spreads over all classes, 0 to below 1.
    pub smoothing: f32,
    /// AdamW steps an update.
    pub steps: u32,
    /// Rows a step.
    pub batch_rows: u32,
    /// Classes there is room for.
    pub classes_max: u32,
    /// Fresh and replayed rows that one update may be given.
    pub rows_max: u32,
    /// Seed of the order in which rows are drawn.
    pub seed: u64,
}

impl Default for SoftmaxConfig {
    fn default() -> Self {
        SoftmaxConfig {
            learning_rate: 0.002,
            weight_decay: 1.0,
            consolidation: 30.0,
            scale: 16.0,
            smoothing: 0.1,
            steps: 32,
            batch_rows: 64,
            classes_max: 64,
            rows_max: 1024,
            seed: 0,
        }
    }
}

/// A row that replay holds.
#[derive(Debug, Clone, Copy)]
pub struct Exemplar<'a> {
    /// Its latent \[D\] in steps.
    pub latent: &'a [i8],
    /// Its class.
    pub class: &'a ClassName,
}

/// The head, and the buffers of an update, all made at the start: `4 (4 classes_max + batch_rows) D` bytes and little more.
#[derive(Debug, Clone)]
pub struct SoftmaxHead {
    config: SoftmaxConfig,
    /// Value of one step of a replayed latent \[D\].
    scale: Vec<f32>,
    classes: Vec<ClassName>,
    /// Rows learned \[C\], and their mean \[C, D\].
    counts: Vec<u64>,
    means: Vec<f32>,
    /// \[C, D + 1\]: the last is the bias, the weight of a feature that is always `1 / a`.
    weights: Vec<f32>,
    /// m \[D\], and `w_c^T m` \[C\].
    centre: Vec<f32>,
    offsets: Vec<f32>,
    temperature: f32,
    updates: u64,
    update: Update,
}

impl SoftmaxHead {
    /// A head that knows no class yet; `scale` \[D\] is the value of one step of a replayed latent, from its quantiser.
    ///
    /// # Errors
    /// `Config` when a number is out of range: it says which.
    pub fn new(scale: &[f32], config: SoftmaxConfig) -> Result<SoftmaxHead> {
        let bad = |key: &str| Error::new(ErrorKind::Config, "the softmax head cannot learn so").at(key);
        let c = &config;
        let positive = |x: f32| x.is_finite() && x > 0.0;
        if scale.is_empty() || !scale.iter().all(|s| positive(*s) && *s * 127.0 <= COMPONENT_MAX) {
            return Err(bad("scale of the replayed latents").expected("at least one, each finite and above 0"));
        }
        if !positive(c.learning_rate) || !positive(c.scale) {
            return Err(bad("learning_rate, scale").expected("finite and above 0").found(format!("{}, {}", c.learning_rate, c.scale)));
        }
        let decays = [c.weight_decay, c.consolidation].map(|d| c.learning_rate * d);
        if !decays.iter().all(|d| *d >= 0.0) || decays[0] + decays[1] > 1.0 {
            return Err(bad("weight_decay, consolidation")
                .expected("from 0; times learning_rate at most 1 in all")
                .found(format!("{decays:?}")));
        }
        if !(0.0..1.0).contains(&c.smoothing) {
            return Err(bad("smoothing").expected("0 to below 1").found(c.smoothing));
        }
        let (n, dim) = (c.classes_max as usize, scale.len());
        let counts = || bad("steps, batch_rows, classes_max, rows_max").expected("1 or more, and no buffer beyond 4 GiB");
        let update = Update::new(&config, dim).ok_or_else(counts)?;
        Ok(SoftmaxHead {
            config,
            scale: scale.to_vec(),
            classes: Vec::with_capacity(n),
            counts: Vec::with_capacity(n),
            means: Vec::with_capacity(n * dim),
            weights: Vec::with_capacity(n * (dim + 1)),
            centre: vec![0.0; dim],
            offsets: Vec::with_capacity(n),
            temperature: TEMPERATURE as f32,
            updates: 0,
            update,
        })
    }

    /// Learns fresh rows: `rows` f32 \[n, D\] row-major with the class of each, over `replay`, which holds none of them. No row
    /// that is to judge the head may be among either. It allocates the name of a new class and nothing else.
    ///
    /// # Errors
    /// `Input` when lengths do not fit or a component is not finite; `Mismatch` when replay has a class that was never learned;
    /// `Limit` when there are more classes or rows than room. The head is then as it was.
    pub fn learn(&mut self, rows: &[f32], labels: &[ClassName], replay: &[Exemplar<'_>]) -> Result<()> {
        self.check(rows, labels, replay)?;
        if labels.is_empty() {
            return Ok(());
        }
        let dim = self.scale.len();
        for (x, label) in rows.chunks_exact(dim).zip(labels) {
            let class = self.classes.binary_search(label).unwrap_or_else(|at| self.admit(at, label));
            self.counts[class] += 1;
            let share = 1.0 / self.counts[class] as f32;
            self.means[class * dim..][..dim].iter_mut().zip(x).for_each(|(m, v)| *m += share * (v - *m));
        }
        self.centre.fill(0.0);
        let share = 1.0 / self.classes.len() as f32;
        for mean in self.means.chunks_exact(dim) {
            self.centre.iter_mut().zip(mean).for_each(|(m, v)| *m += share * v);
        }
        // A class that is alone has no direction from the centre: it waits for the second.
        for (w, mean) in self.weights.chunks_exact_mut(dim + 1).zip(self.means.chunks_exact(dim)) {
            if w.iter().all(|w| *w == 0.0) {
                centred(mean.iter().copied(), &self.centre, &mut w[..dim]);
            }
        }
        // One class alone leaves nothing to tell apart.
        if self.classes.len() > 1 {
            self.train(rows, labels, replay);
        }
        for (offset, w) in self.offsets.iter_mut().zip(self.weights.chunks_exact(dim + 1)) {
            *offset = dot(&w[..dim], &self.centre);
        }
        self.updates += 1;
        Ok(())
    }

    /// Chooses the temperature by rows that were never learned: the least cross entropy, with a prior (Guo 2017, "On calibration
    /// of modern neural networks"). Rows of classes the head does not know say nothing.
    ///
    /// # Errors
    /// `Input` when a latent is not D long.
    pub fn calibrate(&mut self, held_out: &[Exemplar<'_>]) -> Result<()> {
        self.check_latents(held_out)?;
        let dim = self.scale.len();
        let log_temperature = |n: i32| f64::from(n) / 20.0;
        let mut losses = [0f64; (*LOG_TEMPERATURES.end() - *LOG_TEMPERATURES.start() + 1) as usize];
        losses.iter_mut().zip(LOG_TEMPERATURES).for_each(|(loss, n)| *loss = (log_temperature(n) - TEMPERATURE.ln()).powi(2));
        let (mut x, mut z) = (std::mem::take(&mut self.update.gradient), std::mem::take(&mut self.update.errors));
        for row in held_out {
            let Ok(class) = self.classes.binary_search(row.class) else { continue };
            x.iter_mut().zip(row.latent).zip(&self.scale).for_each(|((x, q), s)| *x = f32::from(*q) * s);
            let z = &mut z[..self.classes.len()];
            self.scores(&x[..dim], z);
            for (loss, n) in losses.iter_mut().zip(LOG_TEMPERATURES) {
                let t = log_temperature(n).exp();
                *loss += z.iter().map(|other| (f64::from(other - z[class]) / t).exp()).sum::<f64>().ln();
            }
        }
        (self.update.gradient, self.update.errors) = (x, z);
        let best = LOG_TEMPERATURES.zip(&losses).min_by(|a, b| a.1.total_cmp(b.1));
        self.temperature = best.map_or(TEMPERATURE, |(n, _)| log_temperature(n).exp()) as f32;
        Ok(())
    }

    fn train(&mut self, rows: &[f32], labels: &[ClassName], replay: &[Exemplar<'_>]) {
        let dim = self.scale.len();
        self.update.begin(&self.classes, &self.weights, (labels, replay), self.config.seed, self.updates);
        for step in 0..self.config.steps {
            let value = |row: usize, out: &mut [f32]| match row.checked_sub(labels.len()) {
                None => centred(rows[row * dim..][..dim].iter().copied(), &self.centre, out),
                Some(held) => {
                    let steps = replay[held].latent.iter().zip(&self.scale);
                    centred(steps.map(|(q, s)| f32::from(*q) * s), &self.centre, out);
                }
            };
            self.update.draw(&self.config, step, value);
            self.update.adamw_step(&self.config, step, &self.counts, &mut self.weights);
        }
    }

    fn check(&self, rows: &[f32], labels: &[ClassName], replay: &[Exemplar<'_>]) -> Result<()> {
        let dim = self.scale.len();
        if Some(rows.len()) != labels.len().checked_mul(dim) {
            let error = Error::new(ErrorKind::Input, "rows and labels do not fit together").found(rows.len());
            return Err(error.expected(format!("{} x {dim} components", labels.len())));
        }
        if let Some(i) = rows.iter().position(|x| !(0.0..=COMPONENT_MAX).contains(&x.abs())) {
            return Err(Error::new(ErrorKind::Input, "a component cannot be learned").at(format!("row {}", i / dim)).found(rows[i]));
        }
        self.check_latents(replay)?;
        let known = |class: &ClassName| self.classes.binary_search(class).is_ok();
        if let Some(stranger) = replay.iter().find(|e| !known(e.class) && !labels.contains(e.class)) {
            let error = Error::new(ErrorKind::Mismatch, "replay holds a class that this head never learned").at(stranger.class);
            return Err(error.cure("learn its rows as fresh ones first"));
        }
        let new = (0..labels.len()).filter(|i| !known(&labels[*i]) && !labels[..*i].contains(&labels[*i])).count();
        let full = |what: &str, room: u32, found: usize| {
            let error = Error::new(ErrorKind::Limit, format!("there is no room for so many {what}")).expected(format!("at most {room}"));
            Err(error.found(found).cure(format!("raise {what}_max")))
        };
        match (self.classes.len() + new, labels.len().saturating_add(replay.len())) {
            (classes, _) if classes > self.config.classes_max as usize => full("classes", self.config.classes_max, classes),
            (_, all) if all > self.config.rows_max as usize => full("rows", self.config.rows_max, all),
            _ => Ok(()),
        }
    }

    fn check_latents(&self, rows: &[Exemplar<'_>]) -> Result<()> {
        let error =
            |found: usize| Error::new(ErrorKind::Input, "a replayed latent has another length").expected(self.scale.len()).found(found);
        rows.iter().map(|e| e.latent.len()).find(|len| *len != self.scale.len()).map_or(Ok(()), |len| Err(error(len)))
    }

    /// Makes room for a class, within what was reserved.
    fn admit(&mut self, at: usize, class: &ClassName) -> usize {
        let dim = self.scale.len();
        self.classes.insert(at, class.clone());
        self.counts.insert(at, 0);
        self.offsets.insert(at, 0.0);
        for (table, width) in [(&mut self.means, dim), (&mut self.weights, dim + 1)] {
            let end = table.len();
            table.resize(end + width, 0.0);
            table.copy_within(at * width..end, (at + 1) * width);
            table[at * width..][..width].fill(0.0);
        }
        at
    }
}

impl Head for SoftmaxHead {
    fn name(&self) -> &str {
        "softmax"
    }

    fn classes(&self) -> &[ClassName] {
        &self.classes
    }

    fn scores(&self, x: &[f32], out: &mut [f32]) {
        let dim = self.scale.len();
        assert_eq!(x.len(), dim, "embedding length");
        assert_eq!(out.len(), self.classes.len(), "one score a class");
        let norm = x.iter().zip(&self.centre).map(|(x, m)| (x - m) * (x - m)).sum::<f32>().sqrt();
        let factor = if norm > 0.0 { self.config.scale / norm } else { 0.0 };
        for ((z, w), offset) in out.iter_mut().zip(self.weights.chunks_exact(dim + 1)).zip(&self.offsets) {
            *z = factor * (dot(&w[..dim], x) - offset) + w[dim];
        }
    }

    fn temperature(&self) -> f32 {
        self.temperature
    }
}

#[cfg(test)]
#[path = "softmax_tests.rs"]
mod tests;
