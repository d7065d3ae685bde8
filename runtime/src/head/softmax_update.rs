//! One update of the softmax head: draws batches that take every class in turn, and makes AdamW steps on their cross-entropy
//! (Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2). Its buffers are made once; nothing in them
//! outlives an update.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::head::softmax;
use crate::head::softmax::{Exemplar, SoftmaxConfig};
use crate::kernel::scalar::dot;
use crate::learn::ClassName;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// Most numbers in one buffer.
const BUFFER_MAX: usize = 1 << 30;

/// What one update needs. Rows of `before`, of the moments and of `batch` are D + 1 long, the last for the bias.
#[derive(Debug, Clone)]
pub(super) struct Update {
    /// Weights before the update \[C, D + 1\].
    before: Vec<f32>,
    /// First and second moments of the gradient \[C, D + 1\].
    first: Vec<f32>,
    second: Vec<f32>,
    /// Of one class \[D + 1\].
    pub gradient: Vec<f32>,
    /// Rows of one step \[n, D + 1\], and their classes \[n\].
    batch: Vec<f32>,
    targets: Vec<usize>,
    /// Derivatives of the loss by the scores \[n, C\].
    pub errors: Vec<f32>,
    /// Class and number of every row, by class; the replayed are numbered after the fresh.
    pool: Vec<(usize, usize)>,
    /// Where each class that has rows begins and ends in the pool.
    spans: Vec<(usize, usize)>,
}

impl Update {
    /// Buffers for embeddings of `dim` components; none when one would be too large or empty.
    pub fn new(config: &SoftmaxConfig, dim: usize) -> Option<Update> {
        let (classes, rows) = (config.classes_max as usize, config.batch_rows as usize);
        if [config.steps, config.batch_rows, config.classes_max, config.rows_max].contains(&0) {
            return None;
        }
        let zeros = |n: usize, m: usize| n.checked_mul(m).filter(|len| *len <= BUFFER_MAX).map(|len| vec![0.0; len]);
        Some(Update {
            before: zeros(classes, dim + 1)?,
            first: zeros(classes, dim + 1)?,
            second: zeros(classes, dim + 1)?,
            gradient: zeros(1, dim + 1)?,
            batch: zeros(rows, dim + 1)?,
            targets: vec![0; rows],
            errors: zeros(rows, classes)?,
            pool: Vec::with_capacity(config.rows_max as usize),
            spans: Vec::with_capacity(classes),
        })
    }

    /// Begins update number `number`: lays the rows of each class together, in an order of chance.
    pub fn begin(&mut self, known: &[ClassName], weights: &[f32], rows: (&[ClassName], &[Exemplar<'_>]), seed: u64, number: u64) {
        self.before[..weights.len()].copy_from_slice(weights);
        self.first[..weights.len()].fill(0.0);
        self.second[..weights.len()].fill(0.0);
        self.pool.clear();
        let all = rows.0.iter().chain(rows.1.iter().map(|e| e.class)).enumerate();
        self.pool.extend(all.filter_map(|(row, class)| Some((known.binary_search(class).ok()?, row))));
        self.pool.sort_unstable();
        self.spans.clear();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number);
        let mut start = 0;
        for same in self.pool.chunk_by_mut(|a, b| a.0 == b.0) {
            (1..same.len()).rev().for_each(|i| same.swap(i, random.random_range(0..=i)));
            self.spans.push((start, start + same.len()));
            start += same.len();
        }
    }

    /// Fills the batch of a step: the classes in turn, and of each its rows in turn, going on where the step before ended.
    /// `value(row, x)` writes the feature of a row \[D\] to x.
    pub fn draw(&mut self, config: &SoftmaxConfig, step: u32, value: impl Fn(usize, &mut [f32])) {
        let width = self.gradient.len();
        let first = step as usize * self.targets.len();
        for (n, (x, target)) in self.batch.chunks_exact_mut(width).zip(&mut self.targets).enumerate() {
            let (start, end) = self.spans[(first + n) % self.spans.len()];
            let (class, row) = self.pool[start + (first + n) / self.spans.len() % (end - start)];
            *target = class;
            x[width - 1] = 1.0 / config.scale;
            value(row, &mut x[..width - 1]);
        }
    }

    /// One step on the cross-entropy of the batch; `counts` \[C\] are the rows of each class that were ever learned.
    pub fn adamw_step(&mut self, config: &SoftmaxConfig, step: u32, counts: &[u64], weights: &mut [f32]) {
        let (count, width) = (counts.len(), self.gradient.len());
        let Update { before, first, second, gradient, batch, targets, errors, pool, .. } = self;
        let errors = &mut errors[..count * targets.len()];
        let factor = config.scale / targets.len() as f32;
        for ((e, x), target) in errors.chunks_exact_mut(count).zip(batch.chunks_exact(width)).zip(targets) {
            e.iter_mut().zip(weights.chunks_exact(width)).for_each(|(z, w)| *z = config.scale * dot(w, x));
            softmax(e, 1.0);
            e[*target] -= 1.0 - config.smoothing;
            e.iter_mut().for_each(|e| *e = (*e - config.smoothing / count as f32) * factor);
        }
        let rate = config.learning_rate * 0.5 * (1.0 + (std::f32::consts::PI * step as f32 / config.steps as f32).cos());
        let (fix1, fix2) = (1.0 - BETA1.powi(step as i32 + 1), 1.0 - BETA2.powi(step as i32 + 1));
        for k in 0..count {
            gradient.fill(0.0);
            for (x, e) in batch.chunks_exact(width).zip(errors.chunks_exact(count)) {
                gradient.iter_mut().zip(x).for_each(|(g, v)| *g += e[k] * v);
            }
            let held = pool.partition_point(|(c, _)| *c <= k) - pool.partition_point(|(c, _)| *c < k);
            let lost = (1.0 - held as f32 / counts[k] as f32).max(0.0);
            let span = k * width..(k + 1) * width;
            let moments = first[span.clone()].iter_mut().zip(&mut second[span.clone()]);
            let anchored = weights[span.clone()].iter_mut().zip(&before[span]);
            for (((w, before), (m, v)), g) in anchored.zip(moments).zip(&*gradient) {
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                let decay = config.weight_decay * *w + config.consolidation * lost * (*w - before);
                *w -= rate * (*m / fix1 / ((*v / fix2).sqrt() + EPSILON) + decay);
            }
        }
    }
}

/// `(x - m) / |x - m|`; zeros where x is m.
pub(super) fn centred(x: impl Iterator<Item = f32>, centre: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(x).zip(centre).for_each(|((o, x), m)| *o = x - m);
    let norm = dot(out, out).sqrt();
    if norm > 0.0 {
        out.iter_mut().for_each(|o| *o /= norm);
    }
}
