//! Calibration of the latent quantiser: one scale a dimension from the embeddings of broad sounds.
//!
//! `r = p99.9(|x|)` for each dimension over all windows, `r = 1.5 max(r, median(r) / 2)`, `scale = r / m` with
//! `m = 2^(bits-1) - 1`. A bare percentile of *other* sounds clips up to 1.7 % of values; the floor and the margin clip
//! nothing and cost nothing (see the project's measurements). The median is over dimensions that are not dead (0 in
//! every window).
//!
//! Memory is bounded: beyond [`Calibration::capacity`] windows a uniform sample of them is kept (reservoir sampling,
//! Vitter 1985, algorithm R; seeded, so the same sounds give the same scales).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::backbone::manifest::QuantiserSpec;
use crate::latent::limit;
use crate::{Error, ErrorKind, Result};

/// Fewest windows that a calibration may rest on.
pub const MIN_WINDOWS: u64 = 50;
const MAX_VALUES: usize = 1 << 26;
const PERCENTILE: f64 = 99.9;
const MARGIN: f64 = 1.5;
const FLOOR: f64 = 0.5;

/// Embeddings gathered for a calibration.
pub struct Calibration {
    dim: usize,
    /// |x|, row after row.
    rows: Vec<f32>,
    windows: u64,
    rng: ChaCha8Rng,
}

/// A calibrated quantiser and what it does to the sounds it was calibrated on.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// The quantiser.
    pub quantiser: QuantiserSpec,
    /// Windows seen.
    pub windows: u64,
    /// Dimensions that were 0 in every window kept.
    pub dead: usize,
    /// Fraction of values beyond the range, 0 to 1.
    pub clip_rate: f64,
}

impl Calibration {
    /// A calibration over embeddings of `dim` components.
    pub fn new(dim: usize) -> Calibration {
        Calibration { dim, rows: Vec::new(), windows: 0, rng: ChaCha8Rng::seed_from_u64(0) }
    }

    /// Windows that are kept: 2^26 values (256 MiB) in all.
    pub fn capacity(&self) -> usize {
        (MAX_VALUES / self.dim.max(1)).max(1)
    }

    /// Windows seen so far.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// Takes one embedding \[D\], already scaled as the manifest says.
    ///
    /// # Errors
    /// `Backbone` when it has another length or a component is not finite.
    pub fn add(&mut self, embedding: &[f32]) -> Result<()> {
        if embedding.len() != self.dim || embedding.iter().any(|x| !x.is_finite()) {
            return Err(Error::new(ErrorKind::Backbone, "an embedding cannot be used for calibration")
                .expected(format!("{} finite values", self.dim))
                .found(format!("{} values", embedding.len()))
                .cure("check the model and the sound"));
        }
        self.windows += 1;
        let kept = self.rows.len() / self.dim.max(1);
        if kept < self.capacity() {
            self.rows.extend(embedding.iter().map(|x| x.abs()));
        } else {
            let slot = self.rng.random_range(0..self.windows) as usize;
            if slot < kept {
                let row = &mut self.rows[slot * self.dim..(slot + 1) * self.dim];
                row.iter_mut().zip(embedding).for_each(|(r, x)| *r = x.abs());
            }
        }
        Ok(())
    }

    /// The quantiser of `bits` bits; `calibrated_on` describes the sounds for a person.
    ///
    /// # Errors
    /// `Learn` with fewer than [`MIN_WINDOWS`] windows; `Backbone` when every embedding was 0; `Config` for bits out of
    /// 4..=8.
    pub fn finish(self, bits: u8, calibrated_on: &str) -> Result<Calibrated> {
        if !(4..=8).contains(&bits) {
            return Err(Error::new(ErrorKind::Config, "latents have 4 to 8 bits").found(bits));
        }
        if self.windows < MIN_WINDOWS {
            return Err(Error::new(ErrorKind::Learn, "too few sounds to calibrate on")
                .expected(format!("at least {MIN_WINDOWS} windows"))
                .found(self.windows)
                .cure("give a folder with more, and more varied, sounds"));
        }
        let mut column = Vec::with_capacity(self.rows.len() / self.dim.max(1));
        let ranges: Vec<f64> = (0..self.dim)
            .map(|d| {
                column.clear();
                column.extend(self.rows.iter().skip(d).step_by(self.dim));
                percentile(&mut column, PERCENTILE)
            })
            .collect();
        let mut live: Vec<f32> = ranges.iter().filter(|r| **r > 0.0).map(|r| *r as f32).collect();
        if live.is_empty() {
            return Err(Error::new(ErrorKind::Backbone, "every embedding is zero")
                .cure("check the front end and the normalisation: the model hears nothing in these sounds"));
        }
        let floor = FLOOR * percentile(&mut live, 50.0);
        let m = f64::from(limit(bits));
        let scale: Vec<f32> = ranges.iter().map(|r| (MARGIN * r.max(floor) / m) as f32).collect();
        let beyond =
            self.rows.chunks(self.dim).flat_map(|row| row.iter().zip(&scale)).filter(|(x, s)| (**x / **s).round() > m as f32).count();
        Ok(Calibrated {
            windows: self.windows,
            dead: self.dim - live.len(),
            clip_rate: beyond as f64 / self.rows.len() as f64,
            quantiser: QuantiserSpec { bits, calibrated_on: calibrated_on.to_string(), scale },
        })
    }
}

