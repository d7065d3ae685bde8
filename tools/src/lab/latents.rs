//! The latents of one run: embeddings quantised with scales from its training rows alone, or from the manifest.

use wheatear::head::Moments;
use wheatear::latent::Quantiser;
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet};
use wheatear::{Error, ErrorKind, Result};

use super::data::Data;

/// Quantised rows, and the values they stand for.
pub struct Latents {
    /// Value of one step \[D\].
    scale: Vec<f32>,
    rows: Rows,
    /// `s q` row-major \[n, D\]: what a head sees.
    pub values: Vec<f32>,
}

enum Rows {
    /// 4 to 8 bits: what the runtime stores.
    Narrow(Vec<i8>),
    /// 16 bits: fine enough to show what quantising costs.
    Wide(Vec<i16>),
}

/// Statistics of rows, as the runtime keeps them or, for 16-bit latents, as the lab does.
pub enum Statistics {
    /// The runtime's block.
    Block(Block),
    /// Counts, sums \[C, D\] and products, upper triangle row-major.
    Wide(Vec<i64>, Vec<i64>, Vec<i64>),
}

impl Latents {
    /// Quantises all rows to `bits` (4..=8, or 16); scales come from `train` unless the data brings its own.
    ///
    /// # Errors
    /// `Config` when a scale cannot be used; `Input` as the quantiser.
    pub fn new(data: &Data, train: &[usize], bits: u8) -> Result<Latents> {
        let full = match &data.scale {
            Some(s) => s.iter().map(|s| s * 127.0).collect(),
            None => calibrate(data, train),
        };
        let limit = ((1i32 << (bits - 1)) - 1) as f32;
        let scale: Vec<f32> = full.iter().map(|r| r / limit).collect();
        let mut values = vec![0f32; data.x.len()];
        let rows = if bits <= 8 {
            let quantiser = Quantiser::new(bits, scale.clone())?;
            let mut q = vec![0i8; data.x.len()];
            for i in 0..data.rows() {
                let span = i * data.dim..(i + 1) * data.dim;
                quantiser.quantise(data.row(i), &mut q[span.clone()])?;
                quantiser.dequantise(&q[span.clone()], &mut values[span]);
            }
            Rows::Narrow(q)
        } else {
            let steps = |(i, x): (usize, &f32)| (x / scale[i % data.dim]).round().clamp(-limit, limit) as i16;
            let q: Vec<i16> = data.x.iter().enumerate().map(steps).collect();
            for (i, (v, q)) in values.iter_mut().zip(&q).enumerate() {
                *v = f32::from(*q) * scale[i % data.dim];
            }
            Rows::Wide(q)
        };
        Ok(Latents { scale, rows, values })
    }

    /// Empty statistics for these latents.
    ///
    /// # Errors
    /// `Config` when the dimension cannot be used.
    pub fn statistics(&self, classes: usize) -> Result<Statistics> {
        let d = self.scale.len();
        Ok(match self.rows {
            Rows::Narrow(_) => Statistics::Block(Block::new(BlockKind::Latents, d)?),
            Rows::Wide(_) => Statistics::Wide(vec![0; classes], vec![0; classes * d], vec![0; d * (d + 1) / 2]),
        })
    }

