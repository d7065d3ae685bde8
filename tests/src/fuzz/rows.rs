//! Bytes read as what a person might teach: latents in range, with names from every script.

use std::collections::BTreeSet;

use wheatear::latent::limit;
use wheatear::learn::{ClassName, LabelSet};
use wheatear::store::frame::Kind;
use wheatear::store::record::Draft;
use wheatear::store::{Batch, NewRow, RowFlags};

/// Names that differ in length, script and order; fewer than eight, so that a byte holds a set of them.
const NAMES: [&str; 5] = ["wren", "robin", "a b/c", "Zaunkönig / 鷦鷯", "🐦"];

/// A row of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The latent, in the range of its bits.
    pub latent: Vec<i8>,
    /// What it is.
    pub labels: LabelSet,
    /// Of the row.
    pub time_delta_ns: i64,
    /// Of the row.
    pub start_sample: u64,
    /// Of the row.
    pub flags: RowFlags,
}

/// As many rows as `bytes` hold: a set of classes each, a byte of odds and ends, then the latent's components.
pub fn rows(bytes: &[u8], dim: usize, bits: u8) -> Vec<Row> {
    bytes.chunks_exact(2 + dim).map(|b| row(b[0], b[1], &b[2..], bits)).collect()
}

fn row(classes: u8, odds: u8, components: &[u8], bits: u8) -> Row {
    let most = limit(bits) as i8;
    let latent = components.iter().map(|b| (*b as i8).clamp(-most, most)).collect();
    let (mut positive, mut negative) = (BTreeSet::new(), BTreeSet::new());
    for (i, name) in NAMES.iter().enumerate() {
        let name = ClassName::new(name).expect("a good name");
        match (classes >> i & 1, odds >> i & 1) {
            (1, 0) => positive.insert(name),
            (1, _) => negative.insert(name),
            _ => false,
        };
    }
    let labels = LabelSet::new(positive, negative).expect("each class is heard or not heard");
    let spread = u64::from(odds).wrapping_mul(0x0101_0101_0101_0101) >> (classes % 64);
    Row { latent, labels, time_delta_ns: spread as i64, start_sample: spread, flags: RowFlags(classes >> 5) }
}

/// The rows as [`wheatear::store::Adapter::learn`] takes them.
pub fn borrowed(rows: &[Row]) -> Vec<NewRow<'_>> {
    let each = rows.iter().map(|Row { latent, labels, time_delta_ns, start_sample, flags }| NewRow {
        latent,
        labels,
        time_delta_ns: *time_delta_ns,
        start_sample: *start_sample,
        flags: *flags,
    });
    each.collect()
}

/// A record of `rows`, with ids from `first` on.
pub fn draft<'a>(batch: &Batch, first: u64, rows: &'a [Row]) -> Draft<'a> {
    let rows = (0..).zip(borrowed(rows)).map(|(i, row)| (first.wrapping_add(i), row)).collect();
    Draft { kind: Kind::Learn, batch: batch.clone(), rows, before: Vec::new(), left: Vec::new() }
}

/// Bytes of `count` rows, from a small generator.
pub fn some(count: usize, dim: usize) -> Vec<u8> {
    let byte = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8;
    let start = |n: usize| [[0x01, 0x02, 0x08, 0x13, 0x00, 0x04][n % 6], [0x00, 0x40, 0x10][n % 3]];
    (0..count).flat_map(|n| start(n).into_iter().chain((0..dim).map(move |d| byte(n * dim + d)))).collect()
}
