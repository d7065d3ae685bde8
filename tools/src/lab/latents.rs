//! The latents of one run: embeddings quantised with scales from its training rows alone, or from the manifest; or left
//! unquantised, to compare with.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use wheatear::head::Moments;
use wheatear::latent::Quantiser;
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet};
use wheatear::{Error, ErrorKind, Result};

use super::data::Data;

/// How fine a latent component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 4 to 8 bits, as the runtime stores them, or 16.
    Bits(u8),
    /// Not quantised.
    F32,
}

impl Width {
    /// In words.
    pub fn describe(self) -> String {
        match self {
            Width::Bits(bits) => format!("{bits}-bit latents"),
            Width::F32 => "unquantised f32 embeddings".to_owned(),
        }
    }
}

impl FromStr for Width {
    type Err = String;
    fn from_str(text: &str) -> Result<Width, String> {
        match (text, text.parse()) {
            ("f32", _) => Ok(Width::F32),
            (_, Ok(bits @ (4..=8 | 16))) => Ok(Width::Bits(bits)),
            _ => Err("4 to 8, 16, or f32".to_owned()),
        }
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Width::Bits(bits) => f.pad(&bits.to_string()),
            Width::F32 => f.pad("f32"),
        }
    }
}

impl Serialize for Width {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Width::Bits(bits) => out.serialize_u8(*bits),
            Width::F32 => out.serialize_str("f32"),
        }
    }
}

/// Quantised rows, and the values they stand for.
pub struct Latents {
    /// Value of one step \[D\]; 1 when not quantised.
    scale: Vec<f32>,
    rows: Rows,
    /// `s q` row-major \[n, D\]: what a head sees.
    pub values: Vec<f32>,
    /// Share of all values that lay beyond the range, 0 to 1.
    pub clip_rate: f64,
}

enum Rows {
    /// 4 to 8 bits: what the runtime stores.
    Narrow(Vec<i8>),
    /// 16-bit steps, or embeddings as they are.
    Wide(Vec<f32>),
}

/// Statistics of rows, as the runtime keeps them or, for rows that it does not store, as the lab does.
pub enum Statistics {
    /// The runtime's block.
    Block(Block),
    /// Counts, sums \[C, D\] and products, upper triangle row-major. A product of two f32 is exact in f64, and so is a sum
    /// of 16-bit steps (up to 8 million rows); sums of unquantised values are rounded at the 53rd bit.
    Wide(Vec<f64>, Vec<f64>, Vec<f64>),
}

impl Latents {
    /// Quantises all rows to `width`; scales come from `train` unless the data brings its own.
    ///
    /// # Errors
    /// `Config` when a scale cannot be used; `Input` as the quantiser.
    pub fn new(data: &Data, train: &[usize], width: Width) -> Result<Latents> {
        let Width::Bits(bits) = width else {
            return Ok(Latents { scale: vec![1.0; data.dim], rows: Rows::Wide(data.x.clone()), values: data.x.clone(), clip_rate: 0.0 });
        };
        let full = match &data.scale {
            Some(s) => s.iter().map(|s| s * 127.0).collect(),
            None => calibrate(data, train),
        };
        let limit = ((1i32 << (bits - 1)) - 1) as f32;
        let scale: Vec<f32> = full.iter().map(|r| r / limit).collect();
        let mut values = vec![0f32; data.x.len()];
        let mut clipped = 0;
        let rows = if bits <= 8 {
            let quantiser = Quantiser::new(bits, scale.clone())?;
            let mut q = vec![0i8; data.x.len()];
            for i in 0..data.rows() {
                let span = i * data.dim..(i + 1) * data.dim;
                clipped += quantiser.quantise(data.row(i), &mut q[span.clone()])? as usize;
                quantiser.dequantise(&q[span.clone()], &mut values[span]);
            }
            Rows::Narrow(q)
        } else {
            let steps = |(i, x): (usize, &f32)| (x / scale[i % data.dim]).round();
            let mut q: Vec<f32> = data.x.iter().enumerate().map(steps).collect();
            clipped = q.iter().filter(|q| q.abs() > limit).count();
            for (i, (v, q)) in values.iter_mut().zip(&mut q).enumerate() {
                *q = q.clamp(-limit, limit);
                *v = *q * scale[i % data.dim];
            }
            Rows::Wide(q)
        };
        Ok(Latents { scale, rows, values, clip_rate: clipped as f64 / data.x.len() as f64 })
    }

    /// Value of one step \[D\].
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// Row `i` in steps of 8 bits or fewer.
    ///
    /// # Errors
    /// `Config` for other widths.
    pub fn steps(&self, i: usize) -> Result<&[i8]> {
        let d = self.scale.len();
        match &self.rows {
            Rows::Narrow(q) => Ok(&q[i * d..(i + 1) * d]),
            Rows::Wide(_) => Err(too_wide()),
        }
    }