    /// Learns a chunk of rows.
    ///
    /// # Errors
    /// As [`Block::add_chunk`].
    pub fn learn(&self, statistics: &mut Statistics, data: &Data, chunk: &[usize]) -> Result<()> {
        let d = data.dim;
        match (statistics, &self.rows) {
            (Statistics::Block(block), Rows::Narrow(q)) => {
                let rows: Vec<i8> = chunk.iter().flat_map(|i| &q[i * d..(i + 1) * d]).copied().collect();
                let labels: Vec<LabelSet> = chunk.iter().map(|i| LabelSet::single(data.names[data.y[*i]].clone())).collect();
                block.add_chunk(&rows, &labels)
            }
            (Statistics::Wide(counts, sums, gram), Rows::Wide(q)) => {
                for i in chunk {
                    let row = &q[i * d..(i + 1) * d];
                    let c = data.y[*i];
                    counts[c] += 1;
                    sums[c * d..(c + 1) * d].iter_mut().zip(row).for_each(|(s, q)| *s += i64::from(*q));
                    let mut rest = gram.as_mut_slice();
                    for (k, a) in row.iter().enumerate() {
                        let (line, tail) = rest.split_at_mut(d - k);
                        line.iter_mut().zip(&row[k..]).for_each(|(g, b)| *g += i64::from(i32::from(*a) * i32::from(*b)));
                        rest = tail;
                    }
                }
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Mismatch, "the statistics were made for latents of another width")),
        }
    }

    /// What a solved head is made from.
    ///
    /// # Errors
    /// As [`Moments::new`].
    pub fn moments(&self, statistics: &Statistics, data: &Data) -> Result<Moments> {
        match statistics {
            Statistics::Block(block) => Moments::new(block, &self.scale),
            Statistics::Wide(counts, sums, gram) => {
                let seen: Vec<usize> = (0..counts.len()).filter(|c| counts[*c] > 0).collect();
                let names: Vec<ClassName> = seen.iter().map(|c| data.names[*c].clone()).collect();
                let d = data.dim;
                let float = |v: &[i64]| v.iter().map(|x| *x as f64).collect::<Vec<f64>>();
                let sums = seen.iter().flat_map(|c| float(&sums[c * d..(c + 1) * d])).collect();
                Moments::from_sums(names, seen.iter().map(|c| counts[*c] as f64).collect(), sums, float(gram), &self.scale)
            }
        }
    }
}

/// Range a dimension \[D\]: the 99.9th percentile of the magnitude, at least half the median over the dimensions, with a
/// margin of 1.5.
fn calibrate(data: &Data, rows: &[usize]) -> Vec<f32> {
    let mut ranges: Vec<f32> = (0..data.dim)
        .map(|d| {
            let mut column: Vec<f32> = rows.iter().map(|i| data.x[i * data.dim + d].abs()).collect();
            percentile(&mut column, 0.999)
        })
        .collect();
    let median = percentile(&mut ranges.clone(), 0.5);
    // Where most dimensions never move any positive range will do.
    let floor = if median > 0.0 { 0.5 * median } else { ranges.iter().copied().fold(1e-6, f32::max) };
    ranges.iter_mut().for_each(|r| *r = 1.5 * r.max(floor));
    ranges
}

/// Quantile with linear interpolation.
fn percentile(values: &mut [f32], q: f64) -> f32 {
    values.sort_by(f32::total_cmp);
    let at = q * (values.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let (a, b) = (f64::from(values[low]), f64::from(values[(low + 1).min(values.len() - 1)]));
    (a + (b - a) * part) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use wheatear::backbone::manifest::EmbeddingScale;

    // numpy: numpy.percentile([4, 1, 3, 2], [50, 99.9]) -> 2.5, 3.997
    #[test]
    fn percentiles_interpolate_as_numpy_does() {
        let mut v = [4.0, 1.0, 3.0, 2.0];
        assert!((percentile(&mut v, 0.5) - 2.5).abs() < 1e-6);
        assert!((percentile(&mut v, 0.999) - 3.997).abs() < 1e-6);
    }

    #[test]
    fn dimensions_that_never_move_get_a_usable_range() {
        let names = ["a", "b"].map(String::from);
        let group = (0..4).map(|i| i.to_string()).collect();
        let x = vec![0.0, 1.0, 0.0, -1.0, 0.0, 2.0, 0.0, -2.0];
        let data = Data::new("t", 2, x, &[0, 0, 1, 1], &names, group, EmbeddingScale::SqrtDim).unwrap();
        for bits in [4, 8, 16] {
            let latents = Latents::new(&data, &[0, 1, 2, 3], bits).unwrap();
            assert!(latents.scale.iter().all(|s| s.is_finite() && *s > 0.0), "{:?}", latents.scale);
            let worst = latents.values.iter().zip(&data.x).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 0.5 * latents.scale[1] * 1.0001, "{bits}: {worst}");
        }
    }
}
