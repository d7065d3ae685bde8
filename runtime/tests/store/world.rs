//! What the tests teach, and what they compare with: rows from a small generator, summed again by blocks of their own.

use std::collections::BTreeMap;

use wheatear::latent::SpaceId;
use wheatear::learn::{Block, BlockKind, ClassName, LabelSet, Origin};
use wheatear::store::pack::unpack;
use wheatear::store::{Acknowledgement, Adapter, Batch, Creation, Durability, NewRow, RowFlags};
use wheatear::units::Moment;

pub const ID: [u8; 16] = *b"adapter of tests";
pub const ORIGIN: Origin = Origin { device: [7; 16], incarnation: 3 };
pub const KINDS: [BlockKind; 3] = [BlockKind::Latents, BlockKind::Mixed, BlockKind::Background];

/// Smallest geometry: eight chunks of 64 KiB.
pub fn creation(dim: u32, bits: u8) -> Creation {
    let mut creation = Creation::new(SpaceId([5; 32]), "a backbone", dim, bits, vec![0.5; dim as usize], ORIGIN);
    creation = creation.with_replay_rows(16);
    (creation.max_classes, creation.max_sources) = (8, 8);
    creation
}

pub fn batch(source: u64, source_complete: bool) -> Batch {
    Batch { origin: ORIGIN, by: "teach".into(), time: Moment::UNKNOWN, graph: 5, source, source_complete }
}

/// A batch whose record takes about `len_bytes`: chunks fill without thousands of rows.
pub fn bulky(len_bytes: usize) -> Batch {
    Batch { by: "x".repeat(len_bytes), ..batch(0, false) }
}

pub fn labels(positive: &[&str], negative: &[&str]) -> LabelSet {
    let names = |n: &[&str]| n.iter().map(|n| ClassName::new(n).unwrap()).collect();
    LabelSet::new(names(positive), names(negative)).unwrap()
}

/// One row as taught.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub latent: Vec<i8>,
    pub labels: LabelSet,
    pub time_delta_ns: i64,
    pub start_sample: u64,
    pub flags: RowFlags,
}

/// Row `n` of an endless stream over every component value of `bits`; each seventh row is mixed, each ninth background.
pub fn row(n: u64, dim: usize, bits: u8) -> Row {
    let m = (1i64 << (bits - 1)) - 1;
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut latent: Vec<i8> = (0..dim).map(|_| ((next() >> 11) as i64 % (2 * m + 1) - m) as i8).collect();
    latent[0] = if n.is_multiple_of(2) { m as i8 } else { -m as i8 };
    let labels = match n {
        n if n % 14 == 13 => labels(&["wren"], &["Zaunkönig / 鷦鷯"]),
        n if n % 7 == 6 => labels(&["wren", "robin"], &["Zaunkönig / 鷦鷯"]),
        n if n % 9 == 8 => labels(&[], &[]),
        n => labels(&[["wren", "robin", "a b/c"][(n % 3) as usize]], &[]),
    };
    let flags = RowFlags((n % 4) as u8);
    Row { latent, labels, time_delta_ns: n as i64 - 5, start_sample: n * 100, flags }
}

pub fn rows(from: u64, count: u64, dim: usize, bits: u8) -> Vec<Row> {
    (from..from + count).map(|n| row(n, dim, bits)).collect()
}

pub fn teach(adapter: &mut Adapter, batch: &Batch, rows: &[Row], durability: Durability) -> wheatear::Result<Acknowledgement> {
    let new: Vec<NewRow<'_>> = rows
        .iter()
        .map(|r| NewRow {
            latent: &r.latent,
            labels: &r.labels,
            time_delta_ns: r.time_delta_ns,
            start_sample: r.start_sample,
            flags: r.flags,
        })
        .collect();
    adapter.learn(batch, &new, durability)
}

/// Blocks of `rows`, one row at a time from the last to the first.
pub fn sums(rows: &[Row], dim: usize) -> BTreeMap<BlockKind, Vec<u8>> {
    let mut blocks = BTreeMap::new();
    for row in rows.iter().rev() {
        let kind = row.labels.block_kind();
        blocks.entry(kind).or_insert_with(|| Block::new(kind, dim).unwrap()).add(&row.latent, &row.labels).unwrap();
    }
    blocks.into_iter().map(|(kind, block)| (kind, block.to_canonical_bytes())).collect()
}

pub fn sums_of(adapter: &Adapter) -> BTreeMap<BlockKind, Vec<u8>> {
    KINDS.into_iter().filter_map(|kind| Some((kind, adapter.block(kind).unwrap()?.to_canonical_bytes()))).collect()
}

/// The rows that replay holds, with their ids.
pub fn held(adapter: &Adapter) -> wheatear::Result<Vec<(u64, Row)>> {
    let mut out = Vec::new();
    adapter.rows(|learned| {
        for ((meta, labels), latent) in learned.rows.iter().zip(learned.latents.chunks_exact(adapter.dim())) {
            let (time_delta_ns, start_sample, flags) = (meta.time_delta_ns, meta.start_sample, meta.flags);
            out.push((meta.id, Row { latent: latent.to_vec(), labels: labels.clone(), time_delta_ns, start_sample, flags }));
        }
        Ok(())
    })?;
    Ok(out)
}

/// Everything that must hold of an adapter that was taught exactly `taught`: statistics are those of all rows, what is held
/// is as it was taught, the newest rows are, and no more than there is room for.
pub fn check(adapter: &Adapter, taught: &[Row]) {
    assert_eq!(sums_of(adapter), sums(taught, adapter.dim()), "statistics");
    let held = held(adapter).unwrap();
    for (id, row) in &held {
        assert_eq!(Some(row), taught.get(*id as usize - 1), "row {id} is as it was taught");
    }
    let mut ids: Vec<u64> = held.iter().map(|(id, _)| *id).collect();
    ids.sort();
    let undoable = adapter.oldest_undoable_row().unwrap_or(u64::MAX)..=taught.len() as u64;
    assert!(undoable.clone().all(|id| ids.binary_search(&id).is_ok()), "rows {undoable:?} are held: {ids:?}");
    ids.dedup();
    assert_eq!(ids.len(), held.len(), "each row is held once");
    assert_eq!(adapter.held_rows(), held.len() as u64);
    assert_eq!(adapter.evicted_rows(), (taught.len() - held.len()) as u64, "rows that left replay");
    let mut in_place = Vec::new();
    adapter
        .rows_in_place(|row| {
            let mut latent = vec![0i8; adapter.dim()];
            unpack(row.packed, adapter.header().creation.bits, &mut latent)?;
            in_place.push((row.id, latent, row.labels.clone()));
            Ok(())
        })
        .unwrap();
    assert!(in_place == held.into_iter().map(|(id, r)| (id, r.latent, r.labels)).collect::<Vec<_>>(), "rows where they lie");
}
