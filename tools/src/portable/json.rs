//! `adapter.json`: what is not a tensor. Numbers of 64 bits that are no counts (digests, seed, incarnation) are hexadecimal
//! text, since many readers of JSON keep 53 bits only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wheatear::backbone::manifest::Modality;
use wheatear::learn::{BlockKind, ClassName, LabelSet, Origin};
use wheatear::store::{Batch, Creation};
use wheatear::units::Moment;

/// The whole of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// [`super::FORMAT`].
    pub format: u32,
    pub backbone: String,
    pub modality: Modality,
    #[serde(with = "hex")]
    pub space: [u8; 32],
    pub dim: u32,
    pub bits: u8,
    /// Value of a latent step, per dimension: f32, written as f64 so that every digit is kept.
    pub scale: Vec<f64>,
    pub created: When,
    #[serde(with = "hex")]
    pub seed: [u8; 8],
    pub bounds: Bounds,
    pub generation: u64,
    pub next_row: u64,
    /// Ids of rows that were taken back, as far as undo reaches.
    #[serde(default)]
    pub taken_back: Vec<u64>,
    pub origins: Vec<Learner>,
    /// Names of all classes that the statistics count, retired ones among them.
    pub classes: Vec<ClassName>,
    /// Label sets of the rows.
    pub labels: Vec<Labels>,
    /// What rows have in common.
    pub batches: Vec<Together>,
    /// Recordings known as taught, oldest first.
    pub sources: Vec<Source>,
    /// Blocks, in the order of their tensors.
    pub blocks: Vec<Sums>,
    #[serde(with = "hex")]
    pub statistics_sha256: [u8; 32],
    /// SHA-256 of the other files.
    pub files: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    pub replay_rows: u32,
    pub undo_rows: u32,
    pub background_rows: u32,
    pub max_classes: u32,
    pub max_origins: u32,
    pub max_sources: u32,
}

/// A moment.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    #[serde(with = "hex")]
    boot: [u8; 16],
    monotonic_ns: u64,
    wall_ms: Option<i64>,
    /// `null` when unknown.
    uncertainty_ms: Option<u32>,
}

/// An origin, and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learner {
    #[serde(with = "hex")]
    device: [u8; 16],
    #[serde(with = "hex")]
    incarnation: [u8; 8],
    pub generation: u64,
    pub parity: Option<f32>,
    /// True for the one that learned here when this was written.
    pub own: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    pub is: Vec<ClassName>,
    pub not: Vec<ClassName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Together {
    /// Which of `origins`.
    pub origin: usize,
    by: String,
    time: When,
    #[serde(with = "hex")]
    graph: [u8; 8],
    #[serde(with = "hex")]
    source: [u8; 8],
    source_complete: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    #[serde(with = "hex")]
    source: [u8; 8],
    /// Rows so far; `null` when it was taught to its end.
    rows: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Which of `origins`.
    pub origin: usize,
    pub kind: BlockKind,
    pub rows: u64,
    /// Names of its classes, in the order of its class sums.
    pub classes: Vec<ClassName>,
}

impl Bounds {
    pub fn of(c: &Creation) -> Bounds {
        Bounds {
            replay_rows: c.replay_rows,
            undo_rows: c.undo_rows,
            background_rows: c.background_rows,
            max_classes: c.max_classes,
            max_origins: c.max_origins,
            max_sources: c.max_sources,
        }
    }
}

impl When {
    pub fn of(m: Moment) -> When {
        let uncertainty_ms = Some(m.uncertainty_ms).filter(|ms| *ms != u32::MAX);
        When { boot: m.boot_id, monotonic_ns: m.monotonic_ns, wall_ms: m.wall_ms, uncertainty_ms }
    }

    pub fn moment(&self) -> Moment {
        let uncertainty_ms = self.uncertainty_ms.unwrap_or(u32::MAX);
        Moment { boot_id: self.boot, monotonic_ns: self.monotonic_ns, wall_ms: self.wall_ms, uncertainty_ms }
    }
}

impl Learner {
    pub fn of(origin: Origin, generation: u64, parity: Option<f32>, own: bool) -> Learner {
        Learner { device: origin.device, incarnation: origin.incarnation.to_be_bytes(), generation, parity, own }
    }

    pub fn origin(&self) -> Origin {
        Origin { device: self.device, incarnation: u64::from_be_bytes(self.incarnation) }
    }
}

impl Labels {
    pub fn of(labels: &LabelSet) -> Labels {
        Labels { is: labels.positive().iter().cloned().collect(), not: labels.negative().iter().cloned().collect() }
    }
}

impl Together {
    pub fn of(batch: &Batch, origin: usize) -> Together {
        let (graph, source) = (batch.graph.to_be_bytes(), batch.source.to_be_bytes());
        Together { origin, by: batch.by.clone(), time: When::of(batch.time), graph, source, source_complete: batch.source_complete }
    }

    /// The batch, of `origin`.
    pub fn batch(&self, origin: Origin) -> Batch {
        Batch {
            origin,
            by: self.by.clone(),
            time: self.time.moment(),
            graph: u64::from_be_bytes(self.graph),
            source: u64::from_be_bytes(self.source),
            source_complete: self.source_complete,
        }
    }
}

impl Source {
    pub fn of((source, rows): (u64, u64)) -> Source {
        Source { source: source.to_be_bytes(), rows: Some(rows).filter(|n| *n != u64::MAX) }
    }

    /// The recording and its rows; all ones when it was taught to its end.
    pub fn pair(&self) -> (u64, u64) {
        (u64::from_be_bytes(self.source), self.rows.unwrap_or(u64::MAX))
    }
}

/// Bytes as hexadecimal digits.
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::digits(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(from)?;
        let byte = |i: usize| text.get(2 * i..2 * i + 2).filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
        let bytes: Option<Vec<u8>> = (0..N).map(|i| u8::from_str_radix(byte(i)?, 16).ok()).collect();
        let wrong = || de::Error::custom(format!("expected {} hexadecimal digits, found {text:?}", 2 * N));
        bytes.filter(|_| text.len() == 2 * N).and_then(|b| b.try_into().ok()).ok_or_else(wrong)
    }
}
