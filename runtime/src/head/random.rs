//! Integer random features of a latent (ACIL, Zhuang 2022; RanPAC, McDonnell 2023): `f = min(relu(R q) / k, 127)`, in integers, so
//! that the same latent gives the same features on every machine and a [`Block`] over them is as exact as one over latents.
//!
//! R is sparse and ternary: [`ENTRIES`] distinct components a feature (all of them where D is smaller), each times +1 or -1, drawn by
//! splitmix64 (Steele 2014) from the seed. `|R q| <= 32 * 127`. The division rounds down, and its divisor k is fixed when the features
//! are made: what was learned with one k cannot be read with another.
//!
//! Limits: 1 to 8192 components and features ([`DIM_MAX`]). An expansion costs 32 additions a feature, two bytes of memory each.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::head::Moments;
use crate::latent;
use crate::learn::Block;
use crate::learn::block::DIM_MAX;
use crate::mix::{GOLDEN, mix};
use crate::{Error, ErrorKind, Result};

/// Components that a feature adds up.
pub const ENTRIES: usize = 32;
/// Largest `|R q|`, and so the largest divisor of any use.
pub const SUM_MAX: u32 = ENTRIES as u32 * 127;
/// What a step of a feature counts as in the solvers: calibrated features then have a mean square near 1, as embeddings have.
pub const STEP: f32 = 1.0 / 32.0;
/// Share of the calibration sums that a feature's range holds.
const HELD: f64 = 0.999;

/// A fixed random expansion of latents \[D\] to features \[F\]. Two are equal when their four numbers are; read from untrusted bytes
/// it is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct RandomFeatures {
    fields: Fields,
    /// Of each feature its components, times two, plus 1 where they are subtracted \[F, entries\].
    entries: Vec<u16>,
}

/// What the features follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Fields {
    dim: u32,
    features: u32,
    seed: u64,
    divisor: u32,
}

impl RandomFeatures {
    /// F = `features` of latents of D = `dim` components, their sums divided by `divisor`.
    ///
    /// # Errors
    /// `Config` unless D and F are 1 to [`DIM_MAX`] and the divisor is 1 to [`SUM_MAX`].
    pub fn new(dim: usize, features: usize, seed: u64, divisor: u32) -> Result<RandomFeatures> {
        let within = |what: &str, value: usize, max: usize| match (1..=max).contains(&value) {
            true => Ok(value as u32),
            false => {
                let error = Error::new(ErrorKind::Config, "random features are out of range").at(what);
                Err(error.expected(format!("1 to {max}")).found(value))
            }
        };
        let fields = Fields {
            dim: within("dimension", dim, DIM_MAX)?,
            features: within("features", features, DIM_MAX)?,
            seed,
            divisor: within("divisor", divisor as usize, SUM_MAX as usize)?,
        };
        Ok(RandomFeatures { fields, entries: draw(dim, features, seed) })
    }

    /// The same with a divisor that `rows`, latents \[D\], speak for: the least k for which 99.9 % of their `|R q|` stay within
    /// 127 k. They are rows to calibrate by, as for the quantiser; that of 8 bits where there are none.
    ///
    /// # Errors
    /// As [`RandomFeatures::new`]; `Mismatch` for a row of another dimension.
    pub fn calibrated(dim: usize, features: usize, seed: u64, rows: &[&[i8]]) -> Result<RandomFeatures> {
        let mut made = RandomFeatures::new(dim, features, seed, divisor(8))?;
        let mut seen = vec![0u64; ENTRIES * 128 + 1];
        for row in rows {
            made.check(row)?;
            made.sums(row).for_each(|sum| seen[sum.unsigned_abs() as usize] += 1);
        }
        let total: u64 = seen.iter().sum();
        if total > 0 {
            let wanted = (HELD * total as f64).ceil() as u64;
            let mut below = 0;
            let held = seen.iter().position(|n| {
                below += n;
                below >= wanted
            });
            made.fields.divisor = held.map_or(0, |sum| sum as u32).div_ceil(127).clamp(1, SUM_MAX);
        }
        Ok(made)
    }

    /// Number of components D of a latent.
    pub fn dim(&self) -> usize {
        self.fields.dim as usize
    }

    /// Number of features F.
    pub fn features(&self) -> usize {
        self.fields.features as usize
    }

