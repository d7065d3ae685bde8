//! Plain softmax SGD over the stream, without replay: what forgetting looks like. It is kept for contrast only.
//!
//! A cosine classifier (scores `16 w_c^T x / |x| + b_c`) whose new classes are imprinted from the mean of their first
//! rows (Qi 2018), then a few Adam steps on the chunk (Kingma & Ba 2015; L2 penalty inside the gradient, the bias by
//! plain gradient descent). In f64, so that it can be compared step by step with another implementation.

use crate::head::Head;
use crate::learn::ClassName;
use crate::{Error, ErrorKind, Result};

/// How it learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NaiveConfig {
    /// Step size.
    pub learning_rate: f64,
    /// L2 penalty on the weights.
    pub weight_decay: f64,
    /// Factor on the cosine.
    pub scale: f64,
    /// Adam steps on each chunk.
    pub steps: u32,
}

impl Default for NaiveConfig {
    fn default() -> Self {
        NaiveConfig { learning_rate: 0.05, weight_decay: 1e-4, scale: 16.0, steps: 4 }
    }
}

/// The head and the state of its optimiser.
#[derive(Debug, Clone)]
pub struct NaiveHead {
    config: NaiveConfig,
    dim: usize,
    classes: Vec<ClassName>,
    /// One row of D for each class, in the order of `classes`, as are the moments and the biases.
    weights: Vec<Vec<f64>>,
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
    bias: Vec<f64>,
    step: i32,
}

impl NaiveHead {
    /// A head over D = `dim` components that knows no class yet.
    pub fn new(dim: usize, config: NaiveConfig) -> NaiveHead {
        NaiveHead { config, dim, classes: vec![], weights: vec![], first: vec![], second: vec![], bias: vec![], step: 0 }
    }

    /// Learns a chunk: `rows` f32 \[n, D\] row-major with the class of each.
    ///
    /// # Errors
    /// `Input` when the lengths do not fit.
    pub fn learn_chunk(&mut self, rows: &[f32], labels: &[ClassName]) -> Result<()> {
        if Some(rows.len()) != labels.len().checked_mul(self.dim) {
            return Err(Error::new(ErrorKind::Input, "rows and labels do not fit together")
                .expected(format!("{} x {} components", labels.len(), self.dim))
                .found(rows.len()));
        }
        if labels.is_empty() {
            return Ok(());
        }
        let rows: Vec<Vec<f64>> = rows.chunks_exact(self.dim).map(unit).collect();
        for class in labels {
            if let Err(at) = self.classes.binary_search(class) {
                self.imprint(at, class, rows.iter().zip(labels).filter(|(_, l)| *l == class).map(|(x, _)| x));
            }
        }
        let targets: Vec<usize> = labels.iter().filter_map(|l| self.classes.binary_search(l).ok()).collect();
        for _ in 0..self.config.steps {
            self.adam_step(&rows, &targets);
        }
        Ok(())
    }

    fn imprint<'a>(&mut self, at: usize, class: &ClassName, rows: impl Iterator<Item = &'a Vec<f64>>) {
        let mut mean = vec![0.0; self.dim];
        rows.for_each(|x| mean.iter_mut().zip(x).for_each(|(m, v)| *m += v));
        normalise(&mut mean);
        self.classes.insert(at, class.clone());
        self.weights.insert(at, mean);
        self.first.insert(at, vec![0.0; self.dim]);
        self.second.insert(at, vec![0.0; self.dim]);
        self.bias.insert(at, 0.0);
    }

    /// One step on the cross-entropy of unit rows.
    fn adam_step(&mut self, rows: &[Vec<f64>], targets: &[usize]) {
        let (c, n) = (self.classes.len(), rows.len() as f64);
        let cfg = self.config;
        // Probability minus one-hot target, for each row and class.
        let errors: Vec<Vec<f64>> = rows
            .iter()
            .zip(targets)
            .map(|(x, target)| {
                let mut p: Vec<f64> = self
                    .weights
                    .iter()
                    .zip(&self.bias)
                    .map(|(w, b)| w.iter().zip(x).map(|(a, v)| a * v).sum::<f64>() * cfg.scale + b)
                    .collect();
                let top = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                p.iter_mut().for_each(|z| *z = (*z - top).exp());
                let total: f64 = p.iter().sum();
                p.iter_mut().for_each(|z| *z /= total);
                p[*target] -= 1.0;
                p
            })
            .collect();
        self.step += 1;
        let (fix1, fix2) = (1.0 - 0.9f64.powi(self.step), 1.0 - 0.999f64.powi(self.step));
        for k in 0..c {
            let mut gradient = vec![0.0; self.dim];
            for (x, e) in rows.iter().zip(&errors) {
                let factor = e[k] * cfg.scale / n;
                gradient.iter_mut().zip(x).for_each(|(g, v)| *g += factor * v);
            }
            let state = self.weights[k].iter_mut().zip(&mut self.first[k]).zip(&mut self.second[k]);
            for (((w, m), v), g) in state.zip(gradient) {
                let g = g + cfg.weight_decay * *w;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                *w -= cfg.learning_rate * (*m / fix1) / ((*v / fix2).sqrt() + 1e-8);
            }
            self.bias[k] -= cfg.learning_rate * errors.iter().map(|e| e[k]).sum::<f64>() / n;
        }
    }
}

impl Head for NaiveHead {
    fn name(&self) -> &str {
        "naive"
    }

    fn classes(&self) -> &[ClassName] {
        &self.classes
    }

    fn scores(&self, x: &[f32], out: &mut [f32]) {
        assert_eq!(x.len(), self.dim, "embedding length");
        assert_eq!(out.len(), self.classes.len(), "one score a class");
        let x = unit(x);
        for ((z, w), b) in out.iter_mut().zip(&self.weights).zip(&self.bias) {
            *z = (w.iter().zip(&x).map(|(a, v)| a * v).sum::<f64>() * self.config.scale + b) as f32;
        }
    }

    /// 1: it is trained on the cross-entropy of its softmax.
    fn temperature(&self) -> f32 {
        1.0
    }
}

/// A row scaled to length 1; an all-zero row stays so.
fn unit(x: &[f32]) -> Vec<f64> {
    let mut x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    normalise(&mut x);
    x
}

fn normalise(x: &mut [f64]) {
    let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
    if norm > 0.0 {
        x.iter_mut().for_each(|v| *v /= norm);
    }
}
