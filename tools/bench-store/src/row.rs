//! The rows that every store learns: synthetic latents of 20 classes, the same for all from one seed.
//!
//! A latent scatters round its class's mean as embeddings do; a class is heard for eight windows at a time.

use std::collections::BTreeSet;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wheatear::learn::{ClassName, LabelSet, Origin};

pub const ORIGIN: Origin = Origin { device: *b"bench of stores.", incarnation: 0x0b5e_55ed_0b5e_55ed };
/// Windows of one class in a row.
const CALL_ROWS: u64 = 8;
/// Samples and nanoseconds between two windows, as with the demo's backbone.
const HOP_SAMPLES: u64 = 22_528;
const HOP_NS: u64 = 510_839_002;

const CLASSES: [&str; 20] = [
    "Alauda arvensis",
    "Corvus corone",
    "Cyanistes caeruleus",
    "Dendrocopos major",
    "Emberiza citrinella",
    "Erithacus rubecula",
    "Fringilla coelebs",
    "Hirundo rustica",
    "Luscinia megarhynchos",
    "Oenanthe oenanthe",
    "Parus major",
    "Passer domesticus",
    "Phylloscopus collybita",
    "Pica pica",
    "Prunella modularis",
    "Regulus regulus",
    "Sitta europaea",
    "Sturnus vulgaris",
    "Troglodytes troglodytes",
    "Turdus merula",
];

/// One labelled latent with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Counts from 1.
    pub id: u64,
    pub time_ns: u64,
    pub start_sample: u64,
    pub flags: u8,
    pub class: &'static str,
    pub labels: LabelSet,
    pub latent: Vec<i8>,
}

impl Row {
    /// The row as one value, for stores that know no columns: everything but the id.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.latent.len() + 64);
        bytes.extend_from_slice(&ORIGIN.device);
        bytes.extend_from_slice(&ORIGIN.incarnation.to_le_bytes());
        bytes.extend_from_slice(&self.time_ns.to_le_bytes());
        bytes.extend_from_slice(&self.start_sample.to_le_bytes());
        bytes.push(self.flags);
        bytes.push(self.class.len() as u8);
        bytes.extend_from_slice(self.class.as_bytes());
        bytes.extend(self.latent.iter().map(|q| q.cast_unsigned()));
        bytes
    }
}

/// An endless stream of rows of dimension `dim`.
pub struct Rows {
    dim: usize,
    means: Vec<Vec<f32>>,
    labels: Vec<LabelSet>,
    rng: ChaCha8Rng,
    next_id: u64,
}

impl Rows {
    pub fn new(dim: usize) -> Result<Rows> {
        let mut rng = ChaCha8Rng::seed_from_u64(dim as u64);
        let means = CLASSES.iter().map(|_| (0..dim).map(|_| 22.0 * normal(&mut rng)).collect()).collect();
        let label = |name: &&str| Ok(LabelSet::new(BTreeSet::from([ClassName::new(name)?]), BTreeSet::new())?);
        Ok(Rows { dim, means, labels: CLASSES.iter().map(label).collect::<Result<_>>()?, rng, next_id: 1 })
    }

    /// The next `count` rows.
    pub fn take(&mut self, count: usize) -> Vec<Row> {
        (0..count).map(|_| self.row()).collect()
    }

    fn row(&mut self) -> Row {
        let id = self.next_id;
        self.next_id += 1;
        // Seven steps on, so that a class comes back beside other classes than the last time.
        let class = ((id - 1) / CALL_ROWS * 7 % CLASSES.len() as u64) as usize;
        let mean = &self.means[class];
        let latent = (0..self.dim).map(|d| (mean[d] + 24.0 * normal(&mut self.rng)).clamp(-127.0, 127.0).round() as i8).collect();
        Row {
            id,
            time_ns: id * HOP_NS,
            start_sample: id * HOP_SAMPLES,
            flags: u8::from(id.is_multiple_of(5)),
            class: CLASSES[class],
            labels: self.labels[class].clone(),
            latent,
        }
    }
}

/// Nearly normal, mean 0 and deviation 1: the sum of eight bytes.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let sum: u32 = rng.next_u64().to_le_bytes().iter().map(|b| u32::from(*b)).sum();
    (sum as f32 - 1020.0) / 209.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_streams_of_one_dimension_are_the_same_however_they_are_taken() {
        let mut a = Rows::new(16).unwrap();
        let mut b = Rows::new(16).unwrap();
        let whole = a.take(40);
        assert_eq!(whole, [b.take(7), b.take(33)].concat());
        assert_eq!((whole[0].id, whole[39].id), (1, 40));
    }

    #[test]
    fn latents_fill_their_range_without_clipping_much_and_classes_differ() {
        let rows = Rows::new(64).unwrap().take(1600);
        let values: Vec<f64> = rows.iter().flat_map(|r| &r.latent).map(|q| f64::from(*q)).collect();
        let deviation = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
        assert!((25.0..40.0).contains(&deviation), "{deviation}");
        assert!(values.iter().filter(|v| v.abs() >= 127.0).count() * 100 < values.len());
        assert!(rows.iter().all(|r| r.latent.iter().all(|q| *q != i8::MIN)));
        let heard: BTreeSet<&str> = rows.iter().map(|r| r.class).collect();
        assert_eq!(heard.len(), CLASSES.len());
    }

    #[test]
    fn a_rows_bytes_hold_its_latent_and_its_class() {
        let row = Rows::new(16).unwrap().take(1).remove(0);
        let bytes = row.to_bytes();
        assert_eq!(bytes.len(), 24 + 8 + 8 + 1 + 1 + row.class.len() + 16);
        assert!(bytes.ends_with(&row.latent.iter().map(|q| q.cast_unsigned()).collect::<Vec<_>>()));
    }
}