    /// What R was drawn from.
    pub fn seed(&self) -> u64 {
        self.fields.seed
    }

    /// The divisor k.
    pub fn divisor(&self) -> u32 {
        self.fields.divisor
    }

    /// Tells features apart: SHA-256 over `wheatear-random-features 1`, then D, F, seed and k, little-endian.
    pub fn digest(&self) -> [u8; 32] {
        let Fields { dim, features, seed, divisor } = self.fields;
        let mut digest = Sha256::new();
        digest.update(b"wheatear-random-features 1");
        [dim, features].iter().for_each(|n| digest.update(n.to_le_bytes()));
        digest.update(seed.to_le_bytes());
        digest.update(divisor.to_le_bytes());
        digest.finalize().into()
    }

    /// Features of `latent` \[D\] into `out` \[F\], 0 to 127. Allocates nothing.
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn expand(&self, latent: &[i8], out: &mut [i8]) {
        assert_eq!(out.len(), self.features(), "one place a feature");
        out.iter_mut().zip(self.values(latent)).for_each(|(f, value)| *f = value);
    }

    /// Features of `latent` \[D\], one after another.
    ///
    /// # Panics
    /// When it has another length.
    pub(crate) fn values<'a>(&'a self, latent: &'a [i8]) -> impl Iterator<Item = i8> + 'a {
        let divisor = self.fields.divisor as i32;
        self.sums(latent).map(move |sum| (sum.max(0) / divisor).min(127) as i8)
    }

    /// `R q`
    fn sums<'a>(&'a self, latent: &'a [i8]) -> impl Iterator<Item = i32> + 'a {
        assert_eq!(latent.len(), self.dim(), "latent length");
        let entry = |e: &u16| {
            let q = i32::from(latent[usize::from(e >> 1)]);
            if e & 1 == 1 { -q } else { q }
        };
        self.entries.chunks_exact(entries(self.dim())).map(move |feature| feature.iter().map(entry).sum())
    }

    /// Checks that `latent` has D components.
    ///
    /// # Errors
    /// `Mismatch`.
    pub(crate) fn check(&self, latent: &[i8]) -> Result<()> {
        if latent.len() == self.dim() {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Mismatch, "random features are of latents of another dimension");
        Err(error.expected(self.dim()).found(latent.len()))
    }

    /// What a head over these features is solved from.
    ///
    /// # Errors
    /// As [`Moments::new`], and `Mismatch` for a block of another dimension.
    pub fn moments(&self, block: &Block) -> Result<Moments> {
        Moments::new(block, &vec![STEP; self.features()])
    }
}

/// The divisor for latents of `bits` where there are no rows to calibrate by: `3 m / 127`, rounded up, with m the largest component.
/// A sum of 32 independent components with a deviation of m / 6 has a deviation below m, so the range holds three of them.
pub fn divisor(bits: u8) -> u32 {
    (3 * latent::limit(bits) as u32).div_ceil(127)
}

fn entries(dim: usize) -> usize {
    ENTRIES.min(dim)
}

/// For each feature the first places of a list of the components, shuffled further from feature to feature (Fisher & Yates).
fn draw(dim: usize, features: usize, seed: u64) -> Vec<u16> {
    let mut state = seed;
    let mut components: Vec<u16> = (0..dim as u16).collect();
    let mut out = Vec::with_capacity(features * entries(dim));
    for _ in 0..features {
        for i in 0..entries(dim) {
            state = state.wrapping_add(GOLDEN);
            let drawn = mix(state);
            // The upper half chooses among what is left, the lowest bit the sign.
            components.swap(i, i + (((drawn >> 32) * (dim - i) as u64) >> 32) as usize);
            out.push(components[i] << 1 | (drawn & 1) as u16);
        }
    }
    out
}

impl TryFrom<Fields> for RandomFeatures {
    type Error = Error;
    fn try_from(Fields { dim, features, seed, divisor }: Fields) -> Result<RandomFeatures> {
        RandomFeatures::new(dim as usize, features as usize, seed, divisor)
    }
}

impl From<RandomFeatures> for Fields {
    fn from(made: RandomFeatures) -> Fields {
        made.fields
    }
}

#[cfg(test)]
#[path = "random_tests.rs"]
mod tests;