/// The `p`-th percentile (0..=100) of `values` with linear interpolation between the two nearest, as numpy's default;
/// reorders `values`. Of no values it is 0.
pub fn percentile(values: &mut [f32], p: f64) -> f64 {
    values.sort_unstable_by(f32::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    let position = (p / 100.0).clamp(0.0, 1.0) * last as f64;
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    let (a, b) = (f64::from(values[low]), f64::from(values[high]));
    a + (b - a) * (position - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that Python makes too: `[((i * 7919) % 1009) / 100 for i in range(n)]`.
    fn values(n: u64) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect()
    }

    #[test]
    fn percentiles_are_numpys() {
        // numpy.percentile(numpy.array([((i*7919)%1009)/100 for i in range(n)], "f4").astype("f8"), p)
        for (n, p, expected) in [
            (1, 99.9, 0.0),
            (2, 50.0, 4.28000020980835),
            (7, 99.9, 8.55082041835785),
            (100, 99.9, 10.046040194511415),
            (1001, 99.9, 10.06999969482422),
            (2500, 99.9, 10.069999694824219),
            (2500, 50.0, 5.039999961853027),
            (10, 0.0, 0.0),
            (10, 100.0, 9.470000267028809),
        ] {
            let found = percentile(&mut values(n), p);
            assert!((found - expected).abs() < 1e-9, "n {n}, p {p}: {found}, numpy {expected}");
        }
        assert_eq!(percentile(&mut [], 50.0), 0.0);
    }

    #[test]
    fn dead_dimensions_take_the_floor_and_nothing_is_clipped() {
        let mut c = Calibration::new(3);
        for x in values(200) {
            c.add(&[x, -4.0 * x, 0.0]).unwrap();
        }
        let r = c.finish(8, "test").unwrap();
        let range = percentile(&mut values(200), 99.9);
        let median = 2.5 * range;
        let expected = [(0.5 * median).max(range), 4.0 * range, 0.5 * median].map(|r| 1.5 * r / 127.0);
        for (found, expected) in r.quantiser.scale.iter().zip(expected) {
            assert!((f64::from(*found) / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!((r.dead, r.clip_rate, r.windows), (1, 0.0, 200));
    }

    #[test]
    fn rare_outliers_beyond_the_margin_are_counted_as_clipped() {
        let mut c = Calibration::new(1);
        for i in 0..4000 {
            c.add(&[if i == 7 { 100.0 } else { 1.0 }]).unwrap();
        }
        assert_eq!(c.finish(8, "").unwrap().clip_rate, 1.0 / 4000.0);
    }

    #[test]
    fn too_few_windows_and_silence_are_refused() {
        let mut c = Calibration::new(2);
        for _ in 0..49 {
            c.add(&[1.0, 2.0]).unwrap();
        }
        assert_eq!(c.finish(8, "").unwrap_err().kind(), ErrorKind::Learn);
        let mut c = Calibration::new(2);
        for _ in 0..50 {
            c.add(&[0.0, 0.0]).unwrap();
        }
        assert_eq!(c.finish(8, "").unwrap_err().kind(), ErrorKind::Backbone);
        assert!(Calibration::new(2).add(&[1.0, f32::NAN]).is_err());
    }

    #[test]
    fn memory_is_bounded_and_the_sample_is_fair() {
        let dim = 1 << 20;
        let mut c = Calibration::new(dim);
        assert_eq!(c.capacity(), 64);
        for i in 0..100 {
            c.add(&vec![i as f32; dim]).unwrap();
        }
        assert_eq!((c.rows.len(), c.windows()), (64 * dim, 100));
        let late = c.rows.iter().step_by(dim).filter(|x| **x >= 64.0).count();
        assert!((10..40).contains(&late), "{late} of the last 36 windows kept, about 23 expected");
    }
}