    /// Empty statistics for these latents.
    ///
    /// # Errors
    /// `Config` when the dimension cannot be used.
    pub fn statistics(&self, classes: usize) -> Result<Statistics> {
        let d = self.scale.len();
        Ok(match self.rows {
            Rows::Narrow(_) => Statistics::Block(Block::new(BlockKind::Latents, d)?),
            Rows::Wide(_) => Statistics::Wide(vec![0.0; classes], vec![0.0; classes * d], vec![0.0; d * (d + 1) / 2]),
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
                    counts[c] += 1.0;
                    sums[c * d..(c + 1) * d].iter_mut().zip(row).for_each(|(s, q)| *s += f64::from(*q));
                    let mut rest = gram.as_mut_slice();
                    for (k, a) in row.iter().enumerate() {
                        let (line, tail) = rest.split_at_mut(d - k);
                        line.iter_mut().zip(&row[k..]).for_each(|(g, b)| *g += f64::from(*a) * f64::from(*b));
                        rest = tail;
                    }
                }
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::Mismatch, "the statistics were made for latents of another width")),
        }
    }

    /// The runtime's block.
    ///
    /// # Errors
    /// As [`Latents::steps`].
    pub fn block<'a>(&self, statistics: &'a Statistics) -> Result<&'a Block> {
        match statistics {
            Statistics::Block(block) => Ok(block),
            Statistics::Wide(..) => Err(too_wide()),
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
                let seen: Vec<usize> = (0..counts.len()).filter(|c| counts[*c] > 0.0).collect();
                let names: Vec<ClassName> = seen.iter().map(|c| data.names[*c].clone()).collect();
                let d = data.dim;
                let sums = seen.iter().flat_map(|c| &sums[c * d..(c + 1) * d]).copied().collect();
                Moments::from_sums(names, seen.iter().map(|c| counts[*c]).collect(), sums, gram.clone(), &self.scale)
            }
        }
    }
}

fn too_wide() -> Error {
    Error::new(ErrorKind::Config, "evidence is worked out on rows as a device holds them")
        .expected("--latent-bits 4 to 8")
        .cure("leave auto, slda-loo and ridge-loo out")
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
            let latents = Latents::new(&data, &[0, 1, 2, 3], Width::Bits(bits)).unwrap();
            assert!(latents.scale.iter().all(|s| s.is_finite() && *s > 0.0), "{:?}", latents.scale);
            let worst = latents.values.iter().zip(&data.x).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 0.5 * latents.scale[1] * 1.0001, "{bits}: {worst}");
        }
    }

    #[test]
    fn widths_are_read_and_written_as_they_are_named() {
        for text in ["4", "8", "16", "f32"] {
            assert_eq!(text.parse::<Width>().unwrap().to_string(), text);
        }
        for text in ["3", "9", "15", "32", "f16", "F32", "", "8 "] {
            assert!(text.parse::<Width>().is_err(), "{text:?}");
        }
        let json = serde_json::to_string(&[Width::Bits(6), Width::F32]).unwrap();
        assert_eq!(json, r#"[6,"f32"]"#);
    }

    #[test]
    fn values_beyond_the_range_of_the_manifest_are_counted_and_f32_has_no_range() {
        let names = ["a", "b"].map(String::from);
        let group = (0..4).map(|i| i.to_string()).collect();
        let x = vec![0.9, 1.0, -1.1, 0.0, 0.5, 2.0, 0.3, -2.0];
        let mut data = Data::new("t", 2, x.clone(), &[0, 0, 1, 1], &names, group, EmbeddingScale::None).unwrap();
        data.scale = Some(vec![1.0 / 127.0; 2]);
        for bits in [4, 8, 16] {
            let latents = Latents::new(&data, &[], Width::Bits(bits)).unwrap();
            assert_eq!((latents.clip_rate, latents.values[5]), (3.0 / 8.0, latents.values[1]), "{bits}");
        }
        let latents = Latents::new(&data, &[], Width::F32).unwrap();
        assert_eq!((latents.clip_rate, &latents.values), (0.0, &x));
    }

    #[test]
    fn unquantised_statistics_are_the_sums_of_the_embeddings_themselves() {
        let names = ["a", "b"].map(String::from);
        let group = (0..4).map(|i| i.to_string()).collect();
        let x = vec![0.1, 1e-3, -0.7, 0.31, 1e3, 2.0, 0.3, -2.0];
        let data = Data::new("t", 2, x, &[0, 0, 1, 1], &names, group, EmbeddingScale::None).unwrap();
        let latents = Latents::new(&data, &[0, 1, 2, 3], Width::F32).unwrap();
        let mut statistics = latents.statistics(2).unwrap();
        latents.learn(&mut statistics, &data, &[2, 0, 3]).unwrap();
        let moments = latents.moments(&statistics, &data).unwrap();
        let value = |i: usize, d: usize| f64::from(data.x[2 * i + d]);
        assert_eq!(moments.counts(), [1.0, 2.0]);
        assert_eq!(moments.sums(), [value(0, 0), value(0, 1), value(2, 0) + value(3, 0), value(2, 1) + value(3, 1)]);
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let sum: f64 = [2, 0, 3].iter().map(|r| value(*r, i) * value(*r, j)).sum();
            assert_eq!(moments.gram()[(i, j)], sum, "({i}, {j})");
        }
    }
}
