//! Changes of the world for `wheatear lab drift`: what another microphone or room might do to embeddings, seeded.
//!
//! Both are synthetic. A channel scales and moves each component, as a fixed filter before a log-mel front end does in first order; a
//! rotation of half of the components keeps all distances among changed rows and is the harder case. Rows are scaled again after it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::Serialize;
use wheatear::Result;
use wheatear::backbone::manifest::EmbeddingScale;
use wheatear::latent::scale_embedding;

use super::data::Data;

/// Logarithm of a gain: its standard deviation. Offset: in standard deviations of the component.
const STRENGTH: f64 = 0.5;

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shift {
    /// Nothing.
    Stationary,
    /// A gain and an offset for each component.
    Channel,
    /// A random orthogonal map of a random half of the components.
    Rotation,
}

impl Shift {
    /// All of them.
    pub const ALL: [Shift; 3] = [Shift::Stationary, Shift::Channel, Shift::Rotation];

    /// Changes `rows` of `data`.
    ///
    /// # Errors
    /// `Input` when a row cannot be scaled.
    pub fn apply(self, data: &mut Data, rows: &[usize], rng: &mut ChaCha8Rng) -> Result<()> {
        let d = data.dim;
        type Map = Box<dyn Fn(&mut [f32])>;
        let map: Map = match self {
            Shift::Stationary => return Ok(()),
            Shift::Channel => {
                let spread = spreads(data);
                let by: Vec<(f64, f64)> = spread.iter().map(|s| ((STRENGTH * normal(rng)).exp(), STRENGTH * normal(rng) * s)).collect();
                Box::new(move |x| x.iter_mut().zip(&by).for_each(|(x, (gain, offset))| *x = (f64::from(*x) * gain + offset) as f32))
            }
            Shift::Rotation => {
                let mut order: Vec<usize> = (0..d).collect();
                super::split::shuffle(&mut order, rng);
                order.truncate(d / 2);
                let q = orthogonal(order.len(), rng);
                Box::new(move |x| {
                    let old: Vec<f64> = order.iter().map(|i| f64::from(x[*i])).collect();
                    for (i, row) in order.iter().zip(&q) {
                        x[*i] = row.iter().zip(&old).map(|(a, b)| a * b).sum::<f64>() as f32;
                    }
                })
            }
        };
        for i in rows {
            let x = &mut data.x[i * d..(i + 1) * d];
            map(x);
            scale_embedding(EmbeddingScale::SqrtDim, x)?;
        }
        Ok(())
    }
}

/// Standard deviation of each component \[D\].
fn spreads(data: &Data) -> Vec<f64> {
    let n = data.rows() as f64;
    let column = |k: usize| data.x.iter().skip(k).step_by(data.dim).map(|v| f64::from(*v));
    let of = |k: usize| {
        let mean = column(k).sum::<f64>() / n;
        (column(k).map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
    };
    (0..data.dim).map(of).collect()
}

/// A standard normal number (Box & Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
}

/// Rows of a random orthogonal matrix: normal ones, made orthogonal by Gram and Schmidt, twice for rounding.
fn orthogonal(n: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    for _ in 0..n {
        let mut row: Vec<f64> = (0..n).map(|_| normal(rng)).collect();
        for _ in 0..2 {
            for other in &rows {
                let part = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(v, o)| *v -= part * o);
            }
        }
        let length = dot(&row, &row).sqrt();
        row.iter_mut().for_each(|v| *v /= length);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::split::generator;

    fn data() -> Data {
        let x = (0..64).map(|i| ((i * i * 7 + i) % 13) as f32 - 5.5).collect();
        let names = ["a", "b"].map(String::from);
        let y: Vec<i128> = (0..8).map(|i| i % 2).collect();
        Data::new("t", 8, x, &y, &names, (0..8).map(|i| i.to_string()).collect(), EmbeddingScale::SqrtDim).unwrap()
    }

    #[test]
    fn only_the_named_rows_change_and_the_same_seed_changes_them_alike() {
        for shift in [Shift::Channel, Shift::Rotation] {
            let (before, mut after, mut again) = (data(), data(), data());
            shift.apply(&mut after, &[2, 5], &mut generator(1, 0)).unwrap();
            shift.apply(&mut again, &[2, 5], &mut generator(1, 0)).unwrap();
            assert_eq!(after.x, again.x);
            for i in 0..8 {
                assert_eq!(after.row(i) != before.row(i), i == 2 || i == 5, "{shift:?}, row {i}");
            }
        }
    }

    #[test]
    fn a_rotation_keeps_distances_and_half_of_the_components() {
        let (before, mut after) = (data(), data());
        Shift::Rotation.apply(&mut after, &[2, 5], &mut generator(1, 0)).unwrap();
        let distance = |d: &Data| d.row(2).iter().zip(d.row(5)).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        assert!((distance(&before) - distance(&after)).abs() < 1e-4);
        let kept = before.row(2).iter().zip(after.row(2)).filter(|(a, b)| (*a - *b).abs() < 1e-6).count();
        assert_eq!(kept, 4);
    }
}
